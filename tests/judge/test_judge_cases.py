"""Files as cases: tables by mapping, results of `recommend`, OpenAI batches; faults with their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from foretaste.data.errors import InputError
from foretaste.judge.batch.cases import (
    CaseFile,
    Columns,
    PairFile,
    PairOfFiles,
    checked,
    columns_of,
)

ROWS = [
    {"id": "1", "query": "red hat", "answer": "a hat\nin red", "country": "NL"},
    {"id": "2", "query": "blue hat", "answer": "a hat", "country": None},
]
RESULT: dict[str, Any] = {
    "user_id": "ann",
    "wish": "light",
    "history": [{"item_id": "h1", "title": "Heat", "categories": ["Crime"], "value": 5.0}],
    "personas": [{"name": "Crime", "description": "likes crime"}],
    "tags": [
        {"text": "crime thriller", "persona": 0, "kept": True, "proposed_by": "model"},
        {"text": "dropped one", "persona": 0, "kept": False, "proposed_by": "model"},
    ],
    "recommendations": [
        {"item_id": "i1", "title": "Ronin", "explanation": "As Heat.", "explained_by": "model",
         "channel": "tags"},
        {"item_id": "i2", "title": "Alien", "explanation": "", "explained_by": None,
         "channel": "fresh"},
    ],
}  # fmt: skip


def _write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_a_table_of_any_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in{suffix}"
    if suffix == ".jsonl":
        _write(path, ROWS)
    elif suffix == ".json":
        path.write_text(json.dumps(ROWS))
    else:
        frame = pl.DataFrame(ROWS)
        frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
    cases = list(CaseFile(path, "explanation", Columns(segments=("country",))))
    assert [one.id for one in cases] == ["1", "2"]
    assert cases[0].answer == ("a hat", "in red")
    assert cases[0].context == ("red hat",)
    assert [one.segments["country"] for one in cases] == ["NL", ""]


def test_columns_are_named_and_put_together(tmp_path: Path) -> None:
    row = {"nr": 7, "t": "Ronin", "b": "Frankenheimer", "said": ["one", "two"], "ids": "a, b"}
    path = _write(tmp_path / "in.jsonl", [row])
    flags = ["id=nr", "context=t,b", "answer=said", "items=ids"]
    (case,) = CaseFile(path, "list", columns_of(flags))
    assert (case.id, case.context) == ("7", ("Ronin", "Frankenheimer"))
    assert (case.answer, case.items) == (("one", "two"), ("a", "b"))


def test_results_of_recommend(tmp_path: Path) -> None:
    path = _write(tmp_path / "in.jsonl", [RESULT, RESULT])
    tags = list(CaseFile(path, "tag"))
    assert [one.id for one in tags] == ["ann/crime thriller", "ann#2/crime thriller"]
    assert tags[0].context == ("Wish: light", "Persona: Crime: likes crime")
    assert tags[0].history == ("Heat (Crime), view 5",)
    assert tags[0].segments == {"history": "under 5", "written by": "model"}
    sentences = list(CaseFile(path, "explanation"))
    assert [one.answer for one in sentences[:2]] == [("As Heat.",), ("",)]
    assert sentences[0].context[-1] == "Item: Ronin"
    assert [one.items for one in CaseFile(path, "item")][:2] == [("i1",), ("i2",)]
    (page, _) = CaseFile(path, "page")
    assert page.answer == ("Ronin: As Heat.", "Alien")
    assert (page.group, page.user_id, page.chosen) == ("ann", "ann", ("h1",))


def test_an_openai_batch(tmp_path: Path) -> None:
    body = {"choices": [{"message": {"content": "a thriller"}}]}
    out = _write(tmp_path / "out.jsonl", [{"custom_id": "x", "response": {"body": body}}])
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "Ronin?"}]
    asked = _write(tmp_path / "in.jsonl", [{"custom_id": "x", "body": {"messages": turns}}])
    (case,) = CaseFile(out, "explanation", requests=asked)
    assert (case.id, case.answer, case.context) == ("x", ("a thriller",), ("Ronin?",))


def test_pairs_of_a_table_and_of_two_files(tmp_path: Path) -> None:
    table = _write(tmp_path / "pairs.jsonl", [{"id": "1", "a": "x", "b": ["y", "z"]}])
    (pair,) = PairFile(table)
    assert (pair.first, pair.second) == (("x",), ("y", "z"))
    one = _write(tmp_path / "one.jsonl", [RESULT, RESULT | {"user_id": "bob"}])
    other = _write(
        tmp_path / "other.jsonl", [RESULT | {"recommendations": RESULT["recommendations"][1:]}]
    )
    (pair,) = PairOfFiles(one, other, "list")
    assert (pair.id, pair.first, pair.second) == ("ann", ("Ronin", "Alien"), ("Alien",))
    assert pair.history
    assert (pair.first_items, pair.second_items) == (("i1", "i2"), ("i2",))
    with pytest.raises(InputError, match="nobody in common"):
        list(PairOfFiles(_write(tmp_path / "x.jsonl", [RESULT | {"user_id": "x"}]), other, "list"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"id": "1", "answer": "x"}, {"id": "1", "answer": "y"}], "'1' comes twice"),
        ([{"id": "1", "said": "x"}], "row 1, has no answer; name its column"),
        ([{"custom_id": "1", "response": {"status_code": 500}}], "chat completion was expected"),
        ([RESULT | {"tags": [{"text": "x"}]}], "not as `foretaste recommend` prints it"),
        ([], "nothing to judge"),
        (["text"], "one JSON object a line"),
    ],
)
def test_what_cannot_be_judged_is_told_before_anything_is_spent(
    tmp_path: Path, rows: list[Any], said: str
) -> None:
    path = _write(tmp_path / "in.jsonl", rows)
    with pytest.raises(InputError, match=said):
        checked(CaseFile(path, "tag"))


def test_wrong_flags(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--map expects field=COLUMN"):
        columns_of(["colour=x"])
    path = _write(tmp_path / "in.jsonl", ROWS)
    with pytest.raises(InputError, match="no column 'nope'"):
        list(CaseFile(path, "tag", columns_of(["answer=nope"])))
    with pytest.raises(InputError, match="--segment"):
        list(CaseFile(path, "tag", Columns(segments=("nope",))))
    with pytest.raises(InputError, match="cannot be read"):
        list(CaseFile(tmp_path / "gone.jsonl", "tag"))
