"""What is trained on: events, and the catalogue as arrays."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretaste.data.dataset import Dataset
from foretaste.data.histories import Histories
from foretaste.data.text import item_texts
from foretaste.finetune.towers.config import TowersConfig
from foretaste.finetune.towers.data import Vocabulary, vocabulary
from foretaste.serving.embedder import Embedder
from foretaste.serving.rules.base import Scores, popularity
from foretaste.serving.towers import WORD, fact_table, item_facts
from foretaste.serving.towers_net import Shape

Ints = NDArray[np.int64]
SHARED = 2  # items that carry a fact, at least, for it to have a learned vector


@dataclass(frozen=True)
class Material:
    """What is trained on.

    Attributes:
        histories: training events.
        text: (items, text) float32 sentence vectors, possibly memory-mapped.
        facts: (items, f) numbers of facts, 0 for none.
        fact_names: in the order of their numbers.
        counts: (items,) training events.
        words: categories and tags.
        said: (texts, text) float32 sentence vectors of `words.texts`.
    """

    histories: Histories
    text: Scores
    facts: Ints
    fact_names: list[str]
    counts: Ints
    words: Vocabulary
    said: Scores

    def shape(self, config: TowersConfig) -> Shape:
        """The network's sizes."""
        return Shape(
            items=len(self.counts),
            facts=len(self.fact_names),
            text=self.text.shape[1],
            dim=config.dim,
            codes=config.codes,
            layers=config.layers,
            heads=config.heads,
            newest=config.newest,
        )


def read_material(
    dataset: Dataset, histories: Histories, embedder: Embedder, words: bool, tags: int
) -> Material:
    """Everything that is read, as arrays; sentence vectors come from their cache when they can.

    Args:
        dataset: the catalogue.
        histories: events that are learnt from.
        embedder: behind the sentence vectors.
        words: whether words of titles are facts, as categories and attributes are.
        tags: tags in the vocabulary, at most.
    """
    counts = popularity(histories, len(dataset.item_ids))
    lists = item_facts(dataset.items)
    carriers = Counter(fact for own in lists for fact in own)
    names = [fact for fact, number in carriers.items() if number >= SHARED]
    if not words:
        names = [fact for fact in names if not fact.startswith(WORD)]
    said = vocabulary(dataset, counts, tags)
    return Material(
        histories=histories,
        text=_text(dataset, embedder),
        facts=fact_table(lists, {fact: place for place, fact in enumerate(names, 1)}),
        fact_names=names,
        counts=counts,
        words=said,
        said=embedder.encode(said.texts),
    )


def _text(dataset: Dataset, embedder: Embedder) -> Scores:
    """(items, text) sentence vectors; zeros for an item that has no text but its id."""
    texts = item_texts(dataset.items)
    vectors = embedder.encode(texts)
    bare = [text == item_id for text, item_id in zip(texts, dataset.item_ids, strict=True)]
    vectors[np.array(bare, dtype=bool)] = 0
    return vectors
