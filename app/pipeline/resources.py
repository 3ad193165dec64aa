"""What steps read and make, by name, and a fingerprint of what is in it.

| name | what | fingerprint |
|---|---|---|
| `dataset:NAME` | an imported data set | of its rows, each file held to its sha256 |
| `home:PATH` | a file or folder below the home | of its content |
| `adapter:NAME` | an adapter of the store, a shipped one, or its folder | of its content |
| `reward:NAME`, `head:NAME` | a reward model, a judge's head: parts of the home | of its content |
| `model:NAME` | a model | of its content when it is a folder, else its name, which is pinned |
| a path | a file or folder, relative to the pipeline file | of its content |
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.files import home, read_json, safe_name, sha256

KINDS = ("dataset", "home", "adapter", "model", "file")
_BELOW_HOME = {
    "reward": "rewards",
    "head": "judges",
    "rules": "judges",
}  # as `judge run` names them


@dataclass(frozen=True, order=True)
class Resource:
    """One thing that is read or made.

    Attributes:
        kind: of `KINDS`.
        name: within its kind; a path is relative to the pipeline's folder, with `/`.
    """

    kind: str
    name: str

    def __str__(self) -> str:
        return self.name if self.kind == "file" else f"{self.kind}:{self.name}"

    def touches(self, other: Resource) -> bool:
        """Whether one of the two holds the other.

        >>> Resource("file", "run/answers").touches(Resource("file", "run/answers/result.json"))
        True
        >>> Resource("file", "run/a").touches(Resource("file", "run/ab"))
        False
        """
        if self.kind != other.kind:
            return False
        one, two = self.name + "/", other.name + "/"
        return one.startswith(two) or two.startswith(one)


def named(text: str) -> Resource:
    """What a text such as `dataset:ml-100k`, `home:towers/ml-100k` or `answers.jsonl` names.

    Raises:
        InputError: a path below home that leads out of it.
    """
    kind, colon, name = text.partition(":")
    if colon and kind in _BELOW_HOME:
        kind, name = "home", f"{_BELOW_HOME[kind]}/{name}"
    if not colon or kind not in KINDS[:-1]:
        return Resource("file", _normal(text))
    if kind == "home" and (name.startswith("/") or ".." in Path(name).parts):
        raise InputError(f"home: expects a path below the home, not {name!r}.")
    if kind == "dataset":  # one that is not named is called like the folder it came from
        return Resource(kind, safe_name(Path(name).name))
    return Resource(kind, _normal(name) if kind == "home" else name.rpartition("=")[2])


def place(resource: Resource, base: Path) -> Path | None:
    """Where it stands, whether it is there or not; None for a model that is named, not placed.

    Args:
        resource: what is asked about.
        base: folder of the pipeline file.
    """
    name = resource.name
    if resource.kind == "file":
        return base / Path(name).expanduser()
    if resource.kind == "home":
        return home() / name
    if resource.kind == "dataset":
        return home() / "datasets" / safe_name(name)
    if resource.kind == "model":
        folder = base / Path(name).expanduser()
        return folder if folder.is_dir() else None
    from foretaste.serving.shipped import STORE, shipped_folder

    places = [base / Path(name).expanduser(), home() / STORE / name, shipped_folder() / name]
    return next((folder for folder in places if folder.is_dir()), places[1])


def fingerprint(resource: Resource, base: Path) -> str | None:
    """16 hex digits of what is in it, every byte read; None when it is not there.

    Args:
        resource: what is asked about.
        base: folder of the pipeline file.
    """
    path = place(resource, base)
    if path is None:
        return hashlib.sha256(resource.name.encode()).hexdigest()[:16]
    return _dataset(path) if resource.kind == "dataset" else content(path)


def content(path: Path) -> str | None:
    """16 hex digits of a file, or of the names and contents of a folder's files; None without any.

    Names that begin with a dot (locks, what is being written) do not count.
    """
    if path.is_file():
        return digest(path)[:16]
    lines = [f"{name} {digest(file)}\n" for name, file in files_of(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16] if lines else None


def digest(path: Path) -> str:
    """sha256 of a file; within one process it is read again only when it was written again."""
    stat = path.stat()
    return _digest(path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def files_of(path: Path) -> list[tuple[str, Path]]:
    """The files of a folder by their relative names, hidden ones left out; of a file, itself."""
    if path.is_file():
        return [(path.name, path)]
    found = [(file.relative_to(path).as_posix(), file) for file in path.rglob("*")]
    return sorted(
        (name, file)
        for name, file in found
        if file.is_file() and not any(part.startswith(".") for part in name.split("/"))
    )


def size_of(path: Path | None) -> int:
    """Bytes of a file or a folder; 0 when it is not there."""
    return sum(file.stat().st_size for _, file in files_of(path)) if path else 0


def tables(name: str) -> dict[str, Any]:
    """Rows, bytes and sha256 of each file of an imported data set; empty when there is none."""
    folder = home() / "datasets" / safe_name(name)
    if not (folder / "current.json").exists():
        return {}
    version = safe_name(str(read_json(folder / "current.json")["version"]))
    return dict(read_json(folder / version / "dataset.json")["files"])


def _dataset(folder: Path) -> str | None:
    """The fingerprint of the rows; another one when a file is not what was written."""
    if not (folder / "current.json").exists():
        return None
    try:
        version = folder / safe_name(str(read_json(folder / "current.json")["version"]))
        about = read_json(version / "dataset.json")
        for table, file in about["files"].items():
            if digest(version / f"{table}.parquet") != file["sha256"]:
                return f"damaged-{safe_name(table)}"
        return str(about["fingerprint"])
    except (OSError, KeyError, TypeError, ForetasteError):
        return "damaged"


@cache
def _digest(path: Path, *stat: int) -> str:
    return sha256(path)


def _normal(path: str) -> str:
    return Path(os.path.normpath(path)).as_posix()
