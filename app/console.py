"""What every command shares: figures as JSON, results in place, one sentence for an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from foretaste.data.errors import ForetasteError

JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write the figures as one JSON object to FILE, or to standard output for '-'.",
    ),
]
DatasetOption = Annotated[
    str, typer.Option("--dataset", metavar="NAME", help="An imported data set (`data list`).")
]


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn an error that a user is meant to read into its sentence and exit code.

    Anything else is a fault of ours and keeps its traceback.
    """
    try:
        yield
    except ForetasteError as error:
        say(f"foretaste: {error}")
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt as error:
        say("foretaste: stopped.")
        raise SystemExit(130) from error


def say(text: str) -> None:
    """A line for people, on standard error."""
    print(text, file=sys.stderr, flush=True)


def emit(value: dict[str, Any], target: str | None) -> None:
    """Write `value` as one JSON object to the file `target`, or to standard output for `-`."""
    if target is None:
        return
    if target == "-":
        print(json.dumps(value, ensure_ascii=False), flush=True)
        return
    from foretaste.data.files import write_json

    write_json(Path(target), value)
