"""What one run has looked up already: several nodes ask about the same tags."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from foretaste.serving.embedder import Embedder
from foretaste.serving.index.base import Hits

Made = TypeVar("Made")


class ReadOnce:
    """An embedder that reads a text once for as long as it lives, which is one run.

    Args:
        inner: reads the texts.
    """

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.name, self.fingerprint = inner.name, inner.fingerprint
        self.dimension = inner.dimension
        self._known: dict[str, NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str], *, keep: bool = True) -> NDArray[np.float32]:
        """(n, d) float32, each row of length 1; see `Embedder.encode`."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self._inner.encode(new, keep=keep), strict=True))
        found = [self._known[text] for text in texts]
        return np.stack(found) if found else np.zeros((0, self.dimension), dtype=np.float32)


class FoundOnce:
    """What was searched for already, in the same catalogue under the same mask."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[NDArray[np.int32], NDArray[np.float32]]] = {}
        self._made: dict[str, Any] = {}

    def once(self, what: str, make: Callable[[], Made]) -> Made:
        """What `make` gave when `what` was wanted first."""
        if what not in self._made:
            self._made[what] = make()
        made: Made = self._made[what]
        return made

    def hits(self, texts: Sequence[str], k: int, search: Callable[[list[str]], Hits]) -> Hits:
        """(texts, k) hits, asking `search` only about texts that are new.

        Args:
            texts: at least one.
            k: items a text, as `search` gives them.
            search: texts → their hits.
        """
        new = [text for text in dict.fromkeys(texts) if (text, k) not in self._known]
        if new:
            made = search(new)
            for text, rows, scores in zip(new, made.rows, made.scores, strict=True):
                self._known[text, k] = rows, scores
        found = [self._known[text, k] for text in texts]
        return Hits(np.stack([rows for rows, _ in found]), np.stack([own for _, own in found]))
