"""The parts of the loss of next interest, step by step.

Action: sampled softmax, or KARMA's pairwise logistic (arXiv 2603.22779)
`L_act = −Σ_t Σ_{j∈N_t} log σ(s_t,i_t − s_t,j)`, over the step's own targets and uniformly drawn items, both
corrected for the chance to be drawn. The temperature (`sharpness`) is learnt.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from foretaste.finetune.epochs import Stepper
from foretaste.finetune.interest.config import InterestConfig
from foretaste.finetune.interest.knowledge import Knowledge
from foretaste.finetune.towers.data import Batch, batches, hindsight
from foretaste.finetune.towers.loss import Candidates, candidates, sampled_softmax
from foretaste.finetune.towers.material import Material
from foretaste.finetune.towers.trainer import start_as_text
from foretaste.serving.interest import low_precision
from foretaste.serving.interest_net import InterestNet, InterestShape, model_shape
from foretaste.serving.towers_net import Shape

Ints = NDArray[np.int64]


class InterestTrainer(Stepper):
    """The next-interest network and the parts of its loss.

    Args:
        material: what is trained on.
        config: how.
        base: folder of the language model.
        steps: steps of the whole training.
        knowledge: decoder of the items' texts, or None without knowledge losses.
    """

    def __init__(
        self,
        material: Material,
        config: InterestConfig,
        base: Path,
        steps: int,
        knowledge: Knowledge | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.material, self.config = material, config
        net = InterestNet(shape_of(material, config, base), config.dropout, low_precision())
        start_as_text(net.towers, material.text, config.seed)
        net.load_base(base)
        # of short sequences torch's fused attention learns slower than plain products
        net.model.set_attn_implementation("eager")
        if knowledge is not None:
            net.knowledge = deepcopy(knowledge)  # beside the network; `own_state` leaves it out
        super().__init__(net, _groups(net, config), config.decay, config.seed, steps)
        self.shares = material.counts / max(int(material.counts.sum()), 1)
        self.popular = torch.log1p(torch.as_tensor(material.counts, dtype=torch.float32))

    @property
    def weights(self) -> Mapping[str, float]:
        """Part of the loss → its weight in the sum."""
        config = self.config
        return {
            "action": 1.0,
            "wish": 0.2,
            "generation": config.generation,
            "reconstruction": config.reconstruction,
        }

    def epoch_batches(self, epoch: int) -> list[Batch]:
        """The batches of one epoch, the same whenever they are asked for."""
        config = self.config
        draw = np.random.default_rng([config.seed, epoch])
        newest = self.material.histories.newest(config.newest + 1)
        return list(batches(newest, config.batch, config.window, 0.0, draw))

    def losses(self, batch: Batch, draw: np.random.Generator) -> dict[str, Any]:
        """Action, and where they have a weight the wish and the knowledge losses."""
        net = self.net
        real = batch.targets >= 0
        targets = batch.targets[real]  # (n,)
        chosen = candidates(targets, self.shares, self.config.negatives, draw)
        items = net.towers.items(*self._given(chosen.rows, draw))  # (c, dim)
        rows = np.maximum(batch.rows, 0)
        seen = net.towers.seen(*self._given(rows.ravel(), draw)).reshape(*rows.shape, -1)
        inputs = net.inputs(torch.as_tensor(self.material.text[rows]), seen)  # (b, t, width)
        inputs = net.told(inputs, self._signals(batch, draw))
        ends, wishes = self._wishes(batch, draw)
        read = inputs if wishes is None else net.with_wishes(inputs, ends, wishes)
        hidden = net.hidden(read)
        at = torch.arange(rows.shape[1]).expand(len(rows), -1)
        users = net.towers.users(seen, at, net.added(hidden[:, : rows.shape[1]]))
        losses = {"action": self._action(users[torch.as_tensor(real)], items, chosen, targets)}
        if wishes is not None:
            lines = torch.arange(len(rows))
            asked = net.added(hidden[lines, ends + 1][:, None])  # (b, 1, codes, dim)
            users = net.towers.users(seen, ends[:, None], asked)[:, 0]
            targets = batch.targets[lines.numpy(), ends.numpy()]  # (b,), also for one sequence
            losses["wish"] = self._action(users, items, chosen, targets)
        return losses | self._knowledge(inputs, hidden, batch, draw)

    def _action(self, users: Any, items: Any, chosen: Candidates, targets: Ints) -> Any:
        """The action loss of user vectors (n, codes, dim) and their targets (n,)."""
        scores = self.net.towers.scores(users, items, self.popular[torch.as_tensor(chosen.rows)])
        own = chosen.place(targets)
        if self.config.loss == "softmax":
            return sampled_softmax(scores, own, chosen.correction, self.config.smoothing)
        return pairwise(scores - chosen.correction, own)

    def _wishes(self, batch: Batch, draw: np.random.Generator) -> tuple[Any, Any]:
        """Last place (b,) of each sequence, and sentence vectors (b, text) of a tag or category of the
        target that comes after it; None in steps without wishes.
        """
        real = batch.targets >= 0
        ends = real.sum(axis=1) - 1
        if draw.random() >= self.config.wish:
            return torch.as_tensor(ends), None
        lines = np.arange(len(ends))[:, None]
        last = Batch(batch.rows[lines, ends[:, None]], batch.targets[lines, ends[:, None]])
        tags, categories = hindsight(last, self.material.words, draw)
        texts = np.where(tags >= 0, tags, categories)
        said = np.where(texts[:, None] >= 0, self.material.said[np.maximum(texts, 0)], 0)
        return torch.as_tensor(ends), torch.as_tensor(said.astype(np.float32))

    def _signals(self, batch: Batch, draw: np.random.Generator) -> Any:
        """(b, t, 2) codes of the events, those of a share of the sequences hidden, or None."""
        if batch.signals is None or not self.net.shape.signals:
            return None
        shown = draw.random(len(batch.rows)) >= self.config.signal_dropout
        return torch.as_tensor(batch.signals * shown[:, None, None])

    def _knowledge(
        self, inputs: Any, hidden: Any, batch: Batch, draw: np.random.Generator
    ) -> dict[str, Any]:
        """The two knowledge losses on a sample of positions, while the schedule has them."""
        config = self.config
        knowledge = getattr(self.net, "knowledge", None)
        if knowledge is None or self.done >= config.knowledge_until * self.steps:
            return {}
        lines, places = np.nonzero(batch.targets >= 0)
        some = draw.permutation(len(lines))[: config.knowledge_positions]
        lines, places = lines[some], places[some]
        targets, found = batch.targets[lines, places], {}
        if config.reconstruction:
            own = hidden[torch.as_tensor(lines), torch.as_tensor(places)]
            found["reconstruction"] = knowledge.reconstruction(self.net, own, targets)
        if config.generation:
            found["generation"] = knowledge.generation(self.net, inputs, lines, places, targets)
        return found

    def _given(self, rows: Ints, draw: np.random.Generator) -> list[Any]:
        """Text, facts and ids of some items, a share of the ids hidden."""
        hidden = draw.random(len(rows)) < self.config.id_dropout
        ids = np.where(hidden, 0, rows + 1)
        arrays = (self.material.text[rows], self.material.facts[rows], ids)
        return [torch.as_tensor(array) for array in arrays]


def pairwise(scores: Any, own: Any) -> Any:
    """Mean of −log σ(s_own − s_j) over all other candidates j (KARMA's action loss).

    Args:
        scores: (n, c) float32.
        own: (n,) int64, the column of each target.
    """
    gaps = scores.gather(1, own[:, None]) - scores  # (n, c), 0 for the target itself
    others = torch.ones_like(scores).scatter(1, own[:, None], 0.0)
    return (F.softplus(-gaps) * others).sum() / others.sum()


def shape_of(material: Material, config: InterestConfig, base: Path) -> InterestShape:
    """The network's sizes."""
    towers = Shape(
        items=len(material.counts),
        facts=len(material.fact_names),
        text=material.text.shape[1],
        dim=config.dim,
        codes=config.codes,
        newest=config.newest,
    )
    return InterestShape(
        towers=towers,
        model=model_shape(base, config.layers),
        lora=config.lora,
        signals=config.signals and material.histories.signals is not None,
    )


def _groups(net: InterestNet, config: InterestConfig) -> list[dict[str, Any]]:
    """Parameters by learning rate; what is frozen is left out."""
    rates = {"towers": config.rate, "model": config.model_rate}
    groups: dict[float, list[Any]] = {}
    for name, value in net.named_parameters():
        if value.requires_grad:
            own = rates.get(name.split(".")[0], config.adaptor_rate)
            groups.setdefault(own, []).append(value)
    return [{"params": values, "base": own} for own, values in groups.items()]
