from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foretaste.agents.config import AgentsConfig
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.lexicon import Lexicon
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError, ModelError
from foretaste.data.store import save_dataset
from foretaste.finetune.language_model import load_base
from foretaste.finetune.moments import moments
from foretaste.finetune.reward import measure
from foretaste.finetune.reward.config import load_config
from foretaste.finetune.reward.data import TIERS, Group, from_verdicts, in_hindsight
from foretaste.finetune.reward.loss import listwise, pointwise
from foretaste.finetune.reward.train import parted, train
from foretaste.serving.index.opened import build_index
from foretaste.serving.reward import RewardModel, RewardNet, Spelling, context_of, reward_folder
from foretaste.serving.rules.base import Scorer
from foretaste.serving.shipped import shipped_folder

S, A, B = TIERS["S"], TIERS["A"], TIERS["B"]


@pytest.fixture
def tiny(tiny: Dataset) -> Dataset:
    """The tiny catalogue with two categories an item and titles that say nothing."""
    finish = ("Matte", "Glossy", "Satin")
    kinds = [names[-1] for names in tiny.items["categories"].to_list()]
    items = tiny.items.with_columns(
        title=pl.Series([f"number{row}" for row in range(len(kinds))]),
        categories=pl.Series([["Beauty", k, finish[row % 3]] for row, k in enumerate(kinds)]),
    )
    return save_dataset(replace(tiny, items=items))


class NoRule:
    name = "none"

    def scores(self, histories: Any) -> Any:
        return np.zeros((len(histories), 40), dtype=np.float32)


def tools_of(dataset: Dataset, embedder: Any) -> Tools:
    index = build_index(dataset, embedder)
    rule: Scorer = NoRule()
    return Tools(
        dataset=dataset,
        config=AgentsConfig(tags=3, min_tags=1),
        lexicon=Lexicon(dataset.items),
        embedder=embedder,
        vectors=index.vectors_of(range(len(dataset.item_ids))),
        index=index,
        rule=rule,
    )


def test_the_listwise_loss_of_three_answers() -> None:
    scores, tiers = torch.tensor([1.0, 0.0, -1.0]), torch.tensor([S, A, B])
    e = math.exp
    best = -math.log(e(1) / (e(1) + e(0) + e(-1)))
    middle = -math.log(e(0) / (e(0) + e(-1)))
    assert float(listwise(scores, tiers)) == pytest.approx((best + middle) / 2, rel=1e-6)


def test_equals_are_not_held_against_each_other() -> None:
    scores = torch.tensor([0.3, -2.0], requires_grad=True)
    loss = listwise(scores, torch.tensor([A, A]))
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_the_pointwise_loss_of_two_answers() -> None:
    loss = pointwise(torch.tensor([0.0, 0.0]), torch.tensor([S, B]))
    assert float(loss) == pytest.approx(math.log(2))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-5, 5), st.sampled_from([S, A, B])), min_size=2, max_size=8),
    st.floats(-3, 3),
)
def test_only_differences_inside_a_group_matter(rows: list[tuple[float, int]], more: float) -> None:
    scores = torch.tensor([score for score, _ in rows], dtype=torch.float64)
    tiers = torch.tensor([tier for _, tier in rows])
    one, other = listwise(scores, tiers), listwise(scores + more, tiers)
    assert float(one) == pytest.approx(float(other), abs=1e-9)
    assert float(one) >= 0


def test_pairs_and_areas() -> None:
    perfect = (np.float32([2, 1, 0]), np.array([S, A, B]))
    wrong = (np.float32([0, 1]), np.array([S, B]))
    found = measure.figures([perfect, wrong])
    assert found["pairs"] == 0.75
    assert found["pairs_S>A"] == 1
    assert found["pairs_S>B"] == 0.5
    assert found["auc"] == pytest.approx((2 + 0.5) / (2 * 3) + 0.25, abs=0.2)


def net_of(folder: Path) -> tuple[RewardNet, Spelling]:
    loaded = load_base(str(folder), "float32")
    torch.manual_seed(1)
    net = RewardNet(loaded.model.model, loaded.model.config.hidden_size)
    torch.nn.init.normal_(net.head.weight)
    return net, Spelling(loaded.tokenizer, 64, 16)


