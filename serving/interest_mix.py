"""The mix that is served: untrained rules and the next-interest model, ordered by a small ranker.

A rule and the model, both z-scored, name the first candidates of each person; for those the ranker reads what
every part says of them and how they are like the history, and small networks (one fold of
validation people each, averaged) order them. It reads no ids and no row numbers.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from numpy.typing import NDArray

from foretaste.data.histories import Histories
from foretaste.serving.interest import Interest
from foretaste.serving.interest_ranker import MixRecord
from foretaste.serving.rules.base import Constants, FittedRule, Scorer, Scores, recency, zscores
from foretaste.serving.rules.recipes import Material, fit, start_of
from foretaste.serving.rules.select import Choice
from foretaste.serving.towers import item_facts

PLAIN = ("transitions", "item_cosine", "bm25_last", "embedding_last", "popularity")
_BY_VECTOR = "embedding_last"
_DECAY, _NEWEST = 0.7, 20  # how the history is summed up that candidates are compared with
_LIKE = ("text_last", "text_history", "facts_last", "facts_history")
_FURTHER = ("rank", "popular", "popular_last", "length")
_LIMIT = 30.0  # of z-scores
_FIRST = 10  # places of a page, of which the last can be kept for items without events
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Offer:
    """Candidates of some histories.

    Attributes:
        base: (n, items) float32, rule + weight · model as z-scores.
        rows: (n, c) candidates, best first by `base`.
        features: (n, c, features) float32.
    """

    base: Scores
    rows: NDArray[np.int64]
    features: Floats


class Mix:
    """Rules, model and ranker, ready to score. Safe to use from threads.

    Args:
        interest: the next-interest model.
        record: of the mix.
        material: what the rules are fitted from, with the items' sentence vectors.
        items: the items table.
    """

    name = "mix"

    def __init__(
        self, interest: Interest, record: MixRecord, material: Material, items: pl.DataFrame
    ) -> None:
        self.record, self.interest = record, interest
        self.rule: FittedRule = fit(record.rule, record.constants[record.rule], material)
        self._parts: list[Scorer] = [fit(n, record.constants[n], material) for n in PLAIN]
        self._popular = np.log1p(material.popular())  # (items,)
        self._unseen = np.flatnonzero(self._popular == 0)
        self._text = np.zeros((material.items, 1), dtype=np.float32)
        if material.vectors is not None:
            self._text = material.vectors
        self._facts = fact_vectors(items)

    def keeping(self, unseen: int) -> Mix:
        """The same mix with so many of the first ten places kept for items without any event."""
        other = copy(self)
        other.record = self.record.model_copy(update={"unseen": unseen})
        return other

    @property
    def feature_names(self) -> list[str]:
        """In the order of the features."""
        return ["base", self.record.rule, "interest", *PLAIN, *_LIKE, *_FURTHER]

    def offer(self, histories: Histories, rule_scores: Scores | None = None) -> Offer:
        """Candidates and what is known about each; items of a history are no candidates.

        Args:
            histories: n of them.
            rule_scores: (n, items) of the rule, where somebody has them already or a newer rule.
        """
        given = self.rule.scores(histories) if rule_scores is None else rule_scores.copy()
        rule = zscores(given)
        model = zscores(self.interest.scores(histories))
        base = rule + np.float32(self.record.weight) * model  # (n, items)
        rows = self._named(base, histories)
        found = [np.take_along_axis(one, rows, axis=1) for one in (base, rule, model)]
        for part in self._parts:
            found.append(np.take_along_axis(zscores(part.scores(histories)), rows, axis=1))
        found += self._likeness(histories, rows) + self._further(histories, rows)
        features = np.clip(np.stack(found, axis=2), -_LIMIT, _LIMIT)
        return Offer(base, rows, features.astype(np.float32))

    def _named(self, base: Scores, histories: Histories) -> NDArray[np.int64]:
        """(n, c) candidates, best first by `base` (n, items)."""
        open_ = base.copy()
        open_[histories.owners, histories.rows] = -np.inf
        count = min(self.record.candidates, open_.shape[1])
        rows = np.argpartition(-open_, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(open_, rows, axis=1), axis=1, kind="stable")
        return np.take_along_axis(rows, order, axis=1)

    def scores(self, histories: Histories, rule_scores: Scores | None = None) -> Scores:
        """(n, items) float32: candidates above all others, in the ranker's order; see `offer`."""
        offer = self.offer(histories, rule_scores)
        scores = offer.base
        some = np.flatnonzero(histories.lengths > 0)  # strangers get what the rule says
        if self.record.nets:
            said = self.ordered(offer.features)
            low = said.min(axis=1, keepdims=True)
            lifted = scores.max(axis=1, keepdims=True) + 1 + said - low
            scores[some[:, None], offer.rows[some]] = lifted[some]
        self._keep_places(scores, some, histories)
        return scores

    def _keep_places(self, scores: Scores, some: NDArray[np.int64], histories: Histories) -> None:
        """Raise the best items without any event to the last of the first ten places.

        They never win a place by themselves: a network that orders by what people chose has seen few
        of them chosen. Who has one among the ten already keeps it where it is.

        Args:
            scores: (n, items), changed in place.
            some: lines that are changed.
            histories: n of them; what stands in one takes no place.
        """
        kept = min(self.record.unseen, len(self._unseen))
        if not kept or scores.shape[1] < _FIRST:
            return
        open_ = scores.copy()
        open_[histories.owners, histories.rows] = -np.inf
        open_ = open_[some]
        first = -np.partition(-open_, _FIRST - 1, axis=1)[:, :_FIRST]
        first.sort(axis=1)  # (s, ten), the last place first
        above, below = first[:, kept], first[:, kept - 1]  # the kept places lie between them
        own = open_[:, self._unseen]
        best = np.argsort(-own, axis=1, kind="stable")[:, :kept]  # (s, kept)
        shares = np.arange(kept, 0, -1, dtype=np.float32) / np.float32(kept + 1)
        raised = below[:, None] + (above - below)[:, None] * shares
        raised = np.maximum(raised, np.nextafter(below, np.float32(np.inf))[:, None])  # above ties
        at = self._unseen[best]
        raised = np.maximum(raised, np.take_along_axis(open_, at, axis=1))
        known = np.isfinite(np.take_along_axis(open_, at, axis=1))
        lines = np.broadcast_to(some[:, None], at.shape)
        scores[lines[known], at[known]] = raised[known]

    def ordered(self, features: Floats) -> Floats:
        """(n, c) what the networks say of candidates, their mean."""
        mean, scale = (
            np.array(one, dtype=np.float32) for one in (self.record.mean, self.record.scale)
        )
        x: Floats = ((features - mean) / scale).astype(np.float32)
        said = np.stack([net(x) for net in self.record.nets])  # (nets, n, c)
        return np.asarray(said.mean(axis=0), dtype=np.float32)

    def _likeness(self, histories: Histories, rows: NDArray[np.int64]) -> list[Any]:
        """How each candidate's text and facts are like the newest item's and the whole history's."""
        items = len(self._popular)
        found = []
        for vectors in (self._text, self._facts):
            for decay, newest in ((1.0, 1), (_DECAY, _NEWEST)):
                weights = recency(histories, items, decay, newest)
                summed = weights @ vectors
                if sp.issparse(summed):
                    whole = np.asarray((summed @ vectors.T).todense())
                    found.append(np.take_along_axis(whole, rows, axis=1))
                else:
                    found.append(np.einsum("nd,ncd->nc", summed, vectors[rows]))
        return found

    def _further(self, histories: Histories, rows: NDArray[np.int64]) -> list[Any]:
        """Place among the candidates, popularity of candidate and newest item, length of the history."""
        shape = rows.shape
        places = np.broadcast_to(np.log1p(np.arange(shape[1])), shape)
        newest = recency(histories, len(self._popular), 1.0, 1) @ self._popular
        lengths = np.log1p(histories.lengths)
        wide = [np.broadcast_to(one[:, None], shape) for one in (newest, lengths)]
        return [places, self._popular[rows], *wide]


