"""An embedder in front of another that keeps what requests bring in memory, and for a while only.

A server reads new tags and personas with every request, for as long as it runs. Kept on disk like the
texts of the catalogue they would fill it, a kilobyte and a half each; here the least recently used
give way.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foretaste.serving.embedder import Embedder


class RecentVectors:
    """The vectors of the last texts. Safe to use from threads.

    Args:
        inner: reads the texts; nothing that it reads for this one is kept on disk.
        most: texts kept; 4 d bytes each, taken at once so that memory does not grow later.
    """

    def __init__(self, inner: Embedder, most: int) -> None:
        self._inner = inner
        self.name, self.fingerprint = inner.name, inner.fingerprint
        self.dimension = inner.dimension
        self._vectors = np.ones((most, self.dimension), dtype=np.float32)
        self._places: OrderedDict[str, int] = OrderedDict()  # text → row, least recent first
        self._guard = threading.Lock()

    def __len__(self) -> int:
        """Texts whose vectors are kept."""
        return len(self._places)

    def encode(self, texts: Sequence[str], *, keep: bool = True) -> NDArray[np.float32]:
        """(n, d) float32, each row of length 1; see `Embedder.encode`."""
        if not keep:
            return self._inner.encode(texts, keep=False)
        out = np.empty((len(texts), self.dimension), dtype=np.float32)
        with self._guard:
            missing = []
            for place, text in enumerate(texts):
                row = self._known(text)
                if row is None:
                    missing.append(place)
                else:
                    out[place] = self._vectors[row]
        if not missing:
            return out
        new = list(dict.fromkeys(texts[place] for place in missing))
        made = dict(zip(new, self._inner.encode(new, keep=False), strict=True))
        for place in missing:
            out[place] = made[texts[place]]
        with self._guard:
            for text, vector in made.items():
                self._vectors[self._room(text)] = vector
        return out

    def _known(self, text: str) -> int | None:
        """The row of a text, which is the most recent one now."""
        if text in self._places:
            self._places.move_to_end(text)
        return self._places.get(text)

    def _room(self, text: str) -> int:
        """A row for a text: its own, a free one, or that of the least recently used."""
        full = len(self._places) >= len(self._vectors)
        row = self._places.pop(text, None)
        if row is None:
            row = self._places.popitem(last=False)[1] if full else len(self._places)
        self._places[text] = row
        return row
