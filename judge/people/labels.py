"""Human labels: any table whose columns are named by flags, of answers or of pairs of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foretaste.data.errors import DataError, InputError

Task = Literal["pointwise", "pairwise"]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Fields = tuple[str, ...]

LEVELS = 10  # different labels up to which a scale is one of levels
BINS = 5  # levels that a scale with more different labels is cut into
PREFERENCES = ("second", "tie", "first")  # rising
_SUFFIXES = {".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson"}
_SAID = {
    "first": 1.0, "a": 1.0, "left": 1.0, "model_a": 1.0, "one": 1.0, "chosen": 1.0,
    "tie": 0.5, "both": 0.5, "equal": 0.5, "same": 0.5, "neither": 0.5,
    "second": 0.0, "b": 0.0, "right": 0.0, "model_b": 0.0, "two": 0.0, "rejected": 0.0,
}  # fmt: skip


@dataclass(frozen=True)
class Columns:
    """Which columns of the table are what.

    Attributes:
        context: what was answered: a query, a conversation, a profile.
        answer: the answer, in one column or several fields of it.
        other: of pairs, the second answer, its fields in the same order.
        label: what people agreed on.
        raters: what each of them said.
        group: rows of one group are not independent (one query, one person); the context when None.
        id: of the row, for saved runs; the row's number when None.
        popularity: how often the answer was chosen or shown.
        author: which model wrote the answer.
    """

    context: str
    answer: Fields
    label: str
    other: Fields = ()
    raters: Fields = ()
    group: str | None = None
    id: str | None = None
    popularity: str | None = None
    author: str | None = None


@dataclass(frozen=True)
class Labels:
    """n labelled answers, or pairs of answers, of one task.

    Attributes:
        task: whether a label is about one answer or says which of two is better.
        names: the fields of an answer.
        contexts: n texts; lines of a conversation from the first on.
        answers: n answers, the fields of each.
        others: the second answers of pairs, else empty.
        labels: (n,) the label; of pairs 1 for the first, 0.5 for a tie, 0 for the second.
        raters: (n, r) what each rater said, NaN where one said nothing.
        groups: (n,) number of the row's group, from 0 on.
        ids: n names of the rows, each once.
        scale: the levels, rising: all labels when there are ten or fewer, else five equal steps.
        words: what the levels are called.
        positive: the label from which on an answer counts as good.
        popularity: (n,) or None.
        authors: n names or None.
    """

    task: Task
    names: Fields
    contexts: list[str]
    answers: list[Fields]
    others: list[Fields]
    labels: Floats
    raters: Floats
    groups: Ints
    ids: list[str]
    scale: Floats
    words: tuple[str, ...]
    positive: float
    popularity: Floats | None = None
    authors: list[str] | None = field(default=None)

    def __len__(self) -> int:
        """How many rows."""
        return len(self.labels)

    @property
    def levels(self) -> Ints:
        """(n,) the place of each label on the scale."""
        return nearest(self.labels, self.scale)

    @property
    def good(self) -> NDArray[np.bool_]:
        """(n,) whether the label is positive; a tie of a pair is not."""
        return np.asarray(self.labels >= self.positive)

    def take(self, rows: NDArray[Any]) -> Labels:
        """The same scale over some rows: numbers or a mask."""
        places = np.arange(len(self))[rows]

        def some(values: list[Any]) -> list[Any]:
            return [values[place] for place in places] if values else []

        return replace(
            self,
            contexts=some(self.contexts),
            answers=some(self.answers),
            others=some(self.others),
            labels=self.labels[places],
            raters=self.raters[places],
            groups=self.groups[places],
            ids=some(self.ids),
            popularity=None if self.popularity is None else self.popularity[places],
            authors=None if self.authors is None else some(self.authors),
        )

    def with_answers(self, answers: list[Fields]) -> Labels:
        """The same rows with other answers, as biases are probed."""
        return replace(self, answers=answers)


def nearest(values: Floats, scale: Floats) -> Ints:
    """(n,) the place of the level that is nearest to each value; of two the lower.

    >>> nearest(np.array([-1, 1.4, 9.0]), np.array([0, 1, 3.0])).tolist()
    [0, 1, 2]
    """
    return np.asarray(np.abs(values[:, None] - scale[None]).argmin(axis=1), dtype=np.int64)


def joined(answer: Fields) -> str:
    """An answer as one text, its fields one sentence each."""
    return ". ".join(part.strip().rstrip(".") for part in answer if part.strip())


def read_labels(
    path: Path,
    columns: Columns,
    *,
    levels: Sequence[str] = (),
    positive: float | None = None,
    limit: int | None = None,
) -> Labels:
    """A table of labels; rows without a label are left out.

    Args:
        path: parquet, csv, tsv, json or jsonl.
        columns: of the table; with `other` it is one of pairs.
        levels: names of the levels, rising, when labels are words: of pairs second, tie, first (a
            tie may be left out).
        positive: the label from which on an answer is good; above the middle of the scale when None.
        limit: rows that are read, at most.

    Raises:
        InputError: no such file or column, labels that are no scale, or fewer than two groups.
    """
    table = read_table(path)
    _present(table, columns, path)
    labels = numbers(table[columns.label], columns, levels)
    table = table.filter(pl.Series(~np.isnan(labels)))
    labels = labels[~np.isnan(labels)]
    if limit is not None:
        table, labels = table.head(limit), labels[:limit]
    if len(table) < 2:
        raise InputError(f"Two or more labelled rows were expected in {path}, not {len(table)}.")
    pairs = bool(columns.other)
    raters = [numbers(table[name], columns, levels) for name in columns.raters]
    scale, words = _scale(labels, levels, pairs)
    contexts = [text_of(value) for value in table[columns.context].to_list()]
    groups = table[columns.group].cast(pl.String) if columns.group else pl.Series(contexts)
    return Labels(
        task="pairwise" if pairs else "pointwise",
        names=columns.answer,
        contexts=contexts,
        answers=_fields(table, columns.answer),
        others=_fields(table, columns.other) if pairs else [],
        labels=labels,
        raters=np.stack(raters, axis=1) if raters else np.empty((len(table), 0)),
        groups=np.unique(groups.fill_null("").to_numpy(), return_inverse=True)[1].astype(np.int64),
        ids=_ids(table, columns, path),
        scale=scale,
        words=words,
        positive=_positive(scale, positive),
        popularity=_optional(table, columns.popularity),
        authors=[text_of(one) for one in table[columns.author]] if columns.author else None,
    )


def read_table(path: Path) -> pl.DataFrame:
    """A table as it stands, by the ending of its name.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    kind = path.suffix.lower()
    if kind not in _SUFFIXES or not path.is_file():
        raise InputError(
            f"A file ending in {', '.join(sorted(_SUFFIXES))} was expected, not {path}; check its name."
        )
    try:
        if kind == ".parquet":
            return pl.read_parquet(path)
        if kind in (".jsonl", ".ndjson"):
            return pl.read_ndjson(path, infer_schema_length=None)
        if kind == ".json":
            return pl.read_json(path, infer_schema_length=None)
        return pl.read_csv(
            path, separator="\t" if kind == ".tsv" else ",", infer_schema_length=None
        )
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise DataError(f"{path} cannot be read as {kind[1:]} ({reason}).") from error


