"""What an expert's answer earns: its tags, their categories, vectors and reward-model scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.agents.wording.lexicon import words
from foretaste.agents.wording.schemas import ExpertAnswer
from foretaste.data.errors import UnreadableAnswer
from foretaste.finetune.grpo.config import GrpoConfig
from foretaste.finetune.grpo.rewards import (
    GATES,
    NOTHING,
    Rewards,
    Thresholds,
    accuracy,
    alignment,
    constrained,
    diversity,
    length,
    passed,
    weighted_sum,
)
from foretaste.judge.intent.leaves import leaves, nearest
from foretaste.serving.chat import Usage
from foretaste.serving.chat_json import read_answer


class Aligner(Protocol):
    """Anything that scores answers to a context before the sigmoid: a reward model."""

    def score(self, context: str, answers: Sequence[str]) -> NDArray[np.float32]:
        """(n,) float32, higher is better."""
        ...


@dataclass(frozen=True)
class Question:
    """One prompt of an expert and what is right.

    Attributes:
        owner: whose it is.
        prompt: turns of `role` and `content`.
        context: what the reward model reads.
        wanted: numbers of the leaf categories that were chosen next.
        next_rows: rows of all items chosen next.
        evidence: rows of the items that the persona rests on.
    """

    owner: str
    prompt: tuple[dict[str, str], ...]
    context: str
    wanted: tuple[int, ...]
    next_rows: tuple[int, ...] = ()
    evidence: tuple[int, ...] = ()


@dataclass(frozen=True)
class Scored:
    """One answer.

    Attributes:
        rewards: what it earns.
        tags: its tags, cleaned.
        invalid: share of them that match no item; 1 for an unreadable answer.
        duplicates: share of them that repeat another one's words.
        readable: whether it fits the schema.
    """

    rewards: Rewards
    tags: tuple[str, ...]
    invalid: float
    duplicates: float
    readable: bool


class Leaves:
    """The leaf categories of a catalogue, and which of them tags stand for.

    Args:
        tools: of the agents.
    """

    def __init__(self, tools: Tools) -> None:
        self.names, self._of_row = leaves(tools.dataset)
        self._embedder = tools.embedder

    def of_items(self, rows: Sequence[int]) -> tuple[int, ...]:
        """Numbers of the leaf categories of these items, each once."""
        found = dict.fromkeys(int(self._of_row[row]) for row in rows)
        return tuple(number for number in found if number >= 0)

    def of_tags(self, tags: Sequence[str]) -> list[int]:
        """tag2cat: number of the category whose name is nearest to each tag."""
        return [int(number) for number in nearest(self._embedder, self.names, tags)]


class Scoring:
    """Scores answers, many at once.

    Args:
        tools: of the agents.
        leaves: of the same catalogue.
        aligner: the reward model; without one every tag is aligned alike.
        config: ranges of lengths, how rewards become one, weights.
        schema: what an answer must fit.
    """

    def __init__(
        self,
        tools: Tools,
        leaves: Leaves,
        aligner: Aligner | None,
        config: GrpoConfig,
        schema: type[ExpertAnswer] = ExpertAnswer,
    ) -> None:
        self._tools, self._leaves, self._aligner = tools, leaves, aligner
        self._config, self._schema = config, schema

    def score(self, questions: Sequence[Question], texts: Sequence[str]) -> list[Scored]:
        """What each answer earns.

        Args:
            questions: one for each answer.
            texts: the answers as they were written.
        """
        tags = [self.tags(text) for text in texts]
        said = [tag for own in tags if own for tag in own]
        vectors = self._tools.embedder.encode(said, keep=False)
        place = {tag: row for row, tag in enumerate(said)}
        aligned = self._aligned(questions, tags)
        out = []
        for question, own in zip(questions, tags, strict=True):
            if not own:
                out.append(Scored(NOTHING, (), 1.0, 0.0, own is not None))
                continue
            rows = vectors[[place[tag] for tag in own]]  # (tags, d)
            matching = [bool(len(self._tools.lexicon.matching(tag))) for tag in own]
            valid = [tag for tag, matches in zip(own, matching, strict=True) if matches]
            found = self._leaves.of_tags(valid)
            rewards = Rewards(
                accuracy(found, question.wanted),
                alignment([aligned[question.context, tag] for tag in own]),
                diversity(rows),
                length(own, self._config.full, self._config.half),
            )
            keys = {" ".join(sorted(set(words(tag)))) for tag in own}
            repeated = 1 - len(keys) / len(own)
            out.append(Scored(rewards, own, 1 - float(np.mean(matching)), repeated, True))
        return out

    def combined(self, rewards: Rewards, thresholds: Thresholds) -> float:
        """One number: constrained shaping or the weighted sum, as the settings say."""
        if self._config.combine == "crs":
            return constrained(rewards, thresholds)
        return weighted_sum(rewards, self._config.weights())

    def tags(self, text: str) -> tuple[str, ...] | None:
        """The cleaned tags of an answer; None when it cannot be read."""
        try:
            answer = read_answer(self._schema, text, Usage(), complete=True).parsed
        except UnreadableAnswer:
            return None
        found = [prompting.clean(one.tag) for one in answer.tags]
        return tuple(tag for tag in found if words(tag))

    def _aligned(
        self, questions: Sequence[Question], tags: Sequence[tuple[str, ...] | None]
    ) -> dict[tuple[str, str], float]:
        """(context, tag) → score of the reward model, each pair asked once."""
        aligner = self._aligner
        if aligner is None:
            return {
                (q.context, tag): 0.0
                for q, t in zip(questions, tags, strict=True)
                for tag in t or ()
            }
        asked: dict[str, dict[str, None]] = {}
        for question, own in zip(questions, tags, strict=True):
            asked.setdefault(question.context, {}).update(dict.fromkeys(own or ()))
        return {
            (context, tag): float(value)
            for context, own in asked.items()
            for tag, value in zip(own, aligner.score(context, list(own)), strict=True)
        }


def summary(
    scored: Sequence[Scored], combined: Sequence[float], thresholds: Thresholds
) -> dict[str, float]:
    """Means of every reward and gate, and what is wrong with the answers, as shares."""
    figures = {"reward": float(np.mean(combined))}
    for name in ("accuracy", *GATES):
        figures[name] = float(np.mean([getattr(one.rewards, name) for one in scored]))
    for gate in GATES:
        figures[f"gate/{gate}"] = float(
            np.mean([passed(one.rewards, thresholds)[gate] for one in scored])
        )
    figures["gate/all"] = float(
        np.mean([all(passed(one.rewards, thresholds).values()) for one in scored])
    )
    figures["invalid"] = float(np.mean([one.invalid for one in scored]))
    figures["duplicates"] = float(np.mean([one.duplicates for one in scored]))
    figures["unreadable"] = float(np.mean([not one.readable for one in scored]))
    return figures
