"""What a data set is like, in numbers, and what its times can and cannot carry."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from foretaste.data.dataset import Dataset
from foretaste.data.text import item_texts
from foretaste.data.times import iso

_DAY = 86_400  # seconds
_MANY_TIES = 0.2  # share of tied events from which order inside a tie decides results
_CATALOGUE_ORDER = 0.55  # share of neighbours with a larger id that chance does not give


def describe(dataset: Dataset) -> dict[str, Any]:
    """Counts, sparsity, time span, text richness, ties, catalogue order, warnings, some ids.

    Shares are from 0 to 1, times ISO dates in UTC (None for an `order_only` set), lengths in
    characters.
    """
    time = _time(dataset)
    order = catalogue_order_share(dataset)
    return {
        "name": dataset.name,
        "fingerprint": dataset.info.fingerprint,
        "catalogue_fingerprint": dataset.info.catalogue_fingerprint,
        "source": dataset.info.source,
        "terms": dataset.info.terms,
        "counts": _counts(dataset),
        "events": dict(dataset.interactions["event"].value_counts(sort=True).iter_rows()),
        "per_user": _spread(dataset.histories.lengths),
        "per_item": _spread(_item_counts(dataset)),
        "sparsity": _sparsity(dataset),
        "time": time,
        "text": _text(dataset),
        "catalogue_order_share": order,
        "warnings": _warnings(time, order),
        "example_users": dataset.user_ids[:3],
        "example_items": dataset.item_ids[:3],
    }


def tied_share(dataset: Dataset) -> float:
    """Share of events that another event of the same user shares its second with."""
    events = dataset.interactions.select("user_id", "timestamp")
    return _share(events.is_duplicated())


def catalogue_order_share(dataset: Dataset) -> float | None:
    """Share of a user's neighbouring events whose second item has the larger id.

    Ids that are all numbers are compared as numbers. Half is what chance gives; more says that
    ties were left in the order of the catalogue, which a model could read instead of taste.
    Repeats of the same item are left out; None without any neighbours.
    """
    ids = dataset.items["item_id"]
    numbers = ids.cast(pl.Int64, strict=False)
    keys = ids if numbers.null_count() else numbers
    rank = np.argsort(keys.arg_sort().to_numpy())  # (items,) place of each item among the ids
    places = rank[dataset.histories.rows]
    inside = dataset.histories.owners[1:] == dataset.histories.owners[:-1]
    steps = np.diff(places)[inside]
    steps = steps[steps != 0]
    return round(float((steps > 0).mean()), 4) if len(steps) else None


def _counts(dataset: Dataset) -> dict[str, int]:
    return {
        "items": dataset.items.height,
        "items_with_events": int((_item_counts(dataset) > 0).sum()),
        "users": dataset.interactions["user_id"].n_unique(),
        "users_with_attributes": dataset.users.height,
        "interactions": dataset.interactions.height,
        "environment": dataset.environment.height,
    }


def _item_counts(dataset: Dataset) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(items,) events of each item."""
    return np.bincount(dataset.histories.rows, minlength=dataset.items.height).astype(np.int64)


def _spread(counts: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, float]:
    if not len(counts):
        return {"min": 0, "median": 0, "mean": 0, "max": 0}
    return {
        "min": int(counts.min()),
        "median": float(np.median(counts)),
        "mean": round(float(counts.mean()), 2),
        "max": int(counts.max()),
    }


def _sparsity(dataset: Dataset) -> float | None:
    """Share of user-item pairs without any event."""
    users, items = len(dataset.user_ids), dataset.items.height
    if not users or not items:
        return None
    events = dataset.interactions.filter(pl.col("item_id").is_not_null())
    pairs = events.select("user_id", "item_id").n_unique()
    return round(1 - pairs / (users * items), 6)


def _time(dataset: Dataset) -> dict[str, Any]:
    events = dataset.interactions
    if dataset.info.order_only or events.is_empty():
        keys = ("first", "last", "days", "median_user_days", "tied_share")
        return {"order_only": dataset.info.order_only} | dict.fromkeys(keys)
    first, last = events["timestamp"].min(), events["timestamp"].max()
    spans = events.group_by("user_id").agg(
        span=pl.col("timestamp").max() - pl.col("timestamp").min()
    )
    seconds = np.array([first, last], dtype=np.int64)
    return {
        "order_only": False,
        "first": iso(int(seconds[0])),
        "last": iso(int(seconds[1])),
        "days": round(int(np.diff(seconds)[0]) / _DAY, 1),
        "median_user_days": round(float(np.median(spans["span"].to_numpy())) / _DAY, 3),
        "tied_share": round(tied_share(dataset), 4),
    }


def _text(dataset: Dataset) -> dict[str, Any]:
    items = dataset.items
    lengths = np.array([len(text) for text in item_texts(items)] or [0])
    return {
        "title_share": round(_share(items["title"].is_not_null()), 4),
        "distinct_titles": items["title"].drop_nulls().n_unique(),
        "description_share": round(_share(items["description"].is_not_null()), 4),
        "category_share": round(_share(items["categories"].list.len() > 0), 4),
        "distinct_categories": items["categories"].explode().drop_nulls().n_unique(),
        "attributes": items["attributes"].list.len().sum(),
        "mean_text_characters": round(float(lengths.mean()), 1),
        "median_text_characters": float(np.median(lengths)),
    }


def _warnings(time: dict[str, Any], order: float | None) -> list[str]:
    found = []
    if time["order_only"]:
        found.append("There are no times, only orders: no split by date, no recent popularity.")
    if (time["tied_share"] or 0) > _MANY_TIES or _short(time["median_user_days"]):
        found.append(
            f"Times cannot carry a sequence: {time['tied_share']:.0%} of the events share user "
            f"and second with another, and the median user spans {time['median_user_days']:.2f} "
            "days; make no claims about order from them."
        )
    if order is not None and order > _CATALOGUE_ORDER:
        found.append(
            f"Events are partly in catalogue order: the next item has the larger id in {order:.0%} "
            "of neighbours (chance: 50%); report the users against that order separately, and let "
            "no model read ids as numbers."
        )
    return found


def _short(days: float | None) -> bool:
    return days is not None and days < 1


def _share(flags: pl.Series) -> float:
    """Share of true; 0 for no rows."""
    return float(flags.sum()) / len(flags) if len(flags) else 0.0
