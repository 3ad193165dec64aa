"""A data set several times over, for scaling curves: the same habits, more people and more items.

Copy 0 is the data set as it is, so that size 1 is the real thing. Copy c of a user has the events of
that user, with the items' copies c in most places and copies drawn from all c in the others (so the
parts of a large data set are not strangers to each other), and moved in time as a whole, so that
order and ties stay. Copy c of an item has a title of its own, which no cache of vectors knows.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError

WANDERING = 0.2  # share of events that go to any copy of their item
SHIFT_DAYS = 15  # a copied history is moved by up to so many days, either way
_DAY_S = 86_400


def base_of(
    dataset: Dataset, users: int | None = None, items: int | None = None, seed: int = 0
) -> Dataset:
    """Size 1 of a curve: `users` people and `items` items with the events between them.

    Args:
        dataset: what to draw from.
        users: people with events, drawn by `seed`; all when None.
        items: of the catalogue, drawn by `seed`; all when None.
        seed: of both draws.

    Raises:
        InputError: there are not so many.
    """
    events = dataset.interactions
    if items is not None:
        kept = _drawn(dataset.items["item_id"], items, seed, "items", dataset.name)
        events = events.filter(pl.col("item_id").is_in(kept) | pl.col("item_id").is_null())
        dataset = replace(dataset, items=dataset.items.filter(pl.col("item_id").is_in(kept)))
    if users is not None:
        everybody = events["user_id"].unique().sort()
        kept = _drawn(everybody, users, seed, "people with events", dataset.name)
        events = events.filter(pl.col("user_id").is_in(kept))
        dataset = replace(dataset, users=dataset.users.filter(pl.col("user_id").is_in(kept)))
    return replace(dataset, interactions=events)


def _drawn(ids: pl.Series, count: int, seed: int, what: str, name: str) -> pl.Series:
    if count > len(ids):
        raise InputError(
            f"{name} has {len(ids):,} {what} and {count:,} were asked for; ask for fewer, or leave "
            "the option out for all."
        )
    return ids.sample(count, seed=seed).implode()


def replicate(dataset: Dataset, times: int, seed: int = 0) -> Dataset:
    """`dataset` with `times` as many items, users and events; see the head of this file.

    The environment is not copied. The result is not saved and has no fingerprint of its own.
    """
    draw = np.random.default_rng(seed)
    copies = range(times)
    return Dataset(
        items=pl.concat([_items(dataset.items, copy) for copy in copies]),
        interactions=pl.concat(
            [_events(dataset, copy, times, draw) for copy in copies], how="vertical"
        ),
        users=pl.concat([dataset.users.with_columns(_copied("user_id", copy)) for copy in copies]),
        environment=dataset.environment,
        info=dataset.info,
    )


def _items(items: pl.DataFrame, copy: int) -> pl.DataFrame:
    if not copy:
        return items
    return items.with_columns(
        _copied("item_id", copy), pl.format("{} ({})", "title", pl.lit(copy)).alias("title")
    )


def _events(dataset: Dataset, copy: int, times: int, draw: np.random.Generator) -> pl.DataFrame:
    """The events of copy `copy` of every user, in the order of the table."""
    events = dataset.interactions
    if not copy:
        return events
    count = events.height
    wanders = draw.random(count) < WANDERING
    which = np.where(wanders, draw.integers(0, times, count), copy)  # (events,)
    people = events["user_id"].unique(maintain_order=True)
    furthest = 0 if dataset.info.order_only else SHIFT_DAYS * _DAY_S
    moved = pl.DataFrame(
        {"user_id": people, "moved": draw.integers(-furthest, furthest + 1, len(people))}
    )
    mark = pl.Series("copy", which)
    return (
        events.join(moved, on="user_id", how="left", maintain_order="left")
        .with_columns(mark)
        .with_columns(
            _copied("user_id", copy),
            pl.when(pl.col("copy") == 0)
            .then(pl.col("item_id"))
            .otherwise(pl.format("{}~{}", "item_id", "copy"))
            .alias("item_id"),
            (pl.col("timestamp") + pl.col("moved")).clip(lower_bound=0).alias("timestamp"),
        )
        .select(events.columns)
    )


def _copied(column: str, copy: int) -> pl.Expr:
    """The ids of copy `copy`: `u7~3`; copy 0 keeps its own."""
    return pl.col(column) if not copy else pl.format("{}~{}", column, pl.lit(copy)).alias(column)
