"""One step and one epoch of training; what happens in a step depends on seed, epoch and step alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foretaste.data.histories import Histories
from foretaste.finetune.towers.config import TowersConfig
from foretaste.finetune.towers.data import Batch, Vocabulary, batches, hindsight
from foretaste.finetune.towers.loss import Candidates, candidates, sampled_softmax
from foretaste.serving.rules.base import Scores
from foretaste.serving.towers_net import Shape, TowersNet

Ints = NDArray[np.int64]
TAGGED = 256  # events of a step whose tags are learnt from
_CLIP = 5.0  # longest gradient
_SAMPLE = 20_000  # sentence vectors that decide where the projections start


@dataclass(frozen=True)
class Material:
    """What is trained on.

    Attributes:
        histories: training events.
        text: (items, text) float32 sentence vectors, possibly memory-mapped.
        facts: (items, f) numbers of facts, 0 for none.
        fact_names: in the order of their numbers.
        counts: (items,) training events.
        words: categories and tags.
        said: (texts, text) float32 sentence vectors of `words.texts`.
    """

    histories: Histories
    text: Scores
    facts: Ints
    fact_names: list[str]
    counts: Ints
    words: Vocabulary
    said: Scores

    def shape(self, config: TowersConfig) -> Shape:
        """The network's sizes."""
        return Shape(
            items=len(self.counts),
            facts=len(self.fact_names),
            text=self.text.shape[1],
            dim=config.dim,
            codes=config.codes,
            layers=config.layers,
            heads=config.heads,
            newest=config.newest,
        )


class Trainer:
    """A network with its optimizer, one epoch after the other.

    Args:
        material: what is trained on.
        config: how.
        steps: steps of the whole training, over which the learning rate rises and falls.
    """

    def __init__(self, material: Material, config: TowersConfig, steps: int) -> None:
        torch.manual_seed(config.seed)
        self.material, self.config, self.steps = material, config, max(steps, 1)
        self.net = TowersNet(material.shape(config), config.dropout)
        start_as_text(self.net, material.text, config.seed)
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=config.rate, weight_decay=config.decay
        )
        self.shares = material.counts / max(int(material.counts.sum()), 1)
        self.popular = torch.log1p(torch.as_tensor(material.counts, dtype=torch.float32))
        self.done = 0

    def epoch_batches(self, epoch: int) -> list[Batch]:
        """The batches of one epoch, the same whenever they are asked for."""
        config = self.config
        draw = np.random.default_rng([config.seed, epoch])
        newest = self.material.histories.newest(config.newest + 1)
        return list(batches(newest, config.batch, config.window, config.reverse, draw))

    def step(self, batch: Batch) -> dict[str, float]:
        """One step; returns the parts of the loss."""
        self.net.train()
        draw = np.random.default_rng([self.config.seed, 1, self.done])
        torch.manual_seed(int(draw.integers(2**62)))  # of dropout
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate * rate(self.done, self.steps)
        losses = self._losses(batch, draw)
        total = (
            losses["col"]
            + self.config.tag_weight * losses.get("tag", 0.0)
            + self.config.category_weight * losses.get("cate", 0.0)
        )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), _CLIP)
        self.optimizer.step()
        self.done += 1
        return {name: float(value.detach()) for name, value in losses.items()}

    def memory(self) -> dict[str, Any]:
        """What the optimizer remembers, as tensors by `number.name`."""
        return {
            f"{number}.{name}": value
            for number, own in self.optimizer.state_dict()["state"].items()
            for name, value in own.items()
        }

    def load(self, weights: dict[str, Any], memory: dict[str, Any], done: int) -> None:
        """Go on from these weights and this memory of the optimizer, `done` steps being done."""
        self.net.load_state_dict(weights)
        state: dict[int, dict[str, Any]] = {}
        for key, value in memory.items():
            number, name = key.split(".", 1)
            state.setdefault(int(number), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.done = done

    def _losses(self, batch: Batch, draw: np.random.Generator) -> dict[str, Any]:
        """L_col, and L_tag and L_cate where there is a tag or a category and a weight for it."""
        real = batch.targets >= 0
        targets = batch.targets[real]  # (n,)
        chosen = candidates(targets, self.shares, self.config.negatives, draw)
        items = self.net.items(*self._given(chosen.rows, draw))  # (c, dim)
        seen = self.net.seen(*self._given(batch.rows.ravel(), draw))
        seen = seen.reshape(*batch.rows.shape, -1)  # (b, t, dim)
        at = torch.arange(batch.rows.shape[1]).expand(len(batch.rows), -1)
        users = self.net.users(seen, at)[torch.as_tensor(real)]  # (n, codes, dim)
        losses = {"col": self._loss(users, items, chosen, targets, self.config.smoothing)}
        kinds = zip(
            ("tag", "cate"),
            hindsight(batch, self.material.words, draw),
            (self.config.tag_weight, self.config.category_weight),
            strict=True,
        )
        for kind, texts, weight in kinds:
            some = np.flatnonzero(texts >= 0)
            some = draw.permutation(some)[:TAGGED]
            if len(some) and weight:
                said = torch.as_tensor(self.material.said[texts[some]])
                tags = self.net.tags(said)[:, None]  # (n, 1, dim)
                losses[kind] = self._loss(tags, items, chosen, targets[some], 0.0)
        return losses

    def _loss(
        self, vectors: Any, items: Any, chosen: Candidates, targets: Ints, smoothing: float
    ) -> Any:
        scores = self.net.scores(vectors, items, self.popular[torch.as_tensor(chosen.rows)])
        return sampled_softmax(scores, chosen.place(targets), chosen.correction, smoothing)

    def _given(self, rows: Ints, draw: np.random.Generator) -> list[Any]:
        """Text, facts and ids of some items; padding (-1) is an item that nobody looks at."""
        rows = np.maximum(rows, 0)
        hidden = draw.random(len(rows)) < self.config.id_dropout
        ids = np.where(hidden, 0, rows + 1)
        arrays = (self.material.text[rows], self.material.facts[rows], ids)
        return [torch.as_tensor(array) for array in arrays]


def rate(step: int, steps: int) -> float:
    """Share of the learning rate at a step: a rise over the first twentieth, then a cosine."""
    rise = max(1, steps // 20)
    if step < rise:
        return (step + 1) / rise
    return float(0.5 * (1 + np.cos(np.pi * (step - rise) / max(steps - rise, 1))))


def start_as_text(net: TowersNet, text: Scores, seed: int) -> None:
    """Let all towers start as the same projection of the sentence vector, so that what they find
    first is what plain similarity finds: the main directions of the items' vectors, learned parts
    and mixing near zero.
    """
    rows = np.random.default_rng(seed).permutation(len(text))[:_SAMPLE]
    sample = np.asarray(text[rows], dtype=np.float32)
    middle = sample.mean(axis=0)
    directions = np.linalg.svd(sample - middle, full_matrices=False)[2]
    dim = net.shape.dim
    with torch.no_grad():
        for layer in (net.item.text, net.seen.text, net.tag):
            weight = layer.weight * 0.1
            weight[: min(dim, len(directions))] = torch.as_tensor(directions[:dim])
            layer.weight.copy_(weight)
            layer.bias.copy_(-weight @ torch.as_tensor(middle))
        for side in (net.item, net.seen):
            side.ids.weight.mul_(0.01)
            side.facts.weight.mul_(0.01)
        for layer in (net.values, net.asks):
            layer.weight.mul_(0.1)
