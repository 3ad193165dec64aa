"""Settings of `finetune examples`: whose rows, how many of which kind, and what the agents are like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from foretaste.agents.config import AgentsConfig
from foretaste.data.errors import InputError
from foretaste.data.settings import groups_known, override
from foretaste.finetune.presets import read_preset

GROUPS = ("examples", "agents")


class ExamplesConfig(BaseModel, frozen=True, extra="forbid"):
    """What is made.

    The paper's mix (RecGPT-V2, arXiv 2512.14503, section 4) is 32 % behaviour, 16 % situational and
    52 % general instruction; a small model with few steps needs the general part less, and a longer
    training more of it.

    Attributes:
        rows: rows in all, of those that can be made.
        planner, expert, arbiter, explainer, style: shares of the agents' rows among those of a
            data set, which are brought to a sum of one.
        environment: share of the agents' rows with a season or a wish in their context.
        general: share of general instructions among all rows.
        future: events after the moment of a row that tell what was right.
        past: events before it, at least.
        validation: share of people whose rows only choose the checkpoint.
        seed: of people, moments, samples and mixing.
    """

    rows: int = Field(1000, ge=1)
    planner: float = Field(0.24, ge=0)
    expert: float = Field(0.3, ge=0)
    arbiter: float = Field(0.32, ge=0)
    explainer: float = Field(0.12, ge=0)
    style: float = Field(0.02, ge=0)
    environment: float = Field(0.1, ge=0, le=1)
    general: float = Field(0.06, ge=0, lt=1)
    future: int = Field(10, ge=1)
    past: int = Field(2, ge=1)
    validation: float = Field(0.06, gt=0, lt=1)
    seed: int = 0

    def shares(self) -> dict[str, float]:
        """Agent → its share among the rows of a data set, summing to one."""
        own = {
            name: float(getattr(self, name))
            for name in ("planner", "expert", "arbiter", "explainer", "style")
        }
        total = sum(own.values())
        if not total:
            raise InputError("All shares of examples are 0; give one of them more (--set).")
        return {name: share / total for name, share in own.items()}


class Preset(BaseModel, frozen=True, extra="forbid"):
    """One file of settings.

    Attributes:
        examples: how many rows of which kind.
        agents: what the agents are told and asked for; adapters carry it, and serve so.
    """

    examples: ExamplesConfig = ExamplesConfig()
    agents: dict[str, Any] = {}

    def agents_config(self) -> AgentsConfig:
        """The agents' settings, the others at their defaults."""
        return AgentsConfig.model_validate(self.agents)


def load_preset(name: str = "cpu", changes: Sequence[str] = ()) -> Preset:
    """The preset with every `examples.FIELD=VALUE` and `agents.FIELD=VALUE` of `changes`.

    Raises:
        InputError: no such preset, or a change that is not one.
    """
    given = read_preset("examples", name)
    groups_known(changes, GROUPS)
    own = {c.partition("=")[0].removeprefix("agents.") for c in changes if c[:7] == "agents."}
    try:
        start = Preset.model_validate(given)
        before = start.agents_config()
    except ValidationError as error:
        raise InputError(f"The preset {name} does not fit: {error}.") from error
    agents = override(before, "agents", changes).model_dump()
    kept = {field: agents[field] for field in agents if field in start.agents or field in own}
    return Preset(examples=override(start.examples, "examples", changes), agents=kept)
