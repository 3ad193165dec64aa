"""Settings of `finetune towers`, their presets, and what may be changed from the command line."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from foretaste.finetune.presets import configured

GROUP = "towers"  # of `--set towers.FIELD=VALUE`


class TowersConfig(BaseModel, frozen=True, extra="forbid"):
    """How the towers are built and trained.

    Attributes:
        dim: numbers in a vector.
        codes: user vectors (M).
        layers: causal transformer layers under the codes.
        heads: of these layers.
        newest: events of a history that are read.
        epochs: passes over all training events, at most.
        patience: epochs without a better validation NDCG@10 after which training ends.
        batch: events in a step.
        negatives: items drawn uniformly in a step; the step's own targets are negatives too.
        rate: learning rate at its peak; it warms up over the first twentieth and falls as a cosine.
        decay: weight decay.
        dropout: of behaviours.
        id_dropout: share of learned id parts that are hidden, so that text learns to stand alone.
        smoothing: label smoothing.
        window: the target of an event is one of its next `window`, drawn by 1 / distance.
        reverse: share of sequences that are read backwards.
        tag_weight, category_weight: of L_tag and L_cate beside L_col.
        tags: tags in the vocabulary, at most.
        words: whether words of titles have learned vectors, as categories and attributes have.
        validation_users: people whose validation item is ranked after each epoch.
        refit: whether the towers that are served are trained once more on all events, test and
            validation too; evaluations keep those that learnt from training events alone.
        threads: of torch; more than one only helps on cores that nobody else uses.
        seed: of weights, batches, negatives and dropout.
    """

    dim: int = Field(96, ge=2)
    codes: int = Field(4, ge=1)
    layers: int = Field(0, ge=0)
    heads: int = Field(2, ge=1)
    newest: int = Field(50, ge=1)
    epochs: int = Field(20, ge=1)
    patience: int = Field(4, ge=1)
    batch: int = Field(1024, ge=8)
    negatives: int = Field(1024, ge=1)
    rate: float = Field(2e-3, gt=0)
    decay: float = Field(0.01, ge=0)
    dropout: float = Field(0.2, ge=0, lt=1)
    id_dropout: float = Field(0.1, ge=0, le=1)
    smoothing: float = Field(0.0, ge=0, lt=1)
    window: int = Field(1, ge=1)
    reverse: float = Field(0.0, ge=0, le=1)
    tag_weight: float = Field(0.5, ge=0)
    category_weight: float = Field(0.5, ge=0)
    tags: int = Field(4000, ge=1)
    words: bool = True
    validation_users: int = Field(4000, ge=1)
    refit: bool = True
    threads: int = Field(1, ge=1)
    seed: int = 0


def load_config(preset: str = "cpu", changes: Sequence[str] = ()) -> TowersConfig:
    """The preset with every `towers.FIELD=VALUE` of `changes`.

    Raises:
        InputError: no such preset, or a change that is not one.
    """
    return configured(TowersConfig, "towers", GROUP, preset, changes)
