"""The trivial judge: how near an answer is to what is known of the person, by sentence vectors.

Whatever judges well must beat it: in arXiv 2508.08777 it agrees with people about as often as a coin.
"""

from __future__ import annotations

import asyncio

from foretaste.agents.wording.prompting import clean
from foretaste.judge.objects import Case, Judgement
from foretaste.judge.people.methods import recent
from foretaste.judge.prompting import LINE_CHARACTERS
from foretaste.judge.records import Records
from foretaste.serving.embedder import Embedder


class CosineJudge:
    """The cosine of what is known and the answer: a score, no marks and no tier.

    What is known is history, profile and context; of much the last lines count, as an embedder reads
    no more. Without any of it there is nothing to be near to, and the score is 0.

    Args:
        embedder: of the texts.
        records: tells history, profile and the facts of items; None for what the case itself says.
    """

    def __init__(self, embedder: Embedder, records: Records | None = None) -> None:
        self._embedder, self._records = embedder, records

    @property
    def name(self) -> str:
        """`cosine` and the embedder."""
        return f"cosine {self._embedder.name}"

    @property
    def made_of(self) -> dict[str, str]:
        """The embedder and the data set."""
        known = self._records.dataset.info.fingerprint if self._records else ""
        return {
            "judge": "cosine",
            "model": self._embedder.name,
            "embedder_hash": self._embedder.fingerprint,
            "dataset": known,
        }

    async def judge(self, case: Case) -> Judgement:
        """The cosine, at least 0."""
        told = self._records.of_person(case) if self._records else case
        lines = [clean(one, LINE_CHARACTERS) for one in told.history + told.profile + told.context]
        score = 0.0
        if lines:
            answer = "; ".join(clean(one, LINE_CHARACTERS) for one in case.answer)
            texts = [recent("\n".join(lines)), answer]
            seen, said = await asyncio.to_thread(self._embedder.encode, texts)  # (d,) each
            score = round(max(0.0, float(seen @ said)), 6)
        return Judgement(id=case.id, group=case.group, segments=case.segments, score=score)
