"""Trained parts below home: written whole, then named by a pointer; what no pointer names is removed.

`<home>/<kind>/<data set>/<digest>/` holds a trained part and `current.json` beside it names the one that is
served. Parts that learnt from other events (another split, more events) have pointers of their own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from foretaste.data.files import home, locked, read_json, safe_name, subfolder, write_json

CURRENT = "current"


def publish(
    kind: str, dataset: str, digest: str, save: Callable[[Path], None], pointer: str = CURRENT
) -> Path:
    """Save a part and move the pointer to it when everything is written.

    Args:
        kind: of part: the folder below home.
        digest: of all that it is made of: the name of its folder.
        save: writes it into a folder that is not there yet.
        pointer: its name, without `.json`.

    Returns:
        The folder that it was written to.
    """
    folder = subfolder(kind, safe_name(dataset))
    with locked(folder):
        made = folder / digest
        shutil.rmtree(made, ignore_errors=True)
        save(made)
        write_json(folder / f"{pointer}.json", {"folder": made.name})
        named = {str(read_json(path)["folder"]) for path in folder.glob("*.json")}
        for path in folder.iterdir():
            if path.is_dir() and path.name not in named:
                shutil.rmtree(path, ignore_errors=True)
    return made


def published(kind: str, dataset: str, pointer: str = CURRENT) -> Path | None:
    """The folder that a pointer names, or None when nothing was published."""
    path = home() / kind / safe_name(dataset) / f"{pointer}.json"
    if not path.exists():
        return None
    return path.parent / safe_name(str(read_json(path)["folder"]))
