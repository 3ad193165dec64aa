"""The epochs of the next-interest model: what a probe expects, validation, the best epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretaste.data.splits import Cases
from foretaste.finetune.epochs import Epochs, Probe, timed
from foretaste.finetune.interest.config import InterestConfig
from foretaste.finetune.interest.diagnostics import diagnose
from foretaste.finetune.interest.knowledge import Knowledge
from foretaste.finetune.interest.trainer import InterestTrainer
from foretaste.finetune.runs import Estimate, Run, peak_mb
from foretaste.finetune.towers.material import Material
from foretaste.serving.interest import Interest, Record, catalogue_of
from foretaste.serving.rules.ranking import ndcg

_PROBED_CASES = 64  # validation cases that are timed before the start


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, and who validates it.

    Attributes:
        material: training events and catalogue as arrays.
        config: settings.
        base: folder of the language model.
        record: what the model will say about itself.
        cases: validation cases; none where all events are learnt from.
        knowledge: decoder of titles, or None.
    """

    material: Material
    config: InterestConfig
    base: Path
    record: Record
    cases: Cases
    knowledge: Knowledge | None = None

    def trainer(self, steps: int) -> InterestTrainer:
        """A network at its start."""
        return InterestTrainer(self.material, self.config, self.base, steps, self.knowledge)

    def model(self, trainer: InterestTrainer) -> Interest:
        """The model as a trainer has it."""
        given = self.material
        made = catalogue_of(trainer.net, given.text, given.facts, given.counts)
        return Interest(trainer.net, self.record, made)

    def validate(self, trainer: InterestTrainer, cases: Cases) -> dict[str, Any]:
        """A row of the curve: NDCG@10 of these cases (None without any), and diagnostics."""
        model = self.model(trainer)
        found = ndcg(model, cases, len(self.material.counts)) if len(cases) else None
        return {"n@10": found, **diagnose(model, self.material.histories)}


class InterestLoop(Epochs):
    """All epochs of one training.

    Args:
        plan: what is trained.
        run: where the state goes.
        steps: of the whole training.
        began: `time.perf_counter()` when this try began.
    """

    def __init__(self, plan: Plan, run: Run, steps: int, began: float) -> None:
        trainer, config = plan.trainer(steps), plan.config

        def validate() -> dict[str, Any]:
            return plan.validate(trainer, plan.cases)

        title = "Training next interests"
        super().__init__(trainer, validate, config.epochs, config.patience, run, title, began)
        self.plan, self.trainer = plan, trainer

    def best_model(self) -> Interest:
        """The model of the best epoch."""
        self.take_best()
        return self.plan.model(self.trainer)


def probe(plan: Plan) -> Probe:
    """Time a few steps and some validation cases on a network that is thrown away."""
    trainer = plan.trainer(1)
    speed = timed(trainer)
    few = plan.cases.take(np.arange(min(_PROBED_CASES, len(plan.cases))))
    start = time.perf_counter()
    plan.validate(trainer, few)
    asked_s = (time.perf_counter() - start) * len(plan.cases) / max(len(few), 1)
    weights = sum(value.nbytes for value in trainer.net.state_dict().values()) / 1e6
    seconds = plan.config.epochs * (speed.steps * speed.step_s + asked_s)
    estimate = Estimate(seconds, peak_mb() + 6 * weights, 8 * weights)
    return Probe(estimate, speed, speed.steps * plan.config.epochs)
