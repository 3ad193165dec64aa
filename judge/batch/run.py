"""Judge a whole file: many cases at once, each judgement on disk before it counts, resumable."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from foretaste.data.appended import Appended, appended
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.progress import Meter, meter
from foretaste.judge.batch.cases import Source
from foretaste.judge.batch.saved import PairRecord, Record, Spent, line_of
from foretaste.judge.objects import Known

Some = TypeVar("Some", bound=Known)
Lines = Appended[bool]  # id → whether it could be read
_TELL_SECONDS = 30.0  # between two notes about the cost


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost, read and written; 0 for a model of one's own."""

    read: float = 0.0
    written: float = 0.0

    def of(self, spent: Spent) -> float:
        """What these tokens cost.

        >>> Prices(2.0, 8.0).of(Spent(prompt=1_000_000, completion=500_000))
        6.0
        """
        return (spent.prompt * self.read + spent.completion * self.written) / 1e6


@dataclass(frozen=True)
class Counts:
    """What a run came to: cases in the input, those that earlier runs had judged, and those of all
    that could not be read."""

    cases: int
    before: int
    unreadable: int


@contextmanager
def judgements(path: Path, made_of: Mapping[str, str]) -> Iterator[Lines]:
    """The output file for the block; lines of another judge are refused.

    Raises:
        InputError: another run writes it, or it holds something else.
    """

    def keep(line: dict[str, Any]) -> bool:
        others = [key for key in made_of if line["made_of"].get(key) != made_of[key]]
        if others:
            key = others[0]
            raise InputError(
                f"{path} was judged with {key} {line['made_of'].get(key)!r}, not {made_of[key]!r}; "
                "use the same settings to go on, or name another output file."
            )
        return not line["faults"]

    with appended(path, "id", keep) as kept:
        yield kept


async def judge_all(
    source: Source[Some],
    kept: Lines,
    judge: Callable[[Some], Awaitable[Record | PairRecord]],
    concurrency: int,
    prices: Prices,
) -> Counts:
    """Judge every case that has no line yet, `concurrency` at a time.

    Raises:
        EngineError: the judge is gone; what was judged is kept, and the same call goes on.
        ForetasteError: the disk would not take a line.
    """
    before = sum(name in kept.done for name in source.ids)
    count = len(source.ids) - before
    waiting = (one for one in source.read if one.id not in kept.done)
    with meter("Judge", count, "cases") as progress:
        writer = _Writer(kept)
        purse = _Purse(prices, count, progress)

        async def work() -> None:
            for one in waiting:
                record = await judge(one)
                await writer.keep(record)
                progress.advance()
                purse.pay(record.spent)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, count)):
                    group.create_task(work())
        except* ForetasteError as errors:
            raise errors.exceptions[0] from None
    unread = sum(not kept.done[name] for name in source.ids)
    return Counts(len(source.ids), before, unread)


class _Writer:
    """Puts records on disk: those that wait while others are written go together."""

    def __init__(self, kept: Lines) -> None:
        self._kept, self._waiting, self._turn = kept, list[dict[str, Any]](), asyncio.Lock()

    async def keep(self, record: Record | PairRecord) -> None:
        """Write one record; on disk when this returns."""
        self._waiting.append(line_of(record))
        async with self._turn:
            lines, self._waiting = self._waiting, []
            if not lines:
                return
            try:
                await asyncio.to_thread(self._kept.add, *lines)
            except OSError as error:
                raise ForetasteError(
                    f"A judgement could not be written ({error.strerror}); free some space and "
                    "run the same command again: it goes on from here."
                ) from error


class _Purse:
    """Counts tokens, and says now and then what is left to be spent."""

    def __init__(self, prices: Prices, cases: int, progress: Meter) -> None:
        self._prices, self._cases, self._progress = prices, cases, progress
        self._done, self._tokens, self._money = 0, 0, 0.0
        self._said = time.monotonic()

    def pay(self, spent: Spent) -> None:
        """Count one judgement."""
        self._done += 1
        self._tokens += spent.prompt + spent.completion
        self._money += self._prices.of(spent)
        now = time.monotonic()
        if now - self._said >= _TELL_SECONDS:
            self._said = now
            self._progress.say(self.told())

    def told(self) -> str:
        """What was spent, and what the rest will cost at this rate."""
        left = (self._cases - self._done) / max(self._done, 1)
        said = f"{self._tokens:,} tokens so far, about {self._tokens * left:,.0f} left"
        if self._money:
            said += f"; {self._money:.4g} spent, about {self._money * left:.4g} left"
        return said
