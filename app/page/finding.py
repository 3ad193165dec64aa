"""Finding users and items for the page's menus."""

from __future__ import annotations

import numpy as np
import polars as pl

from foretaste.app.api.service import Service
from foretaste.data.dataset import Dataset

SHOWN = 25  # choices in a menu
FITTING = 50  # items that words stand for, when users are looked for by taste
Choice = tuple[str, str]  # what is shown, and the id


def item_choice(dataset: Dataset, item_id: str) -> Choice:
    """An item as a menu shows it."""
    row = dataset.row_of[item_id]
    return f"{dataset.titles[row]} ({item_id})", item_id


async def items(service: Service, words: str, n: int = SHOWN) -> list[Choice]:
    """Items whose id is `words`, then items by meaning and word."""
    dataset = service.live.tools.dataset
    found = [words] if words in dataset.row_of else []
    if words.strip():
        found += [one["item_id"] for one in await service.search(words, n)]
    return [item_choice(dataset, item_id) for item_id in dict.fromkeys(found)]


def some_users(dataset: Dataset, n: int = SHOWN) -> list[Choice]:
    """The first users of a data set."""
    return [(_user(dataset, user_id), user_id) for user_id in dataset.user_ids[:n]]


async def users(service: Service, words: str, n: int = SHOWN) -> list[Choice]:
    """Users by id, or else by taste: those who chose what the words find.

    Args:
        service: of the data set.
        words: the beginning of an id, or words about what they like.
        n: users wanted at most.
    """
    dataset, wanted = service.live.tools.dataset, words.strip()
    if not wanted:
        return some_users(dataset, n)
    named = [one for one in dataset.user_ids if one.startswith(wanted)]
    named.sort(key=lambda one: (len(one), one))
    if named:
        return [(_user(dataset, user_id), user_id) for user_id in named[:n]]
    rows = [dataset.row_of[one["item_id"]] for one in await service.search(wanted, FITTING)]
    weights = np.zeros(len(dataset.item_ids))
    weights[rows] = 1 / np.arange(1, len(rows) + 1)  # the first found counts most
    histories = dataset.histories
    fits = np.bincount(histories.owners, weights[histories.rows], len(histories))  # (users,)
    best = np.lexsort((np.arange(len(fits)), -fits / np.sqrt(np.maximum(histories.lengths, 5))))[:n]
    users = [dataset.user_ids[at] for at in best if fits[at]]
    return [(_user(dataset, user_id), user_id) for user_id in users]


def categories(dataset: Dataset, most: int = 300) -> list[str]:
    """The categories with the most items, by name."""
    exploded = dataset.items["categories"].explode().drop_nulls()
    if exploded.is_empty():
        return []
    counted = exploded.value_counts(sort=True)
    return sorted(counted["categories"].head(most).to_list())


def attributes(dataset: Dataset, most: int = 300) -> list[str]:
    """`name: value` of the attributes that several items share, the most common ones, by name.

    What each item has of its own (a number, a code) tells nothing and is left out.
    """
    pairs = dataset.items["attributes"].explode().drop_nulls()
    if pairs.is_empty():
        return []
    counted = pairs.struct.unnest().group_by("name", "value").len().filter(pl.col("len") > 1)
    common = counted.sort("len", "name", "value", descending=[True, False, False]).head(most)
    return sorted(f"{name}: {value}" for name, value, _ in common.iter_rows())


def prices(dataset: Dataset) -> tuple[float, float] | None:
    """The lowest and the highest price; None for a catalogue without prices."""
    known = dataset.items["price"].drop_nulls()
    return None if known.is_empty() else (float(known.min()), float(known.max()))  # type: ignore[arg-type]


def _user(dataset: Dataset, user_id: str) -> str:
    return f"{user_id} ({len(dataset.events_of(user_id)):,} events)"
