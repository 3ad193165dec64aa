"""Settings of one recommendation. Every field can be set by `--set agents.<field>=<value>`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from foretaste.agents.explaining.languages import audience, language
from foretaste.agents.ranking.page_config import PageSettings

# The same work, the same adapter.
_SLOTS = {"route_persona": "planner", "route_tags": "expert", "style": "explainer"}


class AgentsConfig(PageSettings, frozen=True, extra="forbid"):
    """How many personas, tags and candidates; what the page is like stands in `PageSettings`.

    RecGPT-V2 (arXiv 2512.14503) leaves the numbers of personas K and kept tags N unpublished;
    the defaults here suit a small model on two cores.
    """

    personas: int = Field(5, ge=1, le=12, description="K, personas that the planner may find")
    adaptive_personas: bool = Field(
        True, description="fewer personas for a narrow taste; false always wants all K"
    )
    persona_spread: float = Field(
        0.7,
        ge=0,
        description="variance inside personas, of the catalogue's, that is narrow enough",
    )
    persona_overlap: float = Field(
        0.5, gt=0, le=1, description="shared evidence from which two personas are one"
    )
    persona_likeness: float = Field(
        0.9, gt=0, le=1, description="cosine of their texts from which two personas are one"
    )
    tags: int = Field(5, ge=1, le=30, description="M, tags that each expert proposes")
    kept: int = Field(
        10, ge=1, le=60, description="N, tags that the arbiter keeps over all experts"
    )
    offered: int = Field(
        0,
        ge=0,
        le=60,
        description="categories that people with the same choices chose next, which a model as "
        "arbiter may keep beside the experts' tags",
    )
    same_items: float = Field(
        0.5, gt=0, le=1, description="shared finds from which two tags say the same"
    )
    persona_duplicates: float = Field(
        0.02, ge=0, le=1, description="share of a tag's finds that other personas may find too"
    )
    recent_items: int = Field(
        20, ge=0, le=500, description="newest choices that no tag may merely repeat"
    )
    history_items: int = Field(
        30, ge=1, le=500, description="newest events that the grounded planner groups"
    )
    history_tokens: int = Field(
        1000, ge=50, description="tokens that a prompt spends on the whole history, compressed"
    )
    exact_events: int = Field(
        10, ge=0, description="newest events that stand in a prompt one a line and in full"
    )
    entities: Literal["text", "vectors"] = Field(
        "text",
        description="how items stand in prompts: written out, or as one vector each where an "
        "adaptor fits the data set and the engine (`foretaste finetune adaptor`)",
    )
    evidence_items: int = Field(3, ge=1, le=50, description="evidence items that an expert reads")
    candidates: int = Field(200, ge=1, description="items that each channel hands to the ranker")
    tag_depth: int = Field(50, ge=1, description="items that one tag, or the wish, finds")
    min_tags: int = Field(
        3,
        ge=1,
        description="valid tags below which an expert's answer is completed by grounded ones; below "
        "half of them it fails",
    )
    profile: bool = Field(
        True, description="whether a profile of the user is kept, and told to the agents"
    )
    deadline_s: float = Field(
        120.0, gt=0, description="seconds that one call of the model may take"
    )
    temperature: float = Field(0.0, ge=0, le=2, description="sampling temperature; 0 is greedy")
    retries: int = Field(
        0,
        ge=0,
        le=3,
        description="times an agent is asked again, by sampling, when its answer fails its checks",
    )
    language: str = Field("en", description="of explanations: de, en, es, fr or nl")
    audience: str = Field("general", description="of explanations: general, expert or child")
    explained_together: int = Field(
        2, ge=1, le=6, description="items of one persona or channel that one call explains"
    )
    keep_memory: bool = Field(
        False, description="whether what explanations said lately outlives the process"
    )
    adapter: str | None = Field(
        None, description="LoRA adapter of the engine, for every agent without one of its own"
    )
    planner_adapter: str | None = Field(None, description="LoRA adapter of the planner")
    expert_adapter: str | None = Field(None, description="LoRA adapter of the experts")
    arbiter_adapter: str | None = Field(None, description="LoRA adapter of the arbiter")
    explainer_adapter: str | None = Field(None, description="LoRA adapter of the explainer")

    @field_validator("language")
    @classmethod
    def _known_language(cls, value: str) -> str:
        return language(value).code

    @field_validator("audience")
    @classmethod
    def _known_audience(cls, value: str) -> str:
        audience(value)
        return value

    def adapter_of(self, node: str) -> str | None:
        """The adapter that a node's calls use; None for the base model."""
        own: str | None = getattr(self, f"{_SLOTS.get(node, node)}_adapter", None)
        return own or self.adapter
