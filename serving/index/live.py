"""Items that come, change and go while searches run, by meaning, by word, or by both.

A search reads one unchangeable state and never waits; a change writes the journal, then puts the
next state in place, so the next search sees it. Rows never move: a changed item keeps its row, a new
one gets the next row, a removed one leaves its row empty. Changes are kept beside the saved index
and come back with it; importing the catalogue again replaces them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foretaste.data.errors import ForetasteError, InputError
from foretaste.serving.index.base import Hits, ItemIndex, as_vectors, check_k
from foretaste.serving.index.fusion import reciprocal_rank
from foretaste.serving.index.journal import Journal
from foretaste.serving.index.text import TextIndex

_LastWords = dict[str, tuple[str, NDArray[np.float32]] | None]
_REPEATED_SHARE = (
    0.1  # of the catalogue: a journal with more words, half of them stale, is shortened
)
_RECORD_ITEMS = 10_000  # in one record of a shortened journal
_FUSED_DEPTH = 10  # each ranking is this many times longer than what is asked of both together


@dataclass(frozen=True)
class _State:
    """What one search reads.

    Attributes:
        present: (n,) bool, rows that were not removed.
        in_base: (base items,) bool, rows whose vector in the base still holds.
        rows: (m,) int32, rows with a vector of their own since the base was made.
        vectors: (m, d) float32, those vectors.
        text: the words of all rows.
    """

    present: NDArray[np.bool_]
    in_base: NDArray[np.bool_]
    rows: NDArray[np.int32]
    vectors: NDArray[np.float32]
    text: TextIndex


class LiveIndex:
    """An item index that can be changed while many threads search it.

    Args:
        base: the saved index.
        texts: one text an item of the base, in row order.
        journal: where changes are kept, replayed here; None keeps them in memory only.

    A changed item is compared with every query on top of the base: ten thousand changes cost what
    an exact index of ten thousand items costs, until the catalogue is imported again.
    """

    def __init__(self, base: ItemIndex, texts: Sequence[str], journal: Journal | None) -> None:
        self._base, self._journal = base, journal
        self._ids = list(base.item_ids)  # only ever grows
        self._row_of = {item_id: row for row, item_id in enumerate(self._ids)}
        self._guard = threading.Lock()
        self._state = _State(
            present=np.ones(len(self._ids), dtype=bool),
            in_base=np.ones(len(self._ids), dtype=bool),
            rows=np.zeros(0, dtype=np.int32),
            vectors=np.zeros((0, base.info.dimension), dtype=np.float32),
            text=TextIndex.build(texts),
        )
        self._replay()

    @property
    def item_ids(self) -> Sequence[str]:
        """Item ids in row order, growing with every new item; removed items keep their place."""
        return self._ids

    @property
    def present(self) -> NDArray[np.bool_]:
        """(n,) bool, the rows that were not removed."""
        return self._state.present.copy()

    def row(self, item_id: str) -> int | None:
        """The row of a present item, or None."""
        return self._row_of.get(item_id)

    def upsert(
        self, item_ids: Sequence[str], texts: Sequence[str], vectors: NDArray[np.float32]
    ) -> None:
        """Add items or change known ones: on disk and visible to the next search on return.

        Args:
            item_ids: n different ids.
            texts: their n texts.
            vectors: (n, d) float32, their embeddings.
        """
        block = as_vectors(vectors, self._base.info.dimension)
        if not len(item_ids) == len(texts) == len(block) == len(set(item_ids)):
            raise InputError(
                "Different item ids with one text and one vector each were expected; got "
                f"{len(item_ids)} ids, {len(texts)} texts, {len(block)} vectors."
            )
        with self._guard:
            self._keep({"ids": list(item_ids), "texts": list(texts)}, block)
            self._upsert(item_ids, texts, block)

    def remove(self, item_ids: Sequence[str]) -> None:
        """Take items out: on disk and out of the next search on return.

        Raises:
            InputError: one of them is not in the index; nothing was removed.
        """
        with self._guard:
            unknown = [item_id for item_id in item_ids if item_id not in self._row_of]
            if unknown:
                raise InputError(f"Item {unknown[0]!r} is not in the index, so it cannot go.")
            self._keep({"removed": list(item_ids)}, self._state.vectors[:0])
            self._remove(item_ids)

    def search(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The k nearest items by vector (see `base`).

        `allowed` may be shorter than the index: rows that came after it was made are not allowed.
        """
        state = self._state
        checked = as_vectors(queries, self._base.info.dimension)
        mask = _mask(state, allowed)
        in_base = mask[: len(state.in_base)] & state.in_base
        found = self._base.search(checked, k, None if in_base.all() else in_base)
        own = mask[state.rows]  # (m,)
        if not own.any():
            return found
        scores = np.concatenate([found.scores, checked @ state.vectors[own].T], axis=1)
        added = np.broadcast_to(state.rows[own], (len(checked), int(own.sum())))
        return _best(np.concatenate([found.rows, added], axis=1), scores, k)

    def search_text(
        self, queries: Sequence[str], k: int, allowed: NDArray[np.bool_] | None = None
    ) -> Hits:
        """The k best items by word."""
        state = self._state
        return state.text.search(queries, k, _mask(state, allowed))

    def search_both(
        self,
        texts: Sequence[str],
        vectors: NDArray[np.float32],
        k: int,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Hits:
        """The k best items by meaning and word together, fused by reciprocal rank."""
        check_k(k)
        depth = k * _FUSED_DEPTH
        by_meaning = self.search(vectors, depth, allowed)
        return reciprocal_rank([by_meaning, self.search_text(texts, depth, allowed)], k)

    def _keep(self, change: dict[str, list[str]], vectors: NDArray[np.float32]) -> None:
        """Write a change to the journal."""
        if self._journal is not None:
            self._journal.append(_packed(change, vectors))

    def _replay(self) -> None:
        """Take in what the journal holds, and shorten a long journal that mostly repeats itself."""
        if self._journal is None:
            return
        dimension = self._base.info.dimension
        last, said = _last_words(self._journal, dimension)
        self._remove([item_id for item_id, value in last.items() if value is None])
        kept = {item_id: value for item_id, value in last.items() if value is not None}
        if kept:
            texts = [text for text, _ in kept.values()]
            self._upsert(list(kept), texts, np.stack([vector for _, vector in kept.values()]))
        if said > max(2 * len(last), _REPEATED_SHARE * self._base.info.items):
            self._journal.rewrite(lambda records: _shortened(records, dimension))

    def _upsert(
        self, item_ids: Sequence[str], texts: Sequence[str], vectors: NDArray[np.float32]
    ) -> None:
        """Put the state with these items added or changed in place."""
        state = self._state
        new = [item_id for item_id in item_ids if item_id not in self._row_of]
        self._row_of.update(zip(new, range(len(self._ids), len(self._ids) + len(new)), strict=True))
        self._ids.extend(new)
        rows = np.array([self._row_of[item_id] for item_id in item_ids], dtype=np.int32)
        in_base = state.in_base.copy()
        in_base[rows[rows < len(in_base)]] = False
        kept = ~np.isin(state.rows, rows)
        self._state = _State(
            present=np.concatenate([state.present, np.ones(len(new), dtype=bool)]),
            in_base=in_base,
            rows=np.concatenate([state.rows[kept], rows]),
            vectors=np.concatenate([state.vectors[kept], vectors]),
            text=state.text.with_items(rows.tolist(), texts),
        )

    def _remove(self, item_ids: Sequence[str]) -> None:
        """Put the state without these items in place; unknown ones are passed over."""
        state = self._state
        rows = [self._row_of.pop(item_id) for item_id in item_ids if item_id in self._row_of]
        present = state.present.copy()
        present[rows] = False
        kept = present[state.rows]
        self._state = replace(
            state,
            present=present,
            in_base=state.in_base & present[: len(state.in_base)],
            rows=state.rows[kept],
            vectors=state.vectors[kept],
        )


def _packed(change: dict[str, list[str]], vectors: NDArray[np.float32]) -> bytes:
    """A change as the journal keeps it: one line of JSON, then the numbers."""
    return json.dumps(change).encode() + b"\n" + vectors.astype("<f4").tobytes()


def _last_words(records: Iterable[bytes], dimension: int) -> tuple[_LastWords, int]:
    """The last word about each item (None: removed), and how many words there were in all."""
    last: _LastWords = {}
    said = 0
    for record in records:
        head, _, body = record.partition(b"\n")
        try:
            change = json.loads(head)
            vectors = np.frombuffer(body, dtype="<f4").reshape(-1, dimension)
            last.update(dict.fromkeys(change.get("removed", ())))
            items = zip(change.get("ids", ()), change.get("texts", ()), vectors, strict=True)
            last.update({item_id: (text, vector) for item_id, text, vector in items})
        except ValueError as error:
            raise ForetasteError(
                f"The journal of changes does not fit its index ({error}); import the "
                "catalogue again to start from a fresh one."
            ) from error
        said += len(change.get("removed", ())) + len(vectors)
    return last, said


def _shortened(records: Iterable[bytes], dimension: int) -> list[bytes]:
    """Records that say the same: what was removed, then what was added or changed."""
    last, _ = _last_words(records, dimension)
    removed = [item_id for item_id, value in last.items() if value is None]
    kept = [(item_id, *value) for item_id, value in last.items() if value is not None]
    out = [_packed({"removed": removed}, np.zeros((0, dimension), dtype=np.float32))]
    for start in range(0, len(kept), _RECORD_ITEMS):
        ids, texts, vectors = zip(*kept[start : start + _RECORD_ITEMS], strict=True)
        out.append(_packed({"ids": list(ids), "texts": list(texts)}, np.stack(vectors)))
    return out


def _mask(state: _State, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """(n,) bool: present, and allowed if anything was said about that."""
    if allowed is None:
        return state.present
    if allowed.dtype != np.bool_ or allowed.ndim != 1 or len(allowed) > len(state.present):
        raise InputError(
            f"A filter of at most {len(state.present)} booleans was expected, one an item, "
            f"not {allowed.dtype} of shape {allowed.shape}."
        )
    mask = np.zeros(len(state.present), dtype=bool)
    mask[: len(allowed)] = allowed & state.present[: len(allowed)]
    return mask


def _best(rows: NDArray[np.int32], scores: NDArray[np.float32], k: int) -> Hits:
    """The k largest of (q, c) candidates, best first."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Hits(np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1))
