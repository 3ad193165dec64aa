"""`foretaste finetune towers`: from a data set's name to towers that are served."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.progress import note
from foretaste.data.splits import Cases, Split, leave_one_out
from foretaste.data.store import load_dataset
from foretaste.finetune.epochs import Course, Probe
from foretaste.finetune.runs import Run, Stop, matmul_flops, open_run, peak_mb, stoppable
from foretaste.finetune.towers.config import TowersConfig
from foretaste.finetune.towers.loop import Loop, probe
from foretaste.finetune.towers.material import Material, read_material
from foretaste.finetune.towers.measure import best_beta, best_weight
from foretaste.finetune.towers.refit import refit
from foretaste.serving.embedder import DEFAULT_EMBEDDER, Embedder, load_embedder
from foretaste.serving.rules import recipes
from foretaste.serving.rules.ranking import ndcg
from foretaste.serving.rules.select import chosen, sample
from foretaste.serving.rules.words import item_words
from foretaste.serving.towers import (
    EVALUATED,
    Record,
    Towers,
    histories_fingerprint,
    publish_towers,
)

KIND = "towers"
BETA_CASES = 500  # validation cases that choose β


@dataclass(frozen=True)
class Job:
    """One training: what is read, and who validates it.

    Attributes:
        dataset: the catalogue.
        split: leave-one-out: train is learnt from, validation chooses, test is not looked at.
        cases: validation cases, or a sample of them.
        material: training events and catalogue as arrays.
        config: settings.
        record: what the towers will say about themselves.
    """

    dataset: Dataset
    split: Split
    cases: Cases
    material: Material
    config: TowersConfig
    record: Record


def train(
    name: str,
    config: TowersConfig,
    embedder: Embedder | str = DEFAULT_EMBEDDER,
    resume: bool = False,
) -> dict[str, Any]:
    """Train towers on a data set, export them and make them the ones that are served.

    Args:
        name: of an imported data set.
        config: settings.
        embedder: behind the sentence vectors, or its name.
        resume: go on where an earlier try with the same settings stopped.

    Returns:
        The result that is saved with the run: figures of validation, wall_s, peak_mb,
        flops_fraction, best_epoch (from 1 on), and over how many epochs and events the towers that
        are served were trained once more.

    Raises:
        InputError: nothing to learn from, nobody to validate with, or no room.
        KeyboardInterrupt: somebody asked to stop; the state is saved.
    """
    start = time.perf_counter()
    torch.set_num_threads(config.threads)
    encoder = load_embedder(embedder) if isinstance(embedder, str) else embedder
    job = prepare(load_dataset(name), config, encoder)
    given = job.record.model_dump(include=_DECIDING)
    run = open_run(KIND, name, {"config": config.model_dump(), **given}, resume)
    if resume and (result := run.finished()):
        note(f"This run is finished; its result stands in {run.folder}.")
        return result
    found = probe(job.material, config, job.record, job.cases, len(job.dataset.histories.rows))
    found.estimate.check(run.folder)
    loop = Loop(job.material, config, job.record, job.cases, run, found.steps, start)
    if resume:
        loop.restore()
    with stoppable() as stop:
        loop.train(stop)
        start = time.perf_counter()
        towers, validation = _chosen(job, loop.best_towers())
        publish_towers(name, towers, EVALUATED)
        chosen_s = time.perf_counter() - start
        served, again = _served(job, towers, loop.course, run, stop)
    folder = publish_towers(name, served)
    took = loop.course.wall_s + chosen_s + again.wall_s
    result = _result(job, loop, found, served) | {
        "validation": validation,
        "refit_epochs": again.epoch,
        "refit_events": again.events,
        "wall_s": round(took, 1),
        "peak_mb": peak_mb(),
        "run": run.folder.name,
        "folder": folder.name,
    }
    run.finish(result)
    return result


#: Fields of the record that decide what comes out.
_DECIDING = {"dataset", "fingerprint", "split", "fitted_on", "histories", "embedder_fingerprint"}


def prepare(dataset: Dataset, config: TowersConfig, embedder: Embedder) -> Job:
    """Everything that is read, as arrays; sentence vectors come from their cache when they can.

    Raises:
        InputError: nothing to learn from, or nobody to validate with.
    """
    split = leave_one_out(dataset)
    if not (split.train.lengths >= 2).any():
        raise InputError(
            f"Towers learn from people with four interactions or more, and {dataset.name} has none; "
            "import more interactions."
        )
    material = read_material(dataset, split.train, embedder, config.words, config.tags)
    record = Record(
        dataset=dataset.name,
        fingerprint=dataset.info.fingerprint,
        catalogue_fingerprint=dataset.info.catalogue_fingerprint,
        split=split.kind,
        fitted_on="train",
        histories=histories_fingerprint(split.train),
        embedder=embedder.name,
        embedder_fingerprint=embedder.fingerprint,
        shape=material.shape(config),
        facts=material.fact_names,
    )
    cases = sample(split.validation, config.validation_users, config.seed)
    return Job(dataset, split, cases, material, config, record)


def _served(
    job: Job, towers: Towers, course: Course, run: Run, stop: Stop
) -> tuple[Towers, Course]:
    """The towers to serve: trained once more on everything, if that is wanted, in a run within."""
    if not job.config.refit:
        return towers, Course()
    within = Run(run.folder / "refit")
    within.folder.mkdir(exist_ok=True)
    epochs = course.best_epoch + 1
    everything = job.dataset.histories
    return refit(everything, job.material, job.config, towers.record, epochs, within, stop)


def _result(job: Job, loop: Loop, found: Probe, towers: Towers) -> dict[str, Any]:
    """What the training came to."""
    course = loop.course
    rate = course.events * found.speed.flops_per_event / max(course.train_s, 1e-9)
    return {
        "dataset": job.dataset.name,
        "items": len(job.material.counts),
        "events": len(job.material.histories.rows),
        "weights": sum(value.numel() for value in towers.net.state_dict().values()),
        "cases": len(job.cases),
        "beta": towers.record.beta,
        "rule": towers.record.rule,
        "weight": towers.record.weight,
        "epochs": course.epoch,
        "best_epoch": course.best_epoch + 1,
        "expected_s": round(found.estimate.seconds, 1),
        "flops_fraction": round(rate / matmul_flops(), 3),
    }


def _chosen(job: Job, towers: Towers) -> tuple[Towers, dict[str, float]]:
    """The towers with β and the weight beside the best untrained rule chosen on validation.

    Returns:
        The towers, and scorer → NDCG@10 on the validation cases.
    """
    material = recipes.Material(job.split.train, item_words(job.dataset.items), job.material.text)
    choice = chosen(job.dataset, job.split, material)
    rule = choice.fit(choice.best, material)
    weight, mixed = best_weight(rule, towers, job.cases, material.items)
    beta, by_beta = best_beta(towers, _tags_of_items(job.material), _few(job.cases))
    plain = choice.fit("embedding_last", material)
    validation = {
        "towers": ndcg(towers, job.cases, material.items),
        "towers_mix": mixed[weight],
        rule.name: mixed[0.0],
        "embedding_last": ndcg(plain, job.cases, material.items),
        "beta": by_beta[beta],
        "beta_1": by_beta[1.0],
    }
    changes = {"beta": beta, "rule": rule.name, "weight": weight, "validation": validation}
    return towers.with_record(towers.record.model_copy(update=changes)), validation


def _few(cases: Cases) -> Cases:
    """A sample of the cases with a history."""
    some = cases.take(np.flatnonzero(cases.histories.lengths > 0))
    return sample(some, BETA_CASES, 0)


def _tags_of_items(material: Material) -> list[Any]:
    """For each item the sentence vectors of its tags, (n, text)."""
    return [material.said[own[own >= 0]] for own in material.words.tags]
