"""The parts of the towers' loss, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foretaste.finetune.epochs import Stepper
from foretaste.finetune.towers.config import TowersConfig
from foretaste.finetune.towers.data import Batch, batches, hindsight
from foretaste.finetune.towers.loss import Candidates, candidates, sampled_softmax
from foretaste.finetune.towers.material import Material
from foretaste.serving.rules.base import Scores
from foretaste.serving.towers_net import TowersNet

Ints = NDArray[np.int64]
TAGGED = 256  # events of a step whose tags are learnt from
_SAMPLE = 20_000  # sentence vectors that decide where the projections start


class Trainer(Stepper):
    """The towers and the parts of their loss.

    Args:
        material: what is trained on.
        config: how.
        steps: steps of the whole training, over which the learning rate rises and falls.
    """

    def __init__(self, material: Material, config: TowersConfig, steps: int) -> None:
        torch.manual_seed(config.seed)
        self.material, self.config = material, config
        net = TowersNet(material.shape(config), config.dropout)
        start_as_text(net, material.text, config.seed)
        groups = [{"params": list(net.parameters()), "base": config.rate}]
        super().__init__(net, groups, config.decay, config.seed, steps)
        self.shares = material.counts / max(int(material.counts.sum()), 1)
        self.popular = torch.log1p(torch.as_tensor(material.counts, dtype=torch.float32))

    @property
    def weights(self) -> Mapping[str, float]:
        """Part of the loss → its weight in the sum."""
        return {"col": 1.0, "tag": self.config.tag_weight, "cate": self.config.category_weight}

    def epoch_batches(self, epoch: int) -> list[Batch]:
        """The batches of one epoch, the same whenever they are asked for."""
        config = self.config
        draw = np.random.default_rng([config.seed, epoch])
        newest = self.material.histories.newest(config.newest + 1)
        return list(batches(newest, config.batch, config.window, config.reverse, draw))

    def losses(self, batch: Batch, draw: np.random.Generator) -> dict[str, Any]:
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
