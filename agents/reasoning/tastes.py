"""How many sides a taste has, and which items make each: Ward's tree of a history, cut by breadth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.objects import Persona
from foretaste.agents.wording.terms import Terms

RECENCY = 0.9  # weight of an event one place older, among the evidence of a persona
_SAMPLE = 256  # items of the catalogue that its variance is estimated from


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
    rows: NDArray[np.int32],
    vectors: NDArray[np.float32],
    categories: Terms,
    count: int,
    narrow: float | None = None,
) -> list[Cluster]:
    """Group a history by meaning: Ward's clustering of what items say and how they are filed.

    Args:
        rows: (events,) item rows, oldest first.
        vectors: (items, d) unit vectors of the catalogue.
        categories: of the catalogue.
        count: how many groups at most.
        narrow: variance that a group may have, see `sides`; None always makes `count` groups.

    Returns:
        Groups with the heaviest (most, and most recent, events) first; none for no history.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    newest = list(dict.fromkeys(int(row) for row in rows[::-1]))  # newest first, each once
    if not newest:
        return []
    labels = np.ones(len(newest), dtype=int)
    if len(newest) > 2 and count > 1:
        tree = linkage(features(newest, vectors, categories), "ward")
        wanted = count
        if narrow is not None:
            wanted = sides(tree[:, 2], narrow, count)
        labels = fcluster(tree, wanted, criterion="maxclust")
    weights = RECENCY ** np.arange(len(newest))
    groups = [
        Cluster(
            tuple(row for row, label in zip(newest, labels, strict=True) if label == name),
            float(weights[labels == name].sum()),
        )
        for name in np.unique(labels)
    ]
    return sorted(groups, key=lambda group: (-group.weight, group.rows))


def sides(heights: NDArray[np.float64], allowed: float, most: int) -> int:
    """The fewest groups whose mean variance inside is at most `allowed`; `most` when none is.

    A narrow history is one group as it stands, a broad one is cut until its parts are narrow. This
    is the share of variance that a clustering explains, with the catalogue's variance as the
    yardstick in place of the history's own: the planner's K is unpublished in RecGPT-V2.

    Args:
        heights: (n - 1,) of Ward's tree, rising; h²/2 is the sum of squares that a merge adds.
        allowed: variance that a group may have.
        most: groups at most.

    >>> sides(np.array([0.1, 0.1, 2.0]), 0.5, 5)  # two pairs, far apart
    2
    >>> sides(np.array([0.1, 0.1, 0.2]), 0.5, 5)
    1
    """
    items = len(heights) + 1
    within = np.concatenate([[0.0], np.cumsum(heights**2 / 2)])[::-1]  # (n,) for 1, 2, … groups
    narrow = np.flatnonzero(within / items <= allowed + 1e-12)
    return int(min(narrow[0] + 1, most))


def features(
    rows: Sequence[int], vectors: NDArray[np.float32], categories: Terms
) -> NDArray[np.float64]:
    """(n, d + categories in use) the items' text embeddings beside their categories.

    Both halves are of unit length (the second is zero without categories), so that two titles
    that happen to share a word do not make a taste.
    """
    return np.hstack([vectors[list(rows)].astype(np.float64), categories.dense(rows)])


def catalogue_variance(vectors: NDArray[np.float32], categories: Terms) -> float:
    """Mean squared distance of items of the catalogue to their mean, in the space of `features`."""
    step = max(1, len(vectors) // _SAMPLE)
    sample = features(range(0, len(vectors), step), vectors, categories)
    return float(((sample - sample.mean(axis=0)) ** 2).sum(axis=1).mean())


def without_doubles(
    personas: Sequence[Persona], texts: NDArray[np.float32], overlap: float, likeness: float
) -> list[Persona]:
    """Near-duplicate personas as one: the first keeps its name and takes over the evidence.

    Args:
        personas: in order of weight.
        texts: (n, d) unit embeddings of their names and descriptions.
        overlap: share of the smaller one's evidence that both have, from which they are one.
        likeness: cosine of their texts from which they are one.
    """
    kept: list[int] = []
    made: dict[int, Persona] = {}
    for number, persona in enumerate(personas):
        alike = [
            other
            for other in kept
            if shared(made[other], persona) >= overlap or texts[other] @ texts[number] >= likeness
        ]
        if not alike:
            kept.append(number)
            made[number] = persona
            continue
        first = made[alike[0]]
        evidence = tuple(dict.fromkeys(first.evidence + persona.evidence))
        made[alike[0]] = first.model_copy(update={"evidence": evidence})
    return [made[number] for number in kept]


def shared(one: Persona, other: Persona) -> float:
    """Share of the smaller evidence that both personas rest on.

    >>> a = Persona(name="a", description="", evidence=("x", "y"), source="model")
    >>> shared(a, a.model_copy(update={"evidence": ("y", "z", "q")}))
    0.5
    """
    mine, theirs = set(one.evidence), set(other.evidence)
    smaller = min(len(mine), len(theirs))
    return len(mine & theirs) / smaller if smaller else 0.0
