"""The index on disk: nearly what the exact one finds, never too few, and no damage unseen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foretaste.data.errors import ForetasteError, IndexMismatch, InputError
from foretaste.serving.index import outside
from foretaste.serving.index.base import IndexInfo
from foretaste.serving.index.calibration import TARGET_RECALL
from foretaste.serving.index.exact import ExactIndex
from foretaste.serving.index.lance import LanceIndex, group_count
from foretaste.serving.index.opened import load_index

ITEMS, WIDTH = 6000, 24
PLANE = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], dtype=np.float32)
EAST = np.array([[1, 0]], dtype=np.float32)
NO_QUESTIONS = np.zeros((0, 2), dtype=np.float32)


def info(items: int, dimension: int) -> IndexInfo:
    return IndexInfo(
        kind="lance",
        items=items,
        dimension=dimension,
        catalogue_fingerprint="cat",
        embedder_fingerprint="emb",
    )


def small(folder: Path, vectors: NDArray[np.float32] = PLANE) -> LanceIndex:
    ids = [f"i{row}" for row in range(len(vectors))]
    place = str(folder / "building")
    return LanceIndex.build(info(*vectors.shape), ids, [vectors], NO_QUESTIONS, place)


def blocks(vectors: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(vectors), size):
        yield vectors[start : start + size]


@pytest.fixture(scope="module")
def clustered() -> NDArray[np.float32]:
    """60 clusters of 100 unit vectors."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(60, WIDTH))
    vectors = np.repeat(centres, ITEMS // 60, axis=0) + 0.6 * random.normal(size=(ITEMS, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def moved(vectors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=vectors.shape)
    return (vectors + 0.1 * noise).astype(np.float32)


@pytest.fixture(scope="module")
def pair(
    clustered: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory
) -> tuple[LanceIndex, ExactIndex]:
    ids = [f"i{row}" for row in range(ITEMS)]
    place = str(tmp_path_factory.mktemp("lance"))
    asked = moved(clustered[:400], 8)
    ours = LanceIndex.build(info(ITEMS, WIDTH), ids, blocks(clustered, 700), asked, place)
    return ours, ExactIndex.build(info(ITEMS, WIDTH), ids, clustered)


def test_groups_grow_with_the_root_of_the_catalogue() -> None:
    assert [group_count(items) for items in (0, 1, 10_000, 1_000_000)] == [2, 2, 256, 2048]


def test_by_hand_the_nearest_come_first_under_a_filter_too(tmp_path: Path) -> None:
    index = small(tmp_path)
    hits = index.search(EAST, 3)
    assert hits.rows.tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(hits.scores, [[1, 0.8, 0]], atol=1e-6)
    hits = index.search(EAST, 3, np.array([False, False, True, True]))
    assert hits.rows.tolist() == [[2, 3, -1]]
    assert hits.scores.tolist() == [[0, -1, -np.inf]]
    assert index.search(EAST, 2, np.zeros(4, dtype=bool)).rows.tolist() == [[-1, -1]]
    np.testing.assert_array_equal(index.vectors_of([3, 1, 1]), PLANE[[3, 1, 1]])


def test_an_empty_catalogue_finds_nothing(tmp_path: Path) -> None:
    index = small(tmp_path, PLANE[:0])
    assert index.search(EAST, 2).rows.tolist() == [[-1, -1]]


def test_wrong_calls_are_one_sentence(tmp_path: Path) -> None:
    index = small(tmp_path)
    with pytest.raises(InputError, match=r"shape \(n, 2\)"):
        index.search(np.zeros((1, 3), dtype=np.float32), 1)
    with pytest.raises(InputError, match="finite"):
        index.search(np.array([[np.nan, 0]], dtype=np.float32), 1)
    with pytest.raises(InputError, match="At least 1"):
        index.search(EAST, 0)
    with pytest.raises(InputError, match="4 booleans"):
        index.search(EAST, 1, np.ones(3, dtype=bool))
    place = str(tmp_path / "other")
    with pytest.raises(InputError, match="3 items, 4 vectors"):
        LanceIndex.build(info(4, 2), ["a", "b", "c"], [PLANE], NO_QUESTIONS, place)
    with pytest.raises(InputError, match=r"shape \(n, 3\)"):
        LanceIndex.build(info(4, 3), ["a"] * 4, [PLANE], np.zeros((0, 3), np.float32), place)


def test_a_place_that_takes_nothing_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "building").write_text("a file stands here")
    with pytest.raises(ForetasteError, match="could not be written to"):
        small(tmp_path)


def test_recall_is_what_it_says(
    pair: tuple[LanceIndex, ExactIndex], clustered: NDArray[np.float32]
) -> None:
    ours, exact = pair
    assert 0 < ours.info.probes < group_count(ITEMS)
    assert ours.info.recall >= TARGET_RECALL - 0.02
    assert len(ours._asked(clustered[0], 1, ITEMS, 1)) < ITEMS / 10  # one group, not all
    queries = moved(clustered[-300:], 6)
    truth, found = exact.search(queries, 100), ours.search(queries, 100)
    pairs = zip(truth.rows, found.rows, strict=True)
    assert np.mean([np.isin(a, b).mean() for a, b in pairs]) >= 0.97
    np.testing.assert_allclose(clustered[found.rows[0]] @ queries[0], found.scores[0], atol=1e-5)


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 300), share=st.floats(0, 1))
@example(seed=0, k=3, share=1.0)
@example(seed=0, k=300, share=0.06)
@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("narrow", [2000, 0], ids=["as it is", "never one by one"])
def test_k_are_given_whenever_k_are_allowed(
    pair: tuple[LanceIndex, ExactIndex], narrow: int, seed: int, k: int, share: float
) -> None:
    ours, exact = pair
    random = np.random.default_rng(seed)
    far = -exact.vectors_of([int(random.integers(ITEMS))])  # a query away from its own cluster
    scattered = random.random(ITEMS) < share
    together = np.arange(ITEMS) // 100 == random.integers(60)  # one cluster, likely a far one
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outside, "NARROW", narrow)
        for allowed in (scattered, together, ~together, scattered & together):
            found, truth = ours.search(far, k, allowed), exact.search(far, k, allowed)
            rows = found.rows[0][found.rows[0] >= 0]
            assert len(rows) == len(set(rows.tolist())) == min(k, int(allowed.sum()))
            assert allowed[rows].all()
            assert (np.diff(found.scores[0, : len(rows)]) <= 0).all()
            if allowed.sum() <= narrow:  # few enough to be compared one by one
                np.testing.assert_allclose(found.scores, truth.scores, atol=1e-5)


