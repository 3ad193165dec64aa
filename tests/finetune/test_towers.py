"""Towers: numbers by hand, laws, and `foretaste finetune towers` from a data set to a scorer."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from foretaste.app.cli import cli
from foretaste.data.errors import ForetasteError, InputError, ModelError
from foretaste.data.histories import Histories
from foretaste.data.splits import leave_one_out
from foretaste.finetune import runs
from foretaste.finetune.epochs import Epochs, rate
from foretaste.finetune.presets import presets
from foretaste.finetune.states import memory
from foretaste.finetune.towers import train as command
from foretaste.finetune.towers.config import TowersConfig, load_config
from foretaste.finetune.towers.data import batches, hindsight, vocabulary
from foretaste.finetune.towers.loss import candidates, sampled_softmax
from foretaste.finetune.towers.trainer import Trainer
from foretaste.judge.ranking import run as ranking
from foretaste.serving.rules.base import popularity
from foretaste.serving.towers import (
    Towers,
    catalogue_arrays,
    fact_table,
    item_facts,
    load_towers,
    read_towers,
)
from foretaste.serving.towers_net import Shape, TowersNet

SMOKE = load_config("smoke")


def _net(codes: int = 2, items: int = 5) -> TowersNet:
    torch.manual_seed(0)
    return TowersNet(Shape(items=items, facts=3, text=6, dim=4, codes=codes, newest=10)).eval()


def test_the_softmax_is_that_of_a_hand_calculation() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.0]])
    chance = torch.log(torch.tensor([1.0, 0.5, 0.25]))
    found = sampled_softmax(scores, torch.tensor([1]), chance)
    parts = [np.exp(2) / 1, np.exp(1) / 0.5, np.exp(0) / 0.25]
    assert float(found) == pytest.approx(-np.log(parts[1] / sum(parts)), rel=1e-6)


def test_candidates_are_distinct_hold_the_targets_and_know_their_chance() -> None:
    shares = np.array([0.5, 0.5, 0.0, 0.0])
    found = candidates(np.array([1, 1]), shares, 4, np.random.default_rng(0))
    assert found.rows.tolist() == sorted(set(found.rows.tolist()))
    assert found.place(np.array([1])).tolist() == [found.rows.tolist().index(1)]
    at = found.place(np.array([1]))
    assert float(found.correction[at]) == pytest.approx(np.log(1 - np.exp(-(2 * 0.5 + 4 / 4))))


def test_scores_take_the_best_code_and_add_popularity() -> None:
    net = _net()
    with torch.no_grad():
        net.sharpness.fill_(np.log(2.0))
        net.popular.fill_(3.0)
    users = torch.tensor([[[1.0, 0, 0, 0], [0, 1.0, 0, 0]]])
    items = torch.tensor([[0.6, 0.8, 0, 0], [0, 0, 1.0, 0]])
    found = net.scores(users, items, torch.tensor([0.0, 1.0])).detach()
    assert found.tolist()[0] == pytest.approx([2 * 0.8, 3.0])


def test_a_place_never_looks_at_what_comes_later() -> None:
    net = _net()
    seen = torch.randn(1, 5, 4)
    at = torch.arange(5)[None]
    before = net.users(seen, at).detach()
    changed = seen.clone()
    changed[:, 3:] = torch.randn(1, 2, 4)
    after = net.users(changed, at).detach()
    assert torch.allclose(before[:, :3], after[:, :3], atol=1e-6)
    assert not torch.allclose(before[:, 3:], after[:, 3:], atol=1e-3)
    assert torch.allclose(after.norm(dim=-1), torch.ones(1, 5, 2), atol=1e-5)


@given(st.lists(st.lists(st.integers(0, 9), max_size=12), min_size=1, max_size=30), st.integers(0))
@settings(max_examples=50, deadline=None)
def test_every_event_is_a_target_once_when_read_forwards(lists: list[list[int]], seed: int) -> None:
    draw = np.random.default_rng(seed)
    found: list[tuple[int, int]] = []
    for batch in batches(Histories.from_lists(lists), 16, 1, 0.0, draw):
        real = batch.targets >= 0
        assert (batch.rows[real] >= 0).all()
        assert len(batch.rows) == 1 or batch.rows.size <= 16
        found += zip(batch.rows[real].tolist(), batch.targets[real].tolist(), strict=True)
    wanted = [pair for own in lists for pair in itertools.pairwise(own)]
    assert sorted(found) == sorted(wanted)


def test_a_window_and_reading_backwards_change_which_event_is_the_target() -> None:
    draw = np.random.default_rng(0)
    pairs = set()
    for _ in range(200):
        for batch in batches(Histories.from_lists([[0, 1, 2, 3]]), 16, 2, 0.5, draw):
            pairs |= set(zip(batch.rows[0].tolist(), batch.targets[0].tolist(), strict=True))
    forwards = {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)}
    assert pairs == forwards | {(3 - a, 3 - b) for a, b in forwards}


def test_the_rate_rises_then_falls_to_nothing() -> None:
    found = [rate(step, 100) for step in range(101)]
    assert found[4] == 1.0
    assert found[100] == pytest.approx(0, abs=1e-9)
    assert sorted(found[5:], reverse=True) == found[5:]


def test_facts_are_categories_attributes_and_words_but_no_dates() -> None:
    brand = {"name": "brand", "value": "OPI"}
    dated = {"name": "known_at", "value": "2020-01-01"}
    items = pl.DataFrame(
        {
            "title": ["Lip gloss, gloss", None],
            "categories": [["Lips"], None],
            "attributes": [[brand, dated], None],
        },
        schema_overrides={"categories": pl.List(pl.String)},
    )
    assert item_facts(items) == [["Lips", "brand: OPI", "word: lip", "word: gloss"], []]
    assert fact_table([[], []], {}).tolist() == [[0], [0]]


def test_tags_in_hindsight_belong_to_the_target(tiny) -> None:
    counts = popularity(tiny.histories, len(tiny.item_ids))
    words = vocabulary(tiny, counts, 100)
    assert {"Lipstick", "Shampoo"} <= set(words.texts)
    for batch in batches(tiny.histories, 64, 1, 0.0, np.random.default_rng(0)):
        tags, categories = hindsight(batch, words, np.random.default_rng(1))
        targets = batch.targets[batch.targets >= 0]
        for tag, category, target in zip(tags, categories, targets, strict=True):
            assert tag < 0 or tag in words.tags[target]
            assert words.texts[category] in tiny.categories_of(target)


def test_an_item_without_training_events_goes_by_its_text_and_facts() -> None:
    net = _net()
    text = np.eye(5, 6, dtype=np.float32)
    facts = np.array([[1], [2], [3], [1], [1]])
    counts = np.array([3, 1, 0, 2, 0])
    made = catalogue_arrays(net, text, facts, counts)
    given = [torch.as_tensor(one) for one in (text, facts, np.zeros(5, dtype=np.int64))]
    bare = net.items(*given).detach()
    assert torch.allclose(made["items"][[2, 4]], bare[[2, 4]])
    assert not torch.allclose(made["items"][0], bare[0], atol=1e-4)


@pytest.fixture
def trained(tiny, embedder) -> tuple[dict, Towers]:
    result = command.train("tiny", SMOKE, embedder)
    towers = load_towers(tiny, embedder.fingerprint, leave_one_out(tiny).train)
    assert towers is not None
    return result, towers


def test_training_beats_plain_similarity_and_says_how_it_went(trained, tiny) -> None:
    result, towers = trained
    assert {"wall_s", "peak_mb", "flops_fraction", "best_epoch"} <= set(result)
    assert 1 <= result["best_epoch"] <= result["epochs"] <= SMOKE.epochs
    validation = result["validation"]
    assert validation["towers_mix"] >= validation[result["rule"]]
    chance = 1 / len(tiny.item_ids) * 4.54  # N@10 of a random order of 40 items
    assert validation["towers"] > 2 * chance
    scores = towers.scores(tiny.histories)
    assert scores.shape == (60, 40)
    assert scores.dtype == np.float32


def test_what_is_served_is_what_the_parts_say(trained, tiny, embedder) -> None:
    towers = trained[1]
    history = tiny.histories[0]
    users = towers.user_vectors(Histories.from_lists([history.tolist()]))
    sharp, popular = float(towers.net.sharpness.detach().exp()), float(towers.net.popular.detach())
    counts = popularity(leave_one_out(tiny).train, 40)
    by_hand = sharp * (users[0] @ towers.item_vectors.T).max(axis=0) + popular * np.log1p(counts)
    own = towers.scores(Histories.from_lists([history.tolist()]))[0]
    assert own == pytest.approx(by_hand, abs=1e-4)
    tags = embedder.encode(["red lipstick", "shampoo"])
    said = towers.tag_vectors(tags)
    by_tags = sharp * (said @ towers.item_vectors.T).max(axis=0) + popular * np.log1p(counts)
    mixed = towers.mixed(history, tags, 0.25)
    assert mixed == pytest.approx(0.25 * own + 0.75 * by_tags, abs=1e-4)
    assert (towers.mixed(history, tags[:0]) == own).all()


def test_an_empty_history_gets_what_is_popular(trained) -> None:
    towers = trained[1]
    scores = towers.scores(Histories.from_lists([[], [1]]))[0]
    counts = towers._popular.numpy() * float(towers.net.popular.detach())
    assert scores == pytest.approx(counts, abs=1e-6)


def test_a_new_item_lies_near_those_of_its_kind(trained, tiny, embedder) -> None:
    towers = trained[1]
    row = tiny.items.filter(pl.col("item_id") == "i4")
    vector = towers.new_vectors(row, embedder.encode(["lipstick number99. Beauty > Lipstick"]))
    nearest = np.argsort(-(towers.item_vectors @ vector[0]))[:5]
    assert sum(tiny.titles[item].startswith("lipstick") for item in nearest) >= 4


def test_towers_of_another_catalogue_embedder_or_split_are_left_alone(trained, tiny) -> None:
    assert load_towers(tiny) is not None
    assert load_towers(tiny, "another") is None
    assert load_towers(tiny, fitted=tiny.histories) is None


def test_what_is_served_learnt_from_everything_and_what_is_evaluated_did_not(trained, tiny) -> None:
    result, evaluated = trained
    served = load_towers(tiny)
    assert (evaluated.record.fitted_on, served.record.fitted_on) == ("train", "everything")
    counts = popularity(tiny.histories, 40)
    assert served._popular.numpy() == pytest.approx(np.log1p(counts))
    assert (counts > popularity(leave_one_out(tiny).train, 40)).any()
    chosen = {"beta", "rule", "weight", "validation", "shape"}
    own, inherited = served.record.model_dump(), evaluated.record.model_dump()
    assert {name: own[name] for name in chosen} == {name: inherited[name] for name in chosen}
    assert result["refit_epochs"] == result["best_epoch"]
    assert result["refit_events"] == result["best_epoch"] * 60 * 7, "events with one before them"
    assert load_towers(tiny, fitted=leave_one_out(tiny).train).record == evaluated.record


def test_served_and_evaluated_are_one_when_nothing_is_learnt_again(tiny, embedder) -> None:
    result = command.train("tiny", SMOKE.model_copy(update={"refit": False}), embedder)
    assert result["refit_epochs"] == result["refit_events"] == 0
    assert load_towers(tiny).record.fitted_on == "train"
    assert load_towers(tiny, fitted=leave_one_out(tiny).train) is not None


def test_damaged_towers_are_refused_in_one_sentence(trained, home: Path) -> None:
    folder = next(path for path in (home / "towers" / "tiny").iterdir() if path.is_dir())
    weights = folder / "towers.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-8] + bytes(8))  # still a file of weights, with other weights
    with pytest.raises(ModelError, match="not as it was written"):
        read_towers(folder)
    weights.write_bytes(whole[:-100])
    with pytest.raises(ModelError, match="train them again"):
        read_towers(folder)


class _StopAt:
    """Asks to stop after so many steps."""

    def __init__(self, step: int) -> None:
        self.step, self.seen = step, 0

    @property
    def asked(self) -> bool:
        self.seen += 1
        return self.seen == self.step


@pytest.mark.parametrize("at", [2, 9, 20])  # the last one while it learns from everything
def test_a_stopped_training_goes_on_to_the_same_weights(
    tiny, embedder, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    whole = _weights(tiny, embedder)
    with monkeypatch.context() as patch:
        patch.setattr(command, "stoppable", lambda: _given(_StopAt(at)))
        with pytest.raises(KeyboardInterrupt):
            command.train("tiny", SMOKE, embedder)
    _same(whole, _weights(tiny, embedder, resume=True))
    assert command.train("tiny", SMOKE, embedder, resume=True)["best_epoch"] >= 1


def test_a_killed_training_goes_on_from_its_last_state_to_the_same_weights(
    tiny, embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _weights(tiny, embedder)
    step = Epochs.__dict__["_measure"]

    def killed(self: Epochs, progress: object) -> None:
        step(self, progress)
        if self.course.epoch == 2:
            raise SystemExit("as if by kill -9")

    with monkeypatch.context() as patch:
        patch.setattr(Epochs, "_measure", killed)
        with pytest.raises(SystemExit):
            command.train("tiny", SMOKE, embedder)
    assert load_towers(tiny) is not None  # those of the first training are still served
    _same(whole, _weights(tiny, embedder, resume=True))


def _weights(tiny, embedder, resume: bool = False) -> dict[str, torch.Tensor]:
    command.train("tiny", SMOKE, embedder, resume=resume)
    return load_towers(tiny).net.state_dict()


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    for name, value in one.items():
        assert torch.allclose(value, other[name], atol=1e-5), name


class _given:
    def __init__(self, value: object) -> None:
        self.value = value

    def __enter__(self) -> object:
        return self.value

    def __exit__(self, *error: object) -> None:
        return None


def test_steps_are_the_same_whenever_they_are_taken(tiny, embedder) -> None:
    job = command.prepare(tiny, SMOKE, embedder)
    one, other = Trainer(job.material, SMOKE, 50), Trainer(job.material, SMOKE, 50)
    batch = one.epoch_batches(0)[0]
    assert one.step(batch) == other.step(other.epoch_batches(0)[0])
    other.load(one.net.state_dict(), memory(one.optimizer), one.done)
    assert one.step(batch) == pytest.approx(other.step(batch))


def test_an_id_is_never_read_as_text(tiny, embedder) -> None:
    bare = tiny.items.with_columns(
        title=pl.when(pl.col("item_id") != "i3").then("title"),
        categories=pl.when(pl.col("item_id") != "i3").then("categories"),
        attributes=pl.when(pl.col("item_id") != "i3").then("attributes"),
    )
    job = command.prepare(replace(tiny, items=bare), SMOKE, embedder)
    assert (job.material.text[3] == 0).all()
    assert (np.linalg.norm(job.material.text, axis=1) > 0).sum() == 39


def test_nothing_to_resume_and_nothing_to_learn_are_one_sentence(tiny, embedder) -> None:
    with pytest.raises(InputError, match="no unfinished run"):
        command.train("tiny", SMOKE, embedder, resume=True)
    with pytest.raises(InputError, match="no preset 'large'; choose from cpu, smoke"):
        load_config("large")
    with pytest.raises(InputError, match=r"towers\.dim"):
        load_config("smoke", ["towers.dim=0"])
    with pytest.raises(InputError, match="has no 'depth'"):
        load_config("smoke", ["towers.depth=3"])


def test_every_preset_is_valid() -> None:
    assert presets("towers") == ["cpu", "smoke"]
    assert all(isinstance(load_config(name), TowersConfig) for name in presets("towers"))


def test_the_command_trains_and_the_ranking_table_shows_the_towers(
    tiny, embedder, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "load_embedder", lambda _: embedder)
    monkeypatch.setattr(ranking, "load_embedder", lambda _: embedder)
    words = ["finetune", "towers", "--dataset", "tiny", "--preset", "smoke", "--json", "-"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["best_epoch"] >= 1
    words = ["evaluate", "ranking", "--dataset", "tiny", "--resamples", "100", "--json", "-"]
    done = CliRunner().invoke(cli, [*words, "--channel-users", "0"])
    assert done.exit_code == 0, done.exception
    report = json.loads(done.stdout)
    assert {"towers", "towers_mix", "embedding_last"} <= set(report["methods"])
    assert f"{report['best_untrained']}-towers_mix" in report["pairs"]
    done = CliRunner().invoke(cli, [*words, "--fitted-on", "train+validation", "--users", "20"])
    assert "towers" not in json.loads(done.stdout)["methods"]


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)


def test_signals_ask_once_and_end_at_the_second() -> None:
    with runs.stoppable() as stop:
        assert not stop.asked
        _interrupt()
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            _interrupt()


def test_a_damaged_state_and_too_little_room_are_one_sentence(home: Path) -> None:
    run = runs.open_run("test", "tiny", {"a": 1}, resume=False)
    run.save_state({"x": torch.ones(3)}, {"epoch": 2})
    assert run.load_state()[1] == {"epoch": 2}
    assert run.load_state()[0]["x"].tolist() == [1, 1, 1]
    (run.folder / runs.STATE).write_bytes(b"nothing")
    with pytest.raises(ForetasteError, match="without --resume"):
        run.load_state()
    for estimate in (runs.Estimate(1, 1e9, 1), runs.Estimate(1, 1, 1e12)):
        with pytest.raises(InputError, match="are free"):
            estimate.check(run.folder)
    assert runs.open_run("test", "tiny", {"a": 1}, resume=True).folder == run.folder
    assert runs.open_run("test", "tiny", {"a": 2}, resume=False).folder != run.folder
    assert runs.open_run("test", "tiny", {"a": 1}, resume=False).load_state() is None
