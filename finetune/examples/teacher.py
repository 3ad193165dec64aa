"""A larger model as teacher: it answers the agents' own prompts, its answers are cached and checked.

The cost is estimated before the first call. What was answered stays in
`<home>/cache/teacher/<model>.jsonl`, one line an answer, so a run that was stopped goes on for free.
An answer counts when it passes the agents' own checks.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from foretaste.agents.explaining.explainer import held, setting_of
from foretaste.agents.reasoning import expert, planner
from foretaste.agents.wording.asking import CheckFailed
from foretaste.data.errors import EngineError, InputError, UnreadableAnswer
from foretaste.data.files import safe_name, subfolder
from foretaste.data.progress import note
from foretaste.finetune.examples.config import Preset
from foretaste.finetune.examples.hindsight import Example, Moment
from foretaste.finetune.examples.make import make
from foretaste.finetune.examples.rows import ANSWERS, answered
from foretaste.finetune.examples.sentences import Said
from foretaste.serving.chat import Ask, ChatModel
from foretaste.serving.openai_chat import OpenAIChat

TOKENS = 600  # that one answer may take
_FAILURES = 5  # answers in a row that do not come, after which the run ends


@dataclass
class Kept:
    """Answers of one teacher: what it said before, and new ones at the end of the file."""

    path: Path
    known: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read what is there; a last line that a crash cut off does not count."""
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                one = json.loads(line)
                self.known[one["key"]] = one["text"]
            except (ValueError, KeyError, TypeError):
                continue

    def add(self, key: str, text: str | None) -> None:
        """Remember an answer; on disk when this returns."""
        self.known[key] = text
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "text": text}, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


@dataclass
class Teacher:
    """Answers one example after the other.

    Attributes:
        model: the teacher.
        kept: what it answered.
        asked, cached: calls made, and answers that were there.
    """

    model: ChatModel
    kept: Kept
    asked: int = 0
    cached: int = 0
    failures: int = 0
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def __call__(self, moment: Moment, one: Example | Said) -> tuple[str, str] | None:
        """The teacher's answer as text with its name; None when it fails the agents' checks."""
        schema = ANSWERS[one.agent]
        turns = json.dumps(answered(one.prompt, "")[:-1], ensure_ascii=False)
        key = hashlib.sha256(f"{self.model.name}\0{schema.__name__}\0{turns}".encode()).hexdigest()
        if key in self.kept.known:
            self.cached += 1
        else:
            self.kept.add(key, self._ask(one, schema))
            self.asked += 1
        text = self.kept.known[key]
        if text is None:
            return None
        answer = schema.model_validate_json(text)
        try:
            check(moment, one, answer)
        except CheckFailed:
            return None
        return answer.model_dump_json(), self.model.name

    def close(self) -> None:
        """Let go of connections."""
        self._loop.run_until_complete(self.model.close())
        self._loop.close()

    def _ask(self, one: Example | Said, schema: type[BaseModel]) -> str | None:
        """What it wrote; None for what cannot be read."""
        try:
            answer = self._loop.run_until_complete(
                self.model.ask(Ask(one.prompt, schema, max_tokens=TOKENS))
            )
        except UnreadableAnswer:
            return None
        except EngineError as error:
            self.failures += 1
            if self.failures >= _FAILURES:
                raise EngineError(
                    f"The teacher failed {self.failures} times in a row ({error}); what it answered "
                    "is kept, and the same command goes on from there."
                ) from error
            return self._ask(one, schema)
        self.failures = 0
        return answer.text


def check(moment: Moment, one: Example | Said, answer: Any) -> None:
    """Hold an answer against what the served agent's would be held against.

    Raises:
        CheckFailed: with the reason.
    """
    tools, reader = moment.tools, moment.reader
    if one.agent == "planner":
        planner.checked(answer.personas, planner.history_of(tools, reader), tools)
    elif one.agent == "expert":
        expert.checked(answer, tools, reader, 0)
    elif one.agent == "arbiter":
        wanted = len(one.answer.keep)  # type: ignore[union-attr]
        named = {kept.tag for kept in answer.keep}
        if 2 * len(named) < wanted:
            raise CheckFailed(f"the arbiter kept {len(named)} tags of {wanted} wanted")
    elif isinstance(one, Said) and one.agent == "explainer" and one.group:
        faults = held(answer, setting_of(tools, reader), one.group).faults
        if faults:
            raise CheckFailed(next(iter(faults.values())))


def expected_tokens(preset: Preset) -> tuple[int, int]:
    """Tokens read and written for all rows, a rough upper bound."""
    agents, rows = preset.agents_config(), preset.examples.rows
    shares = preset.examples.shares()
    history = agents.history_tokens + 300
    read = {"planner": history, "expert": 300, "arbiter": 500, "explainer": 500, "style": 200}
    written = {
        "planner": planner.TOKENS_EACH * agents.personas,
        "expert": expert.TOKENS_EACH * agents.tags,
        "arbiter": 16 * agents.kept,
        "explainer": 120,
        "style": 60,
    }
    return (
        round(rows * sum(shares[a] * read[a] for a in shares)),
        round(rows * sum(shares[a] * written[a] for a in shares)),
    )


def taught(
    name: str,
    preset: Preset,
    out: Path | None,
    base: str,
    url: str,
    model: str,
    prices: str | None,
    most: float | None,
) -> dict[str, Any]:
    """`make` with the answers of the model behind an endpoint.

    Args:
        name, preset, out, base: as of `make`.
        url: address of an OpenAI-compatible server, up to and including `/v1`.
        model: its name there.
        prices: of a million tokens read, and written, with a comma between; None for unknown.
        most: refuse when it is expected to cost more.

    Raises:
        InputError: no model name, prices that are none, or too high a cost.
        EngineError: the endpoint fails again and again; what was answered is kept.
    """
    if not model:
        raise InputError("The name of the teacher's model was expected; give --teacher-model.")
    read, written = expected_tokens(preset)
    cost = _cost(prices, read, written)
    told = f", about {cost:.2f} at the prices given" if cost is not None else ""
    note(f"The teacher will read about {read:,} tokens and write about {written:,}{told}.")
    if most is not None and (cost is None or cost > most):
        came = "no prices came" if cost is None else f"about {cost:.2f} is expected"
        raise InputError(f"At most {most:g} may be spent and {came}; give --prices, or fewer rows.")
    path = subfolder("cache", "teacher") / f"{safe_name(model.replace('/', '--'))}.jsonl"
    teacher = Teacher(OpenAIChat(url, model), Kept(path))
    try:
        card = make(name, preset, out, base, teacher)
    finally:
        teacher.close()
    return card | {"teacher": {"model": model, "asked": teacher.asked, "cached": teacher.cached}}


def _cost(prices: str | None, read: int, written: int) -> float | None:
    if prices is None:
        return None
    try:
        first, second = (float(price) for price in prices.split(","))
    except ValueError as error:
        raise InputError(
            f"--prices expects two numbers such as 0.2,0.6, not {prices!r}."
        ) from error
    return (first * read + second * written) / 1e6
