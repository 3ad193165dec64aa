"""The API with the real small model for an hour: memory, open files and latency must stay as they were.

    python benchmarks/soak.py --dataset ml-100k --seconds 3600

Starts `foretaste serve` in a process of its own and asks it without a pause, a few clients at once, for
the same people in the same order again and again; some answers are followed by a thumb and an
interaction. With `--busy 0.4` each client rests after an answer, so that it waits for one in two fifths
of its time, and something else can use the machine. Memory and open files are read every few seconds, of the API and of its engine apart. The
first tenth warms up and does not count. Prints one JSON object; exit code 1 when something grew:

* resident memory of the API or of the engine, by a robust line through it, by more than 5 %
* open files of either, above what they were after warming up (and 8 more)
* median latency, of the last third against the first, by more than 10 %
* any answer that failed

Beside the latency stand the processor seconds of an answer, API and engine together, of both thirds: on a
machine that does other work meanwhile they tell whether the latency or the machine drifted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
import psutil
from scipy.stats import theilslopes

from foretaste.data.store import load_dataset

WARM_SHARE = 0.1
LOOK_S = 2.0
PAGE = 5
GROWTH, DRIFT = 0.05, 0.10
SPARE_FILES = 8
STOP_S = 60.0


@dataclass(frozen=True)
class Crowd:
    """Who asks: these people, by so many clients at once, for so long, each busy for a share of it."""

    people: Sequence[str]
    clients: int
    seconds: float
    busy: float


@dataclass
class Seen:
    """What was measured: (second, value) pairs."""

    latency: list[tuple[float, float]] = field(default_factory=list)
    memory: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    files: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    processor: list[tuple[float, float]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--people", type=int, default=50, help="who are asked for, in turn")
    parser.add_argument("--busy", type=float, default=1.0, help="share of a client's time, 0 to 1")
    parser.add_argument("--engine", default="vllm", help="as of `foretaste serve`")
    parser.add_argument("--set", dest="setting", action="append", default=[])
    options = parser.parse_args()
    if not 0 < options.busy <= 1:
        raise SystemExit(f"--busy expects a share above 0 and up to 1, not {options.busy}.")
    people = load_dataset(options.dataset).user_ids[: options.people]
    command = [sys.executable, "-P", "-c", "from foretaste.app.cli import main; main()", "serve"]
    command += ["--dataset", options.dataset, "--engine", options.engine]
    for one in options.setting:
        command += ["--set", one]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            url = server.stdout.readline().strip() if server.stdout else ""
            if not url:
                raise SystemExit("The server did not start; `foretaste serve` says why.")
            crowd = Crowd(people, options.clients, options.seconds, options.busy)
            seen = asyncio.run(soaked(url, server.pid, crowd))
        finally:
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.wait(STOP_S)
            server.kill()
    made = figures(seen, options.seconds)
    print(json.dumps(made), flush=True)
    sys.exit(0 if made["steady"] else 1)


async def soaked(url: str, pid: int, crowd: Crowd) -> Seen:
    """Ask until time is over, and look at the processes meanwhile."""
    seen, begun = Seen(), time.monotonic()
    async with httpx.AsyncClient(base_url=url, timeout=300, trust_env=False) as http:
        work = [
            asyncio.create_task(_client(http, number, crowd, seen, begun))
            for number in range(crowd.clients)
        ]
        told = begun
        while not all(one.done() for one in work):
            _look(pid, seen, time.monotonic() - begun)
            if time.monotonic() - told > 60:
                told = time.monotonic()
                left = crowd.seconds - (told - begun)
                note = f"{len(seen.latency)} answers, {len(seen.faults)} faults, {left:.0f} s left"
                print(note, file=sys.stderr, flush=True)
            await asyncio.sleep(LOOK_S)
        await asyncio.gather(*work)
    return seen


async def _client(
    http: httpx.AsyncClient, number: int, crowd: Crowd, seen: Seen, begun: float
) -> None:
    """One client: the same people in the same order until time is over."""
    people, turn = crowd.people[number :: crowd.clients], 0
    while time.monotonic() - begun < crowd.seconds:
        user = people[turn % len(people)]
        start = time.monotonic()
        made = await _post(http, "recommendations", {"user_id": user, "n": PAGE, "seed": 0}, seen)
        took = time.monotonic() - start
        seen.latency.append((start - begun, took))
        if made is not None and turn % 5 == 0:
            item = made["recommendations"][0]["item_id"]
            thumb = {"request_id": made["request_id"], "item_id": item, "thumb": "up"}
            await _post(http, "feedback", {"feedback": [thumb]}, seen)
            event = {"user_id": f"visitor-{turn % 100}", "item_id": item, "event": "view"}
            await _post(http, "interactions", {"interactions": [event]}, seen)
        await asyncio.sleep(took * (1 / crowd.busy - 1))
        turn += 1


async def _post(http: httpx.AsyncClient, path: str, body: Any, seen: Seen) -> Any:
    """The answer, or None; what went wrong is kept."""
    try:
        answer = await http.post(f"/v1/{path}", json=body)
        if answer.status_code == 200:
            return answer.json()
        seen.faults.append(f"{path}: {answer.status_code} {answer.text[:200]}")
    except httpx.HTTPError as error:
        seen.faults.append(f"{path}: {type(error).__name__}")
    await asyncio.sleep(1)
    return None


def _look(pid: int, seen: Seen, at: float) -> None:
    """Read memory, open files and processor time of the API, and of all that it started together."""
    try:
        api = psutil.Process(pid)
        groups = {"api": [api], "engine": api.children(recursive=True)}
        times = [one.cpu_times() for processes in groups.values() for one in processes]
        seen.processor.append((at, sum(one.user + one.system for one in times)))
        for name, processes in groups.items():
            if processes:
                memory = sum(one.memory_info().rss for one in processes) / 1e6
                seen.memory.setdefault(name, []).append((at, memory))
                seen.files.setdefault(name, []).append(
                    (at, sum(one.num_fds() for one in processes))
                )
    except psutil.Error:
        return


def figures(seen: Seen, seconds: float) -> dict[str, Any]:
    """What the hour came to, and whether everything stayed as it was."""
    from_s = seconds * WARM_SHARE
    made: dict[str, Any] = {
        "seconds": seconds,
        "answers": len(seen.latency),
        "faults": len(seen.faults),
        "fault": seen.faults[:1],
        "cores": os.cpu_count(),
    }
    steady = not seen.faults
    for name in seen.memory:
        memory, files = _after(seen.memory[name], from_s), _after(seen.files[name], from_s)
        if len(memory) < 10:
            return made | {"steady": False, "why": "too short to see anything"}
        slope = float(theilslopes(memory[:, 1], memory[:, 0])[0])  # MB a second
        risen = slope * float(memory[-1, 0] - memory[0, 0])
        size = float(np.median(memory[:, 1]))
        grown = float(files[-len(files) // 10 :, 1].max() - files[: len(files) // 10 + 1, 1].max())
        made[name] = {
            "memory_mb": round(size),
            "grown_mb": round(risen, 1),
            "grown_mb_an_hour": round(slope * 3600, 1),
            "files": int(files[-1, 1]),
            "files_grown": int(grown),
        }
        steady &= risen <= GROWTH * size and grown <= SPARE_FILES
    latency = _after(seen.latency, from_s)
    third = len(latency) // 3
    if third < 2:
        return made | {"steady": False, "why": "too few answers to compare"}
    first, last = (float(np.median(part[:, 1])) for part in (latency[:third], latency[-third:]))
    drift = last / first - 1
    made["processor_s"] = _processor(seen, [latency[:third, 0], latency[-third:, 0]])
    made["latency_s"] = {
        "median_first_third": round(first, 3),
        "median_last_third": round(last, 3),
        "p95": round(float(np.quantile(latency[:, 1], 0.95)), 3),
        "drift": round(drift, 3),
    }
    return made | {"steady": bool(steady and drift <= DRIFT)}


def _processor(seen: Seen, parts: Sequence[np.ndarray[Any, Any]]) -> dict[str, float]:
    """Processor seconds of an answer in two parts of the run, each (n,) seconds at which one was asked."""
    at, spent = np.array(seen.processor, dtype=float).T  # (looks,), (looks,)
    first, last = (
        float(np.ptp(np.interp(part[[0, -1]], at, spent)) / (len(part) - 1)) for part in parts
    )
    return {"first_third": round(first, 2), "last_third": round(last, 2)}


def _after(pairs: list[tuple[float, float]], from_s: float) -> np.ndarray[Any, Any]:
    """(n, 2) the pairs from that second on, by time."""
    held = np.array(sorted(pairs), dtype=float).reshape(-1, 2)
    return held[held[:, 0] >= from_s]


if __name__ == "__main__":
    main()
