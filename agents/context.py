"""First node: who is asking, what they did, and what may be shown to them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foretaste.agents.objects import HistoryEvent, Request, UserContext
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError


@dataclass(frozen=True)
class Reader:
    """One caller, read: the context for the agents and the rows for the channels.

    Attributes:
        context: what the agents read.
        rows: (events,) int32, the history as item rows, oldest first.
        allowed: (items,) bool, what may be recommended.
    """

    context: UserContext
    rows: NDArray[np.int32]
    allowed: NDArray[np.bool_]


def read(dataset: Dataset, request: Request) -> Reader:
    """Look up the history and work out which items are allowed.

    Raises:
        InputError: unknown user or item, or filters that leave nothing.
    """
    context = user_context(dataset, request)
    rows = np.asarray(dataset.rows([e.item_id for e in context.events]), dtype=np.int32)
    allowed = request.filters.mask(dataset.items)  # (items,)
    allowed[dataset.withdrawn] = False
    if not request.include_consumed:
        allowed[rows] = False
    if not allowed.any():
        raise InputError(
            f"No item of {dataset.name} passes the filters; loosen them or check their spelling."
        )
    return Reader(context, rows, allowed)


def user_context(dataset: Dataset, request: Request) -> UserContext:
    """The behaviours, attributes and surroundings that the agents read."""
    if request.history is not None:
        events = _inline_events(dataset, request.history)
    elif request.user_id is not None:
        events = _stored_events(dataset, request.user_id)
    else:
        events = ()
    return UserContext(
        user_id=request.user_id,
        events=events,
        attributes=dataset.attributes_of(request.user_id) or {} if request.user_id else {},
        environment=surroundings(dataset) if request.environment is None else request.environment,
        wish=request.wish,
    )


def surroundings(dataset: Dataset, now: float | None = None) -> tuple[str, ...]:
    """The environment rows that hold at `now` (seconds; the present when None)."""
    moment = time.time() if now is None else now
    if dataset.environment.is_empty():
        return ()
    now_so = dataset.environment.filter((pl.col("start") <= moment) & (pl.col("end") >= moment))
    return tuple(now_so["text"].to_list())


def _stored_events(dataset: Dataset, user_id: str) -> tuple[HistoryEvent, ...]:
    if not dataset.knows(user_id):
        raise InputError(
            f"User {user_id!r} is not in {dataset.name}; give a user that "
            f"`foretaste data describe {dataset.name}` shows, or --history or --wish instead."
        )
    return tuple(
        _event(dataset, row) for row in dataset.events_of(user_id) if row["item_id"] is not None
    )


def _inline_events(dataset: Dataset, item_ids: tuple[str, ...]) -> tuple[HistoryEvent, ...]:
    dataset.rows(list(item_ids))  # an unknown item is one clear sentence
    return tuple(_event(dataset, {"item_id": item_id}) for item_id in item_ids)


def _event(dataset: Dataset, row: dict[str, Any]) -> HistoryEvent:
    place = dataset.row_of[row["item_id"]]
    return HistoryEvent(
        item_id=row["item_id"],
        title=dataset.titles[place],
        categories=tuple(dataset.categories_of(place)),
        event=row.get("event") or "view",
        value=row.get("value"),
        timestamp=None if dataset.info.order_only else row.get("timestamp"),
    )
