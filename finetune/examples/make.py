"""The road of `foretaste finetune examples`: a data set's name in, a folder of rows with its card out."""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from foretaste.agents.config import AgentsConfig
from foretaste.agents.contexts.context import read
from foretaste.agents.contexts.profile_store import Profiles
from foretaste.agents.contexts.seasons import day_text, holiday_texts, season
from foretaste.agents.objects import Persona, Request
from foretaste.agents.retrieval.tools import Tools, load_tools
from foretaste.data.dataset import Dataset
from foretaste.data.errors import EngineError, InputError
from foretaste.data.files import safe_name, subfolder
from foretaste.data.progress import Meter, meter
from foretaste.data.splits import Split, leave_one_out, until
from foretaste.data.store import load_dataset
from foretaste.finetune.examples import hindsight, sentences
from foretaste.finetune.examples.config import Preset
from foretaste.finetune.examples.general import general_rows
from foretaste.finetune.examples.hindsight import WRITER, Example, Moment, Rejects
from foretaste.finetune.examples.rows import Kind, Row, answered, counts, fingerprint, save
from foretaste.finetune.examples.sentences import Said
from foretaste.serving.chat import Answer as ServedAnswer
from foretaste.serving.chat import Ask, Parsed
from foretaste.serving.embedder import DEFAULT_EMBEDDER
from foretaste.serving.rules.recipes import Material
from foretaste.serving.rules.select import chosen
from foretaste.serving.rules.words import item_words

ROUNDS = 20  # moments of one person at most
STAGES = 3  # of the curriculum: thirds of each agent's rows by length
SHOWN = 1  # rows of each agent that the data card shows
_COUNTRIES = ("GB", "US", "DE", "AU")  # whose seasons and holidays environment rows tell
_FIRST_DAY = dt.date(2020, 1, 1)
Answer = Callable[[Moment, Example | Said], tuple[str, str] | None]


def make(
    name: str,
    preset: Preset,
    out: Path | None = None,
    base: str = "",
    answer: Answer | None = None,
) -> dict[str, Any]:
    """Make the rows of a data set.

    Only training events of the leave-one-out split are read, before the moment of a row and after
    it: neither validation nor test events of anybody are in any row.

    Args:
        name: of an imported data set.
        preset: how many rows of which kind.
        out: folder to write; `<home>/examples/<name>` when None.
        base: the model that will be trained: its tokenizer measures the prompts, and general rows
            hold its own answers; without one tokens are counted by bytes, and none are made.
        answer: rewrites an answer, or rejects it with None; a teacher. It returns text and name.

    Returns:
        The data card, which is saved beside the rows.

    Raises:
        InputError: nobody has enough training events, or no row could be made.
    """
    start = time.perf_counter()
    dataset, config = load_dataset(name), preset.examples
    work = _Work(dataset, leave_one_out(dataset), preset, answer, base)
    wanted = round(config.rows * (1 - config.general if base else 1))
    with meter(f"Rows of {name}", wanted, "rows") as progress:
        work.fill(wanted, progress)
    rows = ordered(held_out(unlike(work.rows), config.validation))
    if not rows:
        raise InputError(
            f"No training row could be made of {name}: people with {config.past + 3} interactions "
            "or more and items with categories or titles were expected; import more of them."
        )
    general = config.rows - wanted
    rows = [*general_rows(base, general, config.validation, config.seed), *rows] if base else rows
    card = {
        "dataset": name,
        "fingerprint": fingerprint(),
        "data_fingerprint": dataset.info.fingerprint,
        "terms": dataset.info.terms,
        "rows": len(rows),
        "counts": counts(rows),
        "rejects": dict(work.rejects.counts.most_common()),
        "repeats": len(work.rows) - len(unlike(work.rows)),
        "moments": work.moments,
        "split": "training events of the leave-one-out split alone, before and after each moment",
        "settings": preset.model_dump(),
        "examples": _shown(rows),
        "wall_s": round(time.perf_counter() - start, 1),
    }
    folder = out or subfolder("examples") / safe_name(name)
    save(folder, rows, card)
    return card | {"folder": str(folder)}