def test_a_shared_context_gives_the_scores_and_gradients_of_whole_texts(tiny_llama: Path) -> None:
    net, spelling = net_of(tiny_llama)
    net.backbone.requires_grad_(True)
    context = spelling.context("Persona: War films")
    answers = [spelling.answer(text) for text in ("war drama", "x", "a much longer answer")]
    weight = net.backbone.layers[0].self_attn.k_proj.weight

    together = net([spelling.context("short"), context], [1, 1, 1], answers)
    together.sum().backward()
    shared = weight.grad.clone()
    weight.grad = None
    whole = []
    for answer in answers:
        states = net.backbone(input_ids=torch.tensor([context + answer])).last_hidden_state
        whole.append(net.head(states[0, -1]).squeeze(-1))
    torch.stack(whole).sum().backward()

    assert torch.allclose(together, torch.stack(whole), atol=1e-5)
    assert shared.abs().sum() > 0
    assert torch.allclose(shared, weight.grad, atol=1e-4)


def test_spelling_keeps_the_end_of_a_context_and_marks_the_end_of_an_answer(
    tiny_llama: Path,
) -> None:
    _, spelling = net_of(tiny_llama)
    assert len(spelling.context("a" * 500)) == 64
    assert len(spelling.answer("a" * 500)) == 17
    assert spelling.answer("a")[-1] == 2


def test_the_context_is_what_stands_between_the_data_marks() -> None:
    assert context_of("Do it. <data>\nPersona: A\n</data> Now.") == "Persona: A"
    assert context_of("no marks") == "no marks"


def test_moments_never_see_what_is_held_back(tiny: Dataset, embedder: Any) -> None:
    found = list(moments(tools_of(tiny, embedder), 2, 0))
    assert len(found) == 60
    for moment in found:
        user = tiny.user_ids.index(moment.owner)
        rows = tiny.histories[user].tolist()
        assert moment.reader.rows.tolist() == rows[:4]  # 8 events, 2 held back, 2 of the future
        assert set(moment.next_rows) == set(rows[4:6])
        assert set(moment.future) <= set(moment.next_rows)


def test_too_little_history_is_one_sentence(tiny: Dataset, embedder: Any) -> None:
    with pytest.raises(InputError, match="Nobody in tiny has 12 training events"):
        next(moments(tools_of(tiny, embedder), 9, 0))


def test_tiers_in_hindsight(tiny: Dataset, embedder: Any) -> None:
    tools = tools_of(tiny, embedder)
    found = list(moments(tools, 2, 0))
    groups = list(in_hindsight(found, tools, 3, 0))
    assert groups == list(in_hindsight(found, tools, 3, 0))
    assert len(groups) > 40
    for group in groups:
        assert "Persona:" in group.context
        assert len(set(group.answers)) == len(group.answers)
        assert group.tiers.count(B) <= 3
        assert B in group.tiers
    general = [g for g in groups if "Beauty" in g.answers]
    assert general
    assert all(g.tiers[g.answers.index("Beauty")] == B for g in general)


def test_learning_and_validation_share_nobody() -> None:
    groups = [Group(f"u{n // 2}", "c", ("a", "b"), (S, B)) for n in range(20)]
    learnt, judged = parted(groups, 2)
    assert len(judged) == 4
    assert not {g.owner for g in learnt} & {g.owner for g in judged}
    with pytest.raises(InputError, match="about two people"):
        parted(groups[:2], 2)


def verdict_files(folder: Path, rows: list[tuple[str, str, str, str | None]]) -> tuple[Path, Path]:
    cases, verdicts = folder / "cases.jsonl", folder / "verdicts.jsonl"
    cases.write_text(
        "".join(
            json.dumps({"id": i, "group": g, "context": ["Persona: A"], "answer": [a]}) + "\n"
            for i, g, a, _ in rows
        )
    )
    verdicts.write_text("".join(json.dumps({"id": i, "tier": t}) + "\n" for i, _, _, t in rows))
    return cases, verdicts


