"""A reward network with its optimizer, one step after the other; epochs, state, the best epoch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foretaste.data.progress import Meter, meter
from foretaste.finetune.epochs import rate
from foretaste.finetune.reward import measure
from foretaste.finetune.reward.config import RewardConfig
from foretaste.finetune.reward.data import Group
from foretaste.finetune.reward.loss import listwise, pointwise
from foretaste.finetune.runs import Estimate, Run, Stop, peak_mb
from foretaste.finetune.states import EpochCourse, Kept, remember
from foretaste.serving.reward import RewardNet, Spelling

LOSSES = {"listwise": listwise, "pointwise": pointwise}
_CLIP = 1.0
_PROBED = 3  # batches that are timed before the start, the first of which warms up


@dataclass(frozen=True)
class Read:
    """A group as tokens.

    Attributes:
        context: token ids.
        answers: token ids of each answer.
        tiers: (n,) int64, the better the higher.
        weights: (n,) float32, what each answer counts for.
    """

    context: list[int]
    answers: list[list[int]]
    tiers: NDArray[np.int64]
    weights: NDArray[np.float32]


def read(groups: Sequence[Group], spelling: Spelling) -> list[Read]:
    """Groups as tokens."""
    return [
        Read(
            spelling.context(group.context),
            [spelling.answer(answer) for answer in group.answers],
            np.array(group.tiers, dtype=np.int64),
            np.array(group.weights or [1.0] * len(group.tiers), dtype=np.float32),
        )
        for group in groups
    ]


class Trainer:
    """A network with its optimizer.

    Args:
        net: backbone with a LoRA adapter, and the head.
        config: how.
        steps: of the whole training, over which the learning rate rises and falls.
    """

    def __init__(self, net: RewardNet, config: RewardConfig, steps: int) -> None:
        self.net, self.config, self.steps = net, config, max(steps, 1)
        self.learned = {name: p for name, p in net.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.AdamW(
            self.learned.values(), lr=config.rate, weight_decay=config.decay
        )
        self.done = 0

    def step(self, groups: Sequence[Read]) -> float:
        """One step over some groups; returns the mean loss."""
        self.net.train()
        for given in self.optimizer.param_groups:
            given["lr"] = self.config.rate * rate(self.done, self.steps)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(groups)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.learned.values(), _CLIP)
        self.optimizer.step()
        self.done += 1
        return float(loss.detach())

    def loss(self, groups: Sequence[Read]) -> Any:
        """Mean loss of some groups, all of which go through the network together."""
        parts = [
            LOSSES[self.config.loss](
                scores, torch.as_tensor(group.tiers), torch.as_tensor(group.weights)
            )
            for group, scores in zip(groups, self.scores(groups), strict=True)
        ]
        return torch.stack(parts).mean()

    def scores(self, groups: Sequence[Read]) -> Sequence[Any]:
        """(n,) scores of each group."""
        owners = [number for number, group in enumerate(groups) for _ in group.answers]
        answers = [answer for group in groups for answer in group.answers]
        scores = self.net([group.context for group in groups], owners, answers)
        parts: Sequence[Any] = scores.split([len(group.answers) for group in groups])
        return parts

    def validate(self, groups: Sequence[Read]) -> dict[str, float]:
        """What the scores are worth on groups that are not learnt from."""
        self.net.eval()
        scored = []
        with torch.inference_mode():
            for start in range(0, len(groups), self.config.batch):
                some = groups[start : start + self.config.batch]
                scored += [
                    (scores.numpy(), group.tiers)
                    for group, scores in zip(some, self.scores(some), strict=True)
                ]
        return measure.figures(scored)

    def tensors(self) -> dict[str, Any]:
        """What is learnt, by name; not copied."""
        return dict(self.learned)

    def load(self, weights: dict[str, Any], kept: dict[str, Any], done: int) -> None:
        """Go on from these weights and this memory of the optimizer, `done` steps being done."""
        self.take(weights)
        remember(self.optimizer, kept)
        self.done = done

    def take(self, weights: dict[str, Any]) -> None:
        """Put in weights by the names of `tensors`."""
        with torch.no_grad():
            for name, parameter in self.learned.items():
                parameter.copy_(weights[name])


@dataclass
class Course(EpochCourse):
    """How far a training came.

    Attributes:
        best: pairwise accuracy of the best epoch.
        tokens: read in steps.
        loss: sum over the epoch's steps so far.
    """

    best: float = -1.0
    tokens: int = 0
    loss: float = 0.0


class Loop(Kept[Course]):
    """All epochs of one training.

    Args:
        trainer: network and optimizer.
        groups, judged: groups that are learnt from, and those that choose the epoch.
        run: where the state goes.
        began: `time.perf_counter()` when this try began.
    """

    def __init__(
        self,
        trainer: Trainer,
        groups: Sequence[Read],
        judged: Sequence[Read],
        run: Run,
        began: float,
    ) -> None:
        super().__init__(trainer, Course(), run, began)
        self.trainer, self.groups, self.judged = trainer, groups, judged

    def run_epochs(self, stop: Stop) -> None:
        """Train until the last epoch, until patience ends, or until somebody asks to stop.

        Raises:
            KeyboardInterrupt: somebody did; the state is saved.
        """
        course, config = self.course, self.trainer.config
        left = max(self.trainer.steps - self.trainer.done, 1)
        with meter("Training the reward model", left, "steps") as progress:
            while course.epoch < config.epochs and not self.waited(config.patience):
                self._epoch(stop, progress)
                self._measure(progress)
        self.ended()

    def _epoch(self, stop: Stop, progress: Meter) -> None:
        """What is left of the epoch under way."""
        course = self.course
        for batch in batches(self.groups, self.trainer.config, course.epoch)[course.batch :]:
            start = time.perf_counter()
            course.loss += self.trainer.step(batch)
            course.tokens += sum(tokens(group) for group in batch)
            self.stepped(time.perf_counter() - start, progress, stop)

    def _measure(self, progress: Meter) -> None:
        """Validate after an epoch, keep the best weights, save the state."""
        course = self.course
        found = self.trainer.validate(self.judged)
        if found["pairs"] > course.best:
            course.best, course.best_epoch = found["pairs"], course.epoch
            self.keep_best()
        row = {"epoch": course.epoch, "loss": course.loss / max(course.batch, 1), **found}
        progress.say(
            f"epoch {course.epoch + 1}: loss {row['loss']:.3f}, validation pairs {found['pairs']:.3f}"
        )
        course.epoch, course.batch, course.loss = course.epoch + 1, 0, 0.0
        self.measured(row)


def batches(groups: Sequence[Read], config: RewardConfig, epoch: int) -> list[list[Read]]:
    """The batches of one epoch, the same whenever they are asked for."""
    order = np.random.default_rng([config.seed, epoch]).permutation(len(groups))
    return [
        [groups[place] for place in order[start : start + config.batch]]
        for start in range(0, len(groups), config.batch)
    ]


def tokens(group: Read) -> int:
    """Tokens that the network reads of a group."""
    return len(group.context) + sum(len(answer) for answer in group.answers)


def probe(trainer: Trainer, groups: Sequence[Read], judged: int) -> Estimate:
    """Time a few batches forward and backward; nothing is changed.

    Args:
        trainer: network and optimizer.
        groups: that will be learnt from.
        judged: groups that will be validated after each epoch.
    """
    some = batches(groups, trainer.config, 0)[:_PROBED]
    start = time.perf_counter()
    for number, batch in enumerate(some):
        if number == min(1, len(some) - 1):
            start = time.perf_counter()
        trainer.loss(batch).backward()
    timed = sum(len(batch) for batch in some[min(1, len(some) - 1) :])
    each = (time.perf_counter() - start) / timed
    trainer.optimizer.zero_grad(set_to_none=True)
    learned = sum(value.nbytes for value in trainer.learned.values()) / 1e6
    seconds = trainer.config.epochs * (len(groups) * each + judged * each / 3)
    return Estimate(seconds, peak_mb() + 4 * learned, 5 * learned)
