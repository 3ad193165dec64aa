"""A small head that judges where no large model is at hand: a kernel machine and boosted trees.

`finetune/judge_head/` fits it to human labels; here it is read, asked and saved. Its score is a
utility of one answer; of a pair it is the first answer's minus the second's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from foretaste.data.errors import InputError, ModelError
from foretaste.data.files import (
    check_sums,
    home,
    new_folder,
    read_json,
    safe_name,
    subfolder,
    write_json,
    write_sums,
)
from foretaste.judge.objects import Case, Judgement
from foretaste.judge.people.calibration import Calibration
from foretaste.judge.people.features import Read, Reference, Vectors, read
from foretaste.judge.people.labels import Fields, Floats, Labels, Task
from foretaste.judge.people.methods import Fresh, Judged, judged
from foretaste.serving.embedder import Embedder, load_embedder

WEIGHTS, RECORD = "head.safetensors", "head.json"
CLIP = 5.0  # standard deviations at which a feature ends
_ROWS = 1024  # judged at once


class Record(BaseModel, frozen=True):
    """What a head was made from, and how well it did on rows it had not seen.

    Attributes:
        name: of the head.
        task: answers, or pairs of them.
        fields: names of an answer's fields, in their order.
        scale, words, positive: of the labels.
        embedder, embedder_fingerprint: of the vectors.
        kernel: widths of the kernel: table, asked, said.
        share: weight of the kernel machine beside the trees.
        texts, length: of the reference.
        calibration: of its scores, from rows of other inner folds.
        labels: file the labels came from, with rows and groups.
        measured: figures on rows of groups it had not seen when they were predicted.
    """

    name: str
    task: Task
    fields: tuple[str, ...]
    scale: tuple[float, ...]
    words: tuple[str, ...]
    positive: float
    embedder: str
    embedder_fingerprint: str
    kernel: tuple[float, float, float]
    share: float
    texts: int
    length: float
    calibration: Calibration
    labels: str = ""
    rows: int = 0
    groups: int = 0
    measured: dict[str, float | None] = {}


@dataclass(frozen=True)
class Trees:
    """Regression trees whose leaves add up.

    Attributes:
        feature: (t, nodes) int32, −1 at a leaf.
        threshold: (t, nodes) float64; up to it left.
        left, right: (t, nodes) int32.
        value: (t, nodes) float64, what a leaf adds.
    """

    feature: NDArray[np.int32]
    threshold: Floats
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: Floats

    def predict(self, rows: Floats) -> Floats:
        """(n,) sums over the trees, of rows (n, k); the mean of the labels is not added."""
        given = rows.astype(np.float32)
        out = np.zeros(len(rows))
        every = np.arange(len(rows))
        for tree in range(len(self.feature)):
            place = np.zeros(len(rows), dtype=np.int64)
            while True:
                asked = self.feature[tree, place]
                inner = asked >= 0
                if not inner.any():
                    break
                low = given[every, np.maximum(asked, 0)] <= self.threshold[tree, place]
                step = np.where(low, self.left[tree, place], self.right[tree, place])
                place = np.where(inner, step, place)
            out += self.value[tree, place]
        return out


@dataclass(frozen=True)
class Machine:
    """A kernel machine: Σ αᵢ k(x, xᵢ) over the rows it was fitted on, or a part of them.

    k multiplies and adds three Gaussian kernels, of the table, of the contexts' and of the answers'
    vectors: alike answers to alike contexts are alike good (pairwise kernels, Ben-Hur and Noble 2005).

    Attributes:
        table: (m, k) standardised features of its rows; asked, said: their vectors.
        centre, spread: (k,) of the features.
        weights: (m,) α.
        widths: of table, asked and said.
    """

    table: Floats
    asked: Vectors
    said: Vectors
    centre: Floats
    spread: Floats
    weights: Floats
    widths: tuple[float, float, float]

    def predict(self, rows: Read) -> Floats:
        """(n,) predictions, the mean of the labels not added."""
        out = np.zeros(len(rows.table))
        table = standardised(rows.table, self.centre, self.spread)
        for start in range(0, len(out), _ROWS):
            part = slice(start, start + _ROWS)
            near = kernel(
                (table[part], rows.asked[part], rows.said[part]),
                (self.table, self.asked, self.said),
                self.widths,
            )
            out[part] = near @ self.weights
        return out


Side = tuple[Floats, Vectors, Vectors]


def kernel(one: Side, other: Side, widths: tuple[float, float, float]) -> Floats:
    """(n, m) similarities t + t·a + t·s + a·s of two sets of rows: table t, asked a, said s."""
    t = np.exp(-widths[0] * _squared(one[0], other[0]))
    a = np.exp(widths[1] * (one[1] @ other[1].T - 1)).astype(np.float64)
    s = np.exp(widths[2] * (one[2] @ other[2].T - 1)).astype(np.float64)
    return np.asarray(t * (1 + a + s) + a * s)


def standardised(table: Floats, centre: Floats, spread: Floats) -> Floats:
    """(n, k) features of mean 0 and spread 1, cut at five, scaled so that rows are about 1 long."""
    z = np.clip((table - centre) / spread, -CLIP, CLIP)
    return np.asarray(z / np.sqrt(max(1, table.shape[1])))


def _squared(one: Floats, other: Floats) -> Floats:
    """(n, m) squared distances."""
    own, theirs = (one**2).sum(axis=1), (other**2).sum(axis=1)
    return np.asarray(np.maximum(own[:, None] + theirs[None] - 2 * one @ other.T, 0))


@dataclass(frozen=True)
class Head:
    """The head, ready to judge.

    Attributes:
        record: what it was made from.
        machine, trees: its two members.
        axes: (p, d) directions on which the trees see the vectors.
        reference: what is usual.
        embedder: behind the vectors.
    """

    record: Record
    machine: Machine
    trees: Trees
    axes: Vectors
    reference: Reference
    embedder: Embedder

    def scores(self, rows: Labels) -> Floats:
        """(n,) utilities of rows; of pairs the first answer's minus the second's."""
        first = self.utilities(rows.contexts, rows.answers)
        if rows.task == "pointwise":
            return first
        return np.asarray(first - self.utilities(rows.contexts, rows.others))

    def utilities(self, contexts: Sequence[str], answers: Sequence[Fields]) -> Floats:
        """(n,) raw scores of single answers; their calibration makes levels and chances of them.

        Raises:
            InputError: the answers have other fields than the head was fitted on.
        """
        if not len(answers):
            return np.zeros(0)
        if len(answers[0]) != len(self.record.fields):
            raise InputError(
                f"The head {self.record.name} reads answers of {len(self.record.fields)} fields "
                f"({', '.join(self.record.fields)}) and got {len(answers[0])}."
            )
        seen = read(contexts, answers, self.reference, self.embedder)
        return blended(
            self.machine.predict(seen),
            self.trees.predict(with_axes(seen, self.axes)),
            self.record.share,
        )

    def judge(self, rows: Labels) -> Judged:
        """Scores, chances and levels of rows."""
        return judged(self.scores(rows), self.record.calibration)

    def uncached(self) -> Head:
        """The same head, reading every text anew."""
        return replace(self, embedder=Fresh(self.embedder))

    def save(self, folder: Path) -> None:
        """Write the head into a new folder."""
        from safetensors.numpy import save_file

        with new_folder(folder) as part:
            save_file(self.arrays(), part / WEIGHTS)
            write_json(part / RECORD, self.record.model_dump())
            write_sums(part)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The fitted arrays of trees and kernel machine, as safetensors keeps them: `part.name`."""
        trees, machine = self.trees, self.machine
        found = {f"trees.{name}": getattr(trees, name) for name in _TREES}
        found |= {f"machine.{name}": getattr(machine, name) for name in _MACHINE}
        found |= {
            "axes": self.axes,
            "reference.holding": self.reference.holding,
            "reference.vectors": self.reference.vectors.astype(np.float16),
        }
        return {name: np.ascontiguousarray(value) for name, value in found.items()}


