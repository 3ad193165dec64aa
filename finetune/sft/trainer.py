"""TRL's SFT trainer, with logits at answers alone, whole states and the best weights by validation.

The rows come in the order of `data.batches`, already in batches of like length, so the trainer reads
them as they stand; going on means to read what is left of them with weights and optimizer put back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset as Table
from transformers import TrainerCallback
from trl import SFTConfig as TrlConfig
from trl import SFTTrainer

from foretaste.data.progress import Meter
from foretaste.finetune.language_model import (
    Loaded,
    answer_loss,
    lora_state,
)
from foretaste.finetune.runs import Run, Stop
from foretaste.finetune.sft.config import SftConfig
from foretaste.finetune.sft.data import Tokens, padded
from foretaste.finetune.states import memory

WARM = 20  # the rate rises over the first 1/WARM of the steps


@dataclass
class Course:
    """How far a training came.

    Attributes:
        step: steps done.
        steps: steps of the whole training.
        best_step: the one with the lowest validation loss, -1 before the first.
        best: that loss.
        wall_s, train_s: wall seconds of everything and of steps alone, all tries together.
        tokens: tokens read in training.
        loss, counted: sum of answer losses and answer tokens since the last row of the curve.
        curve: one row a validation.
    """

    step: int = 0
    steps: int = 0
    best_step: int = -1
    best: float = math.inf
    wall_s: float = 0.0
    train_s: float = 0.0
    tokens: int = 0
    loss: float = 0.0
    counted: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)


class AnswerTrainer(SFTTrainer):  # type: ignore[misc]
    """SFTTrainer whose loss is the mean over the answers' tokens of a step.

    Args:
        loaded: the model with its tokenizer.
        course: is brought up to date.
        given: the other arguments of SFTTrainer.
    """

    def __init__(self, loaded: Loaded, course: Course, **given: Any) -> None:
        super().__init__(model=loaded.model, processing_class=loaded.tokenizer, **given)
        self.loaded, self.course = loaded, course

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """The mean -log p of the answers' tokens."""
        with autocast(self.loaded):
            total, count = answer_loss(self.accelerator.unwrap_model(model), inputs)
        self.course.loss += float(total.detach())
        self.course.counted += count
        self.course.tokens += int(inputs["attention_mask"].sum())
        loss = total / max(count, 1)
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Nothing: the curve is kept by `Keeper`."""


class Keeper(TrainerCallback):  # type: ignore[misc]
    """Between steps: progress, validation, states, and stopping when somebody asks.

    Args:
        loaded: model and tokenizer.
        config: settings.
        run: where states go.
        course: how far it came, and of how many steps.
        held: validation rows.
        stop: whether somebody asked.
        progress: is advanced.
    """

    def __init__(
        self,
        loaded: Loaded,
        config: SftConfig,
        run: Run,
        course: Course,
        held: Sequence[Tokens],
        stop: Stop,
        progress: Meter,
    ) -> None:
        self.loaded, self.config, self.run, self.course = loaded, config, run, course
        self.held, self.stop, self.progress = held, stop, progress
        self.best: dict[str, Any] = {}
        self.optimizer: Any = None
        self.interrupted = False
        self._began = self._saved = self._stepped = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> Any:
        """Count the step; measure, save or stop where it is time."""
        course = self.course
        course.step += 1
        course.train_s += time.perf_counter() - self._stepped
        self.progress.advance()
        if course.step in self.marks():
            self.measure()
        elif time.perf_counter() - self._saved > self.config.save_s or self.stop.asked:
            self.save()
        if self.stop.asked:
            self.interrupted = True
            control.should_training_stop = True
        self._stepped = time.perf_counter()
        return control

    def marks(self) -> set[int]:
        """Steps after which the validation loss is measured; the last is one."""
        count = self.config.validations
        return {max(1, round(self.course.steps * (n + 1) / count)) for n in range(count)}

    def measure(self) -> None:
        """Validate, keep the best weights, write the curve and the state."""
        course = self.course
        found = validation_loss(self.loaded, self.held, self.config.batch)
        if found["loss"] < course.best:
            course.best, course.best_step = found["loss"], course.step
            self.best = lora_state(self.loaded.model)
        learnt = course.loss / max(course.counted, 1)
        course.curve.append({"step": course.step, "train": learnt, **found})
        course.loss, course.counted = 0.0, 0
        self.progress.say(f"step {course.step}: train {learnt:.3f}, validation {found['loss']:.3f}")
        self.run.save_curve(course.curve)
        self.save()

    def save(self) -> None:
        """Replace the state: weights, best weights, optimizer, and how far it came."""
        now = time.perf_counter()
        self.course.wall_s += now - self._began
        self._began = self._saved = now
        tensors = {f"net.{name}": value for name, value in lora_state(self.loaded.model).items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors |= {f"adam.{name}": value for name, value in memory(self.optimizer).items()}
        self.run.save_state(tensors, {"course": asdict(self.course)})


def validation_loss(loaded: Loaded, held: Sequence[Tokens], batch: int) -> dict[str, float]:
    """Mean -log p of the answers' tokens over all validation rows, and of each agent's."""
    totals: dict[str, list[float]] = {}
    loaded.model.eval()
    with torch.no_grad(), autocast(loaded):
        for agent in sorted({row.agent for row in held}):
            own = sorted((row for row in held if row.agent == agent), key=lambda r: len(r.ids))
            for at in range(0, len(own), batch):
                made = padded(own[at : at + batch], loaded.tokenizer.pad_token_id)
                inputs = {key: value.to(loaded.model.device) for key, value in made.items()}
                loss, count = answer_loss(loaded.model, inputs)
                sums = totals.setdefault(agent, [0.0, 0.0])
                sums[0] += float(loss)
                sums[1] += count
    loaded.model.train()
    whole = [sum(part) for part in zip(*totals.values(), strict=True)]
    return {"loss": whole[0] / whole[1]} | {
        f"loss_{agent}": loss / count for agent, (loss, count) in totals.items()
    }


def autocast(loaded: Loaded) -> Any:
    """Matrix products in the weights' own format; the LoRA stays in float32."""
    half = loaded.kind == "bfloat16"
    return torch.autocast(loaded.model.device.type, dtype=torch.bfloat16, enabled=half)


