"""Settings of the page: how much of it explores, how alike its items may be."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class PageSettings(BaseModel, frozen=True, extra="forbid"):
    """How a page is made; part of `AgentsConfig`. docs/ranking-page.md tells what each one costs."""

    exploration: float = Field(
        0.1,
        ge=0,
        le=1,
        description="largest share of the page for items only the agents would show",
    )
    exploration_least: float = Field(
        0.0,
        ge=0,
        le=1,
        description="smallest such share, as long as the conversion floor allows it",
    )
    conversion_floor: float = Field(
        1.2,
        ge=0,
        description="share of the conversion of the places it takes that exploration must keep",
    )
    allocation_strength: float = Field(
        0.05, gt=0, description="lambda of traffic allocation: small shows few items wholly"
    )
    diversity: Literal["mmr", "dpp", "none"] = Field(
        "mmr", description="mmr (marginal relevance), dpp (determinantal point process) or none"
    )
    diversity_weight: float = Field(
        0.05, gt=0, lt=1, description="what unlike items weigh against relevance"
    )
    category_cap: float = Field(
        0.8, gt=0, le=1, description="largest share of the page for one category"
    )
    persona_cap: float = Field(
        0.8, gt=0, le=1, description="largest share of the page found by tags of one persona"
    )
    swap: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="chance with which two neighbours of a served page change places, so that the "
        "log can tell place from worth; evaluations leave nothing to chance",
    )
    trend_days: float = Field(
        30.0, gt=0, description="days of the window of fresh and trending items"
    )
    pulse_weight: float = Field(
        0.005, ge=0, description="weight of what is fresh or rises beside the rule's 1"
    )
    towers_mix: float | None = Field(
        None, ge=0, le=1, description="weight of the user's vectors against the tags' in the towers"
    )
