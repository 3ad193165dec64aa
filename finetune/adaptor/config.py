"""Settings of `finetune adaptor`, their presets, and what may be changed from the command line."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from foretaste.finetune.presets import configured

GROUP = "adaptor"  # of `--set adaptor.FIELD=VALUE`


class AdaptorConfig(BaseModel, frozen=True, extra="forbid"):
    """How an adaptor is built and trained. RecGPT-V2 publishes none of these.

    Attributes:
        hidden: numbers in the hidden layer (d_hidden).
        start: items that the starting point is fitted on.
        epochs: stretches of training, each followed by validation.
        steps: in an epoch.
        tokens: positions that the language model reads in a step, about.
        rate: learning rate at its peak; it warms up over the first twentieth and falls as a cosine.
        decay: weight decay.
        entities: items that one question about the catalogue names, at most.
        short: share of entities written by their short name, as compressed histories write them.
        alignment: share of steps that align with the teacher; the others ask about the catalogue.
        histories: training histories whose prompts the teacher answers.
        events: newest events of such a history, at most.
        answer_tokens: of a teacher's answer that are learnt from.
        hidden_weight: of the teacher's hidden states beside its distributions.
        held_out: share of items and of histories that validation alone sees.
        questions: validation questions.
        threads: of torch; more than one only helps on cores that nobody else uses.
        seed: of weights, questions and batches.
    """

    hidden: int = Field(1024, ge=2)
    start: int = Field(4000, ge=1)
    epochs: int = Field(12, ge=1)
    steps: int = Field(50, ge=1)
    tokens: int = Field(1000, ge=1)
    rate: float = Field(1e-3, gt=0)
    decay: float = Field(0.01, ge=0)
    entities: int = Field(6, ge=1)
    short: float = Field(0.25, ge=0, le=1)
    alignment: float = Field(0.4, ge=0, le=1)
    histories: int = Field(96, ge=2)
    events: int = Field(16, ge=1)
    answer_tokens: int = Field(96, ge=1)
    hidden_weight: float = Field(1.0, ge=0)
    held_out: float = Field(0.1, gt=0, lt=1)
    questions: int = Field(24, ge=1)
    threads: int = Field(1, ge=1)
    seed: int = 0


def load_config(preset: str = "cpu", changes: Sequence[str] = ()) -> AdaptorConfig:
    """The preset with every `adaptor.FIELD=VALUE` of `changes`.

    Raises:
        InputError: no such preset, or a change that is not one.
    """
    return configured(AdaptorConfig, "adaptor", GROUP, preset, changes)
