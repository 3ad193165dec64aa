"""Load on the API: many clients at once against a server of its own process on this machine.

    python benchmarks/load_test.py --dataset ml-100k --clients 200 --seconds 600 --json -
    python benchmarks/load_test.py --dataset ml-100k --clients 200 --seconds 600 --kill-every 30

Without `--kill-every` the server runs on the grounded fallbacks (`--engine none`). With it, a
scripted engine in a process of its own stands behind the OpenAI-compatible seam and is killed
(SIGKILL) that often; clients that are told 503 wait as long as Retry-After says and ask again.
What is measured is the API and the pipeline, not a language model.

Every client asks, checks the answer (ten different items of the catalogue, none from the history of
that very user), and asks again at once. Some answers are followed by feedback, an interaction or a
changed item. At the end every acknowledged thumb and interaction must be in the ledger, once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from foretaste.data.dataset import Dataset
from foretaste.data.feedback import feedback_table
from foretaste.data.ledger import ledger_path, read_ledger
from foretaste.data.store import load_dataset

WARM_S = 15.0  # before memory is first looked at
PAGE = 10
RESTART_S = 3.0  # a killed engine stays away so long


@dataclass
class Seen:
    """What the clients saw."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    thumbs: dict[tuple[str, str], int] = field(default_factory=dict)
    events: set[str] = field(default_factory=set)
    memory_mb: list[tuple[float, float, float]] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    kills: int = 0
    server_cpu_s: float = 0.0

    def fault(self, text: str) -> None:
        self.faults.append(text[:300])


class Client:
    """One person who asks again and again."""

    def __init__(self, number: int, http: httpx.AsyncClient, data: Dataset, seen: Seen) -> None:
        self.number, self.http, self.data, self.seen = number, http, data, seen
        self.chance = random.Random(number)  # noqa: S311
        self.catalogue = set(data.row_of)
        self.count = 0

    async def run(self, until: float) -> None:
        while time.monotonic() < until:
            user = self.chance.choice(self.data.user_ids)
            made = await self.post("recommendations", {"user_id": user, "n": PAGE}, until)
            if made is None:
                continue
            self.check(user, made)
            self.count += 1
            if self.chance.random() < 0.3:
                await self.thumb(user, made, until)
            if self.chance.random() < 0.05:
                await self.did(made, until)
            if self.chance.random() < 0.005:
                await self.change(until)

    async def post(self, path: str, body: dict[str, Any], until: float) -> dict[str, Any] | None:
        """The answer, asked for again after a 503; None when time is over or it went wrong."""
        while time.monotonic() < until + 30:
            started = time.monotonic()
            try:
                answer = await self.http.post(f"/v1/{path}", json=body)
            except httpx.HTTPError as error:
                self.seen.fault(f"{path}: {type(error).__name__} {error}")
                return None
            self.seen.statuses[f"{path} {answer.status_code}"] += 1
            if answer.status_code == 200:
                self.seen.seconds.setdefault(path, []).append(time.monotonic() - started)
                made: dict[str, Any] = answer.json()
                return made
            if answer.status_code != 503 or "retry-after" not in answer.headers:
                self.seen.fault(f"{path}: {answer.status_code} {answer.text}")
                return None
            await asyncio.sleep(float(answer.headers["retry-after"]))
        return None

    def check(self, user: str, made: dict[str, Any]) -> None:
        """The answer is about this user, and what it recommends exists and is new to them."""
        page = [one["item_id"] for one in made["recommendations"]]
        own = {row["item_id"] for row in self.data.events_of(user)}
        told = {event["item_id"] for event in made["history"]}
        if made["user_id"] != user or told != own:
            self.seen.fault(f"the answer for {user} is about somebody else")
        if len(set(page)) != PAGE or set(page) - self.catalogue or set(page) & own:
            self.seen.fault(f"the page for {user} is wrong: {page}")
        if not all(one["explanation"] for one in made["recommendations"]):
            self.seen.fault(f"an item for {user} has no explanation")

    async def thumb(self, user: str, made: dict[str, Any], until: float) -> None:
        item_id = self.chance.choice(made["recommendations"])["item_id"]
        up = self.chance.random() < 0.5
        body = {"request_id": made["request_id"], "user_id": user, "item_id": item_id}
        body |= {"thumb": "up" if up else "down", "reason": "load test"}
        if await self.post("feedback", {"feedback": [body]}, until) is not None:
            self.seen.thumbs[made["request_id"], item_id] = 1 if up else -1

    async def did(self, made: dict[str, Any], until: float) -> None:
        event_id = f"{self.number}-{self.count}"
        body = {"user_id": f"visitor-{self.number}", "event_id": event_id, "event": "view"}
        body |= {"item_id": made["recommendations"][0]["item_id"]}
        if await self.post("interactions", {"interactions": [body]}, until) is not None:
            self.seen.events.add(event_id)

    async def change(self, until: float) -> None:
        """Send an item of the catalogue as it is: all the work of a change, the same answers."""
        row = self.data.items.row(self.chance.randrange(self.data.items.height), named=True)
        pairs = {pair["name"]: pair["value"] for pair in row["attributes"] or ()}
        item = {**row, "categories": row["categories"] or [], "attributes": pairs}
        item["description"] = (row["description"] or "")[:20_000] or None
        await self.post("items", {"items": [item]}, until)


