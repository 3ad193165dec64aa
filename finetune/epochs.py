"""Steps and epochs that every recipe for sequences shares: state, validation, the best epoch, stopping.

A recipe subclasses `Stepper` with its network, its optimizer and the parts of its loss; `Epochs` runs it.
What happens in a step depends on seed, epoch and step alone, so going on from a state ends at the same
weights.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from foretaste.data.progress import Meter, meter
from foretaste.finetune.runs import Estimate, Run, Stop
from foretaste.finetune.states import EpochCourse, Kept, remember
from foretaste.finetune.towers.data import Batch

_CLIP = 5.0  # longest gradient
_PROBED = 4  # steps that are timed before the start, the first of which warms up


class Stepper(ABC):
    """A network with its optimizer, one step after the other.

    Args:
        net: the network.
        groups: of its parameters: `{"params": [...], "base": learning rate at its peak}`.
        decay: weight decay.
        seed: of batches, negatives and dropout.
        steps: of the whole training, over which the learning rates rise and fall.
    """

    def __init__(
        self, net: Any, groups: list[dict[str, Any]], decay: float, seed: int, steps: int
    ) -> None:
        self.net, self.seed, self.steps, self.done = net, seed, max(steps, 1), 0
        self.optimizer = torch.optim.AdamW(groups, lr=1.0, weight_decay=decay, fused=True)

    @abstractmethod
    def epoch_batches(self, epoch: int) -> list[Batch]:
        """The batches of one epoch, the same whenever they are asked for."""

    @abstractmethod
    def losses(self, batch: Batch, draw: np.random.Generator) -> dict[str, Any]:
        """The parts of the loss, by name."""

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, float]:
        """Part of the loss → its weight in the sum."""

    def step(self, batch: Batch) -> dict[str, float]:
        """One step; returns the parts of the loss."""
        self.net.train()
        draw = np.random.default_rng([self.seed, 1, self.done])
        torch.manual_seed(int(draw.integers(2**62)))  # of dropout
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * rate(self.done, self.steps)
        losses = self.losses(batch, draw)
        total = sum(self.weights[name] * value for name, value in losses.items())
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), _CLIP)
        self.optimizer.step()
        self.done += 1
        return {name: float(value.detach()) for name, value in losses.items()}

    def tensors(self) -> dict[str, Any]:
        """The network's weights, by name; not copied."""
        return dict(self.net.state_dict())

    def load(self, weights: dict[str, Any], kept: dict[str, Any], done: int) -> None:
        """Go on from these weights and this memory of the optimizer, `done` steps being done."""
        self.net.load_state_dict(weights)
        remember(self.optimizer, kept)
        self.done = done


def rate(step: int, steps: int) -> float:
    """Share of the learning rate at a step: a rise over the first twentieth, then a cosine."""
    rise = max(1, steps // 20)
    if step < rise:
        return (step + 1) / rise
    return float(0.5 * (1 + np.cos(np.pi * (step - rise) / max(steps - rise, 1))))


@dataclass
class Course(EpochCourse):
    """How far a training came.

    Attributes:
        best: validation NDCG@10 of the best epoch.
        events: training events seen.
        sums: part of the loss → its sum over the epoch's steps so far.
    """

    best: float = -1.0
    events: int = 0
    sums: dict[str, float] = field(default_factory=dict)


class Epochs(Kept[Course]):
    """All epochs of one training.

    Args:
        stepper: what is trained.
        validate: its validation NDCG@10 as it is now, in a row of the curve (`n@10`); None where
            nobody is left to validate with, and the last epoch is the one that counts.
        epochs: at most.
        patience: epochs without a better validation after which training ends.
        run: where the state goes.
        title: of the progress bar.
        began: `time.perf_counter()` when this try began.
    """

    def __init__(
        self,
        stepper: Stepper,
        validate: Callable[[], dict[str, Any]],
        epochs: int,
        patience: int,
        run: Run,
        title: str,
        began: float,
    ) -> None:
        super().__init__(stepper, Course(), run, began)
        self.stepper, self.validate, self.title = stepper, validate, title
        self.epochs, self.patience = epochs, patience

    def take_best(self) -> None:
        """Give the network the weights of the best epoch."""
        self.stepper.net.load_state_dict(self.best)

    def train(self, stop: Stop) -> None:
        """Train until the last epoch, until patience ends, or until somebody asks to stop.

        Raises:
            KeyboardInterrupt: somebody did; the state is saved.
        """
        course = self.course
        left = max(self.stepper.steps - self.stepper.done, 1)
        with meter(self.title, left, "steps") as progress:
            while course.epoch < self.epochs and not self.waited(self.patience):
                self._epoch(stop, progress)
                self._measure(progress)
        self.ended()

    def _epoch(self, stop: Stop, progress: Meter) -> None:
        """What is left of the epoch under way."""
        course = self.course
        for batch in self.stepper.epoch_batches(course.epoch)[course.batch :]:
            start = time.perf_counter()
            for name, value in self.stepper.step(batch).items():
                course.sums[name] = course.sums.get(name, 0.0) + value
            course.events += int((batch.targets >= 0).sum())
            self.stepped(time.perf_counter() - start, progress, stop)

    def _measure(self, progress: Meter) -> None:
        """Validate after an epoch, keep the best weights, save the state."""
        course = self.course
        found = self.validate()
        figure = found["n@10"]
        if figure is None or figure > course.best:
            course.best, course.best_epoch = figure or 0.0, course.epoch
            self.keep_best()
        losses = {name: total / course.batch for name, total in course.sums.items()}
        row = {"epoch": course.epoch, **losses, **found}
        said = "not validated" if figure is None else f"validation N@10 {figure:.4f}"
        progress.say(f"epoch {course.epoch + 1}: {said}")
        course.epoch, course.batch, course.sums = course.epoch + 1, 0, {}
        self.measured(row)


@dataclass(frozen=True)
class Speed:
    """What a few steps showed.

    Attributes:
        step_s: wall seconds of a step.
        steps: in one epoch.
        flops_per_event: floating-point operations of matrix products a training event.
    """

    step_s: float
    steps: int
    flops_per_event: float


@dataclass(frozen=True)
class Probe:
    """What a few steps showed.

    Attributes:
        estimate: of the whole training.
        speed: of its steps.
        steps: of the whole training.
    """

    estimate: Estimate
    speed: Speed
    steps: int


def timed(stepper: Stepper) -> Speed:
    """Time a few steps of a stepper that is thrown away afterwards."""
    batches = stepper.epoch_batches(0)
    some = [batches[place] for place in np.linspace(0, len(batches) - 1, _PROBED).astype(int)]
    with FlopCounterMode(display=False) as counter:
        stepper.step(some[0])
    flops = counter.get_total_flops() / max(int((some[0].targets >= 0).sum()), 1)
    start = time.perf_counter()
    for batch in some:
        stepper.step(batch)
    return Speed((time.perf_counter() - start) / len(some), len(batches), float(flops))
