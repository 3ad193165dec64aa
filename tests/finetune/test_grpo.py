from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from foretaste.agents.config import AgentsConfig
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.lexicon import Lexicon
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.store import save_dataset
from foretaste.finetune.grpo import trainer
from foretaste.finetune.grpo.alarm import Alarm, Limits
from foretaste.finetune.grpo.config import GrpoConfig, load_config
from foretaste.finetune.grpo.keeper import Keeper
from foretaste.finetune.grpo.policy import shared_logps
from foretaste.finetune.grpo.rewards import (
    NOTHING,
    Rewards,
    Thresholds,
    accuracy,
    alignment,
    constrained,
    diversity,
    length,
    passed,
    quantiles,
    weighted_sum,
)
from foretaste.finetune.grpo.rollout import MergedCopy, Writer, _drawn
from foretaste.finetune.grpo.scoring import Leaves, Question, Scored, Scoring, summary
from foretaste.finetune.grpo.train import gates, train
from foretaste.finetune.language_model import (
    Loaded,
    LoraSettings,
    export_adapter,
    load_base,
    with_lora,
)
from foretaste.serving.chat import Usage
from foretaste.serving.chat_json import read_answer
from foretaste.serving.index.opened import build_index

OPEN = Thresholds(alignment=0, diversity=0, length=0)
shares = st.floats(0, 1)
rewards = st.builds(Rewards, shares, shares, shares, shares)


class NoRule:
    name = "none"

    def scores(self, histories: Any) -> Any:
        return np.zeros((len(histories), 40), dtype=np.float32)


class Short:
    """A reward model that likes short answers."""

    def score(self, context: str, answers: Sequence[str]) -> Any:
        return np.array([3 - len(answer) / 4 for answer in answers], dtype=np.float32)


@pytest.fixture
def tiny(tiny: Dataset) -> Dataset:
    finish = ("Matte", "Glossy", "Satin")
    kinds = [names[-1] for names in tiny.items["categories"].to_list()]
    items = tiny.items.with_columns(
        title=pl.Series([f"number{row}" for row in range(len(kinds))]),
        categories=pl.Series([["Beauty", finish[row % 3], k] for row, k in enumerate(kinds)]),
    )
    return save_dataset(replace(tiny, items=items))


@pytest.fixture
def tools(tiny: Dataset, embedder: Any) -> Tools:
    return tools_of(tiny, embedder)


def tools_of(tiny: Dataset, embedder: Any) -> Tools:
    index = build_index(tiny, embedder)
    return Tools(
        dataset=tiny,
        config=AgentsConfig(tags=2, min_tags=1),
        lexicon=Lexicon(tiny.items),
        embedder=embedder,
        vectors=index.vectors_of(range(len(tiny.item_ids))),
        index=index,
        rule=NoRule(),
    )


def test_accuracy_is_recall_of_what_came_next() -> None:
    assert accuracy([1, 2, 2, 9], [2, 3]) == 0.5
    assert accuracy([], [2]) == 0
    assert accuracy([1], []) == 0


def test_alignment_is_the_mean_after_the_sigmoid() -> None:
    assert alignment([0.0, 100.0]) == pytest.approx(0.75)
    assert alignment([]) == 0


def test_diversity_of_like_and_unlike_tags() -> None:
    one, other = np.float32([[1, 0], [1, 0]]), np.float32([[1, 0], [-1, 0]])
    assert diversity(one) == 0
    assert diversity(other) == 2
    assert diversity(one[:1]) == 0


def test_length_counts_words() -> None:
    assert length(["a b", "a", "a b c d e f g"], (2, 4), (1, 6)) == 0.5


def test_constrained_shaping_needs_every_gate_and_the_sum_needs_none() -> None:
    earned = Rewards(0.8, 0.6, 0.3, 1.0)
    bars = Thresholds(alignment=0.6, diversity=0.3, length=1.0)
    assert constrained(earned, bars) == 0.8
    assert constrained(earned, bars.model_copy(update={"diversity": 0.31})) == 0
    assert weighted_sum(earned, {"accuracy": 1, "diversity": 2}) == pytest.approx(1.4)


