"""Between steps of reinforcement: curves, validation, the alarm, states, and stopping when asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from transformers import TrainerCallback

from foretaste.data.progress import Meter
from foretaste.finetune.grpo.alarm import Alarm, Limits
from foretaste.finetune.grpo.config import GrpoConfig
from foretaste.finetune.language_model import Loaded, load_lora_state, lora_state
from foretaste.finetune.runs import Run, Stop
from foretaste.finetune.states import memory, named, remember

_LOGGED = {  # TRL's name → ours
    "kl": "kl",
    "entropy": "entropy",
    "frac_reward_zero_std": "zero_variance",
    "completions/mean_length": "completion_tokens",
    "completions/clipped_ratio": "cut_off",
    "reward_std": "reward_std",
    "grad_norm": "gradient",
}


@dataclass
class Course:
    """How far a training came.

    Attributes:
        step: steps done.
        thresholds: τ of the gates.
        best_step: the one with the best validation reward, -1 before the first was measured.
        best: that reward.
        ended: why it ended before its last step; empty when it did not.
        first, heard: what the alarm knows.
        tokens, rollout_s: answer tokens sampled in steps, and the wall seconds of that.
        wall_s: wall seconds of everything, all tries together.
        validation: one row a validation, the first of the start.
        curve: one row a step.
    """

    step: int = 0
    thresholds: dict[str, float] = field(default_factory=dict)
    best_step: int = -1
    best: float = float("-inf")
    ended: str = ""
    first: dict[str, float] = field(default_factory=dict)
    heard: list[dict[str, float]] = field(default_factory=list)
    tokens: int = 0
    rollout_s: float = 0.0
    wall_s: float = 0.0
    validation: list[dict[str, Any]] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)

    def best_row(self) -> dict[str, Any]:
        """The validation of the best step."""
        return next(row for row in self.validation if row["step"] == self.best_step)


class Keeper(TrainerCallback):  # type: ignore[misc]
    """The callback of TRL's trainer.

    Args:
        loaded: the policy.
        config: settings.
        run: where states go.
        course: how far it came.
        stop: whether somebody asked.
        progress: is advanced.
        measure: the validation of the policy as it is now.
        main: whether this process writes; of several, one does.
    """

    def __init__(
        self,
        loaded: Loaded,
        config: GrpoConfig,
        run: Run,
        course: Course,
        stop: Stop,
        progress: Meter,
        measure: Callable[[], dict[str, float]],
        main: bool = True,
    ) -> None:
        self.loaded, self.config, self.run, self.course = loaded, config, run, course
        self.stop, self.progress, self.measure, self.main = stop, progress, measure, main
        self.best: dict[str, Any] = {}
        self.step_figures: dict[str, float] = {}
        self.optimizer: Any = None
        self.interrupted = False
        limits = Limits(config.alarm_kl, config.alarm_entropy, config.alarm_rubbish)
        self.alarm = Alarm(limits)
        self.alarm.first = course.first
        self.alarm.heard.extend(course.heard)
        self._began = time.perf_counter()

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Measure the start, which everything is compared with."""
        if not self.course.validation:
            self.validate()

    def on_step_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """What is drawn in a step depends on seed and step alone."""
        torch.manual_seed(self.step_seed())

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Count the step; its figures follow in `on_log`."""
        self.course.step += 1
        self.progress.advance()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any], **given: Any
    ) -> Any:
        """One row of the curve; measure, hear the alarm, save or stop where it is time."""
        course, config = self.course, self.config
        if "reward" not in logs:  # the closing line of TRL
            return control
        self._hear(self._row(logs))
        if course.step % config.validate_every == 0 or course.step == config.steps:
            self.validate()
        if course.step % config.save_every == 0 or self.stop.asked or course.ended:
            self.save()
        self.interrupted = self.stop.asked
        control.should_training_stop = bool(self.stop.asked or course.ended)
        return control

    def _row(self, logs: dict[str, Any]) -> dict[str, Any]:
        """What TRL and the scoring say of the step that is over."""
        told = {ours: logs[name] for name, ours in _LOGGED.items() if logs.get(name) is not None}
        row = {"step": self.course.step, **self.step_figures, **told}
        self.course.curve.append(row)
        return row

    def _hear(self, row: dict[str, Any]) -> None:
        """Let the alarm hear a step."""
        names = ("kl", "entropy", "invalid", "duplicates")
        wrong = self.alarm.hear(**{name: float(row.get(name, 0.0)) for name in names})
        self.course.first, self.course.heard = self.alarm.first, list(self.alarm.heard)
        if wrong:
            self.course.ended = f"alarm: {wrong}"
            self.progress.say(f"step {row['step']}: {wrong}; the best checkpoint is kept")

    def step_seed(self) -> int:
        """Seed of everything that is drawn in the step under way."""
        return (self.config.seed + 1) * 1_000_003 + self.course.step * 1_009

    def validate(self) -> None:
        """Measure the policy, and keep its weights when it is the best so far."""
        course, found = self.course, self.measure()
        course.validation.append({"step": course.step, **found})
        if found["reward"] > course.best:
            course.best, course.best_step = found["reward"], course.step
            self.best = lora_state(self.loaded.model)
        self.progress.say(
            f"step {course.step}: validation reward {found['reward']:.3f}, accuracy "
            f"{found['accuracy']:.3f}, gates {found['gate/all']:.2f}, invalid {found['invalid']:.2f}"
        )

    def save(self) -> None:
        """Replace the state: weights, best weights, optimizer, and how far it came."""
        if not self.main:
            return
        now = time.perf_counter()
        self.course.wall_s += now - self._began
        self._began = now
        tensors = {f"net.{name}": value for name, value in lora_state(self.loaded.model).items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors |= {f"adam.{name}": value for name, value in memory(self.optimizer).items()}
        self.run.save_curve([*self.course.curve, *self.course.validation])
        self.run.save_state(tensors, {"course": asdict(self.course)})


def restore(loaded: Loaded, keeper: Keeper, tensors: dict[str, Any]) -> None:
    """Put back weights, best weights and what the optimizer remembers."""
    load_lora_state(loaded.model, named(tensors, "net."))
    keeper.best = named(tensors, "best.")
    remember(keeper.optimizer, named(tensors, "adam."))
