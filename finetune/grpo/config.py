"""Settings of `finetune grpo`, their presets, and what may be changed from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field, model_validator

from foretaste.finetune.presets import configured

GROUP = "grpo"  # of `--set grpo.FIELD=VALUE`


class GrpoConfig(BaseModel, frozen=True, extra="forbid"):
    """How the experts are reinforced. RecGPT-V2 leaves group size, KL weight and τ unpublished.

    Attributes:
        base: the model under the adapter; the adapter's own record decides when empty.
        combine: `crs` (constrained reward shaping) or `sum` (weighted sum).
        prompts: prompts that are sampled from, one of each person.
        validation_prompts: prompts of other people; the mean reward on them chooses the checkpoint.
        test_prompts: prompts of still other people, asked once at the end: the start against the best.
        future: newest training events of a person that say what was right.
        group: answers to one prompt.
        batch_prompts: prompts of one step.
        micro: answers that go through the network together.
        steps: optimizer steps.
        validate_every: steps between two validations.
        save_every: steps between two states.
        rate: learning rate, constant after two steps.
        beta: weight of the KL term to the first model.
        temperature: of the sampling.
        max_tokens: tokens of an answer, at most.
        blocks: of the decoder, from the top, whose LoRA is trained; 0 trains all of it.
        quantile: τ of the gates: this quantile of what the first model earns.
        threshold_prompts: prompts whose answers of the first model set τ.
        accuracy, alignment, diversity, length: weights of SUM.
        full_low, full_high, half_low, half_high: words of a tag that earn R_len 1 and 0.5.
        alarm_kl, alarm_entropy, alarm_rubbish: see `alarm.Limits`.
        merged: sample from a copy of the model with the LoRA added in: faster, twice the memory.
        report: `tensorboard` or `trackio` to log there too; `curve.json` is always written.
        threads: of torch.
        seed: of prompts and sampling.
    """

    base: str = ""
    combine: Literal["crs", "sum"] = "crs"
    prompts: int = Field(128, ge=1)
    validation_prompts: int = Field(32, ge=1)
    test_prompts: int = Field(64, ge=1)
    future: int = Field(6, ge=1)
    group: int = Field(8, ge=2)
    batch_prompts: int = Field(4, ge=1)
    micro: int = Field(16, ge=1)
    steps: int = Field(40, ge=1)
    validate_every: int = Field(5, ge=1)
    save_every: int = Field(5, ge=1)
    rate: float = Field(1e-4, gt=0)
    beta: float = Field(0.02, ge=0)
    temperature: float = Field(1.0, gt=0)
    max_tokens: int = Field(150, ge=8)
    blocks: int = Field(0, ge=0)
    quantile: float = Field(0.2, ge=0, le=1)
    threshold_prompts: int = Field(16, ge=1)
    accuracy: float = 1.0
    alignment: float = 0.3
    diversity: float = 0.3
    length: float = 0.1
    full_low: int = Field(2, ge=1)
    full_high: int = Field(4, ge=1)
    half_low: int = Field(1, ge=1)
    half_high: int = Field(6, ge=1)
    alarm_kl: float = Field(1.0, gt=0)
    alarm_entropy: float = Field(0.2, ge=0, le=1)
    alarm_rubbish: float = Field(0.25, gt=0)
    merged: bool = True
    report: Literal["", "tensorboard", "trackio"] = ""
    threads: int = Field(1, ge=1)
    seed: int = 0

    @model_validator(mode="after")
    def _whole_batches(self) -> GrpoConfig:
        if self.group * self.batch_prompts % self.micro:
            raise ValueError("group times batch_prompts must be a multiple of micro")
        return self

    @property
    def full(self) -> tuple[int, int]:
        """Words of a tag that earn 1."""
        return self.full_low, self.full_high

    @property
    def half(self) -> tuple[int, int]:
        """Words of a tag that earn 0.5."""
        return self.half_low, self.half_high

    def weights(self) -> dict[str, float]:
        """Weights of the rewards in SUM."""
        names = ("accuracy", "alignment", "diversity", "length")
        return {name: float(getattr(self, name)) for name in names}


def load_config(preset: str = "cpu", changes: Sequence[str] = ()) -> GrpoConfig:
    """The preset with every `grpo.FIELD=VALUE` of `changes`.

    Raises:
        InputError: no such preset, or a change that is not one.
    """
    return configured(GrpoConfig, "grpo", GROUP, preset, changes)
