"""What indexes share whose vectors stand outside of this process and are read there by row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foretaste.data.progress import meter
from foretaste.serving.index.base import Catalogued, Hits
from foretaste.serving.index.calibration import DEPTH, Truth, choose_probes

NARROW = 2_000  # allowed rows that are all read and compared

Rows = NDArray[np.int64] | NDArray[np.int32]


class OutsideIndex(Catalogued, ABC):
    """n vectors in LanceDB or Qdrant; see `Catalogued` for the arguments."""

    def vectors_of(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """(n, d) float32, the vectors of these items, read where they stand."""
        wanted, places = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
        return self._vectors(wanted)[places]

    def search(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The k items with the largest inner product, of those that are allowed (see `base`).

        Raises:
            ForetasteError: the vectors cannot be read any more.
        """
        checked = self._checked(queries, k, allowed)
        if allowed is not None and allowed.all():
            allowed = None
        everything = np.arange(self._info.items) if allowed is None else np.flatnonzero(allowed)
        hits = Hits(
            np.full((len(checked), k), -1, dtype=np.int32),
            np.full((len(checked), k), -np.inf, dtype=np.float32),
        )
        few = len(everything) <= max(NARROW, k)
        vectors = self._vectors(everything) if few else None
        for place, query in enumerate(checked):
            rows: Rows = everything
            if vectors is not None:
                scores = vectors @ query
            else:
                rows, scores = self._near(query, k, allowed, len(everything))
            order = np.argsort(-scores, kind="stable")[:k]
            hits.rows[place, : len(order)] = rows[order]
            hits.scores[place, : len(order)] = scores[order]
        return hits

    def _calibrate(self, tried: Sequence[int], truth: Truth, unit: str) -> None:
        """Find out how wide to search, and the recall that this gives.

        Args:
            tried: values of `info.probes`, rising.
            truth: the questions and their true answers.
            unit: of these values, for the line that tells what was chosen.
        """
        bare = self._info

        def probing(probes: int, asked: NDArray[np.float32]) -> NDArray[np.int32]:
            self._info = bare.model_copy(update={"probes": probes})
            return self.search(asked, DEPTH).rows

        with meter("Item index: recall") as progress:
            probes, recall = choose_probes(tried, probing, truth)
            progress.say(f"{recall:.4f} with {probes} {unit}")
        self._info = bare.model_copy(update={"probes": probes, "recall": round(recall, 4)})

    @abstractmethod
    def _vectors(self, rows: Rows) -> NDArray[np.float32]:
        """(m, d) float32, the vectors of these rows, which rise."""

    @abstractmethod
    def _near(
        self, query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None, possible: int
    ) -> tuple[Rows, NDArray[np.float32]]:
        """Allowed rows near one query and their scores, (m,) each.

        Args:
            query: (d,).
            k: how many at least.
            allowed: (n,) bool; None for all.
            possible: rows that are allowed, more than k.
        """