_TREES = ("feature", "threshold", "left", "right", "value")
_MACHINE = ("table", "asked", "said", "centre", "spread", "weights")


def blended(machine: Floats, trees: Floats, share: float) -> Floats:
    """(n,) the two members together; both predict shares of the scale."""
    return np.asarray(share * machine + (1 - share) * trees)


def with_axes(seen: Read, axes: Vectors) -> Floats:
    """(n, k + 3p) what the trees read: the table, both vectors on the axes, and their products."""
    asked, said = seen.asked @ axes.T, seen.said @ axes.T
    columns = [seen.table, asked, said, asked * said]
    return np.asarray(np.concatenate(columns, axis=1), dtype=np.float64)


def load_head(name: str) -> Head:
    """A head by its name below home, or by its folder.

    Raises:
        ModelError: there is none, or its files are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(name) if Path(name).is_dir() else home() / "judges" / safe_name(name)
    if not (folder / RECORD).exists():
        raise ModelError(
            f"There is no judge head {name!r}; `foretaste finetune judge-head --labels FILE` makes one."
        )
    try:
        check_sums(folder)
        record = Record.model_validate(read_json(folder / RECORD))
        arrays = load_file(folder / WEIGHTS)
        trees = Trees(**{one: arrays[f"trees.{one}"] for one in _TREES})
        machine = Machine(
            **{one: arrays[f"machine.{one}"] for one in _MACHINE}, widths=record.kernel
        )
        vectors = arrays["reference.vectors"].astype(np.float32)
        holding = arrays["reference.holding"]
    except (OSError, SafetensorError, ValidationError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"The judge head in {folder} cannot be read ({reason}); train it again with "
            "`foretaste finetune judge-head`."
        ) from error
    embedder = load_embedder(record.embedder)
    if embedder.fingerprint != record.embedder_fingerprint:
        raise ModelError(
            f"The judge head in {folder} was trained with another version of {record.embedder}; "
            "train it again with `foretaste finetune judge-head`."
        )
    reference = Reference(holding, record.texts, record.length, vectors)
    return Head(record, machine, trees, arrays["axes"], reference, embedder)


def publish(head: Head) -> Path:
    """Save a head below home under its name; what was there before is replaced."""
    import shutil

    folder = subfolder("judges") / safe_name(head.record.name)
    shutil.rmtree(folder, ignore_errors=True)
    head.save(folder)
    return folder


class HeadJudge:
    """The head behind the protocol of all judges (`judge/objects.py`).

    An answer's lines are its fields; with fewer fields than the head reads the last ones are empty,
    with more the last line holds them all. The score is the calibrated chance of a good answer.
    """

    def __init__(self, head: Head) -> None:
        self.head = head
        digest = hashlib.sha256(head.record.model_dump_json().encode())
        for name, value in sorted(head.arrays().items()):
            digest.update(name.encode() + value.tobytes())
        self._digest = digest.hexdigest()[:16]

    @property
    def name(self) -> str:
        """`head` and its name."""
        return f"head {self.head.record.name}"

    @property
    def made_of(self) -> dict[str, str]:
        """The head, its embedder and the hash of all of its weights."""
        record = self.head.record
        return {"judge": "head", "model": record.name, "embedder": record.embedder} | {
            "head_hash": self._digest
        }

    async def judge(self, case: Case) -> Judgement:
        """The chance that people call this answer good."""
        count = len(self.head.record.fields)
        lines = [*case.answer, *[""] * count]
        fields = (*lines[: count - 1], "\n".join(lines[count - 1 :]).strip())
        context = "\n".join((*case.history, *case.profile, *case.context))
        score = self.head.utilities([context], [fields])
        chance = float(self.head.record.calibration.chance(score)[0])
        return Judgement(id=case.id, group=case.group, segments=case.segments, score=chance)
