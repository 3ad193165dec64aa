"""Any scorers on any split: full ranks over all items, figures with intervals, as JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foretaste.data.dataset import Dataset
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.histories import Histories
from foretaste.data.progress import Meter, meter
from foretaste.data.splits import Cases, FittedOn, Split
from foretaste.judge.ranking.bootstrap import Floats, interval, resampled_means
from foretaste.judge.ranking.lists import (
    Lists,
    coverage,
    diversity,
    information,
    novelty,
    top_lists,
)
from foretaste.judge.ranking.segments import Mask, segments
from foretaste.serving.rules.base import Scorer, Scores, popularity
from foretaste.serving.rules.ranking import Standing, by_blocks, drop_history, standing

LIST = 10  # length of the lists behind coverage, novelty and diversity
DEPTHS = (5, 10, 50, 200)
CUT = tuple(f"{metric}@{depth}" for depth in DEPTHS for metric in ("r", "n"))
MEANS = (*CUT, "mrr", "novelty", "diversity")  # with intervals
PAIRED = ("r@10", "n@10")
IN_SEGMENTS = ("r@10", "n@10")
LEADING = "n@10"  # the metric of `pairs`


@dataclass(frozen=True)
class Protocol:
    """How a ranking is measured.

    Attributes:
        fitted_on: the events that the methods' statistics were made from (stated, and used for
            novelty and the head and tail segments).
        history: `dropped`: items of a history are no candidates, except the target itself.
        users: ask a random sample of so many users, or all when None.
        seed: of the sample, of ties in lists and of the bootstrap.
        resamples: of the bootstrap.
    """

    fitted_on: FittedOn = "train"
    history: Literal["dropped", "kept"] = "dropped"
    users: int | None = None
    seed: int = 0
    resamples: int = 1000


@dataclass(frozen=True)
class Outcome:
    """One method on all cases.

    Attributes:
        standing: places of the targets.
        lists: (n, 10) int32, the first items of each ranking.
        seconds: wall time of scoring and ranking.
    """

    standing: Standing
    lists: Lists
    seconds: float


@dataclass(frozen=True)
class Question:
    """What all methods are asked, and what their answers are compared with."""

    dataset: Dataset
    cases: Cases
    fitted: Histories
    protocol: Protocol
    vectors: Scores | None = None
    parts: Mapping[str, Mask] = field(default_factory=dict)


def evaluate_ranking(
    dataset: Dataset,
    split: Split,
    methods: Sequence[Scorer],
    protocol: Protocol | None = None,
    vectors: Scores | None = None,
    best: str | None = None,
    pairs: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Rank every item for every test case by each method.

    Args:
        methods: fitted already, on `split.fitted_on(protocol.fitted_on)`; names must differ.
        vectors: (items, d) float32 unit vectors behind diversity; without them it is null.
        best: the method that all others are paired with; the first one when None.
        pairs: further pairs of methods that are compared.

    Returns:
        The object of `evaluate ranking --json`: split, users, methods (name → figures), pairs.

    Raises:
        InputError: no test cases, no methods, or two of one name.
        ForetasteError: a method gave scores of a wrong shape or that are not numbers.
    """
    protocol = protocol or Protocol()
    names = [method.name for method in methods]
    if not names or len(set(names)) < len(names):
        raise InputError(f"One or more methods of different names were expected, not {names}.")
    cases = _sampled(split.test, protocol)
    if not len(cases):
        raise InputError(
            f"Nobody in {dataset.name} can be asked: {split.rule} Import more interactions."
        )
    fitted = split.fitted_on(protocol.fitted_on)
    parts = segments(dataset, cases, fitted)
    question = Question(dataset, cases, fitted, protocol, vectors, parts)
    with meter("Ranking all items", len(methods) * len(cases), "rankings") as progress:
        outcomes = {method.name: _ask(method, question, progress) for method in methods}
    best = best or names[0]
    compared = [(best, other) for other in names if best in names and other != best]
    return _report(question, split, outcomes, [*compared, *pairs])


def _sampled(cases: Cases, protocol: Protocol) -> Cases:
    """The cases of a random sample of users."""
    everyone = np.unique(cases.users)
    if protocol.users is None or protocol.users >= len(everyone):
        return cases
    draw = np.random.default_rng(protocol.seed)
    chosen = draw.choice(everyone, protocol.users, replace=False)
    return cases.take(np.flatnonzero(np.isin(cases.users, chosen)))


