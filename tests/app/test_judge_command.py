"""`foretaste judge` end to end over a scripted model: run, go on, pairs, compare."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from foretaste.app.cli import cli
from foretaste.data.errors import EngineError
from foretaste.serving.chat import Ask
from foretaste.serving.scripted_chat import ScriptedChat

Script = Callable[[Ask[Any]], Any]
Open = Callable[[Script], ScriptedChat]


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Put a scripted model in the place of the engine."""

    def use(script: Script) -> ScriptedChat:
        chat = ScriptedChat(script)

        @asynccontextmanager
        async def opened(config: Any) -> AsyncIterator[ScriptedChat]:
            yield chat

        monkeypatch.setattr("foretaste.app.judging.open_chat", opened)
        return chat

    return use


def _mark(ask: Ask[Any]) -> dict[str, Any]:
    """Positive for what speaks of hats."""
    good = "hat" in ask.messages[1].text.partition("</data>")[0]
    mark = "positive" if good else "negative"
    return {"evidence": ["a red hat", "a prize"], "reason": "it is a hat", "mark": mark}


def _rows(path: Path, answers: dict[str, str]) -> Path:
    rows = [{"id": name, "answer": text, "group": name[0]} for name, text in answers.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _call(*words: str) -> Any:
    return CliRunner().invoke(cli, ["judge", *words])


def _run(tmp_path: Path, *more: str, out: str = "out.jsonl") -> Any:
    files = ["--in", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / out)]
    return _call("run", *files, "--rubric", "tag", *more)


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_from_file_to_figures(tmp_path: Path, model: Open) -> None:
    chat = model(_mark)
    _rows(tmp_path / "in.jsonl", {"a1": "a red hat", "b1": "a lamp"})
    done = _run(tmp_path, "--json", "-", "--price", "2,8")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert (figures["cases"], figures["before"], figures["unreadable"]) == (2, 0, 0)
    assert figures["tiers"] == {"S": 1, "A": 0, "B": 1}
    told = {"marks": 8, "without": 4, "quotes": 16, "unsupported": 12}
    assert figures["evidence"] == told  # "a red hat" stands in one of two answers, no prize in any
    lines = {line["id"]: line for line in _lines(tmp_path / "out.jsonl")}
    assert lines["a1"]["tier"] == "S"
    assert lines["a1"]["verdicts"][0]["evidence"][0] == {"text": "a red hat", "found": "answer"}
    assert json.loads(lines["a1"]["verdicts"][0]["text"])["mark"] == "positive"
    assert lines["a1"]["made_of"]["model"] == "scripted"
    assert len(lines["a1"]["made_of"]["rubric_hash"]) == 16
    assert lines["a1"]["spent"]["calls"] == 4
    assert lines["a1"]["spent"]["completion"] > 0
    assert len(chat.asks) == 8


def test_a_run_goes_on_and_judges_nothing_twice(tmp_path: Path, model: Open) -> None:
    asked = 0

    def until(ask: Ask[Any]) -> Any:
        nonlocal asked
        asked += 1
        return EngineError("gone") if asked > 8 else _mark(ask)

    model(until)
    _rows(tmp_path / "in.jsonl", {f"a{i}": "a red hat" for i in range(6)})
    broken = _run(tmp_path, "--concurrency", "1")
    assert isinstance(broken.exception, EngineError)
    first = (tmp_path / "out.jsonl").read_text()
    assert first.count("\n") == 2
    (tmp_path / "out.jsonl").write_text(first + '{"id": "a2", "tier": "S')  # killed while writing
    chat = model(_mark)
    done = _run(tmp_path, "--json", "-")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["before"] == 2
    assert sorted(line["id"] for line in _lines(tmp_path / "out.jsonl")) == [
        f"a{i}" for i in range(6)
    ]
    assert (tmp_path / "out.jsonl").read_text().startswith(first)
    assert len(chat.asks) == 16
    again = model(lambda ask: EngineError("must not be asked"))
    assert _run(tmp_path).exit_code == 0
    assert not again.asks


def test_what_cannot_be_read_is_recorded_as_such(tmp_path: Path, model: Open) -> None:
    model(lambda ask: "well, quite nice")
    _rows(tmp_path / "in.jsonl", {"a1": "a red hat"})
    done = _run(tmp_path, "--json", "-")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert (figures["unreadable"], figures["tiers"]) == (1, {"S": 0, "A": 0, "B": 0})
    assert (figures["cost"]["calls"], figures["cost"]["retries"]) == (8, 8)
    (line,) = _lines(tmp_path / "out.jsonl")
    assert (line["tier"], line["score"]) == (None, None)
    assert line["faults"][0]["text"] == "well, quite nice"
    assert line["spent"]["completion"] == 24


def test_a_panel_of_samples(tmp_path: Path, model: Open) -> None:
    model(lambda ask: _mark(ask) | ({"mark": "negative"} if ask.seed == 2 else {}))
    _rows(tmp_path / "in.jsonl", {"a1": "a red hat"})
    assert "the same at temperature 0" in str(_run(tmp_path, "--samples", "3").exception)
    done = _run(tmp_path, "--samples", "3", "--set", "judge.temperature=0.7", "--json", "-")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["disagreement"] == pytest.approx(2 / 3, abs=1e-4)
    (line,) = _lines(tmp_path / "out.jsonl")
    assert [vote["tier"] for vote in line["votes"]] == ["S", "S", "B"]
    assert line["tier"] == "S"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--rubric", "vibes"), "A rubric"),
        (("--judge", "oracle"), "--judge expects"),
        (("--judge", "head"), "Which head"),
        (("--judge", "head:nobody"), "no judge head 'nobody'"),
        (("--judge", "reward:nobody"), "no reward model for nobody"),
        (("--judge", "rules"), "add --dataset"),
        (("--engine", "none"), "An agent needs a model"),
        (("--price", "cheap"), "--price expects"),
        (("--set", "agents.kept=3"), "--set expects"),
        (("--map", "answer=nope"), "no column 'nope'"),
    ],
)
def test_wrong_calls_are_one_sentence(
    tmp_path: Path, home: Path, model: Open, more: tuple[str, ...], said: str
) -> None:
    model(_mark)
    _rows(tmp_path / "in.jsonl", {"a1": "a red hat"})
    assert said in str(_run(tmp_path, *more).exception)


