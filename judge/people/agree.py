"""`foretaste judge agree`: any judge against people, by cross-validation over groups.

Every judge sees the same folds. What it fits (weights, calibration, thresholds) comes from the other
folds alone, and rows of one group never stand on both sides.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretaste.data.errors import InputError
from foretaste.data.progress import meter
from foretaste.judge.people.agreement import (
    alpha,
    balanced_accuracy,
    calibration,
    confusion,
    kappa,
    people,
    roc_auc,
    spearman,
)
from foretaste.judge.people.labels import Ints, Labels
from foretaste.judge.people.methods import Judged, Method
from foretaste.judge.ranking.bootstrap import interval

TIMED = 300  # rows that a judge is timed with
MEANS = ("spearman", "kappa_quadratic", "kappa", "balanced_accuracy", "roc_auc", "accuracy")
PAIRED = ("spearman", "kappa_quadratic", "balanced_accuracy")  # compared with each trivial judge


@dataclass(frozen=True)
class Protocol:
    """How agreement is measured.

    Attributes:
        folds: parts that the groups are cut into.
        seed: of that cut and of the bootstrap.
        resamples: of the bootstrap over groups.
    """

    folds: int = 5
    seed: int = 0
    resamples: int = 1000


@dataclass(frozen=True)
class Outcome:
    """What a judge said of every row while it had not seen the row's group, and how fast.

    Attributes:
        judged: what it said.
        pairs_per_second: rows with texts that were never read before.
        known_per_second: rows whose vectors are in the cache, as a catalogue's are.
    """

    judged: Judged
    pairs_per_second: float = 0.0
    known_per_second: float = 0.0


def folds_of(groups: Ints, folds: int, seed: int) -> Ints:
    """(n,) the fold of each row: whole groups, shuffled.

    Raises:
        InputError: fewer groups than folds.
    """
    count = int(groups.max()) + 1
    if not 2 <= folds <= count:
        raise InputError(
            f"--folds expects 2 to {count} here, not {folds}: rows of one group stay together and "
            f"there are {count} groups (--group)."
        )
    order = np.random.default_rng(seed).permutation(count)
    return np.asarray(order[groups] % folds, dtype=np.int64)


def cross_validated(method: Method, labels: Labels, protocol: Protocol) -> Outcome:
    """What a method says of each fold after being fitted on the others."""
    parts = folds_of(labels.groups, protocol.folds, protocol.seed)
    scores, chances = np.full(len(labels), np.nan), np.zeros(len(labels))
    levels, good = np.zeros(len(labels), dtype=np.int64), np.zeros(len(labels), dtype=bool)
    spent, known, timed = 0.0, 0.0, 0
    with meter(f"Judging with {method.name}", protocol.folds, "folds") as progress:
        for fold in range(protocol.folds):
            fitted = method.fit(labels.take(parts != fold))
            rows = np.flatnonzero(parts == fold)
            found = fitted.judge(labels.take(rows))
            scores[rows], chances[rows] = found.scores, found.chances
            levels[rows], good[rows] = found.levels, found.good
            if timed < TIMED:
                some, anew = labels.take(rows[: TIMED - timed]), fitted.uncached()
                anew.judge(some.take(np.arange(1)))  # loads what has to be loaded once
                start = time.perf_counter()
                anew.judge(some)
                spent, start = spent + time.perf_counter() - start, time.perf_counter()
                fitted.judge(some)
                known, timed = known + time.perf_counter() - start, timed + len(some)
            progress.advance(1)
    said = Judged(scores, chances, levels, good)
    return Outcome(said, timed / max(spent, 1e-9), timed / max(known, 1e-9))


def agree(
    judge: Method, others: Sequence[Method], labels: Labels, protocol: Protocol | None = None
) -> tuple[dict[str, Any], Outcome]:
    """A judge and the trivial ones against people, and people against each other.

    Args:
        judge: that is measured.
        others: it is compared with.
        labels: what people said.
        protocol: of the measurement.

    Returns:
        The object of `judge agree --json`, and what the judge said of each row.
    """
    protocol = protocol or Protocol()
    outcome = cross_validated(judge, labels, protocol)
    rest = {other.name: cross_validated(other, labels, protocol) for other in others}
    drawn = draws(labels, {"": outcome} | rest, protocol)
    human = people(labels)
    report = {
        "judge": judge.name,
        "task": labels.task,
        "n": len(labels),
        "split": {
            "kind": "cross-validation by group",
            "folds": protocol.folds,
            "groups": int(labels.groups.max()) + 1,
            "seed": protocol.seed,
        },
        "levels": list(labels.words),
        "positive": labels.positive,
        **figures(labels, outcome.judged),
        "pairs_per_second": round(outcome.pairs_per_second, 1),
        "known_per_second": round(outcome.known_per_second, 1),
        "intervals": {metric: interval(drawn["", metric]) for metric in MEANS},
        "human": human,
        "baselines": {
            name: figures(labels, one.judged)
            | {"ahead": _ahead(labels, outcome.judged, one.judged, drawn, name)}
            for name, one in rest.items()
        },
    }
    return report, outcome


def figures(labels: Labels, said: Judged) -> dict[str, Any]:
    """Every figure of one judge, over the rows that it could judge."""
    held = said.readable
    some, good = labels.take(held), said.good[held]
    table = confusion(some.levels, said.levels[held], len(labels.scale))
    return _finite(
        measured(labels, said, np.flatnonzero(held))
        | {
            "kappa_linear": kappa(table, "linear", labels.scale),
            "alpha": alpha(np.stack([some.labels, labels.scale[said.levels[held]]], axis=1)),
            "confusion": table.tolist(),
            "confusion_good": confusion(some.good.astype(int), good.astype(int), 2).tolist(),
            "calibration": calibration(some.good, said.chances[held]) if len(some) else None,
            "unreadable": int((~held).sum()),
        }
    )


def draws(
    labels: Labels, outcomes: Mapping[str, Outcome], protocol: Protocol
) -> dict[tuple[str, str], NDArray[np.float64]]:
    """(judge, metric) → (resamples,) figures over groups drawn with replacement, the same for all."""
    order = np.argsort(labels.groups, kind="stable")
    count = int(labels.groups.max()) + 1
    members = np.split(order, np.searchsorted(labels.groups[order], np.arange(1, count)))
    draw = np.random.default_rng(protocol.seed)
    rows: dict[tuple[str, str], list[float]] = {}
    with meter("Drawing groups", protocol.resamples, "resamples") as progress:
        for _ in range(protocol.resamples):
            chosen = np.concatenate([members[one] for one in draw.integers(count, size=count)])
            for name, outcome in outcomes.items():
                held = chosen[outcome.judged.readable[chosen]]
                for metric, value in measured(labels, outcome.judged, held).items():
                    rows.setdefault((name, metric), []).append(value)
            progress.advance(1)
    return {key: np.array(values) for key, values in rows.items()}


def measured(labels: Labels, said: Judged, rows: Ints) -> dict[str, float]:
    """The figures that get intervals, over some rows, which may come more than once."""
    truth, levels, good = labels.levels[rows], said.levels[rows], labels.good[rows]
    table = confusion(truth, levels, len(labels.scale))
    return {
        "spearman": spearman(said.scores[rows], labels.labels[rows]),
        "kappa": kappa(table),
        "kappa_quadratic": kappa(table, "quadratic", labels.scale),
        "balanced_accuracy": balanced_accuracy(good, said.good[rows]),
        "roc_auc": roc_auc(good, said.scores[rows]),
        "accuracy": float(np.mean(truth == levels)) if len(rows) else float("nan"),
    }


def _ahead(
    labels: Labels,
    one: Judged,
    other: Judged,
    drawn: Mapping[tuple[str, str], NDArray[np.float64]],
    name: str,
) -> dict[str, Any]:
    """How far the judge is ahead of a trivial one, with intervals."""
    ours, theirs = figures(labels, one), figures(labels, other)
    found: dict[str, Any] = {}
    for metric in PAIRED:
        if ours[metric] is None or theirs[metric] is None:
            continue
        found[metric] = {
            "delta": ours[metric] - theirs[metric],
            "interval": interval(drawn["", metric] - drawn[name, metric]),
        }
    return found


def _finite(found: dict[str, Any]) -> dict[str, Any]:
    """NaN as None: JSON has no NaN."""
    return {
        key: None if isinstance(value, float) and np.isnan(value) else value
        for key, value in found.items()
    }
