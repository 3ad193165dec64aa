"""What the towers read: the catalogue as arrays, tags in hindsight, batches and their negatives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.reasoning import grounded
from foretaste.agents.wording.lexicon import Lexicon
from foretaste.data.dataset import Dataset
from foretaste.data.histories import Histories

Ints = NDArray[np.int64]
TAGS_EACH = 8  # tags of one item, at most
TAGGED = 50_000  # items whose tags are made: the most popular


@dataclass(frozen=True)
class Vocabulary:
    """The texts that the tag tower learns from, and which items carry them.

    Attributes:
        texts: category names first, then tags of modifier + core word.
        categories: (items,) number of the rarest category of an item, -1 without one.
        tags: (items, TAGS_EACH) numbers of an item's tags, padded with -1.
    """

    texts: list[str]
    categories: Ints
    tags: Ints


def vocabulary(dataset: Dataset, counts: Ints, most: int) -> Vocabulary:
    """Category names, and the tags that the grounded expert makes of single items.

    A tag counts when two items or more share it; the `most` that most items share are kept.

    Args:
        counts: (items,) training events of each item.
        most: tags kept.
    """
    lexicon = Lexicon(dataset.items)
    carriers = np.diff(lexicon.categories.by_term.indptr)  # (categories,)
    rarest = np.full(len(counts), -1, dtype=np.int64)
    offsets, columns = lexicon.categories.present.indptr, lexicon.categories.present.indices
    for row in range(len(counts)):
        own = columns[offsets[row] : offsets[row + 1]]
        if len(own):
            rarest[row] = own[np.argmin(carriers[own])]
    found = _tags(lexicon, counts)
    shared = Counter(tag for own in found.values() for tag in own)
    kept = [tag for tag, number in shared.most_common(most) if number > 1]
    first = len(lexicon.categories.names)
    number = {tag: first + place for place, tag in enumerate(kept)}
    tags = np.full((len(counts), TAGS_EACH), -1, dtype=np.int64)
    for row, own in found.items():
        known = [number[tag] for tag in own if tag in number]
        tags[row, : len(known)] = known
    return Vocabulary([*lexicon.categories.names, *kept], rarest, tags)


def _tags(lexicon: Lexicon, counts: Ints) -> dict[int, list[str]]:
    everything = np.ones(len(counts), dtype=bool)
    rows = np.argsort(-counts, kind="stable")[:TAGGED]
    return {
        int(row): [tag.text for tag in grounded.tags([int(row)], lexicon, everything, TAGS_EACH, 0)]
        for row in rows
    }


@dataclass(frozen=True)
class Batch:
    """Sequences of similar length.

    Attributes:
        rows: (b, t) item rows, oldest first, -1 where padded.
        targets: (b, t) the item that came after, -1 where there is none.
        signals: (b, t, 2) codes of `data/signals.py`, 0 where padded; None where nothing is known.
    """

    rows: Ints
    targets: Ints
    signals: Ints | None = None


def batches(
    histories: Histories, events: int, window: int, reverse: float, draw: np.random.Generator
) -> Iterator[Batch]:
    """All training events once, in batches of about `events`, each of sequences of like length.

    Sequences are shuffled, sorted by length within stretches of 50 batches, and the batches are
    shuffled again.

    Args:
        histories: two events or more each, or they are left out.
        events: in a batch.
        window: a target is one of the next `window` events, drawn by 1 / distance.
        reverse: share of sequences read backwards.
        draw: decides all of it.
    """
    lengths = histories.lengths
    order = draw.permutation(np.flatnonzero(lengths >= 2))
    mean = max(float(lengths[order].mean()), 1.0) if len(order) else 1.0
    stretch = max(1, int(50 * events / mean))
    groups: list[Ints] = []
    for start in range(0, len(order), stretch):
        part = order[start : start + stretch]
        part = part[np.argsort(lengths[part], kind="stable")]
        padded = np.maximum.accumulate(lengths[part] - 1)
        taken = 0
        while taken < len(part):
            size = np.arange(1, len(part) - taken + 1) * padded[taken:]
            count = max(1, int(np.searchsorted(size, events, side="right")))
            groups.append(part[taken : taken + count])
            taken += count
    for place in draw.permutation(len(groups)):
        yield _batch(histories, groups[place], window, reverse, draw)


def _batch(
    histories: Histories, chosen: Ints, window: int, reverse: float, draw: np.random.Generator
) -> Batch:
    longest = int(histories.lengths[chosen].max())
    whole = np.full((len(chosen), longest), -1, dtype=np.int64)
    backwards = draw.random(len(chosen)) < reverse
    for line, number, turned in zip(whole, chosen, backwards, strict=True):
        rows = histories[int(number)]
        line[: len(rows)] = rows[::-1] if turned else rows
    lengths = histories.lengths[chosen][:, None]  # (b, 1)
    places = np.broadcast_to(np.arange(longest - 1), (len(chosen), longest - 1))
    left = lengths - 1 - places  # events after each place
    gaps = _gaps(np.clip(left, 1, window), draw)
    targets = np.take_along_axis(whole, np.minimum(places + gaps, longest - 1), axis=1)
    told = _signals(histories, chosen, backwards, longest - 1)
    return Batch(np.where(left > 0, whole[:, :-1], -1), np.where(left > 0, targets, -1), told)


def _signals(
    histories: Histories, chosen: Ints, backwards: NDArray[np.bool_], longest: int
) -> Ints | None:
    """(b, longest, 2) codes of each sequence's first events, in the order in which it is read."""
    if histories.signals is None:
        return None
    told = np.zeros((len(chosen), longest, 2), dtype=np.int64)
    for line, number, turned in zip(told, chosen, backwards, strict=True):
        own = histories.signals[histories.offsets[number] : histories.offsets[number + 1]]
        own = (own[::-1] if turned else own)[:longest]
        line[: len(own)] = own
    return told


def _gaps(most: Ints, draw: np.random.Generator) -> Ints:
    """Distances of 1 up to `most`, drawn with a chance of 1 / distance."""
    total = np.cumsum(1 / np.arange(1, most.max(initial=1) + 1))
    at = draw.random(most.shape) * total[most - 1]
    return np.asarray(1 + np.searchsorted(total, at, side="right"), dtype=np.int64)


def hindsight(batch: Batch, words: Vocabulary, draw: np.random.Generator) -> tuple[Ints, Ints]:
    """(n,) for each real target a tag of it, and its category; -1 without one.

    A tag that the item before carries too comes first: that is what an expert could have known.
    """
    real = batch.targets >= 0
    own = words.tags[batch.targets[real]]  # (n, tags)
    before = words.tags[batch.rows[real]]
    shared = (own[:, :, None] == before[:, None, :]).any(axis=2)
    chance = draw.random(own.shape) + shared - 2 * (own < 0)
    tags = np.take_along_axis(own, chance.argmax(axis=1)[:, None], axis=1)[:, 0]
    return tags, words.categories[batch.targets[real]]
