"""Items that come, change and go: the next search equals that of an index made afresh."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foretaste.data.errors import ForetasteError, InputError
from foretaste.serving.index.base import IndexInfo
from foretaste.serving.index.exact import ExactIndex
from foretaste.serving.index.journal import Journal
from foretaste.serving.index.live import LiveIndex

PLANE = np.array([[1, 0], [0.8, 0.6], [0, 1]], dtype=np.float32)
TEXTS = ["red shoe", "blue shoe", "rain hat"]
EAST = PLANE[:1]


def base_of(vectors: NDArray[np.float32]) -> ExactIndex:
    info = IndexInfo(
        kind="exact",
        items=len(vectors),
        dimension=vectors.shape[1],
        catalogue_fingerprint="c",
        embedder_fingerprint="e",
    )
    return ExactIndex.build(info, [f"i{row}" for row in range(len(vectors))], vectors)


def live(journal: Path | None = None) -> LiveIndex:
    return LiveIndex(base_of(PLANE), TEXTS, Journal(journal) if journal else None)


def found(index: LiveIndex, k: int = 5, allowed: NDArray[np.bool_] | None = None) -> list[str]:
    rows = index.search(EAST, k, allowed).rows[0]
    return [index.item_ids[row] for row in rows if row >= 0]


def by_word(index: LiveIndex, query: str) -> list[str]:
    return [index.item_ids[row] for row in index.search_text([query], 5).rows[0] if row >= 0]


def test_by_hand_an_item_comes_changes_and_goes() -> None:
    index = live()
    assert found(index) == ["i0", "i1", "i2"]
    index.upsert(["new"], ["red umbrella"], np.array([[0.9, 0.1]], dtype=np.float32))
    assert found(index) == ["i0", "new", "i1", "i2"]
    assert sorted(by_word(index, "red")) == ["i0", "new"]
    index.upsert(["i0"], ["green glove"], np.array([[-1, 0]], dtype=np.float32))
    assert found(index) == ["new", "i1", "i2", "i0"]
    assert by_word(index, "red") == ["new"]
    assert by_word(index, "glove") == ["i0"]
    index.remove(["new", "i1"])
    assert found(index) == ["i2", "i0"]
    assert by_word(index, "red umbrella") == []
    assert index.row("new") is None
    assert index.row("i0") == 0
    index.upsert(["new"], ["red umbrella"], EAST)
    assert found(index, 1) == ["new"]


def test_filters_reach_new_items_and_old_masks_leave_them_out() -> None:
    index = live()
    before = index.present
    index.upsert(["new"], ["red umbrella"], EAST)
    assert found(index, 4, before) == ["i0", "i1", "i2"]
    assert found(index, 4, np.array([False, False, True, True])) == ["new", "i2"]
    with pytest.raises(InputError, match="at most 4 booleans"):
        index.search(EAST, 1, np.ones(5, dtype=bool))


def test_meaning_and_word_are_fused() -> None:
    index = live()
    hits = index.search_both(["rain hat"], EAST, 3)
    # i2 is third by meaning and first by word, i0 first by meaning only: 1/63 + 1/61 > 1/61.
    assert hits.rows.tolist() == [[2, 0, 1]]
    np.testing.assert_allclose(hits.scores[0], [1 / 63 + 1 / 61, 1 / 61, 1 / 62], rtol=1e-5)


def test_wrong_changes_change_nothing(tmp_path: Path) -> None:
    index = live(tmp_path / "changes")
    with pytest.raises(InputError, match="'nobody' is not in the index"):
        index.remove(["i0", "nobody"])
    with pytest.raises(InputError, match="Different item ids"):
        index.upsert(["a", "a"], ["", ""], PLANE[:2])
    with pytest.raises(InputError, match=r"shape \(n, 2\)"):
        index.upsert(["a"], [""], np.zeros((1, 3), dtype=np.float32))
    assert found(index) == found(live(tmp_path / "changes")) == ["i0", "i1", "i2"]


def test_changes_survive_a_restart_and_a_torn_last_record(tmp_path: Path) -> None:
    path = tmp_path / "changes"
    index = live(path)
    index.upsert(["new"], ["red umbrella"], np.array([[0.9, 0.1]], dtype=np.float32))
    index.remove(["i1"])
    whole = path.read_bytes()
    index.upsert(["late"], ["late item"], EAST)
    complete = path.read_bytes()
    assert found(live(path), 9) == found(index, 9)
    for end in range(len(whole), len(complete)):
        path.write_bytes(complete[:end])
        again = live(path)
        assert found(again) == ["i0", "new", "i2"]
    again.upsert(["other"], ["another"], EAST)
    assert "other" in found(live(path))


def test_a_journal_that_repeats_itself_is_shortened_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "changes"
    index = live(path)
    for _ in range(10):
        index.upsert(["new", "i1"], ["red umbrella", "blue boot"], PLANE[:2])
        index.remove(["new", "i0"] if index.row("i0") is not None else ["new"])
    index.upsert(["new"], ["red umbrella"], EAST)
    long = path.stat().st_size
    expected = found(index)
    for _ in range(3):
        again = live(path)
        assert found(again) == expected == ["new", "i1", "i2"]
        assert by_word(again, "umbrella") == ["new"]
        assert again.row("i0") is None
        assert path.stat().st_size < long / 5
    again.remove(["i2"])
    index.upsert(["late"], ["late item"], EAST)  # who opened it before the shortening goes on
    assert set(found(live(path))) == {"new", "late", "i1"}


def test_a_short_journal_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "changes"
    live(path).upsert(["new"], ["red umbrella"], EAST)
    whole = path.read_bytes()
    live(path)
    assert path.read_bytes() == whole


def test_a_journal_of_another_embedder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "changes"
    live(path).upsert(["new"], ["text"], EAST)
    wide = base_of(np.eye(3, dtype=np.float32))
    with pytest.raises(ForetasteError, match="does not fit"):
        LiveIndex(wide, TEXTS, Journal(path))


CHANGES = st.lists(
    st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, 9), st.integers(0, 999)),
    max_size=25,
)


@given(changes=CHANGES, seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_after_any_changes_it_equals_a_fresh_index(
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[str, int, int]],
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(5, 4)).astype(np.float32)
    path = tmp_path_factory.mktemp("live") / "changes"
    index = LiveIndex(base_of(vectors), [""] * 5, Journal(path))
    truth = {f"i{row}": vector for row, vector in enumerate(vectors)}
    for what, number, new_seed in changes:
        item_id = f"i{number}"
        if what == "add":
            vector = np.random.default_rng(new_seed).normal(size=4).astype(np.float32)
            index.upsert([item_id], [""], vector[None])
            truth[item_id] = vector
        elif item_id in truth:
            index.remove([item_id])
            del truth[item_id]
    queries = random.normal(size=(3, 4)).astype(np.float32)
    for one in (index, LiveIndex(base_of(vectors), [""] * 5, Journal(path))):
        hits = one.search(queries, 12)
        for query, rows, scores in zip(queries, hits.rows, hits.scores, strict=True):
            expected = {item_id: float(query @ vector) for item_id, vector in truth.items()}
            got = {
                one.item_ids[row]: float(score)
                for row, score in zip(rows, scores, strict=True)
                if row >= 0
            }
            assert got == pytest.approx(expected, abs=1e-4)
            assert (np.diff(scores[: len(got)]) <= 0).all()


def test_searches_see_whole_changes_only() -> None:
    """While a writer moves a pair of items together, no reader finds them apart."""
    index = live()
    stop = threading.Event()
    faults: list[list[str]] = []

    def read() -> None:
        while not stop.is_set():
            pair = {"a", "b"} & set(found(index, 9))
            if len(pair) == 1:
                faults.append(sorted(pair))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for _ in range(200):
        index.upsert(["a", "b"], ["", ""], PLANE[:2])
        index.remove(["a", "b"])
    stop.set()
    for reader in readers:
        reader.join()
    assert faults == []
