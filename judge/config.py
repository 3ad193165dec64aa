"""Settings of the agent judge. Every field can be set by `--set judge.<field>=<value>`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class JudgeConfig(BaseModel):
    """How a language model is asked to judge."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(0.0, ge=0, le=2, description="sampling temperature; 0 is greedy")
    seed: int = Field(0, description="of the sampling")
    adapter: str | None = Field(None, description="LoRA adapter of the engine; None for none")
    max_tokens: int = Field(256, ge=32, description="tokens that one answer may have")
    deadline_s: float = Field(120.0, gt=0, description="seconds that one call may take")
    history_items: int = Field(30, ge=0, description="newest lines of the history that are shown")
    review: bool = Field(
        False, description="whether a model reviews the tier once more, and may only lower it"
    )
