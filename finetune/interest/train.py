"""`foretaste finetune interest`: from a data set's name to a next-interest model that is served."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.progress import note
from foretaste.data.splits import Split, leave_one_out, temporal
from foretaste.data.store import load_dataset
from foretaste.finetune.epochs import Probe
from foretaste.finetune.interest.config import InterestConfig
from foretaste.finetune.interest.diagnostics import diagnose, draw
from foretaste.finetune.interest.knowledge import read_knowledge
from foretaste.finetune.interest.loop import InterestLoop, Plan, probe
from foretaste.finetune.interest.mixing import fit_mix
from foretaste.finetune.interest.trainer import shape_of
from foretaste.finetune.runs import Run, matmul_flops, open_run, peak_mb, stoppable
from foretaste.finetune.towers.material import read_material
from foretaste.serving.embedder import DEFAULT_EMBEDDER, Embedder, load_embedder
from foretaste.serving.interest import (
    Interest,
    Record,
    base_fingerprint,
    base_folder,
    load_interest,
    low_precision,
    pointer_of,
    publish_interest,
)
from foretaste.serving.interest_folder import KIND, MODEL
from foretaste.serving.rules.select import sample
from foretaste.serving.towers import histories_fingerprint


@dataclass(frozen=True)
class Job:
    """One training, beside the data that it comes from.

    Attributes:
        dataset: the catalogue.
        split: its train part is learnt from, validation chooses, test is not looked at.
        plan: what is trained.
    """

    dataset: Dataset
    split: Split
    plan: Plan


#: Fields of the record that decide what comes out.
_DECIDING = {"dataset", "fingerprint", "split", "fitted_on", "histories"}
_DECIDING |= {"embedder_fingerprint", "base_fingerprint"}


def train(
    name: str,
    config: InterestConfig,
    embedder: Embedder | str = DEFAULT_EMBEDDER,
    resume: bool = False,
) -> dict[str, Any]:
    """Train a next-interest model on a data set, export it and make it the one that is served.

    Args:
        name: of an imported data set.
        config: settings.
        embedder: behind the sentence vectors, or its name.
        resume: go on where an earlier try with the same settings stopped.

    Returns:
        The result that is saved with the run: figures of validation, diagnostics, wall_s, peak_mb,
        flops_fraction, best_epoch (from 1 on).

    Raises:
        InputError: nothing to learn from, nobody to validate with, or no room.
        KeyboardInterrupt: somebody asked to stop; the state is saved.
    """
    start = time.perf_counter()
    torch.set_num_threads(config.threads)
    encoder = load_embedder(embedder) if isinstance(embedder, str) else embedder
    job = prepare(load_dataset(name), config, encoder)
    given = job.plan.record.model_dump(include=_DECIDING)
    run = open_run(KIND, name, {"config": config.model_dump(), **given}, resume)
    if resume and (result := run.finished()):
        note(f"This run is finished; its result stands in {run.folder}.")
        return result
    found = probe(job.plan)
    found.estimate.check(run.folder)
    loop = InterestLoop(job.plan, run, found.steps, start)
    if resume:
        loop.restore()
    with stoppable() as stop:
        loop.train(stop)
    return _finish(job, run, loop, found)


def prepare(dataset: Dataset, config: InterestConfig, embedder: Embedder) -> Job:
    """Everything that is read, as arrays; sentence vectors come from their cache when they can.

    Raises:
        InputError: nothing to learn from.
        ModelError: the base model is not there or of another family.
    """
    split = leave_one_out(dataset) if config.split == "leave-one-out" else temporal(dataset)
    histories = split.fitted_on(config.fitted_on)
    if not (histories.lengths >= 2).any():
        raise InputError(
            f"Next interests are learnt from people with four interactions or more, and {dataset.name} "
            "has none; import more interactions."
        )
    base = base_folder(config.base)
    material = read_material(dataset, histories, embedder, config.words, config.tags)
    record = Record(
        dataset=dataset.name,
        fingerprint=dataset.info.fingerprint,
        catalogue_fingerprint=dataset.info.catalogue_fingerprint,
        split=split.kind,
        fitted_on=config.fitted_on,
        histories=histories_fingerprint(histories),
        embedder=embedder.name,
        embedder_fingerprint=embedder.fingerprint,
        base=config.base,
        base_fingerprint=base_fingerprint(base),
        shape=shape_of(material, config, base),
        facts=material.fact_names,
        wishes=config.wish > 0,
    )
    told = config.generation or config.reconstruction
    knowledge = read_knowledge(base, dataset.titles, config.knowledge_words) if told else None
    cases = sample(split.validation, config.validation_users, config.seed)
    if config.fitted_on != "train":
        cases = cases.take(np.arange(0))
    return Job(dataset, split, Plan(material, config, base, record, cases, knowledge))


def _finish(job: Job, run: Run, loop: InterestLoop, found: Probe) -> dict[str, Any]:
    """Fit the mix, export, publish, say how it went."""
    start = time.perf_counter()
    plan, course = job.plan, loop.course
    model = loop.best_model()
    figures = diagnose(model, plan.material.histories)
    draw(figures, course.curve, run.folder)
    model = _mixed(job, model)
    folder = publish_interest(job.dataset.name, model)
    model.save(run.folder / MODEL)  # outlives a later training, for a band over seeds
    kind = str(low_precision()).removeprefix("torch.")
    rate = course.events * found.speed.flops_per_event / max(course.train_s, 1e-9)
    result = {
        "dataset": job.dataset.name,
        "items": len(plan.material.counts),
        "events": len(plan.material.histories.rows),
        "weights": sum(value.numel() for value in model.net.own_state().values()),
        "validation": model.record.validation,
        "cases": len(plan.cases),
        "rule": model.record.rule,
        "diagnostics": figures,
        "epochs": course.epoch,
        "best_epoch": course.best_epoch + 1,
        "expected_s": round(found.estimate.seconds, 1),
        "wall_s": round(course.wall_s + time.perf_counter() - start, 1),
        "peak_mb": peak_mb(),
        "flops_fraction": round(rate / matmul_flops(kind=kind), 3),
        "arithmetic": kind,
        "run": run.folder.name,
        "folder": folder.name,
    }
    run.finish(result)
    return result


def _mixed(job: Job, model: Interest) -> Interest:
    """The model with a ranker beside the untrained rules.

    It is fitted on validation people. A model that learnt from their events too takes the ranker of the
    served model that did not, where there is one, as rules take the constants that validation chose.
    """
    config = job.plan.config
    if config.fitted_on != "train":
        pointer = pointer_of(config.split, "train")
        alone = load_interest(job.dataset, job.split.train, pointer)
        if alone is None or alone.record.mix is None:
            note("Without a mix: train the same on train alone before, which fits one.")
            return model
        mix = alone.record.mix.model_copy(update={"unseen": config.unseen})
        changes = {"mix": mix, "rule": alone.record.rule}
        return model.with_record(model.record.model_copy(update=changes))
    if not len(job.plan.cases):
        return model
    text = job.plan.material.text
    return fit_mix(job.dataset, job.split, model, text, config.seed, config.unseen)
