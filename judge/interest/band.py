"""Several models of one recipe, such as its seeds: which they are, and how far their figures lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretaste.data.errors import InputError
from foretaste.data.histories import Histories
from foretaste.serving.interest import Interest
from foretaste.serving.interest_folder import run_model
from foretaste.serving.rules.base import Scorer, Scores

METRICS = ("r@5", "n@5", "r@10", "n@10", "r@50", "r@200")
AGAINST = "against_order n@10"
METHODS = ("interest", "mix")


@dataclass(frozen=True)
class Named:
    """A scorer under another name: the same method from another model."""

    name: str
    scorer: Scorer

    def scores(self, histories: Histories) -> Scores:
        """(n, items) float32."""
        return self.scorer.scores(histories)


def saved_model(name: str) -> Path:
    """The folder that a finished training's name, or a path, means."""
    folder = Path(name).expanduser()
    return folder if folder.exists() else run_model(name)


def different(names: Sequence[str], models: Sequence[Interest]) -> None:
    """Raises `InputError` where two names mean one model, whose band would be too narrow."""
    for place, model in enumerate(models):
        for other in range(place):
            if np.array_equal(models[other].item_vectors, model.item_vectors):
                raise InputError(
                    f"--model {names[other]} and --model {names[place]} are the same model; a band "
                    "takes different ones."
                )


def band(methods: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Mean, least, most and standard deviation (n - 1) of each figure over several models.

    Args:
        methods: name → figures of a report; those of the second model are named `interest 2`.

    Returns:
        Method → `models` and, for each metric, its `mean`, `min`, `max`, `std`; empty with one model.

    >>> figures = dict.fromkeys(METRICS, 0.1) | {"against_order": {"n@10": None}}
    >>> other = figures | {"r@10": 0.3}
    >>> band({"interest": figures, "interest 2": other, "mix": figures})["interest"]["r@10"]
    {'mean': 0.2, 'min': 0.1, 'max': 0.3, 'std': 0.141421}
    """
    found: dict[str, dict[str, Any]] = {}
    for name in METHODS:
        own = [figures for key, figures in methods.items() if key.split(" ")[0] == name]
        if len(own) > 1:
            columns = {metric: [one[metric] for one in own] for metric in METRICS}
            columns[AGAINST] = [one["against_order"]["n@10"] for one in own]
            found[name] = {"models": len(own)} | {
                metric: _spread(values) for metric, values in columns.items() if None not in values
            }
    return found


def _spread(values: Sequence[float]) -> dict[str, float]:
    told: dict[str, float] = {
        "mean": float(np.mean(values)),
        "min": min(values),
        "max": max(values),
        "std": float(np.std(values, ddof=1)),
    }
    return {name: round(value, 6) for name, value in told.items()}
