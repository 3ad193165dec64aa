"""Trained scorers of a data set, for tables and channels; torch is loaded only when there are any."""

from __future__ import annotations

from foretaste.data.dataset import Dataset
from foretaste.data.files import home, safe_name
from foretaste.data.histories import Histories
from foretaste.serving.rules.base import Scorer

TRAINED = ("towers", "towers_mix")


def trained(dataset: Dataset, fitted: Histories, rule: Scorer) -> list[Scorer]:
    """The towers that learnt from exactly these events, alone and beside the rule they were
    weighed against; nothing when there are none.

    Args:
        dataset: its catalogue must be the one they were trained on.
        fitted: what the other methods are fitted on.
        rule: the best untrained rule.
    """
    if not (home() / "towers" / safe_name(dataset.name)).exists():
        return []
    from foretaste.serving.towers import load_towers

    towers = load_towers(dataset, fitted=fitted)
    if towers is None:
        return []
    return [towers, towers.beside(rule)] if towers.record.rule == rule.name else [towers]