def fact_vectors(items: pl.DataFrame) -> Any:
    """(items, facts) sparse float32 of length 1: each item's facts, rarer ones heavier."""
    lists = item_facts(items)
    numbers: dict[str, int] = {}
    columns = [numbers.setdefault(fact, len(numbers)) for own in lists for fact in own]
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in lists])])
    ones = np.ones(len(columns), dtype=np.float32)
    held = sp.csr_matrix((ones, columns, offsets), shape=(len(lists), max(len(numbers), 1)))
    carriers = np.asarray(held.sum(axis=0)).ravel()
    rare = np.log1p(len(lists) / np.maximum(carriers, 1)).astype(np.float32)
    weighted = held @ sp.diags(rare)
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return (sp.diags(1 / np.where(length > 0, length, 1)) @ weighted).tocsr().astype(np.float32)


def mix_of(interest: Interest, material: Material, items: pl.DataFrame) -> Mix | None:
    """The mix that was fitted with this model, or None when there was nobody to fit it with.

    Args:
        interest: the model.
        material: events and catalogue; rules that are served are fitted on everything.
        items: the items table.
    """
    record = interest.record.mix
    return None if record is None else Mix(interest, record, material, items)


def with_embedding(choice: Choice) -> Choice:
    """A choice that was made without sentence vectors, and `embedding_last` as its search starts.

    The search among rules without vectors is the one that serving has made already.
    """
    start = {_BY_VECTOR: start_of(_BY_VECTOR)}
    return choice.model_copy(update={"constants": start | choice.constants})


def rules_read(choice: Choice) -> dict[str, Constants]:
    """Rule → constants of those that a mix beside the best one reads."""
    return {name: choice.constants[name] for name in (choice.best, *PLAIN)}
