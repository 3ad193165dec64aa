"""One side of a comparison: which model answers, on which way, with which adapter, in which form."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from foretaste.agents.retrieval.tools import Tools
from foretaste.app.api.service import Service
from foretaste.app.api.workshop import AskedFrom
from foretaste.data.errors import InputError, ModelError
from foretaste.data.files import read_json
from foretaste.serving.chat import Answer, Ask, ChatModel, Message, Parsed
from foretaste.serving.engine import EngineConfig, open_chat
from foretaste.serving.shipped import adapter_list
from foretaste.serving.store import model_folder, model_list

MODEL, GROUNDED = "this server's model", "grounded, without a model"
OWN, BASE = "the server's own", "none: the model as it is"
TEXT, VECTORS = "text", "vectors"


@dataclass(frozen=True)
class Setting:
    """One side of a comparison.

    Attributes:
        answers: `MODEL`, `GROUNDED`, a model of the store (loaded into this process), or
            NAME@URL of an OpenAI-compatible endpoint.
        mode: the way to the tags.
        adapter: `OWN`, `BASE`, or the name of one that the engine has loaded.
        entities: how items stand in prompts, `TEXT` or `VECTORS`.
    """

    answers: str
    mode: Any
    adapter: str
    entities: str

    async def over(self, service: Service, stack: AsyncExitStack) -> Tools:
        """The tools of a service under this setting, to be used in its workshop.

        Args:
            service: of the data set.
            stack: closes what is opened for this side.

        Raises:
            InputError: the model, or the form, is not to be had here.
            ModelError: the store's model cannot be loaded.
        """
        tools = service.live.tools
        if self.answers == GROUNDED:
            return tools.with_model(None)
        model = await self._model(service, stack)
        changes: dict[str, Any] = {"entities": self.entities}
        if self.adapter == BASE or self.answers != MODEL:
            changes |= dict.fromkeys(_SLOTS)
        elif self.adapter != OWN:
            changes |= dict.fromkeys(_SLOTS) | {"adapter": self.adapter}
        there = AskedFrom(model, asyncio.get_running_loop())
        config = tools.config.model_copy(update=changes)
        return replace(tools, config=config).with_model(there)

    async def _model(self, service: Service, stack: AsyncExitStack) -> ChatModel:
        if self.answers == MODEL:
            if service.engine.model is None:
                raise InputError("This server has no model; compare grounded ways, or start one.")
            return self._written(service, service.engine.model)
        if self.entities == VECTORS:
            raise InputError("Only this server's model reads vectors; choose text for the others.")
        name, at, url = self.answers.partition("@")
        if at:
            config = EngineConfig(model=name.strip(), endpoint=url.strip())
        else:
            config = EngineConfig(model=self.answers, engine="transformers")
        return await stack.enter_async_context(open_chat(config))

    def _written(self, service: Service, model: ChatModel) -> ChatModel:
        """The server's model, reading items in the form of this side."""
        hybrid = service.live.tools.config.entities == VECTORS
        if self.entities == VECTORS and not hybrid:
            raise InputError(
                "This server reads items as text; train an adaptor (foretaste finetune adaptor) and "
                "start it with --set agents.entities=vectors to compare both forms."
            )
        return WrittenOut(model) if hybrid and self.entities == TEXT else model


_SLOTS = ("adapter", "planner_adapter", "expert_adapter", "arbiter_adapter", "explainer_adapter")


class WrittenOut:
    """A model that could read entities as vectors and is given their texts.

    Args:
        model: what answers; it is closed where it was opened.
    """

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        """Answer one question with every entity written out; see `ChatModel.ask`."""
        turns = tuple(Message(turn.role, turn.text) for turn in ask.messages)
        return await self._model.ask(replace(ask, messages=turns))

    async def close(self) -> None:
        """Nothing: the model is closed where it was opened."""


def answering(with_model: bool) -> list[str]:
    """Who can answer: the server's model where it has one, the grounded way, models of the store."""
    return [*([MODEL] if with_model else []), GROUNDED, *_language_models()]


def adapters() -> list[str]:
    """Adapters that can be chosen: the server's, none, those of the store and the shipped ones."""
    return [OWN, BASE, *(str(row["name"]) for row in adapter_list() if row["base"])]


def _language_models() -> list[str]:
    """Fetched models of the store that write text."""
    found = []
    for row in model_list():
        if not row["fetched"]:
            continue
        try:
            kinds = read_json(model_folder(row["name"]) / "config.json").get("architectures") or ()
        except (ModelError, InputError, OSError, ValueError):
            continue
        if any(str(kind).endswith("CausalLM") for kind in kinds):
            found.append(str(row["name"]))
    return found
