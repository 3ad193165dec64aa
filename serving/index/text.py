"""BM25 over the items' words: found by word where the vectors find by meaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import bm25s
import numpy as np
from numpy.typing import NDArray

from foretaste.serving.index.base import Hits, check_k, check_mask
from foretaste.serving.rules.words import words

K1, B = 1.5, 0.75  # the usual constants (Robertson and Zaragoza 2009, section 3.4)


class TextIndex:
    """The words of n items, scored by bm25s (Lucene's BM25). Unchangeable, so safe to share.

    `with_items` gives a new index with items added or changed. Those are scored with the word
    statistics of the items it was first built from (how rare a word is, how long a text), which
    move little while few items change; a word that no item had counts as rarest.

    >>> index = TextIndex.build(["red shoe", "blue shoe", "rain hat"])
    >>> index.search(["a red hat"], 3).rows.tolist()
    [[0, 2, -1]]
    """

    def __init__(
        self,
        base: bm25s.BM25 | None,
        length: float,
        rows: NDArray[np.int32],
        added: list[Counter[str]],
    ) -> None:
        self._base, self._length = base, length
        self._rows, self._added = rows, added
        self._base_items = int(base.scores["num_docs"]) if base is not None else 0
        self._items = max([self._base_items, *(int(row) + 1 for row in rows)])

    @classmethod
    def build(cls, texts: Sequence[str]) -> TextIndex:
        """From one text an item, in row order."""
        tokens = [words(text) for text in texts]
        length = float(np.mean([len(one) for one in tokens])) if tokens else 1.0
        none = np.zeros(0, dtype=np.int32)
        if not any(tokens):
            base, length = None, 1.0
            return cls(base, length, none, []).with_items(range(len(tokens)), texts)
        base = bm25s.BM25(k1=K1, b=B, method="lucene")
        base.index(tokens, show_progress=False)
        return cls(base, length, none, [])

    def with_items(self, rows: Sequence[int], texts: Sequence[str]) -> TextIndex:
        """A new index in which these rows, known or new, read these texts."""
        kept = dict(zip(self._rows.tolist(), self._added, strict=True))
        kept.update(zip(rows, (Counter(words(text)) for text in texts), strict=True))
        places = np.fromiter(kept, dtype=np.int32, count=len(kept))
        return TextIndex(self._base, self._length, places, list(kept.values()))

    def __len__(self) -> int:
        """Rows known, the last one included."""
        return self._items

    def search(
        self, queries: Sequence[str], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The k items whose words fit best; an item that shares no word is no hit.

        Args:
            queries: q texts.
            k: items asked for, at least 1.
            allowed: (n,) bool, the rows that may be found; None allows all.
        """
        check_k(k)
        check_mask(allowed, self._items)
        rows = np.full((len(queries), k), -1, dtype=np.int32)
        scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
        for place, query in enumerate(queries):
            found = self.scores(query)  # (n,)
            if allowed is not None:
                found[~allowed] = 0
            hits = np.flatnonzero(found)
            if len(hits) > k:
                hits = hits[np.argpartition(-found[hits], k - 1)[:k]]
            hits = hits[np.lexsort((hits, -found[hits]))]
            rows[place, : len(hits)], scores[place, : len(hits)] = hits, found[hits]
        return Hits(rows, scores)

    def scores(self, query: str) -> NDArray[np.float32]:
        """(n,) float32, the BM25 score of every row; 0 where no word is shared."""
        asked = words(query)
        out = np.zeros(self._items, dtype=np.float32)
        if self._base is not None:
            known = self._base.get_tokens_ids(asked)
            if known:
                out[: self._base_items] = self._base.get_scores_from_ids(known)
        out[self._rows] = 0
        wanted = set(asked)
        for row, counts in zip(self._rows, self._added, strict=True):
            if not wanted.isdisjoint(counts):
                out[row] = self._score(asked, counts)
        return out

    def _score(self, asked: Sequence[str], counts: Counter[str]) -> float:
        """BM25 of one added item, with the statistics of the items that were built from."""
        scale = K1 * (1 - B + B * counts.total() / self._length)
        return sum(
            self._rarity(word) * counts[word] / (counts[word] + scale)
            for word in asked
            if counts[word]
        )

    def _rarity(self, word: str) -> float:
        """Lucene's inverse document frequency: log(1 + (N − df + ½) / (df + ½))."""
        holding = 0
        if self._base is not None and word in self._base.vocab_dict:
            place = self._base.vocab_dict[word]
            starts = self._base.scores["indptr"]
            holding = int(starts[place + 1] - starts[place])
        return float(np.log1p((max(self._base_items, 1) - holding + 0.5) / (holding + 0.5)))
