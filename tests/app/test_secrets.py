"""Keys and tokens of the environment stand in nothing that a command writes or says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from foretaste.app.cli import cli
from foretaste.data.errors import ForetasteError
from foretaste.serving.child import child_environment
from foretaste.serving.engine_config import EngineConfig
from foretaste.serving.openai_chat import OpenAIChat
from foretaste.serving.vllm_server import vllm_environment

SECRETS = {
    "FORETASTE_API_KEY": "sk-foretaste-0a1b2c",
    "OPENAI_API_KEY": "sk-openai-3d4e5f",
    "HF_TOKEN": "hf_6a7b8c",
    "FORETASTE_INDEX_KEY": "qd_9d0e1f",
}
MARK = {"evidence": ["a lamp"], "reason": "because of that", "mark": "positive"}


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An endpoint that answers a judge; the secrets stand in the environment."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            said = {"choices": [{"message": {"content": json.dumps(MARK)}}]}
            self.send_response(200 if self.headers["authorization"] else 401)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def _none_in(text: str) -> None:
    for value in SECRETS.values():
        assert value not in text


def test_a_run_of_the_judge_writes_no_secret(url: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": "1", "answer": "a lamp"}\n')
    files = ["--in", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")]
    address = url.replace("http://", "http://shop:hunter2@")
    more = ["--rubric", "tag", "--endpoint", address, "--model", "m", "--json", "-"]
    done = CliRunner().invoke(cli, ["judge", "run", *files, *more])
    assert done.exit_code == 0, done.output
    _none_in(done.output)
    assert "hunter2" not in done.output
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert tmp_path / "out.jsonl" in written
    for path in written:
        _none_in(path.read_text("utf-8", "replace"))
        assert "hunter2" not in path.read_text("utf-8", "replace")


def test_an_engine_of_ours_is_given_no_secret(
    url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORETASTE_STATE", "FORETASTE_CHECKPOINTS", "FORETASTE_INDEX_URI"):
        monkeypatch.setenv(name, "postgresql://shop:hunter2@host/shop")
    told = json.dumps(vllm_environment(EngineConfig()))
    _none_in(told)
    assert "hunter2" not in told
    assert "hunter2" in child_environment(secrets=True)["FORETASTE_STATE"], (
        "for a step of a pipeline"
    )


def test_an_address_that_is_refused_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ForetasteError) as told:
        OpenAIChat("ftp://shop:hunter2@host/v1", "m")
    assert "hunter2" not in str(told.value)
