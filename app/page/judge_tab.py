"""Tab 3: judge a file of answers and look at the verdicts; `label_form.py` marks the same rows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import gradio as gr

from foretaste.app.page import judging, label_form, pieces
from foretaste.app.page.desk import Desk, each, stops
from foretaste.app.page.faults import shown
from foretaste.judge.batch.saved import Record
from foretaste.judge.objects import MARKS, TIERS
from foretaste.judge.rubric import SHIPPED

HEAD = ["id", "answer", "tier", "score", "dimensions"]
FILES = [".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"]
ALL, UNREAD, NEGATIVE = "all", "not readable", "negative: "
WORK = "judging"  # what Stop ends
Update = tuple[Any, Any, Any, Any, Any]


def tab(desk: Desk) -> None:
    """Build the tab inside the `gr.Blocks` that is open."""
    verdicts_in: gr.State = gr.State(None)  # path of the verdicts that are shown
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            file = gr.File(label="Answers", file_types=FILES, type="filepath", height=140)
            gr.HTML(
                pieces.note(
                    "Results of foretaste recommend, or a table (JSONL, CSV, Parquet) with a column "
                    "answer and, where there are any, id, context, history, user_id."
                )
            )
            rubric = gr.Dropdown(list(SHIPPED), value="explanation", label="Rubric")
            with gr.Accordion("A rubric of your own", open=False):
                own = gr.File(label="Rubric (TOML)", file_types=[".toml"], type="filepath")
            choices = judging.judges()
            chosen = choices[0] if desk.first.engine.model else judging.RULES
            judge = gr.Dropdown(choices, value=chosen, label="Judge")
            dataset = gr.Dropdown(
                desk.names(), value=desk.names()[0], label="Data set (tells history and facts)"
            )
            with gr.Row():
                go = gr.Button("Judge", variant="primary", elem_id="judge")
                stop = gr.Button("Stop", elem_id="stop-judging")
        with gr.Column(scale=2, min_width=300):
            said = gr.HTML(pieces.note("Choose a file, then judge it or mark it yourself."))
            show = gr.Dropdown([ALL], value=ALL, label="Show", visible=False, elem_id="show")
            verdicts = gr.Dataframe(
                headers=HEAD,
                datatype="str",
                label="Verdicts",
                interactive=False,
                wrap=True,
                max_height=360,
                column_widths=["10%", "42%", "8%", "9%", "31%"],
            )
            one = gr.HTML(elem_id="verdict")
            down = gr.DownloadButton("Download the verdicts", interactive=False)

    async def run(visitor: gr.Request, *values: Any) -> AsyncGenerator[Update]:
        made = _judged(desk, *values)
        async with aclosing(each(desk, visitor.session_hash or "", WORK, made)) as updates:
            async for update in updates:
                yield update

    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    running = go.click(
        run,
        [file, rubric, own, judge, dataset],
        [said, verdicts, verdicts_in, down, show],
        concurrency_limit=4,
        **private,
    )
    stopped = "Stopped; what was judged is kept, and Judge goes on from there."
    stops(desk, WORK, stop, running, said, lambda: pieces.note(stopped))
    verdicts.select(_looked, verdicts_in, one, **private)
    show.input(_shown, [verdicts_in, show], verdicts, **private)
    label_form.form(file, rubric, own, verdicts_in)


async def _judged(
    desk: Desk, path: str | None, rubric: str, own: str | None, judge: str, dataset: str
) -> AsyncGenerator[Update]:
    keep: tuple[Any, ...] = (gr.skip(), gr.skip(), gr.skip(), gr.skip())
    yield pieces.note("Reading …"), *keep
    try:
        sheet = await asyncio.to_thread(judging.sheet_of, path, rubric, own)
        service = await desk.service(dataset)
        who = await asyncio.to_thread(judging.judge_of, service, sheet.rubric, judge)
        began, before = time.monotonic(), None
        async with aclosing(judging.judged(sheet, who)) as counts:
            async for count in counts:
                before = count if before is None else before
                spent = (time.monotonic() - began) * count / max(count - before, 1)
                yield pieces.progress(count, len(sheet.cases), spent, "are judged"), *keep
        target = str(sheet.verdicts(who.made_of))
        records = judging.records_of(target)
    except Exception as error:  # noqa: BLE001 (said in the page)
        yield shown(error), *keep
        return
    ready = gr.update(value=target, interactive=True)
    menu = gr.update(choices=views(records), value=ALL, visible=True)
    yield summary(records), [row_of(record) for record in records], target, ready, menu


def views(records: list[Record]) -> list[str]:
    """Ways to look at a part of the verdicts."""
    tiers = [f"tier {tier}" for tier in TIERS if any(one.tier == tier for one in records)]
    poor = dict.fromkeys(
        f"{NEGATIVE}{verdict.dimension}"
        for one in records
        for verdict in one.verdicts
        if verdict.mark == "negative"
    )
    return [ALL, *tiers, *([UNREAD] if any(one.faults for one in records) else []), *poor]


def chosen(records: list[Record], view: str) -> list[Record]:
    """The verdicts of one of `views`."""
    if view == UNREAD:
        return [one for one in records if one.faults]
    if view.startswith(NEGATIVE):
        bad = view.removeprefix(NEGATIVE)
        return [
            one
            for one in records
            if any(v.dimension == bad and v.mark == "negative" for v in one.verdicts)
        ]
    return [one for one in records if view == ALL or view == f"tier {one.tier}"]


def _shown(path: str | None, view: str) -> list[list[str]]:
    return [row_of(record) for record in chosen(judging.records_of(path), view)]


def summary(records: list[Record]) -> str:
    """How many of each tier, what could not be read, what it cost, and the marks by dimension."""
    tiers = ", ".join(f"{sum(one.tier == tier for one in records)} {tier}" for tier in TIERS)
    unread = sum(bool(one.faults) for one in records)
    tokens = sum(one.spent.prompt + one.spent.completion for one in records)
    scores = [one.score for one in records if one.score is not None]
    if not any(one.tier for one in records) and scores:
        tiers = f"scores alone, {sum(scores) / len(scores):.3f} on average"
    line = pieces.note(
        f"{len(records)} judged: {tiers}; {unread} could not be read and count as neither; "
        f"{tokens:,} tokens. Choose a row to read its verdict."
    )
    counts: dict[str, dict[str, int]] = {}
    for one in records:
        for verdict in one.verdicts:
            own = counts.setdefault(verdict.dimension, dict.fromkeys(MARKS, 0))
            own[verdict.mark] += 1
    rows = [
        (pieces.text(name), *(str(own[mark]) for mark in MARKS)) for name, own in counts.items()
    ]
    return line + (pieces.table(("dimension", *MARKS), rows) if rows else "")


def row_of(record: Record) -> list[str]:
    """A verdict as a row of the table."""
    marks = ", ".join(f"{one.dimension} {one.mark}" for one in record.verdicts)
    return [
        record.id,
        " / ".join(record.answer)[:300],
        record.tier or ("unreadable" if record.faults else "–"),
        "" if record.score is None else f"{record.score:.2f}",
        marks,
    ]


def _looked(path: str | None, event: gr.SelectData) -> str:
    try:
        name = str(event.row_value[0])
        found = next(one for one in judging.records_of(path) if one.id == name)
    except Exception as error:  # noqa: BLE001 (said in the page)
        return shown(error)
    return told(found)


def told(record: Record) -> str:
    """One verdict with its reasons and its evidence."""
    rows = []
    for one in record.verdicts:
        quotes = "; ".join(
            f"“{quote.text}” ({quote.found or 'stands nowhere'})" for quote in one.evidence
        )
        rows.append(tuple(map(pieces.text, (one.dimension, one.mark, one.reason, quotes))))
    for fault in record.faults:
        rows.append(tuple(map(pieces.text, (fault.dimension, "unreadable", fault.reason, ""))))
    answer = pieces.text(" / ".join(record.answer))
    table = pieces.table(("dimension", "mark", "why", "evidence"), rows, words=True)
    return f"<p>{answer}</p>{table}"
