"""Files of answers as rows, one at a time: JSON, JSONL, CSV, TSV, Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foretaste.data.appended import AlteredError, altered, read_line
from foretaste.data.errors import InputError
from foretaste.data.readers import FAULT, ROW, open_table, readable

Row = dict[str, Any]
LINES = (".jsonl", ".ndjson")
_TOGETHER = 2048  # rows of a table that are read at once


def rows_of(path: Path) -> Iterator[tuple[int, Row]]:
    """Every row with its number, from 1; blank lines are passed over.

    Args:
        path: `.jsonl` and `.ndjson` are read line by line; `.json` holds one object or a list of
            them; everything else is read as a table.

    Raises:
        InputError: no such file, another format, or a row that is no object; the sentence names it.
    """
    if path.suffix == ".json":
        yield from _objects(path)
    elif path.suffix in LINES:
        yield from lines_of(path)
    else:
        yield from _table(path)


def lines_of(path: Path) -> Iterator[tuple[int, Row]]:
    """Every object of a file of JSON lines with its line number; errors as `rows_of`."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _object(path, line, number)
    except OSError as error:
        raise _unreadable(path, error) from error


def _objects(path: Path) -> Iterator[tuple[int, Row]]:
    try:
        held = json.loads(path.read_bytes())
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise InputError(f"{path.name} is not valid JSON ({error}).") from error
    for number, one in enumerate(held if isinstance(held, list) else [held], 1):
        if not isinstance(one, dict):
            raise InputError(f"{path.name}: an object was expected at place {number}.")
        yield number, one


def _table(path: Path) -> Iterator[tuple[int, Row]]:
    scan = open_table(path).scan
    with readable(path):
        for batch in scan.collect_batches(chunk_size=_TOGETHER, maintain_order=True):
            for row in batch.iter_rows(named=True):
                number, fault = int(row.pop(ROW)), row.pop(FAULT)
                if fault:
                    raise InputError(f"{path.name}, row {number}: {fault}.")
                yield number, row


def _object(path: Path, text: bytes, number: int) -> Row:
    try:
        held = read_line(text)
    except AlteredError as error:
        raise altered(path, number) from error
    except ValueError as error:
        raise InputError(f"{path.name}, line {number}, is not valid JSON ({error}).") from error
    if not isinstance(held, dict):
        raise InputError(f"{path.name}, line {number}: one JSON object a line was expected.")
    return held


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path} cannot be read ({error.strerror}); a file of answers was expected.")
