"""A data set as every other room sees it: four checked tables, a name and a fingerprint."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel

from foretaste.data.errors import InputError
from foretaste.data.histories import Histories
from foretaste.data.signals import Codes, signals, telling
from foretaste.data.text import item_titles


class DatasetInfo(BaseModel, frozen=True):
    """What is known about a data set beside its tables; saved as `dataset.json`.

    Attributes:
        name: the name it was imported under.
        order_only: timestamps are positions in a sequence, not times.
        source: where the rows came from (file names, never absolute paths).
        terms: under which terms the data may be used, when known.
        catalogue_fingerprint: sha256 of the items table, 16 hex digits.
        fingerprint: sha256 of all tables, 16 hex digits.
    """

    name: str
    order_only: bool = False
    source: str = ""
    terms: str = ""
    catalogue_fingerprint: str = ""
    fingerprint: str = ""


@dataclass(frozen=True)
class Dataset:
    """Items, interactions, users and environment of one catalogue.

    Attributes:
        items: item_id, title, description, categories (list), attributes (list of
            {name, value}), price, image_url; an item's *row* is its place in this table.
        interactions: user_id, item_id, timestamp (seconds), event, value, query; sorted by
            user, then time, ties in the order of the source (its `position` column).
        users: user_id, attributes.
        environment: start, end (seconds), kind, text.
        info: name, fingerprints, what the times mean.
    """

    items: pl.DataFrame
    interactions: pl.DataFrame
    users: pl.DataFrame
    environment: pl.DataFrame
    info: DatasetInfo

    @property
    def name(self) -> str:
        """The name it was imported under."""
        return self.info.name

    @cached_property
    def item_ids(self) -> list[str]:
        """Item ids in row order."""
        ids: list[str] = self.items["item_id"].to_list()
        return ids

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Item id → row."""
        return {item_id: row for row, item_id in enumerate(self.item_ids)}

    @cached_property
    def titles(self) -> list[str]:
        """One title an item in row order; an item without a title is its id."""
        return item_titles(self.items)

    def categories_of(self, row: int) -> list[str]:
        """The categories of one item, empty where it has none."""
        names = self.items["categories"][int(row)]
        return [] if names is None else names.to_list()

    @property
    def withdrawn(self) -> NDArray[np.int64]:
        """(n,) rows of items that are known and no longer recommended; none once imported."""
        return np.zeros(0, dtype=np.int64)

    def events_of(self, user_id: str) -> list[dict[str, Any]]:
        """One user's interactions as rows of the table, oldest first; none for a stranger."""
        start, stop = self.spans.get(user_id, (0, 0))
        return self.interactions[start:stop].to_dicts() if stop > start else []

    def attributes_of(self, user_id: str) -> dict[str, str] | None:
        """What the users table says about one user, name → value; None when they are not in it."""
        row = self.user_rows.get(user_id)
        if row is None:
            return None
        pairs = self.users["attributes"][row]
        return {pair["name"]: pair["value"] for pair in (() if pairs is None else pairs.to_list())}

    def knows(self, user_id: str) -> bool:
        """Whether there is a user of this id."""
        return user_id in self.spans or user_id in self.user_rows

    @cached_property
    def spans(self) -> dict[str, tuple[int, int]]:
        """User id → first row of `interactions`, and the one after the last."""
        ids = self.interactions["user_id"]
        runs = ids.rle().struct.unnest()
        stops = np.cumsum(runs["len"].to_numpy()).tolist()
        starts = [0, *stops[:-1]]
        return dict(zip(runs["value"], zip(starts, stops, strict=True), strict=True))

    @cached_property
    def user_rows(self) -> dict[str, int]:
        """User id → row of the users table."""
        return {user_id: row for row, user_id in enumerate(self.users["user_id"].to_list())}

    @cached_property
    def user_ids(self) -> list[str]:
        """Users with at least one interaction with an item, in the order of `histories`."""
        ids: list[str] = self._events["user_id"].unique(maintain_order=True).to_list()
        return ids

    @cached_property
    def histories(self) -> Histories:
        """Every user's item rows, oldest first, in the order of `user_ids`."""
        events = self._events
        runs = events["user_id"].rle_id().to_numpy()
        lengths = np.bincount(runs) if len(runs) else np.zeros(0, dtype=np.int64)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return Histories(self._event_rows, offsets, self._signals(runs))

    @cached_property
    def chosen(self) -> NDArray[np.bool_]:
        """(items,) bool, whether anybody did anything with an item."""
        found = np.zeros(len(self.item_ids), dtype=bool)
        found[self.histories.rows] = True
        return found

    @cached_property
    def low_rating(self) -> float:
        """Ratings below it are in the lowest third of those given here; -inf where nobody rated."""
        given = self.interactions.filter(pl.col("event") == "rating")["value"].drop_nulls()
        if not len(given):
            return -math.inf
        low, high = float(given.min()), float(given.max())  # type: ignore[arg-type]
        return low + (high - low) / 3

    @cached_property
    def times(self) -> NDArray[np.int64]:
        """(events,) seconds of each event of `histories`."""
        return self._events["timestamp"].to_numpy().astype(np.int64)

    def rows(self, item_ids: list[str]) -> list[int]:
        """Rows of these items; an unknown id is one clear sentence."""
        unknown = [item_id for item_id in item_ids if item_id not in self.row_of]
        if unknown:
            raise InputError(
                f"Item {unknown[0]!r} is not in the catalogue of {self.name}; "
                f"`foretaste data describe {self.name}` shows some ids."
            )
        return [self.row_of[item_id] for item_id in item_ids]

    @cached_property
    def _events(self) -> pl.DataFrame:
        """Interactions that are about an item (searches carry a text instead)."""
        return self.interactions.filter(pl.col("item_id").is_not_null())

    def _signals(self, owners: NDArray[np.int64]) -> Codes | None:
        """(events, 2) what events tell beside their items, None where all tell the same."""
        values = self._events["value"].fill_null(float("nan")).to_numpy().astype(np.float64)
        times = None if self.info.order_only else self.times
        kinds = self._events["event"].to_list()
        return telling(signals(kinds, values, times, owners.astype(np.int64)))

    @cached_property
    def _event_rows(self) -> NDArray[np.int32]:
        lookup = pl.DataFrame(
            {"item_id": self.item_ids, "row": np.arange(len(self.item_ids), dtype=np.int32)}
        )
        joined = self._events.select("item_id").join(
            lookup, on="item_id", how="left", maintain_order="left"
        )
        return joined["row"].to_numpy().astype(np.int32)
