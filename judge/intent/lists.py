"""Lists of leaf categories, best first: what the untrained lists say, and what an arm's tags say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.objects import Step, Tag, Verdict
from foretaste.agents.offline import Grounded
from foretaste.agents.reasoning.offered import ranked_leaves
from foretaste.data.histories import Histories
from foretaste.judge.intent.cases import Asked
from foretaste.judge.intent.leaves import nearest
from foretaste.serving.rules.ranking import drop_history

LONGEST = 30  # places of a list
FINDS = 300  # best items of the rule that its categories are taken from
_BLOCK = 200
Lists = list[list[int]]


@dataclass(frozen=True)
class Written:
    """What the agents made of one person.

    Attributes:
        verdicts: of the arbiter; the kept ones first.
        tags: of the experts, in the order of their personas.
        steps: every call.
        ms: wall time.
    """

    verdicts: tuple[Verdict, ...]
    tags: tuple[Tag, ...]
    steps: tuple[Step, ...]
    ms: float


def popular(asked: Asked) -> list[int]:
    """All leaf categories, those of most training events first."""
    own = asked.leaf[asked.train.rows]
    counts = np.bincount(own[own >= 0], minlength=len(asked.names))
    return [int(place) for place in np.argsort(-counts, kind="stable")]


def filled(places: Iterable[int], rest: Sequence[int]) -> list[int]:
    """Each place once, then the most popular ones, `LONGEST` in all.

    >>> filled([2, 2, -1, 0], [1, 0, 3])
    [2, 0, 1, 3]
    """
    both = dict.fromkeys([*(p for p in places if p >= 0), *rest])
    return list(both)[:LONGEST]


def untrained(asked: Asked) -> dict[str, Lists]:
    """The lists that need no model, every one filled with the most popular categories.

    Popular; the person's own, newest first; of the rule's best items in their order; and what an
    arbiter is offered (`agents.offered`), which one that copies its prompt would keep.
    """
    rest = popular(asked)
    own = [filled(asked.leaf[rows[::-1]].tolist(), rest) for rows in asked.cases.histories]
    return {
        "popular_categories": [rest[:LONGEST]] * len(asked.users),
        "own_categories": own,
        "rule_categories": [filled(places, rest) for places in _rule(asked)],
        "offered_categories": [filled(places, rest) for places in _offered(asked)],
    }


def _offered(asked: Asked) -> Lists:
    """Leaf categories in the order in which an arbiter would read them."""
    grounded = Grounded(asked.tools, keep=False)
    place = {name: number for number, name in enumerate(asked.names)}
    return [
        [place[name] for name in ranked_leaves(asked.tools, grounded.reader(rows))]
        for rows in asked.cases.histories
    ]


def _rule(asked: Asked) -> Lists:
    """Leaf categories of the rule's best items, in the items' order; the history is dropped."""
    found: Lists = []
    for start in range(0, len(asked.users), _BLOCK):
        stop = min(start + _BLOCK, len(asked.users))
        histories: Histories = asked.cases.histories.slice(start, stop)
        scores = asked.tools.rule.scores(histories)  # (block, items)
        drop_history(scores, histories, asked.cases.targets[start:stop])
        best = np.argpartition(-scores, min(FINDS, scores.shape[1] - 1), axis=1)[:, :FINDS]
        for line, rows in zip(scores, best, strict=True):
            ranked = rows[np.argsort(-line[rows], kind="stable")]
            found.append(asked.leaf[ranked].tolist())
    return found


def of_arm(asked: Asked, written: Sequence[Written], *, served: bool) -> Lists:
    """An arm's lists: kept tags in the arbiter's order, then the experts' other tags.

    Each tag stands for the leaf category with the nearest embedding. What is left is filled with
    the most popular categories, as the untrained lists are.

    Args:
        asked: whom it is about.
        written: what the agents made of each.
        served: whether what the grounded twins wrote counts; otherwise only what a model chose or
            wrote does, so that an answer that was refused counts for nothing.
    """
    return _mapped(asked, [_texts(one, served) for one in written])


def of_experts(asked: Asked, written: Sequence[Written]) -> Lists:
    """The lists of the experts alone, before any arbiter: first tags of all personas, then second ones.

    Only what a model wrote counts; the rest is as in `of_arm`.
    """
    return _mapped(asked, [_in_turn(one.tags) for one in written])


def _in_turn(tags: Sequence[Tag]) -> list[str]:
    """Texts of a model's tags, one of each persona in turn."""
    seen: Counter[int] = Counter()
    turns: list[tuple[int, int, str]] = []
    for tag in tags:
        if tag.source == "model":
            turns.append((seen[tag.persona], tag.persona, tag.text))
            seen[tag.persona] += 1
    return list(dict.fromkeys(text for _, _, text in sorted(turns, key=lambda turn: turn[:2])))


def _mapped(asked: Asked, said: Sequence[list[str]]) -> Lists:
    """Of each person's texts the leaf categories with the nearest embeddings, filled."""
    every = list(dict.fromkeys(text for texts in said for text in texts))
    places = nearest(asked.tools.embedder, asked.names, every)
    place: dict[str, int] = dict(zip(every, places.tolist(), strict=True))
    rest = popular(asked)
    return [filled((place[text] for text in texts), rest) for texts in said]


def _texts(written: Written, served: bool) -> list[str]:
    kept = [v.tag.text for v in written.verdicts if v.kept and (served or v.source == "model")]
    rest = [tag.text for tag in written.tags if served or tag.source == "model"]
    return list(dict.fromkeys([*kept, *rest]))


def ranks(lists: Lists, targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """(users,) place of the target in each list, from 0; `LONGEST` where it is not there."""
    return np.array(
        [
            places.index(int(target)) if int(target) in places else LONGEST
            for places, target in zip(lists, targets, strict=True)
        ]
    )
