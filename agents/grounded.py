"""The grounded fallbacks: personas, tags and a choice without any language model.

They stand in when a model's answer fails its checks, and they are what a model must beat.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.lexicon import Lexicon, Terms, words
from foretaste.agents.objects import Persona, Tag, Verdict

RECENCY = 0.9  # weight of an event one place older, among the evidence of a persona


@dataclass(frozen=True)
class Cluster:
    """History items that belong together.

    Attributes:
        rows: item rows, newest first, each once.
        weight: sum of the recency weights of its events.
    """

    rows: tuple[int, ...]
    weight: float


def clusters(
    rows: NDArray[np.int32], vectors: NDArray[np.float32], categories: Terms, count: int
) -> list[Cluster]:
    """Group a history by meaning: Ward's clustering of what items say and how they are filed.

    An item is its text embedding beside its categories weighted by idf, each of unit length, so
    that two titles that happen to share a word do not make a taste.

    Args:
        rows: (events,) item rows, oldest first.
        vectors: (items, d) unit vectors of the catalogue.
        categories: of the catalogue.
        count: how many groups at most.

    Returns:
        Groups with the heaviest (most, and most recent, events) first; none for no history.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    newest = list(dict.fromkeys(int(row) for row in rows[::-1]))  # newest first, each once
    if not newest:
        return []
    if len(newest) <= 2 or count == 1:
        labels = np.ones(len(newest), dtype=int)
    else:
        filed = categories.dense(newest)  # (items, categories in use)
        tree = linkage(np.hstack([vectors[newest].astype(np.float64), filed]), "ward")
        labels = fcluster(tree, count, criterion="maxclust")
    weights = RECENCY ** np.arange(len(newest))
    groups = [
        Cluster(
            tuple(row for row, label in zip(newest, labels, strict=True) if label == name),
            float(weights[labels == name].sum()),
        )
        for name in np.unique(labels)
    ]
    return sorted(groups, key=lambda group: (-group.weight, group.rows))


def distinctive(terms: Terms, rows: Sequence[int], count: int) -> list[str]:
    """The terms that mark these items: weighted presence × idf, best first."""
    share = RECENCY ** np.arange(len(rows))
    weights = terms.weights(rows, share / share.sum())
    best = np.argsort(-weights, kind="stable")[:count]
    return [terms.names[term] for term in best if weights[term] > 0]


def persona(cluster: Cluster, lexicon: Lexicon, item_ids: list[str], titles: list[str]) -> Persona:
    """Name a cluster by its distinctive categories, or words where there are none."""
    names = distinctive(lexicon.categories, cluster.rows, 2)
    names = names or distinctive(lexicon.words, cluster.rows, 2) or ["recent choices"]
    examples = ", ".join(titles[row] for row in cluster.rows[:3])
    return Persona(
        name=" & ".join(names)[:60],
        description=f"Chose {examples}"[:200],
        evidence=tuple(item_ids[row] for row in cluster.rows),
        source="fallback",
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


def choose(
    proposed: Sequence[Tag],
    vectors: NDArray[np.float32],
    taste: NDArray[np.float32],
    count: int,
) -> list[Verdict]:
    """One joint choice: close to the taste, unlike each other, every persona heard.

    Maximal marginal relevance (Carbonell and Goldstein 1998) with equal weights, taken from the
    personas in turn while they have tags left.

    Args:
        proposed: tags of all experts.
        vectors: (tags, d) their unit embeddings.
        taste: (d,) unit vector of the recent history, or zeros for none.
        count: tags to keep.
    """
    relevance = vectors @ taste  # (tags,)
    kept: list[int] = []
    heard: dict[int, int] = dict.fromkeys((tag.persona for tag in proposed), 0)
    while len(kept) < min(count, len(proposed)):
        left = [i for i in range(len(proposed)) if i not in kept]
        fewest = min(heard[proposed[i].persona] for i in left)
        turn = [i for i in left if heard[proposed[i].persona] == fewest]
        likeness = (vectors[turn] @ vectors[kept].T).max(axis=1) if kept else np.zeros(len(turn))
        best = turn[int(np.argmax(relevance[turn] - likeness))]
        kept.append(best)
        heard[proposed[best].persona] += 1
    return [_verdict(proposed, vectors, relevance, kept, i) for i in range(len(proposed))]


def _verdict(
    proposed: Sequence[Tag],
    vectors: NDArray[np.float32],
    relevance: NDArray[np.float32],
    kept: list[int],
    i: int,
) -> Verdict:
    if i in kept:
        reason = f"close to the history (cosine {relevance[i]:.2f}) and unlike the other kept tags"
    else:
        likeness = vectors[kept] @ vectors[i]
        nearest = proposed[kept[int(np.argmax(likeness))]].text
        reason = f"says much the same as '{nearest}' (cosine {likeness.max():.2f})"
    return Verdict(tag=proposed[i], kept=i in kept, reason=reason, source="fallback")
