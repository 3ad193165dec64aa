"""One person's history as the next-interest model has read it, while events come in."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from foretaste.serving.rules.base import Scores

if TYPE_CHECKING:
    from foretaste.serving.interest import Interest

_UNKNOWN = (0, 0)  # the codes of an event that tells nothing


class Reading:
    """One person's history as the language model has read it; a further event costs one position.

    Keys and values of what was read are kept; when the window of `newest` events is full, its newer half
    is read again, so memory stays bounded. One thread at a time.

    Args:
        model: the next-interest model.
        rows: item rows so far, oldest first.
        signals: two codes an event (`data/signals.py`), or None where nothing is known.
    """

    def __init__(
        self,
        model: Interest,
        rows: Sequence[int] = (),
        signals: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self._model, self._lock = model, threading.Lock()
        self._most = model.record.shape.towers.newest
        self.rows: list[int] = []
        self._told: list[Sequence[int]] = []
        told: list[Sequence[int]] = [_UNKNOWN for _ in rows]
        if signals is not None:
            told = list(signals)
        self._start([int(row) for row in rows][-self._most :], told[-self._most :])

    def add(self, row: int, signals: Sequence[int] = _UNKNOWN) -> None:
        """One event more, and its two codes."""
        with self._lock:
            if len(self.rows) >= self._most:
                half = self._most // 2
                self._start([*self.rows[-half:], int(row)], [*self._told[-half:], signals])
            else:
                self._go_on([int(row)], [signals])

    def vectors(self) -> Scores:
        """(codes, dim) float32 of length 1; zeros before the first event."""
        return np.asarray(self._vectors()[0].numpy(), dtype=np.float32)

    def scores(self) -> Scores:
        """(items,) float32, as `Interest.scores` of the same events."""
        scores: Scores = self._model.scored(self._vectors())[0]
        return scores

    def _vectors(self) -> Any:
        net, shape = self._model.net, self._model.record.shape.towers
        with self._lock, torch.inference_mode():
            if not self.rows:
                return torch.zeros(1, shape.codes, shape.dim)
            seen = self._model.catalogue["seen"][torch.tensor([self.rows])]
            at = torch.tensor([[len(self.rows) - 1]])
            return net.towers.users(seen, at, net.added(net.norm(self._last)))[:, 0]

    def _start(self, rows: list[int], told: list[Sequence[int]]) -> None:
        """Read these events from the beginning."""
        from transformers import DynamicCache

        net = self._model.net
        self._cache, self.rows, self._told = DynamicCache(), [], []
        with torch.inference_mode():
            begin = net.begin.expand(1, 1, -1)
            net.read(begin, past_key_values=self._cache, use_cache=True)
        if rows:
            self._go_on(rows, told)

    def _go_on(self, rows: list[int], told: list[Sequence[int]]) -> None:
        """Read these events after the others."""
        net = self._model.net
        inputs = self._model.catalogue["inputs"][torch.tensor([rows])]  # (1, t, width)
        codes = torch.tensor([[list(one) for one in told]], dtype=torch.int64)  # (1, t, 2)
        inputs = net.told(inputs, codes)
        with torch.inference_mode():
            found = net.read(inputs, past_key_values=self._cache, use_cache=True)
            self._last = found.last_hidden_state[:, -1:].float()  # (1, 1, width)
        self.rows += rows
        self._told += told
