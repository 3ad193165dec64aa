"""Bad endpoints, a clock that goes backwards, two commands at once, and an engine that is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forks
import shop
from disk import told_kindly
from endpoint import endpoint
from killed import Killed
from trials import Verdict, call, compare, copied, look, with_endpoint

_YEAR_S = 365 * 86_400.0
_GONE_S = 3.0  # in which a child must be gone after its parent


class BadEndpoint:
    """A command whose model misbehaves: every case is told of, and a good endpoint completes it."""

    most: int | None = 1

    def __init__(self, killed: Killed, kind: str) -> None:
        self.killed, self.kind, self.name = killed, kind, killed.name
        self.fault = f"{kind} endpoint"

    def prepare(self, folder: Path) -> None:
        """The undisturbed run."""
        self.killed.prepare(folder)

    def trial(self, number: int, folder: Path) -> Verdict:
        """Ask the bad one, then the good one where the bad one gave no answer."""
        verdict, home = Verdict(), copied(self.killed.template, folder / "one")
        with endpoint(folder, self.kind) as url:
            words = with_endpoint(self.killed.command, self.killed.command.words(home), url)
            if words[0] == "judge" and self.kind == "half-open":
                words += ["--set", "judge.deadline_s=2"]
            deadline = 1.0 if self.kind == "half-open" else forks.LIMIT_S
            ended = forks.run(
                lambda: (_hurry(deadline), shop.foretaste(home, *words))[1], folder / "said.txt"
            )
        told_kindly(ended, verdict)
        seen = look(self.killed.command, home)
        if seen.fault or seen.found is None:
            verdict.corrupt += 1
            verdict.faults.append(f"its results cannot be read: {seen.said[-400:]}")
            return verdict
        if self.kind == "slow":
            compare(seen.found, self.killed.after, verdict)
        if len(seen.found) < len(self.killed.after):
            with endpoint(folder) as url:
                words = with_endpoint(self.killed.command, self.killed.command.words(home), url)
                again = call(words, home)
            told_kindly(again, verdict)
        found = look(self.killed.command, home).found or {}
        verdict.lost += len(set(self.killed.after) - set(found))
        verdict.duplicated += sum(len(one) > 1 for one in found.values())
        return verdict


class Backwards:
    """A command whose clock goes back while it runs, in a home whose files are from the future."""

    fault = "clock going backwards"
    most: int | None = 3

    def __init__(self, killed: Killed) -> None:
        self.killed, self.name = killed, killed.name

    def prepare(self, folder: Path) -> None:
        """The undisturbed run."""
        self.killed.prepare(folder)

    def trial(self, number: int, folder: Path) -> Verdict:
        """Run it, look, and run it once more."""
        verdict, home = Verdict(), copied(self.killed.template, folder / "one")
        future = time.time() + _YEAR_S
        for path in home.rglob("*"):
            if not path.is_symlink():
                os.utime(path, (future, future))
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(endpoint(folder)) if self.killed.command.endpoint else None
            words = with_endpoint(self.killed.command, self.killed.command.words(home), url)
            ended = forks.run(
                lambda: (_turn_back(), shop.foretaste(home, *words))[1], folder / "said.txt"
            )
            if ended.code != 0 or ended.fault:
                verdict.faults.append(f"it did not complete: {ended.said[-700:]}")
            self.killed.go_on(home, url, verdict)
        return verdict


class Together:
    """The same command twice at once on one home: both complete, or one says that it must wait."""

    fault = "two commands at once"
    most: int | None = 10

    def __init__(self, killed: Killed) -> None:
        self.killed, self.name = killed, killed.name

    def prepare(self, folder: Path) -> None:
        """The undisturbed run."""
        self.killed.prepare(folder)

    def trial(self, number: int, folder: Path) -> Verdict:
        """Start both, a little apart."""
        verdict, home = Verdict(), copied(self.killed.template, folder / "one")
        with contextlib.ExitStack() as stack:
            url = stack.enter_context(endpoint(folder)) if self.killed.command.endpoint else None
            words = with_endpoint(self.killed.command, self.killed.command.words(home), url)
            other = folder / "other.txt"
            child = os.fork()
            if child == 0:
                ended = forks.run(lambda: shop.foretaste(home, *words), other)
                os._exit(0 if ended.code == 0 else min(abs(ended.code or 99), 99))
            time.sleep(self.killed.seconds * number / 10)
            first = call(words, home)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            second = forks.Ended(code, 0.0, other.read_text("utf-8", "replace"))
            for ended in (first, second):
                told_kindly(ended, verdict)
            if first.code != 0 and second.code != 0:
                verdict.faults.append("neither of the two completed")
            self.killed.go_on(home, url, verdict)
        return verdict


class EngineKilled:
    """A batch whose engine is a child process: the engine is killed, or its parent is."""

    fault, name = "kill -9", "engine of a batch"
    most: int | None = None

    def __init__(self, killed: Killed, seed: int) -> None:
        self.killed, self.seed = killed, seed

    def prepare(self, folder: Path) -> None:
        """The undisturbed run, and how long it takes with an engine of its own."""
        self.killed.prepare(folder)
        home = copied(self.killed.template, folder / "with-engine")
        ended = self._run(home, None)
        if ended.code != 0:
            raise SystemExit(f"{self.name}: undisturbed it failed: {ended.said[-2000:]}")
        self.seconds = ended.seconds

    def trial(self, number: int, folder: Path) -> Verdict:
        """Kill one of the two; nothing of the engine stays; the next run completes."""
        verdict, home = Verdict(), copied(self.killed.template, folder / "one")
        moment = forks.moments(self.seed, self.seconds, 0, number)
        if number % 2:
            ended = forks.run(self._work(home, None), folder / "said.txt", moment)
        else:
            ended = forks.run(self._work(home, moment.seconds), folder / "said.txt")
            told_kindly(ended, verdict)
        gone(home, verdict)
        seen = look(self.killed.command, home)
        if seen.found is None:
            verdict.corrupt += 1
            verdict.faults.append(f"its results cannot be read: {seen.said[-300:]}")
        else:
            compare(seen.found, self.killed.after, verdict, part=True)
        again = self._run(home, None)
        if again.code != 0 or again.fault:
            verdict.faults.append(f"the next run did not complete: {again.said[-500:]}")
        compare(look(self.killed.command, home).found or {}, self.killed.after, verdict)
        return verdict

    def _run(self, home: Path, kill_s: float | None) -> forks.Ended:
        return forks.run(self._work(home, kill_s), home.parent / "said.txt")

    def _work(self, home: Path, kill_s: float | None) -> Callable[[], None]:
        words = self.killed.command.words(home)
        pids = home.parent / "engines.txt"

        def work() -> None:
            stand_in(pids)
            if kill_s is not None:
                _kill_later(pids, kill_s)
            shop.foretaste(home, *words)

        return work


def gone(home: Path, verdict: Verdict) -> None:
    """No engine of a home outlives its command."""
    pids = home.parent / "engines.txt"
    until = time.monotonic() + _GONE_S
    for pid in map(int, pids.read_text().split() if pids.exists() else []):
        while _runs(pid) and time.monotonic() < until:
            time.sleep(0.01)
        if _runs(pid):
            verdict.faults.append("its engine was left behind")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def stand_in(pids: Path) -> None:
    """In the place of vLLM a server that answers by rule, in a process of its own."""
    from foretaste.serving import vllm_server

    def command(config: Any, folder: Path, port: int) -> list[str]:
        program = str(Path(__file__).parent / "engine.py")
        return [sys.executable, "-S", program, str(port), str(pids)]

    vllm_server.vllm_command = command
    vllm_server.model_folder = lambda name: shop.MODEL[0]
    vllm_server._POLL_SECONDS = 0.02


def _kill_later(pids: Path, seconds: float) -> None:
    import threading

    def kill() -> None:
        for pid in map(int, pids.read_text().split() if pids.exists() else []):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()


def _hurry(deadline_s: float) -> None:
    """Waits between tries as short as a suite can bear, and the deadline of one request of a batch."""
    from foretaste.serving import batch, openai_chat

    openai_chat._FIRST_PAUSE_S, openai_chat._DEATH_NOTICE_S = 0.01, 0.1
    batch._PAUSE_S, batch.DEADLINE_S = 0.01, deadline_s


def _turn_back() -> None:
    """Python's clocks of the day go back by a second at every look."""
    real, looks = time.time, [0]

    def backwards() -> float:
        looks[0] += 1
        return real() - looks[0]

    time.time = backwards
    time.time_ns = lambda: int(backwards() * 1e9)
