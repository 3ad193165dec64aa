"""Tables of labels: columns by flags, scales of numbers and words, turns, pairs, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from foretaste.data.errors import InputError
from foretaste.judge.people.labels import Columns, joined, read_labels, text_of

ROWS = {
    "query": ["mug", "mug", "lamp", "lamp", "lamp"],
    "title": ["red mug", "bag", "old lamp", "mug", None],
    "text": ["for tea", "", "bright", "", ""],
    "final": [3, 0, 3, 1, None],
    "r1": [3, 0, 2, None, 0],
    "r2": [3, 1, 3, 1, 0],
}


def _file(folder: Path, rows: dict, name: str = "people.parquet") -> Path:
    path = folder / name
    table = pl.DataFrame(rows, strict=False)
    if name.endswith(".csv"):
        table.write_csv(path)
    elif name.endswith(".jsonl"):
        table.write_ndjson(path)
    else:
        table.write_parquet(path)
    return path


COLUMNS = Columns("query", ("title", "text"), "final", raters=("r1", "r2"))


@pytest.mark.parametrize("name", ["people.parquet", "people.csv", "people.jsonl"])
def test_every_form_reads_alike(tmp_path: Path, name: str) -> None:
    labels = read_labels(_file(tmp_path, ROWS, name), COLUMNS)
    assert len(labels) == 4  # a row without a label is no row
    assert labels.answers[0] == ("red mug", "for tea")
    assert labels.groups.tolist() == [1, 1, 0, 0]  # the query, when no column groups
    assert labels.scale.tolist() == [0, 1, 3]
    assert labels.words == ("0", "1", "3")
    assert (labels.positive, labels.good.tolist()) == (3, [True, False, True, False])
    assert labels.levels.tolist() == [2, 0, 2, 1]
    assert np.isnan(labels.raters[3, 0])
    assert labels.take(labels.good).ids == ["0", "2"]


def test_words_have_an_order(tmp_path: Path) -> None:
    rows = {"c": ["a", "b"], "t": ["x", "y"], "l": ["Good", "bad"]}
    path = _file(tmp_path, rows)
    labels = read_labels(path, Columns("c", ("t",), "l"), levels=("bad", "ok", "good"))
    assert labels.labels.tolist() == [2, 0]
    assert labels.words == ("bad", "ok", "good")
    with pytest.raises(InputError, match="--levels"):
        read_labels(path, Columns("c", ("t",), "l"))
    with pytest.raises(InputError, match="'Good'"):
        read_labels(path, Columns("c", ("t",), "l"), levels=("bad", "best"))


def test_a_fine_scale_is_cut_into_five(tmp_path: Path) -> None:
    rows = {"c": list("ab") * 10, "t": ["x"] * 20, "l": np.linspace(0, 1, 20).tolist()}
    labels = read_labels(_file(tmp_path, rows), Columns("c", ("t",), "l"))
    assert labels.scale == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    assert labels.good.sum() == 6


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (["A", "B", "tie"], [1, 0, 0.5]),
        ([1, 2, 1], [1, 0, 1]),
        ([1, -1, 0], [1, 0, 0.5]),
        (["model_a", "model_b", "tie"], [1, 0, 0.5]),
        ([True, False, True], [1, 0, 1]),
        (["1", "2", "1"], [1, 0, 1]),
    ],
)
def test_a_pair_says_which_is_better(tmp_path: Path, said: list, meant: list) -> None:
    rows = {"c": ["q", "r", "s"], "a": ["x"] * 3, "b": ["y"] * 3, "l": said}
    labels = read_labels(_file(tmp_path, rows), Columns("c", ("a",), "l", other=("b",)))
    assert labels.task == "pairwise"
    assert labels.labels.tolist() == meant
    assert labels.words == ("second", "tie", "first")


def test_turns_of_a_conversation_are_lines() -> None:
    turns = [{"role": "user", "content": "a film?"}, {"role": "assistant", "content": "Heat"}]
    assert text_of(turns) == "user: a film?\nassistant: Heat"
    assert text_of(["one", None, "two"]) == "one\n\ntwo"
    assert text_of(None) == ""
    assert joined(("Red mug.", "", "For tea")) == "Red mug. For tea"


@pytest.mark.parametrize(
    ("columns", "more", "sentence"),
    [
        (Columns("nothing", ("title",), "final"), {}, "no column 'nothing'"),
        (Columns("query", ("title",), "title"), {}, "no number"),
        (Columns("query", ("title",), "final", other=("title", "text")), {}, "same fields"),
        (Columns("query", ("title",), "final", id="query"), {}, "once"),
        (Columns("query", ("title",), "final"), {"positive": 9.0}, "--positive"),
        (Columns("query", ("title",), "final"), {"limit": 1}, "Two or more"),
    ],
)
def test_a_wrong_table_is_one_sentence(
    tmp_path: Path, columns: Columns, more: dict, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        read_labels(_file(tmp_path, ROWS), columns, **more)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was expected"):
        read_labels(tmp_path / "no.parquet", COLUMNS)
    (tmp_path / "bad.parquet").write_text("no table")
    with pytest.raises(InputError, match="cannot be read"):
        read_labels(tmp_path / "bad.parquet", COLUMNS)
