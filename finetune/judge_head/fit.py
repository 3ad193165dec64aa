"""From human labels to a head: what each member learns, and what inner cross-validation chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretaste.data.errors import InputError
from foretaste.finetune.judge_head.config import HeadConfig
from foretaste.judge.people.agree import folds_of, measured
from foretaste.judge.people.agreement import spearman
from foretaste.judge.people.calibration import fit_calibration
from foretaste.judge.people.features import READ, Read, Reference, Vectors, read, vectors_of
from foretaste.judge.people.head import (
    Head,
    Machine,
    Record,
    Trees,
    blended,
    kernel,
    standardised,
    with_axes,
)
from foretaste.judge.people.labels import Fields, Floats, Labels, joined
from foretaste.judge.people.methods import judged
from foretaste.serving.embedder import Embedder

Ints = NDArray[np.int64]
STEPS = 4  # numbers of trees that are tried: quarters of all
FEW = 30  # labelled rows without which nothing is learnt


@dataclass(frozen=True)
class Catalogue:
    """What could have been answered: the user's own catalogue, as texts of whole answers."""

    texts: list[str]
    vectors: Vectors


@dataclass(frozen=True)
class Material:
    """What is learnt from: single answers; a pair gives two.

    Attributes:
        labels: as they were given.
        seen: features of all answers, of pairs the first ones and then the second ones.
        shares: (answers,) what people said, from 0 to 1.
        parts: (rows,) inner folds.
        reference: what is usual.
        axes: (p, d) principal directions of the vectors.
    """

    labels: Labels
    seen: Read
    shares: Floats
    parts: Ints
    reference: Reference
    axes: Vectors

    @property
    def answer_parts(self) -> Ints:
        """(answers,) inner folds."""
        return np.tile(self.parts, 2) if self.labels.task == "pairwise" else self.parts


@dataclass
class Held:
    """What members said of rows of inner folds that they had not seen.

    Attributes:
        machine: ridge → (answers,).
        trees: number of trees → (answers,).
        folds: inner folds that are done.
    """

    machine: dict[float, Floats] = field(default_factory=dict)
    trees: dict[int, Floats] = field(default_factory=dict)
    folds: int = 0


@dataclass(frozen=True)
class HeadMethod:
    """The head as something that can be cross-validated against people."""

    config: HeadConfig
    embedder: Embedder
    catalogue: Catalogue | None = None
    name: str = "head"

    def fit(self, train: Labels) -> Head:
        """A head from these rows alone."""
        material = prepare(train, self.config, self.embedder, self.catalogue)
        held = Held()
        for _ in inner(material, self.config, held):
            continue
        return finish(material, self.config, held, self.embedder, self.name)


def catalogue_of(answers: Sequence[Fields], embedder: Embedder, seed: int = 0) -> Catalogue:
    """Answers that could have been given, each once, with their vectors; of very many a random part."""
    distinct = list(dict.fromkeys(answer for answer in answers if joined(answer)))
    if len(distinct) > READ:
        chosen = np.random.default_rng(seed).choice(len(distinct), READ, replace=False)
        distinct = [distinct[one] for one in np.sort(chosen)]
    return Catalogue([joined(one) for one in distinct], vectors_of(distinct, embedder)[0])


def prepare(
    labels: Labels, config: HeadConfig, embedder: Embedder, catalogue: Catalogue | None
) -> Material:
    """Read everything once.

    Raises:
        InputError: too few rows or groups to learn from.
    """
    groups = len(np.unique(labels.groups))
    if len(labels) < FEW or groups < config.inner_folds:
        raise InputError(
            f"A head learns from {FEW} labelled rows in {config.inner_folds} groups or more, and "
            f"there are {len(labels)} in {groups}; label more, or use --judge cosine."
        )
    contexts, answers, shares = unrolled(labels, config)
    if catalogue is None:
        catalogue = catalogue_of(answers, embedder, config.seed)
    near = catalogue.vectors if config.neighbours else catalogue.vectors[:0]
    near = near.astype(np.float16).astype(np.float32)  # as they are saved
    reference = Reference.of(catalogue.texts, near)
    seen = read(contexts, answers, reference, embedder)
    numbered = np.unique(labels.groups, return_inverse=True)[1].astype(np.int64)
    parts = folds_of(numbered, config.inner_folds, config.seed)
    return Material(labels, seen, shares, parts, reference, _axes(seen, config))


