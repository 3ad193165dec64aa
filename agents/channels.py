"""Where candidates come from: each channel names the items it would show, best first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foretaste.agents.context import Reader
from foretaste.agents.objects import Candidate
from foretaste.agents.tools import Tools
from foretaste.data.histories import Histories
from foretaste.serving.index.base import Hits
from foretaste.serving.index.fusion import reciprocal_rank


@dataclass(frozen=True)
class Found:
    """What one channel found.

    Attributes:
        channel: its name.
        rows: item rows, best first.
        tags: row → the tags that found it, for the channels that search by tag.
    """

    channel: str
    rows: list[int]
    tags: dict[int, tuple[str, ...]]


def by_tags(tools: Tools, reader: Reader, tags: list[str]) -> Found:
    """The agents' channel: every kept tag searches the index; the lists are fused by rank."""
    return _search(tools, reader, "tags", tags, keep=True)


def by_wish(tools: Tools, reader: Reader) -> Found:
    """The wish itself searches the index."""
    wishes = [reader.context.wish] if reader.context.wish else []
    return _search(tools, reader, "wish", wishes, keep=False)


def collaborative(tools: Tools, reader: Reader) -> Found:
    """The best untrained rule of this data set; for an empty history what is popular."""
    histories = Histories.from_lists([reader.rows.tolist()])
    scores = tools.rule.scores(histories)[0].astype(np.float64)  # (items,)
    scores[~reader.allowed] = -np.inf
    count = min(tools.config.candidates, int(reader.allowed.sum()))
    best = np.argpartition(-scores, count - 1)[:count]
    rows = best[np.argsort(-scores[best], kind="stable")]
    name = "collaborative" if len(reader.rows) else "popular"
    return Found(name, [int(row) for row in rows], {})


def merge(tools: Tools, found: list[Found]) -> list[Candidate]:
    """One candidate an item, remembering every channel and tag that found it."""
    ranks: dict[int, dict[str, int]] = {}
    tags: dict[int, tuple[str, ...]] = {}
    for one in found:
        for rank, row in enumerate(one.rows, 1):
            ranks.setdefault(row, {})[one.channel] = rank
            tags[row] = tags.get(row, ()) + one.tags.get(row, ())
    return [
        Candidate(item_id=tools.dataset.item_ids[row], ranks=places, tags=tags[row])
        for row, places in ranks.items()
    ]


def _search(tools: Tools, reader: Reader, channel: str, texts: list[str], keep: bool) -> Found:
    if not texts:
        return Found(channel, [], {})
    hits = tools.index.search(
        tools.embedder.encode(texts, keep=keep), tools.config.tag_depth, allowed=reader.allowed
    )
    fused, by_row = fuse(hits, texts)
    return Found(channel, fused[: tools.config.candidates], by_row)


def fuse(hits: Hits, texts: list[str]) -> tuple[list[int], dict[int, tuple[str, ...]]]:
    """Fuse the lists of several texts by reciprocal rank.

    Args:
        hits: one list a text, best first.
        texts: the name of each list.

    Returns:
        Rows, best first, and for each row the names of the lists that found it, best first.
    """
    lists = [Hits(hits.rows[i : i + 1], hits.scores[i : i + 1]) for i in range(len(texts))]
    fused = reciprocal_rank(lists, hits.rows.size).rows[0]
    where: dict[int, list[tuple[int, str]]] = {}
    for text, one in zip(texts, hits.rows, strict=True):
        for rank, row in enumerate(one.tolist(), 1):
            where.setdefault(row, []).append((rank, text))
    rows = [int(row) for row in fused if row >= 0]
    return rows, {row: tuple(text for _, text in sorted(where[row])) for row in rows}
