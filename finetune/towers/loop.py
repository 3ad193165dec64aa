"""The epochs of a training: state, validation, the best epoch, stopping and going on."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from foretaste.data.progress import Meter, meter, note
from foretaste.data.splits import Cases
from foretaste.finetune.runs import Estimate, Run, Stop, peak_mb
from foretaste.finetune.towers.config import TowersConfig
from foretaste.finetune.towers.data import Batch
from foretaste.finetune.towers.measure import ndcg
from foretaste.finetune.towers.trainer import Material, Trainer
from foretaste.serving.towers import Record, Towers, catalogue_arrays

_PROBED = 4  # steps that are timed before the start, the first of which warms up
_PROBED_CASES = 100  # validation cases that are timed before the start
_SAVE_EVERY = 60.0  # seconds between two states within an epoch


@dataclass
class Course:
    """How far a training came.

    Attributes:
        epoch: the one under way, from 0 on.
        batch: batches of it that are done.
        best_epoch: the one with the best validation NDCG@10, -1 before the first.
        best: that NDCG@10.
        train_s: wall seconds in steps, all tries together.
        wall_s: wall seconds of everything, all tries together.
        events: training events seen.
        sums: part of the loss → its sum over the epoch's steps so far.
        curve: one row an epoch.
    """

    epoch: int = 0
    batch: int = 0
    best_epoch: int = -1
    best: float = -1.0
    train_s: float = 0.0
    wall_s: float = 0.0
    events: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    curve: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Probe:
    """What a few steps showed.

    Attributes:
        estimate: of the whole training.
        steps: of the whole training.
        flops_per_event: floating-point operations of matrix products a training event.
    """

    estimate: Estimate
    steps: int
    flops_per_event: float


class Loop:
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
        self.config, self.record, self.cases, self.run = config, record, cases, run
        self.trainer = Trainer(material, config, steps)
        self.course = Course()
        self._best: dict[str, Any] = {}
        self._saved = self._began = began

    def restore(self) -> None:
        """Go on from the saved state."""
        state = self.run.load_state()
        if state is None:
            return
        tensors, facts = state
        self.course = Course(**facts["course"])
        self.trainer.load(_named(tensors, "net."), _named(tensors, "adam."), facts["done"])
        self._best = _named(tensors, "best.")
        note(f"Going on in epoch {self.course.epoch + 1}, after {self.course.batch} batches of it.")

    def towers(self) -> Towers:
        """The towers as they are now."""
        material = self.trainer.material
        made = catalogue_arrays(self.trainer.net, material.text, material.facts, material.counts)
        return Towers(self.trainer.net, self.record, made)

    def best_towers(self) -> Towers:
        """The towers of the best epoch."""
        self.trainer.net.load_state_dict(self._best)
        return self.towers()

    def run_epochs(self, stop: Stop) -> None:
        """Train until the last epoch, until patience ends, or until somebody asks to stop.

        Raises:
            KeyboardInterrupt: somebody did; the state is saved.
        """
        course = self.course
        left = max(self.trainer.steps - self.trainer.done, 1)
        with meter("Training the towers", left, "steps") as progress:
            while course.epoch < self.config.epochs and not self._waited():
                self._epoch(stop, progress)
                self._measure(progress)
        course.wall_s += time.perf_counter() - self._began

    def _waited(self) -> bool:
        """Whether the best epoch is too long ago."""
        course = self.course
        return course.epoch - 1 - course.best_epoch >= self.config.patience and course.epoch > 0

    def _epoch(self, stop: Stop, progress: Meter) -> None:
        """What is left of the epoch under way."""
        course = self.course
        for batch in self.trainer.epoch_batches(course.epoch)[course.batch :]:
            start = time.perf_counter()
            for name, value in self.trainer.step(batch).items():
                course.sums[name] = course.sums.get(name, 0.0) + value
            course.batch += 1
            course.events += int((batch.targets >= 0).sum())
            course.train_s += time.perf_counter() - start
            progress.advance()
            if stop.asked:
                self._save()
                note("Saved; the same command with --resume goes on from here.")
                raise KeyboardInterrupt
            if time.perf_counter() - self._saved > _SAVE_EVERY:
                self._save()

    def _measure(self, progress: Meter) -> None:
        """Validate after an epoch, keep the best weights, save the state."""
        course = self.course
        found = ndcg(self.towers(), self.cases, len(self.trainer.material.counts))
        if found > course.best:
            course.best, course.best_epoch = found, course.epoch
            state = self.trainer.net.state_dict()
            self._best = {name: value.clone() for name, value in state.items()}
        losses = {name: total / course.batch for name, total in course.sums.items()}
        course.curve.append({"epoch": course.epoch, **losses, "n@10": found})
        progress.say(f"epoch {course.epoch + 1}: validation N@10 {found:.4f}")
        course.epoch, course.batch, course.sums = course.epoch + 1, 0, {}
        self.run.save_curve(course.curve)
        self._save()

    def _save(self) -> None:
        now = time.perf_counter()
        self.course.wall_s += now - self._began
        self._began = self._saved = now
        tensors = {f"net.{name}": value for name, value in self.trainer.net.state_dict().items()}
        tensors |= {f"adam.{name}": value for name, value in self.trainer.memory().items()}
        tensors |= {f"best.{name}": value for name, value in self._best.items()}
        self.run.save_state(tensors, {"course": asdict(self.course), "done": self.trainer.done})


def probe(material: Material, config: TowersConfig, record: Record, cases: Cases) -> Probe:
    """Time a few steps and some validation cases on a network that is thrown away."""
    trainer = Trainer(material, config, 1)
    batches = trainer.epoch_batches(0)
    some = [batches[place] for place in np.linspace(0, len(batches) - 1, _PROBED).astype(int)]
    flops = _flops(trainer, some[0]) / max(int((some[0].targets >= 0).sum()), 1)
    start = time.perf_counter()
    for batch in some:
        trainer.step(batch)
    step_s = (time.perf_counter() - start) / len(some)
    start = time.perf_counter()
    made = catalogue_arrays(trainer.net, material.text, material.facts, material.counts)
    made_s = time.perf_counter() - start
    few = cases.take(np.arange(min(_PROBED_CASES, len(cases))))
    start = time.perf_counter()
    ndcg(Towers(trainer.net, record, made), few, len(material.counts))
    asked_s = (time.perf_counter() - start) * len(cases) / len(few)
    weights = sum(value.nbytes for value in trainer.net.state_dict().values()) / 1e6
    steps = len(batches) * config.epochs
    seconds = steps * step_s + config.epochs * (made_s + asked_s)
    estimate = Estimate(seconds, peak_mb() + 6 * weights, 8 * weights)
    return Probe(estimate, steps, flops)


def _flops(trainer: Trainer, batch: Batch) -> float:
    """Floating-point operations of the matrix products of one step, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        trainer.step(batch)
    return float(counter.get_total_flops())


def _named(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors whose names begin so, without that beginning."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
