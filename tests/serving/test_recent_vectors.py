"""Vectors of recent texts: the embedder's own, each text read once while there is room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foretaste.serving.recent_vectors import RecentVectors


class Counting:
    """Two numbers made of a text's length; remembers what it was asked."""

    name, fingerprint, dimension = "counting", "0" * 16, 2

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], bool]] = []

    def encode(self, texts: Sequence[str], *, keep: bool = True) -> NDArray[np.float32]:
        self.asked.append((tuple(texts), keep))
        angles = np.array([len(text) for text in texts], dtype=np.float32)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_a_text_is_read_once_and_never_kept_on_disk() -> None:
    inner = Counting()
    recent = RecentVectors(inner, 3)
    first = recent.encode(["a", "bb", "a"])
    np.testing.assert_array_equal(first, inner.encode(["a", "bb", "a"]))
    inner.asked.clear()
    np.testing.assert_array_equal(recent.encode(["bb", "a"]), first[[1, 0]])
    assert inner.asked == []
    recent.encode(["ccc", "bb"])
    assert inner.asked == [(("ccc",), False)]


def test_the_least_recently_used_gives_way() -> None:
    inner = Counting()
    recent = RecentVectors(inner, 2)
    recent.encode(["a"])
    recent.encode(["bb"])
    recent.encode(["a"])  # now bb is the one that was used longest ago
    recent.encode(["ccc"])
    inner.asked.clear()
    recent.encode(["a"])
    assert inner.asked == []
    recent.encode(["bb"])
    assert inner.asked == [(("bb",), False)]
    assert len(recent) == 2


def test_what_a_person_wrote_is_not_kept() -> None:
    inner = Counting()
    recent = RecentVectors(inner, 2)
    recent.encode(["my wish"], keep=False)
    assert len(recent) == 0
    assert inner.asked == [(("my wish",), False)]


@given(st.lists(st.lists(st.text("ab", max_size=4), max_size=6), max_size=8), st.integers(1, 5))
def test_it_answers_like_the_embedder_whatever_was_asked_before(
    calls: list[list[str]], most: int
) -> None:
    recent, plain = RecentVectors(Counting(), most), Counting()
    for texts in calls:
        if texts:
            np.testing.assert_array_equal(recent.encode(texts), plain.encode(texts))
        assert len(recent) <= most
