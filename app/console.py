"""What every command shares: figures as JSON, results in place, one sentence for an error."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.progress import note

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
EngineOption = Annotated[
    str, typer.Option(help="vllm (a child process), transformers (in this process), or none.")
]
ModelOption = Annotated[
    str, typer.Option(help="bundled:NAME, a folder, a hub id, or the endpoint's model name.")
]
EndpointOption = Annotated[
    str | None, typer.Option(help="URL of an OpenAI-compatible API to use instead.")
]
#: The language model that is asked when none is named.
MODEL = "bundled:smollm2-135m-instruct"


#: What the machine refuses → what to do about it.
_REFUSALS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the quota of this disk is used up; free some space",
    errno.EFBIG: "a file may not grow so large here; raise the limit (ulimit -f)",
    errno.EROFS: "the disk is read-only; set FORETASTE_HOME to a folder you can write to",
    errno.EACCES: "permission is denied; ask for it, or set FORETASTE_HOME to a folder of yours",
    errno.EPERM: "permission is denied; ask for it, or set FORETASTE_HOME to a folder of yours",
    errno.EIO: "the disk does not answer; look at it before anything else",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine; close some programs",
    errno.ENOMEM: "the memory is full; close some programs",
}


#: A line for people, on standard error: what commands say, and long work while it goes on.
say = note


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn an error that a user is meant to read into its sentence and exit code.

    What the machine refuses (a full disk, a folder of somebody else) is one too. Anything else is a
    fault of ours and keeps its traceback.
    """
    try:
        yield
    except ForetasteError as error:
        say(f"foretaste: {error}")
        raise SystemExit(error.exit_code) from error
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        say(f"foretaste: {where}{_REFUSALS[error.errno]} and run the same command again.")
        raise SystemExit(1) from error
    except KeyboardInterrupt as error:
        say("foretaste: stopped.")
        raise SystemExit(130) from error


def numbers_of(option: str, written: str) -> tuple[int, ...]:
    """The whole numbers from 1 on that an option names, with commas between them.

    >>> numbers_of("--sizes", "100, 2000")
    (100, 2000)

    Raises:
        InputError: something else was written.
    """
    parts = [part.strip() for part in written.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"{option} expects numbers with commas, from 1 on, not {written!r}.")
    return tuple(map(int, parts))


def emit(value: dict[str, Any], target: str | None) -> None:
    """Write `value` as one JSON object to the file `target`, or to standard output for `-`."""
    if target is None:
        return
    if target == "-":
        print(json.dumps(value, ensure_ascii=False), flush=True)
        return
    from foretaste.data.files import write_json

    write_json(Path(target), value)