def test_a_run_beside_an_earlier_one(tmp_path: Path, model: Open) -> None:
    _rows(tmp_path / "in.jsonl", {"a1": "a red hat", "a2": "a lamp"})
    model(_mark)
    assert _run(tmp_path).exit_code == 0
    model(lambda ask: _mark(ask) | {"mark": "negative"})
    words = ("--against", str(tmp_path / "out.jsonl"))
    done = _run(tmp_path, *words, "--json", "-", out="other.jsonl")
    found = json.loads(done.stdout)["against"]
    assert (found["n"], found["accuracy"], found["order"]) == (2, 0.5, 0.5)
    assert "same tier 0.5" in _run(tmp_path, *words, out="other.jsonl").output


def test_other_settings_do_not_go_on_in_the_same_file(tmp_path: Path, model: Open) -> None:
    model(_mark)
    _rows(tmp_path / "in.jsonl", {"a1": "a red hat"})
    assert _run(tmp_path).exit_code == 0
    assert "was judged with rubric_hash" in str(_run(tmp_path, "--rubric", "item").exception)
    _rows(tmp_path / "in.jsonl", {"a1": "a red hat", "a2": "a hat"})
    more = ("--set", "judge.history_items=5")
    assert "was judged with settings" in str(_run(tmp_path, *more).exception)
    assert "over the input" in str(_run(tmp_path, out="in.jsonl").exception)


def test_pairs_and_the_position_bias(tmp_path: Path, model: Open) -> None:
    def first_one(ask: Ask[Any]) -> Any:
        point = {"dimension": "fit", "why": "it fits", "better": "1"}
        return {"points": [point], "reason": "the first", "better": "1"}

    model(first_one)
    rows = [{"id": str(i), "first": "a hat", "second": "a lamp"} for i in range(3)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["--in", str(path), "--out", str(tmp_path / "out.jsonl"), "--rubric", "list"]
    done = _call("pairwise", *words, "--json", "-")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert figures["tie"]["n"] == 3
    assert figures["position"]["shown_first"] == 1.0
    assert figures["position"]["contradicted"] == 1.0
    shown = _call("pairwise", *words)
    assert "100% name the one shown first" in shown.output
    assert "one or the other" in str(_call("pairwise", *words, "--first", "x").exception)


def test_two_runs_are_compared(tmp_path: Path, model: Open) -> None:
    model(_mark)
    names = [f"{letter}1" for letter in "abcdefgh"]
    _rows(tmp_path / "in.jsonl", dict.fromkeys(names, "a red hat"))
    assert _run(tmp_path, out="good.jsonl").exit_code == 0
    _rows(tmp_path / "in.jsonl", dict.fromkeys(names, "a lamp"))
    assert _run(tmp_path, out="bad.jsonl").exit_code == 0
    runs = [str(tmp_path / "good.jsonl"), str(tmp_path / "bad.jsonl")]
    found = json.loads(_call("compare", *runs, "--json", "-").stdout)
    assert found["total"]["win"] == {"n": 8, "share": 1.0, "interval": [1.0, 1.0]}
    assert found["total"]["p"] == pytest.approx(2 * 0.5**8, abs=1e-6)
    assert "| all | 8 | 1.000 | 0.000 | 0.000 | +1.000 |" in _call("compare", *runs).output
    assert "--by expects" in str(_call("compare", *runs, "--by", "mood").exception)


KILLED = """
import asyncio, sys
from contextlib import asynccontextmanager
from foretaste.app import judging
from foretaste.app.cli import main
from foretaste.serving.scripted_chat import ScriptedChat

delay = float(sys.argv.pop(1))

@asynccontextmanager
async def opened(config):
    mark = {"evidence": ["a hat"], "reason": "because of that", "mark": "acceptable"}
    yield ScriptedChat(lambda ask: mark, delay_s=delay)

judging.open_chat = opened
main()
"""


def test_a_killed_run_loses_nothing(tmp_path: Path) -> None:
    names = {f"a{i}": "a hat" for i in range(60)}
    path, out = _rows(tmp_path / "in.jsonl", names), tmp_path / "out.jsonl"
    words = ["judge", "run", "--in", str(path), "--out", str(out), "--rubric", "item"]
    start = [sys.executable, "-P", "-c", KILLED]
    process = subprocess.Popen([*start, "0.05", *words, "--concurrency", "2"])
    while process.poll() is None and (not out.exists() or out.read_bytes().count(b"\n") < 7):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = [line for line in out.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert 7 <= len(before) < 60
    subprocess.run([*start, "0", *words], check=True, timeout=120, capture_output=True)
    after = out.read_text().splitlines(keepends=True)
    assert after[: len(before)] == before
    ids = [json.loads(line)["id"] for line in after]
    assert sorted(ids) == sorted(names)
