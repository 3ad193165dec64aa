"""A pipeline file: read, every step held against its own command, ordered by what needs what.

    # foretaste run shop.toml
    name = "shop"
    [steps.import]
    command = "data import"
    data-dir = "data"
    name = "shop"

The keys of a step beside `command`, `after`, `reads` and `makes` are the command's own options. Everything
that is wrong is said before anything starts.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foretaste.app.pipeline.commands import Command, find_command
from foretaste.app.pipeline.resources import Resource, fingerprint, named
from foretaste.app.pipeline.steps import Kind, expand, kind_of, set_resources
from foretaste.data.errors import InputError
from foretaste.data.files import safe_name

RESERVED = ("command", "after", "reads", "makes")
_TOP = ("name", "folder", "steps")
_RUN = "{run}"


@dataclass(frozen=True)
class Step:
    """One command of a pipeline.

    Attributes:
        name: of the step.
        command: the command, its options checked.
        kind: what it reads and makes by itself.
        reads: what must be there, `dataset:…`, `home:…` or a path relative to the pipeline file.
        uses: what is read when it is there.
        makes: what is there afterwards, its figures included.
        after: names of all steps that it waits for.
        figures: file of its figures, relative to the pipeline file; None for a command without any.
    """

    name: str
    command: Command
    kind: Kind
    reads: tuple[Resource, ...]
    uses: tuple[Resource, ...]
    makes: tuple[Resource, ...]
    after: tuple[str, ...]
    figures: str | None

    @property
    def inputs(self) -> tuple[Resource, ...]:
        """All that can change what comes out."""
        return tuple(dict.fromkeys((*self.reads, *self.uses)))


@dataclass(frozen=True)
class Pipeline:
    """A pipeline file.

    Attributes:
        path: of the file.
        name: of the pipeline.
        folder: what the run keeps: records, figures, logs, report.
        steps: in the order they run in.
    """

    path: Path
    name: str
    folder: Path
    steps: tuple[Step, ...]

    @property
    def base(self) -> Path:
        """The folder of the file: what its paths are relative to."""
        return self.path.parent

    def step(self, name: str) -> Step:
        """The step of this name.

        Raises:
            InputError: there is none.
        """
        for step in self.steps:
            if step.name == name:
                return step
        known = ", ".join(step.name for step in self.steps)
        raise InputError(f"{self.path.name} has no step {name!r}; it has {known}.")

    def maker(self, resource: Resource) -> Step | None:
        """The step that makes it, or the file or folder that it is in or holds."""
        return next((s for s in self.steps if any(m.touches(resource) for m in s.makes)), None)


def read_pipeline(path: Path) -> Pipeline:
    """Read and check a pipeline file.

    Raises:
        InputError: not TOML, an unknown key, command or option, steps that wait for each other, or
            an input that no step makes and that is not there.
    """
    path = path.resolve()
    table = _toml(path)
    _only(table, _TOP, path.name)
    name = safe_name(_text(table.get("name", path.stem), f"{path.name}: name"))
    said = _text(table.get("folder", f"runs/{name}"), f"{path.name}: folder")
    folder = path.parent / Path(said).expanduser()
    steps = table.get("steps")
    if not isinstance(steps, dict) or not steps:
        raise InputError(f"{path.name}: steps were expected, as tables such as [steps.import].")
    run = Path(os.path.relpath(folder, path.parent)).as_posix()
    found = [_step(key, body, run, path.name) for key, body in steps.items()]
    pipeline = Pipeline(path, name, folder, tuple(_ordered(found, path.name)))
    _all_there(pipeline)
    return pipeline


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"The pipeline file {path} cannot be read ({error.strerror}); name a TOML file."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} is not TOML ({error}); mend it there.") from error


def _step(name: str, body: Any, run: str, file: str) -> Step:
    where = f"{file}, step {name}"
    safe_name(name)
    if "." in name:
        raise InputError(f"{where}: a name without dots was expected; figures are STEP.FIGURE.")
    if not isinstance(body, dict) or "command" not in body:
        raise InputError(f'{where}: a command was expected, such as command = "data import".')
    said = {key: _with_run(value, run) for key, value in body.items()}
    options = {key: value for key, value in said.items() if key not in RESERVED}
    command = find_command(_text(said["command"], f"{where}: command"), options, where)
    kind = kind_of(" ".join(command.words))
    figures = f"{run}/figures/{name}.json" if command.has_figures else None
    own = [named(text) for text in _list(said.get("reads", []), f"{where}: reads")]
    makes = [named(text) for text in _list(said.get("makes", []), f"{where}: makes")]
    makes += expand(kind.makes, kind, command.options)
    makes += [Resource("file", figures)] if figures else []
    for one in makes:
        if one.kind == "file" and not one.touches(Resource("file", run)):
            raise InputError(
                f"{where}: what it makes would be written to {one.name}; files belong into the "
                f"run's folder, write {_RUN}/{Path(one.name).name}."
            )
    return Step(
        name=name,
        command=command,
        kind=kind,
        reads=tuple(dict.fromkeys([*own, *expand(kind.reads, kind, command.options)])),
        uses=(*expand(kind.uses, kind, command.options), *set_resources(command.options)),
        makes=tuple(dict.fromkeys(makes)),
        after=tuple(_list(said.get("after", []), f"{where}: after")),
        figures=figures,
    )


def _ordered(steps: list[Step], file: str) -> Iterable[Step]:
    """Each step after what it needs, else in the order of the file."""
    names = [step.name for step in steps]
    linked = []
    for number, step in enumerate(steps):
        for other in steps[:number]:
            for made in set(step.makes):
                if any(made.touches(one) for one in other.makes):
                    raise InputError(
                        f"{file}: {other.name} and {step.name} both make {made}; only one may."
                    )
        unknown = [name for name in step.after if name not in names]
        if unknown:
            raise InputError(
                f"{file}, step {step.name}: after names {unknown[0]!r}, and there is no such step; "
                f"there are {', '.join(names)}."
            )
        feeds = [
            other.name
            for other in steps
            if other is not step
            and any(made.touches(one) for made in other.makes for one in step.inputs)
        ]
        linked.append((step, tuple(dict.fromkeys((*step.after, *feeds)))))
    return _sorted(linked, file)


def _sorted(linked: list[tuple[Step, tuple[str, ...]]], file: str) -> Iterable[Step]:
    done: list[Step] = []
    waiting = list(linked)
    while waiting:
        names = {step.name for step in done}
        ready = next((pair for pair in waiting if set(pair[1]) <= names), None)
        if ready is None:
            circle = ", ".join(step.name for step, _ in waiting)
            raise InputError(f"{file}: these steps wait for each other: {circle}; cut the circle.")
        waiting.remove(ready)
        done.append(replace(ready[0], after=ready[1]))
    return done


def _all_there(pipeline: Pipeline) -> None:
    """Hold what no step makes against what is there."""
    for step in pipeline.steps:
        for resource in step.reads:
            if pipeline.maker(resource) is None and fingerprint(resource, pipeline.base) is None:
                raise InputError(
                    f"{pipeline.path.name}, step {step.name}: {resource} is not there and no step "
                    "makes it; add the step, or name what is there."
                )


def _with_run(value: Any, run: str) -> Any:
    if isinstance(value, str):
        return value.replace(_RUN, run)
    return [_with_run(one, run) for one in value] if isinstance(value, list) else value


def _only(table: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in known:
            raise InputError(f"{where}: unknown key {key!r}; known are {', '.join(known)}.")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise InputError(f"{where}: text was expected, not {value!r}.")
    return value


def _list(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise InputError(f"{where}: a list of texts was expected, not {value!r}.")
    return value
