"""Leaf categories of a catalogue, and which of them a tag stands for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foretaste.data.dataset import Dataset
from foretaste.serving.embedder import Embedder


def leaves(dataset: Dataset) -> tuple[list[str], NDArray[np.int64]]:
    """The catalogue's leaf categories: the last category of each item's list.

    Returns:
        Their names, sorted; and (items,) the place of each item's own among them, -1 for none.
    """
    last = [names[-1] if names else None for names in dataset.items["categories"].to_list()]
    known = sorted({name for name in last if name is not None})
    place = {name: number for number, name in enumerate(known)}
    return known, np.array([-1 if name is None else place[name] for name in last])


def nearest(embedder: Embedder, names: Sequence[str], texts: Sequence[str]) -> NDArray[np.int64]:
    """(texts,) place of the name whose embedding is nearest to each text's."""
    if not names or not texts:
        return np.full(len(texts), -1)
    likeness = embedder.encode(list(texts)) @ embedder.encode(list(names)).T  # (texts, names)
    return np.asarray(likeness.argmax(axis=1))
