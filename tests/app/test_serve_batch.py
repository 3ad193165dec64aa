"""Batches against a real HTTP server: every request one line, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from foretaste.app.cli import cli
from foretaste.serving import batch as subject
from foretaste.serving import openai_chat


class Provider:
    """Echoes each prompt; says no to "bad", is busy once for "busy", fails for "broken"."""

    def __init__(self) -> None:
        self.pause_s = 0.0
        self.asked: Counter[str] = Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                text = body["messages"][0]["content"]
                outer.asked[text] += 1
                time.sleep(outer.pause_s)
                status, said = outer.answer(text, body)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(said).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, text: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if text == "bad":
            return 400, {"error": {"message": "this prompt is refused"}}
        if text == "broken":
            return 500, {"error": {"message": "it fell over"}}
        if text == "busy" and self.asked[text] == 1:
            return 429, {}
        return 200, {"model": body["model"], "choices": [{"message": {"content": f"echo {text}"}}]}


@pytest.fixture
def provider(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setattr(openai_chat, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(subject, "_PAUSE_S", 0.01)
    one = Provider()
    yield one
    one.http.shutdown()
    one.http.server_close()


def line(custom_id: str, text: str, **more: Any) -> str:
    body = {"messages": [{"role": "user", "content": text}], **more}
    return json.dumps(
        {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
    )


def written(path: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    assert len({one["custom_id"] for one in lines}) == len(lines), "never twice"
    return {one["custom_id"]: one for one in lines}


def call(tmp_path: Path, provider: Provider, *words: str) -> Any:
    paths = [str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]
    options = ["--endpoint", provider.url, "--model", "m", *words]
    return CliRunner().invoke(cli, ["serve", "batch", *paths, *options])


def test_every_request_gets_its_line_in_the_output_form(tmp_path: Path, provider: Provider) -> None:
    rows = [line("a", "one"), "", line("b", "busy"), line("c", "two", model="other")]
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    done = call(tmp_path, provider, "--json", "-")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"requests": 3, "before": 0, "succeeded": 3, "failed": 0}
    made = written(tmp_path / "out.jsonl")
    assert set(made["a"]) == {"id", "custom_id", "response", "error"}
    assert made["a"]["response"]["status_code"] == 200
    assert made["a"]["response"]["body"]["choices"][0]["message"]["content"] == "echo one"
    assert made["a"]["response"]["body"]["model"] == "m"
    assert made["c"]["response"]["body"]["model"] == "other"
    assert made["b"]["error"] is None
    assert provider.asked["busy"] == 2
    again = call(tmp_path, provider, "--json", "-")
    assert json.loads(again.stdout)["before"] == 3
    assert provider.asked["one"] == 1, "nothing is asked again"


def test_failures_are_kept_with_their_reason(
    tmp_path: Path, provider: Provider, refused: Callable[..., tuple[object, str]]
) -> None:
    rows = [line("a", "bad"), line("b", "broken"), line("c", "fine")]
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    paths = [str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]
    code, _ = refused("serve", "batch", *paths, "--endpoint", provider.url)
    assert code == 1
    made = written(tmp_path / "out.jsonl")
    assert made["a"]["error"] == {"code": "400", "message": "this prompt is refused"}
    assert made["b"]["error"] == {"code": "500", "message": "it fell over"}
    assert made["b"]["response"]["status_code"] == 500
    assert made["c"]["error"] is None
    assert provider.asked == {"bad": 1, "broken": 3, "fine": 1}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([line("a", "x"), "{oops"], "line 2: no JSON"),
        (
            [line("a", "x"), line("b", "x"), line("a", "y")],
            "line 3: custom_id 'a' stands on line 1",
        ),
        (["[]"], "line 1: no JSON object"),
        ([line("", "x")], "custom_id is no text"),
        ([line("a", "x").replace("POST", "GET")], "method is 'GET'"),
        ([line("a", "x").replace("chat/completions", "files")], "url is '/v1/files'"),
        ([line("a", "x", stream=True)], "body asks for a stream"),
        (["1"] * 8, "and 3 more"),
    ],
)
def test_bad_lines_are_told_with_their_numbers_and_nothing_is_sent(
    tmp_path: Path, provider: Provider, rows: list[str], said: str
) -> None:
    (tmp_path / "in.jsonl").write_text("\n".join(rows))
    done = call(tmp_path, provider)
    assert said in str(done.exception)
    assert not provider.asked


def test_files_that_cannot_be_are_refused(tmp_path: Path, provider: Provider) -> None:
    assert "cannot be read" in str(call(tmp_path, provider).exception)
    (tmp_path / "in.jsonl").write_text(line("a", "x"))
    (tmp_path / "out.jsonl").write_text('{"not": "a result"}\n{"nor": "this"}\n')
    assert "line 1, holds something else" in str(call(tmp_path, provider).exception)
    (tmp_path / "out.jsonl").unlink()
    (tmp_path / "out.jsonl").hardlink_to(tmp_path / "in.jsonl")
    assert "written over the input" in str(call(tmp_path, provider).exception)
    (tmp_path / "out.jsonl").unlink()
    with subject.results(tmp_path / "out.jsonl"):
        assert "Another run writes" in str(call(tmp_path, provider).exception)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=6), data=st.data())
def test_a_file_cut_anywhere_goes_on_with_its_whole_lines(
    tmp_path: Path, names: list[str], data: st.DataObject
) -> None:
    path = tmp_path / "cut.jsonl"
    path.unlink(missing_ok=True)
    with subject.results(path) as kept:
        for name in names:
            kept.add({"custom_id": name, "response": {}, "error": None})
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    with subject.results(path) as kept:
        survived = list(kept.done)
        for name in names[len(survived) :]:
            kept.add({"custom_id": name, "response": {}, "error": None})
    assert survived == names[: whole[:cut].count(b"\n")]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("moment_s", [0.0, 0.1, 0.35])
def test_killed_at_any_moment_nothing_is_lost_and_nothing_comes_twice(
    tmp_path: Path, provider: Provider, moment_s: float
) -> None:
    names = [f"r{number}" for number in range(60)]
    (tmp_path / "in.jsonl").write_text("\n".join(line(name, name) for name in names))
    provider.pause_s = 0.05
    paths = [str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]
    run = "from foretaste.app.cli import main; main()"
    command = [sys.executable, "-P", "-c", run, "serve", "batch", *paths]
    command += ["--endpoint", provider.url, "--model", "m", "--concurrency", "4"]
    for _ in range(2):
        already = sum(provider.asked.values())
        process = subprocess.Popen(command, env=os.environ, stderr=subprocess.DEVNULL)
        while sum(provider.asked.values()) == already and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moment_s)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    provider.pause_s = 0
    assert call(tmp_path, provider, "--json", "-").exit_code == 0
    made = written(tmp_path / "out.jsonl")
    assert sorted(made) == sorted(names)
    contents = {
        name: one["response"]["body"]["choices"][0]["message"]["content"]
        for name, one in made.items()
    }
    assert contents == {name: f"echo {name}" for name in names}
    assert sum(provider.asked.values()) <= len(names) + 2 * 4, "only what was under way is repeated"


def test_a_server_that_is_gone_stops_the_run_and_keeps_the_rest_for_later(
    tmp_path: Path, provider: Provider
) -> None:
    (tmp_path / "in.jsonl").write_text(line("a", "x"))
    gone = CliRunner().invoke(
        cli,
        [
            *("serve", "batch", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")),
            *("--endpoint", "http://127.0.0.1:9/v1"),
        ],
    )
    assert "could not be reached" in str(gone.exception)
    assert (tmp_path / "out.jsonl").read_text() == ""
    assert call(tmp_path, provider).exit_code == 0
    assert list(written(tmp_path / "out.jsonl")) == ["a"]
