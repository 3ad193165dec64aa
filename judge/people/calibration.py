"""From a judge's raw scores to chances and levels that hold: fitted on a training part, stored as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from foretaste.judge.people.agreement import confusion, kappa
from foretaste.judge.people.labels import Floats, Ints

Kind = Literal["isotonic", "platt"]
CANDIDATES = 60  # quantiles of the scores among which thresholds are looked for
ROUNDS = 6  # passes over the thresholds
MARGIN = 1e-6  # chances stay this far from 0 and 1 where their logarithm is taken


class Calibration(BaseModel, frozen=True):
    """Raw score → calibrated score, chance of a good answer, and level.

    Attributes:
        kind: `isotonic` (Zadrozny and Elkan 2002) or `platt` (Platt 1999).
        at: rising raw scores.
        expected: the expected label at each of them; between two of them linear.
        chances: the chance of a good answer at each of them.
        cuts: raw scores from which on the next level is said, rising: those with the highest
            quadratic κ on the training part.
        good_cut: raw score from which on an answer is called good: that with the highest balanced
            accuracy.
    """

    kind: Kind
    at: tuple[float, ...]
    expected: tuple[float, ...]
    chances: tuple[float, ...]
    cuts: tuple[float, ...]
    good_cut: float

    def expected_label(self, scores: Floats) -> Floats:
        """(n,) the expected label; NaN stays NaN."""
        return self._between(scores, self.expected)

    def chance(self, scores: Floats) -> Floats:
        """(n,) the chance of a good answer; NaN stays NaN."""
        return self._between(scores, self.chances)

    def level(self, scores: Floats) -> Ints:
        """(n,) the place of the level on the scale."""
        return np.searchsorted(np.array(self.cuts), scores, side="right").astype(np.int64)

    def good(self, scores: Floats) -> NDArray[np.bool_]:
        """(n,) whether an answer is called good."""
        return np.asarray(scores >= self.good_cut)

    def _between(self, scores: Floats, values: Sequence[float]) -> Floats:
        return np.asarray(np.interp(scores, np.array(self.at), np.array(values)))


def fit_calibration(
    scores: Floats,
    labels: Floats,
    levels: Ints,
    good: NDArray[np.bool_],
    scale: Floats,
    kind: Kind = "isotonic",
) -> Calibration:
    """A calibration by raw scores of rows that the judge did not learn from.

    Args:
        scores: (n,) finite.
        labels, levels, good: (n,) what people said.
        scale: values of the levels.
        kind: isotonic needs some hundred rows; Platt's two numbers do with less.
    """
    grid = np.unique(np.quantile(scores, np.linspace(0, 1, 201)))
    curve = _isotonic if kind == "isotonic" else _platt
    low, high = float(scale[0]), float(scale[-1])
    share = np.clip((labels - low) / (high - low), 0, 1)
    return Calibration(
        kind=kind,
        at=tuple(grid.tolist()),
        expected=tuple((low + (high - low) * curve(scores, share, grid)).tolist()),
        chances=tuple(curve(scores, good.astype(np.float64), grid).tolist()),
        cuts=tuple(best_cuts(scores, levels, scale).tolist()),
        good_cut=_best_good(scores, good),
    )


def best_cuts(scores: Floats, levels: Ints, scale: Floats) -> Floats:
    """(levels − 1,) rising thresholds with the highest quadratic κ, one after another in turns."""
    grid = np.unique(np.quantile(scores, np.linspace(0, 1, CANDIDATES + 1)[1:-1]))
    start = np.quantile(
        scores, np.cumsum(np.bincount(levels, minlength=len(scale)))[:-1] / len(levels)
    )
    cuts, best = np.asarray(start, dtype=np.float64), -np.inf
    for _ in range(ROUNDS):
        before = best
        for place in range(len(cuts)):
            low = cuts[place - 1] if place else -np.inf
            high = cuts[place + 1] if place + 1 < len(cuts) else np.inf
            for value in (*grid[(grid >= low) & (grid <= high)], *_outer(scores, place, len(cuts))):
                tried = cuts.copy()
                tried[place] = value
                if (np.diff(tried) < 0).any():
                    continue
                said = np.searchsorted(tried, scores, side="right")
                found = kappa(confusion(levels, said, len(scale)), "quadratic", scale)
                if found > best:
                    best, cuts = found, tried
        if best <= before:
            break
    return cuts


def _outer(scores: Floats, place: int, count: int) -> list[float]:
    """Cuts that leave the first or the last level out."""
    edges = [] if place else [float(scores.min()) - 1]
    return edges if place < count - 1 else [*edges, float(scores.max()) + 1]


def _best_good(scores: Floats, good: NDArray[np.bool_]) -> float:
    """The threshold with the highest balanced accuracy, in the middle between two scores."""
    order = np.argsort(scores, kind="stable")
    ranked, truth = scores[order], good[order]
    bad_below = np.cumsum(~truth) / max(1, int((~truth).sum()))
    good_above = 1 - np.cumsum(truth) / max(1, int(truth.sum()))
    gain = np.where(np.append(np.diff(ranked) > 0, False), bad_below + good_above, -1.0)
    place = int(gain.argmax())
    if gain[place] < 0:
        return float(ranked[0])
    return float((ranked[place] + ranked[place + 1]) / 2)


def _isotonic(scores: Floats, shares: Floats, grid: Floats) -> Floats:
    from sklearn.isotonic import IsotonicRegression

    model = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, shares)
    return np.asarray(model.predict(grid), dtype=np.float64)


def _platt(scores: Floats, shares: Floats, grid: Floats) -> Floats:
    """A logistic curve, fitted to shares by weighing each row as so much good and so much bad."""
    from sklearn.linear_model import LogisticRegression

    spread = float(scores.std()) or 1.0
    rows = np.concatenate([scores, scores])[:, None] / spread
    truth = np.repeat([1, 0], len(scores))
    model: Any = LogisticRegression(C=1e3).fit(
        rows, truth, sample_weight=np.concatenate([shares, 1 - shares]) + MARGIN
    )
    return np.asarray(model.predict_proba(grid[:, None] / spread)[:, 1], dtype=np.float64)
