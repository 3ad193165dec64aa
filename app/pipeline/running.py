"""Running the steps: one after the other, each in a process of its own, every end recorded.

Killed at any moment, the same command goes on: what is done is known by its record, what was under way by
its note, and commands that keep a state are given `--resume`.
"""

from __future__ import annotations

import fcntl
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from foretaste.app.pipeline.forecast import SKIP, Outlook, chosen, due, size_read
from foretaste.app.pipeline.keys import Key, key_of
from foretaste.app.pipeline.plan import Pipeline, Step
from foretaste.app.pipeline.records import (
    Begun,
    Done,
    Spent,
    Timing,
    begin,
    datasets_read,
    left_state,
    note_timing,
    outputs_of,
    settings_of,
    write_done,
)
from foretaste.app.pipeline.resources import place, size_of, tables
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.files import subfolder
from foretaste.data.progress import Meter, meter, note
from foretaste.finetune.runs import Stop, stoppable
from foretaste.serving.child import child_environment

_LOOK_S = 0.2  # between two looks at a step under way
_WEIGH_S = 1.0  # between two looks at its memory
_GRACE_S = 10.0  # after a second Ctrl-C
_TOLD = ("foretaste", "torch", "transformers", "trl", "peft", "numpy", "polars", "faiss-cpu")


class StepFailed(ForetasteError):
    """A step ended with an error; its exit code is the run's."""

    def __init__(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)


@contextmanager
def alone(pipeline: Pipeline) -> Iterator[tuple[int, ...]]:
    """Hold the home and the run's folder; gives the descriptors that hold them.

    Steps inherit them, so that both stay held while one of a killed run is still there.

    Raises:
        InputError: another run holds one of them.
    """
    pipeline.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        held = []
        for folder in (subfolder("pipelines"), pipeline.folder):
            handle = stack.enter_context((folder / ".run").open("a+", encoding="utf-8"))
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                handle.seek(0)
                raise InputError(
                    f"Another run works here already ({handle.read().strip() or 'it just began'}); "
                    "wait for it, or set FORETASTE_HOME to another home."
                ) from error
            handle.truncate(0)
            handle.write(f"{pipeline.path.name}, process {os.getpid()}\n")
            handle.flush()
            held.append(handle.fileno())
        yield tuple(held)


def run_steps(
    pipeline: Pipeline,
    outlook: Sequence[Outlook],
    start: str | None,
    only: str | None,
    held: tuple[int, ...],
) -> list[dict[str, Any]]:
    """Run what is due, in order.

    Args:
        pipeline: checked.
        outlook: of `look_ahead`, for the progress over the whole.
        start, only: as `chosen` takes them.
        held: descriptors that a step inherits.

    Returns:
        step, state (`done` or `skipped`), reason and seconds of each step.

    Raises:
        StepFailed: a step ended with an error; everything before is kept.
        InputError: a step that was left out has never been done.
        KeyboardInterrupt: somebody asked to stop; the step under way saved what it could.
    """
    wanted, told = chosen(pipeline, start, only), []
    seconds = {one.step: one.expected.seconds for one in outlook if one.expected}
    total = sum(seconds.get(one.step, 0.0) for one in outlook if one.state != SKIP)
    _before(pipeline, wanted)
    with stoppable() as stop, meter(pipeline.name, total or None, "s") as progress:
        for number, step in enumerate(wanted, 1):
            expected = seconds.get(step.name, 0.0)
            planned = next(one for one in outlook if one.step == step.name).state != SKIP
            clock = _Clock(progress, expected if planned else 0.0)
            must, reason = due(step, pipeline, bool(start or only))
            spent = 0.0
            if must:
                note(f"Step {number} of {len(wanted)}, {step.name}: {reason}.")
                spent = _perform(_Work(pipeline, step, held, stop, clock)).spent.seconds
            else:
                note(f"Step {number} of {len(wanted)}, {step.name}: skipped, {reason}.")
            clock.end()
            state = "done" if must else "skipped"
            told.append({"step": step.name, "state": state, "reason": reason, "seconds": spent})
            if stop.asked:
                note("Stopped between two steps; the same command goes on.")
                raise KeyboardInterrupt
    return told


def _before(pipeline: Pipeline, wanted: Sequence[Step]) -> None:
    """What is left out before the first wanted step must have been made."""
    for step in wanted:
        for resource in step.reads:
            maker = pipeline.maker(resource)
            path = place(resource, pipeline.base)
            missing = path is not None and not path.exists()
            if maker is not None and maker not in wanted and missing:
                raise InputError(
                    f"{step.name} reads {resource}, which {maker.name} makes and which is not there; "
                    f"run {maker.name} first (--from {maker.name})."
                )


@dataclass
class _Clock:
    """The progress of the whole, moved on by the time that a step takes, up to what was expected."""

    progress: Meter
    expected: float
    counted: float = 0.0

    def at(self, seconds: float) -> None:
        """The step has been under way for so long."""
        now = min(seconds, self.expected)
        self.progress.advance(max(now - self.counted, 0.0))
        self.counted = max(now, self.counted)

    def end(self) -> None:
        """The step is over."""
        self.at(self.expected)


@dataclass(frozen=True)
class _Work:
    """One step that is being run."""

    pipeline: Pipeline
    step: Step
    held: tuple[int, ...]
    stop: Stop
    clock: _Clock

    @property
    def log(self) -> Path:
        """Where the step's standard error goes; its standard output goes beside it."""
        return self.pipeline.folder / "logs" / f"{self.step.name}.log"


