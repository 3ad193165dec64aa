"""One run as figures: tiers, marks, scores with intervals, segments, quotes, cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretaste.judge.batch.saved import PairRecord, Record, Spent
from foretaste.judge.objects import MARKS, TIERS
from foretaste.judge.pairwise import position_bias
from foretaste.judge.ranking.bootstrap import interval, resampled_means

RESAMPLES = 1000
WORST = 10  # cases that are shown
MOST_VALUES = 20  # of one segment that are told


def figures(records: Iterable[Record], seed: int = 0) -> dict[str, Any]:
    """The figures of one run of `judge run`.

    Args:
        records: its lines.
        seed: of the bootstrap over groups.

    Returns:
        cases, unreadable, made_of, tiers (tier → cases), score ({mean, interval}: over cases, its
        interval by resampling groups), dimensions (name → mark → cases), evidence (marks of those who quote; how many
        of them rest on no quote that stands anywhere, `without`; quotes, unsupported), disagreement
        (of panels, mean), segments (name → value → {n, tiers, score}), cost (see `cost`).
        Unreadable cases stand in `unreadable` and nowhere else.
    """
    whole, parted = _Part(), dict[str, dict[str, _Part]]()
    marks: dict[str, Counter[str]] = {}
    evidence = dict.fromkeys(("marks", "without", "quotes", "unsupported"), 0)
    cases, made_of, spent, told = 0, dict[str, str](), list[Spent](), list[float]()
    for one in records:
        cases += 1
        made_of = made_of or one.made_of
        spent.append(one.spent)
        if one.faults:
            continue
        whole.add(one)
        told += [] if one.disagreement is None else [one.disagreement]
        for name, value in one.segments.items():
            parted.setdefault(name, {}).setdefault(value, _Part()).add(one)
        for verdict in one.verdicts:
            marks.setdefault(verdict.dimension, Counter())[verdict.mark] += 1
            if not verdict.text and not verdict.evidence:
                continue  # a rule that found nothing has nothing to quote
            evidence["marks"] += 1
            evidence["without"] += verdict.unsupported == len(verdict.evidence)
            evidence["quotes"] += len(verdict.evidence)
            evidence["unsupported"] += verdict.unsupported
    return {
        "cases": cases,
        "unreadable": cases - len(whole.scores),
        "made_of": made_of,
        **whole.told(seed),
        "dimensions": {name: {mark: n[mark] for mark in MARKS} for name, n in marks.items()},
        "evidence": evidence,
        "disagreement": round(sum(told) / len(told), 4) if told else None,
        "segments": {name: _commonest(values, seed) for name, values in parted.items()},
        "cost": cost(spent),
    }


@dataclass
class _Part:
    """What is kept of some readable cases: a few numbers each."""

    tiers: Counter[str] = field(default_factory=Counter)
    scores: list[float] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def add(self, one: Record) -> None:
        """Count one case."""
        self.tiers[one.tier or ""] += 1
        self.scores.append(math.nan if one.score is None else one.score)
        self.groups.append(one.group or one.id)

    def told(self, seed: int) -> dict[str, Any]:
        """Tiers, and the mean score with its interval."""
        scores = np.array(self.scores, dtype=np.float64).reshape(-1, 1)  # (cases, 1)
        means = resampled(scores, numbered(self.groups), seed)
        return {
            "tiers": {tier: self.tiers[tier] for tier in TIERS},
            "score": mean_of(scores[:, 0], means[:, 0]),
        }


def _commonest(values: dict[str, _Part], seed: int) -> dict[str, dict[str, Any]]:
    """Value → figures, of the commonest `MOST_VALUES`."""
    order = sorted(values.items(), key=lambda pair: -len(pair[1].scores))[:MOST_VALUES]
    return {value: {"n": len(part.scores), **part.told(seed)} for value, part in order}


def pair_figures(records: Iterable[PairRecord], seed: int = 0) -> dict[str, Any]:
    """The figures of one run of `judge pairwise`.

    Returns:
        cases, unreadable, made_of, first, tie and second (each {n, share, interval}), consistent
        (share of pairs on which both orders agree), position (see `PositionBias`), points
        (dimension → answer → readings), cost.
    """
    kept = list(records)
    read = [one for one in kept if one.better is not None]
    groups = numbered([one.group or one.id for one in read])
    won = np.array([[one.better == side for side in _SIDES] for one in read], dtype=np.float64)
    won = won.reshape(-1, len(_SIDES))  # (pairs, 3)
    means = resampled(won, groups, seed)
    points: dict[str, Counter[str]] = {}
    for look in (look for one in read for look in one.looks):
        for name, better in look.points.items():
            points.setdefault(name, Counter())[better] += 1
    same = [one.consistent for one in read if one.consistent is not None]
    bias = position_bias(kept)
    return {
        "cases": len(kept),
        "unreadable": len(kept) - len(read),
        "made_of": kept[0].made_of if kept else {},
        **{
            side: {"n": int(won[:, i].sum()), **mean_of(won[:, i], means[:, i], "share")}
            for i, side in enumerate(_SIDES)
        },
        "consistent": round(sum(same) / len(same), 4) if same else None,
        "position": {
            "shown_first": _rounded(bias.shown_first),
            "looks": bias.looks,
            "contradicted": _rounded(bias.contradicted),
            "ties": _rounded(bias.ties),
        },
        "points": {name: {side: n[side] for side in _SIDES} for name, n in points.items()},
        "cost": cost([one.spent for one in kept]),
    }


_SIDES = ("first", "tie", "second")


def worst(records: Iterable[Record], count: int = WORST) -> list[Record]:
    """The readable cases of the lowest tier and score, those with negative marks first."""
    read = (one for one in records if not one.faults and one.score is not None)

    def badness(one: Record) -> tuple[int, float, str]:
        return -TIERS.index(one.tier) if one.tier else 0, one.score or 0.0, one.id

    return nsmallest(count, read, key=badness)


def cost(spent: Sequence[Spent]) -> dict[str, Any]:
    """Tokens in all, calls, calls asked again, and milliseconds of a case (mean and 95th percentile)."""
    ms = [one.ms for one in spent]
    return {
        "prompt": sum(one.prompt for one in spent),
        "cached": sum(one.cached for one in spent),
        "completion": sum(one.completion for one in spent),
        "calls": sum(one.calls for one in spent),
        "retries": sum(one.retries for one in spent),
        "ms": round(float(np.mean(ms)), 1) if ms else 0.0,
        "ms_p95": round(float(np.quantile(ms, 0.95)), 1) if ms else 0.0,
    }


def numbered(names: Sequence[str]) -> NDArray[np.int64]:
    """(n,) a number for each name, the same for the same."""
    return np.unique(np.array(names, dtype=np.str_), return_inverse=True)[1].astype(np.int64)


def resampled(
    values: NDArray[np.float64], groups: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """(resamples, columns) means over groups drawn with replacement; NaN for a single group, which
    tells nothing about others."""
    if len(np.unique(groups)) < 2:
        return np.full((1, values.shape[1]), np.nan)
    return resampled_means(values, groups, RESAMPLES, seed)


def mean_of(
    values: NDArray[np.float64], means: NDArray[np.float64], name: str = "mean"
) -> dict[str, Any]:
    """{mean, interval} of values and of their resampled means; None where there is nothing."""
    held = values[~np.isnan(values)]
    if not len(held):
        return {name: None, "interval": None}
    low_high = interval(means)
    told = [round(end, 4) for end in low_high] if low_high else None
    return {name: round(float(held.mean()), 4), "interval": told}


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
