"""What a model's answer must hold to be used: grounded in the history, real in the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.wording.asking import CheckFailed
from foretaste.agents.wording.lexicon import Lexicon, matched, words


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


def valid_tag(
    text: str,
    lexicon: Lexicon,
    allowed: NDArray[np.bool_],
    taken: set[str],
    recent: Sequence[int] = (),
) -> str:
    """The key of a usable tag: its content words, sorted.

    Args:
        text: the tag.
        lexicon: the catalogue's vocabulary.
        allowed: (items,) bool, what may be recommended.
        taken: keys of tags that were said before.
        recent: rows of the items that the person chose lately.

    Raises:
        CheckFailed: no content word, more than five, said before, only repeating an item that
            was chosen lately, or matching no item that may be recommended.
    """
    found = words(text)
    key = " ".join(sorted(set(found)))
    if not 1 <= len(found) <= 5:
        raise CheckFailed(f"tag {text!r} has {len(found)} content words, not 1 to 5")
    if key in taken:
        raise CheckFailed(f"tag {text!r} repeats another tag")
    carried = lexicon.carried(text)  # (items,)
    if repeated := repeated_item(found, carried, lexicon, recent):
        raise CheckFailed(f"tag {text!r} only repeats the recent choice {' '.join(repeated)!r}")
    if not allowed[matched(carried, found)].any():
        raise CheckFailed(f"tag {text!r} matches nothing in the catalogue")
    return key


def repeated_item(
    said: Sequence[str], carried: NDArray[np.int64], lexicon: Lexicon, recent: Sequence[int]
) -> list[str]:
    """Words of the recent item that a tag only repeats; none when it says more.

    A tag repeats an item when the item's title has all its content words, or when no other item
    carries as many of them.

    Args:
        said: content words of the tag.
        carried: (items,) how many of them each item carries.
        lexicon: the catalogue's vocabulary.
        recent: rows of the items that the person chose lately.
    """
    most = carried.max(initial=0)
    alone = most > 0 and np.count_nonzero(carried == most) == 1
    for row in recent:
        title = lexicon.title_words(row)
        if title.issuperset(said) or (alone and carried[row] == most):
            return sorted(title)
    return []
