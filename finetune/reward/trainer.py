"""A reward network with its optimizer, one step after the other; epochs, state, the best epoch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foretaste.data.progress import Meter, meter, note
from foretaste.finetune.epochs import memory, named, rate, remember
from foretaste.finetune.reward import measure
from foretaste.finetune.reward.config import RewardConfig
from foretaste.finetune.reward.data import Group
from foretaste.finetune.reward.loss import listwise, pointwise
from foretaste.finetune.runs import Estimate, Run, Stop, peak_mb
from foretaste.serving.reward import RewardNet, Spelling

LOSSES = {"listwise": listwise, "pointwise": pointwise}
_CLIP = 1.0
_SAVE_EVERY = 60.0  # seconds between two states within an epoch
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

    def weights(self) -> dict[str, Any]:
        """What is learnt, by name; copies."""
        return {name: p.detach().clone() for name, p in self.learned.items()}

    def take(self, weights: dict[str, Any]) -> None:
        """Put in weights that `weights` gave."""
        with torch.no_grad():
            for name, parameter in self.learned.items():
                parameter.copy_(weights[name])


@dataclass
class Course:
    """How far a training came.

    Attributes:
        epoch: the one under way, from 0 on.
        batch: batches of it that are done.
        best_epoch: the one with the best pairwise accuracy, -1 before the first.
        best: that accuracy.
        train_s, wall_s: wall seconds in steps, and of everything, all tries together.
        tokens: read in steps.
        loss: sum over the epoch's steps so far.
        curve: one row an epoch.
    """

    epoch: int = 0
    batch: int = 0
    best_epoch: int = -1
    best: float = -1.0
    train_s: float = 0.0
    wall_s: float = 0.0
    tokens: int = 0
    loss: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)


class Loop:
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
        self.trainer, self.groups, self.judged, self.run = trainer, groups, judged, run
        self.course = Course()
        self.best: dict[str, Any] = {}
        self._saved = self._began = began

    def restore(self) -> None:
        """Go on from the saved state."""
        state = self.run.load_state()
        if state is None:
            return
        tensors, facts = state
        self.course = Course(**facts["course"])
        self.trainer.done = facts["done"]
        self.trainer.take(named(tensors, "net."))
        remember(self.trainer.optimizer, named(tensors, "adam."))
        self.best = named(tensors, "best.")
        note(f"Going on in epoch {self.course.epoch + 1}, after {self.course.batch} batches of it.")

    def run_epochs(self, stop: Stop) -> None:
        """Train until the last epoch, until patience ends, or until somebody asks to stop.

        Raises:
            KeyboardInterrupt: somebody did; the state is saved.
        """
        course, config = self.course, self.trainer.config
        left = max(self.trainer.steps - self.trainer.done, 1)
        with meter("Training the reward model", left, "steps") as progress:
            while course.epoch < config.epochs and not self._waited():
                self._epoch(stop, progress)
                self._measure(progress)
        course.wall_s += time.perf_counter() - self._began

    def _waited(self) -> bool:
        course = self.course
        return course.epoch > 0 and (
            course.epoch - 1 - course.best_epoch >= self.trainer.config.patience
        )

    def _epoch(self, stop: Stop, progress: Meter) -> None:
        """What is left of the epoch under way."""
        course = self.course
        for batch in batches(self.groups, self.trainer.config, course.epoch)[course.batch :]:
            start = time.perf_counter()
            course.loss += self.trainer.step(batch)
            course.batch += 1
            course.tokens += sum(tokens(group) for group in batch)
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
        found = self.trainer.validate(self.judged)
        if found["pairs"] > course.best:
            course.best, course.best_epoch = found["pairs"], course.epoch
            self.best = self.trainer.weights()
        row = {"epoch": course.epoch, "loss": course.loss / max(course.batch, 1), **found}
        course.curve.append(row)
        progress.say(
            f"epoch {course.epoch + 1}: loss {row['loss']:.3f}, validation pairs {found['pairs']:.3f}"
        )
        course.epoch, course.batch, course.loss = course.epoch + 1, 0, 0.0
        self.run.save_curve(course.curve)
        self._save()

    def _save(self) -> None:
        now = time.perf_counter()
        self.course.wall_s += now - self._began
        self._began = self._saved = now
        tensors = {f"net.{name}": value for name, value in self.trainer.weights().items()}
        tensors |= {f"adam.{name}": value for name, value in memory(self.trainer.optimizer).items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        self.run.save_state(tensors, {"course": asdict(self.course), "done": self.trainer.done})


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
