"""`foretaste recommend --trace`, `--run-id` and `--mode`, and how a run looks on a terminal."""

from __future__ import annotations

import io
import json
import runpy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from foretaste.agents.running.trace import Span
from foretaste.app import recommending
from foretaste.app.cli import cli
from foretaste.app.show import Screen, show_trace
from foretaste.serving.engine_config import EngineConfig
from foretaste.serving.scripted_chat import ScriptedChat

SHOP = runpy.run_path(str(Path(__file__).parent / "test_recommend.py"))
shop = SHOP["shop"]
call: Callable[..., Any] = SHOP["_call"]


def test_trace_is_a_tree_on_standard_error_and_json_on_standard_output(shop: str) -> None:
    done = call("--dataset", shop, "--user", "u0", "--n", "3", "--trace", "--json", "-")
    assert done.exit_code == 0, done.output
    trace = json.loads(done.stdout)["trace"]
    names = [node["node"] for node in trace["nodes"]]
    assert names[0] == "context"
    assert {"planner", "expert", "arbiter", "retrieve", "rank", "explain"} <= set(names)
    assert "fallback: no model was asked" in done.stderr
    lines = [line for line in done.stderr.splitlines() if " ms, " in line]
    assert sum("planner: from" in line for line in lines) == 1
    assert len(lines) >= len(trace["nodes"]), "a line each, whatever the width"
    assert "\x1b" not in done.stderr, "plain where nobody looks"


def test_without_it_the_json_has_no_trace_and_the_screen_has_the_costs(shop: str) -> None:
    done = call("--dataset", shop, "--user", "u0", "--json", "-")
    assert "trace" not in json.loads(done.stdout)
    shown = call("--dataset", shop, "--user", "u0")
    cost = shown.stdout[shown.stdout.index("Cost") :]
    for word in ("seconds", "tokens in", "planner", "total"):
        assert word in cost


@pytest.mark.parametrize(
    ("mode", "node", "heads"),
    [
        ("hierarchical", "arbiter", ["Planner:", "Expert for", "Arbiter:"]),
        ("routes", "unite", ["Route to", "All routes:"]),
        ("single", "single", ["One prompt:"]),
    ],
)
def test_every_mode_is_shown_step_by_step(
    shop: str, mode: str, node: str, heads: list[str]
) -> None:
    done = call("--dataset", shop, "--user", "u0", "--mode", mode, "--trace")
    assert done.exit_code == 0, done.output
    for head in heads:
        assert head in done.stdout
    assert f"{node}: from" in done.stderr


def test_the_same_run_id_again_gives_the_same_run(shop: str, home: Path) -> None:
    words = ("--dataset", shop, "--user", "u0", "--run-id", "monday", "--json", "-", "--trace")
    first, again = call(*words), call(*words)
    assert again.exit_code == 0, again.output
    assert "Run monday is finished; this is what it made." in again.stderr
    assert "Run monday" not in first.stderr
    assert "from the checkpoint" in again.stderr
    one, two = json.loads(first.stdout), json.loads(again.stdout)
    assert two["recommendations"] == one["recommendations"]
    assert two["steps"] == one["steps"], "nothing was done again"
    assert (home / "runs" / shop / "checkpoints.sqlite").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--mode", "sideways"], "--mode expects hierarchical, routes, single"),
        (["--run-id", "../x"], "plain name"),
        (["--run-id", "monday", "--n", "4"], "begun with another request"),
        (["--run-id", "monday", "--set", "agents.kept=3"], "begun with another settings"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    shop: str,
    words: list[str],
    sentence: str,
    refused: Callable[..., tuple[object, str]],
) -> None:
    base = ["--dataset", shop, "--user", "u0"]
    assert call(*base, "--run-id", "monday").exit_code == 0
    code, said = refused("recommend", "--engine", "none", *base, *words)
    assert code == 2
    assert sentence in said
    assert said.count("\n") == 0, said


def test_without_a_run_id_nothing_is_kept(shop: str, home: Path) -> None:
    assert call("--dataset", shop, "--user", "u0").exit_code == 0
    assert not (home / "runs").exists()


def _trace(label: str) -> dict[str, Any]:
    node = {
        "node": "expert",
        "label": label,
        "kept": True,
        "start_ms": 1234.5,
        "ms": 10.0,
        "notes": {"found": 12},
        "calls": [
            {
                "label": label,
                "start_ms": 1234.6,
                "ms": 9.0,
                "prompt": 1200,
                "cached": 1000,
                "completion": 40,
                "prompt_version": "0a1b2c3d",
                "adapter": "tags",
                "fallback": None,
                "repaired": "2 valid tags, 1 added",
                "asks": 1,
            }
        ],
    }
    return {"began": 0.0, "ms": 2000.0, "nodes": [node]}


def test_the_tree_says_what_a_call_cost_and_shows_no_markup() -> None:
    out = io.StringIO()
    show_trace(_trace("[red]Cheap[/red] \x1b[2J"), Console(file=out, width=30))
    text = out.getvalue()
    assert "expert [red]Cheap[/red]" in text
    assert "\x1b" not in text
    assert "from 1,234 ms, 10 ms, from the checkpoint" in text
    assert "tokens 1200 in (1000 cached), 40 out, prompt 0a1b2c3d, adapter tags" in text
    assert "repaired: 2 valid tags, 1 added" in text
    assert "found 12" in text


def test_a_terminal_shows_who_is_at_work_until_they_are_done() -> None:
    out = io.StringIO()
    screen = Screen(Console(file=out, force_terminal=True, width=100))
    started = {"node": "expert", "label": "Tents", "number": 0}
    screen.show("started", started)
    screen.show("started", started | {"label": "Pans", "number": 1})
    assert screen._status is not None
    assert "at work: expert Tents, expert Pans" in str(screen._status.status)
    span = Span(id="1", node="expert", label="Tents", at=0, ms=1)
    screen.show("expert", {"tags": [], "spans": [span]})
    assert "at work: expert Pans" in str(screen._status.status)
    screen.rest()
    assert screen._status is None


def test_the_help_names_the_options() -> None:
    text = CliRunner().invoke(cli, ["recommend", "--help"], env={"COLUMNS": "200"}).output
    for option in ("--mode", "--run-id", "--trace"):
        assert option in text


def test_a_finished_run_starts_no_engine(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    @asynccontextmanager
    async def engine(config: EngineConfig) -> AsyncIterator[ScriptedChat]:
        started.append(config.model)
        yield ScriptedChat(lambda ask: "nothing of use", name=config.model)

    monkeypatch.setattr(recommending, "open_chat", engine)
    words = ["recommend", "--dataset", shop, "--user", "u0", "--run-id", "monday", "--json", "-"]
    first = CliRunner().invoke(cli, words)
    assert first.exit_code == 0, first.output
    again = CliRunner().invoke(cli, words)
    assert again.exit_code == 0, again.output
    assert len(started) == 1
    one, two = json.loads(first.stdout), json.loads(again.stdout)
    for key in ("recommendations", "steps", "versions", "fallbacks"):
        assert one[key] == two[key]
