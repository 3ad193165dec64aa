"""The networks that order the candidates of the mix, as they are saved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from foretaste.serving.rules.base import Constants

Floats = NDArray[np.float32]


class MixNet(BaseModel, frozen=True):
    """One small network: `w2 · tanh(W1 x + b1) + v · x`, x standardised features.

    Attributes:
        w1: (hidden, features).
        b1: (hidden,).
        w2: (hidden,).
        v: (features,).
    """

    w1: list[list[float]]
    b1: list[float]
    w2: list[float]
    v: list[float]

    def __call__(self, x: Floats) -> Floats:
        """(..., features) → (...,) float32."""
        given = {name: np.asarray(value, dtype=np.float32) for name, value in self}
        inner = np.tanh(x @ given["w1"].T + given["b1"])
        return np.asarray(inner @ given["w2"] + x @ given["v"], dtype=np.float32)


class MixRecord(BaseModel, frozen=True):
    """How the mix was fitted.

    Attributes:
        rule: the untrained rule that names candidates beside the model.
        constants: of every rule that is read.
        weight: of the model beside that rule, both z-scored.
        candidates: that are ordered.
        unseen: of the first ten places, how many (the last ones) are kept for items without any
            event, where there are some.
        mean, scale: (features,) of the features.
        nets: one a fold.
    """

    rule: str
    constants: dict[str, Constants]
    weight: float
    candidates: int
    unseen: int = 0
    mean: list[float] = []
    scale: list[float] = []
    nets: list[MixNet] = []
