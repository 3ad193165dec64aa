"""Judge-as-a-Reward: the distilled scorer of `foretaste finetune reward` behind the protocol of judges.

It reads what an expert or explainer read of the person and gives one number an answer, for millions
of answers. Cases that wait at the same time and share what is known are scored together, so that
the shared part is computed once (`serving/reward.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.wording.prompting import clean
from foretaste.judge.objects import Case, Judgement
from foretaste.judge.prompting import LINE_CHARACTERS

_CHOSEN = 3  # newest choices that are told, as experts are told their evidence


class Scorer(Protocol):
    """What scores the answers to one context; `serving.reward.RewardModel` is one."""

    def score(self, context: str, answers: Sequence[str]) -> NDArray[np.float32]:
        """(n,) scores before the sigmoid, higher is better."""
        ...


class RewardJudge:
    """A trained reward model.

    The score is the sigmoid of the model's number: compare it within a group. There are no marks, no
    reasons and no tier.

    Args:
        scorer: the loaded model.
        folder: it was loaded from, for the record.
    """

    def __init__(self, scorer: Scorer, folder: Path) -> None:
        self._scorer, self._folder = scorer, folder
        self._waiting: dict[str, _Batch] = {}
        self._turn = asyncio.Lock()

    @property
    def name(self) -> str:
        """`reward` and the folder's name."""
        return f"reward {self._folder.name}"

    @property
    def made_of(self) -> dict[str, str]:
        """The model's name and the hash of its files."""
        digest = hashlib.sha256()
        for path in sorted(self._folder.iterdir()):
            if path.is_file():
                digest.update(path.name.encode() + path.read_bytes())
        return {
            "judge": "reward",
            "model": self._folder.name,
            "reward_hash": digest.hexdigest()[:16],
        }

    async def judge(self, case: Case) -> Judgement:
        """The score of one answer."""
        context = context_of(case)
        batch = self._waiting.setdefault(context, _Batch())
        batch.answers.append(answer_of(case))
        place = len(batch.answers) - 1
        if batch.scores is None:
            batch.scores = asyncio.create_task(self._score(context))
        found = await asyncio.shield(batch.scores)
        chance = round(1 / (1 + float(np.exp(-found[place]))), 6)
        return Judgement(id=case.id, group=case.group, segments=case.segments, score=chance)

    async def _score(self, context: str) -> NDArray[np.float32]:
        """The scores of all answers to one context that wait by the time it is its turn."""
        async with self._turn:
            batch = self._waiting.pop(context)
            return await asyncio.to_thread(self._scorer.score, context, batch.answers)


@dataclass
class _Batch:
    """Answers to one context that wait, and the task that scores them."""

    answers: list[str] = field(default_factory=list)
    scores: asyncio.Task[NDArray[np.float32]] | None = None


def answer_of(case: Case) -> str:
    """What is scored, in one line.

    >>> answer_of(Case(id="1", answer=("Heat", "Ronin")))
    'Heat; Ronin'
    """
    return "; ".join(clean(line, LINE_CHARACTERS) for line in case.answer)


def context_of(case: Case) -> str:
    """What a reward model reads beside the answer: what the agents' prompts say, in their words.

    >>> context_of(Case(id="1", answer=("x",), context=("Persona: Crime",), history=("Heat", "Ronin")))
    'Persona: Crime\\nChose: Heat; Ronin'
    """
    lines = [clean(line, LINE_CHARACTERS) for line in case.context]
    if case.history:
        lines.append(f"Chose: {'; '.join(clean(line) for line in case.history[-_CHOSEN:])}")
    return "\n".join(lines) or "Person: nothing known"
