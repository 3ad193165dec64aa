"""Settings of `finetune reward`, their presets, and what may be changed from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

from foretaste.finetune.presets import configured

GROUP = "reward"  # of `--set reward.FIELD=VALUE`


class RewardConfig(BaseModel, frozen=True, extra="forbid"):
    """How the reward model is made.

    Attributes:
        base: language model behind it.
        loss: `listwise` over the tiers of a group, or `pointwise` as the comparison.
        rank: of the LoRA adapter, on all linear layers of its blocks.
        blocks: of the decoder, from the top, that the adapter changes; backward ends below them.
        groups: groups that are learnt from, one of each user and persona, at most.
        validation_groups: groups of other users that choose the epoch, at most.
        each: answers of each tier in a group, at most.
        future: newest training events of a user that confirm tags; the history is what came before.
        epochs: passes over the groups, at most.
        patience: epochs without better pairwise accuracy after which training ends.
        batch: groups in a step.
        rate: learning rate at its peak; it warms up over the first twentieth and falls as a cosine.
        decay: weight decay.
        context_tokens, answer_tokens: what is read of a context and of an answer, at most.
        threads: of torch.
        seed: of weights, groups, order.
    """

    base: str = "bundled:smollm2-135m-instruct"
    loss: Literal["listwise", "pointwise"] = "listwise"
    rank: int = Field(8, ge=1, le=64)
    blocks: int = Field(8, ge=1)
    groups: int = Field(1500, ge=1)
    validation_groups: int = Field(200, ge=1)
    each: int = Field(4, ge=1)
    future: int = Field(4, ge=1)
    epochs: int = Field(2, ge=1)
    patience: int = Field(2, ge=1)
    batch: int = Field(8, ge=1)
    rate: float = Field(3e-4, gt=0)
    decay: float = Field(0.01, ge=0)
    context_tokens: int = Field(256, ge=8)
    answer_tokens: int = Field(48, ge=2)
    threads: int = Field(1, ge=1)
    seed: int = 0


def load_config(preset: str = "cpu", changes: Sequence[str] = ()) -> RewardConfig:
    """The preset with every `reward.FIELD=VALUE` of `changes`.

    Raises:
        InputError: no such preset, or a change that is not one.
    """
    return configured(RewardConfig, "reward", GROUP, preset, changes)
