"""Tab 3: judge a file of answers, look at the verdicts, mark the same rows blindly, and compare."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import gradio as gr

from foretaste.app.page import judging, pieces
from foretaste.app.page.desk import Desk
from foretaste.app.page.faults import shown
from foretaste.data.errors import InputError
from foretaste.judge.batch.saved import Record
from foretaste.judge.objects import TIERS, Case, Tier
from foretaste.judge.rubric import SHIPPED, load_rubric

HEAD = ["id", "answer", "tier", "score", "dimensions"]
FILES = [".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"]
MEANS = {"S": "excellent", "A": "acceptable", "B": "has a defect"}
_KEYS = """() => {
  if (window.ftKeys) return;
  window.ftKeys = true;
  document.addEventListener("keydown", (event) => {
    if (["INPUT", "TEXTAREA"].includes(event.target.tagName) || event.ctrlKey || event.metaKey) return;
    const own = {"1": "#mark-S button, button#mark-S", "2": "#mark-A button, button#mark-A",
                 "3": "#mark-B button, button#mark-B"}[event.key];
    const button = own && document.querySelector(own);
    if (button && button.offsetParent) button.click();
  });
}"""


def tab(desk: Desk) -> None:
    """Build the tab inside the `gr.Blocks` that is open."""
    sheet: gr.State = gr.State(None)
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            file = gr.File(label="Answers", file_types=FILES, type="filepath")
            gr.HTML(
                pieces.note(
                    "Results of foretaste recommend, or a table with a column answer (and, where "
                    "there are any, id, context, history, user_id)."
                )
            )
            rubric = gr.Dropdown(list(SHIPPED), value="explanation", label="Rubric")
            judge = gr.Dropdown(judging.judges(), value=judging.AGENT, label="Judge")
            with gr.Row():
                go = gr.Button("Judge", variant="primary", elem_id="judge")
                stop = gr.Button("Stop", elem_id="stop-judging")
        with gr.Column(scale=2, min_width=300):
            said = gr.HTML(pieces.note("Choose a file, then judge it or mark it yourself."))
            verdicts = gr.Dataframe(
                headers=HEAD, datatype="str", label="Verdicts", interactive=False, wrap=True
            )
            one = gr.HTML()
            with gr.Row():
                down = gr.DownloadButton("Download the verdicts", interactive=False)
    running = go.click(
        _judge(desk),
        [file, rubric, judge],
        [said, verdicts, sheet, down],
        concurrency_limit=4,
        show_progress="hidden",
        api_visibility="private",
    )
    stop.click(
        lambda: pieces.note("Stopped; what was judged is kept, and Judge goes on from there."),
        None,
        said,
        cancels=[running],
        api_visibility="private",
    )
    verdicts.select(_looked, [sheet, judge], one, api_visibility="private")
    _people(sheet, file, rubric, judge)


def _judge(desk: Desk) -> Any:
    async def run(
        path: str | None, rubric: str, judge: str
    ) -> AsyncGenerator[tuple[Any, Any, Any, Any]]:
        yield pieces.note("Reading …"), gr.skip(), gr.skip(), gr.skip()
        try:
            sheet = judging.sheet_of(path, rubric)
            who = judging.judge_of(desk.first, rubric, judge)
            async with aclosing(judging.judged(sheet, who, judge)) as counts:
                async for count in counts:
                    line = f"{count} of {len(sheet.cases)} are judged …"
                    yield pieces.note(line), gr.skip(), sheet, gr.skip()
            records = judging.records_of(sheet, judge)
        except Exception as error:  # noqa: BLE001 (said in the page)
            yield shown(error), gr.skip(), gr.skip(), gr.skip()
            return
        ready = gr.update(value=str(sheet.verdicts(judge)), interactive=True)
        yield summary(records), [row_of(record) for record in records], sheet, ready

    return run


def summary(records: list[Record]) -> str:
    """How many of each tier, what could not be read, and what it cost."""
    tiers = ", ".join(f"{sum(one.tier == tier for one in records)} {tier}" for tier in TIERS)
    unread = sum(bool(one.faults) for one in records)
    tokens = sum(one.spent.prompt + one.spent.completion for one in records)
    return pieces.note(
        f"{len(records)} judged: {tiers}; {unread} could not be read and count as neither; "
        f"{tokens:,} tokens. Choose a row to read its verdict."
    )


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


def _looked(sheet: judging.Sheet | None, judge: str, event: gr.SelectData) -> str:
    try:
        if sheet is None:
            return ""
        name = str(event.row_value[0])
        found = next(one for one in judging.records_of(sheet, judge) if one.id == name)
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
    return f"<p>{answer}</p>" + pieces.table(("dimension", "mark", "why", "evidence"), rows)


def _people(sheet: gr.State, file: gr.File, rubric: gr.Dropdown, judge: gr.Dropdown) -> None:
    """Blind labelling: a row at a time, without the verdict; keys 1, 2, 3 or the buttons."""
    with gr.Accordion("Mark the same rows yourself, blindly", open=False):
        begin = gr.Button("Begin or go on", elem_id="label")
        current: gr.State = gr.State(None)
        row = gr.HTML()
        with gr.Row(visible=False) as buttons:
            made = {
                tier: gr.Button(f"{key}: {tier}, {MEANS[tier]}", elem_id=f"mark-{tier}")
                for key, tier in enumerate(TIERS, 1)
            }
        agrees = gr.HTML()
    outputs = [sheet, current, row, buttons, agrees]

    def begun(path: str | None, name: str, by: str) -> tuple[Any, ...]:
        try:
            own = judging.sheet_of(path, name)
            return own, *_next(own, by)
        except Exception as error:  # noqa: BLE001 (said in the page)
            return None, None, shown(error), gr.update(visible=False), ""

    begin.click(begun, [file, rubric, judge], outputs, api_visibility="private")
    gr.on(None, None, None, None, js=_KEYS, api_visibility="private")
    for tier, button in made.items():
        button.click(_marks(tier), [sheet, current, judge], outputs[1:], api_visibility="private")


def _marks(tier: Tier) -> Any:
    def marks(sheet: judging.Sheet | None, case_id: str | None, by: str) -> tuple[Any, ...]:
        try:
            if sheet is None or case_id is None:
                raise InputError("Press Begin first.")
            judging.mark(sheet, case_id, tier)
            return _next(sheet, by)
        except Exception as error:  # noqa: BLE001 (said in the page)
            return case_id, shown(error), gr.skip(), gr.skip()

    return marks


def _next(sheet: judging.Sheet, judge: str) -> tuple[Any, ...]:
    """The next row without a mark, and how far people and judge agree so far."""
    marks = judging.marked(sheet)
    left = [case for case in sheet.cases if case.id not in marks]
    found = judging.agreement(marks, judging.records_of(sheet, judge))
    line = f"{len(marks)} of {len(sheet.cases)} rows are marked."
    if found:
        line += (
            f" On {found['n']} rows that the judge read too: the same tier {found['same']:.0%}, "
            f"quadratic κ {found['kappa_quadratic']:.2f}."
        )
    told = pieces.note(line)
    if not left:
        return None, pieces.note("All rows are marked."), gr.update(visible=False), told
    return left[0].id, _blind(left[0], sheet.rubric), gr.update(visible=True), told


def _blind(case: Case, rubric: str) -> str:
    """What a person sees of one row: all but what the judge said."""
    parts = [f"<p><strong>{pieces.text(' / '.join(case.answer))}</strong></p>"]
    for name, lines in (("context", case.context), ("history", case.history[-10:])):
        if lines:
            parts.append(f'<p class="ft-who">{name}</p>{pieces.chips(lines)}')
    questions = "; ".join(one.question for one in load_rubric(rubric).dimensions)
    parts.append(pieces.note(questions))
    return f'<section class="ft-box" aria-live="polite">{"".join(parts)}</section>'
