"""Towers for serving: the same training once more, on every event that is known.

Epochs, β and the weight beside the rule were chosen with towers that learnt from training events alone.
Those are kept for evaluations; the ones that are served also know what people chose last. Nothing is
left to validate with, so nothing is chosen here.
"""

from __future__ import annotations

import time
from dataclasses import replace

from foretaste.data.histories import Histories
from foretaste.finetune.epochs import Course, Epochs
from foretaste.finetune.runs import Run, Stop
from foretaste.finetune.towers.config import TowersConfig
from foretaste.finetune.towers.loop import towers_of
from foretaste.finetune.towers.material import Material
from foretaste.finetune.towers.trainer import Trainer
from foretaste.serving.rules.base import popularity
from foretaste.serving.towers import Record, Towers, histories_fingerprint

FITTED_ON = "everything"


def refit(
    histories: Histories,
    material: Material,
    config: TowersConfig,
    record: Record,
    epochs: int,
    run: Run,
    stop: Stop,
) -> tuple[Towers, Course]:
    """Train again from the start on all events, going on from `run`'s state when it has one.

    Args:
        histories: all events of everybody.
        material: of the training that chose the epochs.
        config: of that training; the learning rate follows the same course.
        record: of the towers that it made, with all that validation chose.
        epochs: as many as validation chose.
        run: where the state goes.
        stop: whether somebody asked to stop.

    Returns:
        The towers, and how their training went.

    Raises:
        KeyboardInterrupt: somebody asked to stop; the state is saved.
    """
    began = time.perf_counter()
    counts = popularity(histories, len(material.counts))
    everything = replace(material, histories=histories, counts=counts)
    steps = len(Trainer(everything, config, 1).epoch_batches(0)) * config.epochs
    trainer = Trainer(everything, config, steps)

    def validate() -> dict[str, None]:
        return {"n@10": None}  # whoever could be asked about is learnt from

    title = "Training on everything"
    loop = Epochs(trainer, validate, epochs, epochs, run, title, began)
    loop.restore()
    loop.train(stop)
    changes = {"fitted_on": FITTED_ON, "histories": histories_fingerprint(histories)}
    return towers_of(trainer, record.model_copy(update=changes)), loop.course
