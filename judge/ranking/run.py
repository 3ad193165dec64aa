"""`foretaste evaluate ranking`: the untrained methods on one data set, from its name to figures."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.splits import FittedOn, Split, leave_one_out, temporal
from foretaste.data.store import load_dataset
from foretaste.data.text import item_texts
from foretaste.data.times import seconds_of
from foretaste.judge.ranking.channels import channel_report
from foretaste.judge.ranking.evaluate import Protocol, evaluate_ranking
from foretaste.serving.embedder import DEFAULT_EMBEDDER, load_embedder
from foretaste.serving.rules.base import Scorer, Scores
from foretaste.serving.rules.recipes import Material, rule_names
from foretaste.serving.rules.select import METRIC, Choice, chosen
from foretaste.serving.rules.words import item_words
from foretaste.serving.trained import TRAINED, trained

SENTENCES = {
    "dropped": "Items of the history are no candidates, except the target itself.",
    "kept": "Items of the history are candidates like all others.",
}
CHOICE = (
    "Constants have the best validation NDCG@10, history dropped, with statistics of train only; "
    "test was looked at once. Ties count by expectation."
)


@dataclass(frozen=True)
class Settings:
    """What `foretaste evaluate ranking` was asked for; dates are ISO or seconds since 1970."""

    dataset: str
    split: Literal["leave-one-out", "temporal"] = "leave-one-out"
    fitted_on: FittedOn = "train"
    history: Literal["dropped", "kept"] = "dropped"
    validation_start: str | None = None
    test_start: str | None = None
    users: int | None = None
    methods: Sequence[str] | None = None
    embedder: str = DEFAULT_EMBEDDER
    seed: int = 0
    resamples: int = 1000
    channel_users: int = 1000


def run(settings: Settings) -> dict[str, Any]:
    """Choose constants on validation, fit, rank, compare.

    Returns:
        The object of `evaluate ranking --json`. The untrained rule that is best on validation is
        always among the methods; trained ones stand beside it when they learnt from these events.
    """
    start = time.perf_counter()
    wanted = _checked(settings.methods)
    dataset = load_dataset(settings.dataset)
    split = _split(dataset, settings)
    vectors = _vectors(dataset, settings) if _needs_vectors(wanted) else None
    material = Material(split.train, item_words(dataset.items), vectors)
    choice = chosen(dataset, split, material, settings.seed)
    names = [name for name in rule_names(vectors is not None) if name in {*wanted, choice.best}]
    if settings.fitted_on != "train":
        material = material.with_histories(split.fitted_on(settings.fitted_on))
    rules, fit_seconds = _fitted(choice, names, material)
    best = rules[names.index(choice.best)]
    found = trained(dataset, split.fitted_on(settings.fitted_on), best)
    others = [one for one in found if one.name in wanted]
    protocol = Protocol(
        settings.fitted_on, settings.history, settings.users, settings.seed, settings.resamples
    )
    report = evaluate_ranking(
        dataset, split, [*rules, *others], protocol, vectors=vectors, best=choice.best
    )
    for name in names:
        figures = report["methods"][name]
        figures["seconds"] = round(figures["seconds"] + fit_seconds[name], 3)
        figures["constants"] = choice.constants[name]
        figures["validation"] = choice.validation.get(name)
    if settings.channel_users:
        report["channels"] = channel_report(
            dataset, split, best, protocol, vectors, settings.embedder, settings.channel_users
        )
    return report | {
        "best_untrained": choice.best,
        "chosen_by": {"metric": METRIC, "cases": choice.cases},
        "protocol": f"{split.rule} {SENTENCES[settings.history]} {CHOICE}",
        "embedder": settings.embedder if vectors is not None else None,
        "fingerprint": dataset.info.fingerprint,
        "versions": versions(),
        "wall_s": round(time.perf_counter() - start, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def versions() -> dict[str, str]:
    """Of everything that a figure could depend on."""
    packages = ("foretaste", "numpy", "scipy", "polars")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _checked(methods: Sequence[str] | None) -> list[str]:
    known = [*rule_names(vectors=True), *TRAINED]
    unknown = [name for name in methods or () if name not in known]
    if unknown:
        raise InputError(f"There is no method {unknown[0]!r}; choose from {', '.join(known)}.")
    return list(methods or known)


def _needs_vectors(names: Sequence[str]) -> bool:
    return any(name.startswith("embedding") for name in names)


def _split(dataset: Dataset, settings: Settings) -> Split:
    starts = settings.validation_start, settings.test_start
    if settings.split == "leave-one-out":
        if any(starts):
            raise InputError("Dates cut only the temporal split; add --split temporal.")
        return leave_one_out(dataset)
    first, second = (seconds_of(text) if text else None for text in starts)
    return temporal(dataset, first, second)


def _vectors(dataset: Dataset, settings: Settings) -> Scores:
    """(items, d) float32 unit vectors of the items' texts."""
    return load_embedder(settings.embedder).encode(item_texts(dataset.items))


def _fitted(
    choice: Choice, names: Sequence[str], material: Material
) -> tuple[list[Scorer], dict[str, float]]:
    """The rules, and the seconds each took; what rules share is counted for the first."""
    rules: list[Scorer] = []
    seconds = {}
    for name in names:
        start = time.perf_counter()
        rules.append(choice.fit(name, material))
        seconds[name] = time.perf_counter() - start
    return rules, seconds
