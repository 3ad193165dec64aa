"""The mix that is fitted beside next interest, and the ablation of its losses."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretaste.data.errors import InputError
from foretaste.data.histories import Histories
from foretaste.finetune.interest import train as command
from foretaste.finetune.interest.config import InterestConfig
from foretaste.finetune.interest.mixing import fit_mix
from foretaste.serving.interest import load_interest, pointer_of
from foretaste.serving.interest_mix import mix_of, rules_read, with_embedding
from foretaste.serving.interest_ranker import MixNet, MixRecord
from foretaste.serving.rules.recipes import Material
from foretaste.serving.rules.select import chosen
from foretaste.serving.rules.words import item_words


def test_a_mix_finds_what_its_networks_learnt(tiny, embedder, smoke: InterestConfig) -> None:
    job = command.prepare(tiny, smoke, embedder)
    model, text = job.plan.model(job.plan.trainer(1)), job.plan.material.text
    kept = fit_mix(tiny, job.split, model, text, 0).record
    assert {"interest", "mix", "mix_unordered", kept.rule} == kept.validation.keys()
    assert (kept.mix is None) == (kept.validation["mix"] <= kept.validation[kept.rule])
    material = Material(tiny.histories, item_words(tiny.items), text)
    choice = with_embedding(chosen(tiny, job.split, Material(job.split.train, material.texts)))
    weights = [0.0] * 16
    weights[13] = -1.0  # `popular`: the rarest candidate first
    record = MixRecord(
        rule=choice.best,
        constants=rules_read(choice),
        weight=1.0,
        candidates=5,
        mean=[0.0] * 16,
        scale=[1.0] * 16,
        nets=[MixNet(w1=[[0.0] * 16], b1=[0.0], w2=[0.0], v=weights)],
    )
    changed = model.with_record(model.record.model_copy(update={"mix": record}))
    mix = mix_of(changed, material, tiny.items)
    assert mix is not None
    assert mix.feature_names[13] == "popular"
    lists = Histories.from_lists([[0, 4], []])
    offer, scores = mix.offer(lists), mix.scores(lists)
    assert offer.features.shape == (2, 5, len(mix.feature_names))
    rows = offer.rows[0]
    assert not {0, 4} & set(rows.tolist())
    counts = np.bincount(tiny.histories.rows, minlength=40)[rows]
    assert (np.diff(counts[np.argsort(-scores[0, rows], kind="stable")]) >= 0).all()
    assert scores[0, rows].min() > np.delete(scores[0], rows).max()
    assert np.array_equal(scores[1], offer.base[1])


def test_the_last_places_are_kept_for_items_without_events(
    tiny, embedder, smoke: InterestConfig
) -> None:
    job = command.prepare(tiny, smoke, embedder)
    model, text = job.plan.model(job.plan.trainer(1)), job.plan.material.text
    seen = Histories.from_lists([[row for row in one if row < 30] for one in job.split.train])
    material = Material(seen, item_words(tiny.items), text)
    choice = with_embedding(chosen(tiny, job.split, Material(job.split.train, material.texts)))
    record = MixRecord(rule=choice.best, constants=rules_read(choice), weight=1.0, candidates=8)
    changed = model.with_record(model.record.model_copy(update={"mix": record}))
    mix = mix_of(changed, material, tiny.items)
    assert mix is not None
    lists = Histories.from_lists([[0, 4], [31, 2], []])

    def page(kept: int) -> list[list[int]]:
        scores = mix.keeping(kept).scores(lists)
        scores[lists.owners, lists.rows] = -np.inf
        return np.argsort(-scores, axis=1, kind="stable")[:, :10].tolist()

    plain = page(0)
    for kept in (1, 3):
        for line, (before, now) in enumerate(zip(plain[:2], page(kept)[:2], strict=True)):
            assert now[: 10 - kept] == before[: 10 - kept], line
            assert sum(row >= 30 for row in now) >= kept
            assert not set(now) & set(lists[line].tolist())
        assert page(kept)[2] == plain[2], "a stranger gets what the rule says"


def test_a_model_of_all_events_takes_the_ranker_of_the_one_before(
    tiny,
    embedder,
    smoke: InterestConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = MixRecord(rule="popularity", constants={"popularity": {}}, weight=0.5, candidates=5)

    def fitted(dataset: Any, split: Any, model: Any, *given: Any) -> Any:
        changes = {"mix": record, "rule": "popularity"}
        return model.with_record(model.record.model_copy(update=changes))

    monkeypatch.setattr(command, "fit_mix", fitted)
    whole = smoke.model_copy(update={"fitted_on": "train+validation", "epochs": 1})
    command.train("tiny", whole, embedder)
    pointer = pointer_of("leave-one-out", "train+validation")
    alone = load_interest(tiny, pointer=pointer)
    assert alone is not None
    assert alone.record.mix is None
    assert "train the same on train alone before" in capsys.readouterr().err
    command.train("tiny", smoke.model_copy(update={"epochs": 1}), embedder)
    command.train("tiny", whole.model_copy(update={"seed": 1, "unseen": 2}), embedder)
    later = load_interest(tiny, pointer=pointer)
    assert later is not None
    assert later.record.mix == record.model_copy(update={"unseen": 2})


def test_the_ablation_gives_every_arm_the_same_steps_and_goes_on_where_it_stopped(
    tiny,
    embedder,
    word_llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/interest_ablation.py"))
    main, names = script["main"], script["main"].__globals__
    monkeypatch.setitem(names, "load_embedder", lambda: embedder)
    arguments = ["--dataset", "tiny", "--preset", "smoke", "--minutes", "9", "--json", "-"]
    arguments += ["--set", f"interest.base={word_llama}", "--set", "interest.epochs=2"]
    monkeypatch.setattr("sys.argv", ["ablation", *arguments, "--arms", "action"])
    main()
    one = json.loads(capsys.readouterr().out)
    monkeypatch.setattr("sys.argv", ["ablation", *arguments, "--arms", "action,both"])
    monkeypatch.setitem(names, "epochs", lambda plan, options: 2)
    main()
    both = json.loads(capsys.readouterr().out)
    assert one["epochs"] == both["epochs"] == 2
    assert both["arms"]["action"] == one["arms"]["action"]  # not trained again
    assert both["arms"]["both"]["steps"] == one["arms"]["action"]["steps"]
    delta = both["arms"]["both"]["n@10"] - one["arms"]["action"]["n@10"]
    assert both["pairs"]["both-action"]["n@10"]["delta"] == pytest.approx(delta, abs=1e-5)
    assert "both-action hr@200" in script["table"](both)
    monkeypatch.setattr("sys.argv", ["ablation", *arguments, "--arms", "neither"])
    with pytest.raises(InputError, match="no arm 'neither'"):
        main()
