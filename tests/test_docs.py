"""Every command that a document shows is one that `foretaste` has, with the options it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from foretaste.app.cli import cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_SHOWN = re.compile(r"^\s*(?:\$ )?((?:\.venv/bin/)?foretaste (?:[^#\n\\]|\\\n)*)", re.MULTILINE)


def _shown(page: Path) -> list[str]:
    blocks = re.findall(r"```(?:sh|console|bash)?\n(.*?)```", page.read_text(), re.DOTALL)
    return [
        found.replace("\\\n", " ").strip() for block in blocks for found in _SHOWN.findall(block)
    ]


COMMANDS = [(page.name, command) for page in PAGES for command in _shown(page)]


def test_documents_show_commands() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_shown_command_exists(page: str, command: str) -> None:
    words = shlex.split(re.split(r"\s[>|]\s|&&", command)[0])[1:]
    current: Any = typer.main.get_command(cli)
    while hasattr(current, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in current.commands, f"{page}: no command {name!r} in {command!r}"
        current = current.commands[name]
    known = {option for parameter in current.params for option in parameter.opts}
    known |= {option for parameter in current.params for option in parameter.secondary_opts}
    for word in words:
        if word.startswith("--"):
            assert word.split("=")[0] in known | {"--help"}, f"{page}: {command!r} has no {word}"
