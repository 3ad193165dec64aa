"""The next-interest network: a language model's first layers read the history, one vector an event.

An item enters as one input vector: its sentence vector and its learned behaviour vector (`Side`, as in the
towers) through an adaptor as wide as the language model, plus what was done and how long before the
next event. The layers run once over the sequence, so every place yields h, what comes next from
there (KARMA, arXiv 2603.22779; items as single vectors as in HLLM, arXiv 2409.12740). h is projected to K
interest vectors in the item space and added to what the towers' codes see in the same history; the
projection starts at zero, so training starts at the towers and can only add.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import BaseModel
from torch import nn

from foretaste.serving.towers_net import Shape, TowersNet


class InterestShape(BaseModel, frozen=True):
    """How large the network is.

    Attributes:
        towers: of the item side and of the codes beside the language model.
        model: configuration of the language model as its own library saves it, cut to `layers`.
        actions: kinds of events that have a learned signal; 0 stands for an unknown one.
        gaps: classes of time between two events (0: unknown, then powers of four of an hour).
    """

    towers: Shape
    model: dict[str, Any]
    actions: int = 0
    gaps: int = 12


class InterestNet(nn.Module):  # type: ignore[misc]
    """Language model, adaptor and towers.

    Args:
        shape: sizes.
        dropout: share of the numbers of a behaviour that are hidden while training.
        low: arithmetic of the language model, bfloat16 where the processor is fast at it.
    """

    def __init__(
        self, shape: InterestShape, dropout: float = 0.0, low: torch.dtype = torch.float32
    ) -> None:
        from transformers import LlamaConfig, LlamaModel

        super().__init__()
        self.shape, self.low = shape, low
        self.towers = TowersNet(shape.towers, dropout)
        config = LlamaConfig(**shape.model)
        config.vocab_size = 1  # no words come in: the table of words would be most of the weights
        config.pad_token_id = None
        self.model = LlamaModel(config)
        width, dim = config.hidden_size, shape.towers.dim
        self.text = nn.Linear(shape.towers.text, width)
        self.seen = nn.Linear(dim, width, bias=False)
        self.actions = nn.Embedding(shape.actions + 1, width, padding_idx=0)
        self.gaps = nn.Embedding(shape.gaps + 1, width, padding_idx=0)
        self.begin = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        self.heads = nn.Linear(width, shape.towers.codes * dim)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)

    def inputs(self, text: Any, seen: Any, actions: Any = None, gaps: Any = None) -> Any:
        """(b, t, width) input vectors of events, of the size of word embeddings.

        Args:
            text: (b, t, text) sentence vectors of the items.
            seen: (b, t, dim) their behaviour vectors.
            actions, gaps: (b, t) int64, what was done and the time before; None for unknown.
        """
        x = self.text(text) + self.seen(seen)
        if actions is not None:
            x = x + self.actions(actions)
        if gaps is not None:
            x = x + self.gaps(gaps)
        return self.dropout(x)

    def read(self, inputs: Any, cache: Any = None, **wanted: Any) -> Any:
        """What the language model gives back for input vectors, the beginning put before them.

        Args:
            inputs: (b, t, width).
            cache: of the events that were read before, which `inputs` go on from.
            wanted: further arguments of the model (`output_attentions`, `use_cache`).

        Returns:
            The model's output; `last_hidden_state` is (b, t + 1, width), (b, t, width) with a cache.
        """
        if cache is None:
            begin = self.begin.expand(len(inputs), 1, -1)
            inputs = torch.cat([begin, inputs], dim=1)
        with torch.autocast("cpu", self.low, enabled=self.low != torch.float32):
            return self.model(
                inputs_embeds=inputs, past_key_values=cache, **{"use_cache": False} | wanted
            )

    def hidden(self, inputs: Any) -> Any:
        """h after every event, (b, t, width) float32; padding stands at the end and is not looked at."""
        return self.norm(self.read(inputs).last_hidden_state[:, 1:].float())

    def added(self, hidden: Any) -> Any:
        """(b, places, codes, dim), what h adds to each of the user's vectors."""
        towers = self.shape.towers
        return self.heads(self.dropout(hidden)).unflatten(-1, (towers.codes, towers.dim))
