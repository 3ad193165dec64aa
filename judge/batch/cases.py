"""Rows as cases and pairs: results of `recommend`, tables by column mapping, OpenAI batch results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from foretaste.data.errors import InputError
from foretaste.judge.batch.recommended import (
    cases_of,
    got_nothing,
    ids_of,
    is_recommendation,
    name_of,
    whole,
)
from foretaste.judge.batch.rows import Row, rows_of
from foretaste.judge.objects import Case, Known, Pair, Target

Some = TypeVar("Some", bound=Known)

#: Field of a case → names that columns of it go by; lower case.
ALIASES: dict[str, tuple[str, ...]] = {
    "id": ("id", "case_id", "custom_id", "pair_id"),
    "group": ("group", "query_id", "conversation_id", "session_id"),
    "user_id": ("user_id", "user"),
    "answer": ("answer", "response", "output", "explanation", "completion", "text"),
    "first": ("first", "answer_a", "response_a", "a"),
    "second": ("second", "answer_b", "response_b", "b"),
    "items": ("items", "item_ids", "item_id"),
    "first_items": ("first_items", "items_a"),
    "second_items": ("second_items", "items_b"),
    "context": ("context", "query", "question", "prompt"),
    "history": ("history",),
    "profile": ("profile",),
    "chosen": ("chosen", "history_ids"),
}
_LINES = ("answer", "first", "second", "context", "history", "profile")
_IDS = ("items", "first_items", "second_items", "chosen")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are what.

    Attributes:
        said: field of a case → its columns, in order; `ALIASES` tell the rest.
        segments: columns by whose values results are parted.
    """

    said: dict[str, tuple[str, ...]] = field(default_factory=dict)
    segments: tuple[str, ...] = ()


def columns_of(flags: Sequence[str], segments: Sequence[str] = ()) -> Columns:
    """The columns that `--map field=COLUMN` flags name; several for one field are put together.

    Raises:
        InputError: a flag of another form, or a field that cases do not have.

    >>> columns_of(["context=title,brand"]).said
    {'context': ('title', 'brand')}
    """
    said: dict[str, tuple[str, ...]] = {}
    for flag in flags:
        name, equals, columns = flag.partition("=")
        if not equals or not columns or name not in ALIASES:
            raise InputError(
                f"--map expects field=COLUMN with a field of {', '.join(ALIASES)}, not {flag!r}."
            )
        said[name] = (*said.get(name, ()), *(one for one in columns.split(",") if one))
    return Columns(said, tuple(segments))


@dataclass(frozen=True)
class Source(Generic[Some]):
    """Cases or pairs that were walked through once: their ids, and the way to read them again."""

    ids: tuple[str, ...]
    read: Iterable[Some]


@dataclass(frozen=True)
class CaseFile:
    """The cases of a file, made anew each time they are walked through.

    Attributes:
        path: of the answers.
        target: of the rubric; which cases a result of `recommend` holds.
        columns: of a table.
        requests: of an OpenAI batch whose results `path` holds, for the contexts.
    """

    path: Path
    target: Target
    columns: Columns = field(default_factory=Columns)
    requests: Path | None = None

    def __iter__(self) -> Iterator[Case]:
        asked = _asked(self.requests) if self.requests else {}
        names: dict[str, int] = {}
        for number, row in rows_of(self.path):
            if got_nothing(row):
                continue
            if is_recommendation(row):
                yield from cases_of(row, self.target, _once(name_of(row, number), names))
            elif "custom_id" in row and "response" in row:
                yield _answered(row, asked, self.path, number)
            else:
                fields = _fields(row, self.columns, number, self.path)
                yield _made(Case, fields, "answer", self.path, number)


@dataclass(frozen=True)
class PairFile:
    """The pairs of a table with two answers a row."""

    path: Path
    columns: Columns = field(default_factory=Columns)

    def __iter__(self) -> Iterator[Pair]:
        for number, row in rows_of(self.path):
            fields = _fields(row, self.columns, number, self.path)
            yield _made(Pair, fields, "first", self.path, number)


@dataclass(frozen=True)
class PairOfFiles:
    """Two files of results of `recommend`: what each gave to the same person."""

    first: Path
    second: Path
    target: Target

    def __iter__(self) -> Iterator[Pair]:
        others = dict(_results(self.second))
        met = False
        for name, result in _results(self.first):
            if name not in others:
                continue
            met = True
            known = next(cases_of(result, "list", name)).model_dump(exclude={"answer", "items"})
            one, other = (whole(some, self.target) for some in (result, others[name]))
            ids = {
                f"{side}_items": ids_of(some)
                for side, some in (("first", result), ("second", others[name]))
            }
            yield Pair(first=one, second=other, **ids, **known)
        if not met:
            raise InputError(
                f"{self.first.name} and {self.second.name} have nobody in common; results of "
                "`foretaste recommend` for the same people were expected in both."
            )


