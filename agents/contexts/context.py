"""First node: who is asking, what they did, and what may be shown to them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.contexts.profile_store import Profiles
from foretaste.agents.contexts.surroundings import Surroundings, holding
from foretaste.agents.objects import HistoryEvent, Request, Search, UserContext
from foretaste.agents.retrieval.masks import MASKS
from foretaste.agents.running.once import FoundOnce
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError


@dataclass(frozen=True)
class Reader:
    """One caller, read: the context for the agents and the rows for the channels.

    Attributes:
        context: what the agents read.
        rows: (events,) int32, the history as item rows, oldest first.
        allowed: (items,) bool, what may be recommended.
        found: what was searched for already.
    """

    context: UserContext
    rows: NDArray[np.int32]
    allowed: NDArray[np.bool_]
    found: FoundOnce = field(default_factory=FoundOnce, repr=False)


def read(
    dataset: Dataset,
    request: Request,
    surroundings: Surroundings | None = None,
    profiles: Profiles | None = None,
) -> Reader:
    """Look up the history and work out which items are allowed; see `user_context`.

    Raises:
        InputError: unknown user or item, or filters that leave nothing.
    """
    context = user_context(dataset, request, surroundings, profiles)
    rows = np.asarray(dataset.rows([e.item_id for e in context.events]), dtype=np.int32)
    allowed = MASKS.of(request.filters, dataset.items)  # (items,)
    allowed[dataset.withdrawn] = False
    if not request.include_consumed:
        allowed[rows] = False
    if not allowed.any():
        raise InputError(
            f"No item of {dataset.name} passes the filters; loosen them or check their spelling."
        )
    return Reader(context, rows, allowed)


def user_context(
    dataset: Dataset,
    request: Request,
    surroundings: Surroundings | None = None,
    profiles: Profiles | None = None,
) -> UserContext:
    """The behaviours, the profile made of these same behaviours, and the surroundings.

    Args:
        dataset: the catalogue and its interactions.
        request: whose context is wanted.
        surroundings: tells what holds today; the data set's own environment alone when None.
        profiles: brings the user's profile up to date; none is made when None.
    """
    events: tuple[HistoryEvent, ...] = ()
    searches: tuple[Search, ...] = ()
    user_id = request.user_id if request.history is None else None
    if request.history is not None:
        events = _inline_events(dataset, request.history)
    elif user_id is not None:
        events, searches = _stored_events(dataset, user_id)
    environment = request.environment
    if environment is None:
        told = surroundings.texts(dataset) if surroundings else holding(dataset, time.time())
        environment = tuple(told)
    return UserContext(
        user_id=request.user_id,
        events=events,
        searches=searches,
        attributes=dataset.attributes_of(request.user_id) or {} if request.user_id else {},
        profile=profiles.of(dataset, user_id, events) if profiles else (),
        environment=environment,
        wish=request.wish,
    )


def _stored_events(
    dataset: Dataset, user_id: str
) -> tuple[tuple[HistoryEvent, ...], tuple[Search, ...]]:
    if not dataset.knows(user_id):
        raise InputError(
            f"User {user_id!r} is not in {dataset.name}; give a user that "
            f"`foretaste data describe {dataset.name}` shows, or --history or --wish instead."
        )
    events: list[HistoryEvent] = []
    searches: list[Search] = []
    for row in dataset.events_of(user_id):
        if row["item_id"] is not None:
            events.append(_event(dataset, row))
        elif row["query"]:
            at = None if dataset.info.order_only else row["timestamp"]
            searches.append(Search(query=row["query"], after=len(events), timestamp=at))
    return tuple(events), tuple(searches)


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
