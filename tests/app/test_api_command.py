"""`foretaste serve` as a process: address, answers, restart after kill -9, signals, wrong calls."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from foretaste.app.cli import cli
from foretaste.data.feedback import feedback_table

PROGRAM = """
import sys, zlib
import numpy as np
import foretaste.agents.retrieval.tools as tools
class Words:
    name, fingerprint, dimension = "words", "0" * 16, 16
    def encode(self, texts, *, keep=True):
        out = np.zeros((len(texts), 16), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                out[row] += np.random.default_rng(zlib.crc32(word.encode())).standard_normal(16)
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
tools.load_embedder = lambda name: Words()
from foretaste.app.cli import main
main()
"""
ITEMS = "item_id,title,categories\n" + "".join(f"i{n},Thing {n},Kind{n % 3}\n" for n in range(12))
EVENTS = "user_id,item_id,timestamp\n" + "".join(
    f"u{user},i{(user + step) % 12},{1_600_000_000 + step}\n"
    for user in range(9)
    for step in range(4)
)


@pytest.fixture
def shop(home: Path, tmp_path: Path) -> str:
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "events.csv").write_text(EVENTS)
    (tmp_path / "program.py").write_text(PROGRAM)
    files = ["--items", str(tmp_path / "items.csv"), "--interactions", str(tmp_path / "events.csv")]
    done = CliRunner().invoke(cli, ["data", "import", *files, "--name", "shop"])
    assert done.exit_code == 0, done.output
    return str(tmp_path / "program.py")


@contextmanager
def _served(program: str, *options: str) -> Iterator[tuple[Any, str]]:
    command = [sys.executable, "-P", program, "serve", "--dataset", "shop", "--engine", "none"]
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def _post(url: str, path: str, body: Any) -> Any:
    answer = httpx.post(f"{url}/v1/{path}", json=body, trust_env=False, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_it_answers_survives_kill_9_with_what_it_acknowledged_and_stops_cleanly(shop: str) -> None:
    with _served(shop) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        page = _post(url, "recommendations", {"user_id": "u1", "n": 3})
        assert len(page["recommendations"]) == 3
        for number in range(20):
            thumb = {"request_id": f"r{number}", "item_id": "i1", "thumb": "up"}
            _post(url, "feedback", {"feedback": [thumb]})
        _post(url, "items", {"items": [{"item_id": "new", "title": "Thing new"}]})
        _post(url, "interactions", {"interactions": [{"user_id": "zoe", "item_id": "new"}]})
        os.kill(process.pid, signal.SIGKILL)
    assert feedback_table("shop").height == 20
    with _served(shop) as (process, url):
        page = _post(url, "recommendations", {"user_id": "zoe", "n": 12})
        assert [event["item_id"] for event in page["history"]] == ["new"]
        with _served(shop) as (second, nothing):
            assert nothing == ""
            assert "already served by another process" in second.communicate(timeout=60)[1]
            assert second.returncode == 2
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 0
    assert "Stopped." in said
    assert "POST /v1/recommendations 200" in said
    assert "zoe" not in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "give --dataset, or --engine-only"),
        (["--dataset", "shop", "--host", "0.0.0.0"], "no API keys"),  # noqa: S104
        (["--dataset", "nowhere", "--engine", "none"], "no data set 'nowhere'"),
        (["--dataset", "shop", "--engine", "steam"], "--engine expects"),
        (["--dataset", "shop", "--engine", "none", "--set", "api.runs=0"], "api.runs"),
        (["--dataset", "shop", "--engine", "none", "--set", "other.x=1"], "api.FIELD=VALUE"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_exit_code_2(
    shop: str,
    words: list[str],
    sentence: str,
    refused: Callable[..., tuple[object, str]],
) -> None:
    code, said = refused("serve", *words)
    assert code == 2
    assert sentence in said
    assert said.count("\n") == 0, said


def test_a_taken_port_is_said_before_anything_is_loaded(shop: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with _served(shop, "--port", port) as (process, _):
            said = process.communicate(timeout=60)[1]
    assert process.returncode == 2
    assert f"port {port} cannot be used" in said
