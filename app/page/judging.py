"""Behind the Judge tab: a file of answers judged row by row, and people's own marks of the same rows."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretaste.app.api.service import Service
from foretaste.data.appended import appended
from foretaste.data.errors import InputError
from foretaste.data.files import home, subfolder
from foretaste.judge.agent import AgentJudge
from foretaste.judge.batch.cases import CaseFile, checked
from foretaste.judge.batch.run import Prices, judge_all, judgements
from foretaste.judge.batch.saved import Record, read_records, record_of
from foretaste.judge.config import JudgeConfig
from foretaste.judge.graph import Bench
from foretaste.judge.objects import TIERS, Case, Judge, Tier
from foretaste.judge.people.agreement import confusion, kappa
from foretaste.judge.people.head import HeadJudge, load_head
from foretaste.judge.records import Records
from foretaste.judge.rubric import load_rubric

AGENT = "agents on this server's model"
SIMULTANEOUS = 8
_LOOK_S = 0.5
_BLOCK = 1 << 20


def judges() -> list[str]:
    """Judges that can be chosen: the agents, and every trained head."""
    heads = sorted(path.parent.name for path in (home() / "judges").glob("*/*.json"))
    return [AGENT, *dict.fromkeys(heads)]


@dataclass(frozen=True)
class Sheet:
    """One uploaded file under one rubric.

    Attributes:
        source: the uploaded file.
        rubric: its name.
        cases: its rows.
        digest: of file and rubric; verdicts and marks of the same sheet go on where they were.
    """

    source: Path
    rubric: str
    cases: tuple[Case, ...]
    digest: str

    def verdicts(self, judge: str) -> Path:
        """Where a judge's verdicts are kept."""
        by = hashlib.sha256(judge.encode()).hexdigest()[:8]
        return subfolder("judged") / f"{self.digest}-{by}.jsonl"

    @property
    def marks(self) -> Path:
        """Where people's marks are kept."""
        return subfolder("judged") / f"{self.digest}-people.jsonl"


def sheet_of(path: str | None, rubric: str) -> Sheet:
    """The rows of an uploaded file.

    Raises:
        InputError: no file, or one that cannot be read as answers.
    """
    if not path:
        raise InputError("A file of answers was expected; choose one first.")
    source, read = Path(path), load_rubric(rubric)
    cases = tuple(checked(CaseFile(source, read.target)).read)
    digest = hashlib.sha256(read.fingerprint.encode())
    with source.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return Sheet(source, rubric, cases, digest.hexdigest()[:16])


def judge_of(service: Service, rubric: str, name: str) -> Judge:
    """The judge of this name.

    Raises:
        InputError: agents were chosen and the server has no model.
        ModelError: no such head.
    """
    if name != AGENT:
        return HeadJudge(load_head(name))
    model = service.engine.model
    if model is None:
        raise InputError(
            "Agents need a model and this server was started without one; start it with --engine "
            "vllm, or choose a trained head."
        )
    records = Records(service.live.tools.dataset)
    return AgentJudge(Bench(model, load_rubric(rubric), JudgeConfig(), records))


async def judged(sheet: Sheet, judge: Judge, name: str) -> AsyncGenerator[int]:
    """Judge what has no verdict yet; yields how many have one, until all do.

    Closing it stops the work; what was judged is kept, and the next time goes on.
    """
    made_of = judge.made_of

    async def one(case: Case) -> Record:
        start = time.perf_counter()
        said = await judge.judge(case)
        return record_of(case, said, made_of, (time.perf_counter() - start) * 1000)

    with judgements(sheet.verdicts(name), made_of) as kept:
        source = checked(sheet.cases)
        work = asyncio.create_task(judge_all(source, kept, one, SIMULTANEOUS, Prices()))
        try:
            while not work.done():
                yield len(kept.done)
                await asyncio.wait({work}, timeout=_LOOK_S)
            work.result()
            yield len(kept.done)
        finally:
            work.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await work


def records_of(sheet: Sheet, name: str) -> list[Record]:
    """The verdicts so far."""
    path = sheet.verdicts(name)
    return list(read_records(path)) if path.exists() else []


def marked(sheet: Sheet) -> dict[str, Tier]:
    """Case id → the tier that a person gave."""
    if not sheet.marks.exists():
        return {}
    with appended(sheet.marks, "id", _tier) as kept:
        return dict(kept.done)


def mark(sheet: Sheet, case_id: str, tier: Tier) -> None:
    """Keep a person's tier of one row; on disk when this returns, and the first one stands."""
    with appended(sheet.marks, "id", _tier) as kept:
        if case_id not in kept.done:
            kept.add({"id": case_id, "tier": tier, "at": time.time()})


def agreement(marks: dict[str, Tier], records: list[Record]) -> dict[str, Any] | None:
    """How far people and judge agree on the rows that both have: n, share of the same tiers, and
    quadratic κ over B, A, S; None without such rows."""
    both = [(marks[one.id], one.tier) for one in records if one.id in marks and one.tier]
    if not both:
        return None
    order = {tier: place for place, tier in enumerate(reversed(TIERS))}  # B 0, A 1, S 2
    people, said = (np.array([order[pair[side]] for pair in both]) for side in (0, 1))
    value = kappa(confusion(people, said, len(TIERS)), "quadratic")
    return {"n": len(both), "same": float((people == said).mean()), "kappa_quadratic": value}


def _tier(line: dict[str, Any]) -> Tier:
    tier: Tier = line["tier"]
    if tier not in TIERS:
        raise KeyError(tier)
    return tier
