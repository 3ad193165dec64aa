"""Behind the Training tab: trainings in processes of their own, which say what they need and ask first."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from foretaste.data.errors import InputError
from foretaste.data.files import home, safe_name
from foretaste.finetune.runs import ANSWERS, CURVE, SETTINGS

RECIPES = {
    "towers": "towers: users, items and tags in one space",
    "interest": "next interest",
    "adaptor": "items as vectors (adaptor)",
    "examples": "training rows for the agents",
    "sft": "the agents' model, supervised (SFT)",
    "reward": "reward model",
    "grpo": "experts by reward (GRPO)",
}
PRESETS = ("smoke", "cpu")
LINES = 14  # of a training's log that are shown
_STOP_S = 60.0  # for a training to save its state
_ASKED_S = 900.0  # that an estimate waits for its answer
_RUN = "import sys; from foretaste.app.cli import main; sys.argv[0] = 'foretaste'; main()"


@dataclass(frozen=True)
class Wanted:
    """What is to be trained.

    Attributes:
        dataset: its name.
        recipe: of `RECIPES`.
        preset: of `PRESETS`.
        out: name of the adapter that comes out (`sft`, `grpo`).
        adapter: where `grpo` begins.
        resume: go on where the same training was stopped.
    """

    dataset: str
    recipe: str
    preset: str
    out: str = ""
    adapter: str = ""
    resume: bool = False

    def command(self) -> list[str]:
        """The words after `foretaste`; it asks before it begins.

        Raises:
            InputError: something is missing.
        """
        if self.recipe not in RECIPES or self.preset not in PRESETS:
            raise InputError("Choose one of the listed trainings and presets.")
        words = ["finetune", "--ask", self.recipe, "--preset", self.preset]
        if self.recipe != "sft":
            words += ["--dataset", self.dataset]
        if self.recipe in ("sft", "grpo") and not self.out.strip():
            raise InputError("Write the name that the adapter shall have.")
        if self.recipe == "sft":
            words += ["--rows", str(self._rows()), "--name", safe_name(self.out.strip())]
        if self.recipe == "grpo":
            if not self.adapter:
                raise InputError("Choose the supervised adapter that GRPO begins with.")
            words += ["--adapter", self.adapter, "--out", safe_name(self.out.strip())]
        return [*words, *(["--resume"] if self.resume and self.recipe != "examples" else [])]

    def _rows(self) -> Path:
        folder = home() / "examples" / safe_name(self.dataset)
        if not folder.is_dir():
            raise InputError(
                f"There are no training rows of {self.dataset}; make them first: choose "
                f"“{RECIPES['examples']}”."
            )
        return folder


@dataclass
class Training:
    """One training under way.

    Attributes:
        lines: its newest words.
        asks: whether it waits for an answer.
    """

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    asks: bool = False

    @classmethod
    async def begun(cls, wanted: Wanted) -> Training:
        """The process, which first finds out what it will take.

        Raises:
            InputError: something is missing.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", _RUN),
            *wanted.command(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=1_000_000,
        )
        return cls(process)

    async def told(self) -> AsyncGenerator[None]:
        """Yields after each line it says, until it ends; a question nobody answers ends it."""
        stream = self.process.stderr
        while stream is not None:
            try:
                async with asyncio.timeout(_ASKED_S if self.asks else None):
                    raw = await stream.readline()
            except TimeoutError:
                await self.end()
                return
            if not raw:
                break
            said = raw.decode(errors="replace").replace("\r", "\n").strip().splitlines()
            self.lines = [*self.lines, *(one for one in said if one.strip())][-LINES:]
            self.asks = bool(self.lines) and self.lines[-1].endswith(ANSWERS)
            yield
        await self.process.wait()

    def go_on(self) -> None:
        """Answer its question with yes."""
        if self.asks and self.process.stdin is not None:
            self.asks = False
            self.process.stdin.write(b"y\n")

    async def end(self) -> None:
        """Ask it to save and end; a question that waits is answered with no."""
        if self.process.returncode is not None:
            return
        if self.process.stdin is not None:
            self.process.stdin.close()
        if not self.asks:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGINT)
        try:
            await asyncio.wait_for(self._silent(), _STOP_S)
        except TimeoutError:
            self.process.kill()

    async def _silent(self) -> None:
        """Wait for its end; what it still says is read, so that it does not wait for a reader."""
        if self.process.stderr is not None:
            with suppress(RuntimeError):  # somebody reads already
                await self.process.stderr.read()
        await self.process.wait()


def listed() -> list[str]:
    """Runs as `kind/name`, the newest first."""
    found = [path.parent for path in (home() / "runs").glob(f"*/*/{SETTINGS}")]
    found.sort(key=lambda folder: folder.stat().st_mtime, reverse=True)
    return [f"{folder.parent.name}/{folder.name}" for folder in found]


def newest_curve(recipe: str, since: float) -> str | None:
    """The run of this kind that was begun or gone on with since then and has a curve; None for none."""
    paths = [path for path in (home() / "runs" / recipe).glob(f"*/{CURVE}")]
    fresh = [path for path in paths if path.stat().st_mtime >= since]
    if not fresh:
        return None
    newest = max(fresh, key=lambda path: path.stat().st_mtime)
    return f"{recipe}/{newest.parent.name}"
