"""The one call that gives a data set its item index: loaded when it fits, built otherwise."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import psutil
from numpy.typing import NDArray

from foretaste.data.dataset import Dataset
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.files import locked, safe_name, subfolder
from foretaste.data.progress import meter
from foretaste.data.text import item_texts, item_titles
from foretaste.serving.embedder import Embedder
from foretaste.serving.index.base import IndexInfo, ItemIndex, Kind
from foretaste.serving.index.calibration import questions
from foretaste.serving.index.exact import ExactIndex
from foretaste.serving.index.ivf import IvfIndex
from foretaste.serving.index.journal import Journal
from foretaste.serving.index.live import LiveIndex
from foretaste.serving.index.saved import changes_file, has_saved, read_faiss, read_saved

EXACT_UP_TO = 50_000  # items: an exact search of more takes above 5 ms a query on one core
_BYTES_A_NUMBER = 8  # at most, while an `ivf` index is built: float32 vectors, twice for a moment
_BATCH = 10_000  # items whose vectors are in memory together while such an index is built
_BUILDING = "build-"  # beginning of the names of folders that an index is built in


def open_index(dataset: Dataset, embedder: Embedder) -> ItemIndex:
    """The index of `dataset`'s items under `embedder`, kept below `home()/indexes/<dataset>/`.

    A saved index of the same catalogue and the same embedder is loaded. Otherwise (none there,
    another catalogue, a damaged file) the items' texts are encoded, with progress, and the new
    index is saved over the old one. Two processes take turns, so it is built once.

    A new index is of the kind that `fitting_kind` names. FORETASTE_INDEX (exact, ivf, lance
    or qdrant) overrules that, also for an index of another kind that is there. A `lance` index is
    built below FORETASTE_INDEX_URI where that is set (a folder or an object store such as
    `s3://bucket/path`), a `qdrant` one on the server that it names (`http://host:6333`).
    """
    folder, wished = _folder(dataset, embedder), _wished_kind()
    with locked(folder):
        if has_saved(folder):
            try:
                index = load_index(folder, _catalogue(dataset), embedder.fingerprint)
                if wished in (None, index.info.kind):
                    return index
                why = f"FORETASTE_INDEX asks for {wished}, and it is {index.info.kind}."
            except ForetasteError as error:
                why = str(error)
            with meter("Item index") as progress:
                progress.say(f"built again, because: {why}")
        free = psutil.virtual_memory().available
        kind = wished or fitting_kind(dataset.items.height, embedder.dimension, free)
        if kind == "lance":
            return _built_on_disk(dataset, embedder, folder)
        if kind == "qdrant":
            return _built_on_server(dataset, embedder, folder)
        index = build_index(dataset, embedder, kind)
        index.save(folder)
    return index


def fitting_kind(items: int, dimension: int, free: int) -> Kind:
    """Which index suits a catalogue of so many items.

    Args:
        items: of the catalogue.
        dimension: numbers in a vector.
        free: bytes of memory that are free; half of them may be taken.

    >>> fitting_kind(50_000, 384, 2 << 30), fitting_kind(300_000, 384, 2 << 30)
    ('exact', 'ivf')
    >>> fitting_kind(1_000_000, 384, 2 << 30)
    'lance'
    """
    if items <= EXACT_UP_TO:
        return "exact"
    return "ivf" if _BYTES_A_NUMBER * items * dimension <= free / 2 else "lance"


def open_live_index(dataset: Dataset, embedder: Embedder) -> LiveIndex:
    """The same with the items' words, and open to changes, which are kept beside it.

    A new import of the catalogue replaces the changes. One process at a time may change an index;
    others see its changes when they open it again.
    """
    base = open_index(dataset, embedder)
    journal = Journal(changes_file(_folder(dataset, embedder)))
    return LiveIndex(base, item_texts(dataset.items), journal)


def build_index(
    dataset: Dataset, embedder: Embedder, kind: Literal["exact", "ivf"] | None = None
) -> ItemIndex:
    """A new index of `dataset`'s items, in memory only; by default of the kind that is faster."""
    vectors = embedder.encode(item_texts(dataset.items))  # (n, d)
    if kind == "exact" or (kind is None and len(vectors) <= EXACT_UP_TO):
        return ExactIndex.build(_info("exact", dataset, embedder), dataset.item_ids, vectors)
    info = _info("ivf", dataset, embedder)
    return IvfIndex.build(info, dataset.item_ids, vectors, _asked(dataset, embedder))


