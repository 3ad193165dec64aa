"""`foretaste profile` end to end, and what a server does to the profiles that it keeps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from foretaste.agents.contexts.profile_store import profile_path, stored_profiles
from foretaste.agents.online.live_dataset import user_hash
from foretaste.app.cli import cli
from foretaste.data.ledger import Ledger, ledger_path
from foretaste.data.store import load_dataset

ITEMS = "item_id,title,categories,brand\n" + "".join(
    f"k{n},Kettle {n} <b>,Kitchen|Kettles,Acme\nt{n},Tent {n},Outdoor|Tents,\n" for n in range(6)
)
EVENTS = "user_id,item_id,timestamp,event\n" + "".join(
    f"{user},{item},{1_600_000_000 + 86_400 * day},purchase\n"
    for user, items in (("ann", "k0 k1 k2 k3 t0 k1"), ("bob", "t1 t2"))
    for day, item in enumerate(items.split())
)


@pytest.fixture
def shop(home: Path, tmp_path: Path) -> str:
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "events.csv").write_text(EVENTS)
    files = ["--items", str(tmp_path / "items.csv"), "--interactions", str(tmp_path / "events.csv")]
    done = CliRunner().invoke(cli, ["data", "import", *files, "--name", "shop"])
    assert done.exit_code == 0, done.output
    return "shop"


def _run(*words: str) -> Any:
    done = CliRunner().invoke(cli, ["profile", *words, "--dataset", "shop", "--json", "-"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_profile_is_shown_with_its_evidence(shop: str) -> None:
    shown = _run("show", "ann")
    assert shown["events"] == 6
    assert shown["until"] == "2020-09-18"
    first = shown["profile"][0]
    assert first["text"] == "Kettles: 5 of 6 choices"
    assert first["evidence"] == ["k1", "k3", "k2", "k0"]
    assert first["titles"][0] == "Kettle 1 <b>"
    assert {one["key"] for one in shown["profile"]} == {
        *("interests", "exploration", "curiosity", "depth", "habits")
    }
    done = CliRunner().invoke(cli, ["profile", "show", "ann", "--dataset", shop])
    assert "Kettles: 5 of 6 choices\n    Kettle 1 ‹b›; Kettle 3 ‹b›; Kettle 2 ‹b›" in done.stdout


def test_a_deleted_profile_is_gone_until_it_is_made_anew(shop: str) -> None:
    _run("show", "ann")
    assert _run("delete", "ann")["deleted"]
    assert not _run("delete", "ann")["deleted"]
    assert stored_profiles(shop).kept(load_dataset(shop), "ann").events == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["show", "zoe", "--dataset", "shop"], "User 'zoe' is not in shop"),
        (["show", "ann", "--dataset", "nowhere"], "nowhere"),
        (["delete", "ann", "--dataset", "nowhere"], "nowhere"),
        (["show", "ann", "--dataset", "../shop"], "plain name"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    shop: str,
    words: list[str],
    sentence: str,
    refused: Callable[..., tuple[object, str]],
) -> None:
    code, said = refused("profile", *words)
    assert code == 2
    assert sentence in said
    assert said.count("\n") == 0


def test_a_damaged_file_is_one_sentence(
    shop: str, refused: Callable[..., tuple[object, str]]
) -> None:
    profile_path(shop).write_bytes(b"no database" * 200)
    code, said = refused("profile", "show", "ann", "--dataset", shop)
    assert code == 1
    assert "delete the file" in said


def test_a_recommendation_keeps_the_profile_and_knows_the_day(
    shop: str, embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foretaste.agents.retrieval.tools.load_embedder", lambda name: embedder)
    words = ["recommend", "--dataset", shop, "--user", "ann", "--engine", "none", "--n", "2"]
    none = CliRunner().invoke(cli, [*words, "--set", "agents.profile=false", "--json", "-"])
    assert none.exit_code == 0, none.output
    assert not profile_path(shop).exists()
    done = CliRunner().invoke(cli, [*words, "--set", "environment.today=2026-12-24", "--json", "-"])
    assert done.exit_code == 0, done.output
    kept = stored_profiles(shop).kept(load_dataset(shop), "ann")
    assert kept.events == 6
    wrong = CliRunner().invoke(cli, [*words, "--set", "environment.country=Atlantis"])
    assert wrong.exit_code != 0
    assert "environment.country" in str(wrong.exception)


def test_nothing_is_shown_of_a_user_who_was_deleted(shop: str) -> None:
    ledger = Ledger(ledger_path(shop))
    ledger.write(("INSERT INTO forgotten VALUES (?, ?)", [[user_hash("ann"), 0.0]])).result()
    ledger.close()
    done = CliRunner().invoke(cli, ["profile", "show", "ann", "--dataset", shop])
    assert "was deleted" in str(done.exception)
    assert _run("show", "bob")["events"] == 2
