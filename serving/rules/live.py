"""A fitted rule that learns new events as they come, without being fitted again.

What is counted is exact at once: how often an item was taken, and what follows what. A row of the
finished transition matrix is made anew from the counts when a history asks for it and it, or one of the
neighbours its second hop goes through, has changed; it then equals the row of a rule fitted on all
events. Three things wait for the next refit: what similar items lend (`kin`), what popularity divides in
rows that did not change (`power`), and rules that count something else (`item_cosine`). A refit runs
beside the serving rule and takes its place in one step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from foretaste.data.histories import Histories
from foretaste.serving.rules.base import FittedRule, Scorer, Scores, recency
from foretaste.serving.rules.matrices import by_row, strongest
from foretaste.serving.rules.recipes import HOP_NEIGHBOURS, Followers, Material, fit
from foretaste.serving.rules.scorers import Blend, Neighbours, Popular

_REMEMBERED = 1_000  # finished rows that are kept, the newest; two to four kilobytes each


class LiveRule:
    """A fitted rule, learning. Many threads may score while one learns.

    Args:
        rule: as `recipes.fit` made it.
        material: what it was made from.
    """

    def __init__(self, rule: FittedRule, material: Material) -> None:
        self._guard = threading.Lock()
        self._state = _State.of(rule, material)
        self._meanwhile: list[tuple[Sequence[int], int]] | None = None

    @property
    def name(self) -> str:
        """The rule's own name."""
        return self._state.rule.name

    @property
    def learnt(self) -> int:
        """Events learnt since the rule was last fitted."""
        return self._state.learnt

    @property
    def window(self) -> int:
        """Events before and after a new one that learning it looks at."""
        return self._state.window

    def scores(self, histories: Histories) -> Scores:
        """(n, items) float32, as of every event learnt so far."""
        return self._state.rule.scores(histories)

    def learn(self, rows: Sequence[int], place: int) -> None:
        """A new event of one user.

        Args:
            rows: the user's item rows, oldest first, the new one among them; `window` of them
                before and after it are enough.
            place: where the new one stands.
        """
        with self._guard:
            self._state.learn(rows, place)
            if self._meanwhile is not None:
                self._meanwhile.append((rows, place))

    def begin_refit(self) -> bool:
        """Remember what is learnt from now on; False when a refit is under way already."""
        with self._guard:
            if self._meanwhile is not None:
                return False
            self._meanwhile = []
            return True

    def refit(self, histories: Callable[[], Histories]) -> None:
        """Fit the rule anew and put it in place; events learnt since `begin_refit` are added.

        Args:
            histories: gives all events up to `begin_refit`.
        """
        try:
            old = self._state
            material = old.material.with_histories(histories())
            rule = fit(old.rule.name, old.rule.constants, material)
            state = _State.of(replace(rule, validation=old.rule.validation), material)
        except BaseException:
            with self._guard:
                self._meanwhile = None
            raise
        with self._guard:
            for rows, place in self._meanwhile or ():
                state.learn(rows, place)
            self._state, self._meanwhile = state, None


@dataclass
class _State:
    """A rule whose parts read the counts below it."""

    rule: FittedRule
    material: Material
    popular: Scores
    transitions: _Transitions | None
    learnt: int = 0

    @classmethod
    def of(cls, rule: FittedRule, material: Material) -> _State:
        """The rule over copies of its counts, which nothing has changed yet."""
        popular = rule.popular.copy()
        constants = rule.constants
        transitions = None
        if "window" in constants:
            transitions = _Transitions(Followers.of(constants, material), popular)
        body = _learning(rule.body, popular, transitions)
        return cls(replace(rule, body=body, popular=popular), material, popular, transitions)

    @property
    def window(self) -> int:
        """Events around a new one whose pairs it changes; 0 without transitions."""
        return self.transitions.followers.window if self.transitions else 0

    def learn(self, rows: Sequence[int], place: int) -> None:
        """Count one more event; arguments as for `LiveRule.learn`."""
        self.popular[rows[place]] += 1
        if self.transitions is not None:
            self.transitions.learn(rows, place)
        self.learnt += 1


def _learning(body: Scorer, popular: Scores, transitions: _Transitions | None) -> Scorer:
    """The same scorer over counts that move."""
    if isinstance(body, Blend):
        return replace(body, parts=[_learning(one, popular, transitions) for one in body.parts])
    if isinstance(body, Popular):
        return replace(body, counts=popular)
    if isinstance(body, Neighbours) and body.name == "transitions" and transitions is not None:
        return _LiveNeighbours(body, transitions)
    return body