def numbers(column: pl.Series, columns: Columns, levels: Sequence[str]) -> Floats:
    """(n,) float64 of a column of labels, NaN where there is none.

    Numbers and booleans stand for themselves, words for their place among `levels`; of pairs see
    `read_labels`, and without `levels` the usual words and numbers are understood (first, A, 1 …).

    Raises:
        DataError: a label that none of this explains.
    """
    pairs = bool(columns.other)
    known = {name.casefold(): float(place) for place, name in enumerate(levels)}
    if pairs:
        known = {name: value / max(1, len(levels) - 1) for name, value in known.items()} or _SAID
    if column.dtype == pl.String:
        found = (
            column.str.strip_chars()
            .str.to_lowercase()
            .replace_strict(known, default=None, return_dtype=pl.Float64)
            if known
            else column.cast(pl.Float64, strict=False)
        )
        if found.null_count() == column.null_count():
            return found.fill_null(np.nan).to_numpy().astype(np.float64)
        numeric = column.cast(pl.Float64, strict=False)
        if numeric.null_count() > column.null_count():
            odd = column.filter(found.is_null() & column.is_not_null())[0]
            raise DataError(
                f"Column {column.name!r} holds the label {odd!r}, which is no number; name the "
                "labels from the lowest to the highest with --levels LOW,…,HIGH."
            )
        column = numeric
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        raise DataError(f"Column {column.name!r} should hold labels, not {column.dtype}.")
    values = column.cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float64)
    return _preferred(values, column.name) if pairs else values


