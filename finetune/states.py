"""The state of a training: taken up again, saved now and then, and saved before it stops.

Shared by every recipe. What a step is, and what makes an epoch the best, is the recipe's own.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import torch

from foretaste.data.errors import ForetasteError
from foretaste.data.progress import Meter, note
from foretaste.finetune.runs import Run, Stop

_SAVE_EVERY = 60.0  # seconds between two states within an epoch


class Learner(Protocol):
    """What is trained, as far as its state goes.

    Attributes:
        optimizer: of torch.
        done: steps that are done.
    """

    optimizer: Any
    done: int

    def tensors(self) -> dict[str, Any]:
        """What is learnt, by name; not copied."""
        ...

    def load(self, weights: dict[str, Any], kept: dict[str, Any], done: int) -> None:
        """Go on from these weights and this memory of the optimizer, `done` steps being done."""
        ...


@dataclass
class EpochCourse:
    """How far a training in epochs came.

    Attributes:
        epoch: the one under way, from 0 on.
        batch: batches of it that are done.
        best_epoch: the one with the best validation, -1 before the first.
        train_s: wall seconds in steps, all tries together.
        wall_s: wall seconds of everything, all tries together.
        curve: one row an epoch.
    """

    epoch: int = 0
    batch: int = 0
    best_epoch: int = -1
    train_s: float = 0.0
    wall_s: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)


Far = TypeVar("Far", bound=EpochCourse)
Begun = TypeVar("Begun")


class Kept(Generic[Far]):
    """A training whose state is kept; recipes add their epochs.

    Args:
        learner: what is trained.
        course: the beginning.
        run: where the state goes.
        began: `time.perf_counter()` when this try began.
    """

    def __init__(self, learner: Learner, course: Far, run: Run, began: float) -> None:
        self.learner, self.course, self.run = learner, course, run
        self.best: dict[str, Any] = {}
        self._saved = self._began = began

    def restore(self) -> None:
        """Go on from the saved state."""
        state = self.run.load_state()
        if state is None:
            return
        tensors, facts = state
        self.course = _again(self.course, facts)
        self.learner.load(named(tensors, "net."), named(tensors, "adam."), facts["done"])
        self.best = named(tensors, "best.")
        note(f"Going on in epoch {self.course.epoch + 1}, after {self.course.batch} batches of it.")

    def stepped(self, seconds: float, progress: Meter, stop: Stop) -> None:
        """Count a step of this epoch; save now and then, or when somebody asked to stop.

        Raises:
            KeyboardInterrupt: somebody did; the state is saved.
        """
        self.course.batch += 1
        self.course.train_s += seconds
        progress.advance()
        if stop.asked:
            self.save()
            note("Saved; the same command with --resume goes on from here.")
            raise KeyboardInterrupt
        if time.perf_counter() - self._saved > _SAVE_EVERY:
            self.save()

    def keep_best(self) -> None:
        """These weights are the best so far."""
        self.best = {name: value.detach().clone() for name, value in self.learner.tensors().items()}

    def ended(self) -> None:
        """The last epoch is over: count the time since the last state."""
        self.course.wall_s += time.perf_counter() - self._began

    def waited(self, patience: int) -> bool:
        """Whether the best epoch is `patience` epochs ago or more."""
        course = self.course
        return course.epoch > 0 and course.epoch - 1 - course.best_epoch >= patience

    def measured(self, row: dict[str, Any]) -> None:
        """An epoch is over and measured: its row of the curve, and the state before the next."""
        self.course.curve.append(row)
        self.run.save_curve(self.course.curve)
        self.save()

    def save(self) -> None:
        """Replace the state: weights, best weights, optimizer, and how far it came."""
        now = time.perf_counter()
        self.course.wall_s += now - self._began
        self._began = self._saved = now
        tensors = {f"net.{name}": value for name, value in self.learner.tensors().items()}
        tensors |= {f"adam.{name}": value for name, value in memory(self.learner.optimizer).items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        self.run.save_state(tensors, {"course": asdict(self.course), "done": self.learner.done})


def taken_up(run: Run, resume: bool, begin: Begun) -> tuple[Begun, dict[str, Any]]:
    """How far an earlier try in steps came, with its tensors; the beginning without one.

    Args:
        run: where its state is.
        resume: whether to look.
        begin: the course at its beginning, a dataclass with `step`.
    """
    state = run.load_state() if resume else None
    if state is None:
        return begin, {}
    tensors, facts = state
    course: Any = _again(begin, facts)
    note(f"Going on after step {course.step}.")
    return course, tensors


def _again(begin: Begun, facts: dict[str, Any]) -> Begun:
    """The course that was saved.

    Raises:
        ForetasteError: another version saved it, whose courses hold other things.
    """
    try:
        return type(begin)(**facts["course"])
    except (TypeError, KeyError) as error:
        raise ForetasteError(
            "The state of this run was saved by another version of Foretaste; run the command "
            "without --resume to begin anew."
        ) from error


def named(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The tensors whose names begin so, without that beginning."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def memory(optimizer: Any) -> dict[str, Any]:
    """What an optimizer of torch remembers, as tensors by `number.name`."""
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, own in optimizer.state_dict()["state"].items()
        for name, value in own.items()
    }


def remember(optimizer: Any, kept: dict[str, Any]) -> None:
    """Give an optimizer what `memory` gave of one over the same parameters."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in kept.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
