"""Dotted overrides from the command line (`--set agents.kept=4`) onto typed settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from foretaste.data.errors import InputError

Settings = TypeVar("Settings", bound=BaseModel)


def override(settings: Settings, group: str, assignments: Iterable[str]) -> Settings:
    """The same settings with every `group.field=value` of `assignments` applied and checked.

    Assignments of other groups are left alone; see `groups_known`.

    Raises:
        InputError: no such field, or a value of the wrong kind.
    """
    changed = settings.model_dump()
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        room, _, field = name.partition(".")
        if room != group:
            continue
        if field not in type(settings).model_fields:
            known = ", ".join(type(settings).model_fields)
            raise InputError(f"--set {assignment}: {group} has no {field!r}; it has {known}.")
        changed[field] = value
    try:
        return type(settings).model_validate(changed)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (group, *first["loc"]))
        raise InputError(f"--set {where}: {first['msg']}, not {first['input']!r}.") from error


def groups_known(assignments: Iterable[str], groups: Iterable[str]) -> None:
    """Refuse an assignment that is not `group.field=value` of a known group."""
    known = tuple(groups)
    for assignment in assignments:
        room, dot, rest = assignment.partition(".")
        if room not in known or not dot or "=" not in rest:
            wanted = " or ".join(f"{group}.FIELD=VALUE" for group in known)
            raise InputError(f"--set expects {wanted}, not {assignment!r}.")
