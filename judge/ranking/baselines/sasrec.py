"""SASRec: causal self-attention over item ids (Kang and McAuley 2018, arXiv 1808.09781).

Loss: softmax over the target and uniformly drawn items (Klenitskiy and Vasilev 2023, arXiv 2309.07602, who find that
this, not the architecture, made its successors look better). Sequences are batched by length
and only real positions enter the loss, so an epoch takes seconds. Sizes are the papers' for small sets.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import nn
from torch.nn import functional as F

from foretaste.data.files import replacing, subfolder
from foretaste.data.histories import Histories
from foretaste.data.progress import meter
from foretaste.data.splits import Cases
from foretaste.serving.rules.base import Scores
from foretaste.serving.rules.ranking import ndcg
from foretaste.serving.rules.select import sample

_READ = 128  # histories of like length that are read at once
_START = 0.02  # standard deviation of all weights at the start


class SasrecConfig(BaseModel, frozen=True):
    """How it is trained.

    Attributes:
        dim, layers, heads: of the network.
        newest: events of a history that are read.
        dropout: everywhere.
        negatives: items drawn uniformly in a step.
        batch: events in a step.
        rate: learning rate of Adam.
        epochs: at most.
        patience: epochs without a better validation NDCG@10 after which training ends.
        cases: validation cases that are asked after each epoch.
        seed: of everything.
    """

    dim: int = 64
    layers: int = 2
    heads: int = 2
    newest: int = 50
    dropout: float = 0.3
    negatives: int = 512
    batch: int = 512
    rate: float = 2e-3
    epochs: int = 100
    patience: int = 6
    cases: int = 2000
    seed: int = 0


class _Net(nn.Module):  # type: ignore[misc]
    def __init__(self, items: int, config: SasrecConfig) -> None:
        super().__init__()
        self.items = nn.Embedding(items, config.dim)
        self.places = nn.Embedding(config.newest, config.dim)
        layer = nn.TransformerEncoderLayer(
            config.dim, config.heads, config.dim, config.dropout, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self._start()

    def forward(self, rows: Any, ages: Any) -> Any:
        """(b, t, dim) states after each event, from item rows and how many events are newer (b, t)."""
        x = self.dropout(self.items(rows) * self.items.embedding_dim**0.5 + self.places(ages))
        order = torch.arange(rows.shape[1])
        return self.norm(self.layers(x, mask=order[None] > order[:, None], is_causal=True))

    def _start(self) -> None:
        """Layers begin as small as the items' vectors: larger ones drown what an event is, and
        the first ten epochs pass near popularity.
        """
        for name, value in self.named_parameters():
            if value.ndim == 2:
                nn.init.normal_(value, std=_START)
            elif name.endswith("bias"):
                nn.init.zeros_(value)


@dataclass(frozen=True)
class Sasrec:
    """A trained network, ready to score."""

    net: Any
    newest: int
    epochs: int
    name: str = "sasrec"

    def scores(self, histories: Histories) -> Scores:
        """(n, items) float32; zeros for an empty history."""
        cut = histories.newest(self.newest)
        lengths = cut.lengths
        users = torch.zeros(len(cut), self.net.items.embedding_dim)
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        with torch.inference_mode():
            for start in range(0, len(order), _READ):
                part = order[start : start + _READ]
                rows, ages = _padded(cut, part)
                states = self.net(torch.as_tensor(np.maximum(rows, 0)), torch.as_tensor(ages))
                last = torch.as_tensor(lengths[part] - 1)
                users[torch.as_tensor(part)] = states[torch.arange(len(part)), last]
            scores: Scores = (users @ self.net.items.weight.T).numpy()
        return scores


def fit_sasrec(
    histories: Histories,
    items: int,
    validation: Cases | None,
    config: SasrecConfig | None = None,
) -> Sasrec:
    """Train until validation is not better any more; kept below home, so asked twice it trains once.

    Args:
        histories: events that are learnt from.
        items: of the catalogue.
        validation: cases that choose the epoch; None trains `config.epochs` epochs.
        config: sizes and rates.
    """
    config = config or SasrecConfig()
    path = (
        subfolder("cache", "baselines")
        / f"{_key(histories, items, validation, config)}.safetensors"
    )
    net = _network(items, config)
    if path.exists():
        from safetensors.torch import load_file

        state = load_file(path)
        epochs = int(state.pop("epochs"))
        net.load_state_dict(state)
        return Sasrec(net.eval(), config.newest, epochs)
    epochs = _train(net, histories, validation, config)
    from safetensors.torch import save_file

    with replacing(path) as part:
        save_file({**net.state_dict(), "epochs": torch.tensor(epochs)}, part)
    return Sasrec(net.eval(), config.newest, epochs)


def _network(items: int, config: SasrecConfig) -> _Net:
    torch.manual_seed(config.seed)
    return _Net(items, config)


def _train(net: _Net, histories: Histories, validation: Cases | None, config: SasrecConfig) -> int:
    """Train in place, leave the best epoch's weights, return how many epochs that took."""
    optimizer = torch.optim.Adam(net.parameters(), lr=config.rate, betas=(0.9, 0.98))
    draw = np.random.default_rng(config.seed)
    best, best_epoch, state = -1.0, config.epochs, net.state_dict()
    asked = sample(validation, config.cases, config.seed) if validation is not None else None
    with meter("Training SASRec", config.epochs, "epochs") as progress:
        for epoch in range(1, config.epochs + 1):
            _one_epoch(net, optimizer, histories, config, draw)
            progress.advance()
            if asked is None:
                continue
            model = Sasrec(net.eval(), config.newest, epoch)
            found = ndcg(model, asked, net.items.num_embeddings)
            if found > best:
                best, best_epoch = found, epoch
                state = {name: value.clone() for name, value in net.state_dict().items()}
            if epoch - best_epoch >= config.patience:
                break
    net.load_state_dict(state)
    return best_epoch


