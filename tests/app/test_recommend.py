"""`foretaste recommend` end to end: a tiny import, the real graph, rule and index, no model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from foretaste.app.cli import cli

ITEMS = """item_id,title,categories
a1,Red Kettle,Kitchen
a2,Blue Kettle,Kitchen
a3,Steel Pan,Kitchen|Cookware
a4,Iron Pan,Kitchen|Cookware
b1,Trail Tent,Outdoor
b2,Winter Tent,Outdoor
b3,Trail Shoes,Outdoor|Shoes
b4,Winter Boots,Outdoor|Shoes
"""
EVENTS = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},{item},{1_600_000_000 + 86_400 * day}\n"
    for user, items in enumerate(
        [["a1", "a2", "a3"], ["a1", "a3", "a4"], ["b1", "b2", "b3"], ["b1", "b3", "b4"]] * 3
    )
    for day, item in enumerate(items)
)


@pytest.fixture
def shop(home: Path, tmp_path: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small shop, imported by the command."""
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "events.csv").write_text(EVENTS)
    files = ["--items", str(tmp_path / "items.csv"), "--interactions", str(tmp_path / "events.csv")]
    done = CliRunner().invoke(cli, ["data", "import", *files, "--name", "shop"])
    assert done.exit_code == 0, done.output
    monkeypatch.setattr("foretaste.agents.retrieval.tools.load_embedder", lambda name: embedder)
    return "shop"


def _call(*words: str) -> Any:
    return CliRunner().invoke(cli, ["recommend", "--engine", "none", *words])


def test_json_on_standard_output_is_the_whole_result(shop: str, tmp_path: Path) -> None:
    done = _call("--dataset", shop, "--user", "u0", "--n", "3", "--json", "-")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert [one["item_id"] for one in result["history"]] == ["a1", "a2", "a3"]
    page = result["recommendations"]
    assert len(page) == 3
    assert page[0]["item_id"] == "a4", "what comes with kettles and pans"
    assert set(page[0]) >= {"item_id", "title", "score", "channel", "explanation"}
    assert result["fallbacks"]["planner"]["reasons"] == ["no model was asked"]


def test_the_terminal_shows_every_step_and_out_keeps_the_result(shop: str, tmp_path: Path) -> None:
    done = _call("--dataset", shop, "--user", "u0", "--out", str(tmp_path / "run"))
    assert done.exit_code == 0, done.output
    for word in ("Red Kettle", "Planner", "Expert for", "Arbiter", "Recommendations", "Cost"):
        assert word in done.output
    assert json.loads((tmp_path / "run" / "result.json").read_text())["user_id"] == "u0"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--user", "nobody"], "User 'nobody' is not in shop"),
        (["--history", "a1,zz"], "Item 'zz' is not in the catalogue"),
        ([], "give --user, --history or --wish"),
        (["--user", "u0", "--history", "a1"], "exclude each other"),
        (["--user", "u0", "--set", "agents.kept=many"], "agents.kept"),
        (["--user", "u0", "--set", "agents.colour=1"], "no 'colour'"),
        (["--user", "u0", "--set", "nonsense"], "agents.FIELD=VALUE"),
        (["--user", "u0", "--category", "Opera"], "passes the filters"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_exit_code_2(
    shop: str,
    words: list[str],
    sentence: str,
    refused: Callable[..., tuple[object, str]],
) -> None:
    code, said = refused("recommend", "--engine", "none", "--dataset", shop, *words)
    assert code == 2
    assert sentence in said
    assert said.count("\n") == 0, said


def test_wish_category_and_inline_history(shop: str) -> None:
    done = _call(
        "--dataset",
        shop,
        "--history",
        "b1",
        "--wish",
        "winter",
        "--category",
        "outdoor",
        "--json",
        "-",
    )
    result = json.loads(done.stdout)
    assert {one["item_id"] for one in result["recommendations"]} == {"b2", "b3", "b4"}
    assert result["recommendations"][0]["item_id"] in {"b2", "b4"}
