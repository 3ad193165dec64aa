"""From messages to the vectors that a language model reads, one row a position.

The model's own tokenizer writes the conversation in its chat template. Text becomes tokens, and
tokens become rows of the model's own embedding table; an entity becomes the vectors that the caller
gives for it, in the hybrid form exactly one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretaste.data.errors import InputError, ModelError
from foretaste.serving.chat import Entity, Message, entities_of

_MARK = "\ue000"  # private use: stands for an entity while the template is written
_TABLE = ("model.embed_tokens.weight", "transformer.wte.weight", "embed_tokens.weight")
EntityVectors = Callable[[Sequence[Entity]], Sequence[NDArray[np.float32]]]


class PromptWriter:
    """Writes prompts for one language model. Loads torch and the tokenizer when made.

    Args:
        folder: the model's files; only its embedding table is mapped, never its other weights.

    Raises:
        ModelError: no chat template, or no embedding table under a known name.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if self.tokenizer.chat_template is None:
            raise ModelError(
                f"{folder} has no chat template, so it is no chat model; name an instruct one."
            )
        self._table = embedding_table(folder)  # (vocabulary, width)

    @property
    def width(self) -> int:
        """Numbers in one position."""
        return int(self._table.shape[1])

    def rows(self, tokens: Sequence[int]) -> Any:
        """(n, width) torch tensor, the model's own embeddings of tokens."""
        import torch

        return self._table[torch.tensor(tokens, dtype=torch.long)]

    def pieces(self, messages: Sequence[Message]) -> list[list[int] | Entity]:
        """The conversation in the chat template: runs of tokens, and the entities between them.

        The one space before an entity belongs to it: tokenizers write it into the word that
        follows, and in the hybrid form there is none.

        Raises:
            InputError: a text holds the private-use character that stands for an entity.
        """
        turns = [{"role": turn.role, "content": _marked(turn)} for turn in messages]
        entities = entities_of(messages)
        text: str = self.tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=False
        )
        texts = text.split(_MARK)
        if len(texts) != len(entities) + 1:
            raise ModelError(
                "The model's chat template does not keep every entity once; use the text form."
            )
        pieces: list[list[int] | Entity] = []
        for place, piece in enumerate(texts):
            last = place == len(entities)
            pieces.append(self.tokens(piece if last else piece.removesuffix(" ")))
            pieces += [] if last else [entities[place]]
        return pieces

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text as it stands, without marks of beginning or end."""
        if not text:
            return []
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def embeddings(self, messages: Sequence[Message], vectors: EntityVectors) -> Any:
        """(n, width) torch tensor in the table's own number format: the whole prompt.

        Args:
            messages: the conversation.
            vectors: gives each entity its rows, (k, width) float32.
        """
        import torch

        pieces = self.pieces(messages)
        given = iter(vectors([piece for piece in pieces if isinstance(piece, Entity)]))
        blocks = [
            torch.from_numpy(np.ascontiguousarray(next(given))).to(self._table.dtype)
            if isinstance(piece, Entity)
            else self.rows(piece)
            for piece in pieces
        ]
        return torch.cat(blocks)


def embedding_table(folder: Path) -> Any:
    """(vocabulary, width) torch tensor, mapped from the model's safetensors: read on use.

    Raises:
        ModelError: no tensor under a known name.
    """
    from safetensors import safe_open

    for path in _shards(folder):
        with safe_open(path, framework="pt") as file:
            for name in _TABLE:
                if name in file.keys():  # noqa: SIM118 - it is no dict
                    return file.get_tensor(name)
    raise ModelError(
        f"No embedding table ({', '.join(_TABLE)}) was found in {folder}; "
        "use the text form for this model."
    )


def _shards(folder: Path) -> list[Path]:
    """The files that may hold the table, as the model's index names them when there is one."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    return [folder / Path(places[name]).name for name in _TABLE if name in places]


def _marked(turn: Message) -> str:
    texts = [part for part in turn.parts if isinstance(part, str)]
    if any(_MARK in text for text in texts):
        raise InputError("A prompt's text must not hold the character U+E000; clean it first.")
    return "".join(part if isinstance(part, str) else _MARK for part in turn.parts)
