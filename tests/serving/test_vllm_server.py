"""The child's life: first with a stand-in server that takes a second, then with vLLM itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from pydantic import BaseModel, Field

from foretaste.data.errors import EngineError, InputError
from foretaste.serving import vllm_server as subject
from foretaste.serving.chat import Ask, Message
from foretaste.serving.engine import EngineConfig, open_chat
from foretaste.serving.openai_chat import OpenAIChat
from foretaste.serving.vllm_server import (
    VllmServer,
    free_port,
    log_tail,
    vllm_command,
    vllm_environment,
    vllm_server,
    vllm_server_async,
)

STAND_IN = """
import multiprocessing, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from foretaste.serving.child import die_with_parent

if __name__ in ("__main__", "__mp_main__"):
    die_with_parent()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()

if __name__ == "__main__":
    print("secret seen:", os.environ.get("FORETASTE_API_KEY"), flush=True)
    if sys.argv[2] == "dies":
        print("line one\\nRuntimeError: the weights are made of cheese", flush=True)
        sys.exit(3)
    engine = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(600,))
    engine.start()
    print("engine", engine.pid, flush=True)
    if sys.argv[2] == "never":
        time.sleep(600)
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
PARENT = """
import sys, time
from pathlib import Path
from foretaste.serving import vllm_server as subject
from foretaste.serving.engine_config import EngineConfig
subject.vllm_command = lambda config, folder, port: [
    sys.executable, "-P", sys.argv[1], str(port), "lives"
]
subject.model_folder = lambda name: Path(".")
with subject.vllm_server(EngineConfig()) as server:
    print(server.process.pid, server.log, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def stand_in(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server with one child of its own in the place of vLLM; its second argument is its fate."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    (tmp_path / "fate").write_text("lives")

    def command(config: EngineConfig, folder: Path, port: int) -> list[str]:
        fate = (tmp_path / "fate").read_text()
        return [sys.executable, "-P", str(script), str(port), fate]

    monkeypatch.setattr(subject, "vllm_command", command)
    monkeypatch.setattr(subject, "model_folder", lambda name: tmp_path)
    return script


def engine_pid(log: Path) -> int:
    return int(log.read_text().split("engine ")[1].split()[0])


def gone(*pids: int, within: float = 10.0) -> bool:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not any(_runs(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_started_ready_and_stopped_with_its_children(stand_in: Path) -> None:
    with vllm_server(EngineConfig()) as server:
        assert server.ready()
        assert server.url.startswith("http://127.0.0.1:")
        pids = (server.process.pid, engine_pid(server.log))
        assert all(_runs(pid) for pid in pids)
    assert gone(*pids)
    server.stop()  # twice is harmless


def test_no_key_reaches_the_child(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETASTE_API_KEY", "sk-secret")
    with vllm_server(EngineConfig()) as server:
        assert "secret seen: None" in server.log.read_text()


def test_the_event_loop_stays_free_meanwhile(stand_in: Path) -> None:
    async def go() -> int:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.02)
                beats += 1

        heart = asyncio.create_task(beat())
        async with vllm_server_async(EngineConfig()) as server:
            server.check()
        heart.cancel()
        return beats

    assert asyncio.run(go()) > 5


def test_a_start_that_fails_says_why(stand_in: Path) -> None:
    (stand_in.parent / "fate").write_text("dies")
    with pytest.raises(EngineError, match="made of cheese") as caught, vllm_server(EngineConfig()):
        pass
    assert "exit code 3" in str(caught.value)
    assert str(caught.value.log) in str(caught.value)


def test_a_start_that_hangs_is_given_up(stand_in: Path) -> None:
    (stand_in.parent / "fate").write_text("never")
    config = EngineConfig(startup_timeout_s=1)
    with pytest.raises(EngineError, match="not ready within 1 s") as caught, vllm_server(config):
        pass
    assert caught.value.log is not None
    assert gone(engine_pid(caught.value.log))


def test_its_death_is_noticed_and_takes_its_children_along(stand_in: Path) -> None:
    with vllm_server(EngineConfig()) as server:
        engine = engine_pid(server.log)
        os.kill(server.process.pid, signal.SIGKILL)
        assert gone(engine)
        with pytest.raises(EngineError, match="signal SIGKILL"):
            server.check()


def test_nothing_is_left_when_the_parent_is_killed(stand_in: Path, tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, "-P", str(tmp_path / "parent.py"), str(stand_in)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, log = parent.stdout.readline().split(maxsplit=1)
        engine = engine_pid(Path(log.strip()))
        assert _runs(int(pid))
        assert _runs(engine)
        parent.kill()
    assert gone(int(pid), engine)


def test_a_child_whose_parent_is_gone_already_ends(home: Path) -> None:
    code = "from foretaste.serving.child import die_with_parent as d; d(); print('lives')"
    environment = os.environ | {"FORETASTE_PARENT_PID": "1"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], check=False, env=environment, capture_output=True
    )
    assert (done.returncode, done.stdout) == (1, b"")


def test_the_command_follows_the_settings(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setattr(subject, "is_cpu_build", lambda: True)
    plain = vllm_command(EngineConfig(kv_cache_gb=0.5), Path("m"), 1234)
    assert plain[plain.index("--kv-cache-memory-bytes") + 1] == str(2**29)
    assert plain[plain.index("--port") + 1] == "1234"
    assert plain[plain.index("--load-format") + 1] == "safetensors"
    assert "--enforce-eager" in plain
    assert "--enable-lora" not in plain
    assert "--trust-remote-code" not in plain
    full = vllm_command(
        EngineConfig(enable_lora=True, prompt_embeds=True, prefix_caching=False), Path("m"), 1
    )
    assert {"--enable-lora", "--enable-prompt-embeds", "--no-enable-prefix-caching"} <= set(full)


def test_one_server_over_several_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "is_cpu_build", lambda: False)
    one = vllm_command(EngineConfig(gpu_memory=0.8), Path("m"), 1)
    assert one[one.index("--gpu-memory-utilization") + 1] == "0.8"
    assert one[one.index("--host") + 1] == "127.0.0.1"
    assert "--tensor-parallel-size" not in one
    config = EngineConfig(tensor_parallel=4, data_parallel=2, host="10.0.0.5")
    assert config.gpus == 8
    spread = vllm_command(config, Path("m"), 1)
    assert spread[spread.index("--tensor-parallel-size") + 1] == "4"
    assert spread[spread.index("--pipeline-parallel-size") + 1] == "1"
    assert spread[spread.index("--data-parallel-size") + 1] == "2"
    assert spread[spread.index("--host") + 1] == "10.0.0.5"


def test_without_gpus_the_groups_of_cores_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "is_cpu_build", lambda: True)
    with pytest.raises(InputError, match=r"for 2 GPUs.*engine\.cores"):
        vllm_command(EngineConfig(tensor_parallel=2), Path("m"), 1)
    named = vllm_command(EngineConfig(tensor_parallel=2, cores="0-3|4-7"), Path("m"), 1)
    assert named[named.index("--tensor-parallel-size") + 1] == "2"
    assert "--gpu-memory-utilization" not in named


def test_the_environment_is_offline_and_follows_the_settings(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(subject, "is_cpu_build", lambda: True)
    one = vllm_environment(EngineConfig(threads=3, enable_lora=True))
    assert one["HF_HUB_OFFLINE"] == one["VLLM_NO_USAGE_STATS"] == one["DO_NOT_TRACK"] == "1"
    assert one["OMP_NUM_THREADS"] == "3"
    assert one["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert one["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    bound = vllm_environment(EngineConfig(cores="0-3"))
    assert bound["VLLM_CPU_OMP_THREADS_BIND"] == "0-3"
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in bound
    monkeypatch.setattr(subject, "is_cpu_build", lambda: False)
    assert "--kv-cache-memory-bytes" not in vllm_command(EngineConfig(), Path("m"), 1)


def test_without_vllm_there_is_a_way_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subject, "model_folder", lambda name: home)
    with pytest.raises(InputError, match="--engine transformers"), vllm_server(EngineConfig()):
        pass


def test_the_tail_of_a_log_leaves_noise_out(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    assert "cannot be read" in log_tail(log)
    log.write_text("")
    assert log_tail(log) == "(the log is empty)"
    log.write_text('first\nsecond\n\nnanobind: leaked 4 instances!\n - leaked type "x"\n')
    assert log_tail(log) == "first\nsecond"
    assert log_tail(log, 1) == "second"


def test_ports_are_free_and_old_logs_go(home: Path) -> None:
    assert 20_000 <= free_port() < 32_000
    for number in range(subject.LOGS_KEPT + 5):
        (home / "logs").mkdir(parents=True, exist_ok=True)
        (home / "logs" / f"vllm-2000-{number:03}.log").write_text("")
    subject._new_log().write_text("")
    kept = sorted(path.name for path in (home / "logs").glob("vllm-*.log"))
    assert len(kept) == subject.LOGS_KEPT
    assert kept[0] == "vllm-2000-006.log"


class Tag(BaseModel):
    tag: str = Field(max_length=12)


@pytest.mark.model
def test_vllm_answers_in_the_schema_and_its_death_is_told(tiny_llama: Path) -> None:
    """One real start: an answer, a shared prefix, more sampled prompts than one step reads, then
    `kill -9` of the engine in mid-answer.
    """
    config = EngineConfig(model=str(tiny_llama), max_model_len=512, kv_cache_gb=0.1)
    question = (Message("user", "word " * 20),)

    async def go(server: VllmServer) -> None:
        chat = OpenAIChat(server.url, server.model, alive=server.check)
        first = await chat.ask(Ask(question, Flags, max_tokens=64))
        again = await chat.ask(Ask(question, Flags, max_tokens=64))
        assert first.parsed == again.parsed
        assert first.usage.cached == 0
        assert again.usage.cached >= 64
        assert first.usage.prompt > 100
        many = [(Message("user", f"{n} " + "word " * 80),) for n in range(24)]  # 400 tokens each
        await asyncio.gather(
            *(
                chat.ask(Ask(one, Flags, max_tokens=64, temperature=0.6, seed=n))
                for n, one in enumerate(many)
            )
        )
        (engine,) = [
            child
            for child in psutil.Process(server.process.pid).children(recursive=True)
            if "EngineCore" in child.name()
        ]
        long = asyncio.create_task(chat.ask(Ask(question, Long, max_tokens=380)))
        await asyncio.sleep(0.3)
        engine.kill()
        with pytest.raises(EngineError, match="vLLM ended") as caught:
            await long
        assert str(server.log) in str(caught.value)
        await chat.close()

    with vllm_server(config) as server:
        asyncio.run(go(server))
        pids = [server.process.pid]
        pids += [child.pid for child in psutil.Process().children(recursive=True)]
    assert gone(*pids)


class Flags(BaseModel):
    good: bool
    new: bool


class Long(BaseModel):
    text: str


@pytest.mark.model
def test_the_bundled_model_through_the_one_door() -> None:
    async def go() -> tuple[str, str]:
        async with open_chat(EngineConfig()) as chat:
            messages = (Message("user", "What is the capital of France?"),)
            answer = await chat.ask(Ask(messages, Tag, max_tokens=32))
            return chat.name, answer.text

    name, text = asyncio.run(go())
    assert name == "bundled:smollm2-135m-instruct"
    assert set(json.loads(text)) == {"tag"}
    assert " " not in text.split('"tag":')[0]
