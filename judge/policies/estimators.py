"""Off-policy estimators with intervals, and the risk and return of choosing by them.

IPS (Horvitz and Thompson 1952), self-normalised (SNIPS, Swaminathan and Joachims 2015), doubly robust
(Dudík, Langford and Li 2011), SharpeRatio@k (Kiyohara et al. 2024, "Towards Assessing and
Benchmarking Risk-Return Tradeoff of Off-Policy Evaluation").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretaste.judge.policies.log import Floats, Ints, Log, Policy

ESTIMATORS = ("ips", "snips", "dr")
PRIOR = 10.0  # impressions that the mean reward counts for in an action's estimated reward
FOLDS = 2  # the reward model of a row never saw the row's person


@dataclass(frozen=True)
class Terms:
    """What each impression adds to the estimates.

    Attributes:
        weights: (n,) w = π(a | x) / p(a | x), cut at the largest that is allowed.
        rewards: (n,) r.
        model: (n,) q̂(x, a) of what was logged.
        expected: (n,) Σ_a π(a | x) q̂(x, a).
    """

    weights: Floats
    rewards: Floats
    model: Floats
    expected: Floats

    def estimates(self, counts: Floats) -> dict[str, Floats]:
        """Estimator → (resamples,) its value.

        Args:
            counts: (resamples, n) how often each impression is drawn.

        IPS = mean(w r); SNIPS = Σ w r / Σ w; DR = mean(Σ_a π q̂ + w (r − q̂)).
        """
        total = counts.sum(axis=1)
        paid = counts @ (self.weights * self.rewards)
        weight = counts @ self.weights
        robust = counts @ (self.expected + self.weights * (self.rewards - self.model))
        with np.errstate(invalid="ignore", divide="ignore"):
            return {"ips": paid / total, "snips": paid / weight, "dr": robust / total}

    @property
    def effective(self) -> float:
        """(Σ w)² / Σ w²: impressions that the estimate really rests on (Kish 1965)."""
        squares = float((self.weights**2).sum())
        return float(self.weights.sum()) ** 2 / squares if squares else 0.0


def terms_of(log: Log, policy: Policy, clip: float = float("inf"), seed: int = 0) -> Terms:
    """The terms of a policy's estimates.

    The reward model is each action's mean reward, drawn towards the mean of all, from contexts of the
    other fold (cross-fitting, Chernozhukov et al. 2018).

    Args:
        log: of the logging policy.
        policy: that is estimated.
        clip: largest weight; a smaller one trades variance for bias.
        seed: of the folds.
    """
    weights = np.minimum(policy.logged / log.propensities, clip)
    parts = np.random.default_rng(seed).permutation(int(log.people.max()) + 1) % FOLDS
    parts = parts[log.people]  # (contexts,)
    model, expected = np.zeros(len(log)), np.zeros(len(log))
    for fold in range(FOLDS):
        rows = parts[log.contexts] == fold
        rewards = action_rewards(log, ~rows)
        model[rows] = rewards[log.actions[rows]]
        entries = parts[policy.contexts] == fold
        told = policy.chances[entries] * rewards[policy.actions[entries]]
        by_context = np.bincount(
            policy.contexts[entries], weights=told, minlength=len(log.context_of)
        )
        expected[rows] = by_context[log.contexts[rows]]
    return Terms(weights, log.rewards, model, expected)


def action_rewards(log: Log, rows: NDArray[np.bool_]) -> Floats:
    """(actions + 1,) estimated reward of each action from some impressions; the last, which −1 finds,
    is that of an action that was never logged.
    """
    mean = float(log.rewards[rows].mean()) if rows.any() else 0.0
    size = len(log.action_of) + 1
    shown = np.bincount(log.actions[rows], minlength=size)
    paid = np.bincount(log.actions[rows], weights=log.rewards[rows], minlength=size)
    return np.asarray((paid + PRIOR * mean) / (shown + PRIOR))


def person_draws(owners: Ints, resamples: int, seed: int) -> Floats:
    """(resamples, n) how often each impression is drawn when people are drawn with replacement.

    Args:
        owners: (n,) number of the person of each impression.
    """
    count = int(owners.max()) + 1
    draw = np.random.default_rng(seed)
    drawn = np.stack(
        [np.bincount(draw.integers(count, size=count), minlength=count) for _ in range(resamples)]
    )
    return drawn[:, owners].astype(np.float64)


def sharpe_ratio(estimates: Floats, values: Floats, behaviour: float, k: int) -> float:
    """SharpeRatio@k = (best@k − J(π_b)) / std@k of the k policies that an estimator puts first.

    Args:
        estimates: (policies,) by the estimator that is assessed.
        values: (policies,) what they are really worth, J(π).
        behaviour: J(π_b), what the logging policy earns.
        k: policies that would be tried online.

    Returns:
        How much the best of them gains for the risk of trying all of them; NaN for fewer than two, or
        when all are worth the same.

    >>> round(sharpe_ratio(np.array([3., 2., 1.]), np.array([.30, .20, .90]), .10, 2), 9)
    4.0
    """
    if k < 2 or len(estimates) < k:
        return float("nan")
    top = values[np.argsort(-estimates, kind="stable")[:k]]
    risk = float(top.std())
    return (float(top.max()) - behaviour) / risk if risk else float("nan")
