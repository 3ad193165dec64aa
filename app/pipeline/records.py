"""What a run keeps of its steps: what is done, what was begun, and how long it took on this home.

`steps/NAME.json` is written when everything a step made is there and hashed; `steps/NAME.begun.json` stands
while a step is under way and survives `kill -9`. `<home>/pipelines/timings.json` holds what steps took.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from foretaste.app.pipeline.keys import Key
from foretaste.app.pipeline.plan import Pipeline, Step
from foretaste.app.pipeline.resources import Resource, fingerprint, place
from foretaste.data.errors import ForetasteError
from foretaste.data.files import home, locked, read_json, subfolder, write_json
from foretaste.finetune.runs import RESULT, SETTINGS, STATE

_KEPT = 400  # timings
Record = TypeVar("Record", bound=BaseModel)


class Spent(BaseModel, frozen=True):
    """What a step took.

    Attributes:
        seconds: of wall time.
        cpu_s: processor seconds of it and all that it started.
        peak_mb: resident memory of all of its processes at the peak.
        disk_mb: of what it made.
    """

    seconds: float
    cpu_s: float
    peak_mb: float
    disk_mb: float


class Done(BaseModel, frozen=True):
    """A step that came to its end.

    Attributes:
        step: its name.
        key: digest of `parts`.
        parts: the key (`keys.Key`).
        line: the words after `foretaste`.
        options: of the command, resolved.
        settings: of a training, resolved, as its own run keeps them.
        outputs: fingerprints of all that it made, by resource.
        sizes: interactions of the data sets it read, by name.
        ended: when, ISO 8601 in UTC.
        spent: of the attempt that came to the end.
        attempts: how often it was begun for this key.
        resumed: whether the last attempt went on where an earlier one had stopped.
        versions: of Python and the libraries.
    """

    step: str
    key: str
    parts: dict[str, Any]
    line: tuple[str, ...]
    options: dict[str, Any]
    settings: dict[str, Any]
    outputs: dict[str, str]
    sizes: dict[str, int]
    ended: str
    spent: Spent
    attempts: int
    resumed: bool
    versions: dict[str, str]


class Begun(BaseModel, frozen=True):
    """A step under way: its key, when it was first begun (ns since 1970), and how often."""

    key: str
    since: int
    attempts: int


class Timing(BaseModel, frozen=True):
    """What a step of these words took on a home: `size` interactions, and what was spent."""

    line: tuple[str, ...]
    size: int
    spent: Spent


def done_of(step: Step, pipeline: Pipeline) -> Done | None:
    """The record of a step's end; None when it never came to one."""
    path = pipeline.folder / "steps" / f"{step.name}.json"
    return _read(Done, read_json(path), path) if path.exists() else None


def write_done(done: Done, pipeline: Pipeline) -> None:
    """Keep the record of a step's end, and forget that it was under way."""
    write_json(pipeline.folder / "steps" / f"{done.step}.json", done.model_dump())
    _begun_file(done.step, pipeline).unlink(missing_ok=True)


def begun_of(step: Step, pipeline: Pipeline) -> Begun | None:
    """The record of a step under way, or stopped on its way."""
    path = _begun_file(step.name, pipeline)
    return _read(Begun, read_json(path), path) if path.exists() else None


def begin(step: Step, key: Key, pipeline: Pipeline) -> Begun:
    """Note that a step begins, or goes on; what another key left in the run's folder is removed.

    What a command appends to (verdicts, answers) is hers to go on with as long as the key is the same.
    """
    before = begun_of(step, pipeline)
    if before is not None and before.key == key.digest:
        now = before.model_copy(update={"attempts": before.attempts + 1})
    else:
        for resource in step.makes:
            if resource.kind == "file":
                _remove(place(resource, pipeline.base))
        now = Begun(key=key.digest, since=time.time_ns(), attempts=1)
    write_json(_begun_file(step.name, pipeline), now.model_dump())
    return now


def left_state(step: Step, begun: Begun) -> bool:
    """Whether an earlier attempt left a training's state, or its result, to go on from."""
    if begun.attempts == 1 or not step.command.resumes:
        return False
    for settings in _trainings(step):
        if settings.stat().st_mtime_ns >= begun.since:
            return any((settings.parent / name).exists() for name in (STATE, RESULT))
    return False


def settings_of(step: Step) -> dict[str, Any]:
    """The resolved settings of a training that just came to its end; empty for another command."""
    newest = max(_trainings(step), key=lambda path: path.stat().st_mtime_ns, default=None)
    return dict(read_json(newest)) if newest else {}


def outputs_of(step: Step, pipeline: Pipeline) -> dict[str, str | None]:
    """Fingerprints of all that a step makes, as it is now."""
    return {str(one): fingerprint(one, pipeline.base) for one in step.makes}


def timings() -> list[Timing]:
    """What steps took on this home, oldest first."""
    path = home() / "pipelines" / "timings.json"
    rows = read_json(path) if path.exists() else []
    return [_read(Timing, row, path) for row in (rows if isinstance(rows, list) else [rows])]


def note_timing(timing: Timing) -> None:
    """Keep what a step took that ran from its beginning to its end."""
    folder = subfolder("pipelines")
    with locked(folder):
        rows = [one.model_dump() for one in [*timings(), timing]][-_KEPT:]
        write_json(folder / "timings.json", rows)


def datasets_read(step: Step) -> list[Resource]:
    """The data sets that a step reads, or makes."""
    return [one for one in (*step.inputs, *step.makes) if one.kind == "dataset"]


def _trainings(step: Step) -> list[Path]:
    """Settings of the trainings below `<home>/runs` that may be this step's."""
    prefix = step.kind.state
    for name, value in step.command.options.items():
        prefix = prefix.replace(f"{{{name}}}", str(value))
    return list((home() / "runs").glob(f"{prefix}*/{SETTINGS}")) if prefix else []


def _read(kind: type[Record], value: Any, path: Path) -> Record:
    """What a file of ours holds.

    Raises:
        ForetasteError: it holds something else.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise ForetasteError(
            f"{path} does not hold what a run wrote there; delete it and run the command again."
        ) from error


def _begun_file(name: str, pipeline: Pipeline) -> Path:
    return pipeline.folder / "steps" / f"{name}.begun.json"


def _remove(path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
