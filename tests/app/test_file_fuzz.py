"""Files that nobody wrote: whatever stands in them, they are read or refused with one sentence."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from foretaste.data.errors import ForetasteError
from foretaste.data.files import read_json
from foretaste.data.importing import Files, import_dataset
from foretaste.data.mapping import read_mapping
from foretaste.data.readers import SUFFIXES
from foretaste.judge.batch.rows import rows_of
from foretaste.judge.rubric import load_rubric
from foretaste.serving.adapters import SETTINGS, WEIGHTS, check_adapter
from foretaste.serving.batch import Requests
from foretaste.serving.index.journal import Journal
from foretaste.serving.shipped import RECORD, adapter_folder
from foretaste.serving.vector_cache import VectorCache

quick = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=8), one, max_size=3),
    max_leaves=8,
)
_NAMES = st.sampled_from(["item_id", "title", "categories", "price", "timestamp", "user_id", "id"])
_ROWS = st.lists(st.dictionaries(_NAMES, _JSON, max_size=4), max_size=5)
_LINES = _ROWS.map(lambda rows: "\n".join(map(json.dumps, rows)).encode())
_CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
_TABLES = st.lists(st.lists(_CELLS, min_size=1, max_size=4), max_size=6).map(
    lambda rows: "\n".join(",".join(row) for row in [["item_id", "title"], *rows]).encode()
)
_TOML = st.text(st.sampled_from("[]={}\"'\n.,# abitems_idtargetname019-"), max_size=60)
CONTENT = st.one_of(
    st.binary(max_size=200), _LINES, _TABLES, _JSON.map(lambda v: json.dumps(v).encode())
)


def _tried(read: Callable[[], Any]) -> None:
    """Read, or refuse with a sentence of ours."""
    with suppress(ForetasteError):
        read()


@quick
@given(CONTENT, st.sampled_from(SUFFIXES))
def test_a_table_of_anything(home: Path, tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"items{suffix}"
    path.write_bytes(content)
    _tried(lambda: import_dataset("fuzz", Files(items=path)))


@quick
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=8))
def test_a_parquet_file_with_other_bytes_in_it(
    home: Path, tmp_path: Path, place: int, other: bytes
) -> None:
    path = tmp_path / "items.parquet"
    pl.DataFrame({"item_id": ["a", "b"], "title": ["Red", "Blue"]}).write_parquet(path)
    held = bytearray(path.read_bytes())
    held[place % len(held) : place % len(held) + len(other)] = other
    path.write_bytes(held)
    _tried(lambda: import_dataset("fuzz", Files(items=path)))


@quick
@given(CONTENT)
def test_json_and_json_lines(tmp_path: Path, content: bytes) -> None:
    for name in ("a.json", "a.jsonl"):
        (tmp_path / name).write_bytes(content)
    _tried(lambda: read_json(tmp_path / "a.json"))
    _tried(lambda: list(rows_of(tmp_path / "a.json")))
    _tried(lambda: list(rows_of(tmp_path / "a.jsonl")))
    _tried(lambda: Requests(tmp_path / "a.jsonl"))


@quick
@given(st.one_of(_TOML.map(str.encode), st.binary(max_size=80)))
def test_settings_in_toml(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    _tried(lambda: load_rubric(str(path)))
    _tried(lambda: read_mapping(file=path))


@quick
@given(_JSON, st.binary(max_size=64), st.integers(0, 10**6))
def test_an_adapter_of_anything(tmp_path: Path, said: Any, other: bytes, place: int) -> None:
    save_file({"a": np.zeros(4, dtype=np.float32)}, tmp_path / WEIGHTS)
    held = bytearray((tmp_path / WEIGHTS).read_bytes())
    held[place % len(held) : place % len(held) + len(other)] = other
    (tmp_path / WEIGHTS).write_bytes(held)
    (tmp_path / SETTINGS).write_text(json.dumps(said))
    _tried(lambda: check_adapter(tmp_path, 64))


@quick
@given(st.lists(st.binary(min_size=1, max_size=20), max_size=4), st.binary(max_size=40))
def test_a_journal_with_another_end_keeps_its_beginning(records: list[bytes], other: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "changes.log"
        journal = Journal(path)
        for one in records:
            journal.append(one)
        with path.open("ab") as file:
            file.write(other)
        assert list(Journal(path))[: len(records)] == records


@quick
@given(st.integers(0, 10**6), st.integers(0, 7), st.sampled_from(["keys.u64", "vectors.f32"]))
def test_a_bit_of_the_vector_cache_is_noticed(place: int, bit: int, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        vectors = np.eye(3, dtype=np.float32)
        VectorCache(Path(folder), 3).put(["a", "b", "c"], vectors)
        path = Path(folder) / name
        held = bytearray(path.read_bytes())
        held[place % len(held)] ^= 1 << bit
        path.write_bytes(held)
        made, found = VectorCache(Path(folder), 3).get(["a", "b", "c"])
        assert 2 <= found.sum() <= 3
        assert (made[found] == vectors[found]).all()


@pytest.mark.parametrize("said", ["[]", "7", "{", "\x00"])
def test_a_damaged_record_of_an_adapter_is_one_sentence(tmp_path: Path, said: str) -> None:
    (tmp_path / WEIGHTS).write_bytes(b"")
    (tmp_path / RECORD).write_text(said)
    with pytest.raises(ForetasteError, match=r"should hold"):
        adapter_folder(str(tmp_path))


def test_pickles_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (tmp_path / WEIGHTS).write_bytes(b"")
    (tmp_path / SETTINGS).write_text("{}")
    with pytest.raises(ForetasteError, match="can run code"):
        check_adapter(tmp_path, 64)
