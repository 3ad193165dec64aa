"""Who a user is, as their behaviour tells it: counts over events, read once and kept.

The sides of a user are those of the profile-aware judge (arXiv 2508.08777): interests, depth,
exploration against specialisation, cross-disciplinary curiosity, format preference, habits. No
model writes them: `profile_text` says what was measured. A `Tallies` is all that is kept of the
events; reading on from it gives exactly what reading everything again would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b

import polars as pl
from pydantic import BaseModel, Field

from foretaste.agents.objects import HistoryEvent
from foretaste.data.dataset import Dataset

VERSION = 1  # of what is counted: older tallies are counted anew
DECAY = 0.95  # weight of an event one place older, for what is chosen of late
EVIDENCE = 5  # newest items that are kept behind a count
LATELY = 20  # newest events among which new kinds are counted
TREE = 0.9  # share of categories under their usual parent, from which they are read as paths
PARTS = ("night", "morning", "afternoon", "evening")  # six hours each, UTC
FORMATS = ("brand", "format")  # attributes that tell a preference of form
YEARS = ("release_year", "year")
SAMPLED = 50_000  # items that shares of the catalogue are measured on, evenly spread
DAY = 86_400


class Tally(BaseModel):
    """One count: how often, how much of late, how it was rated, and the newest items behind it."""

    n: int = 0
    weight: float = 0.0  # sum of DECAY ** age, as of event number `at`
    at: int = 0
    rated: int = 0
    rating: float = 0.0  # sum of the ratings
    items: list[str] = Field(default_factory=list)

    def add(self, number: int, event: HistoryEvent) -> None:
        """Count event `number` of the history."""
        self.n += 1
        self.weight, self.at = self.weight_at(number) + 1.0, number
        if event.event == "rating" and event.value is not None:
            self.rated += 1
            self.rating += event.value
        self.items = remembered(self.items, event.item_id)

    def weight_at(self, number: int) -> float:
        """The weight as of a later event."""
        return float(self.weight * DECAY ** (number - self.at))


class Tallies(BaseModel):
    """What is kept of a user's events.

    Attributes:
        catalogue: fingerprint of the items that were looked up.
        events: how many were read.
        digest: of the events that were read; when they are not the same any more, all are read anew.
        first, last: seconds of the first and the last event, when there are times.
        days: days with events; `hours` and `clocked`: events by part of the day, and how many
            carry a time of day at all.
        seen: items met; `repeats` counts events about an item met before.
        opened: items that brought a kind not met before; `novel` says so of the newest events.
        switches: events that share no area with the event before.
    """

    version: int = VERSION
    catalogue: str = ""
    events: int = 0
    digest: str = ""
    first: int | None = None
    last: int | None = None
    days: int = 0
    hours: list[int] = Field(default_factory=lambda: [0] * len(PARTS))
    clocked: int = 0
    seen: set[str] = Field(default_factory=set)
    repeats: int = 0
    repeated: list[str] = Field(default_factory=list)
    opened: list[str] = Field(default_factory=list)
    novel: list[bool] = Field(default_factory=list)
    switches: int = 0
    area: list[str] = Field(default_factory=list)
    every: Tally = Field(default_factory=Tally)
    actions: dict[str, Tally] = Field(default_factory=dict)
    kinds: dict[str, Tally] = Field(default_factory=dict)
    areas: dict[str, Tally] = Field(default_factory=dict)
    forms: dict[str, Tally] = Field(default_factory=dict)

    def follows(self, events: Sequence[HistoryEvent], catalogue: str) -> bool:
        """Whether these are the events that were read, and perhaps later ones, of this catalogue."""
        if self.catalogue != catalogue or self.events > len(events):
            return False
        return self.events == 0 or self.digest == _digest(events[: self.events])


@dataclass(frozen=True)
class ItemFacts:
    """What an item counts towards: kinds of thing, areas, and forms such as `brand OPI`."""

    kinds: tuple[str, ...]
    areas: tuple[str, ...]
    forms: tuple[str, ...]


@dataclass(frozen=True)
class Catalogue:
    """The items of a data set as profiles look them up.

    Attributes:
        dataset: where the items are.
        is_tree: whether categories are paths: nearly each stands under one and the same parent.
        level: the first level of the paths that has more than one name.
        price_thirds: prices that part the priced items into thirds; None without prices.
        kinds: how many there are.
        shares: kind or form → share of the items that have it.
    """

    dataset: Dataset
    is_tree: bool
    level: int
    price_thirds: tuple[float, float] | None
    kinds: int
    shares: Mapping[str, float]

    @classmethod
    def over(cls, dataset: Dataset) -> Catalogue:
        """Measure a catalogue: once an import, for items that change later hardly move it."""
        items = dataset.items
        made = cls(dataset, _is_tree(items), _level(items), _price_thirds(items), 0, {})
        sample = dataset.item_ids[:: max(len(dataset.item_ids) // SAMPLED, 1)]
        facts = [made.about(item_id) for item_id in sample]
        kinds = Counter(name for one in facts for name in one.kinds)
        forms = Counter(name for one in facts for name in one.forms)
        shares = {name: n / len(sample) for name, n in (kinds + forms).items()}
        return replace(made, kinds=len(kinds), shares=shares)

    @property
    def fingerprint(self) -> str:
        """Of the imported items."""
        return self.dataset.info.catalogue_fingerprint

    def about(self, item_id: str) -> ItemFacts:
        """What one item counts towards.

        Where categories are paths the kind is the leaf and the area the name on `level`; else
        every category is both.
        """
        row = self.dataset.row_of[item_id]
        names = tuple(dict.fromkeys(self.dataset.categories_of(row)))
        kinds = names[-1:] if self.is_tree else names
        areas = names[self.level : self.level + 1] if self.is_tree else names
        return ItemFacts(kinds, areas, tuple(self._forms(row)))

    def _forms(self, row: int) -> list[str]:
        pairs = self.dataset.items["attributes"][row]
        found = []
        for pair in () if pairs is None else pairs.to_list():
            name, value = (pair["name"] or "").lower(), pair["value"] or ""
            if name in FORMATS and value:
                found.append(f"{name} {value}")
            elif name in YEARS and value[:4].isdigit() and len(value) >= 4:
                found.append(f"from the {value[:3]}0s")
        price = self.dataset.items["price"][row]
        if price is not None and self.price_thirds is not None:
            low, high = self.price_thirds
            third = "lower" if price <= low else "middle" if price <= high else "upper"
            found.append(f"price in the {third} third")
        return list(dict.fromkeys(found))


def _is_tree(items: pl.DataFrame) -> bool:
    names = pl.col("categories")
    steps = items.select(
        child=names.list.slice(1),
        parent=names.list.slice(0, pl.max_horizontal(names.list.len().cast(pl.Int64) - 1, 0)),
    ).filter(pl.col("child").list.len() > 0)
    pairs = steps.explode("child", "parent").group_by("child", "parent").len()
    usual = pairs.group_by("child").agg(pl.col("len").max().alias("usual"), pl.col("len").sum())
    total = int(usual["len"].sum())
    return total > 0 and int(usual["usual"].sum()) >= TREE * total


def _level(items: pl.DataFrame) -> int:
    lists = items["categories"]
    deepest = lists.list.len().max()
    for level in range(deepest if isinstance(deepest, int) else 0):
        if lists.list.get(level, null_on_oob=True).drop_nulls().n_unique() > 1:
            return level
    return 0


def _price_thirds(items: pl.DataFrame) -> tuple[float, float] | None:
    low, high = (items["price"].drop_nulls().quantile(third / 3) for third in (1, 2))
    return (float(low), float(high)) if low is not None and high is not None else None


def read_on(tallies: Tallies, events: Sequence[HistoryEvent], catalogue: Catalogue) -> Tallies:
    """Tallies of `events`: read on from what was kept where it fits, else from the start.

    Args:
        tallies: of an earlier reading; not changed.
        events: all of the user's events, oldest first.
        catalogue: where the items are looked up.
    """
    if not tallies.follows(events, catalogue.fingerprint):
        tallies = Tallies(catalogue=catalogue.fingerprint)
    if tallies.events == len(events):
        return tallies
    made = tallies.model_copy(deep=True)
    for event in events[made.events :]:
        _read(made, event, catalogue.about(event.item_id))
    made.digest = _digest(events)
    return made


def remembered(items: Sequence[str], item_id: str) -> list[str]:
    """The newest different items, with this one last.

    >>> remembered(["a", "b"], "a")
    ['b', 'a']
    """
    return [*(one for one in items if one != item_id), item_id][-EVIDENCE:]


def _read(own: Tallies, event: HistoryEvent, facts: ItemFacts) -> None:
    """Count one event."""
    number = own.events
    own.events += 1
    own.every.add(number, event)
    if event.timestamp is not None:
        _read_time(own, event.timestamp)
    if event.item_id in own.seen:
        own.repeats += 1
        own.repeated = remembered(own.repeated, event.item_id)
    own.seen.add(event.item_id)
    new = any(kind not in own.kinds for kind in facts.kinds)
    own.novel = [*own.novel, new][-LATELY:]
    if new:
        own.opened = remembered(own.opened, event.item_id)
    if own.area and facts.areas and not set(own.area) & set(facts.areas):
        own.switches += 1
    own.area = list(facts.areas) or own.area
    for table, names in (
        (own.actions, (event.event,)),
        (own.kinds, facts.kinds),
        (own.areas, facts.areas),
        (own.forms, facts.forms),
    ):
        for name in names:
            table.setdefault(name, Tally()).add(number, event)


def _read_time(own: Tallies, timestamp: int) -> None:
    if own.last is None or own.last // DAY != timestamp // DAY:
        own.days += 1
    own.first = timestamp if own.first is None else own.first
    own.last = timestamp
    if timestamp % DAY:  # a source that knows only days puts all events at midnight
        own.clocked += 1
        own.hours[datetime.fromtimestamp(timestamp, UTC).hour // 6] += 1


def _digest(events: Sequence[HistoryEvent]) -> str:
    said = ((e.item_id, e.event, e.value, e.timestamp) for e in events)
    return blake2b("\n".join(map(repr, said)).encode(), digest_size=8).hexdigest()