def checked(read: Iterable[Some]) -> Source[Some]:
    """Walk through once, before anything is spent, and refuse ids that come twice.

    Raises:
        InputError: an id that comes twice, nothing at all, or whatever reading says.
    """
    seen: dict[str, None] = {}
    for one in read:
        if one.id in seen:
            raise InputError(
                f"The id {one.id!r} comes twice; give each case one of its own (--map id=COLUMN)."
            )
        seen[one.id] = None
    if not seen:
        raise InputError("There is nothing to judge in the input.")
    return Source(tuple(seen), read)


def _results(path: Path) -> Iterator[tuple[str, Row]]:
    names: dict[str, int] = {}
    for number, row in rows_of(path):
        if not is_recommendation(row):
            raise InputError(
                f"{path.name}, row {number}: a result of `foretaste recommend` was expected."
            )
        if got_nothing(row):
            continue
        yield _once(name_of(row, number), names), row


def _once(name: str, names: dict[str, int]) -> str:
    """The name, with a number when it was met before."""
    names[name] = names.get(name, 0) + 1
    return name if names[name] == 1 else f"{name}#{names[name]}"


def _fields(row: Row, columns: Columns, number: int, path: Path) -> dict[str, Any]:
    """The fields of a case that a row tells."""
    by_name = {name.strip().lower(): name for name in reversed(list(row))}
    fields: dict[str, Any] = {}
    for name, aliases in ALIASES.items():
        found = columns.said.get(name) or _first(by_name, aliases)
        if not found:
            continue
        missing = [one for one in found if one not in row]
        if missing:
            raise InputError(
                f"{path.name}, row {number}, has no column {missing[0]!r}; it has: {', '.join(row)}."
            )
        cells = [row[one] for one in found if row[one] is not None]
        if name in _LINES:
            fields[name] = tuple(line for cell in cells for line in _lines(cell))
        elif name in _IDS:
            fields[name] = tuple(one for cell in cells for one in _names(cell))
        elif cells:
            fields[name] = str(cells[0])
    fields["segments"] = {name: _segment(row, name, path, number) for name in columns.segments}
    fields.setdefault("id", f"row {number}")
    fields.setdefault("group", fields.get("user_id", ""))
    return fields


def _first(by_name: dict[str, str], aliases: tuple[str, ...]) -> tuple[str, ...]:
    """The column of the most telling alias."""
    return next(((by_name[name],) for name in aliases if name in by_name), ())


def _segment(row: Row, name: str, path: Path, number: int) -> str:
    if name not in row:
        raise InputError(f"{path.name}, row {number}, has no column {name!r} for --segment.")
    return "" if row[name] is None else str(row[name])


def _lines(cell: Any) -> list[str]:
    """A cell as lines: a list's entries, or the lines of a text."""
    texts = cell if isinstance(cell, list | tuple) else str(cell).splitlines()
    return [str(one) for one in texts if one is not None]


def _names(cell: Any) -> list[str]:
    """A cell as ids: a list's entries, or what stands between commas."""
    texts = cell if isinstance(cell, list | tuple) else str(cell).split(",")
    return [str(one).strip() for one in texts if str(one).strip()]


def _made(kind: type[Some], fields: dict[str, Any], needed: str, path: Path, number: int) -> Some:
    """A case or a pair of these fields; those that it does not have are left out."""
    if needed not in fields or (not fields[needed] and needed != "answer"):
        raise InputError(
            f"{path.name}, row {number}, has no {needed}; name its column with "
            f"--map {needed}=COLUMN."
        )
    try:
        return kind(**{name: fields[name] for name in fields if name in kind.model_fields})
    except ValidationError as error:
        raise InputError(
            f"{path.name}, row {number}: {error.errors()[0]['msg']} ({error.errors()[0]['loc']})."
        ) from error


def _answered(row: Row, asked: dict[str, tuple[str, ...]], path: Path, number: int) -> Case:
    """The case of one OpenAI batch result."""
    name = str(row["custom_id"])
    try:
        said = row["response"]["body"]["choices"][0]
        text = said["message"]["content"] if "message" in said else said["text"]
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(
            f"{path.name}, line {number}: a chat completion was expected in response.body "
            f"of {name!r}; take out the requests that failed."
        ) from error
    return Case(id=name, answer=tuple(_lines(text or "")), context=asked.get(name, ()))


def _asked(path: Path) -> dict[str, tuple[str, ...]]:
    """custom_id → what was asked, a line each, of a file of OpenAI batch requests."""
    found = {}
    for number, row in rows_of(path):
        try:
            turns = [turn["content"] for turn in row["body"]["messages"] if turn["role"] == "user"]
            found[str(row["custom_id"])] = tuple(line for turn in turns for line in _lines(turn))
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{path.name}, line {number}: a request with custom_id and body.messages was "
                "expected."
            ) from error
    return found
