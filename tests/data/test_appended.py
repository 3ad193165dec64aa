"""Lines that long work adds to: each there once, none believed that was altered since."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretaste.data.appended import appended, read_line, with_sum
from foretaste.data.errors import InputError

WORDS = [{"id": "a", "said": "gut – ja"}, {"id": "b", "said": 'quo"te'}, {"id": "c", "said": ""}]


def written(path: Path, plain: bool = False) -> Path:
    with appended(path, "id", dict, plain) as kept:
        kept.add(*WORDS)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    with appended(path, "id", dict) as kept:
        return list(kept.done.values())


def test_a_line_ends_with_a_checksum_that_is_no_part_of_what_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "lines.jsonl")
    first = path.read_text().splitlines()[0]
    assert first.startswith('{"id":"a","said":"gut – ja","line_sha256":"')
    assert json.loads(first)["said"] == "gut – ja"
    assert read(path) == WORDS
    bare = written(tmp_path / "plain.jsonl", plain=True)
    assert "sha256" not in bare.read_text()
    assert read(bare) == WORDS
    assert read_line(with_sum('{"a":[1]}').encode()) == {"a": [1]}


def test_an_altered_line_is_named_and_made_again_when_it_was_deleted(tmp_path: Path) -> None:
    path = written(tmp_path / "lines.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1].replace("te", "ta") + lines[2])
    with pytest.raises(InputError, match=r"line 2, was altered .* delete that line"):
        read(path)
    path.write_text(lines[0] + lines[2])
    with appended(path, "id", dict) as kept:
        assert set(kept.done) == {"a", "c"}
        kept.add(WORDS[1])
    assert {one["id"] for one in read(path)} == {"a", "b", "c"}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_bit_is_turned_round_nothing_false_is_read(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "lines.jsonl")
        held = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(held) - 1))
        held[place] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(held)
        try:
            found = read(path)
        except InputError:
            return
    for one in found:
        assert {key: one[key] for key in ("id", "said")} in WORDS


@given(st.integers(0, 200))
def test_wherever_it_is_cut_off_whole_lines_are_read(place: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "lines.jsonl")
        whole = path.read_bytes()
        path.write_bytes(whole[:place])
        assert read(path) == WORDS[: whole[:place].count(b"\n")]
