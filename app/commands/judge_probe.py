"""`foretaste judge probe`: defects planted into pages, and how many of them are found."""

from __future__ import annotations

from typing import Annotated

import typer

from foretaste.app.console import DatasetOption, JsonOption, emit, say


def probe(
    dataset: DatasetOption,
    users: Annotated[
        int, typer.Option(min=8, help="Whose pages are made; half of them are measured.")
    ] = 400,
    n: Annotated[int, typer.Option(min=2, max=50, help="Items of a page.")] = 10,
    environment: Annotated[
        list[str] | None, typer.Option(help="A text about the day; repeatable (a summer's day).")
    ] = None,
    embedder: Annotated[
        str, typer.Option(help="Model behind the sentence vectors.")
    ] = "bundled:all-minilm-l6-v2",
    seed: Annotated[int, typer.Option(help="Of users, defects and the head.")] = 0,
    json_target: JsonOption = None,
) -> None:
    """Plant wrong facts, other users' items, repeats, empty and unsafe text, and look for them.

    By rules and a small head, without a language model; docs/judge-people.md says what is planted.
    """
    from foretaste.agents.retrieval.tools import load_tools
    from foretaste.data.store import load_dataset
    from foretaste.judge.probes.probe import DAY, ProbeConfig, probe

    tools = load_tools(load_dataset(dataset), embedder_name=embedder)
    report = probe(tools, ProbeConfig(users, n, seed, tuple(environment or DAY)))
    say(f"{dataset}: {report['clean']['n']} pages, each with one planted defect of a kind:")
    for kind, row in report["kinds"].items():
        say(f"  {kind:<14} {row['detected'] / row['n']:>7.1%} of {row['n']}")
    clean = report["clean"]
    say(f"  false alarms   {clean['false_alarms'] / clean['n']:>7.1%} of {clean['n']} clean pages")
    emit(report, json_target)
