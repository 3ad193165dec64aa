"""Where candidates come from: each channel names the items it would show, best first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.contexts.context import Reader
from foretaste.agents.objects import Candidate, Tag, TagFind
from foretaste.agents.retrieval.tools import Tools
from foretaste.data.histories import Histories
from foretaste.data.signals import signals
from foretaste.serving.index.base import Hits
from foretaste.serving.index.fusion import reciprocal_rank
from foretaste.serving.rules.base import zscores


@dataclass(frozen=True)
class Found:
    """What one channel found.

    Attributes:
        channel: its name.
        rows: item rows, best first.
        scores: one a row, in the channel's own unit.
        finds: row → the tags that found it, for the channels that search by tag.
    """

    channel: str
    rows: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    finds: dict[int, tuple[TagFind, ...]] = field(default_factory=dict)


def every(tools: Tools, reader: Reader, tags: Sequence[Tag]) -> list[Found]:
    """What all channels found, those that found something.

    Args:
        tags: the kept tags.
    """
    early = without_tags(tools, reader)
    found = [
        early["collaborative"],
        by_tags(tools, reader, tags),
        early["wish"],
        by_towers(tools, reader, tags),
        *(early[name] for name in ("interest", "fresh", "trending")),
    ]
    return [one for one in found if one.rows]


def without_tags(tools: Tools, reader: Reader) -> dict[str, Found]:
    """What the channels found that need no tags, worked out once a run: it can be done early."""

    def look() -> dict[str, Found]:
        return {
            "collaborative": collaborative(tools, reader),
            "wish": by_wish(tools, reader),
            "interest": next_interest(tools, reader),
            "fresh": fresh(tools, reader),
            "trending": trending(tools, reader),
        }

    return reader.found.once("without tags", look)


def by_tags(tools: Tools, reader: Reader, tags: Sequence[Tag]) -> Found:
    """The agents' channel: what every kept tag finds (`tag_hits`), fused by rank."""
    if not tags:
        return Found("tags")
    texts = [tag.text for tag in tags]
    return fuse(tag_hits(tools, reader, texts), tags, tools.config.candidates)


def by_wish(tools: Tools, reader: Reader) -> Found:
    """The wish itself searches by meaning and by word; its vector is not kept."""
    if not reader.context.wish:
        return Found("wish")
    both = searched(tools, reader, [reader.context.wish], keep=False)
    hits = reciprocal_rank(both, tools.config.tag_depth)
    rows, scores = hits.rows[0], hits.scores[0]
    known = rows >= 0
    return Found("wish", rows[known].tolist(), scores[known].tolist())


def by_towers(tools: Tools, reader: Reader, tags: Sequence[Tag]) -> Found:
    """The trained towers: user and tag vectors mixed, β h_u + (1 - β) h_t; none until trained."""
    towers = tools.towers
    if towers is None or not len(reader.rows):
        return Found("towers")
    rows = reader.rows[reader.rows < len(towers.item_vectors)]
    said = tools.embedder.encode([tag.text for tag in tags]) if tags else tools.vectors[:0]
    scores = towers.mixed(rows, said, tools.config.towers_mix)  # (items at training,)
    return _best("towers", scores, tools, reader)


def next_interest(tools: Tools, reader: Reader) -> Found:
    """The trained next-interest model, which reads a wish after the history; none until there is one."""
    if tools.interest is None or not len(reader.rows):
        return Found("interest")
    wish = reader.context.wish
    said = tools.embedder.encode([wish], keep=False) if wish else None
    scores = tools.interest.scores(_told(reader, len(tools.interest.item_vectors)), said)[0]
    return _best("interest", scores, tools, reader)


def _told(reader: Reader, known: int) -> Histories:
    """The reader's history of items with rows below `known`, and what its events tell beside them."""
    events, some = reader.context.events, reader.rows < known
    rows = reader.rows[some]
    offsets = np.array([0, len(rows)], dtype=np.int64)
    if len(events) != len(reader.rows):  # somebody gave rows alone
        return Histories(rows, offsets)
    values = np.array([np.nan if e.value is None else e.value for e in events], dtype=np.float64)
    dated = all(e.timestamp is not None for e in events)
    times = np.array([e.timestamp or 0 for e in events], dtype=np.int64) if dated else None
    owners = np.zeros(len(events), dtype=np.int64)
    codes = signals([e.event for e in events], values, times, owners)
    return Histories(rows, offsets, codes[some])


def collaborative(tools: Tools, reader: Reader) -> Found:
    """The best untrained rule of this data set; for an empty history what is popular.

    A next-interest model that was fitted beside this very rule orders its candidates. Otherwise towers
    that validation gave a weight beside it are added, both as z-scores.
    """
    scores = tools.rule.scores(Histories.from_lists([reader.rows.tolist()]))  # (1, items)
    if not len(reader.rows):
        return _best("popular", scores[0], tools, reader)
    if tools.mix is not None and tools.mix.record.rule == tools.rule.name:
        known = len(tools.mix.interest.item_vectors)
        mixed = tools.mix.scores(_told(reader, known), scores[:, :known])
        zscores(scores)[:, :known] = mixed
        return _best("collaborative", scores[0], tools, reader)
    towers = tools.towers
    if towers is not None and towers.record.weight and towers.record.rule == tools.rule.name:
        rows = reader.rows[reader.rows < len(towers.item_vectors)]
        own = zscores(towers.scores(Histories.from_lists([rows.tolist()])))  # (1, at training)
        zscores(scores)[:, : own.shape[1]] += np.float32(towers.record.weight) * own
    return _best("collaborative", scores[0], tools, reader)


