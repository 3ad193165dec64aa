"""Losses over the scores of one group: answers to the same context, each of a tier."""

from __future__ import annotations

from typing import Any

from torch.nn import functional as F


def listwise(scores: Any, tiers: Any, weights: Any = None) -> Any:
    """−Σ_{g∈{S,A}} Σ_{y∈g} log( e^{f(y)} / (e^{f(y)} + Σ_{lower tiers} e^{f(y')}) ).

    RecGPT-V2 (arXiv 2512.14503, section 5.2), on scores before the sigmoid; here the mean over the
    answers that have a lower tier beneath them, so that large groups do not outweigh small ones.

    Args:
        scores: (n,) float32.
        tiers: (n,) int64, 2 for S, 1 for A, 0 for B.
        weights: (n,) float32, what each answer counts for; 1 each when None.

    Returns:
        A scalar; 0 when all answers are of one tier.
    """
    lower = tiers[None, :] < tiers[:, None]  # (n, n): row's answer stands above column's
    some = lower.any(dim=1)
    if not some.any():
        return scores.sum() * 0.0
    beneath = scores[None, :].expand(len(scores), -1).masked_fill(~lower, float("-inf"))
    pressure = beneath[some].logsumexp(dim=1) - scores[some]  # (m,)
    losses = F.softplus(pressure)
    return (losses if weights is None else weights[some] * losses).mean()


def pointwise(scores: Any, tiers: Any, weights: Any = None) -> Any:
    """Binary cross-entropy of each answer for itself, against the share of its tier: B 0, A ½, S 1.

    Args:
        scores: (n,) float32.
        tiers: (n,) int64, 2 for S, 1 for A, 0 for B.
        weights: (n,) float32, what each answer counts for; 1 each when None.
    """
    return F.binary_cross_entropy_with_logits(scores, tiers.float() / 2, weights)
