"""Whether the items of a page suit a history: a few figures of fit, and a small head over them.

The head is a logistic regression, fitted to clean pages against other users' items for the same
people. Its threshold tells the two best apart, and lies in the middle where they lie apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.retrieval.tools import Tools
from foretaste.data.histories import Histories
from foretaste.judge.probes.pages import Page

Floats = NDArray[np.float64]
NEWEST = 30  # events of a history that are looked at
FEATURES = 8
ALARMS = 0.01  # share of clean pages of the fitting part that may be called foreign


@dataclass(frozen=True)
class FitHead:
    """Weights over the figures of fit, and the score below which a page is called foreign.

    Attributes:
        centre, spread, weights: (FEATURES,).
        threshold: of the score.
    """

    centre: Floats
    spread: Floats
    weights: Floats
    threshold: float

    def scores(self, features: Floats) -> Floats:
        """(n,) higher is a better fit."""
        return np.asarray(((features - self.centre) / self.spread) @ self.weights)

    def foreign(self, features: Floats) -> NDArray[np.bool_]:
        """(n,) whether the items are hardly this person's."""
        return np.asarray(self.scores(features) < self.threshold)


def features_of(tools: Tools, pages: Sequence[Page]) -> Floats:
    """(n, FEATURES) how the items of each page suit its own history.

    Of the items' places among all items by the collaborative rule, as logarithms: mean, best,
    worst. Of the cosines with the history: the mean of each item's nearest, of the mean history, the
    lowest nearest. Of categories: the share of items that share one, and their mean rarity.
    """
    out = np.zeros((len(pages), FEATURES))
    for number, page in enumerate(pages):
        out[number] = _features(tools, page)
    return out


def fit_head(own: Floats, foreign: Floats, seed: int) -> FitHead:
    """The head from figures of clean pages and of other users' items.

    Args:
        own: (n, FEATURES) of clean pages.
        foreign: (m, FEATURES) of other users' items before the same histories.
        seed: of the solver.
    """
    from sklearn.linear_model import LogisticRegression

    both = np.concatenate([own, foreign])
    centre, spread = both.mean(axis=0), both.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    truth = np.repeat([1, 0], [len(own), len(foreign)])
    model = LogisticRegression(C=1.0, random_state=seed).fit((both - centre) / spread, truth)
    weights = np.asarray(model.coef_[0], dtype=np.float64)
    scores = ((both - centre) / spread) @ weights
    return FitHead(centre, spread, weights, _between(scores[truth == 1], scores[truth == 0]))


def _between(own: Floats, foreign: Floats) -> float:
    """The score below which the fewest of both are told wrongly, at most `ALARMS` of the own."""
    low = float(np.quantile(own, ALARMS))
    ranked = np.unique(np.concatenate([own, foreign]))
    cuts = (ranked[:-1] + ranked[1:]) / 2
    cuts = cuts[cuts <= low]
    if not len(cuts):
        return low
    wrong = [float(np.mean(own < cut) + np.mean(foreign >= cut)) for cut in cuts]
    return float(cuts[int(np.argmin(wrong))])


def _features(tools: Tools, page: Page) -> Floats:
    dataset = tools.dataset
    history = [dataset.row_of[one] for one in page.history if one in dataset.row_of]
    items = [dataset.row_of[one] for one in page.item_ids if one in dataset.row_of]
    if not history or not items:
        return np.zeros(FEATURES)
    scores = tools.rule.scores(Histories.from_lists([history]))[0]  # (items,)
    scores[history] = -np.inf
    places = np.log1p([float((scores > scores[item]).sum()) for item in items])
    newest = np.array(history[-NEWEST:])
    mean = tools.vectors[newest].mean(axis=0)
    near = tools.vectors[items] @ tools.vectors[newest].T  # (items, newest)
    shared = _shared(tools, items, newest)
    return np.array(
        [
            -places.mean(),
            -places.min(),
            -places.max(),
            near.max(axis=1).mean(),
            float((tools.vectors[items] @ mean).mean()),
            near.max(axis=1).min(),
            float(np.mean(shared > 0)),
            float(shared.mean()),
        ]
    )


def _shared(tools: Tools, items: Sequence[int], history: NDArray[np.int64]) -> Floats:
    """(items,) rarity of the rarest category that an item shares with the history; 0 for none."""
    terms = tools.lexicon.categories
    chosen = {int(term) for row in history for term in terms.terms_of(int(row))}
    found = []
    for item in items:
        both = [int(term) for term in terms.terms_of(int(item)) if int(term) in chosen]
        found.append(max((float(terms.idf[term]) for term in both), default=0.0))
    return np.array(found)
