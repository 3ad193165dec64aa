"""Settings of `finetune interest`, their presets, and what may be changed from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

from foretaste.data.splits import FittedOn
from foretaste.finetune.presets import configured

GROUP = "interest"  # of `--set interest.FIELD=VALUE`


class InterestConfig(BaseModel, frozen=True, extra="forbid"):
    """How the next-interest model is built and trained.

    Attributes:
        base: language model of the model store.
        layers: of it, from the first on.
        lora: rank of LoRA on these layers; 0 trains all their weights.
        dim: numbers in an item or interest vector.
        codes: interest vectors of a user (K).
        newest: events of a history that are read.
        split: what is learnt from and validated with.
        fitted_on: `train+validation` learns from the validation events too, `epochs` epochs without
            choosing one: for the second standard protocol.
        epochs: passes over all training events, at most.
        patience: epochs without a better validation NDCG@10 after which training ends.
        batch: events in a step.
        negatives: items drawn uniformly in a step; the step's own targets are negatives too.
        loss: of the action: `softmax` over the step's candidates, or KARMA's `pairwise` logistic.
        rate: learning rate of the item side and the codes at its peak; see `epochs.rate`.
        adaptor_rate: of the adaptor before and the heads behind the language model.
        model_rate: of the language model's layers.
        decay: weight decay.
        dropout: of behaviours and of h.
        id_dropout: share of learned id parts that are hidden, so that text learns to stand alone.
        signals: whether action, liking and time gap of events are read, where the data has them.
        signal_dropout: share of sequences whose signals are hidden, so that a history without any is
            read as well.
        smoothing: label smoothing of the softmax.
        window: the target of an event is one of its next `window`, drawn by 1 / distance.
        wish: share of steps in which a wish (a tag of the target) stands at the end of each sequence.
        generation, reconstruction: weights of the two knowledge losses; 0 leaves one out.
        knowledge_positions: positions of a step that they read.
        knowledge_words: tokens of the target's text that they say.
        knowledge_until: share of the training after which they are left out.
        words: whether words of titles have learned vectors, as categories and attributes have.
        tags: tags in the vocabulary of wishes, at most.
        unseen: of the first ten places of the mix, how many are kept for items without any event.
        validation_users: people whose validation item is ranked after each epoch.
        threads: of torch; more than one only helps on cores that nobody else uses.
        seed: of weights, batches, negatives and dropout.
    """

    base: str = "bundled:smollm2-135m-instruct"
    layers: int = Field(4, ge=1)
    lora: int = Field(0, ge=0)
    dim: int = Field(96, ge=2)
    codes: int = Field(2, ge=1)
    newest: int = Field(50, ge=2)
    split: Literal["leave-one-out", "temporal"] = "leave-one-out"
    fitted_on: FittedOn = "train"
    epochs: int = Field(4, ge=1)
    patience: int = Field(2, ge=1)
    batch: int = Field(1024, ge=8)
    negatives: int = Field(1024, ge=1)
    loss: Literal["softmax", "pairwise"] = "softmax"
    rate: float = Field(2e-3, gt=0)
    adaptor_rate: float = Field(1e-3, gt=0)
    model_rate: float = Field(2e-4, gt=0)
    decay: float = Field(0.01, ge=0)
    dropout: float = Field(0.3, ge=0, lt=1)
    id_dropout: float = Field(0.1, ge=0, le=1)
    signals: bool = False
    signal_dropout: float = Field(0.2, ge=0, le=1)
    smoothing: float = Field(0.0, ge=0, lt=1)
    window: int = Field(1, ge=1)
    wish: float = Field(0.1, ge=0, le=1)
    generation: float = Field(0.0, ge=0)
    reconstruction: float = Field(0.0, ge=0)
    knowledge_positions: int = Field(48, ge=1)
    knowledge_words: int = Field(12, ge=1)
    knowledge_until: float = Field(1.0, ge=0, le=1)
    words: bool = True
    tags: int = Field(4000, ge=1)
    unseen: int = Field(0, ge=0, lt=10)
    validation_users: int = Field(4000, ge=1)
    threads: int = Field(1, ge=1)
    seed: int = 0


def load_config(preset: str = "cpu", changes: Sequence[str] = ()) -> InterestConfig:
    """The preset with every `interest.FIELD=VALUE` of `changes`.

    Raises:
        InputError: no such preset, or a change that is not one.
    """
    return configured(InterestConfig, "interest", GROUP, preset, changes)
