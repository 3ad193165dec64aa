"""Figures of agreement: between a judge and people, and between people.

κ weighs by chance (Cohen 1960; weighted, Cohen 1968), α allows any number of raters and missing
ones (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"). All κ come from a confusion
matrix, so that a bootstrap over groups only adds matrices.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foretaste.judge.people.labels import Floats, Ints, Labels, nearest

Weights = Literal["none", "linear", "quadratic"]
Metric = Literal["nominal", "ordinal", "interval"]
BINS = 10  # of the calibration curve


def confusion(truth: Ints, said: Ints, levels: int) -> Ints:
    """(levels, levels) counts: row what people said, column what the judge said."""
    cells = np.bincount(truth * levels + said, minlength=levels * levels)
    return cells.reshape(levels, levels).astype(np.int64)


def kappa(table: NDArray[Any], weights: Weights = "none", scale: Floats | None = None) -> float:
    """Cohen's κ of a confusion matrix: 1 − Σ w·observed / Σ w·expected.

    Args:
        table: (levels, levels) counts.
        weights: disagreement counts 1, |i − j| or (i − j)², with i and j the levels' values.
        scale: (levels,) their values; 0, 1, 2, … when None.

    Returns:
        κ in [−1, 1]; NaN when only one level was used by both.

    >>> kappa(np.array([[20, 5], [10, 15]]))
    0.4
    """
    counts = np.asarray(table, dtype=np.float64)
    values = np.arange(len(counts), dtype=np.float64) if scale is None else scale
    gap = np.abs(values[:, None] - values[None])  # (levels, levels)
    cost = {"none": (gap > 0).astype(float), "linear": gap, "quadratic": gap**2}[weights]
    total = counts.sum()
    if not total:
        return float("nan")
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / total
    by_chance = float((cost * expected).sum())
    if by_chance == 0:
        return float("nan")
    return round(1 - float((cost * counts).sum()) / by_chance, 12)


def alpha(raters: Floats, metric: Metric = "ordinal") -> float:
    """Krippendorff's α over raters: 1 − observed / expected disagreement.

    Args:
        raters: (n, r) values, NaN where a rater said nothing; rows with fewer than two values
            cannot be paired and are left out.
        metric: how far two values are apart: different at all; by how many values lie between
            them; by their squared difference.

    Returns:
        α, at most 1; NaN without two values to pair or when only one value was used.
    """
    paired = raters[(~np.isnan(raters)).sum(axis=1) >= 2]
    values = np.unique(paired[~np.isnan(paired)])
    if len(values) < 2:
        return float("nan")
    held = np.stack([(paired == value).sum(axis=1) for value in values], axis=1)  # (n, values)
    sizes = held.sum(axis=1)  # (n,)
    shares = held / (sizes - 1)[:, None]
    coincidences = held.T @ shares - np.diag(shares.sum(axis=0))  # (values, values)
    margins = coincidences.sum(axis=1)
    gap = _gaps(values, margins, metric)
    observed = float((coincidences * gap).sum())
    expected = float((np.outer(margins, margins) * gap).sum()) / (margins.sum() - 1)
    return float(1 - observed / expected)


def _gaps(values: Floats, margins: Floats, metric: Metric) -> Floats:
    """(values, values) squared distances of α."""
    if metric == "nominal":
        return 1 - np.eye(len(values))
    if metric == "interval":
        return np.asarray((values[:, None] - values[None]) ** 2)
    before = np.cumsum(margins) - margins / 2  # middle of each value's place in the ranking
    return np.asarray((before[:, None] - before[None]) ** 2)


def spearman(one: Floats, other: Floats) -> float:
    """Spearman's ρ, ties sharing their mean rank; NaN when one of them is constant."""
    from scipy.stats import rankdata

    if len(one) < 2:
        return float("nan")
    a, b = rankdata(one), rankdata(other)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else float("nan")


def roc_auc(good: NDArray[np.bool_], scores: Floats) -> float:
    """Chance that a good answer scores above a bad one, a tie counting half; NaN without both."""
    from scipy.stats import rankdata

    many, few = int(good.sum()), int((~good).sum())
    if not many or not few:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[good].sum() - many * (many + 1) / 2) / (many * few))


def balanced_accuracy(good: NDArray[np.bool_], said: NDArray[np.bool_]) -> float:
    """The mean of the shares of good and of bad answers that were told as such."""
    parts = [said[good], ~said[~good]]
    return float(np.mean([part.mean() for part in parts if len(part)]))


def calibration(good: NDArray[np.bool_], chances: Floats) -> dict[str, Any]:
    """Whether a predicted chance of a good answer holds.

    Returns:
        curve: by tenths of the chance, the mean chance, the share of good answers, and n;
        ece: expected calibration error, their mean distance weighted by n (Naeini et al. 2015);
        brier: mean squared distance of chance and truth.
    """
    bins = np.minimum((chances * BINS).astype(int), BINS - 1)
    rows = [
        {
            "chance": round(float(chances[bins == one].mean()), 4),
            "share": round(float(good[bins == one].mean()), 4),
            "n": int((bins == one).sum()),
        }
        for one in range(BINS)
        if (bins == one).any()
    ]
    off = sum(row["n"] * abs(row["chance"] - row["share"]) for row in rows) / max(1, len(good))
    return {"curve": rows, "ece": off, "brier": float(np.mean((chances - good) ** 2))}


def people(labels: Labels) -> dict[str, Any] | None:
    """How well people agree: each rater against the mean of the others, on rows that both have.

    Returns:
        spearman and kappa_quadratic: means over raters, `by_rater` each of them; `alpha` over all.
        None with fewer than two raters.
    """
    count = labels.raters.shape[1]
    if count < 2:
        return None
    found = [_against_others(labels, rater) for rater in range(count)]
    return {
        "spearman": float(np.mean([one["spearman"] for one in found])),
        "kappa_quadratic": float(np.mean([one["kappa_quadratic"] for one in found])),
        "by_rater": found,
        "alpha": {
            metric: alpha(labels.raters, metric) for metric in ("nominal", "ordinal", "interval")
        },
    }


def _against_others(labels: Labels, rater: int) -> dict[str, Any]:
    others = np.delete(labels.raters, rater, axis=1)
    own = labels.raters[:, rater]
    both = ~np.isnan(own) & ~np.isnan(others).all(axis=1)
    own, mean = own[both], np.nanmean(others[both], axis=1)
    levels = nearest(mean, labels.scale), nearest(own, labels.scale)
    return {
        "n": len(own),
        "spearman": spearman(own, mean),
        "kappa_quadratic": kappa(confusion(*levels, len(labels.scale)), "quadratic", labels.scale),
        "spearman_with_label": spearman(own, labels.labels[both]),
        "kappa_quadratic_with_label": kappa(
            confusion(labels.levels[both], levels[1], len(labels.scale)), "quadratic", labels.scale
        ),
    }
