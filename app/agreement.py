"""The road of `judge agree`, `judge calibrate` and `finetune judge-head`: labels in, figures out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from foretaste.app.judging import PairCall, RunCall, run_cases, run_pairs
from foretaste.app.recommending import EngineChoice
from foretaste.data.errors import InputError
from foretaste.data.files import home, subfolder, write_json
from foretaste.data.store import load_dataset
from foretaste.data.text import item_texts
from foretaste.finetune.judge_head.config import load_config
from foretaste.finetune.judge_head.fit import Catalogue, HeadMethod, catalogue_of
from foretaste.finetune.judge_head.train import train
from foretaste.judge.people import drift
from foretaste.judge.people.agree import Protocol, agree, figures, folds_of
from foretaste.judge.people.bias import probe_biases
from foretaste.judge.people.head import load_head, publish
from foretaste.judge.people.labels import (
    Columns,
    Labels,
    read_labels,
    read_table,
    text_of,
)
from foretaste.judge.people.methods import Calibrated, Method, cosine, trivial
from foretaste.serving.embedder import DEFAULT_EMBEDDER, Embedder, load_embedder

HEAD, COSINE, AGENT = "head", "cosine", "agent"
RUN, SAVED = "run:", "head:"  # how the name of a saved judge begins
PROBED = 300  # rows that biases are probed with, at most


@dataclass(frozen=True)
class LabelsCall:
    """Which labels, as the flags tell.

    Attributes:
        path: of the table.
        columns: of it.
        levels: names of the labels, rising.
        positive: the label from which on an answer is good.
        limit: rows that are read, at most.
        catalogue: a table with the answers' columns, or an imported data set: what could have been
            answered.
        embedder: behind the vectors.
    """

    path: Path
    columns: Columns
    levels: tuple[str, ...] = ()
    positive: float | None = None
    limit: int | None = None
    catalogue: str | None = None
    embedder: str = DEFAULT_EMBEDDER

    def read(self) -> Labels:
        """The labels."""
        return read_labels(
            self.path, self.columns, levels=self.levels, positive=self.positive, limit=self.limit
        )

    def known(self, embedder: Embedder) -> Catalogue | None:
        """The catalogue, with vectors; None without one."""
        if self.catalogue is None:
            return None
        path = Path(self.catalogue)
        if not path.is_file():
            texts = item_texts(load_dataset(self.catalogue).items)
            return catalogue_of([(text,) for text in texts], embedder)
        table = read_table(path)
        missing = [name for name in self.columns.answer if name not in table.columns]
        if missing:
            raise InputError(
                f"{path} has no column {missing[0]!r}; a catalogue needs the columns of the answers "
                f"({', '.join(self.columns.answer)}), or name an imported data set."
            )
        cells = [[text_of(one) for one in table[name]] for name in self.columns.answer]
        return catalogue_of(list(zip(*cells, strict=True)), embedder)


@dataclass(frozen=True)
class AgreeCall:
    """The options of one `judge agree`; see its help."""

    labels: LabelsCall
    judge: str = HEAD
    preset: str = "cpu"
    settings: tuple[str, ...] = ()
    protocol: Protocol = field(default_factory=Protocol)
    rubric: str = "item"
    engine: EngineChoice = field(default_factory=EngineChoice)
    save: Path | None = None
    against: Path | None = None
    biases: bool = True
    own: str | None = None


def run_agree(call: AgreeCall) -> dict[str, Any]:
    """Hold a judge against people; the object of `judge agree --json`."""
    labels = call.labels.read()
    embedder = load_embedder(call.labels.embedder)
    judge = method_of(call, labels, embedder)
    old = drift.read_run(call.against) if call.against else None
    report, outcome = agree(judge, trivial(embedder), labels, call.protocol)
    if call.judge.startswith(RUN) or call.judge == AGENT:
        report |= {"pairs_per_second": None, "known_per_second": None}
    elif call.biases:
        report["bias"] = biases_of(judge, labels, call.protocol, call.own)
    if old is not None:
        report["drift"] = drift.compare(labels, outcome.judged, old, call.protocol)
    if call.save is not None:
        drift.save_run(call.save, judge.name, labels, outcome.judged)
    return report


def method_of(call: AgreeCall, labels: Labels, embedder: Embedder) -> Method:
    """The judge that the options name.

    Raises:
        InputError: there is no such judge.
    """
    if call.judge == HEAD:
        config = load_config(call.preset, call.settings)
        return HeadMethod(config, embedder, call.labels.known(embedder))
    if call.judge == COSINE:
        return cosine(embedder)
    if call.judge.startswith(SAVED):
        head = load_head(call.judge.removeprefix(SAVED))
        return Calibrated(call.judge, head.scores, timed=head.uncached().scores)
    if call.judge.startswith(RUN):
        return saved(call.judge, Path(call.judge.removeprefix(RUN)))
    if call.judge == AGENT:
        return saved(f"agent {call.engine.model}", asked(call, labels))
    raise InputError(
        f"--judge expects head, cosine, agent, head:NAME or run:FILE, not {call.judge!r}."
    )


def saved(name: str, path: Path) -> Method:
    """The verdicts of a run as a judge: calibrated like every other."""
    scores = drift.read_run(path)

    def found(rows: Labels) -> Any:
        missing = [one for one in rows.ids if one not in scores]
        if len(missing) == len(rows):
            raise InputError(
                f"{path} judges none of the labelled rows (the first is {rows.ids[0]!r}); name the "
                "column of their ids with --id."
            )
        return np.array([scores.get(one, np.nan) for one in rows.ids])

    return Calibrated(name, found)


def asked(call: AgreeCall, labels: Labels) -> Path:
    """A run of the language-model judge over the labelled rows; stopped, it goes on where it was."""
    rows = [*labels.contexts, *map(repr, labels.answers), *map(repr, labels.others), *labels.ids]
    decides = [call.engine.model_dump_json(), call.rubric, str(call.protocol.seed), *rows]
    digest = hashlib.sha256("\n".join(decides).encode()).hexdigest()[:12]
    folder = subfolder("runs", "agree")
    source, target = folder / f"{digest}.rows.jsonl", folder / f"{digest}.jsonl"
    drift.write_cases(source, labels)
    columns = ("id=id", "group=group", "context=context")
    shared: dict[str, Any] = {
        **call.engine.model_dump(),
        "target": target,
        "rubric": call.rubric,
        "seed": call.protocol.seed,
    }
    if labels.task == "pairwise":
        run_pairs(
            PairCall(source=source, columns=(*columns, "first=first", "second=second"), **shared)
        )
    else:
        run_cases(RunCall(source=source, columns=(*columns, "answer=answer"), **shared))
    return target


def biases_of(judge: Method, labels: Labels, protocol: Protocol, own: str | None) -> dict[str, Any]:
    """The biases of a judge that was fitted on all folds but the first, on rows of the first."""
    parts = folds_of(labels.groups, protocol.folds, protocol.seed)
    fitted = judge.fit(labels.take(parts != 0))
    asked = np.sort(
        np.random.default_rng(protocol.seed).permutation(np.flatnonzero(parts == 0))[:PROBED]
    )
    return probe_biases(fitted, labels.take(asked), own, protocol.seed, protocol.resamples)


@dataclass(frozen=True)
class CalibrateCall:
    """The options of one `judge calibrate`; see its help."""

    labels: LabelsCall
    judge: str
    kind: str = "isotonic"
    share: float = 0.5
    seed: int = 0


def run_calibrate(call: CalibrateCall) -> dict[str, Any]:
    """Fit threshold and calibration on a part of the groups, measure them on the rest, store them.

    Stored below home as `judges/<judge>/calibration.json`, and in the head itself when it is one.
    """
    if call.kind not in ("isotonic", "platt"):
        raise InputError(f"--kind expects isotonic or platt, not {call.kind!r}.")
    if not 0 < call.share < 1:
        raise InputError(
            f"--share expects a share of the groups between 0 and 1, not {call.share}."
        )
    labels = call.labels.read()
    embedder = load_embedder(call.labels.embedder)
    settings = AgreeCall(labels=call.labels, judge=call.judge)
    if call.judge in (HEAD, AGENT):
        raise InputError(
            "judge calibrate expects cosine, head:NAME or run:FILE; a run comes from "
            "`judge run`, and `finetune judge-head` calibrates its head itself."
        )
    method = method_of(settings, labels, embedder)
    if not isinstance(method, Calibrated):
        raise InputError(f"{call.judge} has no scores that could be calibrated.")
    count = int(labels.groups.max()) + 1
    order = np.random.default_rng(call.seed).permutation(count)
    learns = np.isin(labels.groups, order[: max(1, round(count * call.share))])
    if learns.all():
        raise InputError("All groups would be calibrated on; two groups or more are needed.")
    method = Calibrated(method.name, method.scores, "platt" if call.kind == "platt" else "isotonic")
    fitted = method.fit(labels.take(learns))
    rest = labels.take(~learns)
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in call.judge).lstrip(".")[-100:]
    path = home() / "judges" / name / "calibration.json"
    result = {
        "judge": call.judge,
        "kind": call.kind,
        "calibrated_on": int(learns.sum()),
        "n": len(rest),
        "by": call.labels.columns.group or call.labels.columns.context,
        "threshold": fitted.calibration.good_cut,
        "cuts": list(fitted.calibration.cuts),
        **figures(rest, fitted.judge(rest)),
        "file": str(path.relative_to(home())),
    }
    write_json(path, fitted.calibration.model_dump())
    if call.judge.startswith(SAVED):
        head = load_head(call.judge.removeprefix(SAVED))
        record = head.record.model_copy(update={"calibration": fitted.calibration})
        publish(replace(head, record=record))
    return result


@dataclass(frozen=True)
class HeadCall:
    """The options of one `finetune judge-head`; see its help."""

    labels: LabelsCall
    name: str
    preset: str = "cpu"
    settings: tuple[str, ...] = ()
    resume: bool = False


def run_head(call: HeadCall) -> dict[str, Any]:
    """Fit a head on all labels and publish it."""
    config = load_config(call.preset, call.settings)
    labels = call.labels.read()
    embedder = load_embedder(call.labels.embedder)
    known = call.labels.known(embedder)
    return train(call.name, labels, config, embedder, known, call.labels.path.name, call.resume)
