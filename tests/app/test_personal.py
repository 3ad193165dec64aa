"""Everything about one user: found in every store, exported as one object, gone from every file."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from foretaste.agents.contexts.profile_store import stored_profiles
from foretaste.app.cli import cli
from foretaste.data.ledger import Ledger, ledger_path
from foretaste.data.personal import about
from foretaste.data.store import load_dataset, load_quarantine, save_dataset

MARK = "marker-4711"  # the user's id, and part of everything they said
ROW = {"messages": [{"role": "user", "content": f"{MARK} likes tea"}]}


def _run(*words: str) -> Any:
    return CliRunner().invoke(cli, ["user", *words, "--dataset", "shop"])


@pytest.fixture
def shop(home: Path, tmp_path: Path) -> Path:
    """A home in which every store knows the user, and somebody else beside them."""
    items = "item_id,title\n" + "".join(f"k{n},Kettle {n}\n" for n in range(5))
    events = f"user_id,item_id,timestamp,event,query\n{MARK},k0,100,purchase,\n"
    events += f"{MARK},,101,search,{MARK} teapot\n{MARK},none,102,purchase,\nbob,k1,100,purchase,\n"
    (tmp_path / "items.csv").write_text(items)
    (tmp_path / "events.csv").write_text(events)
    (tmp_path / "users.csv").write_text(f"user_id,city\n{MARK},{MARK}ville\nbob,Bern\n")
    words = [f"--{name}={tmp_path / name}.csv" for name in ("items", "users")]
    words += [
        f"--interactions={tmp_path / 'events.csv'}",
        "--name",
        "shop",
        "--max-bad-share",
        "0.5",
    ]
    done = CliRunner().invoke(cli, ["data", "import", *words])
    assert done.exit_code == 0, done.output
    _serve_them()
    profiles = stored_profiles("shop").store
    assert profiles is not None
    profiles.put(MARK, json.dumps({"events": 3, "note": MARK}))
    profiles.put("bob", "{}")
    profiles.close()
    _train_on_them(home)
    return home


def _serve_them() -> None:
    ledger = Ledger(ledger_path("shop"))
    for user in (MARK, "bob"):
        page = [[f"r-{user}", 1.0, user, json.dumps([{"item_id": "k1", "propensity": 1.0}])]]
        ledger.write(("INSERT INTO exposures VALUES (?, ?, ?, ?)", page))
        thumb = [[f"r-{user}", user, "k1", 2.0, 1, f"as {user} said"]]
        ledger.write(("INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?)", thumb))
        sql = "INSERT INTO interactions (at, user_id, timestamp, event, query) VALUES (?,?,?,?,?)"
        ledger.write((sql, [[3.0, user, 3, "search", f"{user} kettle"]])).result()
    ledger.close()


def _train_on_them(home: Path) -> None:
    """Files of the kinds that trainings and judgements leave behind."""
    rows = [{"user": user, "agent": "expert"} | ROW for user in (MARK, "bob")]
    rows[1]["messages"] = [{"role": "user", "content": "bob likes tea"}]
    folder = home / "examples" / "shop"
    folder.mkdir(parents=True)
    pl.DataFrame(rows).write_parquet(folder / "rows.parquet")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    card = {"dataset": "shop", "examples": {"expert": [row["messages"] for row in rows]}}
    (folder / "card.json").write_text(json.dumps(card))
    run = home / "runs" / "flywheel" / "shop-12345678"
    run.mkdir(parents=True)
    cases = [{"id": "0", "group": user, "context": f"{user} chose"} for user in (MARK, "bob")]
    (run / "cases.jsonl").write_text("".join(json.dumps(one) + "\n" for one in cases) + '{"id": "1')
    (run / "people.json").write_text(json.dumps({"cases": cases}))
    pl.DataFrame({"user_id": [MARK, "bob"], "tags": ["a", "b"]}).write_csv(run / "people.csv")
    intent = home / "cache" / "intent"
    intent.mkdir(parents=True)
    lines = [{"case": f"{user} explained", "tags": [f"for {user}"]} for user in (MARK, "bob")]
    (intent / "x.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    (home / "towers" / "shop").mkdir(parents=True)
    (home / "cache" / "teacher").mkdir(parents=True)
    (home / "cache" / "teacher" / "m.json").write_text('{"0f": {"text": "an answer"}}')


def _texts(home: Path) -> Iterator[tuple[str, str]]:
    """Every file below a home as text, tables decoded."""
    for path in sorted(home.rglob("*")):
        if path.is_file():
            raw = path.read_bytes().decode("utf-8", "replace")
            if path.suffix == ".parquet":
                raw += pl.read_parquet(path).write_ndjson()
            yield str(path.relative_to(home)), raw


def _naming(home: Path, word: str) -> set[str]:
    return {name.split("/")[0] for name, text in _texts(home) if word in text}


def test_everything_is_exported(shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.json"
    done = _run("export", MARK, "--out", str(out))
    assert done.exit_code == 0, done.output
    told = json.loads(out.read_text())
    assert told["imported"]["users"][0]["attributes"] == [{"name": "city", "value": f"{MARK}ville"}]
    assert [row["item_id"] for row in told["imported"]["interactions"]] == ["k0", None]
    assert len(told["imported"]["quarantine"]) == 1
    assert told["live"]["feedback"][0]["reason"] == f"as {MARK} said"
    assert told["live"]["interactions"][0]["query"] == f"{MARK} kettle"
    assert told["live"]["answers"][0]["page"][0]["item_id"] == "k1"
    assert told["profile"]["note"] == MARK
    assert set(told["files"]) == {
        *("examples/shop/rows.jsonl", "examples/shop/rows.parquet", "cache/intent/x.jsonl"),
        *(f"runs/flywheel/shop-12345678/{name}" for name in ("cases.jsonl", "people.json")),
        "runs/flywheel/shop-12345678/people.csv",
    }
    assert "bob" not in out.read_text()


def test_after_deletion_no_file_of_the_home_has_the_marker(shop: Path) -> None:
    stores = {"datasets", "live", "profiles", "examples", "runs", "cache"}
    assert _naming(shop, MARK) == stores
    before = load_dataset("shop").info
    done = _run("delete", MARK, "--json", "-")
    assert done.exit_code == 0, done.output
    assert _naming(shop, MARK) == set()
    told = json.loads(done.stdout)
    assert told["imported"] == {"users": 1, "interactions": 2, "quarantine": 1}
    assert told["removed"] == {
        **{f"live {kind}": 1 for kind in ("interactions", "feedback", "answers")},
        "profile": 1,
        "runs": 0,
    }
    assert sum(told["files"].values()) == 6
    assert told["trained_on"] == ["towers/shop", "runs/flywheel/shop-12345678"]
    assert told["nameless"] == ["cache/teacher"]
    after = load_dataset("shop")
    assert after.info.fingerprint != before.fingerprint
    assert after.info.catalogue_fingerprint == before.catalogue_fingerprint
    assert (after.interactions.height, after.users.height) == (1, 1)
    assert load_quarantine("shop").is_empty()
    assert "of bob" not in done.stderr
    assert _naming(shop, "bob") == stores, "what is about others stays"


def test_a_second_deletion_finds_nothing_and_an_export_says_so(shop: Path) -> None:
    assert _run("delete", MARK, "--caches").exit_code == 0
    assert not (shop / "cache" / "teacher").exists()
    again = json.loads(_run("delete", MARK, "--json", "-").stdout)
    assert not any((again["removed"] | again["imported"]).values())
    assert not again["files"]
    assert "Nothing is kept" in str(_run("export", MARK, "--out", "x.json").exception)


def test_a_file_that_cannot_be_read_is_said(
    shop: Path, refused: Callable[..., tuple[object, str]]
) -> None:
    (shop / "judged").mkdir()
    (shop / "judged" / "x.jsonl").write_text("{\n{}\n")
    code, said = refused("user", "delete", MARK, "--dataset", "shop")
    assert code == 1
    assert "nobody knows whether it is about this user" in said


def test_a_running_server_is_asked_instead(
    shop: Path, refused: Callable[..., tuple[object, str]]
) -> None:
    with closing(Ledger(ledger_path("shop"))):
        code, said = refused("user", "delete", MARK, "--dataset", "shop")
    assert code == 2
    assert "served by another process" in said
    assert MARK in load_dataset("shop").user_ids


def test_a_row_is_about_whom_it_names() -> None:
    assert about({"user": MARK}, MARK)
    assert about({"case": f"{MARK} explained"}, MARK)
    assert not about({"user": 4711, "text": MARK}, MARK)
    assert not about([MARK], MARK)


def test_the_api_deletes_runs_and_imported_rows_too(serve: Any, home: Path) -> None:
    server = serve()
    dataset = server.service.live.tools.dataset.base
    save_dataset(replace(dataset, users=dataset.users.drop_nulls()))
    made = server.recommend(user_id="ann", n=2, run_id="monday")
    item = made["recommendations"][0]["item_id"]
    thumb = {"request_id": made["request_id"], "user_id": "ann", "item_id": item, "thumb": "up"}
    thumb["reason"] = f"{MARK} again"
    server.call("POST", "/v1/feedback", {"feedback": [thumb]})
    told = server.call("GET", "/v1/users/ann").json()
    assert told["runs"][0]["run"] == "monday"
    assert told["runs"][0]["state"]["request"]["user_id"] == "ann"
    assert told["feedback"][0]["reason"] == f"{MARK} again"
    answer = server.call("DELETE", "/v1/users/ann").json()
    assert answer["imported"] == {"users": 1, "interactions": 3, "quarantine": 0}
    assert not _naming(home, MARK)
    assert "ann" not in load_dataset("films").user_ids
    path = home / "runs" / "films" / "checkpoints.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)
    assert server.call("GET", "/v1/users/ann").status_code == 404
    shutil.rmtree(home / "datasets")
