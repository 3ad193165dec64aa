"""Both forms on the real vLLM with the bundled model; adapters and shared prefixes beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from foretaste.data.errors import ModelError
from foretaste.serving.adapters import Adapters
from foretaste.serving.chat import Ask, Entity, Message
from foretaste.serving.engine_config import DEFAULT_MODEL, EngineConfig
from foretaste.serving.hybrid_chat import HybridChat
from foretaste.serving.hybrid_prompt import PromptWriter
from foretaste.serving.openai_chat import OpenAIChat
from foretaste.serving.store import model_folder
from foretaste.serving.vllm_server import VllmServer, vllm_server

pytestmark = pytest.mark.model
FILMS = [
    "Star Wars (Action, Adventure, Sci-Fi)",
    "The English Patient (Drama, Romance, War)",
    "Toy Story (Animation, Children, Comedy)",
    "Alien (Action, Horror, Sci-Fi, Thriller)",
    "Il Postino (Drama, Romance)",
]


class Taste(BaseModel):
    name: str = Field(max_length=40)
    why: str = Field(max_length=120)


class Told(BaseModel):
    text: str = Field(max_length=160)


@pytest.fixture(scope="module")
def server() -> Iterator[VllmServer]:
    config = EngineConfig(
        enable_lora=True, max_loras=2, prompt_embeds=True, max_model_len=1024, dtype="float32"
    )
    with vllm_server(config) as running:
        yield running


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two small adapters made with peft, strong enough to change what is written."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model_folder(DEFAULT_MODEL), dtype=torch.float32)
    folders = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        settings = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj"])
        tuned = get_peft_model(base, settings)
        for name, weight in tuned.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
        folders.append(tmp_path_factory.mktemp("lora") / str(seed))
        tuned.save_pretrained(folders[-1])
        base = tuned.unload()
    return folders


def turns(films: Sequence[str]) -> tuple[Message, ...]:
    parts: list[Any] = ["<data>\n"]
    for number, film in enumerate(films, 1):
        parts += [f"{number}. ", Entity(str(number), film), "\n"]
    parts.append("</data>\nName the taste behind these choices in a few words, and say why.")
    return Message("system", "Answer with JSON only."), Message("user", tuple(parts))


def test_hybrid_and_text_answer_the_same_with_own_token_embeddings(
    server: VllmServer, loras: list[Path]
) -> None:
    """At temperature 0, with a JSON schema, on the base model and on an adapter."""
    writer = PromptWriter(model_folder(DEFAULT_MODEL))

    def own_tokens(entities: Sequence[Entity]) -> list[NDArray[np.float32]]:
        return [writer.rows(writer.tokens(f" {one.text}")).float().numpy() for one in entities]

    async def go() -> list[tuple[Any, Any]]:
        adapters = Adapters(lambda: server.url)
        tuned = await adapters.load("equal", loras[0])
        text = OpenAIChat(server.url, server.model)
        hybrid = HybridChat(server.url, server.model, writer, own_tokens)
        pairs = []
        for adapter in (None, tuned.served):
            for films in (FILMS, FILMS[1:4], FILMS[:1]):
                ask = Ask(turns(films), Taste, max_tokens=90, adapter=adapter)
                pairs.append((await text.ask(ask), await hybrid.ask(ask)))
        await adapters.unload("equal")
        await text.close()
        await hybrid.close()
        return pairs

    pairs = asyncio.run(go())
    assert [one.text for one, _ in pairs] == [other.text for _, other in pairs]
    assert [one.usage.prompt for one, _ in pairs] == [other.usage.prompt for _, other in pairs]
    assert len({one.text for one, _ in pairs}) == 6, "each prompt and each adapter says its own"


def test_adapters_come_and_go_and_versions_stand_side_by_side(
    server: VllmServer, loras: list[Path]
) -> None:
    async def go() -> None:
        adapters = Adapters(lambda: server.url)
        chat = OpenAIChat(server.url, server.model, adapters=adapters)

        async def say(adapter: str | None) -> str:
            return (await chat.ask(Ask(turns(FILMS), Told, max_tokens=60, adapter=adapter))).text

        base = await say(None)
        first = await adapters.load("films", loras[0], "1")
        one = await say("films")
        await adapters.load("films", loras[1], "2")
        two = await say("films")
        assert len({base, one, two}) == 3
        assert list(await asyncio.gather(say("films@1"), say("films@2"))) == [one, two]
        await adapters.unload(first.served)
        with pytest.raises(ModelError, match="loaded are: films, films@2"):
            await say("films@1")
        await adapters.replace("films", loras[0], "3")
        assert await say("films") == one
        assert adapters.names == ["films", "films@3"]
        with pytest.raises(ModelError, match="films@3"):
            await OpenAIChat(server.url, server.model).ask(
                Ask(turns(FILMS), Told, adapter="films@2")
            )
        await adapters.unload("films")
        assert await say(None) == base
        await chat.close()

    asyncio.run(go())
