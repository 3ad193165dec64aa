"""Adapters by name: trained here (`<home>/adapters`), or carried by the package (this folder).

A shipped adapter is a folder with weights, settings, `foretaste.json` (what it is, with the sha256 of
its weights) and `card.md`. It is held to its checksum whenever it is looked up.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from foretaste.data.errors import ForetasteError, ModelError
from foretaste.data.files import home, read_json, sha256
from foretaste.serving.adapters import WEIGHTS

RECORD = "foretaste.json"  # beside an adapter's weights: what it is
STORE = "adapters"


def shipped_folder() -> Path:
    """Where the package carries its adapters."""
    with as_file(files("foretaste.serving.shipped")) as folder:
        return Path(folder)


def adapter_folder(name: str) -> Path:
    """The folder of an adapter: a folder, one of the store, or a shipped one, in this order.

    Raises:
        ModelError: there is none of that name, or its weights are not those of its record.
    """
    places = [Path(name).expanduser(), home() / STORE / name, shipped_folder() / name]
    for folder in places:
        if (folder / WEIGHTS).is_file():
            intact(folder)
            return folder
    known = ", ".join(row["name"] for row in adapter_list()) or "none"
    raise ModelError(f"There is no adapter {name!r}; known are {known}, or name a folder.")


def intact(folder: Path) -> None:
    """Hold an adapter's weights to the sha256 of its record; one without a record passes.

    Raises:
        ModelError: they differ.
    """
    wanted = record_of(folder).get("sha256")
    if wanted is None:
        return
    found = sha256(folder / WEIGHTS)
    if found != wanted:
        raise ModelError(
            f"The weights of the adapter in {folder} are damaged (sha256 {found[:8]}…, not "
            f"{wanted[:8]}…); install the package again, or export the adapter again."
        )


def record_of(folder: Path) -> dict[str, Any]:
    """What an adapter says about itself; empty for one that was not made here.

    Raises:
        ForetasteError: the record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}
    record = read_json(path)
    if not isinstance(record, dict):
        raise ForetasteError(f"{path} should hold a JSON object; export the adapter again.")
    return record


def adapter_list() -> list[dict[str, Any]]:
    """Adapters of the store and shipped ones: name, folder, bytes, base, whether shipped."""
    rows = []
    for root, shipped in ((home() / STORE, False), (shipped_folder(), True)):
        for folder in sorted(root.iterdir()) if root.is_dir() else ():
            if (folder / WEIGHTS).is_file():
                rows.append(
                    {
                        "name": folder.name,
                        "folder": str(folder),
                        "bytes": sum(p.stat().st_size for p in folder.iterdir() if p.is_file()),
                        "base": record_of(folder).get("base"),
                        "shipped": shipped,
                    }
                )
    return rows
