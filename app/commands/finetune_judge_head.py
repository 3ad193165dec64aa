"""`foretaste finetune judge-head`: a small judge learnt from human labels."""

from __future__ import annotations

from typing import Annotated

import typer

from foretaste.app.commands.judge_people import (
    EMBEDDER,
    AnswerOption,
    CatalogueOption,
    ContextOption,
    EmbedderOption,
    GroupOption,
    LabelOption,
    LabelsOption,
    LevelsOption,
    LimitOption,
    OtherOption,
    PositiveOption,
    PresetOption,
    RatersOption,
    SetOption,
    TaskOption,
    labels_call,
)
from foretaste.app.console import JsonOption, emit, say


def judge_head(
    labels: LabelsOption,
    name: Annotated[
        str, typer.Option(help="Under which it is kept: `--judge head:NAME`.")
    ] = "head",
    context: ContextOption = "context",
    answer: AnswerOption = "answer",
    label: LabelOption = "label",
    task: TaskOption = "pointwise",
    other: OtherOption = None,
    raters: RatersOption = None,
    group: GroupOption = None,
    levels: LevelsOption = None,
    positive: PositiveOption = None,
    limit: LimitOption = None,
    catalogue: CatalogueOption = None,
    embedder: EmbedderOption = EMBEDDER,
    preset: PresetOption = "cpu",
    setting: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the same command was stopped.")
    ] = False,
    json_target: JsonOption = None,
) -> None:
    """A judge from labelled answers or pairs: kernel machine and boosted trees, calibrated.

    `judge agree --judge head` tells how good such a head is on groups that it has not seen.
    """
    from foretaste.app.agreement import HeadCall, run_head

    call = labels_call(
        labels, context, answer, label, task, other, raters, group, None, levels, positive, limit,
        catalogue, embedder,
    )  # fmt: skip
    result = run_head(HeadCall(call, name, preset, tuple(setting or ()), resume))
    validation = result["validation"]
    say(
        f"{result['rows']:,} rows, {result['groups']:,} groups, {result['wall_s']:.0f} s. On inner "
        f"folds: spearman {validation['spearman'] or 0:.3f}, quadratic κ "
        f"{validation['kappa_quadratic'] or 0:.3f}. Use it as --judge head:{result['name']}."
    )
    emit(result, json_target)
