"""Each rule's name, its constants with the values that are tried, and how it is fitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from foretaste.data.errors import InputError
from foretaste.data.histories import Histories
from foretaste.serving.rules.base import Constants, FittedRule, Scorer, Scores, popularity
from foretaste.serving.rules.matrices import (
    by_row,
    co_counts,
    cosine,
    divided_by_popularity,
    holders,
    strongest,
    strongest_product,
    transition_counts,
    with_second_hop,
)
from foretaste.serving.rules.scorers import Blend, Nearest, Neighbours, Popular
from foretaste.serving.rules.words import READINGS, bm25_matrix

TEXT_NEWEST = 5  # newest items whose words or vectors are looked at
NEWEST = 50  # newest items whose neighbours are looked at
HOP_NEIGHBOURS = 30  # strongest neighbours a row in the product of the second hop
KIN_NEIGHBOURS = 20  # items with the most similar words that lend an item their followers
LENT = 100  # followers that each of them lends
KEPT = 300  # entries kept in a row of a finished matrix
ALPHAS = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)  # weights tried for BM25 in a blend
TEXT_DECAYS = (0.3, 0.5, 0.7)  # and decays of its words

#: Rule → constant → values tried, the first being where the search starts.
GRIDS: dict[str, dict[str, tuple[float, ...] | tuple[str, ...]]] = {
    "popularity": {},
    "bm25_last": {"fields": READINGS, "text_decay": (0.5, 0.0, 0.3, 0.7, 0.85)},
    "embedding_last": {"decay": (0.3, 0.0, 0.5, 0.7)},
    "item_cosine": {"power": (0.5, 0.15, 0.3), "decay": (0.5, 0.35, 0.7, 0.85, 0.95)},
    "transitions": {
        "decay": (0.35, 0.2, 0.5, 0.7, 0.85, 0.95),
        "window": (5, 2, 10, 20),
        "back": (0.5, 0.0, 0.25, 1.0),
        "gamma": (0.5, 0.0, 0.25, 1.0),
        "power": (0.0, 0.25, 0.5),
    },
    "untrained_mix": {
        "popular": (1.0, 0.0, 0.25, 0.5, 2.0),
        "kin": (0.0, 0.5, 1.0),
        "alpha": (2.0, 0.25, 0.5, 1.0, 1.5, 3.0),
    },
}
#: Rules whose search goes on from the constants that were found for another.
STARTS_FROM = {"untrained_mix": "transitions_bm25"}
BLENDED = "_bm25"  # ending of a rule's name when it is blended with BM25


@dataclass
class Material:
    """What rules are fitted from.

    Attributes:
        histories: the events that are learnt from.
        texts: reading → one text an item, the words of BM25 (`words.item_words`).
        vectors: (items, d) float32, unit length, or None when there is no embedder.
    """

    histories: Histories
    texts: Mapping[str, Sequence[str]]
    vectors: Scores | None = None
    _made: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def items(self) -> int:
        """Number of items in the catalogue."""
        return len(self.texts["title"])

    def with_histories(self, histories: Histories) -> Material:
        """The same catalogue with other events; the words are not counted again."""
        made = {key: value for key, value in self._made.items() if key in self.texts}
        return Material(histories, self.texts, self.vectors, made)

    def words(self, fields: str) -> Any:
        """BM25 between items under one reading of their text."""
        return self._once(fields, lambda: bm25_matrix(self.texts[fields]))

    def popular(self) -> Scores:
        """(items,) float32 events of each item."""
        return popularity(self.histories, self.items).astype(np.float32)

    def cosines(self, power: float) -> Any:
        """Co-occurrence divided by popularity."""
        counts = self._once("co_counts", lambda: co_counts(self.histories, self.items))
        held = self._once("holders", lambda: holders(self.histories, self.items))
        return self._latest("cosine", (power,), lambda: _kept(cosine(counts, held, power)))

    def transitions(self, window: float, back: float, gamma: float, power: float) -> Any:
        """Followers of each item: rows sum to 1, then the second hop, then popularity."""

        def make() -> Any:
            counts = self.transition_counts(window, back)
            both = with_second_hop(by_row(counts), gamma, HOP_NEIGHBOURS)
            events = popularity(self.histories, self.items)
            return _kept(divided_by_popularity(both, events, power))

        return self._latest("transitions", (window, back, gamma, power), make)

    def transition_counts(self, window: float, back: float) -> Any:
        """Counts behind `transitions`; of the last constants they are kept."""
        return self._latest(
            "transition_counts",
            (window, back),
            lambda: transition_counts(self.histories, self.items, int(window), back),
        )

    def kin_transitions(self, kin: float, fields: str, own: tuple[float, ...]) -> Any:
        """Transitions plus `kin` times those of the items with the most similar words."""

        def make() -> Any:
            return _kept(self.transitions(*own) + np.float32(kin) * self.lent(fields, own))

        return self._latest("kin", (kin, fields, *own), make)

    def lent(self, fields: str, own: tuple[float, ...]) -> Any:
        """Followers of the items with the most similar words, by their likeness."""

        def make() -> Any:
            alike = by_row(strongest(self.words(fields), KIN_NEIGHBOURS))
            return strongest_product(alike, strongest(self.transitions(*own), LENT), KEPT)

        return self._latest("lent", (fields, *own), make)

    def _once(self, key: str, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _latest(self, key: str, constants: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """Keep only the last of a kind: searches change one constant at a time."""
        if self._made.get(key, (None,))[0] != constants:
            self._made[key] = (constants, make())
        return self._made[key][1]


@dataclass(frozen=True)
class Followers:
    """How single rows of the transition matrix are made from counts that may have moved.

    Attributes:
        counts: (items, items) sparse, the counts that the matrix was fitted from.
        window: places in a history within which one item follows another.
        back: weight of a pair the other way round.
        gamma: weight of the second hop.
        power: of the popularity that columns are divided by.
        kin: weight of what similar items lend.
        lent: (items, items) sparse, what they lend; None for nothing.
    """

    counts: Any
    window: int
    back: float
    gamma: float
    power: float
    kin: float = 0.0
    lent: Any = None

    @classmethod
    def of(cls, constants: Constants, material: Material) -> Followers:
        """As a rule of these constants was fitted from this material."""
        own = _own(constants)
        window, back, gamma, power = own
        counts = material.transition_counts(window, back)
        kin = float(constants.get("kin", 0.0))
        lent = material.lent(str(constants["fields"]), own) if kin else None
        return cls(counts, int(window), back, gamma, power, kin, lent)

    def rows(
        self, rows: Sequence[int], counts: Callable[[Sequence[int]], Any], popular: Scores
    ) -> Any:
        """(rows, items) finished rows, as `Material.transitions` and `kin_transitions` make them.

        Args:
            rows: item rows.
            counts: gives the (rows, items) counts of some rows.
            popular: (items,) events of each item.
        """
        made = by_row(counts(rows))
        if self.gamma:
            strong = strongest(made, HOP_NEIGHBOURS)
            through = np.unique(strong.indices)
            near = strongest(by_row(counts(through.tolist())), HOP_NEIGHBOURS)
            places = np.searchsorted(through, strong.indices)
            shape = (len(rows), len(through))
            hops = sp.csr_matrix((strong.data, places, strong.indptr), shape=shape) @ near
            owners = np.repeat(np.asarray(rows), np.diff(hops.indptr))
            hops.data[hops.indices == owners] = 0
            made = (made + np.float32(self.gamma) * hops).tocsr()
        made = _kept(divided_by_popularity(made, popular.astype(np.int64), self.power))
        if self.lent is not None:
            made = _kept((made + np.float32(self.kin) * self.lent[list(rows)]).tocsr())
        return made


def _kept(matrix: Any) -> Any:
    return strongest(matrix, KEPT)


def rule_names(vectors: bool) -> list[str]:
    """All rules, each after what it starts from; those that need vectors only when there are any."""
    plain = [name for name in GRIDS if vectors or name != "embedding_last"]
    alone = [name for name in plain if name not in STARTS_FROM]
    blends = [name + BLENDED for name in alone if name != "bm25_last"]
    return [*alone, *blends, *(name for name in plain if name in STARTS_FROM)]


def start_of(name: str) -> Constants:
    """Where the search for a rule's constants starts; used as they are when nobody can be asked."""
    plain = name.removesuffix(BLENDED)
    constants: dict[str, float | str] = (
        dict(start_of(STARTS_FROM[name])) if name in STARTS_FROM else {}
    )
    if name != plain:
        constants |= {"fields": READINGS[0], "alpha": 2.0, "text_decay": 0.5}
    return constants | {key: values[0] for key, values in GRIDS[plain].items()}


