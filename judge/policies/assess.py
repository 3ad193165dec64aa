"""`foretaste judge policies`: estimated online effect, judge's score and ranking metric in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foretaste.data.errors import InputError
from foretaste.judge.policies.estimators import (
    ESTIMATORS,
    Terms,
    person_draws,
    sharpe_ratio,
    terms_of,
)
from foretaste.judge.policies.log import Floats, Log, Policy
from foretaste.judge.ranking.bootstrap import interval

_CELLS = 20_000_000  # drawn counts held at once: 160 MB
ENOUGH = 0.01  # share of the impressions that an estimate should rest on


@dataclass(frozen=True)
class Beside:
    """What is known of the policies beside the log: policy → figure.

    Attributes:
        judged: the judge's mean score.
        ranking: a ranking metric.
        online: value measured online, J(π); SharpeRatio@k is exact with it.
    """

    judged: Mapping[str, float] = field(default_factory=dict)
    ranking: Mapping[str, float] = field(default_factory=dict)
    online: Mapping[str, float] = field(default_factory=dict)


def assess(
    log: Log,
    policies: Sequence[Policy],
    beside: Beside | None = None,
    *,
    clip: float = float("inf"),
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Estimate every policy from the log, with 95 % intervals by a bootstrap over contexts.

    Args:
        log: impressions of the logging policy.
        policies: candidates; names must differ.
        beside: what else is known of them.
        clip: largest importance weight.
        resamples: of the bootstrap.
        seed: of bootstrap and folds.

    Returns:
        logging (n, contexts, value), policies: name → each estimator's value, interval and effect over
        the logging policy with its interval, effective sample, largest weight, warning; judge score and
        ranking metric beside; sharpe_ratio: estimator → k → figure.

    Raises:
        InputError: no policy, two of one name, or a figure of a policy that is not there.
    """
    beside = beside or Beside()
    names = [one.name for one in policies]
    if not names or len(set(names)) < len(names):
        raise InputError(f"One or more policies of different names were expected, not {names}.")
    for known in (beside.judged, beside.ranking, beside.online):
        for name in known:
            if name not in names:
                raise InputError(f"There is no policy {name!r}; there are {', '.join(names)}.")
    terms = {one.name: terms_of(log, one, clip, seed) for one in policies}
    drawn, logged = _drawn(log, terms, resamples, seed)
    found = {
        name: _figures(one, drawn[name], logged)
        | {
            "judge_score": beside.judged.get(name),
            "ranking": beside.ranking.get(name),
            "online": beside.online.get(name),
        }
        for name, one in terms.items()
    }
    return {
        "logging": {
            "n": len(log),
            "contexts": len(log.context_of),
            "value": float(log.rewards.mean()),
            "interval": interval(logged),
        },
        "policies": found,
        "sharpe_ratio": _sharpe(log, terms, beside.online, seed),
        "sharpe_ratio_by": "online values" if beside.online else "the other half of the contexts",
        "resamples": resamples,
        "seed": seed,
    }


def _drawn(
    log: Log, terms: Mapping[str, Terms], resamples: int, seed: int
) -> tuple[dict[str, dict[str, Floats]], Floats]:
    """Estimates of every policy, and the logging policy's value, over the same draws."""
    drawn: dict[str, dict[str, list[Floats]]] = {
        name: {one: [] for one in ESTIMATORS} for name in terms
    }
    logged: list[Floats] = []
    size = max(1, _CELLS // max(1, len(log)))
    for start in range(0, resamples, size):
        counts = person_draws(log.owners, min(size, resamples - start), seed + start)
        logged.append(counts @ log.rewards / counts.sum(axis=1))
        for name, one in terms.items():
            for estimator, values in one.estimates(counts).items():
                drawn[name][estimator].append(values)
    whole = {
        name: {one: np.concatenate(parts) for one, parts in some.items()}
        for name, some in drawn.items()
    }
    return whole, np.concatenate(logged)


def _figures(terms: Terms, drawn: Mapping[str, Floats], logged: Floats) -> dict[str, Any]:
    point = terms.estimates(np.ones((1, len(terms.rewards))))
    base = float(terms.rewards.mean())
    found: dict[str, Any] = {
        estimator: {
            "value": _number(float(point[estimator][0])),
            "interval": interval(drawn[estimator]),
            "effect": _number(float(point[estimator][0]) - base),
            "effect_interval": interval(drawn[estimator] - logged),
        }
        for estimator in ESTIMATORS
    }
    few = terms.effective < ENOUGH * len(terms.rewards)
    return found | {
        "effective_n": terms.effective,
        "largest_weight": float(terms.weights.max()),
        "mean_weight": float(terms.weights.mean()),
        "warning": "the log hardly shows what this policy would show" if few else None,
    }


def _sharpe(
    log: Log, terms: Mapping[str, Terms], online: Mapping[str, float], seed: int
) -> dict[str, dict[str, float | None]]:
    """SharpeRatio@k of every estimator, k from 2 on.

    Without online values the contexts are halved: one half chooses, doubly robust estimates on the
    other stand for what the policies are worth.
    """
    names = [name for name in terms if name in online] if online else list(terms)
    half = np.random.default_rng([seed, 3]).permutation(int(log.people.max()) + 1) % 2
    first = (half[log.owners] == 0).astype(np.float64)[None]  # (1, n)
    chooses = np.ones_like(first) if online else first
    if not chooses.any() or chooses.all() != bool(online):
        return {}
    worth = np.array(
        [
            online[name] if online else float(terms[name].estimates(1 - first)["dr"][0])
            for name in names
        ]
    )
    behaviour = float((log.rewards * (1 if online else 1 - first[0])).sum())
    behaviour /= len(log) if online else float((1 - first).sum())
    found: dict[str, dict[str, float | None]] = {}
    for estimator in ESTIMATORS:
        guessed = np.array([float(terms[name].estimates(chooses)[estimator][0]) for name in names])
        guessed = np.nan_to_num(guessed, nan=-np.inf)
        found[estimator] = {
            str(k): _number(sharpe_ratio(guessed, worth, behaviour, k))
            for k in range(2, len(names) + 1)
        }
    return found


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
