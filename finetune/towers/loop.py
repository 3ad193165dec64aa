"""The epochs of the towers: what a probe expects, validation, the best epoch."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from foretaste.data.splits import Cases
from foretaste.finetune.epochs import Epochs, Probe, timed
from foretaste.finetune.runs import Estimate, Run, peak_mb
from foretaste.finetune.towers.config import TowersConfig
from foretaste.finetune.towers.material import Material
from foretaste.finetune.towers.trainer import Trainer
from foretaste.serving.rules.ranking import ndcg
from foretaste.serving.towers import Record, Towers, catalogue_arrays

_PROBED_CASES = 100  # validation cases that are timed before the start


class Loop(Epochs):
    """All epochs of one training.

    Args:
        material: what is trained on.
        config: how.
        record: of the towers that come of it.
        cases: validation cases that choose the epoch.
        run: where the state goes.
        steps: of the whole training.
        began: `time.perf_counter()` when this try began.
    """

    def __init__(
        self,
        material: Material,
        config: TowersConfig,
        record: Record,
        cases: Cases,
        run: Run,
        steps: int,
        began: float,
    ) -> None:
        def validate() -> dict[str, Any]:
            return {"n@10": ndcg(self.towers(), cases, len(material.counts))}

        trainer = Trainer(material, config, steps)
        super().__init__(
            trainer, validate, config.epochs, config.patience, run, "Training the towers", began
        )
        self.trainer, self.record = trainer, record

    def towers(self) -> Towers:
        """The towers as they are now."""
        return towers_of(self.trainer, self.record)

    def best_towers(self) -> Towers:
        """The towers of the best epoch."""
        self.take_best()
        return self.towers()


def towers_of(trainer: Trainer, record: Record) -> Towers:
    """The towers as a trainer has them."""
    material = trainer.material
    made = catalogue_arrays(trainer.net, material.text, material.facts, material.counts)
    return Towers(trainer.net, record, made)


def probe(
    material: Material, config: TowersConfig, record: Record, cases: Cases, everything: int
) -> Probe:
    """Time a few steps and some validation cases on a network that is thrown away.

    Args:
        material, config, record, cases: of the training.
        everything: events that the towers to be served are trained on once more.
    """
    trainer = Trainer(material, config, 1)
    speed = timed(trainer)
    start = time.perf_counter()
    towers = towers_of(trainer, record)
    made_s = time.perf_counter() - start
    few = cases.take(np.arange(min(_PROBED_CASES, len(cases))))
    start = time.perf_counter()
    ndcg(towers, few, len(material.counts))
    asked_s = (time.perf_counter() - start) * len(cases) / len(few)
    weights = sum(value.nbytes for value in trainer.net.state_dict().values()) / 1e6
    seconds = config.epochs * (speed.steps * speed.step_s + made_s + asked_s)
    if config.refit:
        share = everything / max(len(material.histories.rows), 1)
        seconds += config.epochs * speed.steps * speed.step_s * share
    estimate = Estimate(seconds, peak_mb() + 6 * weights, 8 * weights)
    return Probe(estimate, speed, speed.steps * config.epochs)
