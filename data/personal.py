"""Rows about one person in the imported tables and in the files of a home: found, and removed.

A row of JSON or of a table is about a person when it names them in one of `NAMES`. Databases (profiles,
the live ledger, checkpoints) look after their own rows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from foretaste.data.errors import ForetasteError
from foretaste.data.files import home, read_json, replacing, write_json
from foretaste.data.store import load_dataset, load_quarantine, save_dataset

#: Where files of any command may hold rows about people. The other folders of a home hold items,
#: vectors, weights or databases.
FOLDERS = ("examples", "runs", "judged", "pipelines", "cache/intent")
NAMES = ("user_id", "user", "owner", "group", "case")
_EXPLAINED = " explained"  # how the cache of judge/intent names a second line about somebody
_LONG = 6  # characters from which an id is looked for inside damaged text


def imported_rows(dataset: str, user_id: str) -> dict[str, list[dict[str, Any]]]:
    """Rows about a user in the imported tables: users, interactions, quarantine.

    Raises:
        InputError: no such data set.
    """
    tables = _split(dataset, user_id)
    return {name: own.to_dicts() for name, (own, _) in tables.items()}


def delete_imported(dataset: str, user_id: str) -> dict[str, int]:
    """Write the imported tables anew without a user; gives the rows removed from each.

    The data set has another fingerprint then, so rules are fitted anew. Nothing is written when there
    is nothing to remove.

    Raises:
        InputError: no such data set.
        ForetasteError: the disk would not take it; nothing changed.
    """
    tables = _split(dataset, user_id)
    removed = {name: own.height for name, (own, _) in tables.items()}
    if any(removed.values()):
        old = load_dataset(dataset)
        left = {name: rest for name, (_, rest) in tables.items()}
        aside = left.pop("quarantine")
        new = type(old)(old.items, left["interactions"], left["users"], old.environment, old.info)
        save_dataset(new, aside, old.info.fingerprint)
    return removed


def file_rows(user_id: str) -> dict[str, list[Any]]:
    """Rows about a user in the files of the home: path below it → rows."""
    found = {}
    for path in _files():
        own = [row for row in _rows(path) if about(row, user_id)]
        if own:
            found[str(path.relative_to(home()))] = own
    return found


def delete_file_rows(user_id: str) -> dict[str, int]:
    """Write every file of the home that has rows about a user anew without them.

    Returns:
        Path below the home → rows removed. Conversations that a card shows go with their rows.
    """
    removed, said = dict[str, int](), set[str]()
    paths = list(_files())
    for path in paths:
        own = [row for row in _rows(path) if about(row, user_id)]
        if own:
            _without(path, user_id)
            removed[str(path.relative_to(home()))] = len(own)
            said |= {_spoken(row) for row in own if isinstance(row, dict) and "messages" in row}
    for path in paths if said else ():
        if path.suffix == ".json" and path.exists():
            before = read_json(path)
            after = _unsaid(before, said)
            if after != before:
                write_json(path, after)
    return removed


def about(row: Any, user_id: str) -> bool:
    """Whether a row names a user.

    >>> about({"owner": "7", "tiers": [2, 0]}, "7"), about({"item_id": "7"}, "7")
    (True, False)
    """
    if not isinstance(row, dict):
        return False
    named = {row.get(name) for name in NAMES if isinstance(row.get(name), str)}
    return bool(named & {user_id, user_id + _EXPLAINED})


def _split(dataset: str, user_id: str) -> dict[str, tuple[pl.DataFrame, pl.DataFrame]]:
    """Table → rows about a user, and the others."""
    whole, aside = load_dataset(dataset), load_quarantine(dataset)
    named = pl.Series([_names(text, user_id) for text in aside["content"]], dtype=pl.Boolean)
    own = pl.col("user_id") == user_id
    return {
        "users": (whole.users.filter(own), whole.users.filter(~own)),
        "interactions": (whole.interactions.filter(own), whole.interactions.filter(~own)),
        "quarantine": (aside.filter(named), aside.filter(~named)),
    }


def _names(content: str | None, user_id: str) -> bool:
    """Whether a row that was put aside, as its source had it, names a user."""
    if content is None:
        return False
    try:
        row = json.loads(content)
    except ValueError:
        return len(user_id) >= _LONG and user_id in content
    values = row.values() if isinstance(row, dict) else row if isinstance(row, list) else [row]
    return user_id in (str(value) for value in values) or (
        len(user_id) >= _LONG and user_id in content
    )


def _files() -> Iterator[Path]:
    """Files that may hold rows."""
    for folder in FOLDERS:
        for path in sorted((home() / folder).rglob("*")):
            if path.is_file() and path.suffix in (".jsonl", ".json", ".parquet", ".csv"):
                yield path


def _rows(path: Path) -> list[Any]:
    """The rows of a file; of a JSON file all objects in it, however deep.

    Raises:
        ForetasteError: it cannot be read, so nobody knows what it says.
    """
    try:
        if path.suffix == ".jsonl":
            return [row for _, row in _lines(path)]
        if path.suffix == ".json":
            return list(_objects(read_json(path)))
        table = _table(path)
        return table.to_dicts() if set(NAMES) & set(table.columns) else []
    except (ValueError, OSError, pl.exceptions.PolarsError) as error:
        raise ForetasteError(
            f"{path} cannot be read ({str(error)[:120]}), so nobody knows whether it is about this "
            "user; delete the file and run the command again."
        ) from error


def _lines(path: Path) -> list[tuple[str, Any]]:
    """Lines with their rows; a last line that a crash cut off is none."""
    found = []
    lines = path.read_text("utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        try:
            found += [(line, json.loads(line))] if line else []
        except ValueError:
            if number < len(lines):
                raise
    return found


def _table(path: Path) -> pl.DataFrame:
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    return pl.read_csv(path, infer_schema=False)


def _without(path: Path, user_id: str) -> None:
    """The file without rows about a user; one that is about them as a whole is removed."""
    if path.suffix == ".jsonl":
        kept = [line for line, row in _lines(path) if not about(row, user_id)]
        with replacing(path) as part:
            part.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
    elif path.suffix == ".json":
        value = read_json(path)
        if about(value, user_id):
            path.unlink()
        else:
            write_json(path, _pruned(value, user_id))
    else:
        table = _table(path)
        names = [name for name in NAMES if name in table.columns]
        own = pl.any_horizontal(
            [pl.col(name).cast(pl.String).is_in([user_id, user_id + _EXPLAINED]) for name in names]
        )
        left = table.filter(~own.fill_null(value=False))
        with replacing(path) as part:
            (left.write_parquet if path.suffix == ".parquet" else left.write_csv)(part)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """All objects inside a JSON value, the outermost first."""
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        yield from _objects(one)


def _pruned(value: Any, user_id: str) -> Any:
    """A JSON value without the objects about a user."""
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if not about(one, user_id)}
        return {key: _pruned(one, user_id) for key, one in kept.items()}
    if isinstance(value, list):
        return [_pruned(one, user_id) for one in value if not about(one, user_id)]
    return value


def _unsaid(value: Any, said: set[str]) -> Any:
    """A JSON value without these conversations."""
    if isinstance(value, dict):
        return {key: _unsaid(one, said) for key, one in value.items()}
    if isinstance(value, list):
        return [_unsaid(one, said) for one in value if json.dumps(one) not in said]
    return value


def _spoken(row: dict[str, Any]) -> str:
    return json.dumps(row["messages"])