def unrolled(labels: Labels, config: HeadConfig) -> tuple[list[str], list[Fields], Floats]:
    """Labelled rows as single answers, each with the share of the scale that people gave it.

    Returns:
        Contexts, answers, and (n,) targets from 0 (the lowest level) to 1 (the highest): the label,
        moved by `rater_share` towards the mean of the raters. A pair counts twice: all first
        answers, then all others, whose targets are what the first ones' leave of 1.
    """
    low, high = float(labels.scale[0]), float(labels.scale[-1])
    said = labels.labels
    if labels.raters.shape[1]:
        none = np.isnan(labels.raters).all(axis=1, keepdims=True)
        filled = np.where(none, said[:, None], labels.raters)
        weight = config.rater_share
        said = (1 - weight) * said + weight * np.nanmean(filled, axis=1)
    shares = np.clip((said - low) / (high - low), 0, 1)
    if labels.task == "pointwise":
        return labels.contexts, labels.answers, shares
    both = labels.contexts * 2, labels.answers + labels.others
    return *both, np.concatenate([shares, 1 - shares])


def inner(material: Material, config: HeadConfig, held: Held) -> Iterator[int]:
    """Fill `held` fold by fold, from where it is; yields the fold after each."""
    answers = len(material.shares)
    for fold in range(held.folds, config.inner_folds):
        train = np.flatnonzero(material.answer_parts != fold)
        rest = np.flatnonzero(material.answer_parts == fold)
        some = material.seen.take(rest)
        for ridge, machine in machines(material, train, config):
            out = held.machine.setdefault(ridge, np.zeros(answers))
            out[rest] = machine.predict(some)
        steps = grown(material, train, config)
        table = with_axes(some, material.axes)
        for count in _counts(config):
            out = held.trees.setdefault(count, np.zeros(answers))
            out[rest] = steps(count).predict(table)
        held.folds = fold + 1
        yield fold


def finish(
    material: Material, config: HeadConfig, held: Held, embedder: Embedder, name: str
) -> Head:
    """Choose by what members said of rows they had not seen, calibrate by it, fit on all."""
    labels = material.labels
    choice = chosen(material, config, held)
    scores = _rows(
        labels, blended(held.machine[choice.ridge], held.trees[choice.trees], choice.share)
    )
    calibration = fit_calibration(
        scores, labels.labels, labels.levels, labels.good, labels.scale, config.calibration
    )
    every = np.arange(len(material.shares))
    one = config.model_copy(update={"ridge": (choice.ridge,)})
    machine = next(machines(material, every, one))[1]
    trees = grown(material, every, config)(choice.trees)
    record = Record(
        name=name,
        task=labels.task,
        fields=labels.names,
        scale=tuple(labels.scale.tolist()),
        words=labels.words,
        positive=labels.positive,
        embedder=embedder.name,
        embedder_fingerprint=embedder.fingerprint,
        kernel=machine.widths,
        share=choice.share,
        texts=material.reference.texts,
        length=material.reference.length,
        calibration=calibration,
        rows=len(labels),
        groups=len(np.unique(labels.groups)),
        measured={
            metric: None if np.isnan(value) else value
            for metric, value in measured(
                labels, judged(scores, calibration), np.arange(len(labels))
            ).items()
        }
        | {"ridge": choice.ridge, "trees": choice.trees},
    )
    return Head(record, machine, trees, material.axes, material.reference, embedder)


@dataclass(frozen=True)
class Choice:
    """What inner cross-validation chose."""

    ridge: float
    trees: int
    share: float


def chosen(material: Material, config: HeadConfig, held: Held) -> Choice:
    """The choice with the highest Spearman correlation with the labels of unseen inner folds."""
    labels = material.labels

    def good(choice: tuple[float, int, float]) -> float:
        ridge, count, share = choice
        scores = _rows(labels, blended(held.machine[ridge], held.trees[count], share))
        return float(np.nan_to_num(spearman(scores, labels.labels), nan=-1.0))

    return Choice(*max(product(sorted(held.machine), sorted(held.trees), config.shares), key=good))


