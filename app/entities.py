"""`agents.entities=vectors`: the data set's adaptor, when one fits the engine, else the text form."""

from __future__ import annotations

from foretaste.agents.config import AgentsConfig
from foretaste.data.errors import InputError, ModelError
from foretaste.data.progress import note
from foretaste.serving.engine import EngineConfig
from foretaste.serving.hybrid_chat import hybrid_possible
from foretaste.serving.hybrid_store import fitting_adaptor


def in_form(
    config: AgentsConfig, engine: EngineConfig | None, dataset: str
) -> tuple[AgentsConfig, EngineConfig | None]:
    """The settings of agents and engine that belong together.

    With `agents.entities=vectors` the engine gets the adaptor that `engine.adaptor` names, or the
    one that `foretaste finetune adaptor` made for this data set. Where there is none, or it was
    trained for another model or embedder, or the engine cannot read vectors, one line says why and
    both go on with text.

    Args:
        config: of the agents.
        engine: None when no model is asked.
        dataset: its name.
    """
    if config.entities == "text" or engine is None:
        return config, engine
    try:
        folder = fitting_adaptor(engine.adaptor or dataset, engine.model)
        hybrid = engine.model_copy(update={"form": "hybrid", "adaptor": str(folder)})
        hybrid_possible(hybrid)
    except (InputError, ModelError) as reason:
        note(f"Entities are written as text: {reason}")
        as_text = config.model_copy(update={"entities": "text"})
        return as_text, engine.model_copy(update={"form": "text"})
    return config, hybrid
