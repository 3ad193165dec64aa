"""Settings of `finetune sft` and their presets."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from foretaste.finetune.language_model import LoraSettings
from foretaste.finetune.presets import configured

GROUP = "sft"  # of `--set sft.FIELD=VALUE`


class SftConfig(BaseModel, frozen=True, extra="forbid"):
    """How a model learns the rows.

    Attributes:
        model: base model, by bundled name, folder, GGUF file or hub id.
        kind: number format of the frozen weights; `auto` lets a probe decide.
        rank, alpha, dropout, targets: of the LoRA, see `LoraSettings`.
        epochs: passes over the rows.
        minutes: of training at most; the steps are cut to what the probe says fits. 0 for no limit.
        batch: rows in a step.
        tokens: longest row that is learnt; longer ones are left out and counted.
        rate: learning rate at its peak; it warms up over the first twentieth and falls as a cosine.
        decay: weight decay.
        validations: how often the validation loss is measured, evenly spread.
        validation_rows: rows that it is measured on, at most.
        save_s: seconds between two states.
        threads: of torch.
        seed: of the LoRA and of the order.
    """

    model: str = "bundled:smollm2-135m-instruct"
    kind: str = Field("auto", pattern="^(auto|bfloat16|float32)$")
    rank: int = Field(8, ge=1, le=256)
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: str = "all-linear"
    epochs: int = Field(1, ge=1)
    minutes: float = Field(0, ge=0)
    batch: int = Field(8, ge=1)
    tokens: int = Field(1024, ge=16)
    rate: float = Field(1e-3, gt=0)
    decay: float = Field(0.0, ge=0)
    validations: int = Field(4, ge=1)
    validation_rows: int = Field(48, ge=1)
    save_s: float = Field(60.0, gt=0)
    threads: int = Field(1, ge=1)
    seed: int = 0

    def lora(self) -> LoraSettings:
        """What is trained."""
        return LoraSettings(
            rank=self.rank, alpha=self.alpha, dropout=self.dropout, targets=self.targets
        )


def load_config(preset: str = "cpu", changes: Sequence[str] = ()) -> SftConfig:
    """The preset with every `sft.FIELD=VALUE` of `changes`.

    Raises:
        InputError: no such preset, or a change that is not one.
    """
    return configured(SftConfig, "sft", GROUP, preset, changes)
