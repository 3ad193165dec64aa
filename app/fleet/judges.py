"""`judge run --engine ray`: cases in blocks through judges in Ray's processes, lines written here.

The file of judgements is the one that `--engine local` writes: a line a case, each synced before it
counts. So a run that was killed goes on by either engine, and lines differ in order and time alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import islice

import pyarrow as pa

from foretaste.app.fleet.config import FleetConfig
from foretaste.app.fleet.spread import Row, cluster, spread
from foretaste.app.judging import RunCall, open_judge
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.progress import meter
from foretaste.data.settings import override
from foretaste.judge.batch.cases import Source
from foretaste.judge.batch.run import Counts, judgements
from foretaste.judge.batch.saved import line_of, read_records
from foretaste.judge.objects import Case

_BLOCKS = 2_000  # at most, so that their list stays short


def judge_on_ray(call: RunCall, source: Source[Case], made_of: dict[str, str]) -> Counts:
    """Judge every case that has no line yet.

    Args:
        call: the options.
        source: of the cases.
        made_of: what is known of the judge before it is opened.

    Raises:
        InputError: the file was judged by another judge.
        ForetasteError: a judge could not be opened, or the disk would not take a line.
    """
    fleet = override(FleetConfig(), "fleet", call.settings)
    earlier = read_records(call.target) if call.target.exists() else iter(())
    known = next((one.made_of for one in earlier), None)
    with judgements(call.target, made_of) as kept:
        before = sum(name in kept.done for name in source.ids)
        count = len(source.ids) - before
        waiting = (one for one in source.read if one.id not in kept.done)
        blocks = list(_blocks(waiting, max(call.concurrency, -(-count // _BLOCKS))))
        with meter("Judge", count, "cases") as progress, cluster():
            for line in spread(blocks, partial(JudgeActor, call), fleet, lambda cases: None):
                known = known or line["made_of"]
                if line["made_of"] != known:
                    raise InputError(
                        f"{call.target} was judged by another judge; use the same settings to go "
                        "on, or name another output file."
                    )
                try:
                    kept.add(line)
                except OSError as error:
                    raise ForetasteError(
                        f"A judgement could not be written ({error.strerror}); free some space "
                        "and run the same command again: it goes on from here."
                    ) from error
                progress.advance()
        unread = sum(not kept.done[name] for name in source.ids)
    return Counts(len(source.ids), before, unread)


class JudgeActor:
    """A judge in a process of Ray's: a row of a block is a case as JSON."""

    def __init__(self, call: RunCall) -> None:
        self._places = asyncio.Semaphore(call.concurrency)
        self._runner, self._stack = asyncio.Runner(), AsyncExitStack()
        self._judge = self._runner.run(open_judge(self._stack, call))

    def work(self, block: Sequence[Row], told: object) -> list[Row]:
        """The lines of these cases."""
        return self._runner.run(self._all([Case.model_validate_json(row["case"]) for row in block]))

    async def _all(self, cases: Sequence[Case]) -> list[Row]:
        return list(await asyncio.gather(*map(self._one, cases)))

    async def _one(self, case: Case) -> Row:
        async with self._places:
            return line_of(await self._judge(case))


def _blocks(cases: Iterator[Case], size: int) -> Iterator[pa.Table]:
    while some := [one.model_dump_json() for one in islice(cases, size)]:
        yield pa.table({"case": some})
