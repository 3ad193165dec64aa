"""Behind the Judge tab: a file of answers judged row by row by whichever judge was chosen."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from foretaste.app.api.service import Service
from foretaste.data.errors import InputError
from foretaste.data.files import home, subfolder
from foretaste.judge.agent import AgentJudge
from foretaste.judge.batch.cases import CaseFile, checked
from foretaste.judge.batch.run import Prices, judge_all, judgements
from foretaste.judge.batch.saved import Record, read_records, record_of
from foretaste.judge.config import JudgeConfig
from foretaste.judge.cosine import CosineJudge
from foretaste.judge.graph import Bench
from foretaste.judge.objects import Case, Judge, Rubric
from foretaste.judge.people.head import HeadJudge, load_head
from foretaste.judge.probes.detectors import Detectors
from foretaste.judge.records import Records
from foretaste.judge.rubric import load_rubric
from foretaste.judge.rules import RulesJudge

AGENT = "agents on this server's model"
RULES = "rules over the data set"
COSINE = "cosine of sentence vectors"
HEAD = "head: "  # before the name of a trained one
SIMULTANEOUS = 8
_LOOK_S = 0.5
_BLOCK = 1 << 20


def judges() -> list[str]:
    """Judges that can be chosen: agents, rules, cosine, and every trained head."""
    heads = sorted(path.parent.name for path in (home() / "judges").glob("*/*.json"))
    return [AGENT, RULES, COSINE, *dict.fromkeys(f"{HEAD}{name}" for name in heads)]


@dataclass(frozen=True, eq=False)  # told apart as itself: the page remembers it by its hash
class Sheet:
    """One uploaded file under one rubric.

    Attributes:
        rubric: by which its rows are judged.
        cases: its rows.
        digest: of file and rubric; verdicts and marks of the same sheet go on where they were.
    """

    rubric: Rubric
    cases: tuple[Case, ...]
    digest: str

    def verdicts(self, made_of: Mapping[str, str]) -> Path:
        """Where the verdicts of the judge that is made of this are kept."""
        by = hashlib.sha256(json.dumps(dict(made_of), sort_keys=True).encode()).hexdigest()[:8]
        return subfolder("judged") / f"{self.digest}-{by}.jsonl"


def sheet_of(path: str | None, rubric: str, own: str | None = None) -> Sheet:
    """The rows of an uploaded file.

    Args:
        path: of the file.
        rubric: name of a shipped rubric.
        own: path of an uploaded rubric (TOML), which is taken instead.

    Raises:
        InputError: no file, or one that cannot be read as answers or as a rubric.
    """
    if not path:
        raise InputError("A file of answers was expected; choose one first.")
    source, read = Path(path), load_rubric(own or rubric)
    cases = tuple(checked(CaseFile(source, read.target)).read)
    digest = hashlib.sha256(read.fingerprint.encode())
    with source.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return Sheet(read, cases, digest.hexdigest()[:16])


def judge_of(service: Service, rubric: Rubric, name: str) -> Judge:
    """The judge of this name; slow where one is loaded.

    Raises:
        InputError: agents were chosen and the server has no model, or rules that do not fit.
        ModelError: no such head.
    """
    records = Records(service.live.tools.dataset)
    if name.startswith(HEAD):
        return HeadJudge(load_head(name.removeprefix(HEAD)))
    if name == RULES:
        return RulesJudge(Detectors(records.dataset), records, rubric.target)
    if name == COSINE:
        return CosineJudge(service.live.tools.embedder, records)
    if name != AGENT:
        raise InputError("Choose one of the listed judges.")
    model = service.engine.model
    if model is None:
        raise InputError(
            "Agents need a model and this server was started without one; start it with --engine "
            "vllm, or choose another judge."
        )
    return AgentJudge(Bench(model, rubric, JudgeConfig(), records))


async def judged(sheet: Sheet, judge: Judge) -> AsyncGenerator[int]:
    """Judge what has no verdict yet; yields how many have one, until all do.

    Closing it stops the work; what was judged is kept, and the next time goes on.
    """
    made_of = judge.made_of

    async def one(case: Case) -> Record:
        start = time.perf_counter()
        said = await judge.judge(case)
        return record_of(case, said, made_of, (time.perf_counter() - start) * 1000)

    with judgements(sheet.verdicts(made_of), made_of) as kept:
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


def records_of(path: str | None) -> list[Record]:
    """The verdicts of a file so far; none without a file."""
    return list(read_records(Path(path))) if path and Path(path).exists() else []