@settings(max_examples=60, deadline=None)
@given(rewards, rewards)
def test_constrained_shaping_is_never_above_accuracy_and_opens_with_the_gates(
    earned: Rewards, bars: Rewards
) -> None:
    limits = Thresholds(alignment=bars.alignment, diversity=bars.diversity, length=bars.length)
    got = constrained(earned, limits)
    assert got in (0.0, earned.accuracy)
    assert constrained(earned, OPEN) == earned.accuracy
    assert (got == earned.accuracy) or not all(passed(earned, limits).values())


@settings(max_examples=40, deadline=None)
@given(st.lists(rewards, min_size=1, max_size=20), shares)
def test_a_quantile_fails_at_most_its_share(samples: list[Rewards], share: float) -> None:
    limits = quantiles(samples, share)
    for gate in ("alignment", "diversity", "length"):
        failing = sum(not passed(one, limits)[gate] for one in samples)
        assert failing <= share * len(samples) + 1e-9


def test_gates_are_set_by_answers_that_hold_tags() -> None:
    empty = Scored(NOTHING, (), 1.0, 0.0, False)
    full = Scored(Rewards(0.5, 0.6, 0.3, 1.0), ("a",), 0.0, 0.0, True)
    assert gates([empty] * 9 + [full], 0.2).alignment == 0.6
    assert gates([empty], 0.2).alignment == 0


def test_the_alarm_hears_a_runaway_policy_and_rubbish() -> None:
    calm = {"kl": 0.0, "entropy": 2.0, "invalid": 0.1, "duplicates": 0.0}
    for wrong, said in (({"kl": 9.0}, "KL"), ({"invalid": 0.9}, "invalid rose")):
        alarm = Alarm(Limits(kl=1.0, entropy=0.2, rubbish=0.25))
        assert [alarm.hear(**calm) for _ in range(8)] == [None] * 8
        heard = [alarm.hear(**{**calm, **wrong}) for _ in range(4)][-1]
        assert heard is not None
        assert said in heard


def question(leaves: Leaves, *names: str) -> Question:
    return Question("u", (), "Persona: A", tuple(leaves.names.index(name) for name in names))


def test_an_answer_is_read_mapped_and_scored(tools: Tools) -> None:
    leaves = Leaves(tools)
    assert leaves.names == ["Lipstick", "Perfume", "Razor", "Shampoo"]
    scoring = Scoring(tools, leaves, Short(), GrpoConfig())
    text = json.dumps({"tags": [{"tag": t, "why": "yes"} for t in ("Matte Razor", "Razor Matte")]})
    good, bad, none = scoring.score(
        [question(leaves, "Razor", "Perfume")] * 3, [text, "not json", text.replace("Razor", "Xyz")]
    )
    assert good.rewards.accuracy == 0.5
    assert good.rewards.length == 1
    assert good.duplicates == 0.5
    assert (good.invalid, bad.invalid, bad.readable) == (0, 1, False)
    assert none.invalid == 1
    assert none.rewards.accuracy == 0
    told = summary([good, bad], [0.5, 0.0], OPEN)
    assert told["reward"] == 0.25
    assert told["unreadable"] == 0.5


class Word(BaseModel):
    word: str = Field(min_length=1, max_length=3)


def policy_of(folder: Path) -> Loaded:
    loaded = with_lora(load_base(str(folder), "float32"), LoraSettings(rank=2))
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in loaded.model.named_parameters():
            if "lora_B" in name:
                value.copy_(torch.randn(value.shape, generator=draw) * 0.05)
    return loaded


