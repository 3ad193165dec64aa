"""Rows as tokens, and the order in which they are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foretaste.finetune.examples.rows import Row
from foretaste.finetune.language_model import IGNORED, encode


@dataclass(frozen=True)
class Tokens:
    """One row.

    Attributes:
        ids: tokens of prompt and answer.
        labels: the same where the answer is, `IGNORED` before.
        agent: whose row it is.
        stage: of the curriculum.
    """

    ids: list[int]
    labels: list[int]
    agent: str
    stage: int


def tokenised(rows: Sequence[Row], tokenizer: Any, longest: int) -> tuple[list[Tokens], int]:
    """Rows of at most `longest` tokens, and how many were longer."""
    made = []
    for row in rows:
        ids, labels = encode(tokenizer, row.messages)
        made.append(Tokens(ids, labels, row.agent, row.stage))
    fitting = [one for one in made if len(one.ids) <= longest]
    return fitting, len(made) - len(fitting)


def batches(rows: Sequence[Tokens], size: int, epochs: int, seed: int) -> list[list[int]]:
    """Places of rows, a list a step: of like length in a step, steps shuffled within each stage.

    The curriculum holds in the first epoch; later ones mix all stages.

    Args:
        rows: what is learnt.
        size: rows in a step; the last of a stage may have fewer.
        epochs: passes.
        seed: of the shuffling.
    """
    order: list[list[int]] = []
    for epoch in range(epochs):
        draw = np.random.default_rng([seed, epoch])
        stages = sorted({row.stage for row in rows}) if epoch == 0 else [None]
        for stage in stages:
            own = [n for n, row in enumerate(rows) if stage is None or row.stage == stage]
            mixed = [own[n] for n in draw.permutation(len(own))]
            mixed.sort(key=lambda n: len(rows[n].ids))
            steps = [mixed[at : at + size] for at in range(0, len(mixed), size)]
            order += [steps[n] for n in draw.permutation(len(steps))]
    return order


def padded(rows: Sequence[Tokens], pad: int) -> dict[str, Any]:
    """Rows as tensors: input_ids, attention_mask and labels, each (b, t), padded at the right."""
    import torch

    width = max(len(row.ids) for row in rows)
    return {
        "input_ids": torch.tensor([row.ids + [pad] * (width - len(row.ids)) for row in rows]),
        "attention_mask": torch.tensor(
            [[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows]
        ),
        "labels": torch.tensor(
            [row.labels + [IGNORED] * (width - len(row.labels)) for row in rows]
        ),
    }
