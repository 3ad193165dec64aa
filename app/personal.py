"""All that is kept about one user, over every store of a home: exported as one object, and deleted.

docs/privacy.md lists the stores.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from foretaste.agents.contexts.profile_store import stored_profiles
from foretaste.agents.online.live import forgetting
from foretaste.agents.running import checkpoints
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.files import home, read_json, safe_name
from foretaste.data.ledger import ledger_path, open_ledger, read_ledger
from foretaste.data.personal import delete_file_rows, delete_imported, file_rows, imported_rows
from foretaste.data.store import load_dataset, stored

#: What is trained or fitted on a data set stands in folders of its name here.
TRAINED = ("rules", "towers", "interest", "entity-adaptors", "rewards")
#: Answers of models to prompts about people, found by the hash of the prompt alone.
NAMELESS = ("cache/teacher",)
_LIVE = {
    "interactions": "SELECT item_id, timestamp, event, value, query FROM interactions",
    "feedback": "SELECT request_id, item_id, at, thumb, reason FROM feedback",
    "answers": "SELECT request_id, at, page FROM exposures",
}


def exported(dataset: str, user_id: str) -> dict[str, Any]:
    """Everything that the home keeps about a user of a data set.

    Keys: user_id, dataset, imported (users, interactions, quarantine), live (interactions, feedback,
    answers), profile (its tallies), runs (checkpoints), files (rows of trainings, judgements and the
    like, by file).

    Raises:
        InputError: no such data set, or nothing is kept of this user.
    """
    found = {
        "imported": imported_rows(dataset, user_id),
        "live": _live_rows(dataset, user_id),
        "profile": _profile(dataset, user_id),
        "runs": asyncio.run(checkpoints.about(dataset, user_id)),
        "files": file_rows(user_id),
    }
    if not any(_counts(found).values()):
        raise InputError(f"Nothing is kept about a user {user_id!r} of {dataset} in this home.")
    return {"user_id": user_id, "dataset": dataset, **found}


def deleted(dataset: str, user_id: str, caches: bool = False) -> dict[str, Any]:
    """Delete everything that the home keeps about a user of a data set.

    Args:
        dataset: whose user.
        user_id: who.
        caches: also delete caches whose rows name nobody (`NAMELESS`), whole.

    Returns:
        What was removed, store → rows; trained_on: what was made from data with the user in it and is
        to be made anew; nameless: caches that may hold answers about them; downloads: sources that
        were fetched and are not changed.

    Raises:
        InputError: no such data set, or a server is running over it: ask that one (DELETE
            /v1/users/ID).
        ForetasteError: a file cannot be read or written; what was deleted before stays so.
    """
    load_dataset(dataset)
    with closing(open_ledger(dataset)) as ledger:
        live = _counts({"live": _live_rows(dataset, user_id)})
        ledger.write(*forgetting(user_id), erases=True).result()
    profile = stored_profiles(dataset).forget(user_id)
    runs = asyncio.run(checkpoints.forget(dataset, user_id))
    removed = live | {"profile": int(profile), "runs": runs}
    return deleted_from_files(dataset, user_id, caches) | {"removed": removed}


def deleted_from_files(dataset: str, user_id: str, caches: bool = False) -> dict[str, Any]:
    """Delete a user from the imported tables and from files; the databases are a server's own.

    Returns:
        As `deleted`, with files, store → rows, in place of removed.
    """
    imported = delete_imported(dataset, user_id) if stored(dataset) else {}
    nameless = [name for name in NAMELESS if (home() / name).exists()]
    if caches:
        for name in nameless:
            shutil.rmtree(home() / name)
    return {
        "user_id": user_id,
        "dataset": dataset,
        "imported": imported,
        "files": delete_file_rows(user_id),
        "trained_on": list(trained_on(dataset)) if imported.get("interactions") else [],
        "nameless": [] if caches else nameless,
        "downloads": [f"downloads/{dataset}"] if (home() / "downloads" / dataset).exists() else [],
    }


def trained_on(dataset: str) -> Iterator[str]:
    """What was made from the data set: folders below the home."""
    for kind in TRAINED:
        if (home() / kind / safe_name(dataset)).exists():
            yield f"{kind}/{dataset}"
    for path in sorted((home() / "adapters").glob("*/*.json")):
        if _about(path, dataset):
            yield str(path.parent.relative_to(home()))
    runs = home() / "runs"
    yield from (str(path.relative_to(home())) for path in sorted(runs.glob(f"*/{dataset}-*")))


def told(answer: dict[str, Any]) -> Iterator[str]:
    """What was deleted, a line each."""
    stores = answer["removed"] | {f"imported {k}": n for k, n in answer["imported"].items()}
    for name, count in (stores | answer["files"]).items():
        if count:
            yield f"  {name}: {count:,} deleted"
    if answer["trained_on"]:
        yield f"Made from data with them, to be made anew: {', '.join(answer['trained_on'])}."
    if answer["nameless"]:
        yield (
            f"{', '.join(answer['nameless'])} may hold answers about them that name nobody; "
            "--caches deletes these caches whole."
        )
    if answer["downloads"]:
        yield f"{', '.join(answer['downloads'])}: as fetched, not changed."


def _about(path: Path, dataset: str) -> bool:
    """Whether a record beside an adapter says that it comes from a data set."""
    try:
        record = read_json(path)
    except ForetasteError:
        return False
    named = record.get("dataset") if isinstance(record, dict) else None
    return named == dataset or (isinstance(named, list) and dataset in named)


def _live_rows(dataset: str, user_id: str) -> dict[str, list[dict[str, Any]]]:
    """What a server kept of a user."""
    found: dict[str, list[dict[str, Any]]] = {}
    for kind, sql in _LIVE.items():
        names = sql.removeprefix("SELECT ").split(" FROM ")[0].split(", ")
        rows = read_ledger(ledger_path(dataset), f"{sql} WHERE user_id = ?", [user_id])
        found[kind] = [dict(zip(names, row, strict=True)) for row in rows]
    for answer in found["answers"]:
        answer["page"] = json.loads(answer["page"])
    return found


def _profile(dataset: str, user_id: str) -> dict[str, Any]:
    """The kept tallies of a user; empty for none."""
    store = stored_profiles(dataset).store
    kept = None if store is None else store.get(user_id)
    return {} if kept is None else dict(json.loads(kept))


def _counts(found: dict[str, Any]) -> dict[str, int]:
    """Rows by store."""
    counts: dict[str, int] = {}
    for name, rows in found.items():
        if isinstance(rows, dict) and name in ("imported", "live", "files"):
            counts |= {f"{name} {kind}": len(own) for kind, own in rows.items()}
        else:
            counts[name] = len(rows)
    return counts
