"""What people said about their recommendations, beside what they were shown: rows for training."""

from __future__ import annotations

import json
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from foretaste.data.changes import Identifier
from foretaste.data.ledger import ledger_path, read_ledger

#: Column → type of `feedback_table`.
FEEDBACK_COLUMNS: dict[str, pl.DataType] = {
    "request_id": pl.String(),
    "user_id": pl.String(),
    "item_id": pl.String(),
    "at": pl.Float64(),
    "thumb": pl.Int64(),
    "reason": pl.String(),
    "position": pl.Int64(),
    "score": pl.Float64(),
    "channel": pl.String(),
    "propensity": pl.Float64(),
}


class Feedback(BaseModel):
    """A thumb about one item of one answer.

    Attributes:
        request_id: of the answer that showed the item; sent again, the later thumb replaces.
        user_id: whose thumb it is; empty for a caller without a user.
        thumb: `up` or `down`.
        reason: in the person's own words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: Identifier
    item_id: Identifier
    thumb: Literal["up", "down"]
    user_id: str = Field("", max_length=200)
    reason: str | None = Field(None, max_length=1_000)


def feedback_table(dataset: str) -> pl.DataFrame:
    """All feedback about a data set, each row beside how its item was shown.

    Columns: `FEEDBACK_COLUMNS`. `at` is in seconds, `thumb` is 1 or -1. `position` (1 the top),
    `score`, `channel` and `propensity` (the chance with which the item was put there) are null
    when the request id names no answer of ours.
    """
    sql = (
        "SELECT f.request_id, f.user_id, f.item_id, f.at, f.thumb, f.reason, e.page "
        "FROM feedback f LEFT JOIN exposures e ON e.request_id = f.request_id ORDER BY f.at"
    )
    rows = []
    for *said, page in read_ledger(ledger_path(dataset), sql):
        rows.append([*said, *_shown(page, said[2])])
    return pl.DataFrame(rows, schema=FEEDBACK_COLUMNS, orient="row")


def _shown(page: str | None, item_id: str) -> list[Any]:
    """Position, score, channel and propensity of an item on a page."""
    for position, line in enumerate(json.loads(page) if page else (), 1):
        if line["item_id"] == item_id:
            return [position, line["score"], line["channel"], line["propensity"]]
    return [None] * 4
