"""`foretaste judge`: how good answers are, by rubric, in batches and in pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from foretaste.app.console import MODEL, EndpointOption, JsonOption, ModelOption, emit, say

group = typer.Typer(help="Judge answers, and the judge itself.", no_args_is_help=True)

InOption = Annotated[
    Path,
    typer.Option(
        "--in",
        metavar="FILE",
        help="Answers: results of `recommend`, a table (JSONL, CSV, Parquet), or an OpenAI batch.",
    ),
]
OutOption = Annotated[
    Path, typer.Option(metavar="FILE.jsonl", help="Verdicts, appended; the same command goes on.")
]
RubricOption = Annotated[
    str, typer.Option(help="tag, explanation, item, list, page, or the path of a .toml file.")
]
MapOption = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="FIELD=COLUMN", help="Which column is what; repeatable."),
]
SegmentOption = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="A column that parts the results; repeatable."),
]
RecordsOption = Annotated[
    str | None,
    typer.Option(
        "--dataset", metavar="NAME", help="Tells history, profile and facts of the items."
    ),
]
EngineOption = Annotated[
    str, typer.Option(help="vllm (a child process) or transformers (in this process).")
]
SpreadOption = Annotated[
    str,
    typer.Option(
        help="vllm (a child process) or transformers (in this process); or where judges run: local "
        "(this process) or ray (spread over a cluster)."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="FIELD=VALUE of judge, engine or fleet, as in judge.seed=1; repeatable."
    ),
]
ConcurrencyOption = Annotated[int, typer.Option(min=1, help="Cases under way at once.")]
PriceOption = Annotated[
    str | None,
    typer.Option(metavar="IN,OUT", help="Price of a million tokens read and written."),
]
SeedOption = Annotated[int, typer.Option(help="Of sampling and of the intervals.")]


@group.callback()
def _group() -> None:
    """Judge answers by rubric, in batches and in pairs; measure the judge against people."""


@group.command("run")
def run(
    source: InOption,
    out: OutOption,
    rubric: RubricOption,
    columns: MapOption = None,
    segment: SegmentOption = None,
    requests: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Requests of an OpenAI batch: the contexts.")
    ] = None,
    dataset: RecordsOption = None,
    judge: Annotated[
        list[str] | None,
        typer.Option(
            help="agent, head:NAME, reward:NAME, rules, rules:HEAD or cosine; several are a panel."
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, max=25, help="Of each agent; several make a panel.")
    ] = 1,
    engine: SpreadOption = "vllm",
    llm: Annotated[
        str | None,
        typer.Option(help="With --engine local or ray: vllm (if unset) or transformers."),
    ] = None,
    model: ModelOption = MODEL,
    endpoint: EndpointOption = None,
    setting: SetOption = None,
    concurrency: ConcurrencyOption = 16,
    price: PriceOption = None,
    against: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Tell how far this agrees with that run.")
    ] = None,
    seed: SeedOption = 0,
    json_target: JsonOption = None,
) -> None:
    """Judge every answer of a file by a rubric; killed, it goes on where it was."""
    from foretaste.app.fleet.config import placed
    from foretaste.app.judging import RunCall, run_cases
    from foretaste.judge.report.markdown import told

    where, way = placed(engine, llm, "vllm")
    call = RunCall(
        source=source,
        where=where,
        target=out,
        rubric=rubric,
        columns=tuple(columns or ()),
        segments=tuple(segment or ()),
        requests=requests,
        dataset=dataset,
        judges=tuple(judge or ("agent",)),
        samples=samples,
        against=against,
        engine=way,
        model=model,
        endpoint=endpoint,
        settings=tuple(setting or ()),
        concurrency=concurrency,
        price=price,
        seed=seed,
    )
    result = run_cases(call)
    if json_target != "-":
        print("\n".join(told(result)))
    emit(result, json_target)


@group.command("pairwise")
def pairwise(
    out: OutOption,
    rubric: RubricOption = "list",
    source: Annotated[
        Path | None, typer.Option("--in", metavar="FILE", help="A table with two answers a row.")
    ] = None,
    first: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Results of `recommend`.")
    ] = None,
    second: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Others for the same people.")
    ] = None,
    columns: MapOption = None,
    segment: SegmentOption = None,
    dataset: RecordsOption = None,
    engine: EngineOption = "vllm",
    model: ModelOption = MODEL,
    endpoint: EndpointOption = None,
    setting: SetOption = None,
    concurrency: ConcurrencyOption = 16,
    price: PriceOption = None,
    seed: SeedOption = 0,
    json_target: JsonOption = None,
) -> None:
    """Which of two answers is better: asked in both orders, ties allowed, position bias told."""
    from foretaste.app.judging import PairCall, run_pairs
    from foretaste.judge.report.markdown import told_pairs

    call = PairCall(
        source=source,
        first=first,
        second=second,
        target=out,
        rubric=rubric,
        columns=tuple(columns or ()),
        segments=tuple(segment or ()),
        dataset=dataset,
        engine=engine,
        model=model,
        endpoint=endpoint,
        settings=tuple(setting or ()),
        concurrency=concurrency,
        price=price,
        seed=seed,
    )
    result = run_pairs(call)
    if json_target != "-":
        print("\n".join(told_pairs(result)))
    emit(result, json_target)


@group.command("compare")
def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run of `judge run`.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another, of the same rubric.")],
    by: Annotated[
        str | None, typer.Option(help="Pair cases by id or by group; as fits if unset.")
    ] = None,
    margin: Annotated[
        float, typer.Option(min=0, max=1, help="Difference of scores that is still a tie.")
    ] = 0.0,
    seed: SeedOption = 0,
    json_target: JsonOption = None,
) -> None:
    """Wins, ties and losses of one run against another, with intervals, by segment."""
    from foretaste.app.judged import compared
    from foretaste.judge.report.markdown import told_comparison

    result = compared(first, second, by, margin, seed)
    if json_target != "-":
        print("\n".join(told_comparison(result)))
    emit(result, json_target)


@group.command("report")
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", help="Runs (.jsonl), and figures of `agree` (.json)."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="A .html page, or .md text.")],
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    json_target: JsonOption = None,
) -> None:
    """One page that needs nothing else: tiers, agreement, calibration, worst cases, cost."""
    from foretaste.app.judged import reported

    result = reported(runs, out, seed)
    say(f"Written: {out}")
    emit(result, json_target)
