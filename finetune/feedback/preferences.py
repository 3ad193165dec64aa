"""Answers to one context in tiers: loved, shown, refused; each loved one weighted against confounders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl

from foretaste.finetune.feedback.config import FeedbackConfig
from foretaste.finetune.feedback.confounders import (
    Floats,
    Place,
    Positions,
    popularity_slope,
    position_effects,
    weights,
)
from foretaste.finetune.reward.data import TIERS, Group

Row = Mapping[str, Any]
Told = Callable[[Row], str]


@dataclass(frozen=True)
class Corrected:
    """A log whose rewards are free of place and popularity.

    Attributes:
        rows: of the places shown, page by page and from the top.
        positions: what places do.
        slope: of popularity.
        popularity: (rows,) logarithm of interactions with each item.
        places: (rows,) effect of the place of each row.
        weights: (rows,) of what was loved, 0 for the others.
    """

    rows: Sequence[Row]
    positions: Positions
    slope: float
    popularity: Floats
    places: Floats
    weights: Floats

    def drift(self) -> dict[str, dict[str, float]]:
        """Mean place and popularity of what was shown, loved as counted, and loved as weighted."""
        loved = np.array([row["reward"] for row in self.rows])
        place = np.array([row["position"] for row in self.rows], dtype=np.float64)
        ways = {"shown": np.ones(len(loved)), "counted": loved, "weighted": self.weights}
        return {
            name: {
                "place": round(float(np.average(place, weights=way)), 3),
                "log_popularity": round(float(np.average(self.popularity, weights=way)), 3),
            }
            for name, way in ways.items()
            if way.any()
        }


def corrected(shown: pl.DataFrame, counts: Mapping[str, int], config: FeedbackConfig) -> Corrected:
    """Remove the effects of place and popularity.

    Args:
        shown: as `data.love.loved_table` gives it.
        counts: item id → interactions with it before.
        config: what is removed.
    """
    rows = shown.sort("at", "request_id", "position", maintain_order=True).to_dicts()
    pages = [
        [_place(row) for row in page]
        for _, page in groupby(rows, key=lambda row: row["request_id"])
    ]
    size = max((len(page) for page in pages), default=1)
    positions = Positions(np.ones(size), 0)
    if config.position:
        positions = position_effects(pages, config.prior)
    rewards = np.array([row["reward"] for row in rows], dtype=np.float64)
    places = positions.effects[[row["position"] - 1 for row in rows]]
    popularity = np.log1p([counts.get(row["item_id"], 0) for row in rows]).astype(np.float64)
    slope = popularity_slope(rewards, places, popularity) if config.popularity else 0.0
    free = weights(rewards, places, popularity, slope, config.most)
    return Corrected(rows, positions, slope, popularity, places, free)


def preferences(log: Corrected, context: Told, answer: Told) -> Iterator[Group]:
    """One group for each page on which somebody loved or refused something.

    S is what was loved, B what was refused (a closed gate), A the rest of the page. What was shown
    counts against what was loved in full: its own place is in the loved one's weight already. An A
    stands above a B with the weight of those that were refused.

    Args:
        log: without its confounders.
        context: what was known of the person when the page was shown, by one of its rows.
        answer: the item of a row in words; empty for what cannot be told.
    """
    numbered = [{"number": number, **row} for number, row in enumerate(log.rows)]
    for _, page in groupby(numbered, key=lambda row: row["request_id"]):
        rows = list(page)
        refused = [1 / log.places[row["number"]] for row in rows if row["gate"]]
        beside = float(np.mean(refused)) if refused else 1.0
        found: dict[str, tuple[int, float]] = {}
        for row in rows:
            weight = float(log.weights[row["number"]])
            tier = "B" if row["gate"] else "S" if weight > 0 else "A"
            found.setdefault(answer(row), (TIERS[tier], weight if tier == "S" else beside))
        found.pop("", None)
        if len({tier for tier, _ in found.values()}) > 1:
            tiers, weighed = zip(*found.values(), strict=True)
            yield Group(rows[0]["user_id"], context(rows[0]), tuple(found), tiers, weighed)


def _place(row: Row) -> Place:
    chances = {one["item_id"]: one["chance"] for one in row["chances"]}
    return Place(row["item_id"], row["reward"], chances)
