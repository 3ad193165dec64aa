"""The lines of a run of judgements, and reading them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from foretaste.agents.objects import Frozen, Step
from foretaste.data.errors import InputError
from foretaste.judge.batch.rows import lines_of
from foretaste.judge.objects import Case, Judgement, Pair, Preference

_ANSWER_LINES, _LINE_CHARACTERS = 40, 500  # of what was judged that a line of a run keeps


class Spent(Frozen):
    """What one judgement cost: tokens read, of these from the prefix cache, and written; calls, of
    these asked again; milliseconds of wall time."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    calls: int = 0
    retries: int = 0
    ms: float = 0.0


class Record(Judgement):
    """One line of `judge run`: the judgement, what was judged, by whom, at what cost.

    Attributes:
        answer, context: of the case, cut when very long.
        made_of: judge, model, adapter, rubric, hashes; see `Judge.made_of`.
        spent: tokens, calls, milliseconds.
    """

    answer: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    made_of: dict[str, str] = Field(default_factory=dict)
    spent: Spent = Spent()


class PairRecord(Preference):
    """One line of `judge pairwise`; attributes as in `Record`."""

    first: tuple[str, ...] = ()
    second: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    made_of: dict[str, str] = Field(default_factory=dict)
    spent: Spent = Spent()


def record_of(case: Case, judgement: Judgement, made_of: Mapping[str, str], ms: float) -> Record:
    """The line of one judgement."""
    return Record(
        **judgement.model_dump(exclude={"steps"}),
        answer=_cut(case.answer),
        context=_cut(case.context),
        made_of=dict(made_of),
        spent=spent(judgement.steps, ms),
    )


def pair_record_of(
    pair: Pair, preference: Preference, made_of: Mapping[str, str], ms: float
) -> PairRecord:
    """The line of one preference."""
    return PairRecord(
        **preference.model_dump(exclude={"steps"}),
        first=_cut(pair.first),
        second=_cut(pair.second),
        context=_cut(pair.context),
        made_of=dict(made_of),
        spent=spent(preference.steps, ms),
    )


def spent(steps: Sequence[Step], ms: float) -> Spent:
    """The cost of some calls; answers that could not be read cost all the same."""
    return Spent(
        prompt=sum(step.prompt for step in steps),
        cached=sum(step.cached for step in steps),
        completion=sum(step.completion for step in steps),
        calls=len(steps),
        retries=sum(step.fallback is not None for step in steps),
        ms=round(ms, 1),
    )


def line_of(record: Record | PairRecord) -> dict[str, Any]:
    """A record as the JSON object of its line."""
    return record.model_dump(mode="json", exclude={"steps"})


def read_records(path: Path) -> Iterator[Record]:
    """The judgements of a run of `judge run`, in the order in which they were made.

    Raises:
        InputError: no such file, or a line of something else.
    """
    for number, row in lines_of(path):
        try:
            yield Record.model_validate(row)
        except ValidationError as error:
            raise InputError(
                f"{path.name}, line {number}, is no judgement; a file that `foretaste judge run` "
                "wrote was expected."
            ) from error


def read_preferences(path: Path) -> Iterator[PairRecord]:
    """The preferences of a run of `judge pairwise`.

    Raises:
        InputError: no such file, or a line of something else.
    """
    for number, row in lines_of(path):
        try:
            yield PairRecord.model_validate(row)
        except ValidationError as error:
            raise InputError(
                f"{path.name}, line {number}, is no preference; a file that `foretaste judge "
                "pairwise` wrote was expected."
            ) from error


def is_pairwise(path: Path) -> bool:
    """Whether a run holds preferences; looks at its first line."""
    return next(("looks" in row for _, row in lines_of(path)), False)


def _cut(lines: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(line[:_LINE_CHARACTERS] for line in lines[:_ANSWER_LINES])
