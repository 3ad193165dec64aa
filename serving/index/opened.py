"""The one call that gives a data set its item index: loaded when it fits, built otherwise."""

from __future__ import annotations

from pathlib import Path

from foretaste.data.dataset import Dataset
from foretaste.data.errors import ForetasteError
from foretaste.data.files import locked, safe_name, subfolder
from foretaste.data.progress import meter
from foretaste.data.text import item_texts
from foretaste.serving.embedder import Embedder
from foretaste.serving.index.base import IndexInfo, ItemIndex, Kind
from foretaste.serving.index.exact import ExactIndex
from foretaste.serving.index.ivf import IvfIndex
from foretaste.serving.index.journal import Journal
from foretaste.serving.index.live import LiveIndex
from foretaste.serving.index.saved import changes_file, has_saved, read_saved

_CLASSES: dict[Kind, type[ExactIndex | IvfIndex]] = {"exact": ExactIndex, "ivf": IvfIndex}
EXACT_UP_TO = 50_000  # items: an exact search of more takes above 5 ms a query on one core


def open_index(dataset: Dataset, embedder: Embedder) -> ItemIndex:
    """The index of `dataset`'s items under `embedder`, kept below `home()/indexes/<dataset>/`.

    A saved index of the same catalogue and the same embedder is loaded. Otherwise (none there,
    another catalogue, a damaged file) the items' texts are encoded, with progress, and the new
    index is saved over the old one. Two processes take turns, so it is built once.
    """
    folder = _folder(dataset, embedder)
    with locked(folder):
        if has_saved(folder):
            try:
                return load_index(folder, _catalogue(dataset), embedder.fingerprint)
            except ForetasteError as error:
                with meter("Item index") as progress:
                    progress.say(f"built again, because: {error}")
        index = build_index(dataset, embedder)
        index.save(folder)
    return index


def open_live_index(dataset: Dataset, embedder: Embedder) -> LiveIndex:
    """The same with the items' words, and open to changes, which are kept beside it.

    A new import of the catalogue replaces the changes. One process at a time may change an index;
    others see its changes when they open it again.
    """
    base = open_index(dataset, embedder)
    journal = Journal(changes_file(_folder(dataset, embedder)))
    return LiveIndex(base, item_texts(dataset.items), journal)


def build_index(dataset: Dataset, embedder: Embedder) -> ItemIndex:
    """A new index of `dataset`'s items, in memory only."""
    vectors = embedder.encode(item_texts(dataset.items))  # (n, d)
    kind: Kind = "exact" if len(vectors) <= EXACT_UP_TO else "ivf"
    info = IndexInfo(
        kind=kind,
        items=len(vectors),
        dimension=embedder.dimension,
        catalogue_fingerprint=_catalogue(dataset),
        embedder_fingerprint=embedder.fingerprint,
    )
    return _CLASSES[kind].build(info, dataset.item_ids, vectors)


def load_index(folder: Path, catalogue_fingerprint: str, embedder_fingerprint: str) -> ItemIndex:
    """The index saved in `folder`, if it belongs to this catalogue and this embedder.

    Raises:
        IndexMismatch: it does not.
        ForetasteError: there is none, or a file of it is damaged.
    """
    info, item_ids, index = read_saved(folder, catalogue_fingerprint, embedder_fingerprint)
    return _CLASSES[info.kind](info, item_ids, index)


def _folder(dataset: Dataset, embedder: Embedder) -> Path:
    return subfolder("indexes", safe_name(dataset.name), embedder.fingerprint)


def _catalogue(dataset: Dataset) -> str:
    return dataset.info.catalogue_fingerprint