def test_a_filter_of_a_category_finds_its_items(
    pair: tuple[LanceIndex, ExactIndex], clustered: NDArray[np.float32]
) -> None:
    ours, exact = pair
    allowed = (np.arange(ITEMS) // 100) % 2 == 0  # every second cluster: 3,000 items
    for mask in (allowed, ~allowed, np.arange(ITEMS) != 7):
        queries = moved(clustered[::60], 9)
        truth, found = exact.search(queries, 50, mask).rows, ours.search(queries, 50, mask).rows
        pairs = zip(truth, found, strict=True)
        assert np.mean([np.isin(a, b).mean() for a, b in pairs]) >= 0.97


def test_saved_and_loaded_it_answers_the_same(
    clustered: NDArray[np.float32], tmp_path: Path
) -> None:
    ids = [f"i{row}" for row in range(ITEMS)]
    place = tmp_path / "building"
    asked = moved(clustered[:40], 8)
    index = LanceIndex.build(info(ITEMS, WIDTH), ids, [clustered], asked, str(place))
    before = index.search(clustered[:9], 50)
    index.save(tmp_path / "kept")
    for path in sorted(place.rglob("*"), reverse=True):  # only what was saved counts
        path.unlink() if path.is_file() else path.rmdir()
    again = load_index(tmp_path / "kept", "cat", "emb")
    assert again.info == index.info
    assert list(again.item_ids) == ids
    for one in (index, again):
        np.testing.assert_array_equal(one.search(clustered[:9], 50).rows, before.rows)
    again.save(tmp_path / "kept")  # over itself
    np.testing.assert_array_equal(again.search(clustered[:9], 50).rows, before.rows)
    assert len(list((tmp_path / "kept").glob("v-*"))) == 1


def test_at_a_uri_the_table_stays_there_and_the_earlier_one_goes(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for vectors in (PLANE, PLANE[:2]):
        ids = [f"i{row}" for row in range(len(vectors))]
        index = LanceIndex.build(info(*vectors.shape), ids, [vectors], NO_QUESTIONS, store.as_uri())
        index.save(tmp_path / "kept")
        again = load_index(tmp_path / "kept", "cat", "emb")
        assert again.search(EAST, 4).rows[0, :2].tolist() == [0, 1]
        assert len(again.item_ids) == len(vectors)
        assert len(list(store.glob("*.lance"))) == 1
    index.save(tmp_path / "kept")
    assert len(list(store.glob("*.lance"))) == 1
    for path in store.rglob("*.lance"):
        path.rename(path.with_suffix(".gone"))
    with pytest.raises(ForetasteError, match=r"cannot be read .*build the item index again"):
        load_index(tmp_path / "kept", "cat", "emb")


def test_another_catalogue_or_embedder_is_refused(tmp_path: Path) -> None:
    small(tmp_path).save(tmp_path / "kept")
    with pytest.raises(IndexMismatch, match="belongs to catalogue cat, not to new"):
        load_index(tmp_path / "kept", "new", "emb")
    with pytest.raises(IndexMismatch, match="belongs to embedder emb, not to new"):
        load_index(tmp_path / "kept", "cat", "new")


def test_every_file_that_is_cut_flipped_or_gone_is_noticed(tmp_path: Path) -> None:
    small(tmp_path).save(tmp_path / "kept")
    files = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert len(files) >= 4
    for path in files:
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 0x01
        for broken in (b"", whole[: len(whole) // 2], bytes(flipped)):
            path.write_bytes(broken)
            with pytest.raises(ForetasteError, match=r"damaged|expected"):
                load_index(tmp_path / "kept", "cat", "emb")
        path.unlink()
        with pytest.raises(ForetasteError, match=r"damaged|expected"):
            load_index(tmp_path / "kept", "cat", "emb")
        path.write_bytes(whole)
    assert load_index(tmp_path / "kept", "cat", "emb").search(EAST, 1).rows.tolist() == [[0]]


def test_a_table_that_goes_away_under_a_search_is_one_sentence(tmp_path: Path) -> None:
    small(tmp_path).save(tmp_path / "kept")
    index = load_index(tmp_path / "kept", "cat", "emb")
    for path in (tmp_path / "kept").rglob("*.lance"):
        if path.is_file():
            path.unlink()
    with pytest.raises(ForetasteError, match="cannot be read"):
        index.search(EAST, 1)


def test_many_threads_search_at_once(
    pair: tuple[LanceIndex, ExactIndex], clustered: NDArray[np.float32]
) -> None:
    ours, queries = pair[0], clustered[::300]
    expected = ours.search(queries, 10).rows
    wrong: list[int] = []

    def ask(place: int) -> None:
        for _ in range(5):
            found = ours.search(queries[place : place + 1], 10).rows[0]
            if found.tolist() != expected[place].tolist():
                wrong.append(place)

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
