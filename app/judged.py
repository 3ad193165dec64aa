"""What was judged, held against each other and shown: `judge compare` and `judge report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast, get_args

from foretaste.data.errors import InputError
from foretaste.data.files import replacing
from foretaste.judge.batch.saved import is_pairwise, read_records
from foretaste.judge.report.compare import By, compare_runs
from foretaste.judge.report.gathered import gather
from foretaste.judge.report.markdown import markdown
from foretaste.judge.report.page import page


def compared(first: Path, second: Path, by: str | None, margin: float, seed: int) -> dict[str, Any]:
    """Two runs of `judge run` held against each other; see `compare_runs`.

    Raises:
        InputError: no such runs, runs of pairs, or nothing in common.
    """
    if by is not None and by not in get_args(By):
        raise InputError(f"--by expects {' or '.join(get_args(By))}, not {by!r}.")
    for path in (first, second):
        if is_pairwise(path):
            raise InputError(
                f"{path.name} holds preferences, which compare already; `foretaste judge report` "
                "shows them."
            )
    found = compare_runs(
        read_records(first), read_records(second), cast("By | None", by), margin, seed
    )
    return {"first": first.name, "second": second.name} | found


def reported(paths: Sequence[Path], target: Path, seed: int) -> dict[str, Any]:
    """Write the report of some files: a page for `.html`, text for `.md`.

    Returns:
        out, runs, pairs and people (names), and between (`agreement` of every two runs).

    Raises:
        InputError: a file of something else, or another ending.
    """
    if target.suffix not in (".html", ".md"):
        raise InputError(f"A report is written to a .html or .md file, not {target.name}.")
    report = gather(paths, seed)
    text = page(report) if target.suffix == ".html" else markdown(report)
    with replacing(target) as part:
        part.write_text(text, encoding="utf-8")
    return {
        "out": str(target),
        "runs": [one.name for one in report.runs],
        "pairs": [one.name for one in report.pairs],
        "people": [one.name for one in report.people],
        "between": [
            {"first": one, "second": other} | found
            for (one, other), found in report.between.items()
        ],
    }
