"""Figures of steps by name: `evaluate.methods.mix.r@10` is a number in the step's JSON object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from foretaste.app.pipeline.plan import Pipeline, Step
from foretaste.data.files import read_json

MOST = 60  # figures of one step in the report, when its command does not say which
_SPAN = ("low", "high")
_MEANS = ("mean", "value")
_INTERVALS = "intervals"  # beside the numbers that they are of
_NAMES = ("name", "method", "arm")  # what a row of a list is called by


@dataclass(frozen=True)
class Figure:
    """A number that a step printed.

    Attributes:
        name: `step.path`.
        value: the number.
        span: its interval, where one stands beside it.
        pointer: where it stands in the step's JSON object (RFC 6901).
    """

    name: str
    value: float
    span: tuple[float, float] | None
    pointer: str

    @property
    def text(self) -> str:
        """For people.

        >>> Figure("a.b", 0.12345, (0.1, 0.2), "/b").text
        '0.1235 [0.1000, 0.2000]'
        """
        told = _number(self.value)
        return told if self.span is None else f"{told} [{', '.join(map(_number, self.span))}]"


def figures_of(step: Step, pipeline: Pipeline) -> list[Figure]:
    """All numbers of a step's JSON object, in its order; none when it has not run."""
    if step.figures is None or not (path := pipeline.base / step.figures).exists():
        return []
    return list(_walk(read_json(path), step.name, ""))


def shown(step: Step, found: list[Figure]) -> list[Figure]:
    """Those of a step's figures that stand in the report."""
    patterns = [f"{step.name}.{pattern}".split(".") for pattern in step.kind.shows]
    fitting = [one for one in found if any(_fits(one.name.split("."), each) for each in patterns)]
    return (fitting if patterns else found)[:MOST]


def _fits(name: list[str], pattern: list[str]) -> bool:
    """Whether a name's parts are those of a pattern; a last `**` stands for any that follow.

    >>> _fits(["a", "b", "c"], ["a", "**"]), _fits(["a", "b", "c"], ["a", "*"])
    (True, False)
    """
    if pattern[-1] == "**":
        name, pattern = name[: len(pattern) - 1], pattern[:-1]
    same = len(name) == len(pattern)
    return same and all(fnmatchcase(one, each) for one, each in zip(name, pattern, strict=True))


def _walk(value: Any, name: str, pointer: str) -> Iterator[Figure]:
    if _is_number(value):
        yield Figure(name, value, None, pointer)
    elif isinstance(value, dict):
        yield from _table(value, name, pointer)
    elif isinstance(value, list):
        for row, (called, one) in enumerate(zip(_called(value), value, strict=True)):
            yield from _walk(one, f"{name}.{called}", f"{pointer}/{row}")


def _table(value: dict[str, Any], name: str, pointer: str) -> Iterator[Figure]:
    """The numbers of an object; an interval beside one, in either form that commands print, is its."""
    mean = next((key for key in _MEANS if _is_number(value.get(key))), None)
    if mean is not None and all(_is_number(value.get(key)) for key in _SPAN):
        yield Figure(name, value[mean], (value["low"], value["high"]), f"{pointer}/{mean}")
        return
    spans = value.get(_INTERVALS)
    spans = spans if isinstance(spans, dict) else {}
    for key, one in value.items():
        if key == _INTERVALS and spans:
            continue
        at = f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
        span = spans.get(key)
        if _is_number(one) and isinstance(span, list) and len(span) == 2:
            yield Figure(f"{name}.{key}", one, (span[0], span[1]), at)
        else:
            yield from _walk(one, f"{name}.{key}", at)


def _called(rows: list[Any]) -> list[str]:
    """What the rows of a list are called: by their names where all have one of their own, else numbers."""
    for key in _NAMES:
        names = [row.get(key) if isinstance(row, dict) else None for row in rows]
        own = [one for one in names if isinstance(one, str)]
        if len(set(own)) == len(rows):
            return own
    return [str(number) for number in range(len(rows))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: float) -> str:
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4f}"