@dataclass(frozen=True)
class Unasked:
    """The model that will be trained, by name: prompts are measured with its own tokenizer."""

    name: str

    async def ask(self, ask: Ask[Parsed]) -> ServedAnswer[Parsed]:
        """Nobody asks it while rows are made."""
        raise EngineError(f"{self.name} is not running; rows are made without a model.")

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class _Work:
    """Rows under way."""

    dataset: Dataset
    split: Split
    preset: Preset
    answer: Answer | None
    base: str
    rows: list[Row] = field(default_factory=list)
    rejects: Rejects = field(default_factory=Rejects)
    moments: int = 0

    @cached_property
    def leaves(self) -> frozenset[str]:
        """Last categories of all items."""
        lists = self.dataset.items["categories"].to_list()
        return frozenset(names[-1] for names in lists if names)

    def fill(self, wanted: int, progress: Meter) -> None:
        """Moments of one person after the other until every agent has its share."""
        config = self.preset.examples
        quotas = {a: max(1, round(wanted * s)) for a, s in config.shares().items() if s}
        have: Counter[str] = Counter()
        for number in range(ROUNDS):
            before = len(self.rows)
            for moment in self._moments(number, sum(quotas.values()) - sum(have.values())):
                missing = [agent for agent in quotas if have[agent] < quotas[agent]]
                if not missing:
                    return
                for row in self._rows_of(moment, missing, number):
                    if have[row.agent] < quotas[row.agent]:
                        have[row.agent] += 1
                        self.rows.append(row)
                        progress.advance()
            if len(self.rows) == before:
                return

    def _moments(self, number: int, most: int) -> Iterator[Moment]:
        """At most so many people at one time each; what is known ends there for each of them."""
        config, train = self.preset.examples, self.split.train
        draw = np.random.default_rng([config.seed, number])
        able = np.flatnonzero(train.lengths > config.past)
        if not len(able):
            raise InputError(
                f"Rows are made of people with {config.past + 1} training events or more, and "
                f"{self.dataset.name} has none; import more interactions."
            )
        people = draw.permutation(able)[: max(most, 1)]
        known = train.lengths.copy()  # (users,) events that are known
        first = np.maximum(config.past, train.lengths[people] // 2)
        known[people] = draw.integers(first, train.lengths[people])
        tools = self._tools(until(self.dataset, known))
        for person in people.tolist():
            user, cut = self.dataset.user_ids[person], int(known[person])
            after = train[person][cut : cut + config.future].tolist()
            past = set(train[person][:cut].tolist())
            future = tuple(dict.fromkeys(row for row in after if row not in past))
            day = _FIRST_DAY + dt.timedelta(days=int(draw.integers(365 * 5)))
            request = Request(user_id=user, environment=(day_text(day),))
            reader = read(tools.dataset, request, profiles=tools.profiles)
            if future and len(reader.rows):
                self.moments += 1
                moment = Moment(user, tools, reader, future, self.leaves)
                yield self._surrounded(moment, day, draw)

    def _tools(self, known: Dataset) -> Tools:
        """The agents' tools over what is known, the rule fitted on that too."""
        words = item_words(self.dataset.items)
        choice = chosen(self.dataset, self.split, Material(self.split.train, words, None))
        rule = choice.fit(choice.best, Material(known.histories, words, None))
        settings: AgentsConfig = self.preset.agents_config()
        profiles = Profiles() if settings.profile else None
        tools = load_tools(known, settings, DEFAULT_EMBEDDER, rule=rule, profiles=profiles)
        return tools.with_model(Unasked(self.base) if self.base else None)

    def _surrounded(self, moment: Moment, day: dt.date, draw: np.random.Generator) -> Moment:
        """A share of the moments with a season, holidays or a wish in their context."""
        if draw.random() >= self.preset.examples.environment:
            return moment
        country = _COUNTRIES[int(draw.integers(len(_COUNTRIES)))]
        told = season(day, None, country)
        texts = [day_text(day), *([told] if told else []), *holiday_texts(day, 14, country)]
        return hindsight.wishing(moment, tuple(texts), bool(draw.random() < 0.5))

    def _rows_of(self, moment: Moment, missing: Sequence[str], number: int) -> Iterator[Row]:
        seed = _number(f"{self.preset.examples.seed} {number} {moment.user}")
        personas = hindsight.sides(moment)
        for one in self._made(moment, personas, missing, seed):
            if one is None:
                continue
            text, teacher = one.answer.model_dump_json(), WRITER
            if self.answer is not None:
                told = self.answer(moment, one)
                if told is None:
                    self.rejects.add(one.agent, "the teacher's answer fails the checks")
                    continue
                text, teacher = told
            yield self._row(moment, one, text, teacher)

    def _made(
        self, moment: Moment, personas: list[Persona], missing: Sequence[str], seed: int
    ) -> Iterator[Example | Said | None]:
        """What the missing agents would have been asked, and the answers."""
        if "style" in missing:
            yield from sentences.styles(moment.tools)
        if not personas:
            return
        if "planner" in missing:
            yield hindsight.planned(moment, personas, self.rejects)
        if "expert" in missing:
            number = seed % len(personas)
            yield hindsight.proposed(moment, personas, number, self.rejects, seed)
        if "arbiter" in missing:
            yield hindsight.decided(moment, personas, self.rejects)
        if "explainer" in missing:
            yield sentences.explained(moment, personas, self.rejects, seed)

    def _row(self, moment: Moment, one: Example | Said, text: str, teacher: str) -> Row:
        context = moment.reader.context
        kind: Kind = "environment" if context.wish or len(context.environment) > 1 else "behaviour"
        return Row(
            agent=one.agent,
            kind=kind,
            part="train",
            dataset=self.dataset.name,
            user="" if one.agent == "style" else moment.user,
            teacher=teacher,
            stage=0,
            messages=answered(one.prompt, text),
            fingerprint=fingerprint(),
        )


def held_out(rows: Sequence[Row], share: float) -> list[Row]:
    """The same rows, those of a share of the people (one at least, of two or more) for validation."""
    people = sorted(
        {row.user for row in rows if row.user}, key=lambda user: _number(f"part {user}")
    )
    chosen = set(people[: max(1, round(share * len(people)))] if len(people) > 1 else [])
    return [
        row.model_copy(update={"part": "validation"}) if row.user in chosen else row for row in rows
    ]


def unlike(rows: Sequence[Row]) -> list[Row]:
    """Rows whose prompt was not said before."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault("\0".join(turn["content"] for turn in row.messages[:-1]), row)
    return list(first.values())


def ordered(rows: Sequence[Row]) -> list[Row]:
    """The curriculum: of each agent's rows the shortest third first, all agents in each stage."""
    staged: list[Row] = []
    for agent in dict.fromkeys(row.agent for row in rows):
        own = sorted((row for row in rows if row.agent == agent), key=_length)
        staged += [
            row.model_copy(update={"stage": STAGES * place // max(len(own), 1)})
            for place, row in enumerate(own)
        ]
    return sorted(staged, key=lambda row: (row.stage, _number(str(row.messages))))


def _length(row: Row) -> int:
    return sum(len(turn["content"]) for turn in row.messages)


def _shown(rows: Sequence[Row]) -> dict[str, list[list[dict[str, str]]]]:
    agents = dict.fromkeys(row.agent for row in rows)
    return {agent: [row.messages for row in rows if row.agent == agent][:SHOWN] for agent in agents}


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")
