"""What can be held against people: a judge that is fitted on some rows and judges others.

The trivial judges stand here too: whoever is no better than them has judged nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foretaste.judge.people.calibration import Calibration, Kind, fit_calibration
from foretaste.judge.people.labels import Floats, Ints, Labels, joined
from foretaste.serving.embedder import Embedder
from foretaste.serving.rules.words import words

Scores = Callable[[Labels], Floats]
CONTEXT = 1000  # characters of a context that count, from its end: an embedder reads no more


@dataclass(frozen=True)
class Judged:
    """What a judge says of n rows; NaN scores are rows that it could not judge.

    Attributes:
        scores: (n,) higher is better.
        chances: (n,) of being good.
        levels: (n,) place on the scale.
        good: (n,) whether it is called good.
    """

    scores: Floats
    chances: Floats
    levels: Ints
    good: NDArray[np.bool_]

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(n,) whether the row was judged at all."""
        return ~np.isnan(self.scores)


class Fitted(Protocol):
    """A judge that is ready."""

    def judge(self, rows: Labels) -> Judged:
        """Judge rows; their labels are not looked at."""
        ...

    def uncached(self) -> Fitted:
        """The same judge without what it remembers of texts, to be timed."""
        ...


class Method(Protocol):
    """A way to a judge."""

    @property
    def name(self) -> str:
        """Which judge it is."""
        ...

    def fit(self, train: Labels) -> Fitted:
        """The judge for the scale and the rows of `train`; other rows are not seen."""
        ...


class Fresh:
    """An embedder that remembers nothing: what it is timed with.

    A blank at the end makes a text new to the cache and changes none of its tokens.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.name, self.fingerprint = embedder.name, embedder.fingerprint
        self.dimension = embedder.dimension

    def encode(self, texts: Sequence[str], *, keep: bool = True) -> NDArray[np.float32]:
        """(n, d) float32 as the embedder behind it makes them."""
        return self._embedder.encode([f"{text} " for text in texts], keep=False)


@dataclass(frozen=True)
class Calibrated:
    """A judge whose scores need no training: its calibration alone is fitted.

    Attributes:
        name: of the judge.
        scores: (n,) of rows, NaN where it could not judge.
        kind: of calibration.
        timed: the same scores without a cache, when that makes a difference.
    """

    name: str
    scores: Scores
    kind: Kind = "isotonic"
    timed: Scores | None = None

    def fit(self, train: Labels) -> CalibratedScores:
        """Calibrate on the rows that got a score; those with NaN teach nothing."""
        found = self.scores(train)
        held = ~np.isnan(found)
        some = train.take(held)
        calibration = fit_calibration(
            found[held], some.labels, some.levels, some.good, train.scale, self.kind
        )
        return CalibratedScores(self.scores, calibration, self.timed)


@dataclass(frozen=True)
class CalibratedScores:
    """Scores with their calibration."""

    scores: Scores
    calibration: Calibration
    timed: Scores | None = None

    def judge(self, rows: Labels) -> Judged:
        """Scores as they are; chances and levels by the calibration."""
        found = self.scores(rows)
        return judged(found, self.calibration)

    def uncached(self) -> CalibratedScores:
        """The same judge as it is timed: with nothing remembered of texts that it saw before."""
        return replace(self, scores=self.timed or self.scores)


@dataclass(frozen=True)
class Constant:
    """Says one and the same of everything: the most frequent level, or always the highest."""

    name: str
    always_positive: bool = False

    def fit(self, train: Labels) -> ConstantAnswer:
        """Count the levels."""
        count = np.bincount(train.levels, minlength=len(train.scale))
        level = len(train.scale) - 1 if self.always_positive else int(count.argmax())
        good = self.always_positive or bool(train.good.mean() > 0.5)
        return ConstantAnswer(float(train.good.mean()), level, good)


@dataclass(frozen=True)
class ConstantAnswer:
    """One answer for all."""

    chance: float
    level: int
    good: bool

    def judge(self, rows: Labels) -> Judged:
        """The same for every row."""
        n = len(rows)
        return Judged(
            np.zeros(n),
            np.full(n, self.chance),
            np.full(n, self.level, dtype=np.int64),
            np.full(n, self.good),
        )

    def uncached(self) -> ConstantAnswer:
        """Itself."""
        return self


def judged(scores: Floats, calibration: Calibration) -> Judged:
    """Raw scores with chances and levels by a calibration."""
    held = ~np.isnan(scores)
    filled = np.where(held, scores, calibration.at[0])
    return Judged(
        scores, calibration.chance(filled), calibration.level(filled), calibration.good(filled)
    )


def trivial(embedder: Embedder) -> list[Method]:
    """The judges that every other one is compared with."""
    fresh = Fresh(embedder)
    return [
        Constant("majority"),
        Constant("always_positive", always_positive=True),
        cosine(embedder, fresh),
        Calibrated("overlap", of_answers(_overlaps)),
        Calibrated("length", of_answers(_lengths)),
    ]


def cosine(embedder: Embedder, fresh: Embedder | None = None) -> Calibrated:
    """The cosine of context and answer."""

    def by(which: Embedder) -> Scores:
        def found(contexts: list[str], answers: list[str]) -> Floats:
            seen = which.encode([recent(text) for text in contexts])
            said = which.encode(answers)
            return np.asarray((seen * said).sum(axis=1), dtype=np.float64)

        return of_answers(found)

    return Calibrated("cosine", by(embedder), timed=by(fresh or Fresh(embedder)))


def of_answers(score: Callable[[list[str], list[str]], Floats]) -> Scores:
    """Scores of rows from scores of answers; of a pair the first answer's minus the second's."""

    def found(rows: Labels) -> Floats:
        first = score(rows.contexts, [joined(one) for one in rows.answers])
        if rows.task == "pointwise":
            return first
        return first - score(rows.contexts, [joined(one) for one in rows.others])

    return found


def recent(context: str) -> str:
    """The last lines of a context, a thousand characters of them at most."""
    if len(context) <= CONTEXT:
        return context
    tail = context[-CONTEXT:]
    return tail.split("\n", 1)[-1] if "\n" in tail else tail.split(" ", 1)[-1]


def _overlaps(contexts: list[str], answers: list[str]) -> Floats:
    """Share of the context's words that the answer holds."""
    found = []
    for context, answer in zip(contexts, answers, strict=True):
        asked, said = set(words(context)), set(words(answer))
        found.append(len(asked & said) / max(1, len(asked)))
    return np.array(found, dtype=np.float64)


def _lengths(contexts: list[str], answers: list[str]) -> Floats:
    return np.log1p(np.array([len(answer) for answer in answers], dtype=np.float64))
