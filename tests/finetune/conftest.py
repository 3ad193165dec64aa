"""A tiny catalogue whose next item can be told from its text: people stay within one kind."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.store import save_dataset
from foretaste.data.tables import COLUMNS

KINDS = ("lipstick", "shampoo", "razor", "perfume")


def make(users: int = 60, items: int = 40, events: int = 8, seed: int = 0) -> Dataset:
    draw = np.random.default_rng(seed)
    kinds = [KINDS[row % len(KINDS)] for row in range(items)]
    rows = [
        {
            "item_id": f"i{row}",
            "title": f"{kind} number{row}",
            "categories": ["Beauty", kind.title()],
            "attributes": [{"name": "brand", "value": f"b{row % 5}"}],
        }
        for row, kind in enumerate(kinds)
    ]
    log = []
    for user in range(users):
        own = np.flatnonzero(np.array(kinds) == KINDS[user % len(KINDS)])
        for time, row in enumerate(draw.choice(own, events, replace=False)):
            log.append(
                {
                    "user_id": f"u{user}",
                    "item_id": f"i{row}",
                    "timestamp": 1_600_000_000 + 86_400 * time,
                    "event": "purchase",
                    "position": len(log),
                }
            )
    tables = {
        name: pl.DataFrame(given, schema=COLUMNS[name])
        for name, given in (
            ("items", rows),
            ("interactions", log),
            ("users", []),
            ("environment", []),
        )
    }
    return Dataset(**tables, info=DatasetInfo(name="tiny"))


@pytest.fixture
def tiny(home: object) -> Dataset:
    """Saved under the home of the test."""
    return save_dataset(make())
