"""The fault suite: `python tests/faults/run.py` (`make faults`).

Every scenario is tried in turn, one moment after the other, so that a suite that runs out of time has
tried all of them alike. FAULT_TRIALS (50) bounds the moments of one scenario, FAULT_SECONDS (780) the
trials after preparing, FAULT_JOBS (processors, at most 4) how many run at once, FAULT_SEED (0) the
moments, FAULT_LIMIT (120) the seconds after which a command counts as hanging; FAULT_ONLY=word,word
chooses scenarios by their names. The last line of standard output is a JSON object of all trials.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import importlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # `python -P` leaves it out

import shop

shop.words_for_weights()

import forks
import report
from commands import TRAINING
from plan import scenarios
from trials import Scenario, Verdict

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
_ROOM_MB = 1_000


def main() -> None:
    """Prepare, try, report; exit code 1 unless every trial was survived."""
    trials, seconds = _number("FAULT_TRIALS", 50), _number("FAULT_SECONDS", 780)
    jobs = _number("FAULT_JOBS", min(4, os.cpu_count() or 1))
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="foretaste-faults-", dir=_place()))
    try:
        chosen = _prepared(folder, _number("FAULT_SEED", 0))
        end = time.monotonic() + seconds
        workers = [_work(folder, chosen, trials, end, job, jobs) for job in range(jobs)]
        for worker in workers:
            os.waitpid(worker, 0)
        rows = [json.loads(line) for line in _lines(folder)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(report.tell([(one.fault, one.name) for one in chosen], rows, time.monotonic() - begun))


def _place() -> str:
    """Where homes are made: memory where there is room, for a kill leaves what was written there too."""
    chosen = os.environ.get("FAULT_DIR")
    if chosen:
        return chosen
    room = _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free > _ROOM_MB * 1e6
    return str(_SHARED_MEMORY) if room else tempfile.gettempdir()


def _prepared(folder: Path, seed: int) -> list[Scenario]:
    """The scenarios that were asked for, each with its undisturbed run measured."""
    only = [word for word in os.environ.get("FAULT_ONLY", "").split(",") if word]
    chosen = [
        one
        for one in scenarios(seed)
        if not only or any(word in f"{one.fault}: {one.name}" for word in only)
    ]
    trains = any(one.name in TRAINING for one in chosen)
    reads = any("batch" not in one.name for one in chosen)
    for module in shop.WARM + shop.READING * reads + shop.TRAININGS * trains:
        importlib.import_module(module)
    shop.MODEL.append(folder / "model")
    ended = forks.run(lambda: shop.write_model(folder / "model"), folder / "model.txt")
    if ended.code != 0:
        raise SystemExit(f"The model of this suite could not be made: {ended.said[-2000:]}")
    for number, scenario in enumerate(chosen):
        begun = time.monotonic()
        scenario.prepare(folder / f"scenario-{number}")
        spent = time.monotonic() - begun
        if spent > 0.1:
            told = f"{scenario.fault}: {scenario.name}: prepared ({spent:.1f} s)"
            print(told, file=sys.stderr, flush=True)
    return chosen


def _work(
    folder: Path, chosen: list[Scenario], trials: int, end: float, job: int, jobs: int
) -> int:
    """Fork a worker that does every `jobs`-th trial and writes a line about each."""
    child = os.fork()
    if child:
        return child
    try:
        with (folder / f"verdicts-{job}.jsonl").open("w") as out:
            for place, (number, index) in enumerate(_order(chosen, trials)):
                if place % jobs != job:
                    continue
                if time.monotonic() > end:
                    break
                verdict, spent = _one(chosen[index], number, folder / f"trial-{job}")
                row = {"scenario": index, "number": number, "seconds": spent, **verdict.__dict__}
                out.write(json.dumps(row) + "\n")
                out.flush()
                report.passing(chosen[index], number, verdict)
    finally:
        os._exit(0)


def _order(chosen: list[Scenario], trials: int) -> Iterator[tuple[int, int]]:
    """(number, scenario) of every trial, all scenarios by turns."""
    for number in range(trials):
        for index, scenario in enumerate(chosen):
            if scenario.most is None or number < scenario.most:
                yield number, index


def _one(scenario: Scenario, number: int, folder: Path) -> tuple[Verdict, float]:
    """One trial in a folder of its own, which is removed afterwards."""
    begun = time.monotonic()
    folder.mkdir()
    try:
        verdict = scenario.trial(number, folder)
    except Exception as error:  # noqa: BLE001
        verdict = Verdict(faults=[f"the suite itself: {type(error).__name__}: {error}"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return verdict, time.monotonic() - begun


def _lines(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("verdicts-*.jsonl")):
        yield from path.read_text().splitlines()


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name, default))


if __name__ == "__main__":
    main()
