"""What a trial is, what came of it, and how a command is called and looked at within one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import forks
import shop
from commands import Command, Found

LEFT = ("*.part", "build-*")  # names of what is only there while somebody writes


@dataclass
class Verdict:
    """What came of one trial.

    Attributes:
        lost, duplicated, corrupt: results that were gone, there twice, or half-written or altered
            and read all the same.
        faults: everything that was not as it should be, for people.
    """

    lost: int = 0
    duplicated: int = 0
    corrupt: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def survived(self) -> bool:
        """Whether nothing at all was wrong."""
        return not (self.lost or self.duplicated or self.corrupt or self.faults)


class Scenario(Protocol):
    """One kind of fault for one command.

    Attributes:
        fault: row of the table.
        name: of the command or the place that is hit.
        most: trials that make sense, or None for as many as are wanted.
    """

    fault: str
    name: str
    most: int | None

    def prepare(self, folder: Path) -> None:
        """Make what all trials begin with; measure the undisturbed run."""

    def trial(self, number: int, folder: Path) -> Verdict:
        """Hit once, in a new folder."""


@dataclass(frozen=True)
class Seen:
    """What was found after a fault: results, or the sentence that refused to read them."""

    found: Found | None
    said: str
    fault: str | None


def call(
    words: Sequence[str],
    home: Path,
    kill: forks.Moment | None = None,
    counted: Path | None = None,
    limit_s: float = forks.LIMIT_S,
) -> forks.Ended:
    """Run the command on a home in a fork; its words go to a file beside the home."""
    said = home.parent / "said.txt"
    return forks.run(lambda: shop.foretaste(home, *words), said, kill, counted, limit_s)


def look(command: Command, home: Path) -> Seen:
    """Read what a command is for, in a fork, as the next command would."""
    out = home.parent / "found.json"
    out.unlink(missing_ok=True)

    def work() -> None:
        from foretaste.app.console import one_sentence

        shop.use_home(home)
        with one_sentence():
            out.write_text(json.dumps(command.found(home)))

    ended = forks.run(work, home.parent / "looked.txt")
    found = json.loads(out.read_text()) if ended.code == 0 else None
    return Seen(found, ended.said.strip(), ended.fault)


def copied(template: Path, folder: Path) -> Path:
    """A folder as the template is; gives its home."""
    shutil.copytree(template, folder, symlinks=True)
    return folder / "home"


def compare(found: Found, wanted: Found, verdict: Verdict, *, part: bool = False) -> None:
    """Hold results against those of the undisturbed run; `part` allows that some are not there yet."""
    for name, digests in wanted.items():
        here = found.get(name, [])
        verdict.lost += not here and not part
        verdict.duplicated += max(len(here) - len(digests), 0)
        verdict.corrupt += sum(one not in digests for one in here)
    strange = set(found) - set(wanted)
    verdict.corrupt += len(strange)
    if verdict.lost or verdict.duplicated or verdict.corrupt:
        what = "results differ from those of the undisturbed run"
        verdict.faults.append(f"{what}: {_differing(found, wanted)}")


def leftovers(folder: Path) -> list[str]:
    """Files that only a writer under way may have."""
    return sorted(
        str(path.relative_to(folder)) for pattern in LEFT for path in folder.rglob(pattern)
    )


def with_endpoint(command: Command, words: list[str], url: str | None) -> list[str]:
    """The command line, with the endpoint's address where one is asked."""
    return [*words, "--endpoint", url] if url else words


def prepared(command: Command, folder: Path) -> Path:
    """The template of a command: files, model, and what the commands before it made."""
    template = folder / "template"
    home = template / "home"
    home.mkdir(parents=True)
    shop.furnish(template)
    for words in command.before:
        ended = call(words(home), home, limit_s=command.limit_s)
        if ended.code != 0:
            raise SystemExit(f"{command.name}: preparing failed: {ended.said[-2000:]}")
    return template


def _differing(found: Found, wanted: Found) -> str:
    names = [name for name in {*found, *wanted} if found.get(name) != wanted.get(name)]
    return ", ".join(sorted(names)[:5])
