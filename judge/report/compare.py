"""Two runs of the same rubric held against each other: wins, ties, losses, by segment, with care.

Cases are paired by their ids, or by their groups when both runs judged other answers to the same
people. Intervals resample groups; p is an exact sign test over groups that differ; what is told of
several segments is corrected by Holm's method.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import binomtest

from foretaste.data.errors import InputError
from foretaste.judge.batch.saved import Record
from foretaste.judge.report.figures import mean_of, numbered, resampled

ENOUGH = 5  # pairs of a segment below which nothing is said about it


@dataclass(frozen=True)
class Met:
    """One case that both runs judged, or one group with the means of its cases.

    Attributes:
        group: whose it is.
        first, second: the scores.
        segments: by which results are parted.
    """

    group: str
    first: float
    second: float
    segments: dict[str, str]

    def outcome(self, margin: float) -> float:
        """1 when the first run is better by more than `margin`, -1 when the second is, else 0."""
        gap = self.first - self.second
        return 0.0 if abs(gap) <= margin else 1.0 if gap > 0 else -1.0


By = Literal["id", "group"]


def compare_runs(
    first: Iterable[Record],
    second: Iterable[Record],
    by: By | None = None,
    margin: float = 0.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Win / tie / loss of the first run against the second.

    Args:
        first: its judgements.
        second: the other's, of the same rubric.
        by: what is paired: cases of the same id, or the means of groups. None takes ids when at
            least half of the shorter run's are in the other, else groups.
        margin: difference of scores up to which two are tied.
        seed: of the bootstrap.

    Returns:
        paired_by, unpaired ({first, second}: readable cases or groups without a partner),
        unreadable ({first, second}), margin, total, and segments (name → value). total and each
        segment have n, win, tie and loss ({n, share, interval}), gain (mean difference of the
        scores, {mean, interval}) and p; segments have p_holm as well.

    Raises:
        InputError: the runs have other rubrics, or nothing in common.
    """
    runs = {"first": list(first), "second": list(second)}
    _same_rubric(*runs.values())
    read = {side: [one for one in run if not one.faults] for side, run in runs.items()}
    by = by or _usual(*read.values())
    sides = {side: _by_name(run, by) for side, run in read.items()}
    common = [name for name in sides["first"] if name in sides["second"]]
    if not common:
        raise InputError(
            f"The two runs have no readable {by} in common; judge answers to the same people or "
            "queries, with the same ids or groups."
        )
    met = [_meeting(sides["first"][name], sides["second"][name]) for name in common]
    return {
        "paired_by": by,
        "unpaired": {side: len(named) - len(common) for side, named in sides.items()},
        "unreadable": {side: len(run) - len(read[side]) for side, run in runs.items()},
        "margin": margin,
        "total": _told(met, margin, seed),
        "segments": _segments(met, margin, seed),
    }


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979), in the given order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    corrected, highest = [0.0] * len(ps), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, ps[i] * (len(ps) - rank)))
        corrected[i] = round(highest, 6)
    return corrected


def _same_rubric(first: Sequence[Record], second: Sequence[Record]) -> None:
    hashes = [{one.made_of.get("rubric_hash", "") for one in run} for run in (first, second)]
    if hashes[0] != hashes[1]:
        raise InputError(
            "The two runs were judged by different rubrics; judge both answers by the same one."
        )


def _usual(first: Sequence[Record], second: Sequence[Record]) -> By:
    ids = [{one.id for one in run} for run in (first, second)]
    return "id" if 2 * len(ids[0] & ids[1]) >= min(map(len, ids)) > 0 else "group"


def _by_name(run: Sequence[Record], by: By) -> dict[str, list[Record]]:
    named: dict[str, list[Record]] = {}
    for one in run:
        if one.score is not None:
            named.setdefault(one.id if by == "id" else one.group or one.id, []).append(one)
    return named


def _meeting(first: Sequence[Record], second: Sequence[Record]) -> Met:
    """What two sides have of one id or group; segments that all of its cases share."""
    shared = set.intersection(*(set(one.segments.items()) for one in (*first, *second)))
    return Met(first[0].group or first[0].id, _mean(first), _mean(second), dict(shared))


def _mean(some: Sequence[Record]) -> float:
    return float(np.mean([one.score for one in some if one.score is not None]))


def _segments(met: Sequence[Met], margin: float, seed: int) -> dict[str, dict[str, Any]]:
    parted: dict[tuple[str, str], list[Met]] = {}
    for one in met:
        for segment in one.segments.items():
            parted.setdefault(segment, []).append(one)
    told = {
        segment: _told(some, margin, seed)
        for segment, some in sorted(parted.items())
        if len(some) >= ENOUGH
    }
    found: dict[str, dict[str, Any]] = {}
    corrected = holm([part["p"] for part in told.values()])
    for ((name, value), part), p in zip(told.items(), corrected, strict=True):
        found.setdefault(name, {})[value] = {**part, "p_holm": p}
    return found


def _told(met: Sequence[Met], margin: float, seed: int) -> dict[str, Any]:
    """Shares with intervals over groups, and p of the sign test over groups."""
    outcomes = np.array([one.outcome(margin) for one in met])  # (n,)
    gaps = np.array([one.first - one.second for one in met])  # (n,)
    groups = numbered([one.group for one in met])  # (n,)
    columns = {"win": outcomes > 0, "tie": outcomes == 0, "loss": outcomes < 0}
    values = np.stack([*columns.values(), gaps], axis=1).astype(np.float64)  # (n, 4)
    means = resampled(values, groups, seed)
    signs = np.sign(np.bincount(groups, weights=outcomes))  # (groups,)
    up, down = int((signs > 0).sum()), int((signs < 0).sum())
    p = float(binomtest(up, up + down).pvalue) if up + down else 1.0
    return {
        "n": len(met),
        **{
            name: {"n": int(column.sum()), **mean_of(values[:, i], means[:, i], "share")}
            for i, (name, column) in enumerate(columns.items())
        },
        "gain": mean_of(gaps, means[:, 3]),
        "p": round(p, 6),
    }
