"""The steps of a training: two kinds of batches, validation, stopping and going on."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from foretaste.data.progress import Meter, meter
from foretaste.finetune.adaptor.config import AdaptorConfig
from foretaste.finetune.adaptor.frozen import (
    AdaptorNet,
    Frozen,
    Positions,
    alignment,
    likeness,
    self_perception,
)
from foretaste.finetune.adaptor.rows import Known, Row, questions
from foretaste.finetune.epochs import rate
from foretaste.finetune.runs import Run, Stop
from foretaste.finetune.states import EpochCourse, Kept, remember
from foretaste.serving.embedder import Embedder
from foretaste.serving.hybrid_adaptor import Adaptor

_CLIP = 1.0  # longest gradient
_POOL = 4  # times a batch, of which neighbours in length are taken
_BATCH = 8  # rows in one forward pass of validation


@dataclass(frozen=True)
class Aligned:
    """A prompt with the teacher's answer, and what the teacher thought while it wrote.

    Attributes:
        row: the prompt and the answer.
        states: (answer tokens, width) the teacher's last hidden states.
    """

    row: Row
    states: NDArray[np.float32]


@dataclass(frozen=True)
class Lessons:
    """What is learnt from, and what validates it.

    Attributes:
        items: the catalogue.
        rows: items that questions of training are about.
        aligned: prompts of training, with the teacher's answers.
        asked: validation questions, about items that training never sees.
        held: validation prompts, about histories that training never sees.
    """

    items: Sequence[Known]
    rows: NDArray[np.int64]
    aligned: Sequence[Aligned]
    asked: Sequence[Row]
    held: Sequence[Aligned]


@dataclass
class Course(EpochCourse):
    """How far a training came; row 0 of its curve is the start, which is epoch -1.

    Attributes:
        best: the lowest validation score, that of the best epoch.
        positions: read in training.
        expected_s: what the first try expected it to take.
        sums: part of the loss → its sum over the epoch so far, and how many.
    """

    best: float = math.inf
    positions: int = 0
    expected_s: float = 0.0
    sums: dict[str, list[float]] = field(default_factory=dict)


class Trainer:
    """The adaptor that is trained, one step after the other.

    What happens in a step depends on the seed and its number alone.

    Args:
        frozen: the language model.
        start: where training starts.
        embedder: reads entities.
        lessons: what is learnt from.
        config: how.
    """

    def __init__(
        self,
        frozen: Frozen,
        start: Adaptor,
        embedder: Embedder,
        lessons: Lessons,
        config: AdaptorConfig,
    ) -> None:
        self.frozen, self.embedder, self.lessons, self.config = frozen, embedder, lessons, config
        self.net = AdaptorNet(start)
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=config.rate, weight_decay=config.decay
        )
        self.done = 0

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self.config.epochs * self.config.steps

    def step(self) -> tuple[dict[str, float], int]:
        """One step: the parts of its loss, and the positions that were read."""
        draw = np.random.default_rng([self.config.seed, 1, self.done])
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate * rate(self.done, self.steps)
        align = bool(self.lessons.aligned) and draw.random() < self.config.alignment
        losses, read = self._aligning(draw) if align else self._asking(draw)
        total = sum(
            (self.config.hidden_weight if name == "likeness" else 1.0) * value
            for name, value in losses.items()
        )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), _CLIP)
        self.optimizer.step()
        self.done += 1
        return {name: float(value.detach()) for name, value in losses.items()}, read

    def vectors(self, batch: Sequence[Positions]) -> torch.Tensor | None:
        """(entities of all, width) what stands in their places."""
        texts = [entity.text for one in batch for entity in one.entities]
        if not texts:
            return None
        made: torch.Tensor = self.net(torch.from_numpy(self.embedder.encode(texts)))
        return made

    def measure(self, *, text: bool = False) -> dict[str, float]:
        """The validation figures: `questions` (-log p a token), `right` (share of tokens that
        would be written so) and `alignment` (KL a token), of the adaptor or of the text form.
        """
        asked = [self.frozen.sequence(row, text=text) for row in self.lessons.asked]
        held = [self.frozen.sequence(one.row, text=text) for one in self.lessons.held]
        told, right, apart = [], [], []
        with torch.inference_mode():
            for batch in _chunks(asked):
                scores = self._scores(batch)[1]
                answers = _answers(batch)
                told.append(self_perception(scores, answers))
                right.append((scores.argmax(dim=-1) == answers).float())
            for one, lesson in zip(held, self.lessons.held, strict=True):
                teacher = self.frozen.logits(torch.from_numpy(lesson.states))
                apart.append(alignment(self._scores([one])[1], teacher))
        return {
            "questions": float(torch.cat(told).mean()),
            "right": float(torch.cat(right).mean()),
            "alignment": float(torch.cat(apart).mean()) if apart else 0.0,
        }

    def tensors(self) -> dict[str, Any]:
        """The adaptor's weights, by name; not copied."""
        return dict(self.net.state_dict())

    def load(self, weights: dict[str, Any], kept: dict[str, Any], done: int) -> None:
        """Go on from these weights and this memory of the optimizer, `done` steps being done."""
        self.net.load_state_dict(weights)
        remember(self.optimizer, kept)
        self.done = done

    def _asking(self, draw: np.random.Generator) -> tuple[dict[str, Any], int]:
        """Questions about the catalogue."""
        config, lessons = self.config, self.lessons
        most, short = config.entities, config.short
        rows = questions(lessons.items, lessons.rows, self._pool(), most, short, draw)
        pool = [self.frozen.sequence(row) for row in rows]
        batch = [pool[place] for place in alike([len(one) for one in pool], config.tokens, draw)]
        _, scores = self._scores(batch)
        return {"questions": self_perception(scores, _answers(batch)).mean()}, _read(batch)

    def _aligning(self, draw: np.random.Generator) -> tuple[dict[str, Any], int]:
        """Prompts of the agents."""
        lessons = self.lessons.aligned
        count = min(self._pool(), len(lessons))
        some = [lessons[place] for place in draw.choice(len(lessons), count, replace=False)]
        pool = [self.frozen.sequence(one.row) for one in some]
        places = alike([len(one) for one in pool], self.config.tokens, draw)
        batch = [pool[place] for place in places]
        states, scores = self._scores(batch)
        wanted = torch.from_numpy(np.concatenate([some[place].states for place in places]))
        with torch.no_grad():
            teacher = self.frozen.logits(wanted)
        parts = {"alignment": alignment(scores, teacher).mean()}
        return parts | {"likeness": likeness(states, wanted)}, _read(batch)

    def _pool(self) -> int:
        """Rows that a batch is chosen from; a question has about 100 positions."""
        return max(_POOL, _POOL * self.config.tokens // 100)

    def _scores(self, batch: Sequence[Positions]) -> tuple[torch.Tensor, torch.Tensor]:
        states = self.frozen.states(batch, self.vectors(batch))
        return states, self.frozen.logits(states)


def alike(lengths: Sequence[int], tokens: int, draw: np.random.Generator) -> list[int]:
    """Places of some sequences of similar length that take about `tokens` positions padded; one
    at least.

    >>> alike([9], 1, np.random.default_rng(0))
    [0]
    """
    order = np.argsort(lengths, kind="stable")
    first = int(draw.integers(len(order)))
    chosen = [int(order[first])]
    for place in order[first + 1 :]:
        if (len(chosen) + 1) * lengths[place] > tokens:
            break
        chosen.append(int(place))
    return chosen


class Loop(Kept[Course]):
    """All epochs of one training.

    Args:
        trainer: the adaptor.
        run: where the state goes.
        began: `time.perf_counter()` when this try began.
    """

    def __init__(self, trainer: Trainer, run: Run, began: float) -> None:
        super().__init__(trainer, Course(), run, began)
        self.trainer = trainer

    def run_epochs(self, stop: Stop) -> None:
        """Train until the last epoch, or until somebody asks to stop.

        Raises:
            KeyboardInterrupt: somebody did; the state is saved.
        """
        course, config = self.course, self.trainer.config
        left = max(self.trainer.steps - self.trainer.done, 1)
        with meter("Training the adaptor", left, "steps") as progress:
            if not course.curve:
                self._measure(progress, -1, {})
            while course.epoch < config.epochs:
                self._epoch(stop, progress)
                losses = {name: total / count for name, (total, count) in course.sums.items()}
                self._measure(progress, course.epoch, losses)
        self.ended()

    def _epoch(self, stop: Stop, progress: Meter) -> None:
        """What is left of the epoch under way."""
        course = self.course
        while course.batch < self.trainer.config.steps:
            start = time.perf_counter()
            losses, read = self.trainer.step()
            for name, value in losses.items():
                total, count = course.sums.get(name, [0.0, 0])
                course.sums[name] = [total + value, count + 1]
            course.positions += read
            self.stepped(time.perf_counter() - start, progress, stop)

    def _measure(self, progress: Meter, epoch: int, losses: dict[str, float]) -> None:
        """Validate, keep the best weights, save the state; -1 is the start."""
        course, found = self.course, self.trainer.measure()
        score = found["questions"] + found["alignment"]
        if score < course.best:
            course.best, course.best_epoch = score, epoch
            self.keep_best()
        trained = {f"train_{name}": value for name, value in losses.items()}
        progress.say(
            f"epoch {epoch + 1}: questions {found['questions']:.3f}, right "
            f"{found['right']:.3f}, alignment {found['alignment']:.3f}"
        )
        course.epoch, course.batch, course.sums = epoch + 1, 0, {}
        self.measured({"epoch": epoch + 1, **trained, **found})


def flops_per_position(trainer: Trainer) -> float:
    """Floating-point operations of the matrix products of one step, over what it reads."""
    with FlopCounterMode(display=False) as counter:
        read = trainer.step()[1]
    return float(counter.get_total_flops()) / read


def _chunks(rows: Sequence[Positions]) -> list[Sequence[Positions]]:
    return [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]


def _answers(batch: Sequence[Positions]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([one.answer for one in batch]))


def _read(batch: Sequence[Positions]) -> int:
    return len(batch) * max(len(one) for one in batch)