def fit(name: str, constants: Constants, material: Material) -> FittedRule:
    """The rule `name` with these constants and the statistics of `material`."""
    plain = name.removesuffix(BLENDED)
    body = _PLAIN[plain](plain, constants, material)
    if plain != name:
        parts = (body, text_part(constants, material))
        body = Blend(name, parts, (1.0, float(constants["alpha"])))
    return FittedRule(name, body, material.popular(), dict(constants), material=material)


def text_part(constants: Constants, material: Material) -> Scorer:
    """BM25 of the newest items' words, as a rule of its own and as the part of a blend."""
    matrix = material.words(str(constants["fields"]))
    return Neighbours("bm25_last", matrix, float(constants["text_decay"]), TEXT_NEWEST)


def _popularity(name: str, constants: Constants, material: Material) -> Scorer:
    return Popular(name, material.popular())


def _bm25_last(name: str, constants: Constants, material: Material) -> Scorer:
    return text_part(constants, material)


def _embedding_last(name: str, constants: Constants, material: Material) -> Scorer:
    if material.vectors is None:
        raise InputError("embedding_last needs vectors of the items; none were given.")
    return Nearest(name, material.vectors, float(constants["decay"]), TEXT_NEWEST)


def _item_cosine(name: str, constants: Constants, material: Material) -> Scorer:
    matrix = material.cosines(float(constants["power"]))
    return Neighbours(name, matrix, float(constants["decay"]), NEWEST)


def _transitions(name: str, constants: Constants, material: Material) -> Scorer:
    matrix = material.transitions(*_own(constants))
    return Neighbours(name, matrix, float(constants["decay"]), NEWEST)


def _untrained_mix(name: str, constants: Constants, material: Material) -> Scorer:
    """Transitions, their own and those of kin, beside words and popularity."""
    own, kin = _own(constants), float(constants["kin"])
    matrix = material.transitions(*own)
    if kin:
        matrix = material.kin_transitions(kin, str(constants["fields"]), own)
    followers = Neighbours("transitions", matrix, float(constants["decay"]), NEWEST)
    parts = (followers, text_part(constants, material), Popular("popularity", material.popular()))
    return Blend(name, parts, (1.0, float(constants["alpha"]), float(constants["popular"])))


def _own(constants: Constants) -> tuple[float, float, float, float]:
    window, back, gamma, power = (
        float(constants[key]) for key in ("window", "back", "gamma", "power")
    )
    return window, back, gamma, power


_PLAIN: dict[str, Callable[[str, Constants, Material], Scorer]] = {
    "popularity": _popularity,
    "bm25_last": _bm25_last,
    "embedding_last": _embedding_last,
    "item_cosine": _item_cosine,
    "transitions": _transitions,
    "untrained_mix": _untrained_mix,
}
