"""Profiles for people to read: brought up to date, with the titles of the items behind them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from foretaste.agents.contexts.context import user_context
from foretaste.agents.contexts.profile_store import stored_profiles
from foretaste.agents.objects import Request
from foretaste.agents.online.live_dataset import user_hash
from foretaste.agents.wording.prompting import clean
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.ledger import ledger_path, read_ledger
from foretaste.data.store import load_dataset

TITLES = 3  # of the items behind a statement that are printed
_FORGOTTEN = "SELECT 1 FROM forgotten WHERE user_hash = ?"


def shown(dataset: str, user_id: str) -> dict[str, Any]:
    """A user's profile as `foretaste profile show --json` prints it.

    Events of the import that are not in the kept profile are read first. A profile that a server
    has brought further, with events of its own, is shown as it is.

    Keys: user_id, dataset, events, until (date of the newest event, when there are dates),
    attributes, profile (a list of key, text, evidence, titles).

    Raises:
        InputError: no such user, or one who was deleted.
    """
    data = load_dataset(dataset)
    if read_ledger(ledger_path(dataset), _FORGOTTEN, [user_hash(user_id)]):
        raise InputError(f"User {user_id!r} of {dataset} was deleted; nothing is known of them.")
    profiles = stored_profiles(dataset)
    kept = profiles.kept(data, user_id)
    if data.knows(user_id) or not kept.events:
        events = user_context(data, Request(user_id=user_id)).events
        if len(events) > kept.events:
            profiles.of(data, user_id, events)
            kept = profiles.kept(data, user_id)
    until = None if kept.last is None else datetime.fromtimestamp(kept.last, UTC).date().isoformat()
    return {
        "user_id": user_id,
        "dataset": dataset,
        "events": kept.events,
        "until": until,
        "attributes": data.attributes_of(user_id) or {},
        "profile": [
            one.model_dump() | {"titles": _titles(data, one.evidence)}
            for one in profiles.said(data, kept)
        ],
    }


def told(profile: dict[str, Any]) -> Iterator[str]:
    """A profile as lines."""
    until = f", the newest on {profile['until']}" if profile["until"] else ""
    yield f"User {clean(profile['user_id'])} of {profile['dataset']}: {profile['events']} events{until}"
    for name, value in profile["attributes"].items():
        yield f"  {clean(name, 30)}: {clean(value, 60)}"
    last = ""
    for one in profile["profile"]:
        if one["key"] != last:
            yield f"{one['key']}"
        last = one["key"]
        yield f"  {clean(one['text'], 200)}"
        titles = [clean(title, 40) for title in one["titles"][:TITLES]]
        if titles:
            yield f"    {'; '.join(titles)}"


def deleted(dataset: str, user_id: str) -> bool:
    """Delete a user's kept profile; False when there was none.

    Raises:
        InputError: no such data set.
    """
    load_dataset(dataset)
    return stored_profiles(dataset).forget(user_id)


def _titles(dataset: Dataset, item_ids: tuple[str, ...]) -> list[str]:
    """Titles of the items; those that only a server knows go by their ids."""
    rows = [dataset.row_of.get(one) for one in item_ids]
    return [
        one if row is None else dataset.titles[row] for one, row in zip(item_ids, rows, strict=True)
    ]
