"""The graph's channels as scorers of all items, without the language model, for evaluation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foretaste.agents import arbiter, channels, expert, planner
from foretaste.agents.context import Reader
from foretaste.agents.objects import HistoryEvent, UserContext
from foretaste.agents.tools import Tools
from foretaste.data.histories import Histories


class TagChannel:
    """The tags channel on its grounded fallbacks: clusters → tags → joint choice → search.

    Items that no kept tag finds get the lowest score, all alike.
    """

    name = "tags_grounded"

    def __init__(self, tools: Tools) -> None:
        self.tools = tools

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        """(n, items) float32, the fused reciprocal rank of every item."""
        out = np.zeros((len(histories), len(self.tools.vectors)), dtype=np.float32)
        for number, rows in enumerate(histories):
            kept = kept_tags(self.tools, self._reader(rows))
            found = channels.by_tags(self.tools, self._reader(rows), kept)
            places = np.arange(1, len(found.rows) + 1)
            out[number, found.rows] = 1 / (channels.FUSION + places)
        return out

    def _reader(self, rows: NDArray[np.int32]) -> Reader:
        """A reader of a bare history; the history is not recommended again."""
        allowed = np.ones(len(self.tools.vectors), dtype=bool)
        allowed[rows] = False
        ids = self.tools.dataset.item_ids
        events = tuple(
            HistoryEvent(item_id=ids[row], title=self.tools.dataset.titles[row]) for row in rows
        )
        return Reader(UserContext(user_id=None, events=events), rows, allowed)


def kept_tags(tools: Tools, reader: Reader) -> list[str]:
    """The tags that the grounded planner, experts and arbiter keep for this person."""
    proposed = [
        tag
        for number, persona in enumerate(planner.clustered(tools, reader))
        for tag in expert.grounded_tags(tools, reader, persona, number)
    ]
    unique, _ = arbiter.without_repeats(proposed)
    if not unique:
        return []
    return [verdict.tag.text for verdict in arbiter.chosen(tools, reader, unique) if verdict.kept]
