"""Which column of a source is which column of a table.

Names that many sources use are recognised; anything else is said with `--map table.column=source`
or a small TOML file:

    drop = ["users.zip_code"]
    [items]
    item_id = "asin"
    [events]
    play = "view"
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foretaste.data.errors import InputError
from foretaste.data.tables import COLUMNS, EVENTS, REQUIRED, TABLES, Table

_USER = ("user_id", "userid", "user", "uid", "reviewerid", "customer_id", "visitorid")
_ITEM = (
    *("item_id", "itemid", "item", "iid", "asin", "parent_asin", "product_id", "productid"),
    *("movie_id", "movieid", "article_id", "sku"),
)

#: Table column → names it goes by in sources, the most telling first; case does not matter.
ALIASES: dict[Table, dict[str, tuple[str, ...]]] = {
    "items": {
        "item_id": (*_ITEM, "id"),
        "title": ("title", "movie_title", "product_title", "item_name", "product_name", "name"),
        "description": ("description", "desc", "text", "overview", "summary", "abstract", "body"),
        "categories": ("categories", "category", "genres", "genre", "class", "category_path"),
        "attributes": ("attributes", "properties"),
        "price": ("price",),
        "image_url": ("image_url", "image", "imurl", "picture"),
    },
    "interactions": {
        "user_id": _USER,
        "item_id": _ITEM,
        "timestamp": (
            *("timestamp", "time", "ts", "datetime", "event_time", "created_at", "date"),
            "unixreviewtime",
        ),
        "event": ("event", "event_type", "action", "behavior", "behaviour"),
        "value": ("value", "rating", "score", "overall", "stars"),
        "query": ("query", "search_query"),
        "position": ("position", "pos"),
    },
    "users": {"user_id": (*_USER, "id"), "attributes": ("attributes", "properties")},
    "environment": {
        "start": ("start", "start_time", "begin", "from", "date"),
        "end": ("end", "end_time", "until", "to"),
        "kind": ("kind", "type"),
        "text": ("text", "description"),
    },
}

#: Names that sources give to the events.
EVENT_ALIASES = {
    **{name: "view" for name in ("pv", "pageview", "page_view", "detail")},
    **{name: "cart" for name in ("addtocart", "add_to_cart", "add-to-cart", "basket")},
    **{name: "purchase" for name in ("buy", "bought", "order", "transaction", "sale")},
    **{name: "rating" for name in ("rate", "review")},
}


@dataclass(frozen=True)
class Mapping:
    """What the caller said about names.

    Attributes:
        columns: table → {table column: source column}.
        events: name of an event in the source → one of `EVENTS`.
        drop: `table.source_column` names that are left out.
    """

    columns: dict[Table, dict[str, str]] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Chosen:
    """Columns of one source: those with a meaning (`columns`: ours → its), and the `extras`."""

    columns: dict[str, str]
    extras: tuple[str, ...]


def read_mapping(
    flags: Sequence[str] = (), file: Path | None = None, drop: Sequence[str] = ()
) -> Mapping:
    """The mapping said by `--map` flags (`items.item_id=asin`), a TOML file and `--drop` flags.

    A flag goes before the file. Unknown tables, columns and events are one clear sentence.
    """
    said: dict[str, dict[str, str]] = {}
    dropped = list(drop)
    if file is not None:
        content = _read_toml(file)
        dropped += [str(name) for name in content.pop("drop", [])]
        for table, pairs in content.items():
            if not isinstance(pairs, dict):
                raise InputError(f"{file.name}: a table [{table}] was expected, not a plain value.")
            said[table] = {str(ours): str(theirs) for ours, theirs in pairs.items()}
    for flag in flags:
        place, equals, theirs = flag.partition("=")
        table, dot, ours = place.partition(".")
        if not (equals and dot and ours and theirs):
            raise InputError(f"--map expects table.column=source_column, not {flag!r}.")
        said.setdefault(table, {})[ours] = theirs
    events = said.pop("events", {})
    _check(said, events, dropped)
    return Mapping(
        {table: said[table] for table in TABLES if table in said}, events, frozenset(dropped)
    )


def choose(
    table: Table, present: Sequence[str], mapping: Mapping, optional: Sequence[str] = ()
) -> Chosen:
    """Find each column of `table` among the columns that are `present` in its source.

    Args:
        table: which table the source is for.
        present: column names of the source.
        mapping: what the caller said; it goes before the aliases.
        optional: required columns that may be missing this time.

    Raises:
        InputError: a column that was named is not there, or a required one cannot be found.
    """
    said = mapping.columns.get(table, {})
    for ours, theirs in said.items():
        if theirs not in present:
            raise InputError(
                f"The column {theirs!r} that was named for {table}.{ours} is not in the source, "
                f"which has: {', '.join(present)}."
            )
    free = [name for name in present if f"{table}.{name}" not in mapping.drop]
    by_name = {name.strip().lower(): name for name in reversed(free) if name not in said.values()}
    columns = dict(said)
    for ours, names in ALIASES[table].items():
        found = next((by_name[name] for name in names if name in by_name), None)
        if ours not in columns and found is not None and found not in columns.values():
            columns[ours] = found
    missing = [one for one in REQUIRED[table] if one not in columns and one not in optional]
    if missing:
        raise InputError(
            f"No column for {table}.{missing[0]} was found among {', '.join(present)}; name it "
            f"with --map {table}.{missing[0]}=COLUMN."
        )
    return Chosen(columns, tuple(name for name in free if name not in columns.values()))


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The mapping {file} cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"The mapping {file} is not valid TOML ({error}).") from error


def _check(said: dict[str, dict[str, str]], events: dict[str, str], drop: Sequence[str]) -> None:
    for table, pairs in said.items():
        known = next((columns for name, columns in COLUMNS.items() if name == table), None)
        if known is None:
            raise InputError(f"A table ({', '.join(TABLES)}, or events) was expected, not {table}.")
        for ours in pairs:
            if ours not in known:
                raise InputError(f"{table} has the columns {', '.join(known)}, but no {ours!r}.")
    for event in events.values():
        if event not in EVENTS:
            raise InputError(f"An event is one of {', '.join(EVENTS)}, not {event!r}.")
    for name in drop:
        if name.partition(".")[0] not in TABLES:
            raise InputError(f"--drop expects table.column, not {name!r}.")
