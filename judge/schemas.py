"""What judges must answer: evidence first, then the reason, then the mark that follows from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from foretaste.judge.evidence import QUOTE_CHARACTERS
from foretaste.judge.objects import Mark, Tier

Passage = Annotated[str, Field(min_length=1, max_length=QUOTE_CHARACTERS)]
Reason = Annotated[str, Field(min_length=3, max_length=240)]
Shown = Literal["1", "2", "tie"]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class MarkAnswer(_Answer):
    """One evaluator's word in one dimension."""

    evidence: list[Passage] = Field(min_length=1, max_length=3)
    reason: Reason
    mark: Mark


class ReviewAnswer(_Answer):
    """The senior reviewer's word on a tier."""

    reason: Reason
    tier: Tier


class PointAnswer(_Answer):
    """Which answer is better in one dimension."""

    dimension: Annotated[str, Field(min_length=1, max_length=40)]
    why: Annotated[str, Field(min_length=3, max_length=160)]
    better: Shown


class CompareAnswer(_Answer):
    """Which of the two answers that were shown is better."""

    points: list[PointAnswer] = Field(min_length=1, max_length=8)
    reason: Reason
    better: Shown
