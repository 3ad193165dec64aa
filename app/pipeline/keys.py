"""The key of a step: one hash of its inputs, its resolved options and the code that it runs.

The code is that of the command's own file and of every room up to the one that does its work: a room
imports only rooms to its left (ARCHITECTURE.md), so nothing further right can change what comes out, and
a change of the page does not train a model again. Prompts, presets and shipped adapters stand in those
rooms and count with them. Versions of libraries are recorded, not part of the key: a new release of one
does not repeat hours of training by itself (`--from STEP` does).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from foretaste.app.pipeline.plan import Pipeline, Step
from foretaste.app.pipeline.resources import fingerprint
from foretaste.data.files import sha256

ROOMS = ("data", "serving", "agents", "judge", "finetune", "app")
_DECIDING = ("FORETASTE_INDEX",)  # environment variables that change results


@dataclass(frozen=True)
class Key:
    """What decides what a step makes.

    Attributes:
        command: its words and its arguments.
        code: hash of the source that it runs.
        inputs: fingerprints by resource; None for one that is read when it is there, and is not.
        environment: deciding variables that are set.
    """

    command: tuple[str, ...]
    code: str
    inputs: Mapping[str, str | None]
    environment: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The key itself, 16 hex digits."""
        whole = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def differs(self, other: Mapping[str, object]) -> str:
        """What changed since `other`, a key as `asdict` gives it, for people."""
        mine = json.loads(json.dumps(asdict(self)))
        if mine["command"] != other.get("command"):
            return "its options changed"
        before = other.get("inputs")
        known = before if isinstance(before, dict) else {}
        for name in sorted({*mine["inputs"], *known}):
            if mine["inputs"].get(name) != known.get(name):
                return f"its input {name} changed"
        if mine["code"] != other.get("code"):
            return "the code that it runs changed"
        return "the environment changed"


def key_of(step: Step, pipeline: Pipeline) -> Key:
    """The key of a step as things are now; every input is read."""
    inputs = {str(one): fingerprint(one, pipeline.base) for one in step.inputs}
    set_now = {name: os.environ[name] for name in _DECIDING if name in os.environ}
    line = tuple(step.command.line())
    return Key(line, code_version(step.kind.room, step.command.source), inputs, set_now)


@cache
def code_version(room: str, command: Path) -> str:
    """16 hex digits of every file of the rooms up to `room`, and of the command's own.

    Args:
        room: the last one whose code counts.
        command: file of the command.
    """
    used = ROOMS[: ROOMS.index(room) + 1]
    lines = [line for one in used for line in _room(one)]
    whole = "".join([*lines, sha256(command)])
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


@cache
def _room(room: str) -> tuple[str, ...]:
    """Names and contents of a room's files."""
    spec = find_spec(f"foretaste.{room}")
    folders = spec.submodule_search_locations if spec else None
    found = []
    for folder in map(Path, folders or ()):
        for file in sorted(folder.rglob("*")):
            parts = file.relative_to(folder).parts
            hidden = any(part.startswith((".", "__pycache__")) for part in parts)
            if file.is_file() and not hidden:
                found.append(f"{room}/{'/'.join(parts)} {sha256(file)}\n")
    return tuple(found)
