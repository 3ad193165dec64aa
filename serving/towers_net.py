"""The three towers as a network: who chose what, what an item is, what a tag says.

The item tower and the behaviours share a form (`Side`): text vector, facts (categories, attributes) and
a learned id part, summed. The user tower lets M learned codes attend over the behaviours (RecGPT-V2,
arXiv 2512.14503, section on multi-interest retrieval; attention of codes as in poly-encoders,
arXiv 1905.01969). The number of a row picks its learned part and is never read as a quantity.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import BaseModel
from torch import nn
from torch.nn import functional as F


class Shape(BaseModel, frozen=True):
    """How large the towers are.

    Attributes:
        items: rows of the catalogue at training.
        facts: categories and attributes that have a learned vector.
        text: numbers in a sentence vector.
        dim: numbers in a user, item or tag vector.
        codes: user vectors, M of the paper.
        layers: causal transformer layers under the codes; 0 leaves them out.
        heads: of these layers.
        newest: events of a history that are read.
    """

    items: int
    facts: int
    text: int
    dim: int = 96
    codes: int = 4
    layers: int = 0
    heads: int = 2
    newest: int = 50


class Side(nn.Module):  # type: ignore[misc]
    """What an item is to one side of the dot product: text + facts + learned id part."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.text = nn.Linear(shape.text, shape.dim)
        self.facts = nn.Embedding(shape.facts + 1, shape.dim, padding_idx=0)
        self.ids = nn.Embedding(shape.items + 1, shape.dim, padding_idx=0)

    def forward(self, text: Any, facts: Any, ids: Any) -> Any:
        """(n, dim) from text (n, text) float32, facts (n, f) and ids (n,) int64; 0 is unknown."""
        known = (facts > 0).sum(dim=1, keepdim=True).clamp(min=1)  # (n, 1)
        said = self.facts(facts).sum(dim=1) / known.sqrt()
        return self.text(text) + said + self.ids(ids)


class TowersNet(nn.Module):  # type: ignore[misc]
    """User, item and tag tower.

    Args:
        shape: sizes.
        dropout: share of the numbers of a behaviour that are hidden while training.
    """

    def __init__(self, shape: Shape, dropout: float = 0.0) -> None:
        super().__init__()
        self.shape = shape
        self.item, self.seen = Side(shape), Side(shape)
        self.tag = nn.Linear(shape.text, shape.dim)
        self.norm = nn.LayerNorm(shape.dim)
        self.codes = nn.Parameter(torch.randn(shape.codes, shape.dim) / math.sqrt(shape.dim))
        self.keys = nn.Linear(shape.dim, shape.dim, bias=False)
        self.asks = nn.Linear(shape.dim, shape.dim, bias=False)
        self.values = nn.Linear(shape.dim, shape.dim)
        self.age = nn.Parameter(_ages(shape))  # (codes, newest)
        self.popular = nn.Parameter(torch.zeros(()))
        self.sharpness = nn.Parameter(torch.tensor(math.log(14.0)))
        self.dropout = nn.Dropout(dropout)
        layer = nn.TransformerEncoderLayer(
            shape.dim, shape.heads, 2 * shape.dim, dropout, batch_first=True, norm_first=True
        )
        self.encoder = (
            nn.TransformerEncoder(layer, shape.layers, enable_nested_tensor=False)
            if shape.layers
            else None
        )

    def items(self, text: Any, facts: Any, ids: Any) -> Any:
        """h_v, (n, dim) of length 1; arguments as for `Side`."""
        return F.normalize(self.item(text, facts, ids), dim=-1)

    def tags(self, text: Any) -> Any:
        """h_t, (n, dim) of length 1, from the sentence vectors of tags (n, text)."""
        return F.normalize(self.tag(text), dim=-1)

    def users(self, seen: Any, at: Any, added: Any = 0.0) -> Any:
        """h_u as seen from some places of each history: (b, places, codes, dim) of length 1.

        Code m weighs event j from place t by softmax_j(c_m · k_j + q_t · k_j + age_m[t - j]), j up to
        t: what the event is, what it has to do with the newest one, how old it is.

        Args:
            seen: (b, t, dim) behaviours (`Side` of each event), oldest first, padded at the end.
            at: (b, places) int64; what comes after a place is not looked at.
            added: (b, places, codes, dim) what another reader of the history adds before the
                length becomes 1.
        """
        x = self.dropout(self.norm(seen))
        order = torch.arange(x.shape[1])
        if self.encoder is not None:
            x = self.encoder(x, mask=order[None, :] > order[:, None], is_causal=True)
        keys = self.keys(x) / math.sqrt(x.shape[-1])  # (b, t, dim)
        asks = self.asks(x.gather(1, at[:, :, None].expand(-1, -1, x.shape[-1])))
        by_code = torch.einsum("md,bjd->bmj", self.codes, keys)[:, :, None]
        by_newest = torch.einsum("bpd,bjd->bpj", asks, keys)[:, None]
        ages = at[:, :, None] - order  # (b, places, t)
        by_age = self.age[:, ages.clamp(0, self.shape.newest - 1)].transpose(0, 1)
        weight = by_code + by_newest + by_age  # (b, codes, places, t)
        weight = weight.masked_fill((ages < 0)[:, None], -torch.inf).softmax(dim=-1)
        pooled = torch.einsum("bmpj,bjd->bpmd", weight, x + self.values(x))
        return F.normalize(pooled + added, dim=-1)

    def scores(self, vectors: Any, items: Any, popular: Any) -> Any:
        """y = exp(sharpness) · max_m h_m · h_v + popular · log(1 + events of v), (n, items).

        Args:
            vectors: (n, m, dim) user vectors, or (n, 1, dim) tag vectors.
            items: (items, dim) item vectors.
            popular: (items,) log(1 + events).
        """
        n, codes, dim = vectors.shape
        all_codes = (vectors.reshape(n * codes, dim) @ items.T).reshape(n, codes, -1)
        return all_codes.max(dim=1).values * self.sharpness.exp() + self.popular * popular


def _ages(shape: Shape) -> Any:
    """(codes, newest) where the weight of age starts: decays from 0.3 (one event) to 0.9 (all)."""
    decays = torch.linspace(0.3, 0.9, shape.codes) if shape.codes > 1 else torch.tensor([0.5])
    return torch.log(decays)[:, None] * torch.arange(shape.newest).clamp(max=20)