def start_server(
    options: argparse.Namespace, port: int, engine: int | None
) -> subprocess.Popen[str]:
    """`foretaste serve` on `port`; over the scripted engine when there is one."""
    command = [sys.executable, "-c", "from foretaste.app.cli import main; main()", "serve"]
    command += ["--dataset", options.dataset, "--port", str(port)]
    if engine is None:
        command += ["--engine", "none"]
    else:
        command += ["--endpoint", f"http://127.0.0.1:{engine}/v1", "--model", "scripted"]
    for setting in options.setting:
        command += ["--set", setting]
    log = Path(options.log).open("w")  # noqa: SIM115 (open as long as the server)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)


def start_engine(port: int) -> subprocess.Popen[str]:
    """The scripted engine in a process of its own."""
    program = [sys.executable, str(Path(__file__).with_name("scripted_engine.py")), str(port)]
    return subprocess.Popen(program, text=True)


async def kill_now_and_then(port: int, every_s: float, seen: Seen) -> None:
    """Keep an engine on `port` and kill it every `every_s` seconds, until cancelled."""
    engine = start_engine(port)
    try:
        while True:
            await asyncio.sleep(every_s)
            engine.send_signal(signal.SIGKILL)
            engine.wait()
            seen.kills += 1
            await asyncio.sleep(RESTART_S)
            engine = start_engine(port)
    finally:
        engine.kill()
        engine.wait()


