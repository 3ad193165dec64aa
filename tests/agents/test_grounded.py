"""The fallbacks that need no language model: numbers by hand, then laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents import grounded
from foretaste.agents.lexicon import Lexicon, Terms, words
from foretaste.agents.objects import Tag
from foretaste.agents.tools import Tools
from foretaste.data.dataset import Dataset


def test_clusters_part_two_tastes_and_put_the_heavier_first() -> None:
    east, north = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    vectors = np.array([east, [0.99, 0.14], north, [0.1, 0.995], east], dtype=np.float32)
    unfiled = Terms.of([[]] * 5)
    groups = grounded.clusters(np.array([2, 0, 1, 4], dtype=np.int32), vectors, unfiled, 2)
    assert [set(group.rows) for group in groups] == [{4, 1, 0}, {2}]
    assert groups[0].rows == (4, 1, 0), "newest first"
    assert groups[0].weight == pytest.approx(1 + 0.9 + 0.81)


def test_no_history_has_no_clusters() -> None:
    none = np.zeros(0, dtype=np.int32)
    assert grounded.clusters(none, np.eye(2, dtype=np.float32), Terms.of([[], []]), 3) == []


def test_categories_part_what_words_would_join() -> None:
    same = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (4, 1))
    filed = Terms.of([["Crime"], ["Comedy"], ["Crime"], ["Comedy"]])
    groups = grounded.clusters(np.arange(4, dtype=np.int32), same, filed, 2)
    assert {frozenset(group.rows) for group in groups} == {frozenset({0, 2}), frozenset({1, 3})}


@given(st.lists(st.integers(0, 11), min_size=1, max_size=30), st.integers(1, 5))
def test_clusters_hold_every_history_item_once(history: list[int], count: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    filed = Terms.of([["even" if row % 2 else "odd"] for row in range(12)])
    groups = grounded.clusters(np.array(history, dtype=np.int32), vectors, filed, count)
    assert sorted(row for group in groups for row in group.rows) == sorted(set(history))
    assert 1 <= len(groups) <= count
    weights = [group.weight for group in groups]
    assert weights == sorted(weights, reverse=True)


def test_distinctive_categories_are_those_that_few_items_carry(dataset: Dataset) -> None:
    lexicon = Lexicon(dataset.items)
    rows = dataset.rows(["space-1", "space-2"])
    assert grounded.distinctive(lexicon.categories, rows, 2) == ["Adventure", "Sci-Fi"]


def test_tags_match_items_that_may_still_be_recommended(dataset: Dataset) -> None:
    lexicon = Lexicon(dataset.items)
    rows = dataset.rows(["space-1"])
    allowed = np.ones(len(dataset.item_ids), dtype=bool)
    allowed[rows] = False
    tags = grounded.tags(rows, lexicon, allowed, 6, 0)
    assert tags[0].text in {"Sci-Fi Adventure", "Adventure Sci-Fi"}
    for tag in tags:
        assert allowed[lexicon.matching(tag.text)].any(), tag.text
    keys = [" ".join(sorted(words(tag.text))) for tag in tags]
    assert len(keys) == len(set(keys))


def test_choose_hears_every_persona_and_avoids_repeats() -> None:
    tags = [
        Tag(text=t, persona=p, reason="r", source="fallback")
        for t, p in [("a", 0), ("b", 0), ("c", 1)]
    ]
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    verdicts = grounded.choose(tags, vectors, np.array([1, 0], dtype=np.float32), 2)
    assert [verdict.kept for verdict in verdicts] == [True, False, True]
    assert "says much the same as 'a' (cosine 1.00)" in verdicts[1].reason


@given(st.integers(1, 8), st.integers(1, 10), st.integers(0, 3))
def test_choose_keeps_as_many_as_asked_where_there_are_so_many(
    n: int, count: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((n, 4)).astype(np.float32)
    tags = [
        Tag(text=f"tag {i}", persona=int(random.integers(3)), reason="r", source="fallback")
        for i in range(n)
    ]
    verdicts = grounded.choose(tags, vectors, vectors[0], count)
    assert sum(verdict.kept for verdict in verdicts) == min(n, count)
    assert [verdict.tag for verdict in verdicts] == tags


def test_a_tagless_catalogue_still_gives_tags_of_its_words(tools: Tools) -> None:
    import polars as pl

    items = tools.dataset.items.with_columns(
        categories=pl.Series([[] for _ in range(12)], dtype=pl.List(pl.String)),
        title=pl.Series(["red shoe", "red boot", "blue shoe"] + ["thing"] * 9),
    )
    allowed = np.ones(12, dtype=bool)
    allowed[0] = False
    texts = [tag.text for tag in grounded.tags([0], Lexicon(items), allowed, 4, 0)]
    assert texts, "words stand in for categories"
    assert all(set(text.split()) <= {"red", "shoe"} for text in texts)
