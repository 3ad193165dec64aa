"""What people were shown and what they said about it: one row a place, for training and for judging."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from foretaste.data.changes import Identifier
from foretaste.data.ledger import ledger_path, read_ledger

#: What is kept of each place of a page that was shown.
LINE = ("item_id", "score", "channel", "explores", "propensity", "chances", "policy")

#: Column → type of `shown_table`.
SHOWN_COLUMNS: dict[str, pl.DataType] = {
    "request_id": pl.String(),
    "user_id": pl.String(),
    "at": pl.Float64(),
    "position": pl.Int64(),
    "item_id": pl.String(),
    "score": pl.Float64(),
    "channel": pl.String(),
    "explores": pl.Boolean(),
    "propensity": pl.Float64(),
    "chances": pl.List(pl.Struct({"item_id": pl.String(), "chance": pl.Float64()})),
    "policy": pl.String(),
    "thumb": pl.Int64(),
    "reason": pl.String(),
}

#: Column → type of `feedback_table`.
FEEDBACK_COLUMNS: dict[str, pl.DataType] = {
    name: SHOWN_COLUMNS[name]
    for name in (
        *("request_id", "user_id", "item_id", "at", "thumb", "reason", "position", "score"),
        *("channel", "propensity", "policy"),
    )
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


def shown_line(recommendation: Mapping[str, Any], policy: str) -> dict[str, Any]:
    """What is kept of one place of a page.

    Args:
        recommendation: as the result of a request has it.
        policy: the version of what made the page.

    >>> shown_line({"item_id": "i", "score": 0.5, "channel": "tags", "placement": None}, "p")[
    ...     "propensity"
    ... ]
    1.0
    """
    placement = recommendation.get("placement") or {}
    return {
        "item_id": recommendation["item_id"],
        "score": recommendation["score"],
        "channel": recommendation["channel"],
        "explores": placement.get("explores", False),
        "propensity": placement.get("propensity", 1.0),
        "chances": placement.get("chances", {}),
        "policy": policy,
    }


def shown_table(dataset: str) -> pl.DataFrame:
    """Every place of every page that was shown about a data set, with the thumb that it got.

    Columns: `SHOWN_COLUMNS`. `at` is when the page was shown, in seconds; `position` 1 is the top;
    `propensity` is the chance with which the item was put there, and `chances` has all items that
    might have stood there (this one alone when it was certain); `thumb` is 1, -1 or null.
    """
    said: dict[tuple[str, str], tuple[int, str | None]] = {}
    path = ledger_path(dataset)
    for request_id, item_id, thumb, reason in read_ledger(
        path, "SELECT request_id, item_id, thumb, reason FROM feedback ORDER BY at"
    ):
        said[request_id, item_id] = (thumb, reason)
    rows = []
    pages = read_ledger(path, "SELECT request_id, user_id, at, page FROM exposures ORDER BY at")
    for request_id, user_id, at, page in pages:
        for position, line in enumerate(json.loads(page), 1):
            thumb = said.get((request_id, line["item_id"]), (None, None))
            rows.append([request_id, user_id, at, position, *_values(line), *thumb])
    return pl.DataFrame(rows, schema=SHOWN_COLUMNS, orient="row")


def feedback_table(dataset: str) -> pl.DataFrame:
    """All feedback about a data set, each row beside how its item was shown.

    Columns: `FEEDBACK_COLUMNS`. `at` is when it was said, in seconds; what tells of the place is null
    when the request id names no answer of ours, or none that showed the item.
    """
    sql = "SELECT request_id, user_id, item_id, at, thumb, reason FROM feedback ORDER BY at"
    names = list(FEEDBACK_COLUMNS)[:6]
    schema = {name: FEEDBACK_COLUMNS[name] for name in names}
    said = pl.DataFrame(read_ledger(ledger_path(dataset), sql), schema=schema, orient="row")
    shown = shown_table(dataset).select("request_id", "item_id", *list(FEEDBACK_COLUMNS)[6:])
    keys = ["request_id", "item_id"]
    return said.join(shown, on=keys, how="left", maintain_order="left")


def _values(line: Mapping[str, Any]) -> list[Any]:
    """What the log says of a place, in the order of `LINE`; pages of older logs say less."""
    certain = {line["item_id"]: line["propensity"]}
    chances = [
        {"item_id": item_id, "chance": chance}
        for item_id, chance in (line.get("chances") or certain).items()
    ]
    known = {"explores": False, "policy": ""} | dict(line) | {"chances": chances}
    return [known[name] for name in LINE]