def adam(loaded: Loaded, config: SftConfig) -> torch.optim.Optimizer:
    """AdamW over the LoRA."""
    learnt = [value for value in loaded.model.parameters() if value.requires_grad]
    return torch.optim.AdamW(learnt, lr=config.rate, weight_decay=config.decay)


def rate(step: int, steps: int) -> float:
    """Share of the learning rate at a step: a rise over the first twentieth, then a cosine.

    >>> rate(0, 100), rate(5, 100)
    (0.2, 1.0)
    """
    rise = max(1, steps // WARM)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(steps - rise, 1)))


def build(
    loaded: Loaded,
    config: SftConfig,
    rows: Sequence[Tokens],
    order: Sequence[Sequence[int]],
    keeper: Keeper,
    folder: Path,
) -> AnswerTrainer:
    """The trainer over the steps of `order` that are not done yet."""
    course, steps = keeper.course, len(order)
    keeper.optimizer = optimizer = adam(loaded, config)
    done, left = course.step, order[course.step :]
    table = Table.from_dict(  # one entry a step
        {
            "input_ids": [[rows[place].ids for place in step] for step in left],
            "labels": [[rows[place].labels for place in step] for step in left],
        }
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(done + step, steps))
    cpu = not torch.cuda.is_available()
    arguments = TrlConfig(
        output_dir=str(folder),
        use_cpu=cpu,
        bf16=False,  # `autocast` sees to it
        per_device_train_batch_size=1,
        num_train_epochs=1,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="sequential",
        gradient_checkpointing=False,
        max_grad_norm=1.0,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=config.seed,
        dataloader_pin_memory=not cpu,
    )
    pad = loaded.tokenizer.pad_token_id
    return AnswerTrainer(
        loaded,
        course,
        args=arguments,
        train_dataset=table,
        data_collator=lambda entries: _step(entries, pad),
        optimizers=(optimizer, schedule),
        callbacks=[keeper],
    )


def _step(entries: Sequence[dict[str, Any]], pad: int) -> dict[str, Any]:
    """The rows of one step as tensors."""
    (entry,) = entries
    pairs = zip(entry["input_ids"], entry["labels"], strict=True)
    return padded([Tokens(list(ids), list(labels), "", 0) for ids, labels in pairs], pad)
