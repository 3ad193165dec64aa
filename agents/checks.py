"""What a model's answer must hold to be used: grounded in the history, real in the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.asking import CheckFailed
from foretaste.agents.lexicon import Lexicon, words


def numbers_within(numbers: Iterable[int], count: int) -> list[int]:
    """Line numbers of a prompt (from 1) as places (from 0), each once, those that exist.

    >>> numbers_within([2, 2, 9, 1], 3)
    [1, 0]
    """
    return list(dict.fromkeys(n - 1 for n in numbers if 1 <= n <= count))


def about(text: NDArray[np.float32], rows: Sequence[int], vectors: NDArray[np.float32]) -> bool:
    """Whether a text is about these items rather than about any.

    True when its mean cosine to them is more than one standard deviation above its mean cosine
    to the whole catalogue.

    Args:
        text: (d,) unit vector.
        rows: item rows.
        vectors: (items, d) unit vectors.
    """
    likeness = vectors @ text  # (items,)
    return bool(likeness[list(rows)].mean() > likeness.mean() + likeness.std())


def valid_tag(text: str, lexicon: Lexicon, allowed: NDArray[np.bool_], taken: set[str]) -> str:
    """The key of a usable tag: its content words, sorted.

    Raises:
        CheckFailed: no content word, more than five, said before, repeating an item that the
            person already has, or matching no item that may be recommended.
    """
    found = words(text)
    key = " ".join(sorted(set(found)))
    if not 1 <= len(found) <= 5:
        raise CheckFailed(f"tag {text!r} has {len(found)} content words, not 1 to 5")
    if key in taken:
        raise CheckFailed(f"tag {text!r} repeats another tag or an item chosen before")
    if not allowed[lexicon.matching(text)].any():
        raise CheckFailed(f"tag {text!r} matches nothing in the catalogue")
    return key
