"""What was said lately: the newest explanations, first in first out, against repetition."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Sequence

from foretaste.agents.explaining.diversity import document_counts, novelty, tokens

SIZE = 160  # RecGPT-V2's M


class Memory:
    """The last explanations of one data set, of whomever; safe to use from several threads.

    It is shared by all people who are served, so only sentences of catalogue facts may enter it:
    the explainer keeps out what rests on a wish (see `Facts.private`).

    Args:
        texts: what was said before, oldest first.
        size: how many are remembered.
    """

    def __init__(self, texts: Iterable[str] = (), size: int = SIZE) -> None:
        self._texts: deque[str] = deque(maxlen=size)
        self._counts: Counter[str] = Counter()
        self._guard = threading.Lock()
        self.add(texts)

    def __len__(self) -> int:
        """How many explanations are remembered."""
        return len(self._texts)

    def add(self, texts: Iterable[str]) -> None:
        """Remember these; the oldest go when there are too many."""
        with self._guard:
            for text in texts:
                if len(self._texts) == self._texts.maxlen:
                    self._counts -= document_counts([self._texts[0]])
                self._texts.append(text)
                self._counts += document_counts([text])

    def texts(self) -> list[str]:
        """What is remembered, oldest first."""
        with self._guard:
            return list(self._texts)

    def novelties(self, texts: Sequence[str]) -> list[float]:
        """`diversity.r_div` of each text against this memory."""
        with self._guard:
            size = len(self._texts)
            return [novelty(tokens(text), self._counts, size) for text in texts]

    def worn(self, among: frozenset[str], count: int) -> list[str]:
        """Words of `among` that stand in more than a third of what was said, most worn first."""
        with self._guard:
            least = len(self._texts) / 3
            found = [(-n, word) for word, n in self._counts.items() if n > least and word in among]
        return [word for _, word in sorted(found)[:count]]
