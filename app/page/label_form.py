"""Blind labelling: a person marks the same rows as the judge, without seeing its verdicts."""

from __future__ import annotations

from typing import Any

import gradio as gr

from foretaste.app.page import judging, marking, pieces
from foretaste.app.page.faults import shown
from foretaste.data.errors import InputError
from foretaste.judge.objects import TIERS, Case, Rubric, Tier

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


def form(file: gr.File, rubric: gr.Dropdown, own: gr.File, verdicts_in: gr.State) -> None:
    """A row at a time; keys 1, 2, 3 or the buttons. Goes on where the same person stopped.

    Args:
        file: the answers.
        rubric, own: name of a shipped rubric, or one of the person's own.
        verdicts_in: path of the judge's verdicts, to agree with.
    """
    sheet: gr.State = gr.State(None)
    current: gr.State = gr.State(None)
    with gr.Accordion("Mark the same rows yourself, blindly", open=False):
        gr.HTML(pieces.note("Keys: 1 excellent, 2 acceptable, 3 has a defect."))
        with gr.Row():
            who = gr.Textbox("me", label="Your name (everybody has their own marks)", max_length=60)
            begin = gr.Button("Begin or go on", elem_id="label")
        row = gr.HTML()
        with gr.Row(visible=False) as buttons:
            made = {
                tier: gr.Button(f"{key}: {tier}, {MEANS[tier]}", elem_id=f"mark-{tier}")
                for key, tier in enumerate(TIERS, 1)
            }
        agrees = gr.HTML(elem_id="agreement")
        down = gr.DownloadButton("Download my marks", interactive=False)
    outputs = [sheet, current, row, buttons, agrees, down]
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    begin.click(_begun, [file, rubric, own, who, verdicts_in], outputs, **private)
    gr.on(None, None, None, None, js=_KEYS, api_visibility="private")
    for tier, button in made.items():
        button.click(_marks(tier), [sheet, current, who, verdicts_in], outputs[1:], **private)


def _begun(
    path: str | None, rubric: str, own: str | None, who: str, verdicts: str | None
) -> tuple[Any, ...]:
    try:
        if not who.strip():
            raise InputError("Write your name first; everybody has marks of their own.")
        sheet = judging.sheet_of(path, rubric, own)
        return sheet, *_next(sheet, who, verdicts)
    except Exception as error:  # noqa: BLE001 (said in the page)
        return None, None, shown(error), gr.update(visible=False), "", gr.skip()


def _marks(tier: Tier) -> Any:
    def marks(
        sheet: judging.Sheet | None, case_id: str | None, who: str, verdicts: str | None
    ) -> tuple[Any, ...]:
        try:
            if sheet is None or case_id is None:
                raise InputError("Press Begin first.")
            marking.mark(marking.marks_path(sheet, who), case_id, tier)
            return _next(sheet, who, verdicts)
        except Exception as error:  # noqa: BLE001 (said in the page)
            return case_id, shown(error), gr.skip(), gr.skip(), gr.skip()

    return marks


def _next(sheet: judging.Sheet, who: str, verdicts: str | None) -> tuple[Any, ...]:
    """The next row without a mark, and how far person and judge agree so far."""
    path = marking.marks_path(sheet, who)
    marks = marking.marked(path)
    left = [case for case in sheet.cases if case.id not in marks]
    line = f"{len(marks)} of {len(sheet.cases)} rows are marked."
    told = pieces.note(line + _agrees(marks, verdicts))
    down = gr.update(value=str(path) if marks else None, interactive=bool(marks))
    if not left:
        return None, pieces.note("All rows are marked."), gr.update(visible=False), told, down
    return left[0].id, _blind(left[0], sheet.rubric), gr.update(visible=True), told, down


def _agrees(marks: dict[str, Tier], verdicts: str | None) -> str:
    records = judging.records_of(verdicts)
    if found := marking.agreement(marks, records):
        return (
            f" Of the {found['n']} that the judge read too: the same tier {found['same']:.0%}, "
            f"quadratic κ {found['kappa_quadratic']:.2f}."
        )
    if scored := marking.ordering(marks, records):
        return (
            f" Of {scored['pairs']} pairs that you told apart the judge scores {scored['right']:.0%} "
            "in your order."
        )
    return ""


def _blind(case: Case, rubric: Rubric) -> str:
    """What a person sees of one row: all but what the judge said."""
    parts = [f"<p><strong>{pieces.text(' / '.join(case.answer))}</strong></p>"]
    for name, lines in (("context", case.context), ("history", case.history[-10:])):
        if lines:
            parts.append(f'<p class="ft-who">{name}</p>{pieces.chips(lines)}')
    questions = " ".join(one.question for one in rubric.dimensions)
    parts.append(pieces.note(questions))
    return f'<section class="ft-box" aria-live="polite">{"".join(parts)}</section>'
