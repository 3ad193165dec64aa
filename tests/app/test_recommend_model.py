"""The main job on real parts: the bundled model behind a real vLLM, ML-100K, the real embedder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.model
COMMAND = [
    *(sys.executable, "-P", "-c", "from foretaste.app.cli import main; main()"),
    *("recommend", "--dataset", "ml-100k"),
]
TEN_MINUTES = 600


def _offline() -> dict[str, str]:
    return os.environ | {"HF_HUB_OFFLINE": "1"}


def test_ten_real_items_for_a_real_user(tmp_path: Path) -> None:
    call = [*COMMAND, "--user", "1", "--json", "-"]
    done = subprocess.run(
        call,
        check=False,
        capture_output=True,
        text=True,
        timeout=TEN_MINUTES,
        env=_offline(),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    page = [one["item_id"] for one in result["recommendations"]]
    assert len(page) == len(set(page)) == 10
    assert not set(page) & {event["item_id"] for event in result["history"]}
    assert all(one["explanation"] and one["title"] for one in result["recommendations"])
    assert len(result["history"]) == 272
    assert result["tokens"]["total"]["completion"] > 0
    calls = result["fallbacks"].get("explainer", {"calls": 0})["calls"]
    assert calls <= 20, (
        "two items a call, asked twice at most; none when this home has the sentences"
    )
    assert set(result["timings_ms"]) >= {"planner", "expert", "arbiter", "retrieve", "rank"}


def test_a_killed_engine_ends_in_a_sentence_and_leaves_no_process(tmp_path: Path) -> None:
    call = [*COMMAND, "--user", "2", "--json", "-"]
    errors = tmp_path / "stderr.txt"
    with errors.open("w") as sink:
        running = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=sink, env=_offline())
        try:
            family = _kill_once_ready(running.pid, errors)
            running.communicate(timeout=120)
        finally:
            running.kill()
    said = errors.read_text()
    assert running.returncode == 1, said
    assert ".log" in said
    assert "foretaste: " in said
    time.sleep(3)
    assert not [pid for pid in family if psutil.pid_exists(pid) and _alive(pid)]


def _kill_once_ready(pid: int, errors: Path) -> list[int]:
    """Kill the engine's core as soon as vLLM says that it is ready; all processes below `pid`."""
    end = time.monotonic() + TEN_MINUTES
    while "vLLM starts" not in errors.read_text() or "done (" not in errors.read_text():
        assert time.monotonic() < end, errors.read_text()
        assert psutil.pid_exists(pid), errors.read_text()
        time.sleep(0.2)
    children = psutil.Process(pid).children(recursive=True)
    cores = [child for child in children if "EngineCore" in " ".join(child.cmdline())]
    for child in cores or children:
        os.kill(child.pid, signal.SIGKILL)
    return [child.pid for child in children]


def _alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
