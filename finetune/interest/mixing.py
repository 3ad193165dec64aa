"""The ranker of the mix, fitted on validation people, each judged by networks that did not see them.

Listwise: softmax over a person's candidates, −log p(target) (Cao et al. 2007, ListNet with one relevant item).
The networks of all folds are kept and averaged, so the figure of validation, where each
person is ordered by the one network that did not learn from them, is a lower bound of what is served.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foretaste.data.dataset import Dataset
from foretaste.data.splits import Cases, Split
from foretaste.finetune.towers.measure import best_weight
from foretaste.serving.interest import Interest
from foretaste.serving.interest_mix import Mix, rules_read, with_embedding
from foretaste.serving.interest_ranker import MixNet, MixRecord
from foretaste.serving.rules.ranking import by_blocks, ndcg
from foretaste.serving.rules.recipes import Material
from foretaste.serving.rules.select import chosen, sample
from foretaste.serving.rules.words import item_words

FOLDS = 5
HIDDEN = 16  # numbers inside a network
CANDIDATES = 100  # of a person
CASES = 20_000  # validation people who are asked
WEIGHED = 4_000  # of them choose the weight of the model beside the rule
EPOCHS = 30
LEAST = 50  # people whose target is among the candidates: with fewer nothing is fitted
_BATCH = 128
_RATE, _DECAY = 5e-3, 1e-3
_K = 10


@dataclass(frozen=True)
class Asked:
    """Validation people whose target is among their candidates.

    Attributes:
        features: (m, c, features) float32, standardised.
        own: (m,) place of the target.
        share: of all people asked that they are.
        before: N@10 of all people by rule and model alone, as their candidates are named.
    """

    features: Any
    own: Any
    share: float
    before: float


def fit_mix(
    dataset: Dataset,
    split: Split,
    model: Interest,
    vectors: Any,
    seed: int,
    unseen: int = 0,
) -> Interest:
    """The model with a mix, and with what validation says of it and of its parts.

    A mix that is not better than the rule on people its networks did not see is not kept.

    Args:
        dataset: the catalogue.
        split: its validation cases are asked.
        model: learnt from `split.train`.
        vectors: (items, d) sentence vectors.
        seed: of folds and networks.
        unseen: of the first ten places, how many are kept for items without any event.
    """
    material = Material(split.train, item_words(dataset.items))
    choice = with_embedding(chosen(dataset, split, material))
    material = replace(material, vectors=vectors)
    cases = sample(split.validation, CASES, seed)
    cases = cases.take(np.flatnonzero(cases.histories.lengths > 0))
    few = sample(cases, WEIGHED, seed)
    rule = choice.fit(choice.best, material)
    weight, _ = best_weight(rule, model, few, material.items)
    record = MixRecord(
        rule=choice.best,
        constants=rules_read(choice),
        weight=weight,
        candidates=min(CANDIDATES, material.items),
        unseen=unseen,
    )
    validation = {one.name: ndcg(one, cases, material.items) for one in (rule, model)}
    fitted, said = _fitted(Mix(model, record, material, dataset.items), cases, seed)
    better = said["mix"] > validation[rule.name]
    changes = {
        "mix": fitted if better else None,
        "rule": rule.name,
        "validation": validation | said,
    }
    return model.with_record(model.record.model_copy(update=changes))


def _fitted(mix: Mix, cases: Cases, seed: int) -> tuple[MixRecord, dict[str, float]]:
    """The mix's record with its networks, and their N@10 on people they did not see."""
    asked, mean, scale = _asked(mix, cases)
    if len(asked.own) < LEAST:
        return mix.record, {"mix": asked.before, "mix_unordered": asked.before}
    folds = np.random.default_rng(seed).permutation(len(asked.own)) % FOLDS
    curves, nets = [], []
    for fold in range(FOLDS):
        gains, states = _one_fold(asked, torch.as_tensor(folds == fold), seed + fold)
        curves.append(gains)
        nets.append(states)
    means = np.array(curves).mean(axis=0)  # (epochs,)
    best = int(means.argmax())
    changes = {
        "mean": mean.tolist(),
        "scale": scale.tolist(),
        "nets": [states[best] for states in nets],
    }
    said = {"mix": float(means[best]) * asked.share, "mix_unordered": asked.before}
    return mix.record.model_copy(update=changes), said


def _asked(mix: Mix, cases: Cases) -> tuple[Asked, NDArray[np.float32], NDArray[np.float32]]:
    """What the networks learn from, and mean and scale of the features."""

    def one_block(part: Cases) -> Any:
        offer = mix.offer(part.histories)
        hit = offer.rows == part.targets[:, None]  # (n, c)
        some = hit.any(axis=1)
        return offer.features[some], hit[some].argmax(axis=1)

    found = by_blocks(one_block, cases, len(mix.interest.item_vectors))
    features = np.concatenate([one for one, _ in found])
    own = np.concatenate([one for _, one in found])
    mean = features.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    scale = np.maximum(features.std(axis=(0, 1), dtype=np.float64), 1e-3).astype(np.float32)
    share = len(own) / max(len(cases), 1)
    before = float(_gains(torch.as_tensor(own)).mean()) * share if len(own) else 0.0
    x = torch.as_tensor((features - mean) / scale)
    return Asked(x, torch.as_tensor(own), share, before), mean, scale


def _one_fold(asked: Asked, held: Any, seed: int) -> tuple[list[float], list[MixNet]]:
    """N@10 of the people held out after each epoch, and the networks of each."""
    torch.manual_seed(seed)
    net = _Net(asked.features.shape[2])
    optimizer = torch.optim.AdamW(net.parameters(), lr=_RATE, weight_decay=_DECAY)
    learnt, gains, states = torch.nonzero(~held)[:, 0], [], []
    for _ in range(EPOCHS):
        for part in learnt[torch.randperm(len(learnt))].split(_BATCH):
            loss = torch.nn.functional.cross_entropy(net(asked.features[part]), asked.own[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.inference_mode():
            scores = net(asked.features[held])
            own = scores.gather(1, asked.own[held][:, None])
            gains.append(float(_gains((scores > own).sum(dim=1)).mean()))
        states.append(net.saved())
    return gains, states


class _Net(torch.nn.Module):  # type: ignore[misc]
    """`MixNet` while it learns; it starts as the order of the candidates."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(features, HIDDEN)
        self.outer = torch.nn.Linear(HIDDEN, 1, bias=False)
        self.line = torch.nn.Linear(features, 1, bias=False)
        with torch.no_grad():
            self.outer.weight.mul_(0.1)
            self.line.weight.zero_()
            self.line.weight[0, 0] = 1.0

    def forward(self, x: Any) -> Any:
        """(..., features) → (...,)."""
        return (self.outer(torch.tanh(self.inner(x))) + self.line(x))[..., 0]

    def saved(self) -> MixNet:
        """As it is kept."""
        return MixNet(
            w1=self.inner.weight.tolist(),
            b1=self.inner.bias.tolist(),
            w2=self.outer.weight[0].tolist(),
            v=self.line.weight[0].tolist(),
        )


def _gains(places: Any) -> Any:
    """1 / log2(place + 1) of places counted from 0, nothing beyond ten."""
    return torch.where(places < _K, 1 / torch.log2(places + 2.0), torch.zeros(()))
