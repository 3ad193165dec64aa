"""A batch on Ray whose worker, or whose driver, is killed: the workers start a cluster of this machine."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import forks
import psutil
import shop
from killed import Killed
from trials import Verdict, call, compare, copied, leftovers, look

_WORKER = "ray::MapWorker"  # how Ray calls the process of an actor of Ray Data
_STARTS = 3  # tries at a cluster
_MEMORY = 100 * 2**20  # bytes of its store of objects
_LIMIT_S = 5 * forks.LIMIT_S  # of a run: the cluster alone takes half a minute on a busy machine
_GONE_S = 150.0  # in which a cluster must be gone after its driver: its agents look for it a minute
_HOOK = """
import sys
sys.path.insert(0, {suite!r})

def words_for_weights():
    import shop
    shop.words_for_weights()
"""


class RayKilled:
    """`recommend --all --engine ray`, by turns a worker killed and the command itself."""

    fault, name = "kill -9", "a worker of Ray, or its driver"
    most: int | None = 4

    def __init__(self, killed: Killed, seed: int) -> None:
        self.killed, self.seed = killed, seed

    def prepare(self, folder: Path) -> None:
        """The undisturbed run, in one process: its rows are those that Ray must make."""
        self.killed.prepare(folder)

    def trial(self, number: int, folder: Path) -> Verdict:
        """Kill after a seeded number of rows; nothing of the cluster stays; the rows are the same."""
        verdict, home = Verdict(), copied(self.killed.template, folder / "one")
        rows = random.Random(f"{self.seed} ray {number}").randrange(shop.USERS)
        with _place() as temporary:
            said = folder / "said.txt"
            with forks.beside(_on_ray(home, self.killed, temporary), said) as driver:
                code, family = _through(driver, home, rows, worker=number % 2 == 0)
            if left := _remaining(family):
                verdict.faults.append(f"left running: {', '.join(left[:3])}")
        told = said.read_text("utf-8", "replace")
        if code is None or "Traceback (most recent call last)" in told:
            verdict.faults.append(f"it hung, or ended in a traceback: {told[-600:]}")
        if number % 2 == 0 and code != 0:
            verdict.faults.append(f"with a worker killed it ended with {code}: {told[-600:]}")
        seen = look(self.killed.command, home)
        if seen.found is None:
            verdict.corrupt += 1
            verdict.faults.append(f"its rows cannot be read: {seen.said[-400:]}")
        else:
            compare(seen.found, self.killed.after, verdict, part=code != 0)
        if code != 0:
            self._go_on(home, verdict)
        if names := leftovers(home.parent):
            verdict.faults.append(f"left behind: {', '.join(names[:3])}")
        return verdict

    def _go_on(self, home: Path, verdict: Verdict) -> None:
        """The same call here goes on with what Ray's workers made."""
        ended = call(self.killed.command.words(home), home)
        if ended.code != 0 or ended.fault:
            verdict.faults.append(f"the next run did not complete: {ended.said[-600:]}")
        compare(look(self.killed.command, home).found or {}, self.killed.after, verdict)


def _on_ray(home: Path, killed: Killed, temporary: Path) -> Callable[[], None]:
    """The command, in a cluster whose workers have this suite's words for vectors."""
    (temporary / "hook_of_faults.py").write_text(_HOOK.format(suite=str(Path(__file__).parent)))
    words = [*killed.command.words(home), "--set", "fleet.most_workers=1"]
    words[words.index("--engine") : words.index("--engine") + 2] = ["--engine", "ray"]

    def work() -> None:
        from foretaste.app.fleet.spread import USUAL

        shop.use_home(home)
        seen = [str(temporary), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ.update(USUAL)
        import ray

        for left in reversed(range(_STARTS)):
            try:
                ray.init(
                    address="local",
                    num_cpus=2,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level="ERROR",
                    object_store_memory=_MEMORY,
                    _temp_dir=str(temporary),
                    runtime_env={
                        "env_vars": {"PYTHONPATH": os.pathsep.join(seen), "OMP_NUM_THREADS": "1"},
                        "worker_process_setup_hook": "hook_of_faults.words_for_weights",
                    },
                )
                break
            except Exception:  # Ray gives a node 30 s to start, which is little on a busy machine
                ray.shutdown()
                if not left:
                    raise
        try:
            shop.foretaste(home, *words)
        finally:
            ray.shutdown()

    return work


def _through(
    driver: int, home: Path, rows: int, *, worker: bool
) -> tuple[int | None, set[psutil.Process]]:
    """Kill a worker, or the driver, once so many rows are there; the exit code, and all it started.

    Args:
        driver: process of the command.
        home: of the trial.
        rows: after which the kill comes.
        worker: whether a worker is killed and not the driver.
    """
    until, killed = time.monotonic() + _LIMIT_S, False
    family: set[psutil.Process] = set()
    while time.monotonic() < until:
        done, status = os.waitpid(driver, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), family
        if not killed and (found := _family(driver)):
            family.update(found)
            working = [one for one in found if _called(one).startswith(_WORKER)]
            if working and _rows(home) >= rows:
                killed = True
                _end(working[0].pid if worker else driver)
        time.sleep(0.002 if family else 0.1)
    return None, family


def _rows(home: Path) -> int:
    """About how many users have their row: those of partitions under way and of finished ones."""
    folder = home.parent / "pages"
    found = 0
    with contextlib.suppress(FileNotFoundError):
        journals = [one.read_bytes().count(b"\n") for one in (folder / ".unfinished").glob("*")]
        finished = (folder / "manifest.jsonl").read_bytes().count(b"\n")
        found = sum(journals) + finished * shop.USERS // 4
    return found


def _family(process: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process).children(recursive=True)
    return []


def _called(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _end(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _remaining(family: set[psutil.Process]) -> list[str]:
    """What still runs of a cluster after a while; ended then."""
    _, alive = psutil.wait_procs(list(family), timeout=_GONE_S)
    names = [_called(one)[:60] for one in alive]
    for one in alive:
        _end(one.pid)
    return names


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    """A folder with a short name: Ray's sockets may not have long ones."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def importable() -> bool:
    """Whether Ray is installed."""
    from importlib.util import find_spec

    return find_spec("ray") is not None and sys.platform == "linux"
