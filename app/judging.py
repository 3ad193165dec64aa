"""The road of `foretaste judge run` and `judge pairwise`: check the files, open judges, run, count."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from foretaste.app.fleet.config import Where
from foretaste.app.recommending import EngineChoice, engine_of
from foretaste.data.errors import InputError
from foretaste.data.settings import groups_known, override
from foretaste.data.store import load_dataset
from foretaste.judge.agent import AgentJudge
from foretaste.judge.batch.cases import CaseFile, PairFile, PairOfFiles, Some, Source, checked
from foretaste.judge.batch.cases import columns_of as columns_of_flags
from foretaste.judge.batch.rows import LINES
from foretaste.judge.batch.run import Counts, Prices, judge_all, judgements
from foretaste.judge.batch.saved import (
    PairRecord,
    Record,
    pair_record_of,
    read_preferences,
    read_records,
    record_of,
)
from foretaste.judge.config import JudgeConfig
from foretaste.judge.graph import Bench
from foretaste.judge.objects import Case, Judge, Pair, Rubric
from foretaste.judge.panel import Panel
from foretaste.judge.records import Records
from foretaste.judge.report.figures import figures, pair_figures
from foretaste.judge.report.gathered import agreement
from foretaste.judge.rubric import load_rubric
from foretaste.serving.chat import ChatModel
from foretaste.serving.engine import open_chat

if TYPE_CHECKING:
    from foretaste.judge.people.head import HeadJudge


Judging = Callable[[Case], Awaitable[Record]]


class BatchCall(EngineChoice, frozen=True):
    """The options that `judge run` and `judge pairwise` share; see their help."""

    target: Path
    rubric: str
    columns: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    dataset: str | None = None
    concurrency: int = 16
    price: str | None = None
    seed: int = 0


class RunCall(BatchCall, frozen=True):
    """The options of one `judge run`."""

    source: Path
    where: Where = "local"
    requests: Path | None = None
    judges: tuple[str, ...] = ("agent",)
    samples: int = 1
    against: Path | None = None


class PairCall(BatchCall, frozen=True):
    """The options of one `judge pairwise`: a table of pairs, or two files of results."""

    source: Path | None = None
    first: Path | None = None
    second: Path | None = None


@dataclass(frozen=True)
class _Job(Generic[Some]):
    """One batch, checked: its cases, where it goes, how it is judged."""

    source: Source[Some]
    target: Path
    rubric: Rubric
    config: JudgeConfig
    records: Records | None
    prices: Prices
    concurrency: int


def run_cases(call: RunCall) -> dict[str, Any]:
    """Judge every case of a file that has no line yet; the figures of the whole run.

    Raises:
        InputError: something is wrong with the call; nothing was spent.
        EngineError: the model is gone; what was judged is kept, and the same call goes on.
    """
    rubric = load_rubric(call.rubric)
    columns = columns_of_flags(call.columns, call.segments)
    file = CaseFile(call.source, rubric.target, columns, call.requests)
    job = _job(call, rubric, file, (call.source, call.requests))
    if call.samples > 1 and not job.config.temperature:
        raise InputError(
            "Several samples are all the same at temperature 0; add --set judge.temperature=0.7."
        )
    earlier = list(read_records(call.against)) if call.against else None
    if call.where == "ray" and _all_done(job) is None:
        from foretaste.app.fleet.judges import judge_on_ray

        counts = judge_on_ray(call, job.source, _rubric(rubric))
    else:
        counts = asyncio.run(_run_cases(call, job))
    found = asdict(counts) | figures(read_records(call.target), call.seed)
    if earlier is None:
        return found
    return found | {"against": agreement(read_records(call.target), earlier)}


def run_pairs(call: PairCall) -> dict[str, Any]:
    """Judge every pair that has no line yet; the figures of the whole run. Errors as `run_cases`."""
    rubric = load_rubric(call.rubric)
    if call.source is not None and call.first is None and call.second is None:
        pairs: Iterable[Pair] = PairFile(call.source, columns_of_flags(call.columns, call.segments))
    elif call.source is None and call.first is not None and call.second is not None:
        pairs = PairOfFiles(call.first, call.second, rubric.target)
    else:
        raise InputError(
            "A file of pairs (--in) or two files of results (--first, --second) were expected; "
            "give one or the other."
        )
    job = _job(call, rubric, pairs, (call.source, call.first, call.second))
    counts = asyncio.run(_run_pairs(call, job))
    return asdict(counts) | pair_figures(read_preferences(call.target), call.seed)


def _job(
    call: BatchCall, rubric: Rubric, read: Iterable[Some], sources: Iterable[Path | None]
) -> _Job[Some]:
    groups_known(call.settings, ("judge", "engine", "fleet"))
    if call.target.suffix not in LINES:
        raise InputError(f"--out expects a name that ends in {LINES[0]}, not {call.target.name}.")
    for path in sources:
        both_there = path is not None and path.exists() and call.target.exists()
        if path is not None and both_there and path.samefile(call.target):
            raise InputError("The output would be written over the input; name another file.")
    return _job_over(call, rubric, checked(read))


def _job_over(call: BatchCall, rubric: Rubric, source: Source[Some]) -> _Job[Some]:
    records = Records(load_dataset(call.dataset)) if call.dataset else None
    return _Job(
        source=source,
        target=call.target,
        rubric=rubric,
        config=override(JudgeConfig(seed=call.seed), "judge", call.settings),
        records=records,
        prices=_prices(call.price),
        concurrency=call.concurrency,
    )


async def _run_cases(call: RunCall, job: _Job[Case]) -> Counts:
    if done := _all_done(job):
        return done
    async with AsyncExitStack() as stack:
        made_of, one = await _opened(stack, call, job)
        return await _through(job, made_of, one)


async def open_judge(stack: AsyncExitStack, call: RunCall) -> Judging:
    """What judges one case by these options; closed with `stack`.

    Raises:
        InputError: there is no such judge.
        EngineError: its model did not start.
    """
    nothing: Source[Case] = Source((), ())
    _, one = await _opened(stack, call, _job_over(call, load_rubric(call.rubric), nothing))
    return one


async def _opened(
    stack: AsyncExitStack, call: RunCall, job: _Job[Case]
) -> tuple[dict[str, str], Judging]:
    """What decides the judgements, and what makes them."""
    judge = await _judge(stack, call, job)
    made_of = _rubric(job.rubric) | judge.made_of

    async def one(case: Case) -> Record:
        start = time.perf_counter()
        said = await judge.judge(case)
        return record_of(case, said, made_of, (time.perf_counter() - start) * 1000)

    return made_of, one


async def _run_pairs(call: PairCall, job: _Job[Pair]) -> Counts:
    if done := _all_done(job):
        return done
    async with AsyncExitStack() as stack:
        chat = await _chat(stack, call)
        judge = AgentJudge(Bench(chat, job.rubric, job.config, job.records))

        async def one(pair: Pair) -> PairRecord:
            start = time.perf_counter()
            said = await judge.compare(pair)
            return pair_record_of(pair, said, made_of, (time.perf_counter() - start) * 1000)

        made_of = _rubric(job.rubric) | judge.made_of
        return await _through(job, made_of, one)


def _rubric(rubric: Rubric) -> dict[str, str]:
    """What decides which cases there are, whoever judges them."""
    return {"target": rubric.target, "rubric": rubric.name, "rubric_hash": rubric.fingerprint}


async def _through(
    job: _Job[Some], made_of: dict[str, str], one: Callable[[Some], Awaitable[Record | PairRecord]]
) -> Counts:
    with judgements(job.target, made_of) as kept:
        return await judge_all(job.source, kept, one, job.concurrency, job.prices)


def _all_done(job: _Job[Some]) -> Counts | None:
    """The counts when nothing is left to do, so that no engine is started; other rubrics are refused."""
    if not job.target.exists():
        return None
    with judgements(job.target, {"rubric_hash": job.rubric.fingerprint}) as kept:
        names = job.source.ids
        if any(name not in kept.done for name in names):
            return None
        return Counts(len(names), len(names), sum(not kept.done[name] for name in names))


async def _judge(stack: AsyncExitStack, call: RunCall, job: _Job[Case]) -> Judge:
    """The judge that was asked for, or a panel of several."""
    judges: list[Judge] = []
    for said in call.judges:
        kind, _, name = said.partition(":")
        if kind == "agent" and not name:
            chat = await _chat(stack, call)
            for sample in range(call.samples):
                config = job.config.model_copy(update={"seed": job.config.seed + sample})
                judges.append(AgentJudge(Bench(chat, job.rubric, config, job.records)))
        elif kind in _WITHOUT_MODEL:
            judges.append(await asyncio.to_thread(_WITHOUT_MODEL[kind], name, job))
        else:
            raise InputError(
                "--judge expects agent, head:NAME, reward:NAME, rules, rules:HEAD or cosine, not "
                f"{said!r}."
            )
    return judges[0] if len(judges) == 1 else Panel(judges, job.rubric.excellent)


def _head(name: str, job: _Job[Case]) -> HeadJudge:
    """A head that people's labels trained; loaded with its embedder."""
    from foretaste.judge.people.head import HeadJudge, load_head

    if not name:
        raise InputError("Which head was expected; give --judge head:NAME.")
    return HeadJudge(load_head(name))