def _ask(method: Scorer, question: Question, progress: Meter) -> Outcome:
    """All rankings of one method, a block of cases at a time."""
    items, protocol = len(question.dataset.item_ids), question.protocol

    def one_block(part: Cases) -> tuple[Standing, Lists]:
        scores = method.scores(part.histories)
        if scores.shape != (len(part), items):
            raise ForetasteError(
                f"{method.name} should score {len(part)} × {items} items and gave {scores.shape}."
            )
        if protocol.history == "dropped":
            drop_history(scores, part.histories, part.targets)
        seed = [protocol.seed, int(part.users[0]), int(part.targets[0])]
        places, lists = standing(scores, part.targets), top_lists(scores, LIST, seed)
        return places, lists

    start = time.perf_counter()
    found = by_blocks(one_block, question.cases, items, progress)
    whole = Standing(
        np.concatenate([places.better for places, _ in found]),
        np.concatenate([places.tied for places, _ in found]),
    )
    lists = np.concatenate([lists for _, lists in found])
    return Outcome(whole, lists, time.perf_counter() - start)


def _values(question: Question, outcome: Outcome) -> dict[str, Floats]:
    """Metric → (n,) its value for each case; NaN where it does not apply."""
    bits = information(popularity(question.fitted, len(question.dataset.item_ids)))
    places = outcome.standing
    found = {
        **{f"r@{depth}": places.recall(depth) for depth in DEPTHS},
        **{f"n@{depth}": places.ndcg(depth) for depth in DEPTHS},
        "mrr": places.reciprocal(),
        "novelty": novelty(outcome.lists, bits),
        "diversity": np.full(len(places), np.nan),
    }
    if question.vectors is not None:
        found["diversity"] = diversity(outcome.lists, question.vectors)
    for name, mask in question.parts.items():
        for metric in IN_SEGMENTS:
            found[f"{name} {metric}"] = np.where(mask, found[metric], np.nan)
    return found


def _report(
    question: Question,
    split: Split,
    outcomes: Mapping[str, Outcome],
    pairs: Sequence[tuple[str, str]],
) -> dict[str, Any]:
    """Figures of each method, and of each pair."""
    values = {name: _values(question, outcome) for name, outcome in outcomes.items()}
    columns = list(next(iter(values.values())))
    table = np.stack([one[column] for one in values.values() for column in columns], axis=1)
    protocol = question.protocol
    means = resampled_means(table, question.cases.users, protocol.resamples, protocol.seed)
    drawn = {
        (name, column): means[:, place * len(columns) + other]
        for place, name in enumerate(values)
        for other, column in enumerate(columns)
    }
    return {
        "dataset": question.dataset.name,
        "split": split.kind,
        "fitted_on": protocol.fitted_on,
        "history": protocol.history,
        "users": len(np.unique(question.cases.users)),
        "cases": len(question.cases),
        "items": len(question.dataset.item_ids),
        "seed": protocol.seed,
        "resamples": protocol.resamples,
        "rule": split.rule,
        "segments": {name: int(mask.sum()) for name, mask in question.parts.items()},
        "methods": {
            name: _figures(question, outcomes[name], values[name], name, drawn) for name in values
        },
        "pairs": {f"{one}-{other}": _pair(values, drawn, one, other) for one, other in pairs},
    }


def _figures(
    question: Question,
    outcome: Outcome,
    values: Mapping[str, Floats],
    name: str,
    drawn: Mapping[tuple[str, str], Floats],
) -> dict[str, Any]:
    """The figures of one method."""
    figures: dict[str, Any] = {metric: _mean(values[metric]) for metric in MEANS}
    figures["coverage"] = coverage(outcome.lists, len(question.dataset.item_ids))
    figures["seconds"] = round(outcome.seconds, 3)
    figures["intervals"] = {metric: interval(drawn[name, metric]) for metric in MEANS}
    parts = {
        part: {"users": len(np.unique(question.cases.users[mask])), "cases": int(mask.sum())}
        | {metric: _mean(values[f"{part} {metric}"]) for metric in IN_SEGMENTS}
        | {"intervals": {m: interval(drawn[name, f"{part} {m}"]) for m in IN_SEGMENTS}}
        for part, mask in question.parts.items()
    }
    return figures | {"against_order": parts.pop("against_order"), "segments": parts}


def _pair(
    values: Mapping[str, Mapping[str, Floats]],
    drawn: Mapping[tuple[str, str], Floats],
    one: str,
    other: str,
) -> dict[str, Any]:
    """How much better one method is than another, in total and against the catalogue's order."""

    def compare(metric: str) -> dict[str, Any]:
        found = interval(drawn[one, metric] - drawn[other, metric])
        low, high = found or (None, None)
        delta = _mean(values[one][metric] - values[other][metric])
        return {"delta": delta, "low": low, "high": high}

    found: dict[str, Any] = {"metric": LEADING, **compare(LEADING)}
    found["others"] = {metric: compare(metric) for metric in PAIRED if metric != LEADING}
    found["against_order"] = {metric: compare(f"against_order {metric}") for metric in PAIRED}
    return found


def _mean(values: NDArray[np.float64]) -> float | None:
    """The mean over cases that count, or None when there are none."""
    held = values[~np.isnan(values)]
    return float(held.mean()) if len(held) else None
