"""What was judged, held against each other and shown: `judge compare` and `judge report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast, get_args

from foretaste.data.errors import InputError
from foretaste.judge.batch.saved import is_pairwise, read_records
from foretaste.judge.report.compare import By, compare_runs


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
