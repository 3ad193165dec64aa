"""The next-interest model, its mix, the untrained rules, SASRec and EASE^R over all items."""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.histories import Histories
from foretaste.data.splits import FittedOn, Split, leave_one_out, temporal
from foretaste.data.store import load_dataset
from foretaste.data.text import item_texts
from foretaste.judge.interest.band import Named, band, different, saved_model
from foretaste.judge.ranking.baselines.ease import MOST, choose_ease, fit_ease
from foretaste.judge.ranking.baselines.sasrec import SasrecConfig, fit_sasrec
from foretaste.judge.ranking.evaluate import Protocol, evaluate_ranking
from foretaste.judge.ranking.run import CHOICE, SENTENCES, versions
from foretaste.serving.embedder import load_embedder
from foretaste.serving.interest import Interest, load_interest, pointer_of, read_interest
from foretaste.serving.interest_mix import mix_of, with_embedding
from foretaste.serving.rules.base import Scorer
from foretaste.serving.rules.recipes import Material, rule_names
from foretaste.serving.rules.select import Choice, chosen
from foretaste.serving.rules.words import item_words
from foretaste.serving.towers import histories_fingerprint
from foretaste.serving.trained import trained

SERVED = "current"  # the model that training published
RULES = ("popularity", "bm25_last", "embedding_last", "item_cosine", "transitions_bm25")
LEARNT = ("sasrec", "ease", "towers", "towers_mix", "interest", "mix")
UNSEEN = "mix_unseen"  # the mix with places kept for items without any event
PAIRS = (
    ("interest", "sasrec"),
    ("interest", "ease"),
    ("interest", "towers"),
    ("mix", "interest"),
    ("mix", "towers_mix"),
    ("mix", "sasrec"),
    (UNSEEN, "mix"),
)


@dataclass(frozen=True)
class Settings:
    """What `foretaste evaluate interest` was asked for.

    Attributes:
        models: `current`, the names of finished trainings, or folders of saved models. The first is
            compared with the opponents; several give the band over them.
        methods: only these beside `interest`, or all.
        unseen: of the first ten places of a further mix, how many are kept for items without any
            event; 0 leaves that mix out.
        resamples: of the bootstrap.
    """

    dataset: str
    models: tuple[str, ...] = (SERVED,)
    split: Literal["leave-one-out", "temporal"] = "leave-one-out"
    fitted_on: FittedOn = "train"
    history: Literal["dropped", "kept"] = "dropped"
    users: int | None = None
    methods: Sequence[str] | None = None
    unseen: int = 0
    seed: int = 0
    resamples: int = 1000


def run(settings: Settings) -> dict[str, Any]:
    """Fit all opponents on what the model learnt from, rank, compare.

    Returns:
        The keys of `evaluate ranking --json`, with pairs such as `interest-sasrec` and
        `mix-<best untrained rule>`, and `band` over several models.

    Raises:
        InputError: an unknown method, no model that learnt from these events, or one twice.
        ModelError: the model is damaged.
    """
    start = time.perf_counter()
    wanted = _checked(settings.methods)
    dataset = load_dataset(settings.dataset)
    split = leave_one_out(dataset) if settings.split == "leave-one-out" else temporal(dataset)
    fitted = split.fitted_on(settings.fitted_on)
    models = [_model(dataset, fitted, name, settings) for name in settings.models]
    different(settings.models, models)
    model = models[0]
    vectors = load_embedder(model.record.embedder).encode(item_texts(dataset.items))
    material = Material(split.train, item_words(dataset.items))
    choice = with_embedding(chosen(dataset, split, material))
    material = replace(material, vectors=vectors)
    material = material if settings.fitted_on == "train" else material.with_histories(fitted)
    methods = _methods(dataset, split, model, choice, material, wanted, settings)
    methods += _others(dataset, models[1:], material, wanted)
    names = [method.name for method in methods]
    pairs = [pair for pair in (*PAIRS, ("mix", choice.best)) if set(pair) <= set(names)]
    protocol = Protocol(
        settings.fitted_on, settings.history, settings.users, settings.seed, settings.resamples
    )
    report = evaluate_ranking(dataset, split, methods, protocol, vectors, choice.best, pairs)
    return report | {
        "best_untrained": choice.best,
        "band": band(report["methods"]),
        "models": list(settings.models),
        "model": {
            "validation": model.record.validation,
            "base": model.record.base,
            "layers": model.record.shape.model["num_hidden_layers"],
        },
        "protocol": f"{split.rule} {SENTENCES[settings.history]} {CHOICE}",
        "fingerprint": dataset.info.fingerprint,
        "versions": versions(),
        "wall_s": round(time.perf_counter() - start, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3),
    }


