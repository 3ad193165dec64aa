"""`foretaste run`, killed: the run, and with it the step under way; the same command goes on."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import forks
from commands import (
    IMPORTED,
    Command,
    Found,
    digest,
    few_examples,
    found_adapter,
    found_import,
    place,
)
from killed import Killed
from trials import Verdict

_WAIT_S = 120.0  # until a step has gone with its run
_STEPS = """[steps.import]
command = "data import"
data-dir = "tables"
name = "shop"

[steps.sft]
command = "finetune sft"
rows = "rows"
name = "tiny"
preset = "smoke"
set = ["sft.model=MODEL", "sft.tokens=4096", "sft.kind=float32", "sft.save_s=0.1", "sft.epochs=1"]

[steps.describe]
command = "data describe"
name = "shop"
"""


def _run(home: Path) -> list[str]:
    path = place(home) / "shop.toml"
    path.write_text(_STEPS.replace("MODEL", str(place(home) / "model")))
    return ["run", str(path)]


def _found(home: Path) -> Found:
    """What each step is for, as far as it is there."""
    folder = place(home) / "runs" / "shop"
    made: Found = {}
    if (folder / "steps" / "import.json").exists():
        made |= found_import(home)
    if (folder / "steps" / "sft.json").exists():
        made |= found_adapter("tiny")(home)
    if (folder / "steps" / "describe.json").exists():
        figures: Any = json.loads((folder / "figures" / "describe.json").read_text())
        made["figures"] = [digest(figures["counts"])]
    if (folder / "lineage.json").exists():
        lineage: Any = json.loads((folder / "lineage.json").read_text())
        made["lineage"] = [digest(sorted(lineage["figures"]))]
    return made


class RunKilled(Killed):
    """A pipeline of three steps, each in a process of its own."""

    most: int | None = 6

    def __init__(self, seed: int) -> None:
        before = (*IMPORTED, few_examples)
        command = Command(
            "run", _run, _found, whole=False, before=before, limit_s=5 * forks.LIMIT_S
        )
        super().__init__(command, seed)

    def go_on(self, home: Path, url: str | None, verdict: Verdict) -> None:
        """The next run completes, once the step that was under way has gone with its run."""
        until = time.monotonic() + _WAIT_S
        while _held(home) and time.monotonic() < until:
            time.sleep(0.05)
        super().go_on(home, url, verdict)


def _held(home: Path) -> bool:
    """Whether somebody holds the folder of the run."""
    from foretaste.app.pipeline.plan import read_pipeline
    from foretaste.app.pipeline.running import alone
    from foretaste.data.errors import InputError

    def work() -> None:
        import shop

        shop.use_home(home)
        try:
            with alone(read_pipeline(Path(_run(home)[1]))):
                return
        except InputError as error:
            raise SystemExit(2) from error

    return forks.run(work, home.parent / "held.txt").code != 0
