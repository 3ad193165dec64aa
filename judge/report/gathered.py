"""Files of verdicts, preferences and agreement, read for one report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from foretaste.data.errors import InputError
from foretaste.judge.batch.rows import LINES, rows_of
from foretaste.judge.batch.saved import Record, is_pairwise, read_preferences, read_records
from foretaste.judge.objects import TIERS
from foretaste.judge.people.agreement import confusion, kappa, roc_auc, spearman
from foretaste.judge.report.figures import figures, pair_figures, worst

_AGREE = ("spearman", "kappa_quadratic", "baselines")


@dataclass(frozen=True)
class Shown:
    """One file of a report: its name, its figures, and of a run its worst cases."""

    name: str
    figures: dict[str, Any]
    worst: tuple[Record, ...] = ()


@dataclass(frozen=True)
class Report:
    """What a report shows.

    Attributes:
        runs: of `judge run`.
        pairs: of `judge pairwise`.
        people: what `judge agree --json` printed.
        between: (run, run) → how far two runs over the same cases agree.
    """

    runs: tuple[Shown, ...]
    pairs: tuple[Shown, ...]
    people: tuple[Shown, ...]
    between: dict[tuple[str, str], dict[str, Any]]


def gather(paths: Sequence[Path], seed: int = 0) -> Report:
    """Read the files of a report.

    Args:
        paths: runs of `judge run` and `judge pairwise` (.jsonl), and figures of `judge agree` (.json).
        seed: of the intervals.

    Raises:
        InputError: a file of something else, or two files of one name.
    """
    runs: list[Shown] = []
    pairs: list[Shown] = []
    people: list[Shown] = []
    records: dict[str, list[Record]] = {}
    for path in paths:
        name = path.stem
        if name in {one.name for one in (*runs, *pairs, *people)}:
            raise InputError(f"Two files are called {name}; rename one, so that both can be told.")
        if path.suffix not in LINES:
            people.append(Shown(name, _agreement(path)))
        elif is_pairwise(path):
            pairs.append(Shown(name, pair_figures(read_preferences(path), seed)))
        else:
            records[name] = list(read_records(path))
            runs.append(Shown(name, figures(records[name], seed), tuple(worst(records[name]))))
    between = {
        (one, other): found
        for one, other in combinations(records, 2)
        if (found := agreement(records[one], records[other]))["n"]
    }
    return Report(tuple(runs), tuple(pairs), tuple(people), between)


def agreement(one: Iterable[Record], other: Iterable[Record]) -> dict[str, Any]:
    """How far two runs over the same cases agree, over those that both could read.

    Returns:
        n; spearman of the scores; tiers (cases with a tier in both), accuracy, kappa and
        kappa_quadratic of them; and how well the scores of the first tell the tiers of the second:
        roc_auc of defects (B) against the rest, pairs (of one group, of different tiers) and order
        (share of these that the scores put the same way, ties one half). None where there is nothing
        to go by.
    """
    seconds = {record.id: record for record in other}
    both = [(record, seconds[record.id]) for record in one if record.id in seconds]
    scored = [(a.score, b.score) for a, b in both if a.score is not None and b.score is not None]
    tiers = [(TIERS.index(a.tier), TIERS.index(b.tier)) for a, b in both if a.tier and b.tier]
    pair = np.array(scored, dtype=np.float64).reshape(-1, 2)  # (n, 2)
    apart = len(pair) > 1 and bool((pair.std(axis=0) > 0).all())
    places = np.array(tiers, dtype=np.int64).reshape(-1, 2)  # (n, 2) S first
    same = places[:, 0] == places[:, 1]
    table = confusion(places[:, 0], places[:, 1], len(TIERS))
    several = len(np.unique(places)) > 1
    return {
        "n": len(scored),
        "spearman": round(spearman(pair[:, 0], pair[:, 1]), 4) if apart else None,
        "tiers": len(tiers),
        "accuracy": round(float(same.mean()), 4) if len(same) else None,
        "kappa": round(kappa(table), 4) if several else None,
        "kappa_quadratic": round(kappa(table, "quadratic"), 4) if several else None,
        **_told_by_scores(both),
    }


def _told_by_scores(both: Sequence[tuple[Record, Record]]) -> dict[str, Any]:
    """How well scores of the first tell tiers of the second."""
    held = [(a, b.tier) for a, b in both if a.score is not None and b.tier is not None]
    good = np.array([tier != "B" for _, tier in held])
    scores = np.array([a.score for a, _ in held], dtype=np.float64)
    both_kinds = bool(good.any() and not good.all())
    groups: dict[str, list[tuple[int, float]]] = {}
    for (a, tier), score in zip(held, scores.tolist(), strict=True):
        groups.setdefault(a.group or a.id, []).append((-TIERS.index(tier), score))
    points = [
        0.5 if x == y else float((x > y) == (better > worse))
        for some in groups.values()
        for (better, x), (worse, y) in combinations(some, 2)
        if better != worse
    ]
    return {
        "roc_auc": round(roc_auc(good, scores), 4) if both_kinds else None,
        "pairs": len(points),
        "order": round(sum(points) / len(points), 4) if points else None,
    }


def _agreement(path: Path) -> dict[str, Any]:
    """The figures that `judge agree --json` wrote."""
    held = next((row for _, row in rows_of(path)), {})
    if any(key not in held for key in _AGREE):
        raise InputError(
            f"{path.name} holds no figures of `foretaste judge agree --json`; a report shows these, "
            "and runs of `judge run` and `judge pairwise`, whose names end in .jsonl."
        )
    return held