def load_index(folder: Path, catalogue_fingerprint: str, embedder_fingerprint: str) -> ItemIndex:
    """The index saved in `folder`, if it belongs to this catalogue and this embedder.

    Raises:
        IndexMismatch: it does not.
        ForetasteError: there is none, or a file of it is damaged.
    """
    info, item_ids, place = read_saved(folder, catalogue_fingerprint, embedder_fingerprint)
    if info.kind == "lance":
        from foretaste.serving.index.lance import LanceIndex

        return LanceIndex.load(info, item_ids, place)
    if info.kind == "qdrant":
        from foretaste.serving.index.qdrant import QdrantIndex

        return QdrantIndex.load(info, item_ids, place)
    index = read_faiss(place, info.kind)
    return (ExactIndex if info.kind == "exact" else IvfIndex)(info, item_ids, index)


def _built_on_disk(dataset: Dataset, embedder: Embedder, folder: Path) -> ItemIndex:
    """A new `lance` index, saved in `folder`; the vectors of `_BATCH` items are in memory."""
    from foretaste.serving.index.lance import LanceIndex

    for torn in folder.glob(f"{_BUILDING}*"):
        shutil.rmtree(torn, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_BUILDING, dir=folder) as building:
        uri = _store(dataset, embedder) or building
        info, asked = _info("lance", dataset, embedder), _asked(dataset, embedder)
        index = LanceIndex.build(info, dataset.item_ids, _batches(dataset, embedder), asked, uri)
        index.save(folder)
    return index


def _built_on_server(dataset: Dataset, embedder: Embedder, folder: Path) -> ItemIndex:
    """A new `qdrant` index, its address saved in `folder`."""
    from foretaste.serving.index.qdrant import QdrantIndex

    uri = os.environ.get("FORETASTE_INDEX_URI", "")
    if not uri.startswith(("http://", "https://")):
        raise InputError(
            "FORETASTE_INDEX=qdrant needs the server's address as FORETASTE_INDEX_URI, such as "
            f"http://localhost:6333, not {uri!r}."
        )
    info, asked = _info("qdrant", dataset, embedder), _asked(dataset, embedder)
    index = QdrantIndex.build(info, dataset.item_ids, _batches(dataset, embedder), asked, uri)
    index.save(folder)
    return index


def _batches(dataset: Dataset, embedder: Embedder) -> Iterator[NDArray[np.float32]]:
    """(m, d) float32 vectors of `_BATCH` items at a time, in row order."""
    texts = item_texts(dataset.items)
    for start in range(0, len(texts), _BATCH):
        yield embedder.encode(texts[start : start + _BATCH])


def _wished_kind() -> Kind | None:
    """The kind that FORETASTE_INDEX names."""
    wished = os.environ.get("FORETASTE_INDEX")
    for kind in get_args(Kind):
        if wished == kind:
            return kind  # type: ignore[no-any-return]
    if not wished:
        return None
    raise InputError(
        f"FORETASTE_INDEX should be {', '.join(get_args(Kind))} or unset, not {wished!r}."
    )


def _store(dataset: Dataset, embedder: Embedder) -> str | None:
    """Where FORETASTE_INDEX_URI wants this data set's table; a path becomes a URI (not escaped: LanceDB reads it as it is)."""
    chosen = os.environ.get("FORETASTE_INDEX_URI")
    if not chosen:
        return None
    root = chosen if "://" in chosen else f"file://{Path(chosen).expanduser().resolve()}"
    return f"{root.rstrip('/')}/{safe_name(dataset.name)}/{embedder.fingerprint}"


def _asked(dataset: Dataset, embedder: Embedder) -> NDArray[np.float32]:
    """(q, d) float32, what an index of these items is measured with."""
    return embedder.encode(questions(item_titles(dataset.items)), keep=False)


def _info(kind: Kind, dataset: Dataset, embedder: Embedder) -> IndexInfo:
    return IndexInfo(
        kind=kind,
        items=dataset.items.height,
        dimension=embedder.dimension,
        catalogue_fingerprint=_catalogue(dataset),
        embedder_fingerprint=embedder.fingerprint,
    )


def _folder(dataset: Dataset, embedder: Embedder) -> Path:
    return subfolder("indexes", safe_name(dataset.name), embedder.fingerprint)


def _catalogue(dataset: Dataset) -> str:
    return dataset.info.catalogue_fingerprint
