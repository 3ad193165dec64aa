"""What may be said about each item of a page, and why it is there: what explanations are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.contexts.context import Reader
from foretaste.agents.contexts.liking import tastes_of
from foretaste.agents.explaining.sentence_guard import Thing
from foretaste.agents.objects import Persona, Recommendation, Verdict
from foretaste.agents.online.live_dataset import LiveDataset
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.agents.wording.lexicon import word_list, words
from foretaste.data.dataset import Dataset

SHARED = 2  # categories that a sentence names
VALUES = 4  # attribute values of an item that a sentence may name
CALENDAR = word_list("calendar")
_BY_CHANNEL = {
    "wish": "wish",
    "collaborative": "people",
    "popular": "popular",
    "fresh": "fresh",
    "trending": "trending",
}


@dataclass(frozen=True)
class Facts:
    """All that an explanation of one item may name.

    Attributes:
        item_id: of the item.
        item: its title, categories, brand, year and the like.
        kind: which reason it gets: shared, tag, people, near, wish, popular, fresh or trending.
        categories: of the item.
        evidence: the chosen item that it has something in common with, else None.
        evidence_id: of that item.
        shared: categories that both have, the rarest of the catalogue first.
        tag: the kept tag that found it, if one did.
        moment: a season or holiday of today that the item itself names.
        persona: number of the persona whose tag found it.
        private: its explanation may hold words that are one person's own: a wish, or a tag that
            says more than the catalogue does. It is kept out of memory and cache.
    """

    item_id: str
    item: Thing
    kind: str
    categories: tuple[str, ...] = ()
    evidence: Thing | None = None
    evidence_id: str = ""
    shared: tuple[str, ...] = ()
    tag: str | None = None
    moment: str | None = None
    persona: int | None = None
    private: bool = False

    @property
    def chosen(self) -> tuple[Thing, ...]:
        """The history items that the explanation may name: one or none."""
        return (self.evidence,) if self.evidence else ()

    @property
    def known(self) -> str:
        """What may be said beside names: the tag and the time of year."""
        return f"{self.tag or ''} {self.moment or ''}"


def facts_of(
    tools: Tools,
    reader: Reader,
    page: Sequence[Recommendation],
    personas: Sequence[Persona] = (),
    verdicts: Sequence[Verdict] = (),
) -> list[Facts]:
    """The facts of every item of a page, in its order.

    The evidence of an item is the lately chosen item most like it among those that share a category
    with it; for an item that a persona's tag found, among that persona's evidence if any of it shares.
    """
    rows = [tools.dataset.row_of[item.item_id] for item in page]
    owner = {one.tag.text: one.tag.persona for one in verdicts if one.kept}
    newest = tastes_of(tools.dataset, reader).rows[-tools.config.history_items :]
    history = np.unique(newest).astype(np.int64)  # (chosen,)
    common = _common(tools, rows, history)  # (page, chosen) how many categories they share
    return [
        _facts(tools, reader, item, rows[i], history, common[i], personas, owner)
        for i, item in enumerate(page)
    ]


def thing_of(dataset: Dataset, row: int) -> Thing:
    """What the catalogue says about one item; identifiers are no facts that one would say."""
    found = [prompting.clean(name) for name in dataset.categories_of(row)]
    if "attributes" in dataset.items.columns:
        pairs = dataset.items["attributes"][int(row)]
        values = [] if pairs is None else pairs.to_list()
        found += [
            prompting.clean(pair["value"], 40)
            for pair in values
            if pair["value"] and not pair["name"].endswith("_id")
        ][:VALUES]
    return Thing(prompting.clean(dataset.titles[row]), tuple(dict.fromkeys(found)))


def _common(tools: Tools, rows: list[int], history: NDArray[np.int64]) -> NDArray[np.int64]:
    """(page, chosen) int64: how many categories each pair of items shares."""
    terms = tools.lexicon.categories
    filed = {int(row): set(terms.terms_of(int(row)).tolist()) for row in (*rows, *history)}
    found = [[len(filed[row] & filed[int(other)]) for other in history] for row in rows]
    return np.array(found, dtype=np.int64).reshape(len(rows), len(history))


def _facts(
    tools: Tools,
    reader: Reader,
    item: Recommendation,
    row: int,
    history: NDArray[np.int64],
    common: NDArray[np.int64],
    personas: Sequence[Persona],
    owner: dict[str, int],
) -> Facts:
    own = thing_of(tools.dataset, row)
    tag = prompting.clean(item.tags[0]) if item.tags and item.channel == "tags" else None
    persona = owner.get(item.tags[0]) if tag else None
    theirs = personas[persona].evidence if persona is not None and persona < len(personas) else ()
    near = _evidence(tools, row, history, common, set(theirs))
    evidence = None if near is None else thing_of(tools.dataset, near)
    shared = _shared(tools, row, near)
    kind = _BY_CHANNEL.get(item.channel, "near" if len(history) else "popular")
    kind = "tag" if tag else kind
    kind = "shared" if shared and item.channel != "wish" else kind
    if kind in ("people", "popular") and len(history) and not _was_chosen(tools, row):
        kind = "near"  # a rule may rank what nobody has chosen yet, by its words
    stated = set(words(" ".join([own.title, *own.attributes])))
    stated |= set(words(" ".join([evidence.title, *evidence.attributes]))) if evidence else set()
    wished = bool(reader.context.wish)
    said_more = tag is not None and (wished or not set(words(tag)) <= stated)
    return Facts(
        item_id=item.item_id,
        item=own,
        kind=kind,
        categories=tuple(map(prompting.clean, tools.dataset.categories_of(row))),
        evidence=evidence,
        evidence_id="" if near is None else tools.dataset.item_ids[near],
        shared=shared,
        tag=tag,
        moment=_moment(reader.context.environment, stated),
        persona=persona,
        private=item.channel == "wish" or said_more,
    )


def _evidence(
    tools: Tools, row: int, history: NDArray[np.int64], common: NDArray[np.int64], theirs: set[str]
) -> int | None:
    """The chosen row that an explanation of `row` rests on; None when none shares anything."""
    sharing = history[(common > 0) & (history != row)]
    if not len(sharing):
        return None
    ids = tools.dataset.item_ids
    own = np.array([other for other in sharing if ids[other] in theirs], dtype=np.int64)
    among = own if len(own) else sharing
    return int(among[int(np.argmax(tools.vectors[among] @ tools.vectors[row]))])


def _was_chosen(tools: Tools, row: int) -> bool:
    """Whether anybody did anything with an item before the data set was imported."""
    dataset = tools.dataset
    imported = dataset.base if isinstance(dataset, LiveDataset) else dataset
    return row < len(imported.chosen) and bool(imported.chosen[row])


def _shared(tools: Tools, row: int, near: int | None) -> tuple[str, ...]:
    """Categories of both, the rarest first: they say the most."""
    if near is None:
        return ()
    terms = tools.lexicon.categories
    theirs = set(tools.dataset.categories_of(near))
    both = [name for name in tools.dataset.categories_of(row) if name in theirs]
    rarest = sorted(both, key=lambda name: -terms.idf[terms.number[name]])[:SHARED]
    return tuple(prompting.clean(name) for name in both if name in rarest)


def _moment(environment: Sequence[str], stated: set[str]) -> str | None:
    """The first season or holiday of today that the item itself names."""
    today = [word for text in environment for word in words(text)]
    return next((word for word in today if word in CALENDAR and word in stated), None)