def _checked(methods: Sequence[str] | None) -> list[str]:
    known = [*rule_names(vectors=True), *LEARNT]
    unknown = [name for name in methods or () if name not in known]
    if unknown:
        raise InputError(f"There is no method {unknown[0]!r}; choose from {', '.join(known)}.")
    return list(methods or (*RULES, *LEARNT))


def _model(dataset: Dataset, fitted: Histories, name: str, settings: Settings) -> Interest:
    """The model of this name, which learnt from exactly these events."""
    if name == SERVED:
        pointer = pointer_of(settings.split, settings.fitted_on)
        found = load_interest(dataset, fitted, pointer)
    else:
        found = read_interest(saved_model(name))
        if found.record.histories != histories_fingerprint(fitted):
            found = None
    if found is None:
        raise InputError(
            f"No next-interest model learnt from {settings.fitted_on} of the {settings.split} split of "
            f"{dataset.name}; run `foretaste finetune interest --dataset {dataset.name} --set "
            f"interest.split={settings.split} --set interest.fitted_on={settings.fitted_on}` first."
        )
    return found


def _methods(
    dataset: Dataset,
    split: Split,
    model: Interest,
    choice: Choice,
    material: Material,
    wanted: Sequence[str],
    settings: Settings,
) -> list[Scorer]:
    """Everything that is compared, fitted on `material`."""
    names = [name for name in rule_names(vectors=True) if name in {*wanted, choice.best}]
    methods: list[Scorer] = [choice.fit(name, material) for name in names]
    best = methods[names.index(choice.best)]
    mix = mix_of(model, material, dataset.items)
    found = [*trained(dataset, material.histories, best), model, *([mix] if mix else [])]
    if mix and settings.unseen:
        found.append(Named(UNSEEN, mix.keeping(settings.unseen)))
    if "ease" in wanted and material.items <= MOST:
        found.append(_ease(split, material, settings))
    if "sasrec" in wanted:
        found.append(_sasrec(split, material, settings))
    own = {method.name: method for method in found}
    return methods + [one for name, one in own.items() if name in (*wanted, "interest", UNSEEN)]


def _others(
    dataset: Dataset, models: Sequence[Interest], material: Material, wanted: Sequence[str]
) -> list[Scorer]:
    """`interest` and `mix` of further models, numbered from 2 on."""
    found: list[Scorer] = []
    for number, model in enumerate(models, 2):
        found.append(Named(f"{model.name} {number}", model))
        mix = mix_of(model, material, dataset.items) if "mix" in wanted else None
        found += [Named(f"{mix.name} {number}", mix)] if mix else []
    return found


def _ease(split: Split, material: Material, settings: Settings) -> Scorer:
    """EASE^R; fitted on more than train it takes the λ that validation chose there."""
    alone = choose_ease(split.train, material.items, split.validation, settings.seed)
    if settings.fitted_on == "train":
        return alone
    return fit_ease(material.histories, material.items, alone.weight)


def _sasrec(split: Split, material: Material, settings: Settings) -> Scorer:
    """SASRec; fitted on more than train it takes as many epochs as validation chose there."""
    alone = fit_sasrec(split.train, material.items, split.validation)
    if settings.fitted_on == "train":
        return alone
    config = SasrecConfig(epochs=alone.epochs)
    return fit_sasrec(material.histories, material.items, None, config)
