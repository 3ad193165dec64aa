"""`foretaste judge agree` and `judge calibrate`: a judge beside people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foretaste.app.console import MODEL, JsonOption, emit, say

if TYPE_CHECKING:
    from foretaste.app.agreement import LabelsCall

LabelsOption = Annotated[
    Path, typer.Option(metavar="FILE", help="Labels by people: parquet, csv, tsv, json or jsonl.")
]
ContextOption = Annotated[
    str, typer.Option(metavar="COLUMN", help="What was answered: query, conversation, profile.")
]
AnswerOption = Annotated[
    str, typer.Option(metavar="A,B", help="The answer: one column, or several fields of it.")
]
LabelOption = Annotated[str, typer.Option(metavar="COLUMN", help="What people agreed on.")]
TaskOption = Annotated[str, typer.Option(help="pointwise, or pairwise: which of two is better.")]
OtherOption = Annotated[
    str | None, typer.Option(metavar="A,B", help="Pairwise: the second answer's columns.")
]
RatersOption = Annotated[
    str | None, typer.Option(metavar="A,B", help="What each rater said, a column each.")
]
GroupOption = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Rows that stay together; the context if unset."),
]
IdOption = Annotated[
    str | None, typer.Option("--id", metavar="COLUMN", help="Names the rows of saved runs.")
]
LevelsOption = Annotated[
    str | None, typer.Option(metavar="LOW,…,HIGH", help="Names of the labels, when they are words.")
]
PositiveOption = Annotated[
    float | None, typer.Option(help="The label from which on an answer is good; the upper half.")
]
LimitOption = Annotated[int | None, typer.Option(min=2, help="Read so many rows at most.")]
CatalogueOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|NAME",
        help="What could have been answered: a table with the answer's columns, or a data set.",
    ),
]
EmbedderOption = Annotated[str, typer.Option(help="Model behind the sentence vectors.")]
PresetOption = Annotated[str, typer.Option(help="Of the head: cpu, or smoke (a first look).")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="head.FIELD=VALUE", help="Of the head.")
]
JudgeOption = Annotated[
    str, typer.Option(help="head (fitted in each fold), head:NAME, cosine, agent, run:FILE.")
]
FoldsOption = Annotated[int, typer.Option(min=2, help="Parts of the cross-validation.")]
ResamplesOption = Annotated[int, typer.Option(min=100, help="Of the bootstrap over groups.")]
AgainstOption = Annotated[
    Path | None, typer.Option(metavar="RUN", help="An older run: how far the judge moved.")
]
SaveOption = Annotated[
    Path | None, typer.Option(metavar="RUN.jsonl", help="Keep what the judge said of each row.")
]
BiasesOption = Annotated[bool, typer.Option(help="Probe the judge's biases too.")]
PopularityOption = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="How often the answer was chosen.")
]
AuthorOption = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Which model wrote the answer.")
]
OwnOption = Annotated[str | None, typer.Option(help="The judge's own model among the authors.")]
RubricOption = Annotated[str, typer.Option(help="Of --judge agent.")]
EngineOption = Annotated[str, typer.Option(help="Of --judge agent: vllm or transformers.")]
ModelOption = Annotated[str, typer.Option(help="Of --judge agent.")]
EndpointOption = Annotated[
    str | None, typer.Option(help="Of --judge agent: URL of an OpenAI-compatible API.")
]
SeedOption = Annotated[int, typer.Option(help="Of folds and bootstrap.")]
EMBEDDER = "bundled:all-minilm-l6-v2"


def labels_call(
    path: Path,
    context: str,
    answer: str,
    label: str,
    task: str,
    other: str | None,
    raters: str | None,
    group: str | None,
    row_id: str | None,
    levels: str | None,
    positive: float | None,
    limit: int | None,
    catalogue: str | None,
    embedder: str,
    popularity: str | None = None,
    author: str | None = None,
) -> LabelsCall:
    """The flags of a label file as one object."""
    from foretaste.app.agreement import LabelsCall
    from foretaste.data.errors import InputError
    from foretaste.judge.people.labels import Columns

    if task not in ("pointwise", "pairwise"):
        raise InputError(f"--task expects pointwise or pairwise, not {task!r}.")
    if (task == "pairwise") != (other is not None):
        raise InputError(
            "--task pairwise needs --other COLUMN, the second answer, and only that task does."
        )
    columns = Columns(
        context=context,
        answer=_split(answer),
        label=label,
        other=_split(other),
        raters=_split(raters),
        group=group,
        id=row_id,
        popularity=popularity,
        author=author,
    )
    return LabelsCall(path, columns, _split(levels), positive, limit, catalogue, embedder)


def agree(
    labels: LabelsOption,
    context: ContextOption = "context",
    answer: AnswerOption = "answer",
    label: LabelOption = "label",
    task: TaskOption = "pointwise",
    other: OtherOption = None,
    raters: RatersOption = None,
    group: GroupOption = None,
    row_id: IdOption = None,
    levels: LevelsOption = None,
    positive: PositiveOption = None,
    limit: LimitOption = None,
    judge: JudgeOption = "head",
    catalogue: CatalogueOption = None,
    folds: FoldsOption = 5,
    resamples: ResamplesOption = 1000,
    against: AgainstOption = None,
    save: SaveOption = None,
    biases: BiasesOption = True,
    popularity: PopularityOption = None,
    author: AuthorOption = None,
    own: OwnOption = None,
    embedder: EmbedderOption = EMBEDDER,
    preset: PresetOption = "cpu",
    setting: SetOption = None,
    rubric: RubricOption = "item",
    engine: EngineOption = "vllm",
    model: ModelOption = MODEL,
    endpoint: EndpointOption = None,
    seed: SeedOption = 0,
    json_target: JsonOption = None,
) -> None:
    """Hold a judge against people, beside trivial judges and beside people against each other.

    κ, Spearman, AUC, calibration by cross-validation over groups; docs/judge-people.md tells how.
    """
    from foretaste.app.agreement import AgreeCall, run_agree
    from foretaste.app.people_table import told_agreement
    from foretaste.app.recommending import EngineChoice
    from foretaste.judge.people.agree import Protocol

    call = labels_call(
        labels, context, answer, label, task, other, raters, group, row_id, levels, positive,
        limit, catalogue, embedder, popularity, author,
    )  # fmt: skip
    settings = tuple(setting or ())
    mine = tuple(one for one in settings if one.startswith("head."))
    report = run_agree(
        AgreeCall(
            labels=call,
            judge=judge,
            preset=preset,
            settings=mine,
            protocol=Protocol(folds, seed, resamples),
            rubric=rubric,
            engine=EngineChoice(
                engine=engine,
                model=model,
                endpoint=endpoint,
                settings=tuple(one for one in settings if one not in mine),
            ),
            save=save,
            against=against,
            biases=biases,
            own=own,
        )
    )
    for line in told_agreement(report):
        say(line)
    emit(report, json_target)


def calibrate(
    labels: LabelsOption,
    judge: Annotated[str, typer.Option(help="cosine, head:NAME or run:FILE.")],
    context: ContextOption = "context",
    answer: AnswerOption = "answer",
    label: LabelOption = "label",
    task: TaskOption = "pointwise",
    other: OtherOption = None,
    raters: RatersOption = None,
    group: GroupOption = None,
    row_id: IdOption = None,
    levels: LevelsOption = None,
    positive: PositiveOption = None,
    limit: LimitOption = None,
    embedder: EmbedderOption = EMBEDDER,
    kind: Annotated[str, typer.Option(help="isotonic or platt.")] = "isotonic",
    share: Annotated[float, typer.Option(help="Of the groups that it is fitted on.")] = 0.5,
    seed: Annotated[int, typer.Option(help="Which groups these are.")] = 0,
    json_target: JsonOption = None,
) -> None:
    """Fit a judge's threshold and calibration on some groups, measure them on the others, store them."""
    from foretaste.app.agreement import CalibrateCall, run_calibrate

    call = labels_call(
        labels, context, answer, label, task, other, raters, group, row_id, levels, positive,
        limit, None, embedder,
    )  # fmt: skip
    result = run_calibrate(CalibrateCall(call, judge, kind, share, seed))
    say(
        f"Calibrated on {result['calibrated_on']:,} rows; on {result['n']:,} others κ "
        f"{_number(result['kappa'])}, quadratic {_number(result['kappa_quadratic'])}, calibration "
        f"error {_number((result['calibration'] or {}).get('ece'))}."
    )
    emit(result, json_target)


def _split(names: str | None) -> tuple[str, ...]:
    return tuple(one.strip() for one in (names or "").split(",") if one.strip())


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
