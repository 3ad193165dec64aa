"""The figures of one arm, and pairs of arms by paired resampling of people."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.explaining.diversity import tokens
from foretaste.agents.reasoning.choosing import specificity
from foretaste.judge.intent.cases import Asked
from foretaste.judge.intent.lists import Lists, Written, ranks
from foretaste.judge.ranking.bootstrap import interval, resampled_means

CUTS = (5, 10, 30)
AGENTS = ("planner", "expert", "arbiter", "explainer")
Hits = NDArray[np.float64]
UNREADABLE = "unreadable"  # how the reason of a fallback begins when the answer was no answer


def hits(lists: Lists, targets: NDArray[np.int64]) -> Hits:
    """(users, cuts) float64, whether the target is among the first 5, 10 and 30."""
    at = ranks(lists, targets)
    return np.stack([at < cut for cut in CUTS], axis=1).astype(np.float64)


def hit_rates(own: Hits, resamples: int, seed: int) -> dict[str, Any]:
    """hr@5, hr@10 and hr@30 with the middle 95 % of resampled people."""
    means = resampled_means(own, np.arange(len(own)), resamples, seed)
    found: dict[str, Any] = {}
    for number, cut in enumerate(CUTS):
        found[f"hr@{cut}"] = round(float(own[:, number].mean()), 4)
        found[f"hr@{cut}_interval"] = _rounded(interval(means[:, number]))
    return found


def pair(one: Hits, other: Hits, resamples: int, seed: int, of: str = "") -> list[dict[str, Any]]:
    """The first arm minus the second at every cut: delta, low, high and the relative change.

    Args:
        one, other: of the same people.
        resamples: of the people.
        seed: of the draws.
        of: what the names of the metrics begin with.
    """
    both = np.concatenate([one, other], axis=1)  # (users, 2 × cuts)
    means = resampled_means(both, np.arange(len(one)), resamples, seed)
    rows = []
    for number, cut in enumerate(CUTS):
        deltas = means[:, number] - means[:, len(CUTS) + number]
        low, high = interval(deltas) or (0.0, 0.0)
        first, second = float(one[:, number].mean()), float(other[:, number].mean())
        rows.append(
            {
                "metric": f"{of}hr@{cut}",
                "delta": round(first - second, 4),
                "low": round(low, 4),
                "high": round(high, 4),
                "relative": round(first / second - 1, 4) if second else None,
            }
        )
    return rows


def arm(asked: Asked, written: Sequence[Written]) -> dict[str, Any]:
    """What an arm's tags are like and what they cost; hit rates stand apart.

    Tags are all that experts proposed. `tag_validity`: share that some item of the catalogue
    matches. `specificity`: 1 for a tag that one item matches, 0 for one that all do. `diversity`:
    mean of 1 - cosine over pairs of one person's kept tags. `format_errors`: share of calls whose
    answer fits no schema. `duplicates`: share of a person's tags with the same words as another.
    """
    lexicon, embedder = asked.tools.lexicon, asked.tools.embedder
    matches = cache(lambda text: len(lexicon.matching(text)))
    tags = [tag.text for one in written for tag in one.tags]
    calls = [step for one in written for step in one.steps]
    asked_calls = [step for step in calls if step.node in AGENTS]
    unreadable = [s for s in asked_calls if (s.fallback or "").startswith(UNREADABLE)]
    items = len(asked.tools.vectors)
    spent = [sum(s.prompt + s.completion for s in one.steps) for one in written]
    written_tokens = [sum(s.completion for s in one.steps) for one in written]
    return {
        "tag_validity": _mean([matches(text) > 0 for text in tags]),
        "specificity": _mean([specificity(matches(text), items) for text in tags]),
        "diversity": _mean([_spread(embedder.encode(_kept(one))) for one in written if _kept(one)]),
        "format_errors": _mean([step in unreadable for step in asked_calls]),
        "duplicates": _mean([_repeats([t.text for t in one.tags]) for one in written if one.tags]),
        "fallback_rate": {
            name: _mean([s.fallback is not None for s in calls if s.node == name])
            for name in AGENTS
        },
        "repair_rate": {
            name: _mean([s.repaired is not None for s in calls if s.node == name])
            for name in AGENTS
        },
        "retry_rate": {
            name: _mean([s.asks > 1 for s in calls if s.node == name]) for name in AGENTS
        },
        "tags_per_user": _mean([len(one.tags) for one in written]),
        "kept_per_user": _mean([len(_kept(one)) for one in written]),
        "tokens_per_user": _mean(spent),
        "written_per_user": _mean(written_tokens),
        "seconds_per_user": _mean([one.ms / 1000 for one in written]),
    }


def _kept(written: Written) -> list[str]:
    return [verdict.tag.text for verdict in written.verdicts if verdict.kept]


def _spread(vectors: NDArray[np.float32]) -> float:
    """Mean cosine distance over pairs; 0 for a single one."""
    pairs = list(combinations(range(len(vectors)), 2))
    return float(np.mean([1 - vectors[a] @ vectors[b] for a, b in pairs])) if pairs else 0.0


def _repeats(tags: Sequence[str]) -> float:
    said = [" ".join(sorted(tokens(text))) for text in tags]
    return 1 - len(set(said)) / len(said)


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None


def _rounded(pair_: tuple[float, float] | None) -> list[float] | None:
    return None if pair_ is None else [round(value, 4) for value in pair_]
