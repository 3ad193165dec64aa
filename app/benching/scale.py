"""The road of `foretaste bench scale`: how time and memory of a command grow with the data.

Every point is a command of its own, in a process of its own, over a home of its own: what is measured
is what a user would wait for, starting up included. Processor seconds are the figure to compare, as
other work on the machine does not change them; wall seconds stand beside them.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from foretaste.app.benching.replicate import base_of, replicate
from foretaste.data.dataset import Dataset
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.exporting import export_dataset
from foretaste.data.files import home, read_json
from foretaste.data.progress import note
from foretaste.data.store import load_dataset

NAME = "scaled"  # of the data set in the temporary home
_CLI = (sys.executable, "-P", "-c", "from foretaste.app.cli import main; main()")
# What grows with the data in each part, and so is the base of its cost.
UNITS = {
    "import": "interactions",
    "index": "items",
    "interest": "interactions",
    "recommend": "users",
}
PARTS = tuple(UNITS)
NEEDED = ("import", "index")  # by every part behind them
Point = dict[str, Any]


class Bench(BaseModel, frozen=True):
    """The options of one `foretaste bench scale`; see its help."""

    dataset: str
    parts: tuple[str, ...] = PARTS
    sizes: tuple[int, ...] = (1, 4, 16)
    users: int | None = None
    items: int | None = None
    preset: str = "smoke"
    seed: int = 0
    settings: tuple[str, ...] = ()


def run(
    bench: Bench, keep: Callable[[dict[str, Any]], None], before: Path | None = None
) -> dict[str, Any]:
    """Measure the parts that were asked for, one size after the other.

    Args:
        bench: what to measure.
        keep: is given the figures whenever a point is done.
        before: file of figures of an earlier try with the same options, whose points are kept.

    Returns:
        The options, and for each part of `parts` its `points` (`fit` has their keys) and the fit.

    Raises:
        InputError: an option is wrong, or `before` holds other options.
        ForetasteError: a command that was measured failed.
    """
    unknown = [part for part in bench.parts if part not in PARTS]
    if unknown:
        raise InputError(f"--only expects parts of {', '.join(PARTS)}, not {unknown[0]!r}.")
    if list(bench.sizes) != sorted(set(bench.sizes)) or min(bench.sizes, default=0) < 1:
        raise InputError(
            "--sizes expects whole numbers from 1 on, each larger than the one before."
        )
    base = base_of(load_dataset(bench.dataset), bench.users, bench.items, bench.seed)
    points = _before(before, bench)
    for size in bench.sizes:
        left = [part for part in bench.parts if not any(p["size"] == size for p in points[part])]
        if not left:
            continue
        with _home(replicate(base, size, bench.seed)) as (scratch, counts):
            for part, point in _points(bench, left, scratch, counts, points):
                points[part].append({"size": size, **counts, **point})
                points[part].sort(key=lambda kept: int(kept["size"]))
                keep(_figures(bench, points))
    return _figures(bench, points)


def fit(points: Sequence[Point], unit: str) -> dict[str, float]:
    """How the processor seconds y of a part grow with its units x.

    Args:
        points: with `unit`, `processor_s` and `peak_mb`, in the order of their sizes.
        unit: the key of x.

    Returns:
        `exponent`: of the least-squares line through (log x, log y); `last_exponent`: between the
        last two points, where the cost of starting up weighs least; `per_million_s` and
        `per_million_mb`: seconds and memory of a million units more, by the last two points.
        Empty with fewer than two points.

    >>> fit([{"n": 1, "processor_s": 3, "peak_mb": 9}, {"n": 4, "processor_s": 12, "peak_mb": 9}], "n")
    {'exponent': 1.0, 'last_exponent': 1.0, 'per_million_s': 3000000.0, 'per_million_mb': 0.0}
    """
    if len(points) < 2:
        return {}
    x = [math.log(point[unit]) for point in points]
    y = [math.log(point["processor_s"]) for point in points]
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    spread = sum((a - x_mean) ** 2 for a in x)
    one, two = points[-2:]
    more = (two[unit] - one[unit]) / 1e6
    return {
        "exponent": round(slope / spread, 3),
        "last_exponent": round((y[-1] - y[-2]) / (x[-1] - x[-2]), 3),
        "per_million_s": round((two["processor_s"] - one["processor_s"]) / more, 1),
        "per_million_mb": round((two["peak_mb"] - one["peak_mb"]) / more, 1),
    }


def _points(
    bench: Bench,
    parts: Sequence[str],
    scratch: Path,
    counts: Point,
    before: dict[str, list[Point]],
) -> Iterator[tuple[str, Point]]:
    """Run the parts that are left over one home, and what they need to have been done before them."""
    last = max(PARTS.index(part) for part in parts)
    for part in PARTS[: last + 1]:
        if part not in parts and part not in NEEDED:
            continue
        _expect(part, counts, before.get(part, []))
        point = _measure(_command(bench, part, scratch), scratch / "home")
        if part in parts:
            note(f"  {point['processor_s']} processor s, {point['peak_mb']:,} MB at the peak")
            yield part, point


def _command(bench: Bench, part: str, scratch: Path) -> list[str]:
    if part == "import":
        return [*_CLI, "data", "import", "--data-dir", str(scratch / "csv"), "--name", NAME]
    if part == "index":
        return [*_CLI, "index", "--dataset", NAME]
    if part == "interest":
        changes = [f"--set={change}" for change in ("interest.epochs=1", *bench.settings)]
        return [
            *_CLI,
            "finetune",
            "interest",
            "--dataset",
            NAME,
            "--preset",
            bench.preset,
            *changes,
        ]
    out = str(scratch / "recommended")
    return [*_CLI, "recommend", "--dataset", NAME, "--all", "--engine", "local", "--out", out]


@contextmanager
def _home(dataset: Dataset) -> Iterator[tuple[Path, Point]]:
    """A folder with the data set as CSV and an empty home that shares the models of this one."""
    counts = {
        "items": dataset.items.height,
        "users": dataset.interactions["user_id"].n_unique(),
        "interactions": dataset.interactions.height,
    }
    with tempfile.TemporaryDirectory(prefix="foretaste-scale-") as name:
        scratch = Path(name)
        (scratch / "home").mkdir()
        (scratch / "home" / "models").symlink_to(home() / "models")
        export_dataset(dataset, "csv", scratch / "csv")
        yield scratch, counts


def _measure(command: list[str], place: Path) -> Point:
    """Wall and processor seconds and peak memory of a command over the home `place`.

    Raises:
        ForetasteError: it failed.
    """
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "FORETASTE_HOME": str(place)}
    start = time.perf_counter()
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        _, status, usage = os.wait4(child.pid, 0)
    except BaseException:
        child.kill()
        child.wait()
        raise
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise ForetasteError(
            f"`foretaste {' '.join(command[4:])}` ended with exit code {child.returncode}, so "
            "nothing can be said of larger sizes; see above what it wrote."
        )
    return {
        "wall_s": round(time.perf_counter() - start, 1),
        "processor_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
    }


def _expect(part: str, counts: Point, before: Sequence[Point]) -> None:
    """Say what comes, and how long it will take by the largest point so far."""
    unit = UNITS[part]
    text = f"{part}: {counts[unit]:,} {unit}"
    if before:
        last = before[-1]
        text += f", about {last['wall_s'] * counts[unit] / last[unit]:.0f} s or less"
    note(text)


def _before(path: Path | None, bench: Bench) -> dict[str, list[Point]]:
    """The points that an earlier try left in `path`, none when there is no such file."""
    found: dict[str, list[Point]] = {part: [] for part in bench.parts}
    if path is None or not path.exists():
        return found
    figures = read_json(path)
    if figures.get("options") != _options(bench):
        raise InputError(f"{path} holds figures of other options; name another file.")
    return found | {
        part: list(measured["points"])
        for part, measured in figures["parts"].items()
        if part in found
    }


def _figures(bench: Bench, points: dict[str, list[Point]]) -> dict[str, Any]:
    parts = {
        part: {"unit": UNITS[part], "points": rows, **fit(rows, UNITS[part])}
        for part, rows in points.items()
    }
    return {"options": _options(bench), "parts": parts}


def _options(bench: Bench) -> dict[str, Any]:
    """What decides a point; which parts and sizes are measured does not."""
    options: dict[str, Any] = json.loads(bench.model_dump_json(exclude={"parts", "sizes"}))
    return options