def fresh(tools: Tools, reader: Reader) -> Found:
    """Items first seen within the last window, in the order of the collaborative rule."""
    rows = tools.pulse.fresh() if tools.pulse else np.zeros(0, dtype=np.int64)
    rows = rows[rows < len(reader.allowed)]
    if not len(rows):
        return Found("fresh")
    own = tools.rule.scores(Histories.from_lists([reader.rows.tolist()]))[0]
    scores = np.full(len(reader.allowed), -np.inf, dtype=np.float32)
    scores[rows] = own[rows]
    return _best("fresh", scores, tools, reader)


def trending(tools: Tools, reader: Reader) -> Found:
    """Items that rise: more events in the last window than in the one before."""
    if tools.pulse is None:
        return Found("trending")
    rises = tools.pulse.rises()[: len(reader.allowed)]
    return _best("trending", np.where(rises > 0, rises, -np.inf), tools, reader)


def merge(tools: Tools, found: Sequence[Found]) -> list[Candidate]:
    """One candidate an item, remembering every channel and tag that found it, and its place there."""
    ranks: dict[int, dict[str, int]] = {}
    scores: dict[int, dict[str, float]] = {}
    finds: dict[int, tuple[TagFind, ...]] = {}
    for one in found:
        for rank, (row, score) in enumerate(zip(one.rows, one.scores, strict=True), 1):
            ranks.setdefault(row, {})[one.channel] = rank
            scores.setdefault(row, {})[one.channel] = round(score, 6)
            finds[row] = finds.get(row, ()) + one.finds.get(row, ())
    return [
        Candidate.model_construct(  # from our own numbers: hundreds a request, never read wrong
            item_id=tools.dataset.item_ids[row],
            ranks=places,
            scores=scores[row],
            finds=finds[row],
        )
        for row, places in ranks.items()
    ]


def tag_hits(tools: Tools, reader: Reader, texts: Sequence[str]) -> Hits:
    """What each tag finds among the allowed items, by meaning, by word and by choice, fused by rank.

    Hundreds of items may fit a tag equally well; those that many people chose come first.

    Args:
        texts: of the tags, at least one.

    Returns:
        (texts, tag_depth) rows and reciprocal-rank scores, best first; -1 where there are no more.
    """
    depth = tools.config.tag_depth

    def search(new: list[str]) -> Hits:
        lists = [*searched(tools, reader, new), most_chosen(tools, reader, new)]
        return reciprocal_rank(lists, depth)

    return reader.found.hits(texts, depth, search)


def searched(
    tools: Tools, reader: Reader, texts: list[str], *, keep: bool = True
) -> tuple[Hits, Hits]:
    """What each text finds among the allowed items by meaning (vectors), and by word (BM25).

    Args:
        texts: at least one.
        keep: whether their vectors stay in the cache; false for what a person wrote.
    """
    depth = tools.config.tag_depth
    vectors = tools.embedder.encode(texts, keep=keep)
    by_meaning = tools.index.search(vectors, depth, allowed=reader.allowed)
    return by_meaning, tools.by_word(texts, depth, reader.allowed)


def most_chosen(tools: Tools, reader: Reader, texts: list[str]) -> Hits:
    """(texts, tag_depth) of the allowed items that match each text, those that most people chose.

    An item matches when it carries more than half of the text's words (`Lexicon.matching`). How
    often items were chosen is what the rule says of an empty history.
    """
    depth = tools.config.tag_depth
    popular = tools.rule.scores(Histories.from_lists([[]]))[0]  # (items when it was fitted,)
    rows = np.full((len(texts), depth), -1, dtype=np.int32)
    scores = np.zeros((len(texts), depth), dtype=np.float32)
    for line, text in enumerate(texts):
        own = tools.lexicon.matching(text)
        own = own[own < len(popular)]
        own = own[reader.allowed[own] & (popular[own] > 0)]
        own = own[np.argsort(-popular[own], kind="stable")[:depth]]
        rows[line, : len(own)], scores[line, : len(own)] = own, popular[own]
    return Hits(rows, scores)


def fuse(hits: Hits, tags: Sequence[Tag], count: int) -> Found:
    """Fuse the lists of several tags by reciprocal rank.

    Args:
        hits: one list a tag, best first.
        tags: the tag of each list.
        count: rows wanted.
    """
    lists = [Hits(hits.rows[i : i + 1], hits.scores[i : i + 1]) for i in range(len(tags))]
    both = reciprocal_rank(lists, min(count, hits.rows.size))
    rows = [int(row) for row in both.rows[0] if row >= 0]
    where: dict[int, list[TagFind]] = {row: [] for row in rows}
    for tag, own, scores in zip(tags, hits.rows.tolist(), hits.scores.tolist(), strict=True):
        for rank, (row, score) in enumerate(zip(own, scores, strict=True), 1):
            if row in where:
                where[row].append(
                    TagFind.model_construct(
                        tag=tag.text, persona=tag.persona, rank=rank, score=round(score, 6)
                    )
                )
    finds = {row: tuple(sorted(own, key=lambda one: one.rank)) for row, own in where.items()}
    return Found("tags", rows, both.scores[0][: len(rows)].tolist(), finds)


def _best(channel: str, scores: NDArray[np.float32], tools: Tools, reader: Reader) -> Found:
    """The allowed items with the highest scores that are not minus infinity.

    `scores` may be shorter than the catalogue: later items are not found.
    """
    own = np.where(reader.allowed[: len(scores)], scores.astype(np.float64), -np.inf)
    count = min(tools.config.candidates, int((own > -np.inf).sum()))
    if not count:
        return Found(channel)
    best = np.argpartition(-own, count - 1)[:count]
    rows = best[np.argsort(-own[best], kind="stable")]
    return Found(channel, rows.tolist(), own[rows].tolist())
