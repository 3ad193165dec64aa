"""The index on Qdrant, by the client's own engine in memory: what the exact index finds, and no less."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foretaste.data.errors import ForetasteError, InputError
from foretaste.serving.index import outside, qdrant
from foretaste.serving.index.base import IndexInfo
from foretaste.serving.index.exact import ExactIndex
from foretaste.serving.index.opened import load_index, open_index
from foretaste.serving.index.qdrant import QdrantIndex

client = pytest.importorskip("qdrant_client", reason="foretaste[qdrant] is not installed")
FILMS = runpy.run_path(str(Path(__file__).parent.parent / "agents" / "conftest.py"))
URI = "http://127.0.0.1:9"  # where nothing answers
CONNECTED = qdrant.connected
PLANE = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], dtype=np.float32)
EAST = np.array([[1, 0]], dtype=np.float32)
NONE = np.zeros((0, 2), dtype=np.float32)


@pytest.fixture(scope="module")
def server() -> Any:
    """Qdrant's engine inside this process."""
    return client.QdrantClient(":memory:")


@pytest.fixture(autouse=True)
def _reached(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdrant, "connected", lambda uri: server)


def info(items: int, dimension: int) -> IndexInfo:
    return IndexInfo(
        kind="qdrant",
        items=items,
        dimension=dimension,
        catalogue_fingerprint="cat",
        embedder_fingerprint="emb",
    )


def plane() -> QdrantIndex:
    return QdrantIndex.build(info(4, 2), list("abcd"), [PLANE[:3], PLANE[3:]], NONE, URI)


def test_by_hand_the_nearest_come_first_under_a_filter_too() -> None:
    index = plane()
    found = index.search(EAST, 3)
    assert found.rows.tolist() == [[0, 1, 2]]
    assert found.scores[0] == pytest.approx([1, 0.8, 0])
    only = index.search(EAST, 3, np.array([False, True, False, True]))
    assert only.rows.tolist() == [[1, 3, -1]]
    assert only.scores[0, 2] == -np.inf
    assert index.vectors_of([3, 0, 3]) == pytest.approx(PLANE[[3, 0, 3]])


@pytest.fixture(scope="module")
def pair(server: Any) -> Iterator[tuple[QdrantIndex, ExactIndex]]:
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qdrant, "connected", lambda uri: server)
        patch.setattr(outside, "NARROW", 20)
        patch.setattr(qdrant, "_DEEPEST", 60)
        ids = [str(row) for row in range(300)]
        ours = QdrantIndex.build(info(300, 8), ids, [vectors], vectors[:20] + 0.1, URI)
        yield ours, ExactIndex.build(info(300, 8), ids, vectors)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), k=st.integers(1, 40), share=st.floats(0, 1))
def test_it_finds_what_the_exact_index_finds(
    pair: tuple[QdrantIndex, ExactIndex], seed: int, k: int, share: float
) -> None:
    ours, exact = pair
    random = np.random.default_rng(seed)
    allowed = random.random(300) < share
    query: NDArray[np.float32] = random.normal(size=(2, 8)).astype(np.float32)
    found, true = ours.search(query, k, allowed), exact.search(query, k, allowed)
    assert found.rows.tolist() == true.rows.tolist()
    assert found.scores == pytest.approx(true.scores, abs=1e-5)


def test_the_recall_is_told(pair: tuple[QdrantIndex, ExactIndex]) -> None:
    assert pair[0].info.recall == 1.0, "in memory Qdrant compares everything"
    assert pair[0].info.probes == 128


def test_a_saved_one_is_found_again_and_the_one_before_is_dropped(
    server: Any, tmp_path: Path
) -> None:
    first = plane()
    first.save(tmp_path)
    before = {one.name for one in server.get_collections().collections}
    plane().save(tmp_path)
    after = {one.name for one in server.get_collections().collections}
    assert len(before - after) == len(after - before) == 1
    again = load_index(tmp_path, "cat", "emb")
    assert again.search(EAST, 1).rows.tolist() == [[0]]
    assert list(again.item_ids) == list("abcd")
    server.delete(again._name, [2])  # type: ignore[attr-defined]
    with pytest.raises(ForetasteError, match="holds 3 items, not 4"):
        load_index(tmp_path, "cat", "emb")


def test_the_address_is_needed_and_must_answer(
    home: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = FILMS["films"]()
    monkeypatch.setenv("FORETASTE_INDEX", "qdrant")
    with pytest.raises(InputError, match="FORETASTE_INDEX_URI"):
        open_index(films, embedder)
    monkeypatch.setenv("FORETASTE_INDEX_URI", URI)
    index = open_index(films, embedder)
    assert index.info.kind == "qdrant"
    assert open_index(films, embedder).info == index.info
    monkeypatch.setattr(qdrant, "connected", CONNECTED)
    with pytest.raises(ForetasteError, match="did not do its work"):
        QdrantIndex.load(index.info, index.item_ids, next((home / "indexes").rglob("v-*")))


def test_shards_are_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETASTE_INDEX_SHARDS", "many")
    with pytest.raises(InputError, match="number of shards"):
        plane()