def _reward(name: str, job: _Job[Case]) -> Judge:
    """A reward model: by its folder, or the one in use for a data set."""
    from foretaste.judge.reward import RewardJudge
    from foretaste.serving.reward import RewardModel, reward_folder

    if not name:
        raise InputError("Which reward model was expected; give --judge reward:NAME.")
    folder = Path(name) if Path(name).is_dir() else reward_folder(name)
    return RewardJudge(RewardModel.load(folder), folder)


def _rules(name: str, job: _Job[Case]) -> Judge:
    """Rules over the data set, with a head when one is named."""
    from foretaste.judge.probes.detectors import Detectors
    from foretaste.judge.rules import RulesJudge

    if job.records is None:
        raise InputError("Rules look facts up in a data set; add --dataset NAME.")
    head = _head(name, job) if name else None
    return RulesJudge(Detectors(job.records.dataset), job.records, job.rubric.target, head)


def _cosine(name: str, job: _Job[Case]) -> Judge:
    """Nearness of sentence vectors, by the embedder that is named or the bundled one."""
    from foretaste.judge.cosine import CosineJudge
    from foretaste.serving.embedder import DEFAULT_EMBEDDER, load_embedder

    return CosineJudge(load_embedder(name or DEFAULT_EMBEDDER), job.records)


_WITHOUT_MODEL: dict[str, Callable[[str, _Job[Case]], Judge]] = {
    "cosine": _cosine,
    "head": _head,
    "reward": _reward,
    "rules": _rules,
}


async def _chat(stack: AsyncExitStack, call: EngineChoice) -> ChatModel:
    """The language model, closed with `stack`."""
    own = tuple(one for one in call.settings if one.startswith("engine."))
    engine = engine_of(call.model_copy(update={"settings": own}))
    if engine is None:
        raise InputError(
            "An agent needs a model; give --engine vllm or transformers, or --endpoint."
        )
    return await stack.enter_async_context(open_chat(engine))


def _prices(text: str | None) -> Prices:
    """`IN,OUT`, what a million tokens cost."""
    if text is None:
        return Prices()
    try:
        read, written = (float(one) for one in text.split(","))
    except ValueError as error:
        raise InputError(f"--price expects IN,OUT for a million tokens, not {text!r}.") from error
    return Prices(read, written)
