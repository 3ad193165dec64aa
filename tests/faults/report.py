"""What the suite says: a line a failure on standard error, a table and one JSON object at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from trials import Scenario, Verdict

_COUNTED = ("lost", "duplicated", "corrupt")
_HEAD = ("fault", "where", "trials", "survived", "lost", "twice", "half-written read", "s a trial")


def passing(scenario: Scenario, number: int, verdict: Verdict) -> None:
    """A failure, when it happens."""
    if not verdict.survived:
        told = " | ".join(verdict.faults)[:1500]
        print(f"{scenario.fault}: {scenario.name}, {number}: {told}", file=sys.stderr, flush=True)


def tell(titles: Sequence[tuple[str, str]], rows: Sequence[dict[str, Any]], seconds: float) -> int:
    """Print the table and the JSON object.

    Args:
        titles: fault and place of every scenario.
        rows: one a trial: number of its scenario, counts, faults, seconds.
        seconds: of the whole.

    Returns:
        The exit code.
    """
    print("| " + " | ".join(_HEAD) + " |")
    print("|---|---|" + "---:|" * (len(_HEAD) - 2))
    for index, (fault, name) in enumerate(titles):
        own = [row for row in rows if row["scenario"] == index]
        counts = [sum(row[key] for row in own) for key in _COUNTED]
        mean = sum(row["seconds"] for row in own) / max(len(own), 1)
        cells = [fault, name, len(own), sum(map(_survived, own)), *counts, f"{mean:.1f}"]
        print("| " + " | ".join(map(str, cells)) + " |")
    print(f"\n{len(rows)} trials in {seconds:.0f} s.")
    total = {
        "trials": len(rows),
        "survived": sum(map(_survived, rows)),
        "lost": sum(row["lost"] for row in rows),
        "duplicated": sum(row["duplicated"] for row in rows),
        "corrupt_reads": sum(row["corrupt"] for row in rows),
    }
    print(json.dumps(total), flush=True)
    tried = {row["scenario"] for row in rows}
    whole = len(tried) == len(titles) and total["survived"] == total["trials"]
    return 0 if whole else 1


def _survived(row: dict[str, Any]) -> bool:
    return not (row["faults"] or any(row[key] for key in _COUNTED))
