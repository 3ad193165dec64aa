"""An engine that dies and comes back, with a stand-in server in the place of vLLM."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel
from safetensors.numpy import save_file

from foretaste.data.errors import EngineError, EngineUnavailable
from foretaste.serving import openai_chat, vllm_supervisor
from foretaste.serving import vllm_server as starting
from foretaste.serving.chat import Ask, Message
from foretaste.serving.engine import EngineConfig, open_chat
from foretaste.serving.replicas import ReplicatedChat
from foretaste.serving.vllm_supervisor import SupervisedChat

STAND_IN = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from foretaste.serving.child import die_with_parent

die_with_parent()
here = Path(sys.argv[2])
life = 1
while True:
    try:
        with (here / f"life-{life}").open("x") as file:
            file.write(str(os.getpid()))
        break
    except FileExistsError:
        life += 1
if (here / "broken").exists():
    sys.exit("the weights are made of cheese")

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if "lora_name" in body:
            (here / f"loaded-{life}").write_text(body)
        if "slow" in body and life == 1 or "deadly" in body:
            (here / "asked").write_text("")
            time.sleep(60 if life == 1 else 0)
            os._exit(1)
        said = {"choices": [{"message": {"content": json.dumps({"life": life})}}]}
        self.send_response(200); self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Life(BaseModel):
    life: int


@pytest.fixture
def stand_in(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server that tells which of its lives answers; asked "slow" its first life hangs."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)

    def command(config: EngineConfig, folder: Path, port: int) -> list[str]:
        return [sys.executable, "-P", str(tmp_path / "stand_in.py"), str(port), str(tmp_path)]

    monkeypatch.setattr(starting, "vllm_command", command)
    monkeypatch.setattr(starting, "model_folder", lambda name: tmp_path)
    monkeypatch.setattr(vllm_supervisor, "_FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(openai_chat, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(openai_chat, "_DEATH_NOTICE_S", 1.0)
    return tmp_path


def ask(text: str, deadline_s: float = 30.0) -> Ask[Life]:
    return Ask((Message("user", text),), Life, deadline_s=deadline_s)


def kill(folder: Path, life: int) -> None:
    os.kill(int((folder / f"life-{life}").read_text()), signal.SIGKILL)


async def until_asked(folder: Path) -> None:
    while not (folder / "asked").exists():
        await asyncio.sleep(0.02)


def test_what_was_under_way_is_asked_again_and_new_requests_are_told_when(stand_in: Path) -> None:
    async def go() -> None:
        async with open_chat(EngineConfig(restart=True, replicas=1)) as chat:
            assert isinstance(chat, SupervisedChat)
            assert chat.ready
            assert (await chat.ask(ask("hello"))).parsed.life == 1
            under_way = asyncio.create_task(chat.ask(ask("slow")))
            await until_asked(stand_in)
            kill(stand_in, 1)
            while chat.ready:
                await asyncio.sleep(0.01)
            with pytest.raises(EngineUnavailable, match="being started again") as caught:
                await chat.ask(ask("hello"))
            assert caught.value.retry_after >= 1
            assert (await under_way).parsed.life == 2
            assert chat.ready
            assert (await chat.ask(ask("hello"))).parsed.life == 2

    asyncio.run(go())


def test_of_two_servers_one_answers_while_the_other_is_started_again(stand_in: Path) -> None:
    async def go() -> None:
        async with open_chat(EngineConfig(restart=True, replicas=2)) as chat:
            assert isinstance(chat, ReplicatedChat)
            lives = {(await chat.ask(ask(f"user {n}"))).parsed.life for n in range(30)}
            assert lives == {1, 2}
            (stand_in / "broken").write_text("")
            kill(stand_in, 1)
            lives = {(await chat.ask(ask(f"user {n}"))).parsed.life for n in range(30)}
            assert lives == {2}
            assert chat.ready
            (stand_in / "broken").unlink()
            deadline = time.monotonic() + 20
            while lives != {2, 3} and time.monotonic() < deadline:
                lives = {(await chat.ask(ask(f"user {n}"))).parsed.life for n in range(30)} - {1}
                lives = {min(life, 3) for life in lives}
            assert lives == {2, 3}

    asyncio.run(go())


def test_a_request_that_kills_every_engine_is_given_up_after_its_second(stand_in: Path) -> None:
    async def go() -> None:
        async with open_chat(EngineConfig(restart=True, replicas=1)) as chat:
            asked = asyncio.create_task(chat.ask(ask("deadly")))
            await until_asked(stand_in)
            kill(stand_in, 1)
            with pytest.raises(EngineUnavailable):
                await asked
        assert len(list(stand_in.glob("life-*"))) == 2

    asyncio.run(go())


def test_a_deadline_is_kept_while_no_engine_comes(stand_in: Path) -> None:
    async def go() -> float:
        async with open_chat(EngineConfig(restart=True, replicas=1)) as chat:
            asked = asyncio.create_task(chat.ask(ask("slow", deadline_s=4)))
            await until_asked(stand_in)
            (stand_in / "broken").write_text("")
            started = time.monotonic()
            kill(stand_in, 1)
            with pytest.raises(EngineUnavailable):
                await asked
            return time.monotonic() - started

    assert asyncio.run(go()) < 5
    assert len(list(stand_in.glob("life-*"))) > 2, "it was tried again and again"


def test_a_first_start_that_fails_is_no_crash(stand_in: Path) -> None:
    (stand_in / "broken").write_text("")

    async def go() -> None:
        async with open_chat(EngineConfig(restart=True, replicas=1)):
            pass

    with pytest.raises(EngineError, match="made of cheese"):
        asyncio.run(go())
    assert len(list(stand_in.glob("life-*"))) == 1


def test_without_restart_its_death_is_told_with_its_log(stand_in: Path) -> None:
    async def go() -> None:
        async with open_chat(EngineConfig()) as chat:
            asked = asyncio.create_task(chat.ask(ask("slow")))
            await until_asked(stand_in)
            kill(stand_in, 1)
            with pytest.raises(EngineError, match="vLLM ended unexpectedly") as caught:
                await asked
            assert caught.value.log is not None
            assert str(caught.value.log) in str(caught.value)

    asyncio.run(go())
    assert len(list(stand_in.glob("life-*"))) == 1


def test_a_new_engine_gets_the_adapters_of_the_old_one(stand_in: Path) -> None:
    folder = stand_in / "lora"
    folder.mkdir()
    save_file({"a": np.zeros(3, dtype=np.float32)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"r": 4}')

    async def go() -> None:
        config = EngineConfig(restart=True, replicas=1, adapters=f"films@1={folder}")
        async with open_chat(config):
            assert "films@1" in (stand_in / "loaded-1").read_text()
            kill(stand_in, 1)
            while not (stand_in / "loaded-2").exists():
                await asyncio.sleep(0.02)
            assert "films@1" in (stand_in / "loaded-2").read_text()

    asyncio.run(go())
