"""The shipped adapter, used by default for the bundled model it was trained on."""

from __future__ import annotations

from foretaste.agents.config import AgentsConfig
from foretaste.data.progress import note
from foretaste.serving.engine_config import EngineConfig
from foretaste.serving.merged import JOINT, merges
from foretaste.serving.shipped import adapter_list, record_of, shipped_folder

SLOTS = ("adapter", "planner_adapter", "expert_adapter", "arbiter_adapter", "explainer_adapter")


def with_shipped(
    config: AgentsConfig, engine: EngineConfig | None
) -> tuple[AgentsConfig, EngineConfig | None]:
    """The same settings with the shipped adapter of the engine's model, where nothing is chosen.

    Left as they are: an endpoint, prompts as vectors, settings that name adapters, a model without a
    shipped adapter, and an adapter that was trained on other prompts than are served now. The agents
    are told and asked what the adapter was trained with; what was set differently from the defaults
    stays. On a processor the adapter is added into the model's weights, elsewhere vLLM holds it apart.

    Args:
        config: of the agents.
        engine: that answers; None for none.
    """
    if engine is None or engine.endpoint or engine.form != "text":
        return config, engine
    if engine.adapters or engine.enable_lora or any(getattr(config, slot) for slot in SLOTS):
        return config, engine
    name = _fitting(engine.model)
    if name is None:
        return config, engine
    record = record_of(shipped_folder() / name)
    chosen = config.model_dump(exclude_unset=True)
    told = {**config.model_dump(), **record.get("agents", {}), **_changed(config, chosen)}
    if merges(engine):
        merged = engine.model_copy(update={"model": f"{engine.model}{JOINT}{name}"})
        return AgentsConfig.model_validate(told), merged
    engine = engine.model_copy(update={"adapters": f"{name}={shipped_folder() / name}"})
    return AgentsConfig.model_validate(told | {"adapter": name}), engine


def _changed(config: AgentsConfig, chosen: dict[str, object]) -> dict[str, object]:
    """What differs from the defaults."""
    plain = AgentsConfig().model_dump()
    return {key: value for key, value in chosen.items() if plain[key] != value}


def _fitting(model: str) -> str | None:
    """The shipped adapter of a model whose prompts are the ones that are served now."""
    from foretaste.finetune.examples.rows import fingerprint

    for row in adapter_list():
        if not row["shipped"] or row["base"] != model:
            continue
        record = record_of(shipped_folder() / str(row["name"]))
        if record.get("what") == "reward model":
            continue
        if record.get("prompts") == fingerprint():
            return str(row["name"])
        note(f"The shipped adapter {row['name']} was trained on other prompts and is left out.")
    return None