@dataclass(frozen=True)
class _LiveNeighbours:
    """Weighted neighbours whose rows are made anew where events changed them."""

    fitted: Neighbours
    transitions: _Transitions

    @property
    def name(self) -> str:
        """Of the fitted neighbours."""
        return self.fitted.name

    def scores(self, histories: Histories) -> Scores:
        """(n, items) float32; rows that no event changed are read from the fitted matrix."""
        items = self.fitted.matrix.shape[0]
        weights = recency(histories, items, self.fitted.decay, self.fitted.newest)
        weights.sum_duplicates()
        changed, rows = self.transitions.changed(np.unique(weights.indices))
        if not len(changed):
            dense: Scores = (weights @ self.fitted.matrix).toarray()
            return dense
        kept = np.ones(items, dtype=np.float32)
        kept[changed] = 0
        fitted = (weights @ sp.diags(kept)) @ self.fitted.matrix
        out: Scores = (fitted + weights[:, changed] @ rows).toarray()
        return out.astype(np.float32)


class _Transitions:
    """Transition counts with what was learnt on top, and the finished rows that changed."""

    def __init__(self, followers: Followers, popular: Scores) -> None:
        self.followers, self._popular = followers, popular
        self._added: dict[int, dict[int, float]] = {}  # row → column → count on top
        self._version = np.zeros(followers.counts.shape[0], dtype=np.int64)
        self._needs: dict[int, NDArray[np.int64]] = {}  # row → rows that it is made from
        self._made: dict[int, tuple[int, Any]] = {}  # row → version sum, finished row
        self._guard = threading.Lock()

    def learn(self, rows: Sequence[int], place: int) -> None:
        """Add the pairs that the event at `place` makes, take away those it pushes apart."""
        window = self.followers.window
        first = max(0, place - window)
        around = list(rows[first : place + window + 1])
        here = place - first
        with self._guard:
            for i, row in enumerate(around):
                if i != here:
                    self._pair(around[here], row, i - here, 1.0)
            for i in range(here):
                for j in range(here + 1, min(len(around), i + window + 2)):
                    self._pair(around[i], around[j], j - i, 1.0)
                    self._pair(around[i], around[j], j - i - 1, -1.0)

    def changed(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], Any]:
        """Those of these rows that differ from the fitted ones, and how they read now (csr)."""
        with self._guard:
            if not self._added or not len(rows):
                return rows[:0], None
            self._forget_oldest()
            self._learn_needs([row for row in rows.tolist() if row not in self._needs])
            sums = {row: int(self._version[self._needs[row]].sum()) for row in rows.tolist()}
            stale = [
                row for row, now in sums.items() if now and self._made.get(row, (0,))[0] != now
            ]
            if stale:
                self._learn_needs(stale)
                made = self.followers.rows(stale, self._counts, self._popular)
                for place, row in enumerate(stale):
                    now = int(self._version[self._needs[row]].sum())
                    self._made[row] = (now, made[place])
            moved = [row for row, now in sums.items() if now]
            if not moved:
                return rows[:0], None
            finished = sp.vstack([self._made[row][1] for row in moved], format="csr")
            return np.asarray(moved), finished

    def _forget_oldest(self) -> None:
        """Keep the newest `_REMEMBERED` rows: a process that serves for long must not grow with them."""
        for row in list(islice(self._needs, max(0, len(self._needs) - _REMEMBERED))):
            del self._needs[row]
            self._made.pop(row, None)

    def _learn_needs(self, rows: list[int]) -> None:
        """A row is made from itself and from the strongest neighbours its second hop goes through."""
        if not rows:
            return
        strong = strongest(by_row(self._counts(rows)), HOP_NEIGHBOURS)
        for place, row in enumerate(rows):
            near = strong.indices[strong.indptr[place] : strong.indptr[place + 1]]
            self._needs[row] = np.append(near, row).astype(np.int64)

    def _pair(self, one: int, other: int, gap: int, sign: float) -> None:
        """Count (or take back) that `other` stands `gap` places after `one` (before, if negative)."""
        first, then = (one, other) if gap > 0 else (other, one)
        gap = abs(gap)
        if first == then or gap > self.followers.window:
            return
        for row, column, weight in ((first, then, 1.0), (then, first, self.followers.back)):
            if weight:
                own = self._added.setdefault(row, {})
                own[column] = own.get(column, 0.0) + sign * weight / gap
                self._version[row] += 1

    def _counts(self, rows: Sequence[int]) -> Any:
        """(rows, items) sparse counts of these rows as of now."""
        fitted = self.followers.counts[list(rows)]
        added = [self._added.get(row, {}) for row in rows]
        if not any(added):
            return fitted
        offsets = np.concatenate([[0], np.cumsum([len(own) for own in added])])
        columns = np.array([column for own in added for column in own], dtype=np.int64)
        values = np.array([value for own in added for value in own.values()], dtype=np.float32)
        now = (fitted + sp.csr_matrix((values, columns, offsets), shape=fitted.shape)).tocsr()
        now.data[now.data < 1e-6] = 0  # what was taken back
        now.eliminate_zeros()
        return now
