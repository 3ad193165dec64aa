"""The language model with frozen weights: the student reads entities as vectors, the teacher as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from foretaste.finetune.adaptor.rows import Row
from foretaste.finetune.grouped_attention import use_grouped_attention
from foretaste.finetune.language_model import load_base, number_format, with_adapter
from foretaste.serving.chat import Entity
from foretaste.serving.hybrid_adaptor import Adaptor, Belongs
from foretaste.serving.hybrid_prompt import PromptWriter

_ENTITY = -1  # in place of a token


class AdaptorNet(nn.Module):  # type: ignore[misc]
    """The two layers of an adaptor, as what is trained."""

    def __init__(self, adaptor: Adaptor) -> None:
        super().__init__()
        self.w1, self.b1, self.w2, self.b2 = (
            nn.Parameter(torch.from_numpy(array.copy()))
            for array in (adaptor.w1, adaptor.b1, adaptor.w2, adaptor.b2)
        )

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """(n, model) for sentence vectors (n, embedder)."""
        hidden = torch.relu(functional.linear(vectors, self.w1, self.b1))
        return functional.linear(hidden, self.w2, self.b2)

    def adaptor(self, belongs: Belongs) -> Adaptor:
        """The same layers as they are served."""
        w1, b1, w2, b2 = (value.detach().numpy().copy() for value in self.parameters())
        return Adaptor(w1, b1, w2, b2, belongs)


@dataclass(frozen=True)
class Positions:
    """One row as positions.

    Attributes:
        tokens: (n,) token ids, -1 where an entity's vector stands.
        entities: those of the -1s, in order.
        answer: (a,) ids of the answer; the last a of the n + 1 positions.
    """

    tokens: NDArray[np.int64]
    entities: tuple[Entity, ...]
    answer: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.tokens)


class Frozen:
    """A causal language model that is only ever read, in bfloat16 where that is fast.

    Args:
        name: of the model; see `serving/store.py`.
        adapter: a LoRA adapter that is active, merged into the weights here; None for none.

    Raises:
        ModelError: no such model or adapter, or no chat template.
    """

    def __init__(self, name: str, adapter: Path | None = None) -> None:
        loaded = load_base(name, "auto" if adapter is None else "float32")
        self.writer, self.model = PromptWriter(loaded.folder), loaded.model
        if adapter is not None:
            self.model = with_adapter(loaded, adapter).model.merge_and_unload()
        self.dtype = torch.bfloat16 if number_format() == "bfloat16" else torch.float32
        self.model.to(self.dtype).eval().requires_grad_(False)
        use_grouped_attention(self.model)
        self.table: torch.Tensor = self.model.get_input_embeddings().weight  # (vocabulary, width)

    def sequence(self, row: Row, *, text: bool = False) -> Positions:
        """A row as positions: entities as vectors, or written out.

        The text form is tokenised as a whole, as the engine does it.
        """
        tokenizer = self.writer.tokenizer
        answer = self.writer.tokens(row.answer)
        answer += [tokenizer.eos_token_id] if row.complete else []
        entities: list[Entity] = []
        prompt: list[int] = []
        if text:
            turns = [{"role": turn.role, "content": turn.text} for turn in row.messages]
            prompt = tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_dict=True
            )["input_ids"]
        else:
            for piece in self.writer.pieces(row.messages):
                entities += [piece] if isinstance(piece, Entity) else []
                prompt += [_ENTITY] if isinstance(piece, Entity) else piece
        return Positions(
            np.array([*prompt, *answer[:-1]], dtype=np.int64),
            tuple(entities),
            np.array(answer, dtype=np.int64),
        )

    def states(
        self, batch: Sequence[Positions], vectors: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(answer tokens of all, width): the last hidden states, from which each is predicted.

        Args:
            batch: padded on the right, where causal attention never looks.
            vectors: (entities of all, width) in order; None when there are none.
        """
        longest = max(len(one) for one in batch)
        tokens = torch.zeros((len(batch), longest), dtype=torch.long)
        places, kept = [], []
        for line, one in enumerate(batch):
            tokens[line, : len(one)] = torch.from_numpy(np.maximum(one.tokens, 0))
            places += [(line, int(at)) for at in np.flatnonzero(one.tokens == _ENTITY)]
            first = len(one) - len(one.answer)
            kept += [line * longest + at for at in range(first, len(one))]
        embeds = self.table[tokens]  # (batch, longest, width)
        if vectors is not None and places:
            lines, at = torch.tensor(places).T
            embeds = embeds.index_put((lines, at), vectors.to(self.dtype))
        hidden = self.model.base_model(inputs_embeds=embeds, use_cache=False).last_hidden_state
        return hidden.reshape(-1, hidden.shape[-1])[torch.tensor(kept)]

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """(n, vocabulary) float32 scores of the next token."""
        scores: torch.Tensor = self.model.get_output_embeddings()(states.to(self.dtype)).float()
        return scores


def self_perception(scores: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
    """(n,) -log p(y* | hybrid prompt, y* before) of each answer token (methods of RecGPT-V2, eq. 3)."""
    return functional.cross_entropy(scores, answers, reduction="none")


def alignment(scores: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """(n,) KL(teacher || student) in nats of each token's distribution.

    Args:
        scores: (n, vocabulary) logits of the student, which reads vectors.
        teacher: (n, vocabulary) logits of the same model, which reads the text.
    """
    wanted = torch.log_softmax(teacher, dim=-1)
    found = torch.log_softmax(scores, dim=-1)
    return (wanted.exp() * (wanted - found)).sum(dim=-1)


def likeness(states: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Squared distance of last hidden states, over the teacher's own squared length.

    Args:
        states: (n, width) of the hybrid prompt's answer tokens.
        teacher: (n, width) of the same tokens after the full text.

    Returns:
        One number, which gradients flow through: 0 when they are the same, 1 when all states are 0.
    """
    wanted = teacher.float()
    return (states.float() - wanted).square().sum() / wanted.square().sum()
