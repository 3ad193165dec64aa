"""BM25 of every item's words against every other item's, once, as a sparse matrix."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp

from foretaste.serving.rules.matrices import strongest_product

K1, B = 1.5, 0.75  # the usual constants (Robertson and Zaragoza 2009, section 3.4)
NEIGHBOURS = 200  # entries kept in a row: on amazon-beauty all 3,360 gave the same figures
#: Readings of an item, of which validation chooses one.
READINGS = ("title+brand", "title", "title+brand+categories")
_WORD = re.compile(r"\w+")


def item_words(items: pl.DataFrame) -> dict[str, list[str]]:
    """Reading → one text an item, in row order; what an item lacks is left out.

    Ids are never among the words: they would lead to neighbours in the catalogue's order.
    """
    values = pl.col("attributes").list.eval(
        pl.element().struct.field("value").filter(pl.element().struct.field("name") == "brand")
    )
    parts = items.select(
        title=pl.col("title").fill_null(""),
        brand=values.list.join(" ").fill_null(""),
        categories=pl.col("categories").list.join(" ").fill_null(""),
    )
    return {
        reading: parts.select(pl.concat_str(reading.split("+"), separator=" "))
        .to_series()
        .to_list()
        for reading in READINGS
    }


def words(text: str) -> list[str]:
    """The words of a text, in small letters.

    >>> words("OPI Nail Lacquer, 0.5 oz")
    ['opi', 'nail', 'lacquer', '0', '5', 'oz']
    """
    return _WORD.findall(text.lower())


def term_counts(texts: Sequence[str]) -> Any:
    """(texts, terms) float32 counts of words; terms in order of first appearance."""
    terms: dict[str, int] = {}
    columns: list[int] = []
    offsets = [0]
    for text in texts:
        columns.extend(terms.setdefault(word, len(terms)) for word in words(text))
        offsets.append(len(columns))
    ones = np.ones(len(columns), dtype=np.float32)
    counts = sp.csr_matrix((ones, columns, offsets), shape=(len(texts), len(terms)))
    counts.sum_duplicates()
    return counts


def bm25_matrix(texts: Sequence[str], keep: int = NEIGHBOURS) -> Any:
    """Entry [a, b] = BM25 of text b for the words of text a as the query; no diagonal.

    `idf(t) = ln(1 + (N - df + 0.5) / (df + 0.5))`, never negative, and each word's weight
    `tf (k1 + 1) / (tf + k1 (1 - b + b length / mean length))`, as in Lucene up to a factor.

    Args:
        texts: one an item; an empty one gets no neighbours.
        keep: strongest neighbours kept in a row.

    Returns:
        (texts, texts) sparse float32.
    """
    counts = term_counts(texts)
    return strongest_product(counts, _weights(counts).T, keep)


def _weights(counts: Any) -> Any:
    """(texts, terms) BM25 weights of the words in each text."""
    texts, terms = counts.shape
    frequency = np.bincount(counts.indices, minlength=terms)  # (terms,) texts that hold a term
    idf = np.log1p((texts - frequency + 0.5) / (frequency + 0.5))
    lengths = np.asarray(counts.sum(axis=1)).ravel()  # (texts,) words
    mean = lengths.mean() if lengths.any() else 1.0
    norm = np.repeat(K1 * (1 - B + B * lengths / mean), np.diff(counts.indptr))  # (entries,)
    weights = counts.copy()
    weights.data = idf[counts.indices] * counts.data * (K1 + 1) / (counts.data + norm)
    return weights.astype(np.float32)
