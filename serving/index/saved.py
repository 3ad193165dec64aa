"""How an index is kept: one folder a save, and `current.json` that names the valid one.

`current.json` is replaced last and in one step, so a reader sees the old index or the new one. It
carries the sha256 of every file and of itself: a flipped bit or a lost end is noticed before FAISS or
LanceDB reads a byte.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import psutil
from pydantic import BaseModel, ValidationError

from foretaste.data.errors import ForetasteError, IndexMismatch
from foretaste.data.files import new_folder, sha256, write_json
from foretaste.serving.index.base import IndexInfo, Kind

_POINTER = "current.json"
_FAISS, _ITEMS = "index.faiss", "items.json"


class _Pointer(BaseModel, frozen=True, extra="forbid"):
    """What `current.json` holds."""

    folder: str
    info: IndexInfo
    sha256: dict[str, str]
    checksum: str = ""

    def own_checksum(self) -> str:
        """sha256 over everything but the checksum itself."""
        body = json.dumps(self.model_dump(exclude={"checksum"}), sort_keys=True)
        return hashlib.sha256(body.encode()).hexdigest()


def write_saved(
    folder: Path, info: IndexInfo, item_ids: Sequence[str], put: Callable[[Path], None]
) -> Path:
    """Save an index in `folder`, beside the one that is there, then make it the valid one.

    Args:
        folder: of this data set and embedder.
        info: what the index is made of.
        item_ids: n ids in row order.
        put: writes the index's own files into the folder it is given.

    Returns:
        The folder that holds it now.
    """
    name = f"v-{uuid.uuid4().hex[:12]}"
    try:
        with new_folder(folder / name) as part:
            put(part)
            (part / _ITEMS).write_text(json.dumps(list(item_ids)), encoding="utf-8")
            files = sorted(path for path in part.rglob("*") if path.is_file())
            sums = {path.relative_to(part).as_posix(): sha256(path) for path in files}
        pointer = _Pointer(folder=name, info=info, sha256=sums)
        pointer = pointer.model_copy(update={"checksum": pointer.own_checksum()})
        write_json(folder / _POINTER, pointer.model_dump())
    except (OSError, RuntimeError) as error:  # FAISS reports a full disk as RuntimeError
        raise ForetasteError(
            f"The item index could not be saved in {folder} ({error}); "
            "free some space there, or set FORETASTE_HOME to another disk."
        ) from error
    for old in folder.glob("v-*"):
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)
    return folder / name


def write_faiss(index: faiss.Index) -> Callable[[Path], None]:
    """What puts a FAISS index into a folder, for `write_saved`."""
    return lambda part: faiss.write_index(index, str(part / _FAISS))


def read_faiss(place: Path, kind: Kind) -> Any:
    """The FAISS index that `write_faiss` put into `place`.

    An `ivf` index that would fill more than half of the free memory stays in the file, mapped, and
    is read where it is searched.

    Raises:
        ForetasteError: FAISS cannot read it.
    """
    try:
        return faiss.read_index(str(place / _FAISS), _flags(kind, (place / _FAISS).stat().st_size))
    except (OSError, RuntimeError) as error:
        raise _damaged(place) from error


def read_saved(
    folder: Path, catalogue_fingerprint: str, embedder_fingerprint: str
) -> tuple[IndexInfo, list[str], Path]:
    """The saved index of this catalogue and this embedder: info, item ids, the folder it is in.

    Every file is read once and compared with its checksum.

    Raises:
        IndexMismatch: it was made from another catalogue or by another embedder.
        ForetasteError: there is none, or a file of it is damaged.
    """
    pointer = _read_pointer(folder)
    wanted = {"catalogue": catalogue_fingerprint, "embedder": embedder_fingerprint}
    made_of = {
        "catalogue": pointer.info.catalogue_fingerprint,
        "embedder": pointer.info.embedder_fingerprint,
    }
    for part, fingerprint in wanted.items():
        if made_of[part] != fingerprint:
            raise IndexMismatch(
                f"The item index in {folder} belongs to {part} {made_of[part]}, not to "
                f"{fingerprint}; build it anew from the present one."
            )
    place = folder / pointer.folder
    for file, expected in pointer.sha256.items():
        if not (place / file).is_file() or sha256(place / file) != expected:
            raise _damaged(place / file)
    try:
        item_ids: list[str] = json.loads((place / _ITEMS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(place) from error
    return pointer.info, item_ids, place


def changes_file(folder: Path) -> Path:
    """Where changes since the last save are kept; the next save begins without them."""
    return folder / _read_pointer(folder).folder / "changes.log"


def has_saved(folder: Path) -> bool:
    """Whether an index was ever saved in `folder`."""
    return (folder / _POINTER).is_file()


def _flags(kind: Kind, size: int) -> int:
    """How FAISS should read a file of `size` bytes: into memory, or mapped where it is large."""
    if kind == "ivf" and size > psutil.virtual_memory().available / 2:
        return int(faiss.IO_FLAG_MMAP_IFC)
    return 0


def _read_pointer(folder: Path) -> _Pointer:
    path = folder / _POINTER
    try:
        pointer = _Pointer.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ForetasteError(f"A saved item index was expected in {folder}; build it.") from error
    except ValidationError as error:
        raise _damaged(path) from error
    if pointer.checksum != pointer.own_checksum():
        raise _damaged(path)
    return pointer


def _damaged(path: Path) -> ForetasteError:
    return ForetasteError(
        f"{path} is damaged (its checksum does not match); delete its folder and build the item "
        "index again."
    )