def test_answers_fit_the_schema_and_a_group_writes_what_each_writes_alone(
    tiny_llama: Path,
) -> None:
    loaded = policy_of(tiny_llama)
    writer = Writer(loaded.tokenizer, loaded.model.config.vocab_size, Word, 30)
    prompts = [loaded.tokenizer(text)["input_ids"] for text in ("a", "quite another prompt")]
    model = loaded.model.eval()
    group = writer.write(model, [prompts[0]] * 2 + [prompts[1]] * 3, 0.0, 0)
    alone = [writer.write(model, [prompt], 0.0, 0)[0] for prompt in prompts]
    assert group == [alone[0]] * 2 + [alone[1]] * 3
    drawn = writer.write(model, [prompts[0]] * 6, 1.0, 7)
    assert drawn == writer.write(model, [prompts[0]] * 6, 1.0, 7)
    assert len({tuple(one) for one in drawn}) > 1
    for one in drawn:
        assert one[-1] == loaded.tokenizer.eos_token_id
        text = loaded.tokenizer.decode(one, skip_special_tokens=True)
        assert read_answer(Word, text, Usage(), complete=True).parsed.word


def test_a_merged_copy_says_what_the_policy_says_and_leaves_it_alone(tiny_llama: Path) -> None:
    loaded = policy_of(tiny_llama)
    before = {name: value.clone() for name, value in loaded.model.named_parameters()}
    ids = torch.tensor([[5, 9, 30]])
    copy = MergedCopy(loaded.model)
    with torch.no_grad():
        wanted = loaded.model.eval()(input_ids=ids).logits
        assert torch.allclose(copy.refresh()(input_ids=ids).logits, wanted, atol=1e-4)
        for name, value in loaded.model.named_parameters():
            assert torch.equal(value, before[name])
            if "lora_A" in name:
                value.mul_(2)
        wanted = loaded.model(input_ids=ids).logits
        assert torch.allclose(copy.refresh()(input_ids=ids).logits, wanted, atol=1e-4)


def test_shared_prompts_give_the_log_probabilities_of_whole_texts(tiny_llama: Path) -> None:
    causal = policy_of(tiny_llama).model.get_base_model()
    ids = torch.tensor([[0, 7, 8, 20, 21, 22], [0, 7, 8, 30, 0, 0], [4, 5, 6, 20, 40, 0]])
    mask = torch.tensor([[0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0]])
    logps, entropies = shared_logps(causal, ids, mask, 3, 0.5)
    for row, told in enumerate(logps):
        text = ids[row][mask[row].bool()]
        logits = causal(input_ids=text[None]).logits[0].float() / 0.5
        wanted = logits.log_softmax(-1)[:-1].gather(-1, text[1:, None]).squeeze(-1)
        answer = int(mask[row, 3:].sum())
        assert torch.allclose(told[:answer], wanted[-answer:], atol=1e-4)
        assert not told[answer:].any()
    assert entropies[0, 0] > 0
    assert not entropies.requires_grad


def adapter_in(folder: Path, llama: Path) -> Path:
    about = {"agents": {"tags": 2, "min_tags": 1}}
    export_adapter(policy_of(llama), folder, about)
    return folder


def test_a_run_measures_its_start_keeps_the_best_and_exports(
    tools: Tools, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Any] = []
    monkeypatch.setattr(
        "foretaste.finetune.grpo.train.build",
        lambda *given: built.append(trainer.build(*given)) or built[0],
    )
    start = adapter_in(tmp_path / "sft", tiny_llama)
    changes = ["grpo.steps=2", "grpo.rate=0.01", "grpo.combine=sum"]
    config = load_config("smoke", changes)
    result = train("tiny", str(start), config, "better", tools=tools, aligner=Short())
    assert result["steps"] == 2
    lower, upper = built[0].model.get_base_model().model.layers
    assert not any(value.requires_grad for value in lower.parameters())
    assert any(value.requires_grad for value in upper.parameters())
    assert set(result["thresholds"]) == {"alignment", "diversity", "length"}
    assert result["validation"]["start"]["step"] == 0
    assert result["best_step"] >= 0
    assert result["test"]["people"] == 3
    assert result["test"]["accuracy_gain"]["low"] <= result["test"]["accuracy_gain"]["high"]
    folder = Path(result["folder"])
    assert (folder / "adapter_model.safetensors").is_file()
    record = json.loads((folder / "foretaste.json").read_text())
    assert record["agents"]["tags"] == 2
    assert record["reinforced"]["dataset"] == "tiny"
    run = next((Path(os.environ["FORETASTE_HOME"]) / "runs" / "grpo").iterdir())
    rows = [row for row in json.loads((run / "curve.json").read_text()) if "kl" in row]
    wanted = {"zero_variance", "entropy", "completion_tokens", "gate/all", "invalid", "duplicates"}
    assert len(rows) == 2
    assert wanted <= set(rows[0])