def test_verdicts_of_a_judge_become_groups(tmp_path: Path) -> None:
    rows = [("1", "u", "good", "S"), ("2", "u", "bad", "B"), ("3", "u", "odd", None)]
    rows += [("4", "v", "alone", "A")]
    assert from_verdicts(*verdict_files(tmp_path, rows)) == [
        Group("u", "Persona: A", ("good", "bad"), (S, B))
    ]
    with pytest.raises(InputError, match="No two answers"):
        from_verdicts(*verdict_files(tmp_path, rows[2:]))
    with pytest.raises(InputError, match="cannot be read"):
        from_verdicts(tmp_path / "none", tmp_path / "none")


def smoke(tiny_llama: Path, **more: object) -> Any:
    changes = {"base": tiny_llama, "future": 2, "groups": 40, "epochs": 3, "rate": 0.01, **more}
    return load_config("smoke", [f"reward.{name}={value}" for name, value in changes.items()])


@pytest.mark.parametrize("loss", ["listwise", "pointwise"])
def test_training_learns_exports_and_scores(
    tiny: Dataset, embedder: Any, tiny_llama: Path, loss: str
) -> None:
    tools = tools_of(tiny, embedder)
    result = train("tiny", smoke(tiny_llama, loss=loss), tools=tools)
    assert result["validation"]["pairs"] > 0.6
    assert result["bytes"] < 8e6
    assert {"wall_s", "peak_mb", "flops_fraction", "best_epoch", "expected_s"} <= set(result)
    model = RewardModel.load(reward_folder("tiny"))
    scores = model.score("Persona: Razor.\nChose: razor number2", ["razor number6", "Beauty"])
    assert scores.shape == (2,)
    assert scores.dtype == np.float32
    assert scores[0] != scores[1]
    assert model.score("x", []).shape == (0,)
    with pytest.raises(InputError, match="context"):
        model.score(" ", ["a"])


def test_a_missing_or_foreign_reward_model_is_one_sentence(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no reward model for tiny"):
        reward_folder("tiny")
    with pytest.raises(ModelError, match="is not there"):
        RewardModel.load(tmp_path)


CHANGES = ["reward.epochs=2", "reward.batch=2", "reward.rate=0.01"]
PROGRAM = f"""
import sys, time
from pathlib import Path
from foretaste.finetune import states
from foretaste.finetune.reward import trainer
from foretaste.finetune.reward.config import load_config
from foretaste.finetune.reward.train import train
states._SAVE_EVERY = 0.0
plain = trainer.Trainer.step
def slow(self, groups):
    time.sleep(0.5)
    return plain(self, groups)
trainer.Trainer.step = slow
changes = ["reward.base=" + sys.argv[1], *{CHANGES}]
train("tiny", load_config("smoke", changes), False, (Path(sys.argv[2]), Path(sys.argv[3])))
"""


def test_a_killed_training_goes_on_to_the_same_weights(
    tiny: Dataset, tiny_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        (f"{n}{kind}", f"u{n}", f"{kind} {n}", "S" if kind == "good" else "B")
        for n in range(12)
        for kind in ("good", "bad")
    ]
    cases, verdicts = verdict_files(tmp_path, rows)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)

    home = Path(os.environ["FORETASTE_HOME"])
    killed = subprocess.Popen(
        [sys.executable, "-P", str(program), str(tiny_llama), str(cases), str(verdicts)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(home.glob("runs/reward/*/state.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    changes = [f"reward.base={tiny_llama}", *CHANGES]
    config = load_config("smoke", changes)
    went_on = train("tiny", config, True, (cases, verdicts))
    assert "Going on in epoch" in capsys.readouterr().err
    whole = train("tiny", config, False, (cases, verdicts))
    assert went_on["folder"] == whole["folder"]  # named by its weights
    assert went_on["validation"] == whole["validation"]


@pytest.mark.model
def test_the_shipped_reward_model_knows_what_nobody_should_say() -> None:
    model = RewardModel.load(shipped_folder() / "reward-ml-100k")
    context = (
        "Today: Friday 1 April 2022\nPersona: Romance & Comedy: Chose She's the One and Wings of "
        "Desire\nChose: She's the One; Wings of Desire; Wedding Singer, The"
    )
    good, foreign, film = model.score(
        context, ["Comedy Romance", "Horror Thriller", "Wedding Singer, The"]
    )
    assert good > foreign
    assert good > film