def _one_epoch(
    net: _Net, optimizer: Any, histories: Histories, config: SasrecConfig, draw: Any
) -> None:
    """All sequences once, their newest events, each event but the first a target."""
    net.train()
    cut = histories.newest(config.newest + 1)
    order = draw.permutation(np.flatnonzero(cut.lengths >= 2))
    order = order[np.argsort(cut.lengths[order], kind="stable")]
    ends = np.cumsum(cut.lengths[order] - 1) // config.batch  # events before each, in batches
    groups = np.split(order, np.flatnonzero(np.diff(ends)) + 1)
    items = net.items.num_embeddings
    for number in draw.permutation(len(groups)):
        rows, _ = _padded(cut, groups[number])
        real = rows[:, 1:] >= 0
        given = np.where(real, rows[:, :-1], 0)
        ages = np.maximum(real.sum(axis=1)[:, None] - 1 - np.arange(given.shape[1]), 0)
        states = net(torch.as_tensor(given), torch.as_tensor(ages))[torch.as_tensor(real)]
        targets = torch.as_tensor(rows[:, 1:][real])
        drawn = torch.as_tensor(draw.integers(items, size=config.negatives))
        own = (states * net.items(targets)).sum(dim=1, keepdim=True)
        others = states @ net.items(drawn).T
        others = others.masked_fill(drawn[None] == targets[:, None], -torch.inf)
        loss = F.cross_entropy(
            torch.cat([own, others], dim=1), torch.zeros(len(own), dtype=torch.int64)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _padded(histories: Histories, chosen: NDArray[np.int64]) -> tuple[Any, Any]:
    """(b, t) rows, -1 where padded, and how many events are newer."""
    lengths = histories.lengths[chosen]
    rows = np.full((len(chosen), int(lengths.max())), -1, dtype=np.int64)
    for line, number in zip(rows, chosen, strict=True):
        own = histories[int(number)]
        line[: len(own)] = own
    return rows, np.maximum(lengths[:, None] - 1 - np.arange(rows.shape[1]), 0)


def _key(histories: Histories, items: int, validation: Cases | None, config: SasrecConfig) -> str:
    total = hashlib.sha256(f"sasrec 2 {items} {validation is None} {config}".encode())
    total.update(np.ascontiguousarray(histories.rows).tobytes())
    total.update(np.ascontiguousarray(histories.offsets).tobytes())
    return total.hexdigest()[:16]
