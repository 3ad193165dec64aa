"""`foretaste recommend --all`: partitions, one row a user, killed and gone on with; here and on Ray."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from foretaste.app.cli import cli
from foretaste.app.fleet.config import placed
from foretaste.app.fleet.people import parted, partition_of, usual_partitions
from foretaste.data.errors import InputError

SHOP = runpy.run_path(str(Path(__file__).parent / "test_recommend.py"))
USERS = [f"u{number}" for number in range(12)]


@pytest.fixture
def shop(home: Path, tmp_path: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small shop, imported by the command."""
    for name, text in (("items", SHOP["ITEMS"]), ("interactions", SHOP["EVENTS"])):
        (tmp_path / f"{name}.csv").write_text(text)
    files = [f"--{one}={tmp_path / one}.csv" for one in ("items", "interactions")]
    done = CliRunner().invoke(cli, ["data", "import", *files, "--name", "shop"])
    assert done.exit_code == 0, done.output
    monkeypatch.setattr("foretaste.agents.retrieval.tools.load_embedder", lambda name: embedder)
    return "shop"


def _all(out: Path, *words: str) -> Any:
    call = ["recommend", "--all", "--dataset", "shop", "--engine", "local", "--out", str(out)]
    return CliRunner().invoke(cli, [*call, "--n", "3", "--json", "-", *words])


def _rows(out: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(out / "part-*.parquet").sort("user_id").to_dicts()


def test_users_keep_their_partition() -> None:
    assert [partition_of(user, 4) for user in ("ann", "bob", "cat")] == [1, 2, 3]
    assert parted(["ann", "bob", "cat"], 2) == {0: ["bob"], 1: ["ann", "cat"]}
    assert [usual_partitions(users) for users in (1, 5_000, 10**8)] == [8, 10, 10_000]


@given(st.sets(st.text(max_size=5)), st.integers(1, 40))
def test_each_user_is_in_one_partition(users: set[str], partitions: int) -> None:
    parts = parted(sorted(users), partitions)
    assert sorted(user for own in parts.values() for user in own) == sorted(users)
    assert all(0 <= part < partitions and own for part, own in parts.items())


def test_the_model_is_named_once() -> None:
    assert placed("local", "vllm", "none") == ("local", "vllm")
    with pytest.raises(InputError, match="--llm"):
        placed("transformers", "vllm", "none")


def test_everybody_has_one_row_and_a_second_call_makes_none(shop: str, tmp_path: Path) -> None:
    out = tmp_path / "rows"
    done = _all(out, "--partitions", "3")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["users"], figures["failed"], figures["made_now"]) == (12, 0, 12)
    rows = _rows(out)
    assert [row["user_id"] for row in rows] == sorted(USERS)
    first = rows[0]
    assert [one["rank"] for one in first["recommendations"]] == [1, 2, 3]
    assert first["recommendations"][0]["item_id"] == "a4"
    assert [one["item_id"] for one in first["history"]] == ["a1", "a2", "a3"]
    files = {one.name: one.stat().st_mtime_ns for one in out.glob("part-*")}
    for name in files:
        users = pl.read_parquet(out / name)["user_id"].to_list()
        assert {partition_of(user, 3) for user in users} == {int(name[5:10])}
        assert users == sorted(users)
    again = json.loads(_all(out, "--partitions", "3").stdout.splitlines()[-1])
    assert again["made_now"] == 0
    assert again["users"] == 12
    assert {one.name: one.stat().st_mtime_ns for one in out.glob("part-*")} == files


def test_an_altered_file_is_made_again_and_other_calls_are_refused(
    shop: str, tmp_path: Path
) -> None:
    out = tmp_path / "rows"
    assert _all(out, "--partitions", "2").exit_code == 0
    before, manifest = _rows(out), (out / "manifest.jsonl").read_text()
    file = next(out.glob("part-*"))
    file.write_bytes(file.read_bytes()[:-9])
    done = _all(out, "--partitions", "2")
    assert done.exit_code == 0, done.output
    assert "altered" in done.stderr
    assert _rows(out) == before
    assert (out / "manifest.jsonl").read_text() == manifest, "the same file has the same line"
    assert "begun with another partitions" in str(_all(out, "--partitions", "3").exception)
    assert "another request" in str(_all(out, "--partitions", "2", "--seed", "5").exception)


def test_who_fails_keeps_a_row_with_the_reason(shop: str, tmp_path: Path) -> None:
    (tmp_path / "who").write_text("u1\nnobody\n\nu0\nu1\n")
    done = _all(tmp_path / "rows", "--users", str(tmp_path / "who"))
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["failed"] == 1
    rows = {row["user_id"]: row for row in _rows(tmp_path / "rows")}
    assert list(rows) == ["nobody", "u0", "u1"]
    assert "'nobody' is not in shop" in rows["nobody"]["error"]
    assert rows["nobody"]["recommendations"] == []
    assert rows["u0"]["error"] is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--all", "--engine", "local"], "give --out DIR"),
        (["--all", "--out", "x", "--user", "u0"], "about one person"),
        (["--user", "u0", "--partitions", "3"], "stand beside --all"),
        (["--users", "missing.txt", "--engine", "local", "--out", "x"], "one user id a line"),
        (["--all", "--engine", "local", "--out", "x", "--set", "fleet.cpus=0"], "fleet.cpus"),
        (["--all", "--engine", "cloud", "--out", "x"], "--engine expects"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    shop: str, refused: Callable[..., tuple[object, str]], words: list[str], sentence: str
) -> None:
    code, said = refused("recommend", "--dataset", "shop", *words)
    assert code == 2
    assert sentence in said
    assert len(said.splitlines()) == 1


@pytest.mark.model
def test_ray_makes_the_same_rows(shop: str, tmp_path: Path, bundled: None) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    words = ["--partitions", "3", "--set", "fleet.workers=1", "--set", "fleet.most_workers=1"]
    assert _all(here, *words).exit_code == 0
    done = _all(there, *words, "--engine", "ray")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["engine"] == "ray"
    assert _rows(there) == _rows(here)
    assert {one.name for one in there.iterdir()} == {one.name for one in here.iterdir()}
