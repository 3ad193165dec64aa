"""The grounded fallbacks: personas and tags without any language model.

They stand in when a model's answer fails its checks, and they are what a model must beat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.objects import Persona, Tag
from foretaste.agents.reasoning.tastes import RECENCY, Cluster
from foretaste.agents.wording.lexicon import Lexicon, words
from foretaste.agents.wording.terms import Terms


def distinctive(terms: Terms, rows: Sequence[int], count: int) -> list[str]:
    """The terms that mark these items: weighted presence × idf, best first."""
    share = RECENCY ** np.arange(len(rows))
    weights = terms.weights(rows, share / share.sum())
    best = np.argsort(-weights, kind="stable")[:count]
    return [terms.names[term] for term in best if weights[term] > 0]


def persona(
    cluster: Cluster,
    lexicon: Lexicon,
    item_ids: list[str],
    titles: list[str],
    lately: Sequence[int] = (),
) -> Persona:
    """Name a cluster by its distinctive categories, or words where there are none.

    Args:
        cluster: the items.
        lexicon: the catalogue's vocabulary.
        item_ids, titles: of the catalogue, in row order.
        lately: rows of the newest choices, which say how timely the persona is.
    """
    names = distinctive(lexicon.categories, cluster.rows, 2)
    names = names or distinctive(lexicon.words, cluster.rows, 2) or ["recent choices"]
    examples = ", ".join(titles[row] for row in cluster.rows[:3])
    own = sum(row in cluster.rows for row in lately)
    return Persona(
        name=" & ".join(names)[:60],
        description=f"Chose {examples}"[:200],
        evidence=tuple(item_ids[row] for row in cluster.rows),
        source="fallback",
        why_now=f"{own} of the {len(lately)} newest choices" if own else "",
    )


def tags(
    rows: Sequence[int],
    lexicon: Lexicon,
    allowed: NDArray[np.bool_],
    count: int,
    number: int,
) -> list[Tag]:
    """Modifier + core word, from what the evidence items share with items still allowed.

    Core words are distinctive categories (words where there are no categories); modifiers are
    other categories or words that at least one allowed item carries together with the core.

    Args:
        rows: evidence items of the persona, newest first.
        lexicon: the catalogue's vocabulary.
        allowed: (items,) bool, items that may be recommended.
        count: tags wanted.
        number: the persona's number, for the record.
    """
    if not len(rows):
        return []
    made: dict[str, Tag] = {}
    cores = [(lexicon.categories, name) for name in distinctive(lexicon.categories, rows, 4)]
    cores = cores or [(lexicon.words, name) for name in distinctive(lexicon.words, rows, 4)]
    per_core = max(2, -(-count // max(len(cores), 1)))
    marks = _marks(rows, lexicon)
    for terms, core in cores:
        having = terms.carriers(core)
        having = having[allowed[having]]
        for modifier in islice(_modifiers(marks, having, len(allowed), core), per_core):
            text = f"{modifier} {core}"
            made.setdefault(
                " ".join(sorted(words(text))),
                Tag(
                    text=text[:60],
                    persona=number,
                    reason=f"{modifier} and {core} mark the items chosen before",
                    source="fallback",
                ),
            )
        if having.size and not any(core in tag.text for tag in made.values()):
            made[core] = Tag(
                text=core[:60],
                persona=number,
                reason=f"{core} was chosen before",
                source="fallback",
            )
    return list(made.values())[:count]


def _marks(rows: Sequence[int], lexicon: Lexicon) -> list[tuple[float, Terms, int]]:
    """(weight, kind, term) of everything that marks the evidence, the most distinctive first.

    A word of the titles counts from two items on: of one item it may be anything.
    """
    share = RECENCY ** np.arange(len(rows))
    found: list[tuple[float, Terms, int]] = []
    for terms, least in ((lexicon.categories, 1), (lexicon.words, min(2, len(rows)))):
        weights = terms.weights(rows, share / share.sum()) * (terms.counts(rows) >= least)
        best = np.argsort(-weights, kind="stable")[:40]
        found += [(float(weights[term]), terms, int(term)) for term in best if weights[term] > 0]
    found = [mark for mark in found if _reads_well(mark[1].names[mark[2]])]
    return sorted(found, key=lambda mark: -mark[0])


def _modifiers(
    marks: list[tuple[float, Terms, int]], having: NDArray[np.int64], items: int, core: str
) -> Iterator[str]:
    """Marks that some item with the core also carries, most distinctive first."""
    taken = set(words(core))
    with_core = np.zeros(items, dtype=bool)
    with_core[having] = True
    for _, terms, term in marks:
        name = terms.names[term]
        if with_core[terms.carriers(name)].any() and not taken & set(words(name)):
            yield name


def _reads_well(name: str) -> bool:
    """Whether a term says something in a tag: a number, a size or a single letter does not."""
    found = words(name)
    return any(len(word) > 2 and not any(map(str.isdigit, word)) for word in found)
