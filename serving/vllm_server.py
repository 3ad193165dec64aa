"""vLLM as a child process: started, waited for, watched, and never left behind.

    with vllm_server(EngineConfig()) as server:
        ...  # server.url is an OpenAI-compatible address; server.check() raises when it died

`docs/log.md` (2026-11-21) tells what the start spends its time on and what was tried.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata, util
from pathlib import Path

import httpx

from foretaste.data.errors import EngineError, ForetasteError, InputError
from foretaste.data.files import read_json, subfolder, write_json
from foretaste.data.progress import Meter, meter
from foretaste.serving.arithmetic import KERNELS
from foretaste.serving.child import child_environment
from foretaste.serving.engine_config import EngineConfig, default_threads
from foretaste.serving.store import model_folder

LOGS_KEPT = 20
TAIL_LINES = 12
STOP_SECONDS = 10.0  # from asking to forcing
_POLL_SECONDS = 0.2
_FIRST_GUESS_SECONDS = 45.0  # of a start that was never measured on this home
_PORTS = range(20_000, 32_000)  # below the range that outgoing connections take theirs from
_NOISE = ("nanobind", " - leaked ", " - ... skipped", "resource_tracker", "  warnings.warn(")


@dataclass
class VllmServer:
    """A vLLM server that was started here.

    Attributes:
        url: the address that OpenAI's clients want: `http://127.0.0.1:PORT/v1`.
        model: the name under which the server knows its base model.
        log: where all its processes write.
        process: the API server; its own children live in the same process group.
    """

    url: str
    model: str
    log: Path
    process: subprocess.Popen[bytes]

    def check(self) -> None:
        """Raise `EngineError` with the log's last lines when the server has ended."""
        code = self.process.poll()
        if code is not None:
            raise EngineError(
                f"vLLM ended unexpectedly ({_how_it_ended(code)}); run the command again, and if "
                f"it ends again see what it wrote last:\n{log_tail(self.log)}\n",
                self.log,
            )

    def ready(self) -> bool:
        """Whether it answers now. Raises `EngineError` when it has ended."""
        self.check()
        try:
            return httpx.get(f"{self.url[:-3]}/health", timeout=2, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        """End all its processes: asked first, forced after `STOP_SECONDS`. Safe to call twice."""
        _signal_group(self.process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        _signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def vllm_server(config: EngineConfig) -> Iterator[VllmServer]:
    """A running vLLM server for the block; stopped after it, and also when this process dies.

    Raises:
        ModelError: the model is missing or refused.
        InputError: vLLM is not installed.
        EngineError: it ended while starting or was not ready in `startup_timeout_s`.
    """
    server = _launch(config, model_folder(config.model))
    try:
        for pause in _until_ready(server, config):
            time.sleep(pause)
        yield server
    finally:
        server.stop()


@asynccontextmanager
async def vllm_server_async(config: EngineConfig) -> AsyncIterator[VllmServer]:
    """The same for asynchronous code: the event loop stays free while vLLM starts."""
    folder = await asyncio.to_thread(model_folder, config.model)
    server = _launch(config, folder)  # not in a thread: the child dies with the one it came from
    try:
        for pause in _until_ready(server, config):
            await asyncio.sleep(pause)
        yield server
    finally:
        server.stop()


def vllm_command(config: EngineConfig, folder: Path, port: int) -> list[str]:
    """The command line of the server for the model in `folder`."""
    structured = {"backend": "xgrammar", "disable_any_whitespace": True}
    command = [
        *(sys.executable, "-P", "-m", "foretaste.serving.vllm_main"),
        *("--model", str(folder), "--served-model-name", config.model),
        *("--host", config.host, "--port", str(port), "--disable-uvicorn-access-log"),
        *("--load-format", "safetensors", "--dtype", config.dtype),
        *("--max-model-len", str(config.max_model_len)),
        *("--max-num-seqs", str(config.max_num_seqs)),
        *("--block-size", str(config.block_size)),
        # Decoding is what each ask says, never what a model's own defaults would add to it.
        *("--generation-config", "vllm", "--enable-prompt-tokens-details"),
        *("--structured-outputs-config", json.dumps(structured)),
        "--enable-prefix-caching" if config.prefix_caching else "--no-enable-prefix-caching",
    ]
    if is_cpu_build():
        command += ["--kv-cache-memory-bytes", str(int(config.kv_cache_gb * 2**30))]
        # A prompt read in pieces that is to be sampled with a seed ends the engine on a CPU: vLLM
        # winds the random generator back, which only those of GPUs can.
        command.append("--no-enable-chunked-prefill")
    else:
        command += ["--gpu-memory-utilization", str(config.gpu_memory)]
    if config.gpus > 1:
        command += _shared_out(config)
    if config.enforce_eager:
        command.append("--enforce-eager")
    if config.enable_lora or config.adapters:
        command += ["--enable-lora", "--max-loras", str(config.max_loras)]
        command += ["--max-lora-rank", str(config.max_lora_rank)]
    if config.prompt_embeds or config.form == "hybrid":
        command.append("--enable-prompt-embeds")
    return command


def _shared_out(config: EngineConfig) -> list[str]:
    """Arguments that spread one server over several GPUs, or over named groups of cores.

    Raises:
        InputError: there are no GPUs, and no cores are named for each part.
    """
    groups = config.cores.count("|") + 1 if config.cores else 0
    if is_cpu_build() and groups != config.gpus:
        raise InputError(
            f"tensor · pipeline · data parallel ask for {config.gpus} GPUs, and the vLLM here is the "
            "one for CPUs; name as many groups of cores (engine.cores=0-31|32-63), or set "
            "engine.replicas instead."
        )
    return [
        *("--tensor-parallel-size", str(config.tensor_parallel)),
        *("--pipeline-parallel-size", str(config.pipeline_parallel)),
        *("--data-parallel-size", str(config.data_parallel)),
    ]


def vllm_environment(config: EngineConfig) -> dict[str, str]:
    """The environment of the server: offline, no telemetry, no secrets, few threads."""
    environment = {key: value for key, value in child_environment().items() if key not in KERNELS}
    environment |= {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CACHE_ROOT": str(subfolder("cache", "vllm")),
        "VLLM_LOGGING_COLOR": "0",
        "PYTHONUNBUFFERED": "1",
    }
    if config.enable_lora or config.adapters:
        environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "1"
    if not is_cpu_build():
        return environment
    environment["OMP_NUM_THREADS"] = str(config.threads or default_threads())
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if config.cores:
        environment["VLLM_CPU_OMP_THREADS_BIND"] = config.cores
    else:
        # vLLM's CPU platform then keeps the worker inside the engine's process.
        environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    return environment


def is_cpu_build() -> bool:
    """Whether the installed vLLM is the one for CPUs."""
    try:
        metadata.distribution("vllm-cpu")
    except metadata.PackageNotFoundError:
        return False
    return True


def free_port() -> int:
    """A port on 127.0.0.1 that nothing listens on and that no outgoing connection will take."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ForetasteError("No free port between 20000 and 32000 on 127.0.0.1; close some servers.")


def expected_start_s() -> float:
    """Seconds that a start takes here, by the last one."""
    memory = _memory()
    return float(read_json(memory)["seconds"]) if memory.exists() else _FIRST_GUESS_SECONDS


def log_tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log that say something, each cut to 300 characters."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65_536))
            text = file.read().decode("utf-8", errors="replace")
    except OSError as error:
        return f"(the log cannot be read: {error.strerror})"
    said = [
        line[:300]
        for line in text.splitlines()
        if line.strip() and not any(noise in line for noise in _NOISE)
    ]
    return "\n".join(said[-lines:]) or "(the log is empty)"


def _launch(config: EngineConfig, folder: Path) -> VllmServer:
    if util.find_spec("vllm") is None:
        raise InputError(
            "vLLM is not installed here; install foretaste with its extra `cpu` or `gpu`, name a "
            "server with --endpoint, or use --engine transformers."
        )
    port = config.port or free_port()
    command, environment = vllm_command(config, folder, port), vllm_environment(config)
    log = _new_log()
    with log.open("wb") as output:
        # Its own session: a Ctrl-C in the terminal reaches this process, which then stops it.
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return VllmServer(f"http://127.0.0.1:{port}/v1", config.model, log, process)


def _until_ready(server: VllmServer, config: EngineConfig) -> Iterator[float]:
    """Yield pauses until the server answers, showing progress against the last start's time."""
    expected = expected_start_s()
    started = time.monotonic()
    with meter(f"vLLM starts with {config.model}", expected, "s") as progress:
        while not server.ready():
            spent = time.monotonic() - started
            if spent > config.startup_timeout_s:
                raise EngineError(
                    f"vLLM was not ready within {config.startup_timeout_s:.0f} s; "
                    f"it wrote last:\n{log_tail(server.log)}\n",
                    server.log,
                )
            _advance_to(progress, min(spent, expected))
            yield _POLL_SECONDS
        _advance_to(progress, expected)
    write_json(_memory(), {"seconds": round(time.monotonic() - started, 1)})


def _memory() -> Path:
    return subfolder("cache") / "vllm_start.json"


def _advance_to(progress: Meter, done: float) -> None:
    progress.advance(max(0.0, done - progress.done))


def _new_log() -> Path:
    """A fresh log file; the oldest ones beyond `LOGS_KEPT` are removed."""
    folder = subfolder("logs")
    for old in sorted(folder.glob("vllm-*.log"))[: -LOGS_KEPT + 1]:
        old.unlink(missing_ok=True)
    return (
        folder
        / f"vllm-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}-{time.monotonic_ns() % 10**6}.log"
    )


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _how_it_ended(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
