"""What it was worth to show an item: love in [0, 1], and the gates it has to pass.

A click says little and is easily won; what people keep, buy or praise says more. So each thing that
somebody did with an item after it was shown has a worth, the largest counts, and it counts for nothing
behind a closed gate: R = love · 1[no thumb down] · 1[no bad rating]. A gate cannot be outweighed, as in
RecGPT-V2's constrained reward (arXiv 2512.14503, section 3). The worths are ours and settings.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from pydantic import BaseModel, Field

from foretaste.data.feedback import shown_table
from foretaste.data.ledger import ledger_path, read_ledger

_DAY_S = 86_400
_EVENTS = {
    "user_id": pl.String(),
    "item_id": pl.String(),
    "timestamp": pl.Int64(),
    "event": pl.String(),
    "value": pl.Float64(),
}
_PLACE = ["request_id", "item_id"]


class Love(BaseModel, frozen=True, extra="forbid"):
    """What counts as love, and for how long.

    Attributes:
        up, purchase, cart, click, view: worth of a thumb up, and of each event with the item.
        rating: worth of a rating of `good` or more, in the data's own unit.
        good, bad: ratings from which, and up to which, an item is loved, and regretted.
        days: after it was shown in which something counts.
    """

    up: float = Field(1.0, ge=0, le=1)
    purchase: float = Field(1.0, ge=0, le=1)
    cart: float = Field(0.5, ge=0, le=1)
    click: float = Field(0.2, ge=0, le=1)
    view: float = Field(0.0, ge=0, le=1)
    rating: float = Field(1.0, ge=0, le=1)
    good: float = 4.0
    bad: float = 2.0
    days: float = Field(7.0, gt=0)


def loved_table(dataset: str, love: Love | None = None) -> pl.DataFrame:
    """Every place that was shown (`shown_table`) with what it was worth.

    Columns beside those: love, before the gates; gate, `down` or `regret` where one is closed, else
    null; reward, love behind the gates.
    """
    sql = "SELECT user_id, item_id, timestamp, event, value FROM interactions WHERE item_id IS NOT NULL"
    rows = read_ledger(ledger_path(dataset), sql)
    return loved(shown_table(dataset), rows, love or Love())


def loved(shown: pl.DataFrame, events: Sequence[Sequence[object]], love: Love) -> pl.DataFrame:
    """Places with what they were worth.

    An event counts for the last time that its item was shown to its user before it, within `days`.

    Args:
        shown: as `shown_table` gives it.
        events: rows of user_id, item_id, timestamp, event and value, in any order.
        love: the worths.
    """
    did = pl.DataFrame(events, schema=_EVENTS, orient="row")
    good = (pl.col("event") == "rating") & (pl.col("value") >= love.good)
    kinds = {kind: getattr(love, kind) for kind in ("purchase", "cart", "click", "view")}
    worth = pl.col("event").replace_strict(kinds, default=0.0, return_dtype=pl.Float64())
    did = did.with_columns(
        worth=pl.when(good).then(love.rating).otherwise(worth),
        regret=(pl.col("event") == "rating") & (pl.col("value") <= love.bad),
    )
    places = shown.with_columns(second=pl.col("at").floor().cast(pl.Int64()))
    after = did.sort("timestamp").join_asof(
        places.select("request_id", "user_id", "item_id", "second").sort("second"),
        left_on="timestamp",
        right_on="second",
        by=["user_id", "item_id"],
        strategy="backward",
        check_sortedness=False,
    )
    near = pl.col("timestamp") - pl.col("second") <= love.days * _DAY_S
    told = (
        after.filter(pl.col("request_id").is_not_null() & near)
        .group_by(_PLACE)
        .agg(pl.col("worth").max(), pl.col("regret").any())
    )
    up = pl.when(pl.col("thumb") == 1).then(love.up).otherwise(0.0)
    gate = (
        pl.when(pl.col("thumb") == -1)
        .then(pl.lit("down"))
        .when(pl.col("regret").fill_null(value=False))
        .then(pl.lit("regret"))
    )
    found = shown.join(told, on=_PLACE, how="left", maintain_order="left").with_columns(
        love=pl.max_horizontal(up, pl.col("worth").fill_null(0.0)), gate=gate
    )
    reward = pl.when(pl.col("gate").is_null()).then(pl.col("love")).otherwise(0.0)
    return found.with_columns(reward=reward).drop("worth", "regret")