def _resident(pid: int) -> tuple[float, float]:
    """Megabytes of a process's own memory, and of mapped files that happen to be in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sizes = {name: value for name, _, value in (line.partition(":") for line in lines)}
    own, mapped = (int(sizes[name].split()[0]) / 1000 for name in ("RssAnon", "RssFile"))
    return own, mapped


async def watch_memory(pid: int, until: float, seen: Seen) -> None:
    process, started = psutil.Process(pid), time.monotonic()
    before = process.cpu_times()
    while time.monotonic() < until:
        seen.memory_mb.append((time.monotonic() - started, *_resident(pid)))
        seen.files.append(process.num_fds())
        await asyncio.sleep(1.0)
    after = process.cpu_times()
    seen.server_cpu_s = after.user + after.system - before.user - before.system


async def load(options: argparse.Namespace, url: str, pid: int, data: Dataset, seen: Seen) -> None:
    until = time.monotonic() + options.seconds
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits, trust_env=False) as http:
        clients = [Client(number, http, data, seen) for number in range(options.clients)]
        memory = asyncio.create_task(watch_memory(pid, until, seen))
        await asyncio.gather(*(client.run(until) for client in clients))
        await memory


def lost(options: argparse.Namespace, seen: Seen) -> dict[str, int]:
    """Acknowledged thumbs and events that the ledger does not hold as they were sent."""
    table = feedback_table(options.dataset)
    kept = {
        (row[0], row[1]): row[2:]
        for row in table.select("request_id", "item_id", "thumb", "position").iter_rows()
    }
    events = {
        one
        for (one,) in read_ledger(ledger_path(options.dataset), "SELECT event_id FROM interactions")
    }
    return {
        "feedback_acknowledged": len(seen.thumbs),
        "feedback_lost": sum(kept.get(key, (0,))[0] != thumb for key, thumb in seen.thumbs.items()),
        "feedback_without_its_page": sum(
            key in kept and kept[key][1] is None for key in seen.thumbs
        ),
        "events_acknowledged": len(seen.events),
        "events_lost": len(seen.events - events),
    }


def figures(options: argparse.Namespace, seen: Seen) -> dict[str, Any]:
    """What is printed."""
    latency = {}
    for path, seconds in seen.seconds.items():
        p50, p95, p99 = np.percentile(seconds, [50, 95, 99])
        latency[path] = {
            "requests": len(seconds),
            "p50_ms": round(p50 * 1000, 1),
            "p95_ms": round(p95 * 1000, 1),
            "p99_ms": round(p99 * 1000, 1),
            "p99_over_p50": round(p99 / p50, 2),
        }
    warm = [one for one in seen.memory_mb if one[0] >= min(WARM_S, options.seconds / 4)]
    at, own, mapped = zip(*warm, strict=True)
    slopes = [
        round(float(np.polyfit(at[first:], own[first:], 1)[0]) * 60, 2)
        for first in (0, len(at) // 2)
    ]
    return {
        "clients": options.clients,
        "seconds": options.seconds,
        "requests_per_second": round(
            len(seen.seconds.get("recommendations", ())) / options.seconds, 1
        ),
        "server_cores_used": round(seen.server_cpu_s / options.seconds, 2),
        "latency": latency,
        "statuses": dict(sorted(seen.statuses.items())),
        "errors": len(seen.faults),
        "first_errors": seen.faults[:5],
        "engine_kills": seen.kills,
        "memory_mb": {
            "warm": round(own[0], 1),
            "end": round(own[-1], 1),
            "slope_per_minute": slopes[0],
            "slope_per_minute_second_half": slopes[1],
            "every_30_s": [round(one) for one in own[::30]],
            "mapped_files": [round(mapped[0], 1), round(mapped[-1], 1)],
        },
        "open_files": {"most": max(seen.files), "end": seen.files[-1]},
    } | lost(options, seen)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kill-every", type=float)
    parser.add_argument("--set", dest="setting", action="append", default=[])
    parser.add_argument("--log", default=os.devnull)
    parser.add_argument("--json", default="-")
    options = parser.parse_args()
    data, seen = load_dataset(options.dataset), Seen()
    engine = None if options.kill_every is None else _free_port()
    server = start_server(options, _free_port(), engine)
    try:
        asyncio.run(_whole(options, server, engine, data, seen))
    finally:
        server.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            server.wait(30)
        server.kill()
    text = json.dumps(figures(options, seen))
    print(text, flush=True) if options.json == "-" else Path(options.json).write_text(text)


async def _whole(
    options: argparse.Namespace,
    server: subprocess.Popen[str],
    engine: int | None,
    data: Dataset,
    seen: Seen,
) -> None:
    """Wait for the server, load it, and meanwhile keep and kill the engine."""
    killing = None
    if engine is not None:
        killing = asyncio.create_task(kill_now_and_then(engine, options.kill_every, seen))
    url = await asyncio.to_thread(server.stdout.readline) if server.stdout else ""
    await load(options, url.strip(), server.pid, data, seen)
    if killing is not None:
        killing.cancel()
        with suppress(asyncio.CancelledError):
            await killing


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
