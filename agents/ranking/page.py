"""The page: the best offers, not all alike, not all of one kind, and a place for what explores.

1. The page without exploration is filled place by place: relevance against likeness
   (`diversity.py`), passing over what would exceed a cap.
2. Traffic allocation (`allocation.py`) says which exploratory offers may take places on it, so that
   the predicted conversion of those places is kept. They take the places with the least conversion
   and stand at the end.
3. Where the caller leaves something to chance, neighbours may change places (`chance.py`).

What was passed over, and why, is kept with the item that stands there instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.objects import PassedOver
from foretaste.agents.ranking.allocation import Allocation, allocate
from foretaste.agents.ranking.chance import exchanged
from foretaste.agents.ranking.diversity import diversity
from foretaste.agents.ranking.page_config import PageSettings
from foretaste.data.errors import InputError

_POOL = 5  # offers looked at for each place of the page, the most relevant ones
_TOLD = 3  # items passed over that are named at one place


@dataclass(frozen=True)
class Offer:
    """A candidate, ready to be placed.

    Attributes:
        item_id: the item.
        relevance: in [0, 1].
        conversion: predicted chance that it is chosen, in any unit that all offers share.
        explores: whether only the agents would show it.
        wanted: how much the agents want it, in [0, 1]; what showing it is worth as exploration.
        vector: (d,) unit vector.
        category: the kind that counts towards the cap, if it has one.
        persona: number of the persona whose tag found it first, if one did.
    """

    item_id: str
    relevance: float
    conversion: float
    explores: bool
    wanted: float
    vector: NDArray[np.float32]
    category: str | None = None
    persona: int | None = None


@dataclass(frozen=True)
class Placed:
    """An offer on the page, and what had to stand aside for it.

    Attributes:
        offer: what stands here.
        likeness, nearest: with the item above that is most like it, and which one that is.
        passed_over: what had to stand aside.
        chances: item id → how likely it was to stand here; empty when nothing was left to chance.
    """

    offer: Offer
    likeness: float = 0.0
    nearest: str | None = None
    passed_over: tuple[PassedOver, ...] = ()
    chances: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """A finished page.

    Attributes:
        places: from the first to the last.
        allocation: what exploration was allowed, or None when nothing could explore.
    """

    places: tuple[Placed, ...]
    allocation: Allocation | None = None

    @property
    def exploration_share(self) -> float:
        """Share of the places that explore."""
        explored = sum(one.offer.explores for one in self.places)
        return explored / len(self.places) if self.places else 0.0


def pool_size(n: int) -> int:
    """Offers that are looked at for a page of n places."""
    return max(_POOL * n, 50)


def lay_out(
    offers: Sequence[Offer],
    n: int,
    settings: PageSettings,
    draw: np.random.Generator | None = None,
) -> Page:
    """The page of n offers, or of all when there are fewer.

    Caps and the floor give way only where the page would otherwise stay short.

    Args:
        offers: each item once.
        n: places.
        settings: of the page.
        draw: where chance comes from; None leaves nothing to it.
    """
    known = [offer for offer in offers if not offer.explores]
    explorers = sorted(
        (offer for offer in offers if offer.explores),
        key=lambda offer: (-offer.conversion, -offer.wanted, offer.item_id),
    )
    page = _filled(known, n, settings)
    found, chosen = _explored(page, explorers, n, settings)
    page = _with_explorers(page, chosen, n)
    missing = [offer for offer in explorers if offer not in chosen][: n - len(page)]
    page += [Placed(offer) for offer in missing]
    if draw is not None and settings.swap:
        page = _by_chance(page, _next_best(page, known, n, settings), settings.swap, draw)
    return Page(tuple(_nearest(page)), found)


@dataclass
class _Caps:
    """How often each category and persona stands on the page, and how often it may."""

    most: dict[str, int]
    counts: Counter[tuple[str, str | int]] = field(default_factory=Counter)

    @classmethod
    def of(cls, n: int, settings: PageSettings) -> _Caps:
        """Of a page of n places: each share of it, rounded down, and one place at least."""
        shares = {"category": settings.category_cap, "persona": settings.persona_cap}
        return cls({kind: max(1, int(share * n + 1e-9)) for kind, share in shares.items()})

    def against(self, offer: Offer) -> str | None:
        """Why the offer may not stand here; None when it may."""
        for kind, name in self._kinds(offer):
            if self.counts[kind, name] >= self.most[kind]:
                said = f"{name + 1}" if isinstance(name, int) else f"'{name}'"
                return f"{kind} {said} has its {self.most[kind]} places"
        return None

    def add(self, offer: Offer) -> None:
        """The offer stands on the page."""
        self.counts.update(self._kinds(offer))

    @staticmethod
    def _kinds(offer: Offer) -> list[tuple[str, str | int]]:
        kinds = (("category", offer.category), ("persona", offer.persona))
        return [(kind, name) for kind, name in kinds if name is not None]


def _filled(offers: Sequence[Offer], n: int, settings: PageSettings) -> list[Placed]:
    """The first n places, by relevance, unlikeness and caps."""
    pool = sorted(offers, key=lambda offer: (-offer.relevance, offer.item_id))
    pool = pool[: pool_size(n)]
    if not pool:
        return []
    relevance = np.array([offer.relevance for offer in pool])  # (m,)
    vectors = np.stack([offer.vector for offer in pool]).astype(np.float64)  # (m, d)
    way = diversity(settings.diversity, relevance, vectors, settings.diversity_weight)
    caps = _Caps.of(n, settings)
    taken, page = np.zeros(len(pool), dtype=bool), list[Placed]()
    told: set[int] = set()
    while len(page) < min(n, len(pool)):
        best = _first_free(np.where(taken, -np.inf, way.gains()), pool, caps)
        before = (int(place) for place in np.flatnonzero(~taken[:best]))
        aside = [place for place in before if place not in told][:_TOLD]
        told.update(aside)
        reasons = [
            PassedOver(
                item_id=pool[place].item_id,
                reason=caps.against(pool[place])
                or "more like the items above than it is more relevant",
            )
            for place in aside
        ]
        page.append(Placed(pool[best], passed_over=tuple(reasons)))
        caps.add(pool[best])
        way.take(best)
        taken[best] = True
    return page


def _first_free(gains: NDArray[np.float64], pool: Sequence[Offer], caps: _Caps) -> int:
    """The place of the highest gain that no cap bars; the highest of all when all are barred."""
    order = np.argsort(-gains, kind="stable")
    left = order[: int((gains > -np.inf).sum())]
    return int(next((place for place in left if caps.against(pool[place]) is None), order[0]))


def _explored(
    page: Sequence[Placed], explorers: Sequence[Offer], n: int, settings: PageSettings
) -> tuple[Allocation | None, list[Offer]]:
    """Which explorers may take places of a page that is full."""
    most = min(round(settings.exploration * n), len(explorers), len(page))
    if not most or len(page) < n:
        return None, []
    weakest = sorted(placed.offer.conversion for placed in page)[:most]
    floor = settings.conversion_floor * float(np.mean(weakest))
    found = _allocated(explorers, floor, most, n, settings)
    caps = _Caps.of(n, settings)
    for placed in page:
        caps.add(placed.offer)
    chosen: list[Offer] = []
    surplus = 0.0
    for place in np.argsort(-found.worth, kind="stable"):
        offer = explorers[int(place)]
        wanted = found.exposure[place] > 0 and len(chosen) < most
        if wanted and surplus + offer.conversion >= floor and caps.against(offer) is None:
            chosen.append(offer)
            caps.add(offer)
            surplus += offer.conversion - floor
    return found, chosen


def _allocated(
    explorers: Sequence[Offer], floor: float, most: int, n: int, settings: PageSettings
) -> Allocation:
    """The allocation; without a least count when nothing meets the floor with it."""
    value = np.array([offer.wanted for offer in explorers])
    conversion = np.array([offer.conversion for offer in explorers])
    least = min(round(settings.exploration_least * n), most)
    strength = settings.allocation_strength
    try:
        return allocate(value, conversion, floor, least, most, strength)
    except InputError:
        return allocate(value, conversion, floor, 0, most, strength)


def _with_explorers(page: list[Placed], chosen: Sequence[Offer], n: int) -> list[Placed]:
    """The page with the least converting offers replaced, the explorers at the end."""
    over = len(page) + len(chosen) - n
    order = sorted(range(len(page)), key=lambda i: (page[i].offer.conversion, -i))
    gone = set(order[: max(over, 0)])
    reason = "converts less than what explores in its place"
    removed = [PassedOver(item_id=page[i].offer.item_id, reason=reason) for i in sorted(gone)]
    kept = [placed for i, placed in enumerate(page) if i not in gone]
    return kept + [
        Placed(offer, passed_over=tuple(removed[i : i + 1])) for i, offer in enumerate(chosen)
    ]


def _next_best(
    page: Sequence[Placed], known: Sequence[Offer], n: int, settings: PageSettings
) -> list[Placed]:
    """The most relevant offer that missed the page and that no cap bars; none when there is none."""
    caps, there = _Caps.of(n, settings), {placed.offer.item_id for placed in page}
    for placed in page:
        caps.add(placed.offer)
    left = [one for one in known if one.item_id not in there and caps.against(one) is None]
    best = min(left, key=lambda one: (-one.relevance, one.item_id), default=None)
    return [] if best is None else [Placed(best)]


def _by_chance(
    page: Sequence[Placed], missed: Sequence[Placed], swap: float, draw: np.random.Generator
) -> list[Placed]:
    """The page after its neighbours changed places or not, each place with who might stand there."""
    all_placed = [*page, *missed]
    order, chances = exchanged(len(all_placed), len(page), swap, draw)
    return [
        replace(
            all_placed[number],
            chances={all_placed[one].offer.item_id: chance for one, chance in at.items()},
        )
        for number, at in zip(order, chances, strict=True)
    ]


def _nearest(page: Sequence[Placed]) -> list[Placed]:
    """The page, each item with the one above that is most like it."""
    vectors = [placed.offer.vector for placed in page]
    out = list(page[:1])
    for i in range(1, len(page)):
        likeness = np.stack(vectors[:i]) @ vectors[i]  # (i,)
        best = int(np.argmax(likeness))
        out.append(
            replace(page[i], likeness=float(likeness[best]), nearest=page[best].offer.item_id)
        )
    return out
