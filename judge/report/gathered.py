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
from foretaste.judge.people.agreement import confusion, kappa, spearman
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
        kappa_quadratic of them. None where there is nothing to go by.
    """
    seconds = {record.id: record for record in other}
    both = [(record, seconds[record.id]) for record in one if record.id in seconds]
    scored = [(a.score, b.score) for a, b in both if a.score is not None and b.score is not None]
    tiers = [
        (TIERS.index(a.tier), TIERS.index(b.tier)) for a, b in both if a.tier and b.tier
    ]  # (n, 2) places, S first
    found: dict[str, Any] = {"n": len(scored), "tiers": len(tiers)}
    pair = np.array(scored, dtype=np.float64).reshape(-1, 2)
    apart = len(pair) > 1 and bool((pair.std(axis=0) > 0).all())
    found["spearman"] = round(spearman(pair[:, 0], pair[:, 1]), 4) if apart else None
    places = np.array(tiers, dtype=np.int64).reshape(-1, 2)
    same = places[:, 0] == places[:, 1]
    found["accuracy"] = round(float(same.mean()), 4) if len(same) else None
    table = confusion(places[:, 0], places[:, 1], len(TIERS))
    several = len(np.unique(places)) > 1
    found["kappa"] = round(kappa(table), 4) if several else None
    found["kappa_quadratic"] = round(kappa(table, "quadratic"), 4) if several else None
    return found


def _agreement(path: Path) -> dict[str, Any]:
    """The figures that `judge agree --json` wrote."""
    held = next((row for _, row in rows_of(path)), {})
    if any(key not in held for key in _AGREE):
        raise InputError(
            f"{path.name} holds no figures of `foretaste judge agree --json`; a report shows these, "
            "and runs of `judge run` and `judge pairwise`, whose names end in .jsonl."
        )
    return held