def _perform(work: _Work) -> Done:
    """Run one step to its end, check what it made, and record it."""
    step, pipeline = work.step, work.pipeline
    key = key_of(step, pipeline)
    begun = begin(step, key, pipeline)
    resume = left_state(step, begun)
    line = step.command.line(resume, step.figures)
    note(" ".join(["$ foretaste", *step.command.line(resume)]))
    spent, code = _child(work, line)
    if code:
        if work.stop.asked:
            note(f"{step.name} was stopped; the same command goes on there.")
            raise KeyboardInterrupt
        raise _failure(work, code)
    outputs = outputs_of(step, pipeline)
    missing = next((name for name, found in outputs.items() if found is None), None)
    if missing is not None:
        raise StepFailed(
            f"{step.name} ended well but {missing} is not there; its log: {work.log}", 1
        )
    _same_inputs(step, key, pipeline)
    done = _done(work, key, begun, spent, resume)
    write_done(done, pipeline)
    if begun.attempts == 1:
        line_alone = tuple(step.command.line())
        note_timing(Timing(line=line_alone, size=size_read(step), spent=done.spent))
    note(f"{step.name}: done in {spent.seconds:.1f} s, {spent.peak_mb:,.0f} MB.")
    return done


def _same_inputs(step: Step, key: Key, pipeline: Pipeline) -> None:
    """Hold the inputs against what they were before the step."""
    now = key_of(step, pipeline)
    for name, before in key.inputs.items():
        if now.inputs.get(name) != before:
            raise StepFailed(
                f"{name} changed while {step.name} read it; nothing of it counts, run the same "
                "command again.",
                1,
            )


def _done(work: _Work, key: Key, begun: Begun, spent: Spent, resumed: bool) -> Done:
    step, pipeline = work.step, work.pipeline
    disk = sum(size_of(place(one, pipeline.base)) for one in step.makes)
    sizes = {one.name: int(tables(one.name)["interactions"]["rows"]) for one in datasets_read(step)}
    return Done(
        step=step.name,
        key=key.digest,
        parts=asdict(key),
        line=tuple(step.command.line(resumed, step.figures)),
        options=step.command.options,
        settings=settings_of(step),
        outputs={name: str(found) for name, found in outputs_of(step, pipeline).items()},
        sizes=sizes,
        ended=datetime.now(UTC).isoformat(timespec="seconds"),
        spent=spent.model_copy(update={"disk_mb": round(disk / 1e6, 2)}),
        attempts=begun.attempts,
        resumed=resumed,
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    """Of Python and the libraries that a figure could depend on."""
    found = {"python": platform.python_version()}
    for name in _TOLD:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _child(work: _Work, line: Sequence[str]) -> tuple[Spent, int]:
    """Run a command of ours and wait for its end; what it took and its exit code."""
    work.log.parent.mkdir(parents=True, exist_ok=True)
    (work.pipeline.folder / "figures").mkdir(exist_ok=True)
    command = [sys.executable, "-P", "-m", "foretaste.app.pipeline.child", *line]
    with work.log.open("ab") as log, work.log.with_suffix(".out").open("ab") as out:
        for file in (log, out):
            file.write(f"$ foretaste {' '.join(line)}\n".encode())
            file.flush()
        began = log.tell()
        child = subprocess.Popen(
            command,
            cwd=work.pipeline.base,
            env=child_environment(secrets=True),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches it through us, once
            pass_fds=work.held,
        )
    with work.log.open("rb") as log:
        log.seek(began)
        return _followed(work, child, log)


def _followed(work: _Work, child: subprocess.Popen[bytes], log: BinaryIO) -> tuple[Spent, int]:
    """Pass on what a child says until it ends; one Ctrl-C is passed on, a second ends it."""
    start, passed, peak, weighed = time.monotonic(), False, 0, 0.0
    while True:
        try:
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
            _pass_on(log, work.step.name)
            if ended:
                break
            spent = time.monotonic() - start
            if spent >= weighed:
                peak, weighed = max(peak, _resident(child.pid)), spent + _WEIGH_S
            work.clock.at(spent)
            if work.stop.asked and not passed:
                passed = True
                child.send_signal(signal.SIGINT)
            time.sleep(_LOOK_S)
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
            _end(child)
            raise
    child.returncode = os.waitstatus_to_exitcode(status)
    scale = 1e6 if sys.platform == "darwin" else 1e3
    return Spent(
        seconds=round(time.monotonic() - start, 2),
        cpu_s=round(usage.ru_utime + usage.ru_stime, 2),
        peak_mb=round(max(peak / 1e6, usage.ru_maxrss / scale)),
        disk_mb=0.0,
    ), child.returncode


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _resident(pid: int) -> int:
    """Bytes of memory of a process and all that it started."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for one in family:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _pass_on(log: BinaryIO, name: str) -> None:
    """Show whole lines that came since the last look."""
    while line := log.readline():
        if not line.endswith(b"\n"):
            log.seek(-len(line), os.SEEK_CUR)
            return
        if text := line.decode(errors="replace").strip():
            note(f"  {name} | {text}")


def _failure(work: _Work, code: int) -> StepFailed:
    """What to say about a step that ended with an error: its own sentence, where there is one."""
    lines = work.log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    if code < 0:
        said, code = f"it was ended by signal {signal.Signals(-code).name}.", 1
    else:
        said = last.removeprefix("foretaste: ") or f"it ended with {code}."
    return StepFailed(
        f"{work.step.name} failed: {said} The steps before it are kept; the same command goes on "
        f"there. Its log: {work.log}",
        code,
    )
