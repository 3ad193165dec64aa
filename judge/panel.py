"""Several judges, or several samples of one: majority and disagreement."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import combinations

from foretaste.judge.objects import (
    MARKS,
    TIERS,
    Case,
    Judge,
    Judgement,
    Mark,
    Tier,
    Verdict,
    Vote,
)
from foretaste.judge.review import tier_of


class Panel:
    """Judges that vote on every case.

    Args:
        judges: at least two.
        excellent: τ of the rubric, for the tier of the majority's marks.
    """

    def __init__(self, judges: Sequence[Judge], excellent: float) -> None:
        self._judges, self._excellent = tuple(judges), excellent

    @property
    def name(self) -> str:
        """The names of all judges."""
        return f"panel of {', '.join(judge.name for judge in self._judges)}"

    @property
    def made_of(self) -> dict[str, str]:
        """What the first judge is made of, with how each other one differs."""
        first, *others = (judge.made_of for judge in self._judges)
        made = first | {"judge": f"panel of {len(self._judges)}"}
        for number, other in enumerate(others, 2):
            told = [f"{key} {value}" for key, value in other.items() if value != first.get(key)]
            made[f"judge_{number}"] = "; ".join(told)
        return made

    async def judge(self, case: Case) -> Judgement:
        """The majority of all judges.

        Raises:
            EngineError: one of them did not answer.
        """
        said = await asyncio.gather(*(judge.judge(case) for judge in self._judges))
        return majority(said, [judge.name for judge in self._judges], self._excellent)


def majority(said: Sequence[Judgement], names: Sequence[str], excellent: float) -> Judgement:
    """What several judgements of one case come to.

    Of each dimension the middle mark counts, the lower of two in the middle; the tier follows by
    rule. Where the judges give tiers without marks, the middle tier counts. A judgement that could
    not be read is an abstention; when none could, the whole is unreadable.

    Args:
        said: at least one judgement, all of the same case.
        names: of their judges.
        excellent: τ of the rubric.

    Returns:
        The judgement. Each mark carries reason and evidence of the first judge that gave it; the
        score is the mean over the judges that were read.
    """
    first = said[0]
    whole = Judgement(id=first.id, group=first.group, segments=first.segments).model_copy(
        update={
            "votes": tuple(_vote(one, name) for one, name in zip(said, names, strict=True)),
            "disagreement": disagreement([one.tier for one in said]),
            "steps": tuple(step for one in said for step in one.steps),
        }
    )
    read = [one for one in said if not one.faults]
    if not read:
        faults = tuple(fault for one in said for fault in one.faults)
        return whole.model_copy(update={"faults": faults})
    verdicts = _verdicts(read)
    marks = [one.mark for one in verdicts]
    scores = [one.score for one in read if one.score is not None]
    score = round(sum(scores) / len(scores), 4) if scores else None
    tier = tier_of(marks, excellent) if marks else _middle_tier([one.tier for one in read])
    return whole.model_copy(update={"verdicts": verdicts, "tier": tier, "score": score})


def disagreement(tiers: Sequence[Tier | None]) -> float | None:
    """The share of pairs of judges whose tiers differ; None with fewer than two tiers.

    >>> disagreement(["A", "A", "B", None])
    0.6667
    """
    pairs = list(combinations([tier for tier in tiers if tier is not None], 2))
    return round(sum(a != b for a, b in pairs) / len(pairs), 4) if pairs else None


def middle_mark(marks: Sequence[Mark]) -> Mark:
    """The middle mark, the lower of two in the middle.

    >>> middle_mark(["positive", "negative"]), middle_mark(["positive", "negative", "positive"])
    ('negative', 'positive')
    """
    return sorted(marks, key=MARKS.index)[(len(marks) - 1) // 2]


def _verdicts(read: Sequence[Judgement]) -> tuple[Verdict, ...]:
    said: dict[str, list[Verdict]] = {}
    for one in read:
        for verdict in one.verdicts:
            said.setdefault(verdict.dimension, []).append(verdict)
    found = []
    for verdicts in said.values():
        mark = middle_mark([one.mark for one in verdicts])
        found.append(next(one for one in verdicts if one.mark == mark))
    return tuple(found)


def _middle_tier(tiers: Sequence[Tier | None]) -> Tier | None:
    known = sorted((tier for tier in tiers if tier is not None), key=TIERS.index)
    return known[len(known) // 2] if known else None


def _vote(one: Judgement, name: str) -> Vote:
    return Vote(judge=name, tier=one.tier, marks={v.dimension: v.mark for v in one.verdicts})
