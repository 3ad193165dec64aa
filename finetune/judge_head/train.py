"""`foretaste finetune judge-head`: from labels to a published head."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from foretaste.data.progress import meter, note
from foretaste.finetune.judge_head.config import HeadConfig
from foretaste.finetune.judge_head.fit import (
    Catalogue,
    Held,
    Material,
    finish,
    grown,
    inner,
    prepare,
)
from foretaste.finetune.runs import Estimate, Run, matmul_flops, open_run, peak_mb, stoppable
from foretaste.judge.people.head import publish
from foretaste.judge.people.labels import Labels
from foretaste.serving.embedder import Embedder

KIND = "judge-head"
PROBED = 10  # trees that are timed before the start


def train(
    name: str,
    labels: Labels,
    config: HeadConfig,
    embedder: Embedder,
    catalogue: Catalogue | None = None,
    source: str = "",
    resume: bool = False,
) -> dict[str, Any]:
    """Fit a head on all labels and publish it below home as `judges/<name>`.

    Args:
        name: of the head.
        labels: what people said.
        config: settings.
        embedder: behind the vectors.
        catalogue: what could have been answered; the labelled answers when None.
        source: where the labels came from, for the record.
        resume: go on where an earlier try with the same labels and settings stopped.

    Returns:
        The result that is saved with the run: rows, groups, what was chosen, figures on rows of inner
        folds that were not learnt from, wall_s, peak_mb, flops_fraction, best_epoch (trees).

    Raises:
        InputError: too little to learn from, or no room.
        KeyboardInterrupt: somebody asked to stop; the state is saved.
    """
    start = time.perf_counter()
    material = prepare(labels, config, embedder, catalogue)
    run = open_run(KIND, name, _decides(material, config, embedder), resume)
    if resume and (result := run.finished()):
        note(f"This run is finished; its result stands in {run.folder}.")
        return result
    expected = estimate(material, config)
    expected.check(run.folder)
    held = _restored(run) if resume else Held()
    begun = held.folds
    with stoppable() as stop, meter("Inner folds", config.inner_folds, "folds") as progress:
        progress.advance(held.folds)
        for _ in inner(material, config, held):
            run.save_state(_tensors(held), {"folds": held.folds})
            progress.advance(1)
            if stop.asked:
                raise KeyboardInterrupt
    head = finish(material, config, held, embedder, name)
    head = replace(head, record=head.record.model_copy(update={"labels": source}))
    folder = publish(head)
    wall = time.perf_counter() - start
    fits = config.inner_folds - begun + 1
    result = {
        "name": name,
        "task": labels.task,
        "rows": len(labels),
        "groups": head.record.groups,
        "validation": head.record.measured,
        "share": head.record.share,
        "best_epoch": len(head.trees.feature),
        "expected_s": round(expected.seconds, 1),
        "wall_s": round(wall, 1),
        "peak_mb": peak_mb(),
        "flops_fraction": round(flops(material) * fits / wall / matmul_flops(), 4),
        "run": run.folder.name,
        "folder": folder.name,
    }
    run.finish(result)
    return result


def estimate(material: Material, config: HeadConfig) -> Estimate:
    """What the fit will take, from a few trees and one product of matrices."""
    answers = len(material.shares)
    start = time.perf_counter()
    few = config.model_copy(update={"rounds": min(PROBED, config.rounds)})
    grown(material, np.arange(answers), few)
    trees = (time.perf_counter() - start) * config.rounds / few.rounds
    algebra = flops(material) * len(config.ridge) / matmul_flops(512, 0.1)
    kept = min(answers, config.landmarks)
    cells = answers * kept * 8 * 4 / 1e6
    import psutil

    used = psutil.Process().memory_info().rss / 1e6
    disk = material.reference.vectors.size * 2 / 1e6 + kept * material.seen.table.shape[1] * 8 / 1e6
    return Estimate((trees + algebra) * (config.inner_folds + 1), used + cells, disk + 2)


def flops(material: Material) -> float:
    """Of one kernel machine: its similarities and its solution."""
    n, k = material.seen.table.shape
    d = material.seen.asked.shape[1]
    return float(2 * n * n * (k + 2 * d) + n**3 / 3)


def _decides(material: Material, config: HeadConfig, embedder: Embedder) -> dict[str, Any]:
    """Everything that decides what comes out, for the name of the run."""
    digest = hashlib.sha256()
    labels = material.labels
    for part in (labels.contexts, labels.answers, labels.others):
        digest.update(repr(part).encode())
    for array in (labels.labels, labels.groups, material.shares, material.reference.holding):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(np.ascontiguousarray(material.reference.vectors).tobytes())
    return {
        "config": config.model_dump(),
        "embedder": embedder.fingerprint,
        "labels": digest.hexdigest()[:16],
    }


def _tensors(held: Held) -> dict[str, Any]:
    machine = {f"machine.{ridge}": torch.tensor(one) for ridge, one in held.machine.items()}
    return machine | {f"trees.{count}": torch.tensor(one) for count, one in held.trees.items()}


def _restored(run: Run) -> Held:
    """What an earlier try came to."""
    state = run.load_state()
    if state is None:
        return Held()
    tensors, facts = state
    held = Held(folds=int(facts["folds"]))
    for name, value in tensors.items():
        kind, _, key = name.partition(".")
        if kind == "machine":
            held.machine[float(key)] = value.numpy()
        else:
            held.trees[int(key)] = value.numpy()
    return held
