"""What a run will do and take: which steps are due and why, and time, memory and disk of the whole."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from foretaste.app.pipeline.keys import key_of
from foretaste.app.pipeline.plan import Pipeline, Step
from foretaste.app.pipeline.records import (
    Spent,
    Timing,
    begun_of,
    datasets_read,
    done_of,
    outputs_of,
    timings,
)
from foretaste.app.pipeline.resources import tables
from foretaste.data.errors import InputError
from foretaste.data.files import home
from foretaste.data.progress import note

SKIP, RUN, PERHAPS = "skip", "run", "perhaps"
_SPARE = 0.9  # share of the free memory or disk that a run may take
_SAME = 0.1  # sizes that differ by less count as the same
_LEAST = 0.2  # share of a stated time that small data takes all the same: starting, loading


@dataclass(frozen=True)
class Outlook:
    """What is to be done about one step.

    Attributes:
        step: its name.
        line: the command.
        state: `skip`, `run`, or `perhaps`, when that depends on what a step before it makes.
        reason: why.
        expected: what it will take; None when nothing is known.
        source: where that comes from: `recorded`, `scaled`, `stated`, or `unknown`.
    """

    step: str
    line: str
    state: str
    reason: str
    expected: Spent | None
    source: str


def chosen(pipeline: Pipeline, start: str | None, only: str | None) -> tuple[Step, ...]:
    """The steps that a run is about.

    Raises:
        InputError: no such step, or both were given.
    """
    if start is not None and only is not None:
        raise InputError("--from and --only were both given; give one of them.")
    if only is not None:
        return (pipeline.step(only),)
    if start is None:
        return pipeline.steps
    return pipeline.steps[pipeline.steps.index(pipeline.step(start)) :]


def due(step: Step, pipeline: Pipeline, forced: bool) -> tuple[bool, str]:
    """Whether a step has to run as things are now, and why; every input and output is read."""
    key = key_of(step, pipeline)
    begun, done = begun_of(step, pipeline), done_of(step, pipeline)
    if begun is not None and begun.key == key.digest:
        return True, "it was stopped on its way and goes on"
    if forced:
        return True, "asked for"
    if done is None:
        return True, "it was never done"
    if done.key != key.digest:
        return True, key.differs(done.parts)
    for name, found in outputs_of(step, pipeline).items():
        if found is None:
            return True, f"{name} is not there any more"
        if found != done.outputs.get(name):
            return True, f"{name} is not what it made"
    return False, "unchanged"


def look_ahead(pipeline: Pipeline, start: str | None, only: str | None) -> list[Outlook]:
    """What a run would do now, for every step in order."""
    wanted = chosen(pipeline, start, only)
    forced = bool(start or only)
    known, found, changing = timings(), [], set[str]()
    for step in pipeline.steps:
        expected, source = expect(step, known)
        state, reason = SKIP, "not asked for"
        if step in wanted:
            must, reason = due(step, pipeline, forced)
            first = next((name for name in step.after if name in changing), None)
            state = RUN if must else SKIP
            if not must and first is not None:
                state, reason = PERHAPS, f"when {first} makes something else than before"
        if state != SKIP:
            changing.add(step.name)
        line = " ".join(["foretaste", *step.command.line()])
        found.append(Outlook(step.name, line, state, reason, expected, source))
    return found


def expect(step: Step, known: Sequence[Timing]) -> tuple[Spent | None, str]:
    """What a step will take, and where that is known from: recorded here, or stated.

    Args:
        step: of a pipeline.
        known: what steps took on this home.
    """
    size = size_read(step)
    same = [one for one in known if list(one.line) == step.command.line()]
    for one in reversed(same):
        if not size or not one.size or abs(one.size - size) <= _SAME * size:
            return one.spent, "recorded"
    if same:
        return _scaled(same[-1].spent, size / same[-1].size), "scaled"
    row = _stated().get(_form(step))
    if row is None:
        return None, "unknown"
    figures = Spent(
        seconds=row["seconds"],
        cpu_s=row["seconds"],
        peak_mb=row["memory_mb"],
        disk_mb=row["disk_mb"],
    )
    grows = size / row["interactions"] if size and row["interactions"] else 1.0
    return _scaled(figures, max(grows, _LEAST)), "stated"


def _form(step: Step) -> str:
    """The command with what decides most about its time: `finetune sft cpu`, `recommend --all`."""
    options = step.command.options
    everybody = "--all" if options.get("everybody") else ""
    return " ".join([*step.command.words, str(options.get("preset") or everybody)]).strip()


def size_read(step: Step) -> int:
    """Interactions of the data sets that a step is about; 0 when none is there yet."""
    found = [tables(one.name) for one in datasets_read(step)]
    return sum(int(one["interactions"]["rows"]) for one in found if one)


def whole(outlook: Sequence[Outlook]) -> dict[str, Any]:
    """Time, memory and disk of the steps that will or may run, and which of it is not known."""
    steps = [one for one in outlook if one.state != SKIP]
    known = [one.expected for one in steps if one.expected is not None]
    sources: dict[str, int] = {}
    for one in steps:
        sources[one.source] = sources.get(one.source, 0) + 1
    return {
        "steps": len(steps),
        "seconds": round(sum(one.seconds for one in known), 1),
        "memory_mb": round(max((one.peak_mb for one in known), default=0.0)),
        "disk_mb": round(sum(one.disk_mb for one in known), 1),
        "from": sources,
    }


def say_and_check(estimate: dict[str, Any]) -> None:
    """Say what a run will take, and refuse what cannot fit.

    Raises:
        InputError: there is not enough free memory or disk.
    """
    import psutil

    seconds = estimate["seconds"]
    time = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    told = ", ".join(f"{number} {name}" for name, number in estimate["from"].items())
    note(
        f"Expected: {estimate['steps']} steps, {time}, {estimate['memory_mb']:,} MB of memory, "
        f"{estimate['disk_mb']:,.0f} MB of disk (steps: {told or 'none'})."
    )
    memory = psutil.virtual_memory().available / 1e6
    disk = shutil.disk_usage(home()).free / 1e6
    if estimate["memory_mb"] > memory * _SPARE:
        raise InputError(
            f"One step needs about {estimate['memory_mb']:,} MB of memory and {memory:,.0f} MB are "
            "free; end other programs, or take a smaller preset."
        )
    if estimate["disk_mb"] > disk * _SPARE:
        raise InputError(
            f"This run needs about {estimate['disk_mb']:,.0f} MB of disk and {disk:,.0f} MB are free; "
            "free some, or set FORETASTE_HOME to another disk."
        )


def as_json(outlook: Sequence[Outlook]) -> list[dict[str, Any]]:
    """The outlook as JSON values."""
    rows = []
    for one in outlook:
        row = asdict(one)
        row["expected"] = one.expected.model_dump() if one.expected else None
        rows.append(row)
    return rows


def _scaled(spent: Spent, factor: float) -> Spent:
    """Time and disk grow with the interactions; memory is left as it is."""
    return spent.model_copy(
        update={
            "seconds": spent.seconds * factor,
            "cpu_s": spent.cpu_s * factor,
            "disk_mb": spent.disk_mb * factor,
        }
    )


@cache
def _stated() -> dict[str, dict[str, float]]:
    """Figures of the presets, by command and preset."""
    path = files("foretaste.app.pipeline").joinpath("configs", "stated.toml")
    return tomllib.loads(path.read_text())
