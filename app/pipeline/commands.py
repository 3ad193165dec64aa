"""A step's command: found in the `foretaste` command itself, its options held against its own.

Whatever commands there are can be steps, and a wrong option is refused by the very parser that would
read it later.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, cast

import typer

from foretaste.data.errors import InputError

_OWN = ("json_target", "resume")  # parameters that the run itself gives
_ENDLESS = ("run", "app")  # a run in a run, and a page that waits for people
_UsageError = cast("type[Exception]", typer.BadParameter.__bases__[0])  # every wrong call, in Typer


@dataclass(frozen=True)
class Command:
    """A command with its options.

    Attributes:
        words: that name it: `("finetune", "interest")`.
        arguments: as on a command line, without `--json` and `--resume`.
        options: every option by its parameter's name, defaults resolved; JSON values.
        source: file of its code.
        has_figures: whether it takes `--json`.
        resumes: whether it takes `--resume`.
    """

    words: tuple[str, ...]
    arguments: tuple[str, ...]
    options: dict[str, Any]
    source: Path
    has_figures: bool
    resumes: bool

    def line(self, resume: bool = False, figures: str | None = None) -> list[str]:
        """All words after `foretaste`."""
        own = [*(["--resume"] if resume else []), *(["--json", figures] if figures else [])]
        return [*self.words, *self.arguments, *own]


def find_command(text: str, given: dict[str, Any], where: str) -> Command:
    """The command that `text` names, with these options.

    Args:
        text: its words, such as `finetune interest`.
        given: options by their long names without dashes, arguments by their own names.
        where: of the file, for the sentence of an error.

    Raises:
        InputError: no such command, no such option, or a value that it does not take.
    """
    words = tuple(text.split())
    found = _leaf(words, where)
    by_key = {_key(one): one for one in found.params if one.name not in _OWN}
    for key in given:
        if key not in by_key:
            raise InputError(
                f"{where}: `foretaste {text}` has no option {key!r}; it has {', '.join(by_key)}."
            )
    arguments = [word for key, value in given.items() for word in _words(by_key[key], value, where)]
    try:
        context = found.make_context(text, list(arguments))
    except _UsageError as error:
        message = cast("Any", error).format_message().rstrip(".")
        raise InputError(f"{where}: {message}.") from error
    options = {key: _plain(value) for key, value in context.params.items() if key not in _OWN}
    source = Path(str(sys.modules[found.callback.__module__].__file__))
    names = {one.name for one in found.params}
    return Command(
        words, tuple(arguments), options, source, "json_target" in names, "resume" in names
    )


def _leaf(words: tuple[str, ...], where: str) -> Any:
    """The Typer command of these words."""
    current = _tree()
    for word in words:
        known = getattr(current, "commands", {})
        if word not in known or (current.name == "foretaste" and word in _ENDLESS):
            names = ", ".join(name for name in known if name not in _ENDLESS) or "nothing more"
            raise InputError(
                f"{where}: no step can be {' '.join(words)!r}; after {current.name!r} come {names}."
            )
        current = known[word]
    if getattr(current, "commands", None):
        names = ", ".join(current.commands)
        raise InputError(f"{where}: which {' '.join(words)!r} was expected: {names}.")
    return current


@cache
def _tree() -> Any:
    """The `foretaste` command with all that is below it."""
    from foretaste.app.cli import cli

    return typer.main.get_command(cli)


def _key(parameter: Any) -> str:
    """How a pipeline file names a parameter."""
    longest = max(parameter.opts, key=len)
    return str(longest.lstrip("-")) if longest.startswith("-") else str(parameter.name)


def _words(parameter: Any, value: Any, where: str) -> list[str]:
    """One option as it stands on a command line."""
    key, option = _key(parameter), max(parameter.opts, key=len)
    if not option.startswith("-"):
        return [_word(one, key, where) for one in (value if isinstance(value, list) else [value])]
    if getattr(parameter, "is_flag", False):
        if not isinstance(value, bool):
            raise InputError(f"{where}: {key} expects true or false, not {value!r}.")
        return [option] if value else list(parameter.secondary_opts[:1])
    if isinstance(value, list) and not parameter.multiple:
        raise InputError(f"{where}: {key} expects one value, not a list.")
    values = value if isinstance(value, list) else [value]
    return [word for one in values for word in (option, _word(one, key, where))]


def _word(value: Any, key: str, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"{where}: {key} expects text or a number, not {value!r}.")
    return str(value)


def _plain(value: Any) -> Any:
    """A parameter's value as JSON holds it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return value.as_posix()
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
