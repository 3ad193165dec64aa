"""How a history is parted into tastes: numbers by hand, then laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents.objects import Persona
from foretaste.agents.reasoning import tastes
from foretaste.agents.wording.terms import Terms


def test_clusters_part_two_tastes_and_put_the_heavier_first() -> None:
    east, north = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    vectors = np.array([east, [0.99, 0.14], north, [0.1, 0.995], east], dtype=np.float32)
    unfiled = Terms.of([[]] * 5)
    groups = tastes.clusters(np.array([2, 0, 1, 4], dtype=np.int32), vectors, unfiled, 2)
    assert [set(group.rows) for group in groups] == [{4, 1, 0}, {2}]
    assert groups[0].rows == (4, 1, 0), "newest first"
    assert groups[0].weight == pytest.approx(1 + 0.9 + 0.81)


def test_no_history_has_no_clusters() -> None:
    none = np.zeros(0, dtype=np.int32)
    assert tastes.clusters(none, np.eye(2, dtype=np.float32), Terms.of([[], []]), 3) == []


def test_categories_part_what_words_would_join() -> None:
    same = np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (4, 1))
    filed = Terms.of([["Crime"], ["Comedy"], ["Crime"], ["Comedy"]])
    groups = tastes.clusters(np.arange(4, dtype=np.int32), same, filed, 2)
    assert {frozenset(group.rows) for group in groups} == {frozenset({0, 2}), frozenset({1, 3})}


@given(st.lists(st.integers(0, 11), min_size=1, max_size=30), st.integers(1, 5))
def test_clusters_hold_every_history_item_once(history: list[int], count: int) -> None:
    vectors = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    filed = Terms.of([["even" if row % 2 else "odd"] for row in range(12)])
    groups = tastes.clusters(np.array(history, dtype=np.int32), vectors, filed, count)
    assert sorted(row for group in groups for row in group.rows) == sorted(set(history))
    assert 1 <= len(groups) <= count
    weights = [group.weight for group in groups]
    assert weights == sorted(weights, reverse=True)


def test_a_narrow_history_is_one_taste_and_a_broad_one_is_more() -> None:
    vectors = np.eye(40, dtype=np.float32)
    vectors[:10] = [0.0] * 39 + [1.0]  # ten items that say the same
    filed = Terms.of([["all"]] * 40)
    rows = np.arange(10, dtype=np.int32)
    assert (
        len(
            tastes.clusters(
                rows, vectors, filed, 5, narrow=0.5 * tastes.catalogue_variance(vectors, filed)
            )
        )
        == 1
    )
    broad = np.arange(5, 25, dtype=np.int32)
    assert (
        len(
            tastes.clusters(
                broad, vectors, filed, 5, narrow=0.5 * tastes.catalogue_variance(vectors, filed)
            )
        )
        == 3
    )
    drawn = np.random.default_rng(0).standard_normal((40, 40)).astype(np.float32)
    assert len(tastes.clusters(rows, drawn, filed, 5)) == 5, "all that are wanted"


@given(st.lists(st.floats(0, 2), min_size=1, max_size=12), st.floats(0, 3), st.integers(1, 6))
def test_sides_are_the_fewest_that_are_narrow_enough(
    heights: list[float], allowed: float, most: int
) -> None:
    rising = np.sort(np.array(heights))
    found = tastes.sides(rising, allowed, most)
    assert 1 <= found <= most

    def inside(groups: int) -> float:
        merges = len(rising) + 1 - groups
        return float((rising[:merges] ** 2 / 2).sum()) / (len(rising) + 1)

    if found < most:
        assert inside(found) <= allowed + 1e-9
    if found > 1:
        assert inside(found - 1) > allowed - 1e-9
    assert tastes.sides(rising, allowed + 0.5, most) <= found, "more is allowed, fewer are needed"


def _persona(name: str, *evidence: str) -> Persona:
    return Persona(name=name, description="", evidence=evidence, source="model")


def test_personas_that_share_evidence_or_meaning_become_one() -> None:
    personas = [_persona("a", "x", "y"), _persona("b", "y", "z"), _persona("c", "q")]
    texts = np.eye(3, dtype=np.float32)
    merged = tastes.without_doubles(personas, texts, 0.5, 0.9)
    assert [(one.name, one.evidence) for one in merged] == [("a", ("x", "y", "z")), ("c", ("q",))]
    assert len(tastes.without_doubles(personas, texts, 0.6, 0.9)) == 3
    texts[2] = texts[0]
    merged = tastes.without_doubles(personas, texts, 0.6, 0.9)
    assert [(one.name, one.evidence) for one in merged] == [
        ("a", ("x", "y", "q")),
        ("b", ("y", "z")),
    ]


@given(st.lists(st.sets(st.sampled_from("abcdef"), min_size=1), min_size=1, max_size=6))
def test_merged_personas_keep_all_evidence(sets: list[set[str]]) -> None:
    personas = [_persona(str(n), *sorted(own)) for n, own in enumerate(sets)]
    texts = np.eye(len(sets), 8, dtype=np.float32)
    merged = tastes.without_doubles(personas, texts, 0.5, 0.9)
    assert {item for one in merged for item in one.evidence} == set().union(*sets)
    assert all(len(one.evidence) == len(set(one.evidence)) for one in merged)
