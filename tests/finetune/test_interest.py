"""Next interest: losses by hand, laws of the network, and the command from a data set to a mix."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from foretaste.agents.retrieval import tools
from foretaste.app.cli import cli
from foretaste.data.errors import InputError, ModelError
from foretaste.data.histories import Histories
from foretaste.data.splits import leave_one_out
from foretaste.finetune import runs
from foretaste.finetune.epochs import Epochs
from foretaste.finetune.interest import train as command
from foretaste.finetune.interest.config import InterestConfig, load_config
from foretaste.finetune.interest.diagnostics import (
    PICTURES,
    draw,
    effective_dimension,
    hubness,
    sink_and_entropy,
)
from foretaste.finetune.interest.trainer import InterestTrainer, pairwise
from foretaste.finetune.presets import presets
from foretaste.finetune.states import memory
from foretaste.judge.interest import run as judged
from foretaste.judge.ranking.baselines.sasrec import SasrecConfig, fit_sasrec
from foretaste.serving import interest as served
from foretaste.serving.interest import load_interest, read_interest
from foretaste.serving.rules.select import best_untrained


def test_the_pairwise_loss_is_that_of_a_hand_calculation() -> None:
    found = pairwise(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([1]))
    wanted = -(np.log(1 / (1 + np.exp(1.0))) + np.log(1 / (1 + np.exp(-1.0)))) / 2
    assert float(found) == pytest.approx(wanted, rel=1e-6)


@given(st.integers(1, 6), st.integers(2, 7), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_attention_on_one_place_is_a_sink_and_an_even_look_has_full_entropy(
    heads: int, length: int, seed: int
) -> None:
    sink = torch.zeros(3, heads, length, length)
    sink[..., 0] = 1
    share, entropy = sink_and_entropy(sink)
    assert share.tolist() == pytest.approx([1.0] * heads)
    assert entropy.tolist() == pytest.approx([0.0] * heads, abs=1e-6)
    even = torch.tril(torch.ones(length, length))
    even = (even / even.sum(dim=1, keepdim=True)).expand(3, heads, -1, -1)
    share, entropy = sink_and_entropy(even)
    assert entropy.tolist() == pytest.approx([1.0] * heads, rel=1e-5)
    assert (share <= 0.5 + 1e-6).all()


def test_effective_dimension_counts_directions_and_hubness_what_is_shown_most() -> None:
    even = torch.cat([torch.eye(4), -torch.eye(4)])
    assert effective_dimension(even) == pytest.approx(4.0)
    assert effective_dimension(even * torch.tensor([1.0, 0, 0, 0])) == pytest.approx(1.0)
    assert hubness(np.array([[0, 1], [0, 2]]), 4) == 0.5


def test_the_pictures_hold_every_figure_of_the_curve(tmp_path: Path) -> None:
    figures = {"sink": [[0.5, 0.2]], "entropy": [[0.9, 0.4]]}
    row = {"epoch": 0, "n@10": 0.1, "hidden_dimension": 3.0, "hidden_norm": 2.0, "action": 6.5}
    draw(figures, [row], tmp_path)
    page = (tmp_path / PICTURES).read_text()
    assert all(f'"name":"{name}"' in page for name in row if name != "epoch")
    assert '"name":"wish"' not in page
    assert (tmp_path / "plotly.min.js").exists()  # no network is asked
    draw({}, [row], tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_presets_are_valid_and_a_wrong_setting_is_said(word_llama: Path) -> None:
    assert presets("interest") == ["cpu", "smoke"]
    assert load_config("cpu").layers >= 1
    with pytest.raises(InputError, match="no preset"):
        load_config("huge")
    with pytest.raises(InputError, match="has no 'depth'"):
        load_config("cpu", ["interest.depth=3"])


def test_training_starts_at_the_towers_and_padding_is_never_looked_at(
    tiny, embedder, smoke: InterestConfig
) -> None:
    plan = command.prepare(tiny, smoke, embedder).plan
    model = plan.model(plan.trainer(1))
    lists = [[0, 4, 8], [1], [2, 6, 10, 14]]
    together = model.user_vectors(Histories.from_lists(lists))
    alone = np.concatenate([model.user_vectors(Histories.from_lists([one])) for one in lists])
    assert np.allclose(together, alone, atol=1e-5)
    towers = model.net.towers
    seen = model.catalogue["seen"][torch.tensor([lists[0]])]
    expected = towers.users(seen, torch.tensor([[2]]))[:, 0].detach().numpy()
    assert np.allclose(together[:1], expected, atol=1e-5)  # h adds nothing yet


def test_a_place_never_looks_at_what_comes_later(tiny, embedder, smoke: InterestConfig) -> None:
    plan = command.prepare(tiny, smoke, embedder).plan
    net = plan.trainer(1).net.eval()
    inputs = torch.randn(1, 6, 32)
    changed = inputs.clone()
    changed[:, 4:] = torch.randn(1, 2, 32)
    with torch.inference_mode():
        one, other = net.hidden(inputs), net.hidden(changed)
    assert torch.allclose(one[:, :4], other[:, :4], atol=2e-2)
    assert not torch.allclose(one[:, 4:], other[:, 4:], atol=2e-2)


def test_every_part_of_the_loss_reaches_what_it_should_train(
    tiny, embedder, smoke: InterestConfig
) -> None:
    told = {"generation": 0.1, "reconstruction": 0.1, "wish": 1.0, "loss": "pairwise"}
    plan = command.prepare(tiny, smoke.model_copy(update=told), embedder).plan
    trainer = plan.trainer(10)
    before = {name: value.clone() for name, value in trainer.net.state_dict().items()}
    batches = trainer.epoch_batches(0)
    found = [trainer.step(batch) for batch in batches[:3]]
    assert found[0].keys() == {"action", "wish", "generation", "reconstruction"}
    after = trainer.net.state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    wanted = {"heads.weight", "wish.weight", "text.weight", "knowledge.prefix.weight", "begin"}
    assert wanted <= moved
    assert "model.layers.0.mlp.up_proj.weight" in moved
    assert not any(name.startswith("knowledge") for name in trainer.net.own_state())


def test_lora_trains_little_and_needs_the_same_base_again(
    tiny, embedder, smoke: InterestConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = command.prepare(tiny, smoke.model_copy(update={"lora": 2}), embedder).plan
    trainer = plan.trainer(5)
    trainer.step(trainer.epoch_batches(0)[0])
    model = plan.model(trainer)
    names = [name for name in model.net.own_state() if name.startswith("model.")]
    assert names
    assert all("lora_" in name for name in names)
    model.save(tmp_path / "made")
    again = read_interest(tmp_path / "made")
    lists = Histories.from_lists([[0, 4, 8]])
    assert np.allclose(again.scores(lists), model.scores(lists), atol=0.2)
    monkeypatch.setattr(served, "base_fingerprint", lambda folder: "f" * 16)
    with pytest.raises(ModelError, match="another version"):
        read_interest(tmp_path / "made")


def test_one_event_more_gives_what_reading_everything_again_gives(
    tiny, embedder, smoke: InterestConfig
) -> None:
    config = smoke.model_copy(update={"newest": 4})
    plan = command.prepare(tiny, config, embedder).plan
    trainer = plan.trainer(5)
    trainer.step(trainer.epoch_batches(0)[0])
    model = plan.model(trainer)
    reading = model.reader([0, 4])
    assert not model.reader().vectors().any()
    for row, told in ((8, [0, 4, 8]), (12, [0, 4, 8, 12]), (16, [8, 12, 16])):
        reading.add(row)
        assert reading.rows == told
        whole = model.scores(Histories.from_lists([told]))[0]
        assert np.allclose(reading.scores(), whole, atol=2e-2)


def test_what_events_tell_is_learnt_and_read_alike_at_once_and_one_by_one(
    tiny, embedder, smoke: InterestConfig, tmp_path: Path
) -> None:
    kinds = ["view" if row % 2 else "purchase" for row in range(tiny.interactions.height)]
    events = tiny.interactions.with_columns(event=pl.Series(kinds))
    told = replace(tiny, interactions=events)
    assert told.histories.signals is not None
    plan = command.prepare(
        told, smoke.model_copy(update={"signals": True, "signal_dropout": 0.0}), embedder
    ).plan
    trainer = plan.trainer(5)
    before = plan.model(trainer).scores(told.histories.slice(0, 4))
    for batch in trainer.epoch_batches(0)[:2]:
        trainer.step(batch)
    plan.model(trainer).save(tmp_path / "told")
    model = read_interest(tmp_path / "told")
    assert model.record.shape.signals
    assert model.net.action.weight[1:].abs().sum() > 0
    assert not model.net.action.weight[0].any()
    some = told.histories.slice(0, 4)
    deaf = Histories(some.rows, some.offsets)
    assert not np.allclose(model.scores(some), model.scores(deaf), atol=1e-4)
    assert np.isfinite(before).all()
    reading = model.reader(some[0][:-1], some.signals[: len(some[0]) - 1])
    reading.add(some[0][-1], some.signals[len(some[0]) - 1])
    assert np.allclose(reading.scores(), model.scores(some)[0], atol=3e-2)
    silent = command.prepare(told, smoke, embedder).plan
    assert not silent.record.shape.signals


def test_the_command_trains_publishes_and_evaluates(
    tiny, embedder, word_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "load_embedder", lambda name: embedder)
    monkeypatch.setattr(judged, "load_embedder", lambda name: embedder)
    short = partial(fit_sasrec, config=SasrecConfig(dim=16, epochs=2))
    monkeypatch.setattr(judged, "fit_sasrec", short)
    arguments = ["finetune", "interest", "--dataset", "tiny", "--preset", "smoke", "--json", "-"]
    arguments += ["--set", f"interest.base={word_llama}", "--set", "interest.epochs=2"]
    trained = arguments
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert {"wall_s", "peak_mb", "flops_fraction", "best_epoch"} <= result.keys()
    assert {"interest", "mix", result["rule"]} <= result["validation"].keys()
    assert 0 < result["diagnostics"]["sink_mean"] <= 1
    assert next((runs.subfolder("runs", "interest") / result["run"]).glob(PICTURES))
    model = load_interest(tiny)
    assert model is not None
    assert (model.record.mix is None) == (
        result["validation"]["mix"] <= result["validation"][result["rule"]]
    )
    arguments = ["evaluate", "interest", "--dataset", "tiny", "--resamples", "100", "--json", "-"]
    report = json.loads(CliRunner().invoke(cli, arguments).stdout)
    assert {"interest", "sasrec", "ease", "transitions_bm25"} <= report["methods"].keys()
    assert {"interest-sasrec", f"{report['best_untrained']}-interest"} <= report["pairs"].keys()
    assert {"r@50", "n@200", "against_order"} <= report["methods"]["interest"].keys()
    assert report["methods"]["interest"]["r@10"] > 3 * 10 / 40  # kinds are learnt
    assert report["band"] == {}
    refused = CliRunner().invoke(cli, [*arguments, "--fitted-on", "train+validation"])
    assert refused.exit_code != 0
    twice = CliRunner().invoke(cli, [*arguments, "--model", "current", "--model", result["run"]])
    assert isinstance(twice.exception, InputError)
    assert "are the same model" in str(twice.exception)
    again = CliRunner().invoke(cli, [*trained, "--set", "interest.seed=1"])
    both = [*arguments, "--model", "current", "--model", result["run"], "--methods", "interest,mix"]
    both += ["--unseen", "1"]
    found = json.loads(CliRunner().invoke(cli, both).stdout)
    own = [found["methods"][name]["n@10"] for name in ("interest", "interest 2")]
    assert json.loads(again.stdout)["run"] != result["run"]
    assert own[1] == pytest.approx(report["methods"]["interest"]["n@10"])  # the first seed's
    assert found["band"]["interest"]["models"] == 2
    assert ("mix_unseen" in found["methods"]) == ("mix" in found["methods"])
    spread = found["band"]["interest"]["n@10"]
    assert spread["mean"] == pytest.approx(np.mean(own), abs=1e-5)
    assert spread["std"] == pytest.approx(np.std(own, ddof=1), abs=1e-5)


def test_a_killed_training_goes_on_to_the_same_weights(
    tiny, embedder, smoke: InterestConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "fit_mix", lambda *given: given[2])
    command.train("tiny", smoke, embedder)
    whole = load_interest(tiny)
    measure = Epochs.__dict__["_measure"]

    def killed(self: Epochs, progress: object) -> None:
        measure(self, progress)
        raise SystemExit("as if by kill -9")

    with monkeypatch.context() as patch:
        patch.setattr(Epochs, "_measure", killed)
        with pytest.raises(SystemExit):
            command.train("tiny", smoke, embedder)
    command.train("tiny", smoke, embedder, resume=True)
    again = load_interest(tiny)
    assert whole is not None
    assert again is not None
    for name, value in whole.net.own_state().items():
        assert torch.equal(value, again.net.own_state()[name]), name


def test_a_model_of_other_events_or_another_catalogue_is_left_alone(
    tiny, embedder, smoke: InterestConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = command.prepare(tiny, smoke, embedder).plan
    served.publish_interest("tiny", plan.model(plan.trainer(1)))
    assert load_interest(tiny) is not None
    assert load_interest(tiny, fitted=tiny.histories) is None
    monkeypatch.setattr(tools, "load_embedder", lambda name: embedder)
    rule, train = best_untrained(tiny), leave_one_out(tiny).train
    found = [tools.load_tools(tiny, rule=rule, fitted=of) for of in (train, tiny.histories, None)]
    assert [one.interest is not None for one in found] == [True, False, False]
    other = tiny.info.model_copy(update={"catalogue_fingerprint": "0" * 16})
    assert load_interest(replace(tiny, info=other)) is None
    (tmp_path / "broken").mkdir()
    with pytest.raises(ModelError, match="cannot be read"):
        read_interest(tmp_path / "broken")


def test_a_wish_is_read_after_the_history_when_training_had_wishes(
    tiny, embedder, smoke: InterestConfig
) -> None:
    plan = command.prepare(tiny, smoke.model_copy(update={"wish": 1.0}), embedder).plan
    trainer = plan.trainer(5)
    trainer.step(trainer.epoch_batches(0)[0])
    model = plan.model(trainer)
    lists, wish = Histories.from_lists([[0, 4, 8], [1]]), embedder.encode(["razor", "perfume"])
    assert not np.allclose(model.scores(lists, wish), model.scores(lists), atol=1e-3)
    deaf = model.with_record(model.record.model_copy(update={"wishes": False}))
    assert np.array_equal(deaf.scores(lists, wish), deaf.scores(lists))


def test_new_items_go_by_text_and_facts(tiny, embedder, smoke: InterestConfig) -> None:
    plan = command.prepare(tiny, smoke, embedder).plan
    model = plan.model(plan.trainer(1))
    made = model.new_vectors(tiny.items[:3], plan.material.text[:3])
    assert np.allclose(made, model.item_vectors[:3], atol=0.2)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)


def test_too_little_data_is_said(tiny, embedder, smoke: InterestConfig) -> None:
    short = replace(tiny, interactions=tiny.interactions.group_by("user_id").head(3))
    with pytest.raises(InputError, match="four interactions"):
        command.prepare(short, smoke, embedder)


def test_the_trainer_takes_the_same_steps_whenever_they_are_taken(
    tiny, embedder, smoke: InterestConfig
) -> None:
    plan = command.prepare(tiny, smoke, embedder).plan
    one, other = plan.trainer(50), plan.trainer(50)
    assert isinstance(one, InterestTrainer)
    batch = one.epoch_batches(0)[0]
    assert one.step(batch) == other.step(batch)
    other.load(one.net.state_dict(), memory(one.optimizer), one.done)
    assert one.step(batch) == pytest.approx(other.step(batch))