def _preferred(values: Floats, name: str) -> Floats:
    """Numbers of a pair's label as 1 first, 0.5 tie, 0 second."""
    seen = set(values[~np.isnan(values)].tolist())
    if seen <= {0.0, 0.5, 1.0}:
        return values
    if seen <= {-1.0, 0.0, 1.0}:
        return (values + 1) / 2
    if seen <= {1.0, 2.0}:
        return 2 - values
    raise DataError(
        f"Column {name!r} should say which of two is better (1 first, 0.5 tie, 0 second; or 1, 0, -1; "
        f"or 1, 2; or words) and holds {sorted(seen)[:6]}."
    )


def text_of(value: Any) -> str:
    """A cell as one text: lists line by line, turns of a conversation as `role: content`.

    >>> text_of([{"role": "user", "content": "a film?"}, {"role": "assistant", "content": "Heat"}])
    'user: a film?\\nassistant: Heat'
    """
    if value is None:
        return ""
    if isinstance(value, pl.Series):
        value = value.to_list()
    if isinstance(value, dict):
        role = value.get("role") or value.get("speaker") or value.get("name")
        said = value.get("content") or value.get("text") or value.get("value")
        if said is None:
            return " ".join(text_of(one) for one in value.values())
        return f"{role}: {text_of(said)}" if role else text_of(said)
    if isinstance(value, (list, tuple)):
        return "\n".join(text_of(one) for one in value)
    return str(value)


def _present(table: pl.DataFrame, columns: Columns, path: Path) -> None:
    """Every named column is there."""
    alone = [columns.group, columns.id, columns.popularity, columns.author]
    named = [columns.context, columns.label, *columns.answer, *columns.other, *columns.raters]
    for name in [*named, *(one for one in alone if one)]:
        if name not in table.columns:
            raise InputError(
                f"{path} has no column {name!r}; it has {', '.join(table.columns)}. Name the columns "
                "with --context, --answer, --label and so on."
            )
    if columns.other and len(columns.other) != len(columns.answer):
        raise InputError(
            f"Both answers of a pair need the same fields: --answer names {len(columns.answer)} "
            f"columns and --other {len(columns.other)}."
        )


def _fields(table: pl.DataFrame, names: Fields) -> list[Fields]:
    cells = [[text_of(value) for value in table[name].to_list()] for name in names]
    return list(zip(*cells, strict=True))


def _scale(labels: Floats, levels: Sequence[str], pairs: bool) -> tuple[Floats, tuple[str, ...]]:
    """The levels and what they are called."""
    if pairs:
        return np.array([0.0, 0.5, 1.0]), PREFERENCES
    if levels:
        return np.arange(len(levels), dtype=np.float64), tuple(levels)
    seen = np.unique(labels)
    if len(seen) < 2:
        raise DataError(f"Every label is {seen[0]:g}; a judge can only be held against several.")
    if len(seen) > LEVELS:
        low, high = float(seen[0]), float(seen[-1])
        edges = np.linspace(low, high, BINS + 1)
        seen = (edges[:-1] + edges[1:]) / 2
    return seen, tuple(f"{one:g}" for one in seen)


def _positive(scale: Floats, wanted: float | None) -> float:
    """The label from which on an answer is good."""
    if wanted is None:
        middle = (scale[0] + scale[-1]) / 2
        return float(scale[scale > middle][0])
    if not scale[0] < wanted <= scale[-1]:
        raise InputError(
            f"--positive expects a label above {scale[0]:g} and up to {scale[-1]:g}, not {wanted:g}."
        )
    return wanted


def _ids(table: pl.DataFrame, columns: Columns, path: Path) -> list[str]:
    if columns.id is None:
        return [str(number) for number in range(len(table))]
    ids = [text_of(one) for one in table[columns.id]]
    if len(set(ids)) < len(ids):
        raise DataError(
            f"Column {columns.id!r} of {path} should name each row once and repeats some."
        )
    return ids


def _optional(table: pl.DataFrame, name: str | None) -> Floats | None:
    if name is None:
        return None
    return (
        table[name].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy().astype(np.float64)
    )
