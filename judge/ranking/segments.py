"""Parts of the test cases that tell where a figure comes from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foretaste.data.dataset import Dataset
from foretaste.data.histories import Histories
from foretaste.data.splits import Cases
from foretaste.serving.rules.base import popularity

Mask = NDArray[np.bool_]
_DAY = 86_400  # seconds
HEAD = 0.8  # quantile of the items' counts from which on an item belongs to the head


def segments(dataset: Dataset, cases: Cases, fitted: Histories) -> dict[str, Mask]:
    """Name → (n,) which cases belong to it; docs/protocol.md defines each."""
    counts = popularity(fitted, len(dataset.item_ids))  # (items,)
    own = counts[cases.targets]  # (n,)
    head = (own > 0) & (own >= np.quantile(counts, HEAD))
    found = {
        "against_order": against_order(dataset.item_ids, cases),
        "head": head,
        "tail": (own > 0) & ~head,
        "cold": own == 0,
    }
    return found if dataset.info.order_only else found | {"new_day": _new_day(dataset, cases)}


def against_order(item_ids: list[str], cases: Cases) -> Mask:
    """(n,) the target's id sorts before that of the newest item in the history.

    Catalogues are often sorted by id and logs by catalogue within a day: a method that gains
    only where the next id is larger has learnt that order and nothing else.
    """
    place = np.empty(len(item_ids), dtype=np.int64)
    place[np.argsort(np.array(item_ids, dtype=np.str_), kind="stable")] = np.arange(len(item_ids))
    before, some = _newest(cases)
    found = np.zeros(len(cases), dtype=bool)
    found[some] = place[cases.targets[some]] < place[before]
    return found


def _new_day(dataset: Dataset, cases: Cases) -> Mask:
    """(n,) the target's day (UTC) is not that of the newest event in the history."""
    first = dataset.histories.offsets[cases.users]
    lengths = cases.histories.lengths
    some = lengths > 0
    target = (first + lengths)[some]  # histories are beginnings: what follows is the target's time
    days = dataset.times // _DAY
    found = np.zeros(len(cases), dtype=bool)
    found[some] = days[target] != days[target - 1]
    return found


def _newest(cases: Cases) -> tuple[NDArray[np.int32], Mask]:
    """The newest item of each history that is not empty, and which those are."""
    some = cases.histories.lengths > 0
    return cases.histories.rows[cases.histories.offsets[1:][some] - 1], some
