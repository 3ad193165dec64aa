"""The index of large catalogues: nearly what the exact one finds, and never too few."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foretaste.data.errors import ForetasteError
from foretaste.serving.index.base import IndexInfo
from foretaste.serving.index.calibration import TARGET_RECALL
from foretaste.serving.index.exact import ExactIndex
from foretaste.serving.index.ivf import IvfIndex, list_count
from foretaste.serving.index.opened import load_index
from foretaste.serving.index.saved import write_faiss, write_saved

ITEMS, WIDTH = 6000, 24


def info(items: int, width: int = WIDTH) -> IndexInfo:
    return IndexInfo(
        kind="ivf",
        items=items,
        dimension=width,
        catalogue_fingerprint="cat",
        embedder_fingerprint="emb",
    )


@pytest.fixture(scope="module")
def clustered() -> NDArray[np.float32]:
    """60 clusters of 100 unit vectors."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(60, WIDTH))
    vectors = np.repeat(centres, ITEMS // 60, axis=0) + 0.6 * random.normal(size=(ITEMS, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def pair(clustered: NDArray[np.float32]) -> tuple[IvfIndex, ExactIndex]:
    ids = [f"i{row}" for row in range(ITEMS)]
    exact = ExactIndex.build(info(ITEMS), ids, clustered)
    asked = clustered[:400] + 0.1 * np.random.default_rng(8).normal(size=(400, WIDTH))
    return IvfIndex.build(info(ITEMS), ids, clustered, asked.astype(np.float32)), exact


def test_groups_grow_with_the_root_of_the_catalogue() -> None:
    assert [list_count(items) for items in (0, 1, 10_000, 1_000_000)] == [4, 4, 512, 4096]


@pytest.mark.parametrize("width", [2, 3], ids=["pairs of numbers", "an odd number of them"])
def test_by_hand_a_handful_of_items_in_order(width: int) -> None:
    items = np.zeros((5, width), dtype=np.float32)
    items[:, 0], items[:, 1] = [1, 0.8, 0.6, 0, -1], [0, 0.6, 0.8, 1, 0]
    index = IvfIndex.build(info(5, width), list("abcde"), items, items[:0])
    hits = index.search(items[:1], 7)
    assert hits.rows[0].tolist() == [0, 1, 2, 3, 4, -1, -1]
    np.testing.assert_allclose(hits.scores[0, :5], [1, 0.8, 0.6, 0, -1], atol=1e-3)
    assert hits.scores[0, 5] == -np.inf
    allowed = np.array([False, True, False, True, False])
    assert index.search(items[:1], 3, allowed).rows[0].tolist() == [1, 3, -1]
    assert index.search(items[:1], 2, np.zeros(5, dtype=bool)).rows[0].tolist() == [-1, -1]


def test_items_that_are_all_alike_are_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretaste.serving.index.ivf._NARROW", 10)
    items = np.tile(np.array([[0.6, 0.8]], dtype=np.float32), (300, 1))
    index = IvfIndex.build(info(300, 2), [str(row) for row in range(300)], items, items[:0])
    allowed = np.arange(300) % 3 > 0
    for query in (items[:1], -items[:1]):
        assert len(set(index.search(query, 20).rows[0].tolist()) - {-1}) == 20
        rows = index.search(query, 20, allowed).rows[0]
        assert len(set(rows.tolist())) == 20
        assert allowed[rows].all()


def test_an_index_of_an_earlier_form_is_refused_with_what_to_do(tmp_path: Path) -> None:
    coarse = faiss.IndexFlatIP(WIDTH)
    form, metric = faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    old = faiss.IndexIVFScalarQuantizer(coarse, WIDTH, 4, form, metric, False)
    write_saved(tmp_path, info(0), [], write_faiss(old))
    with pytest.raises(ForetasteError, match=r"earlier version.*build the item index again"):
        load_index(tmp_path, "cat", "emb")


def test_filtered_recall_is_near_that_without_a_filter(
    pair: tuple[IvfIndex, ExactIndex],
    clustered: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("foretaste.serving.index.ivf._NARROW", 10)  # so that groups are searched
    ours, exact = pair
    queries = clustered[::20] + 0.1 * np.random.default_rng(6).normal(size=(300, WIDTH))
    queries = queries.astype(np.float32)
    random = np.random.default_rng(2)
    for share in (0.7, 0.3, 0.05):
        for allowed in (random.random(ITEMS) < share, np.arange(ITEMS) < share * ITEMS):
            truth, found = exact.search(queries, 20, allowed), ours.search(queries, 20, allowed)
            pairs = zip(truth.rows, found.rows, strict=True)
            assert np.mean([np.isin(a, b).mean() for a, b in pairs]) >= 0.97


def test_recall_is_what_it_says(
    pair: tuple[IvfIndex, ExactIndex], clustered: NDArray[np.float32]
) -> None:
    ours, exact = pair
    assert ours.info.recall >= TARGET_RECALL - 0.01
    assert 0 < ours.info.probes <= list_count(ITEMS)
    noise = np.random.default_rng(6).normal(size=(300, WIDTH)).astype(np.float32)
    queries = clustered[:300] + 0.1 * noise
    truth, found = exact.search(queries, 100).rows, ours.search(queries, 100).rows
    recall = np.mean([np.isin(a, b).mean() for a, b in zip(truth, found, strict=True)])
    assert recall >= 0.98


def test_scores_are_exact_to_sixteen_bits(
    pair: tuple[IvfIndex, ExactIndex], clustered: NDArray[np.float32]
) -> None:
    hits = pair[0].search(clustered[:20], 5)
    for query, rows, scores in zip(clustered[:20], hits.rows, hits.scores, strict=True):
        np.testing.assert_allclose(clustered[rows] @ query, scores, atol=2e-3)
    np.testing.assert_allclose(pair[0].vectors_of([7, 3]), clustered[[7, 3]], atol=1e-3)


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 300), share=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_k_are_given_whenever_k_are_allowed(
    pair: tuple[IvfIndex, ExactIndex], seed: int, k: int, share: float
) -> None:
    ours, exact = pair
    random = np.random.default_rng(seed)
    far = -exact.vectors_of([int(random.integers(ITEMS))])  # a query away from its own cluster
    scattered = random.random(ITEMS) < share
    together = np.arange(ITEMS) // 100 == random.integers(60)  # one cluster, likely a far one
    for allowed in (scattered, together, scattered & together):
        found, truth = ours.search(far, k, allowed), exact.search(far, k, allowed)
        rows = found.rows[0][found.rows[0] >= 0]
        assert len(rows) == len(set(rows.tolist())) == min(k, int(allowed.sum()))
        assert allowed[rows].all()
        if allowed.sum() <= 5_000:  # few enough to be compared one by one
            np.testing.assert_allclose(found.scores, truth.scores, atol=2e-3)


@pytest.mark.parametrize("free", [10**12, 1000], ids=["in memory", "mapped"])
def test_saved_and_loaded_it_answers_the_same(
    pair: tuple[IvfIndex, ExactIndex],
    clustered: NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
) -> None:
    memory = SimpleNamespace(available=free)
    monkeypatch.setattr("foretaste.serving.index.saved.psutil.virtual_memory", lambda: memory)
    pair[0].save(tmp_path)
    again = load_index(tmp_path, "cat", "emb")
    assert again.info == pair[0].info
    allowed = np.random.default_rng(0).random(ITEMS) < 0.2
    for mask in (None, allowed):
        first, second = (
            pair[0].search(clustered[:9], 50, mask),
            again.search(clustered[:9], 50, mask),
        )
        np.testing.assert_array_equal(first.rows, second.rows)
