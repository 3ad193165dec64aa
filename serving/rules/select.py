"""The constants of each rule by validation, and the best rule of a data set, kept under home."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import BaseModel

from foretaste.data.dataset import Dataset
from foretaste.data.files import locked, read_json, safe_name, subfolder, write_json
from foretaste.data.histories import Histories
from foretaste.data.progress import Meter, meter
from foretaste.data.splits import Cases, Split, leave_one_out
from foretaste.serving.rules.base import Constants, FittedRule, Scorer, Scores, zscores
from foretaste.serving.rules.ranking import by_blocks, drop_history, ndcg, standing
from foretaste.serving.rules.recipes import (
    ALPHAS,
    BLENDED,
    GRIDS,
    STARTS_FROM,
    TEXT_DECAYS,
    Material,
    fit,
    rule_names,
    start_of,
    text_part,
)
from foretaste.serving.rules.words import item_words

__all__ = ["Choice", "FittedRule", "best_untrained", "choose", "chosen", "sample"]

METRIC = "n@10"
_CELLS = 150_000_000  # validation scores looked at for one setting: cases × items
_CASES = 10_000  # and at most so many cases
_EDITION = 2  # of the rules and grids: raise it when they change, so that old choices are not used


class Choice(BaseModel):
    """What validation chose.

    Attributes:
        constants: rule name → its constants.
        validation: rule name → NDCG@10 of these constants; empty when there was nobody to ask.
        cases: validation cases that were asked.
        best: the rule with the highest NDCG@10.
    """

    constants: dict[str, dict[str, float | str]]
    validation: dict[str, float]
    cases: int
    best: str

    def fit(self, name: str, material: Material) -> FittedRule:
        """Rule `name` with its chosen constants and the statistics of `material`."""
        rule = fit(name, self.constants[name], material)
        return replace(rule, validation=self.validation)


def best_untrained(dataset: Dataset, vectors: Scores | None = None) -> FittedRule:
    """The rule with the best validation NDCG@10, fitted on all interactions, for serving.

    The choice is made on the leave-one-out split (rules fitted on train, history dropped) and
    kept under home; only the first call for a data set searches. When no user has enough events
    to be asked, transitions blended with BM25 serve with the constants the search starts from.

    Args:
        vectors: (items, d) float32 unit vectors of the items; without them the rules that need
            them are left out of the comparison.
    """
    texts = item_words(dataset.items)
    split = leave_one_out(dataset)
    choice = chosen(dataset, split, Material(split.train, texts, vectors))
    return choice.fit(choice.best, Material(dataset.histories, texts, vectors))


def chosen(dataset: Dataset, split: Split, material: Material, seed: int = 0) -> Choice:
    """The choice for this split, read from home when it was made before.

    Validation cases whose target is a repetition are not asked: with the rest of the history dropped it
    would be the only item of it left, and what favours the history would always win.

    Args:
        material: statistics of `split.train` (`Material(split.train, …)`).
        seed: of the sample of validation cases when there are too many to ask all.
    """
    cases = split.validation.unseen()
    folder = subfolder("rules", safe_name(dataset.name))
    path = folder / f"{_key(split.train, cases, material, seed)}.json"
    with locked(folder):
        if not path.exists():
            write_json(path, choose(cases, material, seed).model_dump())
        return Choice.model_validate(read_json(path))


def choose(validation: Cases, material: Material, seed: int = 0) -> Choice:
    """Search the constants of every rule, one constant after the other, on validation cases."""
    cases = sample(validation, min(_CASES, max(_CELLS // max(material.items, 1), 100)), seed)
    names = rule_names(material.vectors is not None)
    if not len(cases):
        constants = {name: dict(start_of(name)) for name in names}
        return Choice(constants=constants, validation={}, cases=0, best="transitions" + BLENDED)
    with meter("Choosing the rules' constants", len(names), "rules") as progress:
        return _Search(material, cases, progress).run(names)


def sample(cases: Cases, most: int, seed: int) -> Cases:
    """At most so many of these cases, drawn without replacement, in their order."""
    if len(cases) <= most:
        return cases
    draw = np.random.default_rng(seed)
    return cases.take(np.sort(draw.choice(len(cases), most, replace=False)))


def _key(train: Histories, cases: Cases, material: Material, seed: int) -> str:
    """16 hex digits over all that decides a choice: events, cases, words, vectors, grids."""
    total = hashlib.sha256(f"{_EDITION} {seed} {GRIDS} {ALPHAS} {TEXT_DECAYS}".encode())
    arrays = [train.rows, train.offsets, cases.targets]
    arrays += [cases.histories.rows, cases.histories.offsets]
    if material.vectors is not None:
        arrays.append(material.vectors)
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    for texts in material.texts.values():
        total.update("\x00".join(texts).encode())
    return total.hexdigest()[:16]


class _Search:
    """One search over all rules; remembers what was found for the rules that build on others."""

    def __init__(self, material: Material, cases: Cases, progress: Meter) -> None:
        self.material, self.cases, self.progress = material, cases, progress
        self.constants: dict[str, dict[str, float | str]] = {}
        self.scores: dict[str, float] = {}

    def run(self, names: Sequence[str]) -> Choice:
        """Plain rules first, then their blends with the words that did best alone, then the mix."""
        for name in names:
            if name.endswith(BLENDED):
                self._blend(name)
            else:
                self._plain(name)
            self.progress.advance()
        best = max(names, key=lambda name: self.scores[name])
        return Choice(
            constants=self.constants, validation=self.scores, cases=len(self.cases), best=best
        )

    def _plain(self, name: str) -> None:
        """Change one constant at a time and keep what is better."""
        constants = start_of(name) | self.constants.get(STARTS_FROM.get(name, ""), {})
        best = self._ndcg(name, constants)
        for key, values in GRIDS[name].items():
            for value in values:
                tried = constants | {key: value}
                if tried != constants and not self._same_words(constants, tried):
                    found = self._ndcg(name, tried)
                    if found > best:
                        best, constants = found, tried
        self.constants[name], self.scores[name] = constants, best

    def _same_words(self, one: Constants, other: Constants) -> bool:
        """Two readings of the catalogue that give the same texts need no second look."""
        texts = self.material.texts
        if one.get("fields") == other.get("fields"):
            return False
        return texts[str(one["fields"])] == texts[str(other["fields"])]

    def _ndcg(self, name: str, constants: Constants) -> float:
        return ndcg(fit(name, constants, self.material), self.cases, self.material.items)

    def _blend(self, name: str) -> None:
        """Weight and decay of BM25 beside a rule whose own constants are found already."""
        plain = name.removesuffix(BLENDED)
        fields = self.constants["bm25_last"]["fields"]
        constants = self.constants[plain] | {"fields": fields}
        found = self._blend_ndcg(fit(plain, constants, self.material), str(fields))
        (decay, alpha), best = max(found.items(), key=lambda pair: pair[1])
        self.constants[name] = constants | {"alpha": alpha, "text_decay": decay}
        self.scores[name] = best

    def _blend_ndcg(self, rule: Scorer, fields: str) -> dict[tuple[float, float], float]:
        """NDCG@10 of every decay and weight; the rule's own scores are made once."""
        texts = {
            decay: text_part({"fields": fields, "text_decay": decay}, self.material)
            for decay in TEXT_DECAYS
        }

        def one_block(part: Cases) -> dict[tuple[float, float], Any]:
            gains = {}
            own = zscores(rule.scores(part.histories))
            drop_history(own, part.histories, part.targets)
            for decay, text in texts.items():
                added = zscores(text.scores(part.histories))
                for alpha in ALPHAS:
                    total = own + np.float32(alpha) * added
                    gains[decay, alpha] = standing(total, part.targets).ndcg(10)
            return gains

        parts = by_blocks(one_block, self.cases, self.material.items)
        return {
            key: float(np.concatenate([part[key] for part in parts]).mean()) for key in parts[0]
        }
