"""The engine of a server under load, killed: every call is answered, and the next engine takes over."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forks
import shop
from changing import served
from commands import IMPORTED, Command
from others import gone, stand_in
from trials import Verdict, copied, prepared

_CLIENTS, _CALLS, _ITEMS = 4, 6, 5
_BACK_S = 120.0  # in which answers come from a model again
_SERVED = ("--engine", "vllm", "--set", "engine.replicas=1")
_Seen = list[tuple[int, Any]]  # status and answer of every call


class EngineUnderLoad:
    """`foretaste serve` with an engine that is killed while people ask for pages."""

    fault, name = "kill -9", "engine under load"
    most: int | None = 10

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.command = Command("engine under load", lambda home: [], lambda _: {}, before=IMPORTED)

    def prepare(self, folder: Path) -> None:
        """How long the load takes, undisturbed, and that a model answers."""
        self.template = prepared(self.command, folder)
        home = copied(self.template, folder / "undisturbed")
        with served(home, _SERVED, _with_engine(home)) as (_, url):
            begun = time.monotonic()
            calls = _load(home, url)
            self.seconds = time.monotonic() - begun
        verdict = Verdict()
        for status, said in calls:
            _hold(status, said, verdict)
        if not verdict.survived or not any(_by_model(status, said) for status, said in calls):
            told = (verdict.faults or ["no page holds a model's words"])[0]
            raise SystemExit(f"{self.name}: undisturbed it failed: {told}")

    def trial(self, number: int, folder: Path) -> Verdict:
        """Kill the engine in the middle of the load; look at every answer; wait for the next one."""
        verdict, home = Verdict(), copied(self.template, folder / "one")
        pids = home.parent / "engines.txt"
        delay = random.Random(f"{self.seed} engine {number}").uniform(0, self.seconds)
        with served(home, _SERVED, _with_engine(home)) as (_, url):
            killer = threading.Timer(delay, _kill, (pids,))
            killer.start()
            for status, said in _load(home, url):
                _hold(status, said, verdict)
            killer.join()
            if not _back(url):
                verdict.faults.append(f"no model answered within {_BACK_S:.0f} s of the kill")
        if len(pids.read_text().split()) < 2:
            verdict.faults.append("no other engine was started")
        gone(home, verdict)
        return verdict


def _hold(status: int, said: Any, verdict: Verdict) -> None:
    """An answer is a whole page or a sentence that says when to ask again."""
    if status == 503 and isinstance(said, dict) and said.get("error"):
        return
    page = said.get("recommendations", []) if isinstance(said, dict) else []
    names = [one["item_id"] for one in page]
    if status != 200 or len(names) != _ITEMS:
        verdict.lost += 1
        verdict.faults.append(f"a call was answered by {status}: {str(said)[:300]}")
    verdict.duplicated += len(names) - len(set(names))


def _load(home: Path, url: str) -> _Seen:
    """All calls of all clients, from a process of its own."""
    out = home.parent / "answers.jsonl"
    out.write_text("")

    def work() -> None:
        with out.open("a", buffering=1) as file:
            clients = [
                threading.Thread(target=_client, args=(url, number, file.write))
                for number in range(_CLIENTS)
            ]
            for one in clients:
                one.start()
            for one in clients:
                one.join()

    ended = forks.run(work, home.parent / "load.txt", limit_s=5 * forks.LIMIT_S)
    seen: _Seen = [tuple(json.loads(line)) for line in out.read_text().splitlines()]
    missing = _CLIENTS * _CALLS - len(seen)
    return seen + [(0, f"no answer: {ended.said[-300:]}")] * missing


def _client(url: str, number: int, write: Callable[[str], object]) -> None:
    for turn in range(_CALLS):
        user = f"u{(number + turn * _CLIENTS) % shop.USERS}"
        write(json.dumps(_page(url, user)) + "\n")


def _page(url: str, user: str) -> tuple[int, Any]:
    """Status and answer of one call for a page; 0 and the reason where there was none."""
    import httpx

    body = {"user_id": user, "n": _ITEMS}
    try:
        answer = httpx.post(f"{url}/v1/recommendations", json=body, timeout=300, trust_env=False)
        return answer.status_code, answer.json()
    except (httpx.HTTPError, ValueError) as error:
        return 0, f"{type(error).__name__}: {error}"


def _by_model(status: int, said: Any) -> bool:
    """Whether an answer is a page that holds a model's words."""
    return status == 200 and any(one["source"] == "model" for one in said["personas"])


def _back(url: str) -> bool:
    """Whether pages come from a model again within a while."""
    until = time.monotonic() + _BACK_S
    while time.monotonic() < until:
        if any(_by_model(*_page(url, f"u{number}")) for number in range(_CLIENTS)):
            return True
        time.sleep(0.2)
    return False


def _kill(pids: Path) -> None:
    """End the engine that runs."""
    for pid in map(int, pids.read_text().split()[-1:]):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _with_engine(home: Path) -> Callable[[], None]:
    return lambda: stand_in(home.parent / "engines.txt")
