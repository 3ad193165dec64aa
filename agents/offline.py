"""The graph on its grounded fallbacks as scorers of all items, for evaluation without a model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.contexts.context import Reader
from foretaste.agents.objects import HistoryEvent, Tag, UserContext
from foretaste.agents.ranking.ranker import rank
from foretaste.agents.reasoning import modes
from foretaste.agents.retrieval import channels
from foretaste.agents.retrieval.tools import Tools
from foretaste.data.histories import Histories

PAGE = 10  # places of the page that is scored


class Grounded:
    """The grounded planner, experts and arbiter, asked once for each history.

    Args:
        tools: of the graph; its rule fitted on training events.
        keep: whether items of the history may be recommended again.
    """

    def __init__(self, tools: Tools, keep: bool) -> None:
        self.tools, self.keep = tools, keep
        self._known: dict[bytes, channels.Found] = {}

    def reader(self, rows: NDArray[np.int32]) -> Reader:
        """A reader of a bare history."""
        allowed = np.ones(len(self.tools.vectors), dtype=bool)
        if not self.keep:
            allowed[rows] = False
        dataset = self.tools.dataset
        events = tuple(
            HistoryEvent(item_id=dataset.item_ids[row], title=dataset.titles[row]) for row in rows
        )
        return Reader(UserContext(user_id=None, events=events), rows, allowed)

    def found(self, rows: NDArray[np.int32]) -> channels.Found:
        """What the kept tags of this history find."""
        key = rows.tobytes()
        if key not in self._known:
            reader = self.reader(rows)
            tags = kept_tags(self.tools, reader)
            self._known[key] = channels.by_tags(self.tools, reader, tags)
        return self._known[key]


class TagChannel:
    """The tags channel alone: clusters → tags → joint choice → search.

    Items that no kept tag finds get the lowest score, all alike.
    """

    name = "tags_grounded"

    def __init__(self, grounded: Grounded) -> None:
        self.grounded = grounded

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        """(n, items) float32, the reciprocal rank of every item that was found, else 0."""
        return _scores(histories, self.grounded, lambda rows: self.grounded.found(rows).rows)


class Page:
    """The page that is served: collaborative rule and tags, fused, a share kept for exploration."""

    name = "page_grounded"

    def __init__(self, grounded: Grounded) -> None:
        self.grounded = grounded

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        """(n, items) float32, the reciprocal rank on a page of ten; off the page 0."""
        return _scores(histories, self.grounded, self._page)

    def _page(self, rows: NDArray[np.int32]) -> list[int]:
        tools, reader = self.grounded.tools, self.grounded.reader(rows)
        found = [channels.collaborative(tools, reader), self.grounded.found(rows)]
        page = rank(tools, channels.merge(tools, found), PAGE)
        return [tools.dataset.row_of[one.item_id] for one in page]


def kept_tags(tools: Tools, reader: Reader) -> list[Tag]:
    """The tags that the grounded planner, experts and arbiter keep for this person."""
    _, verdicts = modes.grounded(tools, reader, "hierarchical")
    return [verdict.tag for verdict in verdicts if verdict.kept]


def _scores(
    histories: Histories, grounded: Grounded, listed: Callable[[NDArray[np.int32]], list[int]]
) -> NDArray[np.float32]:
    """(n, items) float32, one over the place in each history's list, 0 off it."""
    out = np.zeros((len(histories), len(grounded.tools.vectors)), dtype=np.float32)
    for number, rows in enumerate(histories):
        places = listed(rows)
        out[number, places] = 1 / np.arange(1, len(places) + 1)
    return out
