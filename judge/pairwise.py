"""Two answers held against each other: asked in both orders, ties allowed, position bias counted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from foretaste.agents.wording.prompting import clean
from foretaste.judge import prompting
from foretaste.judge.asking import Reading, ask_readably
from foretaste.judge.graph import Bench
from foretaste.judge.objects import PREFERENCE, Better, Fault, Look, Pair, Preference
from foretaste.judge.schemas import CompareAnswer, Shown

ORDERS = ("first shown first", "second shown first")


async def compare(bench: Bench, pair: Pair) -> Preference:
    """Ask which answer is better, in both orders, and settle.

    A judge that names the same answer twice, or once beside a tie, prefers it; one that names
    either the answer that it saw first or the one that it saw second has said tie. A judgement of
    which one order could not be read is unreadable.

    Raises:
        EngineError: no answer came.
    """
    records, target = bench.records, bench.rubric.target
    if records is not None:
        pair = await asyncio.to_thread(lambda: records.of_pair(records.of_person(pair), target))
    readings = await asyncio.gather(*(_ask(bench, pair, swapped) for swapped in (False, True)))
    looks = tuple(
        _look(one.parsed, one.text, swapped, bench.rubric.names)
        for one, swapped in zip(readings, (False, True), strict=True)
        if one.parsed is not None
    )
    faults = tuple(one.fault for one in readings if one.fault is not None)
    steps = tuple(step for one in readings for step in one.steps)
    return settled(pair, looks, faults).model_copy(update={"steps": steps})


def settled(pair: Pair, looks: tuple[Look, ...], faults: tuple[Fault, ...] = ()) -> Preference:
    """What two looks come to; nothing when one of them is missing.

    >>> pair = Pair(id="1", first=("a",), second=("b",))
    >>> one, other = Look(swapped=False, better="first"), Look(swapped=True, better="second")
    >>> settled(pair, (one, other)).better, settled(pair, (one, one)).score
    ('tie', 1.0)
    """
    made = Preference(id=pair.id, group=pair.group, segments=pair.segments)
    if faults or not looks:
        return made.model_copy(update={"looks": looks, "faults": faults})
    score = sum(PREFERENCE[look.better] for look in looks) / len(looks)
    same = len({look.better for look in looks}) == 1
    told = {"better": better_of(score), "score": score, "consistent": same, "looks": looks}
    return made.model_copy(update=told)


def better_of(score: float) -> Better:
    """The side of one half on which a score lies.

    >>> better_of(0.75), better_of(0.5)
    ('first', 'tie')
    """
    return "tie" if score == 0.5 else "first" if score > 0.5 else "second"


@dataclass(frozen=True)
class PositionBias:
    """How much the order decides.

    Attributes:
        looks: readings that named one of the two.
        shown_first: share of them that named the one that was shown first; 0.5 without bias.
        pairs: pairs that were read in both orders.
        contradicted: share of these for which one order named one answer and the other the other.
        ties: share of all readings that said tie.
    """

    looks: int
    shown_first: float | None
    pairs: int
    contradicted: float | None
    ties: float | None


def position_bias(preferences: Iterable[Preference]) -> PositionBias:
    """Count how often the place decided.

    >>> one, other = Look(swapped=False, better="first"), Look(swapped=True, better="second")
    >>> position_bias([Preference(id="1", better="tie", looks=(one, other))])
    PositionBias(looks=2, shown_first=1.0, pairs=1, contradicted=1.0, ties=0.0)
    """
    every = [one.looks for one in preferences]
    looks = [look for some in every for look in some]
    named = [look for look in looks if look.better != "tie"]
    first = sum((look.better == "first") != look.swapped for look in named)
    both = [some for some in every if len(some) == len(ORDERS)]
    against = sum({look.better for look in some} == {"first", "second"} for some in both)
    return PositionBias(
        looks=len(named),
        shown_first=first / len(named) if named else None,
        pairs=len(both),
        contradicted=against / len(both) if both else None,
        ties=1 - len(named) / len(looks) if looks else None,
    )


async def _ask(bench: Bench, pair: Pair, swapped: bool) -> Reading[CompareAnswer]:
    config = bench.config
    return await ask_readably(
        bench.model,
        config.model_copy(update={"max_tokens": config.max_tokens * 2}),
        prompting.compare_messages(pair, bench.rubric, swapped, config.history_items),
        CompareAnswer,
        node="compare",
        label=ORDERS[swapped],
    )


def _look(answer: CompareAnswer, text: str, swapped: bool, names: tuple[str, ...]) -> Look:
    return Look(
        swapped=swapped,
        better=_unswapped(answer.better, swapped),
        points={
            one.dimension: _unswapped(one.better, swapped)
            for one in answer.points
            if one.dimension in names
        },
        reason=clean(answer.reason, 240),
        text=text,
    )


def _unswapped(shown: Shown, swapped: bool) -> Better:
    if shown == "tie":
        return "tie"
    return "first" if (shown == "1") != swapped else "second"
