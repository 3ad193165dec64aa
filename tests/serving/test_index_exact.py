"""The exact index: numbers by hand, then laws, then the road from a data set to a saved index."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.errors import ForetasteError, IndexMismatch, InputError
from foretaste.data.tables import COLUMNS
from foretaste.serving.index.base import IndexInfo
from foretaste.serving.index.exact import ExactIndex
from foretaste.serving.index.opened import fitting_kind, load_index, open_index, open_live_index


class HashedEmbedder:
    """Words hashed into 32 places: enough for a text to find itself."""

    name = "hashed"
    dimension = 32

    def __init__(self, fingerprint: str = "00000000000000aa") -> None:
        self.fingerprint, self.read = fingerprint, 0

    def encode(self, texts: Sequence[str], *, keep: bool = True) -> NDArray[np.float32]:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                digest = hashlib.sha256(word.encode()).digest()
                vectors[row, digest[0] % self.dimension] += 1 if digest[1] % 2 else -1
        self.read += len(texts)
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


def info(items: int, dimension: int) -> IndexInfo:
    return IndexInfo(
        kind="exact",
        items=items,
        dimension=dimension,
        catalogue_fingerprint="cat",
        embedder_fingerprint="emb",
    )


def index_of(vectors: NDArray[np.float32]) -> ExactIndex:
    ids = [f"item-{row}" for row in range(len(vectors))]
    return ExactIndex.build(info(*vectors.shape), ids, vectors)


PLANE = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], dtype=np.float32)
EAST = np.array([[1, 0]], dtype=np.float32)


def test_by_hand_the_nearest_come_first() -> None:
    hits = index_of(PLANE).search(EAST, 3)
    assert hits.rows.dtype == np.int32
    assert hits.rows.tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(hits.scores, [[1, 0.8, 0]], atol=1e-6)


def test_by_hand_a_filter_is_applied_inside_the_search() -> None:
    allowed = np.array([False, False, True, True])
    hits = index_of(PLANE).search(EAST, 2, allowed)
    assert hits.rows.tolist() == [[2, 3]]
    np.testing.assert_allclose(hits.scores, [[0, -1]], atol=1e-6)


def test_what_is_not_there_is_padded() -> None:
    hits = index_of(PLANE).search(EAST, 3, np.array([False, True, False, False]))
    assert hits.rows.tolist() == [[1, -1, -1]]
    assert hits.scores[0, 1:].tolist() == [-np.inf, -np.inf]
    assert index_of(PLANE).search(EAST, 9).rows.tolist() == [[0, 1, 2, 3] + [-1] * 5]
    nothing = index_of(PLANE).search(EAST, 2, np.zeros(4, dtype=bool))
    assert nothing.rows.tolist() == [[-1, -1]]


def test_vectors_come_back_as_they_went_in() -> None:
    np.testing.assert_array_equal(index_of(PLANE).vectors_of([3, 1, 1]), PLANE[[3, 1, 1]])


def test_wrong_calls_are_one_sentence() -> None:
    index = index_of(PLANE)
    with pytest.raises(InputError, match=r"shape \(n, 2\)"):
        index.search(np.zeros((1, 3), dtype=np.float32), 1)
    with pytest.raises(InputError, match="finite"):
        index.search(np.array([[np.nan, 0]], dtype=np.float32), 1)
    with pytest.raises(InputError, match="At least 1"):
        index.search(EAST, 0)
    with pytest.raises(InputError, match="4 booleans"):
        index.search(EAST, 1, np.ones(3, dtype=bool))
    with pytest.raises(InputError, match="4 booleans"):
        index.search(EAST, 1, np.ones(4, dtype=np.int64))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="One vector an item"):
        ExactIndex.build(info(4, 2), ["a"], PLANE)


@given(
    seed=st.integers(0, 2**32 - 1),
    items=st.integers(1, 60),
    queries=st.integers(1, 30),
    k=st.integers(1, 70),
    share=st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_it_equals_brute_force_under_any_filter(
    seed: int, items: int, queries: int, k: int, share: float
) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(items, 8)).astype(np.float32)
    asked = random.normal(size=(queries, 8)).astype(np.float32)
    allowed = random.random(items) < share
    hits = index_of(vectors).search(asked, k, allowed)
    products = np.where(allowed, asked @ vectors.T, -np.inf)  # (q, n)
    expected = -np.sort(-products, axis=1)[:, :k]
    given_back = min(k, int(allowed.sum()))
    assert ((hits.rows >= 0).sum(axis=1) == given_back).all()
    np.testing.assert_allclose(
        hits.scores[:, :given_back], expected[:, :given_back], rtol=1e-4, atol=1e-5
    )
    for rows, scores, row_of in zip(hits.rows, hits.scores, products, strict=True):
        assert len(set(rows[:given_back].tolist())) == given_back
        np.testing.assert_allclose(row_of[rows[:given_back]], scores[:given_back], atol=1e-5)


def test_saved_and_loaded_it_answers_the_same(tmp_path: Path) -> None:
    vectors = np.random.default_rng(3).normal(size=(50, 8)).astype(np.float32)
    index = index_of(vectors)
    index.save(tmp_path)
    again = load_index(tmp_path, "cat", "emb")
    assert list(again.item_ids) == list(index.item_ids)
    assert again.info == index.info
    first, second = index.search(vectors, 7), again.search(vectors, 7)
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.scores, second.scores)


def test_saving_again_replaces_and_leaves_one_folder(tmp_path: Path) -> None:
    index_of(PLANE).save(tmp_path)
    index_of(PLANE[:2]).save(tmp_path)
    assert len(load_index(tmp_path, "cat", "emb").item_ids) == 2
    assert sorted(path.name[:2] for path in tmp_path.iterdir()) == ["cu", "v-"]


def test_another_catalogue_or_embedder_is_refused(tmp_path: Path) -> None:
    index_of(PLANE).save(tmp_path)
    with pytest.raises(IndexMismatch, match="belongs to catalogue cat, not to new"):
        load_index(tmp_path, "new", "emb")
    with pytest.raises(IndexMismatch, match="belongs to embedder emb, not to new"):
        load_index(tmp_path, "cat", "new")
    with pytest.raises(ForetasteError, match="expected"):
        load_index(tmp_path / "nowhere", "cat", "emb")


def test_every_flipped_byte_and_every_lost_end_is_noticed(tmp_path: Path) -> None:
    index_of(PLANE).save(tmp_path)
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        for place in range(len(whole)):
            broken = bytearray(whole)
            broken[place] ^= 0x01
            path.write_bytes(broken)
            try:
                loaded = load_index(tmp_path, "cat", "emb")
            except ForetasteError:
                continue
            # White space of the JSON may change without changing what it says.
            assert loaded.search(EAST, 4).rows.tolist() == [[0, 1, 2, 3]]
            assert path.suffix == ".json"
            assert whole[place : place + 1].isspace()
        for length in {0, 1, len(whole) // 2, len(whole) - 2}:
            path.write_bytes(whole[:length])
            with pytest.raises(ForetasteError):
                load_index(tmp_path, "cat", "emb")
        path.write_bytes(whole)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("FORETASTE_HOME", str(tmp_path))
    return shop_of(["red shoe", "blue shoe", "rain hat"], "c1")


def shop_of(titles: list[str], fingerprint: str) -> Dataset:
    rows = [{"item_id": f"i{row}", "title": title} for row, title in enumerate(titles)]
    tables = {
        name: pl.DataFrame(rows if name == "items" else [], schema=COLUMNS[name])
        for name in ("items", "interactions", "users", "environment")
    }
    return Dataset(**tables, info=DatasetInfo(name="shop", catalogue_fingerprint=fingerprint))


def test_opening_builds_once_and_loads_afterwards(shop: Dataset) -> None:
    embedder = HashedEmbedder()
    first = open_index(shop, embedder)
    assert embedder.read == 3
    second = open_index(shop, embedder)
    assert embedder.read == 3
    asked = embedder.encode(["hat"])
    for index in (first, second):
        assert list(index.item_ids) == ["i0", "i1", "i2"]
        assert index.search(asked, 1).rows.tolist() == [[2]]


def test_a_changed_catalogue_or_a_damaged_file_is_built_again(
    shop: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    embedder = HashedEmbedder()
    open_index(shop, embedder)
    more = shop_of(["red shoe", "blue shoe", "rain hat", "umbrella"], "c2")
    assert len(open_index(more, embedder).item_ids) == 4
    assert "belongs to catalogue c1" in capsys.readouterr().err
    saved = next((tmp_path / "indexes" / "shop").rglob("index.faiss"))
    saved.write_bytes(saved.read_bytes()[:-3])
    assert len(open_index(more, embedder).item_ids) == 4
    assert "damaged" in capsys.readouterr().err
    assert embedder.read == 3 + 4 + 4


def test_changes_are_kept_until_the_catalogue_is_imported_again(shop: Dataset) -> None:
    embedder = HashedEmbedder()
    umbrella = embedder.encode(["umbrella"])
    first = open_live_index(shop, embedder)
    first.upsert(["new"], ["umbrella"], umbrella)
    first.remove(["i0"])
    again = open_live_index(shop, embedder)
    assert [again.item_ids[row] for row in again.search(umbrella, 1).rows[0]] == ["new"]
    assert again.present.tolist() == [False, True, True, True]
    assert again.search_text(["red shoe"], 3).rows.tolist() == [[1, -1, -1]]
    fresh = open_live_index(shop_of(["red shoe", "blue shoe"], "c2"), embedder)
    assert list(fresh.item_ids) == ["i0", "i1"]
    assert fresh.present.all()


def test_a_large_catalogue_is_grouped(shop: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretaste.serving.index.opened.EXACT_UP_TO", 2)
    embedder = HashedEmbedder()
    for _ in range(2):
        index = open_index(shop, embedder)
        assert index.info.kind == "ivf"
        assert index.search(embedder.encode(["hat"]), 1).rows.tolist() == [[2]]


def test_the_kind_follows_size_and_free_memory() -> None:
    gib = 1 << 30
    assert fitting_kind(50_000, 4096, 0) == "exact"
    assert fitting_kind(1_000_000, 384, 24 * gib) == "ivf"
    assert fitting_kind(5_000_000, 384, 24 * gib) == "lance"
    assert fitting_kind(1_000_000, 384, 4 * gib) == "lance"


def test_a_catalogue_that_outgrows_memory_is_kept_on_disk(
    shop: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foretaste.serving.index.opened.EXACT_UP_TO", 2)
    monkeypatch.setattr("foretaste.serving.index.opened._BATCH", 2)
    free = SimpleNamespace(available=100)
    monkeypatch.setattr("foretaste.serving.index.opened.psutil.virtual_memory", lambda: free)
    embedder = HashedEmbedder()
    for _ in range(2):
        index = open_index(shop, embedder)
        assert index.info.kind == "lance"
        assert index.search(embedder.encode(["hat"], keep=False), 1).rows.tolist() == [[2]]
    assert not list(tmp_path.rglob("build-*"))
    live = open_live_index(shop, embedder)
    live.upsert(["new"], ["umbrella"], embedder.encode(["umbrella"]))
    live.remove(["i2"])
    again = open_live_index(shop, embedder)
    assert again.search(embedder.encode(["umbrella"]), 4).rows[0, [0, 3]].tolist() == [3, -1]


def test_the_environment_names_the_kind_and_the_place(
    shop: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = HashedEmbedder()
    assert open_index(shop, embedder).info.kind == "exact"
    for kind in ("ivf", "lance", "exact"):
        monkeypatch.setenv("FORETASTE_INDEX", kind)
        assert open_index(shop, embedder).info.kind == kind
    monkeypatch.setenv("FORETASTE_INDEX", "lance")
    monkeypatch.setenv("FORETASTE_INDEX_URI", str(tmp_path / "a store"))
    asked = embedder.encode(["hat"])
    for _ in range(2):
        assert open_index(shop, embedder).search(asked, 1).rows.tolist() == [[2]]
    assert len(list((tmp_path / "a store").rglob("items_*.lance"))) == 1
    monkeypatch.setenv("FORETASTE_INDEX", "hnsw")
    with pytest.raises(
        InputError, match="should be exact, ivf, lance, qdrant or unset, not 'hnsw'"
    ):
        open_index(shop, embedder)