def test_wrong_calls_are_one_sentence(tiny: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no adapter 'none'"):
        train("tiny", "none", load_config("smoke"), "out")
    with pytest.raises(InputError, match="multiple of micro"):
        load_config("smoke", ["grpo.micro=3"])
    with pytest.raises(InputError, match="no preset"):
        load_config("large")


def test_a_run_that_dies_goes_on_to_the_same_end(
    tools: Tools, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = adapter_in(tmp_path / "sft", tiny_llama)
    config = load_config("smoke", ["grpo.steps=3", "grpo.rate=0.01", "grpo.validate_every=3"])
    died: list[bool] = []
    as_it_is = trainer.rewarded

    def rewarded(job: Any, keeper: Any) -> Any:
        plain = as_it_is(job, keeper)

        def reward(completions: Any, number: Any, **given: Any) -> list[float]:
            if keeper.course.step == 1 and not died:
                died.append(True)
                raise RuntimeError("dead")
            plain(completions, number)
            return [len(turns[-1]["content"]) % 7 / 7 for turns in completions]

        return reward

    monkeypatch.setattr(trainer, "rewarded", rewarded)

    def run(resume: bool) -> dict[str, Any]:
        return train("tiny", str(start), config, "out", resume, tools, Short())

    with pytest.raises(RuntimeError, match="dead"):
        run(False)
    went_on = run(True)
    whole = run(False)
    assert went_on["steps"] == whole["steps"] == 3
    assert went_on["sha256"] == whole["sha256"]
    assert went_on["validation"] == whole["validation"]
    assert run(True) == whole  # finished: nothing is done again


def test_a_run_that_is_asked_to_stop_saves_and_goes_on(
    tools: Tools, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = adapter_in(tmp_path / "sft", tiny_llama)
    config = load_config("smoke", ["grpo.steps=2", "grpo.save_every=50"])
    plain = Keeper.on_step_end

    def asked(self: Any, *given: Any, **more: Any) -> None:
        plain(self, *given, **more)
        self.stop.asked = self.course.step == 1

    monkeypatch.setattr(Keeper, "on_step_end", asked)
    with pytest.raises(KeyboardInterrupt):
        train("tiny", str(start), config, "out", False, tools, Short())
    result = train("tiny", str(start), config, "out", True, tools, Short())
    assert result["steps"] == 2


def test_tokens_are_drawn_by_their_shares() -> None:
    scores = torch.tensor([1.0, 3.0, 0.0, 0.0]).log().repeat(20000, 1)
    drawn = _drawn(scores, 1.0, torch.Generator().manual_seed(0))
    shares = np.bincount(drawn.numpy(), minlength=4) / 20000
    assert np.allclose(shares, [0.25, 0.75, 0, 0], atol=0.015)


def test_no_rounding_draws_what_has_no_share(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]])
    for number, token in ((0.0, 1), (1.0, 2)):
        monkeypatch.setattr(
            torch, "rand", lambda *shape, value=number, **given: torch.full(shape, value)
        )
        assert _drawn(scores, 1.0, torch.Generator()).tolist() == [token]