def machines(material: Material, rows: Ints, config: HeadConfig) -> Iterator[tuple[float, Machine]]:
    """Kernel machines on some answers, one for each ridge: kernel ridge regression, on all rows or
    on landmarks (K_nm K_mn + λ K_mm) α = K_nm y.
    """
    seen, shares = material.seen.take(rows), material.shares[rows]
    centre = seen.table.mean(axis=0)
    spread = seen.table.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    widths = (config.table_width, config.asked_width, config.said_width)
    table = standardised(seen.table, centre, spread)
    few = np.arange(len(rows))
    if len(rows) > config.landmarks:
        few = np.sort(
            np.random.default_rng(config.seed).choice(len(rows), config.landmarks, replace=False)
        )
    marks = (table[few], seen.asked[few], seen.said[few])
    to_marks = kernel((table, seen.asked, seen.said), marks, widths)  # (n, m)
    target = shares - shares.mean()
    for ridge in config.ridge:
        weights = _solved(to_marks, few, target, ridge)
        yield ridge, Machine(*marks, centre, spread, weights, widths)


def _solved(to_marks: Floats, few: Ints, target: Floats, ridge: float) -> Floats:
    """(m,) α of kernel ridge regression."""
    from scipy.linalg import solve

    if len(few) == len(target):
        left, right = to_marks + ridge * np.eye(len(target)), target
    else:
        among = to_marks[few]  # (m, m)
        left = to_marks.T @ to_marks + ridge * among + 1e-6 * np.eye(len(few))
        right = to_marks.T @ target
    return np.asarray(solve(left, right, assume_a="pos"), dtype=np.float64)


def grown(material: Material, rows: Ints, config: HeadConfig) -> Callable[[int], Trees]:
    """Boosted trees on some answers; how many of them is said afterwards."""
    from sklearn.ensemble import GradientBoostingRegressor

    seen, shares = material.seen.take(rows), material.shares[rows]
    model = GradientBoostingRegressor(
        init="zero",
        n_estimators=config.rounds,
        learning_rate=config.rate,
        max_depth=config.depth,
        min_samples_leaf=config.leaf,
        max_features=config.columns,
        subsample=config.subsample,
        random_state=config.seed,
    ).fit(with_axes(seen, material.axes), shares - shares.mean())
    whole = arrays_of([one[0].tree_ for one in model.estimators_], config.rate)

    def first(count: int) -> Trees:
        return Trees(
            whole.feature[:count],
            whole.threshold[:count],
            whole.left[:count],
            whole.right[:count],
            whole.value[:count],
        )

    return first


def arrays_of(trees: list[Any], rate: float) -> Trees:
    """scikit-learn's trees as arrays of one width."""
    width = max(tree.node_count for tree in trees)

    def table(of: Callable[[Any], NDArray[Any]], kind: Any) -> NDArray[Any]:
        out = np.zeros((len(trees), width), dtype=kind)
        for line, tree in zip(out, trees, strict=True):
            line[: tree.node_count] = of(tree)
        return out

    return Trees(
        feature=table(lambda tree: np.where(tree.children_left < 0, -1, tree.feature), np.int32),
        threshold=table(lambda tree: tree.threshold, np.float64),
        left=table(lambda tree: tree.children_left, np.int32),
        right=table(lambda tree: tree.children_right, np.int32),
        value=table(lambda tree: rate * tree.value[:, 0, 0], np.float64),
    )


def _counts(config: HeadConfig) -> list[int]:
    return sorted({max(1, round(config.rounds * step / STEPS)) for step in range(1, STEPS + 1)})


def _rows(labels: Labels, answers: Floats) -> Floats:
    """(rows,) from scores of answers: of a pair the first one's minus the second's."""
    if labels.task == "pointwise":
        return answers
    return answers[: len(labels)] - answers[len(labels) :]


def _axes(seen: Read, config: HeadConfig) -> Vectors:
    """(p, d) principal directions of all distinct vectors, the mean not taken off."""
    both = np.concatenate([np.unique(seen.asked, axis=0), np.unique(seen.said, axis=0)])
    _, _, axes = np.linalg.svd(both - both.mean(axis=0), full_matrices=False)
    return np.asarray(axes[: config.axes], dtype=np.float32)
