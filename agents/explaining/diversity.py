"""How much explanations repeat each other: the paper's R_div, and ROUGE-L between pairs."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

_DECIMAL = r"\d+(?:[.,]\d+)+%?"
_TOKEN = re.compile(rf"{_DECIMAL}|[^\W_]+(?:['’][^\W_]+)*%?")
_PART = re.compile(rf"{_DECIMAL}|[^\W_]+%?")


def tokens(text: str, *, split_apostrophes: bool = False) -> list[str]:
    """All words and numbers of a text, lower case, in order; a number stays whole.

    Args:
        text: any.
        split_apostrophes: part at apostrophes, for languages that join words with them (d'un).

    >>> tokens("Heat (1995), 0.5-Ounce: it's 20%")
    ['heat', '1995', '0.5', 'ounce', "it's", '20%']
    """
    found = (_PART if split_apostrophes else _TOKEN).findall(text)
    return [word.replace("’", "'").casefold() for word in found]


def r_div(text: str, memory: Sequence[str]) -> float:
    """How new the words of an explanation are: RecGPT-V2's diversity reward.

    `R_div = (1/L) Σ_i log(|M| / (df(w_i) + 1))`, over the L words of the text, where df counts the
    explanations of the memory M that hold the word. 0 for an empty memory or a text without words.

    >>> round(r_div("new words", ["old words", "old talk", "old song", "old tune"]), 3)
    1.04
    """
    return novelty(tokens(text), document_counts(memory), len(memory))


def document_counts(texts: Sequence[str]) -> Counter[str]:
    """In how many of the texts each word stands."""
    return Counter(word for text in texts for word in set(tokens(text)))


def novelty(words: Sequence[str], counts: Mapping[str, int], size: int) -> float:
    """`r_div` of words, given how many of `size` explanations hold each word."""
    if not words or not size:
        return 0.0
    return sum(math.log(size / (counts.get(word, 0) + 1)) for word in words) / len(words)


def rouge_l(one: str, other: str) -> float:
    """ROUGE-L F1 of two texts (Lin 2004): longest common subsequence of their words, in [0, 1].

    >>> rouge_l("the cat sat", "the cat ran")
    0.6666666666666666
    """
    a, b = tokens(one), tokens(other)
    if not a or not b:
        return 0.0
    row = [0] * (len(b) + 1)
    for word in a:
        before = row
        row = [0]
        for place, theirs in enumerate(b, 1):
            row.append(
                before[place - 1] + 1 if word == theirs else max(before[place], row[place - 1])
            )
    return 2 * row[-1] / (len(a) + len(b))


def diversity(texts: Sequence[str]) -> float:
    """1 - mean ROUGE-L over all pairs of explanations (RecGPT-V2, table of explanations).

    1 for fewer than two.
    """
    pairs = [rouge_l(one, other) for one, other in combinations(texts, 2)]
    return 1 - sum(pairs) / len(pairs) if pairs else 1.0
