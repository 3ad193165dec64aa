"""`ChatModel` that sends prompts as vectors, so that an entity costs one position instead of many.

vLLM reads them as `prompt_embeds` of `/v1/completions`, beside a LoRA adapter and a JSON schema as
with text; its prefix cache tells blocks apart by the bytes of their vectors.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretaste.data.errors import InputError
from foretaste.data.files import subfolder
from foretaste.serving.adapters import Adapters
from foretaste.serving.chat import Ask, Entity
from foretaste.serving.embedder import Embedder, fingerprint_of, load_embedder
from foretaste.serving.engine_config import EngineConfig
from foretaste.serving.hybrid_adaptor import Adaptor, load_adaptor
from foretaste.serving.hybrid_prompt import EntityVectors, PromptWriter
from foretaste.serving.hybrid_store import adaptor_folder
from foretaste.serving.merged import JOINT, merges, parted
from foretaste.serving.openai_chat import OpenAIChat
from foretaste.serving.store import model_folder
from foretaste.serving.vector_cache import VectorCache


class HybridChat(OpenAIChat):
    """The same endpoint, asked with vectors.

    Args:
        url: the address up to and including `/v1` of a vLLM that accepts `prompt_embeds`.
        model: the name under which it knows the model.
        writer: writes prompts for that model.
        vectors: gives each entity its rows.
        alive, adapters: as in `OpenAIChat`.
    """

    def __init__(
        self,
        url: str,
        model: str,
        writer: PromptWriter,
        vectors: EntityVectors,
        *,
        alive: Callable[[], None] | None = None,
        adapters: Adapters | None = None,
    ) -> None:
        super().__init__(url, model, alive=alive, adapters=adapters)
        self._writer, self._vectors = writer, vectors

    async def request(self, ask: Ask[Any]) -> tuple[str, dict[str, Any]]:
        """The ask as a completion of vectors."""
        sent = await asyncio.to_thread(self._prompt, ask)
        return "completions", {"prompt_embeds": sent, **self.decoding(ask)}

    @staticmethod
    def written(choice: dict[str, Any]) -> Any:
        """The text of a completion."""
        return choice["text"]

    def _prompt(self, ask: Ask[Any]) -> str:
        import torch

        buffer = io.BytesIO()
        torch.save(self._writer.embeddings(ask.messages, self._vectors), buffer)
        return base64.b64encode(buffer.getvalue()).decode()


class AdaptedEntities:
    """One vector an entity: the adaptor over the sentence embedder, kept by text and adaptor.

    Args:
        adaptor: of this embedder.
        embedder: reads the entities' texts.
    """

    def __init__(self, adaptor: Adaptor, embedder: Embedder) -> None:
        self._adaptor, self._embedder = adaptor, embedder
        width = len(adaptor.b2)
        self._cache = VectorCache(subfolder("entities", adaptor.fingerprint), width)

    def __call__(self, entities: Sequence[Entity]) -> list[NDArray[np.float32]]:
        """(1, width) float32 for each entity, in order."""
        texts = [entity.text for entity in entities]
        vectors, found = self._cache.get(texts)  # (n, width), (n,)
        if not found.all():
            missing = sorted({texts[row] for row in np.flatnonzero(~found)})
            made = self._adaptor(self._embedder.encode(missing))
            self._cache.put(missing, made)
            place = {text: row for row, text in enumerate(missing)}
            for row in np.flatnonzero(~found):
                vectors[row] = made[place[texts[row]]]
        return [vectors[row : row + 1] for row in range(len(texts))]


def load_hybrid(config: EngineConfig) -> tuple[PromptWriter, AdaptedEntities]:
    """What the hybrid form of `config` needs; loads torch, the tokenizer and the adaptor.

    Raises:
        InputError: no adaptor is named, or the engine cannot read vectors.
        ModelError: the adaptor belongs to another embedder or language model.
    """
    hybrid_possible(config)
    folder, adaptor = model_folder(config.model), load_adaptor(adaptor_folder(str(config.adaptor)))
    embedder = load_embedder(adaptor.belongs.embedder)
    adaptor.check(embedder.fingerprint, fingerprint_of(model_folder(parted(config.model)[0])))
    return PromptWriter(folder), AdaptedEntities(adaptor, embedder)


def hybrid_possible(config: EngineConfig) -> None:
    """Raise `InputError` when the settings ask for a hybrid form that cannot be."""
    if config.adaptor is None:
        raise InputError(
            "The hybrid form needs an adaptor; name it or its folder (engine.adaptor=NAME), "
            "or use engine.form=text."
        )
    if config.engine == "transformers" and config.endpoint is None:
        raise InputError("The transformers engine reads text only; use vLLM, or engine.form=text.")
    if config.adapters and merges(config):
        raise InputError(
            "vLLM on a processor reads no vectors beside LoRA adapters; name the merged model "
            f"(engine.model={config.model}{JOINT}ADAPTER), or use engine.form=text."
        )
