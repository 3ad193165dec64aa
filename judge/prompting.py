"""The judges' prompts: one file a question under `prompts/`, filled with cleaned text.

What all evaluators of a case read stands first, so that an engine with a prefix cache reads it once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from string import Template

from foretaste.agents.wording.prompting import clean, numbered
from foretaste.judge.objects import Case, Dimension, Known, Pair, Rubric, Tier, Verdict
from foretaste.serving.chat import Message

PROMPTS = ("system", "evaluate", "again", "review", "compare")
LINE_CHARACTERS = 400
_EXAMPLES = 2  # of a dimension that a prompt shows


@cache
def template(name: str) -> str:
    """The text of `prompts/<name>.md`."""
    folder = files("foretaste.judge").joinpath("prompts")
    return folder.joinpath(f"{name}.md").read_text("utf-8").strip()


@cache
def fingerprint() -> str:
    """16 hex digits over all prompt files: changes when any word of them does."""
    text = "\0".join(template(name) for name in PROMPTS)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def evaluate_messages(
    case: Case, rubric: Rubric, dimension: Dimension, history_items: int
) -> tuple[Message, ...]:
    """The question of one evaluator about one case."""
    return _messages(
        "evaluate",
        known=known_lines(case, history_items),
        answer=answer_lines(case.answer),
        about=rubric.about,
        dimension=dimension.name,
        question=dimension.question,
        negative=dimension.negative,
        acceptable=dimension.acceptable,
        positive=dimension.positive,
        examples=_examples(dimension),
    )


def review_messages(
    case: Case, rubric: Rubric, verdicts: Iterable[Verdict], tier: Tier, history_items: int
) -> tuple[Message, ...]:
    """The question of the senior reviewer."""
    return _messages(
        "review",
        known=known_lines(case, history_items),
        answer=answer_lines(case.answer),
        about=rubric.about,
        marks="\n".join(f"{v.dimension}: {v.mark}, {clean(v.reason, 240)}" for v in verdicts),
        tier=tier,
    )


def compare_messages(
    pair: Pair, rubric: Rubric, swapped: bool, history_items: int
) -> tuple[Message, ...]:
    """The question which of two answers is better; `swapped` shows the second one first."""
    one, two = (pair.second, pair.first) if swapped else (pair.first, pair.second)
    return _messages(
        "compare",
        known=known_lines(pair, history_items),
        one=answer_lines(one),
        two=answer_lines(two),
        about=rubric.about,
        dimensions="\n".join(f"{one.name}: {one.question}" for one in rubric.dimensions),
    )


def again(messages: tuple[Message, ...], text: str, error: str) -> tuple[Message, ...]:
    """The same conversation after an answer that could not be read, with what was wrong."""
    asked = Template(template("again")).substitute(error=clean(error, 300))
    return (
        *messages,
        Message("assistant", clean(text, 2 * LINE_CHARACTERS) or "(nothing)"),
        Message("user", asked),
    )


def known_lines(known: Known, history_items: int) -> str:
    """What is known beside the answer, whole lines: profile, newest history, context."""
    lines = [f"Profile: {clean(text, LINE_CHARACTERS)}" for text in known.profile]
    history = known.history[len(known.history) - history_items :] if history_items else ()
    if history:
        lines += ["Chose, oldest first:", numbered([clean(line, 120) for line in history])]
    lines += [f"Context: {clean(text, LINE_CHARACTERS)}" for text in known.context]
    return "".join(f"{line}\n" for line in lines)


def answer_lines(answer: tuple[str, ...]) -> str:
    """An answer as it is shown: one line as it stands, several with their numbers."""
    lines = [clean(line, LINE_CHARACTERS) for line in answer]
    return numbered(lines) if len(lines) > 1 else (lines or [""])[0] or "(nothing)"


def _examples(dimension: Dimension) -> str:
    shown = dimension.examples[:_EXAMPLES]
    return "".join(f'Example: "{one.answer}" is {one.mark}, because: {one.why}\n' for one in shown)


def _messages(name: str, **fields: str) -> tuple[Message, ...]:
    body = Template(template(name)).substitute(fields)
    return (Message("system", template("system")), Message("user", body))
