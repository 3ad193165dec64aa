"""The adaptor: its start and losses by hand, laws, and `foretaste finetune adaptor` end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from foretaste.agents.wording import prompting
from foretaste.app.cli import cli
from foretaste.data.dataset import Dataset
from foretaste.data.errors import ForetasteError, InputError, ModelError
from foretaste.data.store import load_dataset
from foretaste.finetune import states
from foretaste.finetune.adaptor import loop
from foretaste.finetune.adaptor import train as command
from foretaste.finetune.adaptor.config import AdaptorConfig, load_config
from foretaste.finetune.adaptor.frozen import Frozen, alignment, likeness
from foretaste.finetune.adaptor.loop import alike
from foretaste.finetune.adaptor.rows import (
    Known,
    Row,
    held_out,
    known_items,
    question,
    questions,
)
from foretaste.finetune.adaptor.start import as_layers, regression
from foretaste.finetune.epochs import rate
from foretaste.finetune.presets import presets
from foretaste.serving.chat import Entity
from foretaste.serving.hybrid_adaptor import Belongs, load_adaptor
from foretaste.serving.hybrid_store import adaptor_folder
from foretaste.serving.scripted_chat import ScriptedChat

BELONGS = Belongs(
    embedder="e", embedder_fingerprint="0" * 16, model="m", model_fingerprint="1" * 16
)
SMOKE = load_config("smoke")


def known(key: str, title: str, kind: str) -> Known:
    full = Entity(key, f"{title} ({kind})")
    return Known(full, Entity(key, title), {"categories": kind})


HEAT, ALIEN = known("1", "Heat (1995)", "Crime"), known("2", "Alien (1979)", "Horror")


def test_the_start_is_the_linear_map_that_fits_best() -> None:
    draw = np.random.default_rng(0)
    vectors = draw.standard_normal((200, 4)).astype(np.float32)
    true = np.array([[1, 0, 2, 0], [0, 3, 0, 0], [0, 0, 0, -1]], dtype=np.float32)
    weights, offset = regression(vectors, vectors @ true.T + np.float32(5))
    assert np.allclose(weights, true, atol=0.02)
    assert np.allclose(offset, 5, atol=0.02)
    exact = as_layers(weights, offset, 9, BELONGS, seed=0)  # 2 * rank 3, and three without a say
    assert np.allclose(exact(vectors), vectors @ weights.T + offset, atol=1e-4)
    assert (exact.w2[:, 6:] == 0).all()
    narrow = as_layers(weights, offset, 2, BELONGS, seed=0)  # the strongest direction alone: 3 x_1
    assert np.allclose(narrow(np.eye(4, dtype=np.float32))[1, 1] - 5, 3, atol=0.1)


def test_questions_are_answered_from_the_entities() -> None:
    draw = np.random.default_rng(0)
    copied = question([HEAT, ALIEN], [False, True], "copy", draw)
    assert json.loads(copied.answer) == {"items": ["Heat (1995) (Crime)", "Alien (1979)"]}
    assert copied.messages[1].text.startswith("<data>\n1. Heat (1995) (Crime)\n2. Alien (1979)\n")
    asked = question([HEAT, ALIEN], [False, False], "value", draw)
    assert json.loads(asked.answer) == {"values": ["Crime", "Horror"]}
    assert asked.messages[1].text.endswith("Write the categories of every item.")
    which = question([HEAT, ALIEN], [False, False], "which", draw)
    number = json.loads(which.answer)["item"]
    assert f'"{("Crime", "Horror")[number - 1]}"' in which.messages[1].text
    same = question([HEAT, known("3", "Ronin", "Crime")], [False, False], "which", draw)
    assert "(Crime)" in same.messages[1].text.splitlines()[-1], "a value of two items tells none"


def test_only_what_stands_in_the_text_is_asked(tiny: Dataset) -> None:
    items = known_items(tiny)
    assert items[0].entity.text == "lipstick number0 (Beauty, Lipstick)"
    assert items[0].short.text == "lipstick number0 (Lipstick)"
    assert items[0].facts == {"categories": "Beauty, Lipstick"}, "no title says its brand"


@given(st.integers(0, 500), st.integers(1, 5), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_answers_are_json_of_the_entities_words(seed: int, most: int, short: float) -> None:
    items = [HEAT, ALIEN, known("3", "Ronin (1998)", "Crime"), known("4", "Big (1988)", "Comedy")]
    draw = np.random.default_rng(seed)
    for row in questions(items, np.arange(4), 3, most, short, draw):
        told = json.loads(row.answer)
        said = row.messages[1].text
        values = told.get("items") or told.get("values") or [f"{told.get('item')}. "]
        assert all(value in said for value in values)
        assert len([part for part in row.messages[1].parts if isinstance(part, Entity)]) <= most


@given(st.integers(2, 50), st.floats(0.01, 0.99), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_something_is_held_out_and_something_is_left(count: int, share: float, seed: int) -> None:
    kept = held_out(count, share, seed)
    assert 1 <= kept.sum() <= count - 1
    assert np.array_equal(kept, held_out(count, share, seed))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20), st.integers(1, 200), st.integers(0))
@settings(max_examples=50, deadline=None)
def test_a_batch_holds_neighbours_in_length(lengths: list[int], tokens: int, seed: int) -> None:
    places = alike(lengths, tokens, np.random.default_rng(seed))
    own = [lengths[place] for place in places]
    assert len(set(places)) == len(places) >= 1
    assert len(own) == 1 or len(own) * max(own) <= tokens
    between = [n for n in lengths if min(own) < n < max(own)]
    assert len(between) <= len(own), "nothing between the shortest and the longest is left out"


def test_losses_by_hand() -> None:
    teacher = torch.log(torch.tensor([[0.5, 0.5], [0.9, 0.1]]))
    student = torch.log(torch.tensor([[0.25, 0.75], [0.9, 0.1]]))
    found = alignment(student, teacher)
    assert float(found[0]) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75), rel=1e-5)
    assert float(found[1]) == pytest.approx(0, abs=1e-6)
    apart = likeness(torch.tensor([[3.0, 5.0]]), torch.tensor([[3.0, 4.0]]))
    assert float(apart) == pytest.approx(1 / 25)


def test_the_rate_rises_then_falls_to_nothing() -> None:
    found = [rate(step, 100) for step in range(101)]
    assert found[4] == 1.0
    assert found[0] == pytest.approx(0.2)
    assert found[100] == pytest.approx(0, abs=1e-9)


def test_padding_changes_nothing_and_own_tokens_are_the_text_form(tiny_llama: Path) -> None:
    frozen = Frozen(str(tiny_llama))
    rows = [question([HEAT, ALIEN], [False, True], "copy", np.random.default_rng(0))]
    rows.append(Row(rows[0].messages, "short", "copy", complete=False))
    both = [frozen.sequence(row) for row in rows]
    assert len(both[0].answer) == len(rows[0].answer) + 1, "tokens are bytes, and the end"
    assert len(both[1].answer) == len("short")
    z = torch.randn(4, frozen.table.shape[1])
    with torch.inference_mode():
        together = frozen.states(both, z).float()
        alone = [frozen.states([both[n]], z[2 * n : 2 * n + 2]).float() for n in (0, 1)]
    assert torch.allclose(together, torch.cat(alone), atol=0.05)
    text = frozen.sequence(rows[1], text=True)
    assert not text.entities
    told = frozen.writer.tokenizer.decode(text.tokens[: len(text) - len("shor")])
    assert "1. Heat (1995) (Crime)\n" in told


def said(ask: Any) -> dict[str, Any]:
    """A teacher that answers each agent in its own form."""
    if "personas" in ask.schema.model_fields:
        return {"personas": [{"name": "Lips", "why": "always lips", "now": "", "items": [1]}]}
    return {"tags": [{"tag": "red lipstick", "why": "liked"}] * 3}


def train(tiny_llama: Path, embedder: Any, **given: Any) -> dict[str, Any]:
    chat = given.pop("engine", ScriptedChat(said))
    return command.train(
        "tiny", SMOKE, model=str(tiny_llama), embedder=embedder, engine=chat, **given
    )


def test_from_a_data_set_to_an_adaptor_that_is_found_by_name(
    tiny: Dataset, tiny_llama: Path, embedder: Any
) -> None:
    chat = ScriptedChat(said)
    result = train(tiny_llama, embedder, engine=chat)
    assert len(chat.asks) == 2 * SMOKE.histories
    assert set(result["validation"]) == {"start", "best", "text"}
    assert result["validation"]["text"]["alignment"] == pytest.approx(0, abs=0.02)
    score = {
        form: sum(map(found.get, ("questions", "alignment")))
        for form, found in result["validation"].items()
    }
    assert score["best"] <= score["start"]
    assert result["wall_s"] > 0
    assert result["flops_fraction"] > 0
    adaptor = load_adaptor(adaptor_folder("tiny"))
    assert adaptor.w2.shape == (128, SMOKE.hidden)
    adaptor.check(embedder.fingerprint, adaptor.belongs.model_fingerprint)
    with pytest.raises(ModelError, match="trained for the language model"):
        adaptor.check(embedder.fingerprint, "f" * 16)
    again = ScriptedChat([])
    train(tiny_llama, embedder, engine=again)
    assert not again.asks, "the teacher's answers are kept"
    assert train(tiny_llama, embedder, resume=True)["run"] == result["run"]


def test_killed_in_between_and_resumed_it_ends_at_the_same_weights(
    tiny: Dataset, tiny_llama: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny_llama, embedder)
    whole = load_adaptor(adaptor_folder("tiny"))
    monkeypatch.setattr(states, "_SAVE_EVERY", 0.0)
    real = loop.Trainer.step

    def dies(self: loop.Trainer) -> tuple[dict[str, float], int]:
        if self.lessons.aligned and self.done == SMOKE.steps + 1:
            raise RuntimeError("killed")
        return real(self)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "step", dies)
        with pytest.raises(RuntimeError, match="killed"):
            train(tiny_llama, embedder)
    train(tiny_llama, embedder, resume=True)
    assert load_adaptor(adaptor_folder("tiny")).fingerprint == whole.fingerprint


def test_wrong_calls_are_one_sentence(
    tiny: Dataset, tiny_llama: Path, embedder: Any, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no unfinished run"):
        train(tiny_llama, embedder, resume=True)
    with pytest.raises(ModelError, match="An adapter"):
        train(tiny_llama, embedder, adapter=tmp_path)
    with pytest.raises(InputError, match="no preset 'gpu'"):
        load_config("gpu")
    with pytest.raises(InputError, match="has no 'wide'"):
        load_config("smoke", ["adaptor.wide=1"])
    assert presets("adaptor") == ["cpu", "smoke"]
    outcome = CliRunner().invoke(cli, ["finetune", "adaptor", "--dataset", "none-such"])
    assert isinstance(outcome.exception, ForetasteError)


def test_prompts_are_the_agents_own(tiny: Dataset, embedder: Any) -> None:
    from foretaste.data.splits import leave_one_out
    from foretaste.finetune.adaptor.prompts import prompts_of

    data = load_dataset("tiny")
    made = prompts_of(data, leave_one_out(data).train, embedder, 2, 4, 0)
    assert [one.agent for one in made] == ["planner", "expert"] * 2
    system = prompting.template("system")
    assert all(one.ask.messages[0].text == system for one in made)
    parts = made[0].ask.messages[1].parts
    ids = [part.key for part in parts if isinstance(part, Entity)]
    assert 3 <= len(ids) <= 4
    assert "(Beauty, " in made[0].ask.messages[1].text, "written in full"


def test_settings_say_what_they_are() -> None:
    lines = str(AdaptorConfig.__doc__)
    assert all(f"        {name}:" in lines for name in AdaptorConfig.model_fields)


@pytest.fixture
def lora(tiny_llama: Path, tmp_path: Path) -> Path:
    """A LoRA adapter of rank 12 that changes what the tiny model says."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    tuned = get_peft_model(model, LoraConfig(r=12, target_modules=["q_proj", "v_proj"]))
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    tuned.save_pretrained(tmp_path / "lora")
    return tmp_path / "lora"


def test_an_adapter_is_active_meanwhile(
    tiny: Dataset, tiny_llama: Path, embedder: Any, lora: Path
) -> None:
    row = question([HEAT], [False], "copy", np.random.default_rng(0))
    with torch.inference_mode():
        plain, tuned = (
            model.states([model.sequence(row, text=True)]).float()
            for model in (Frozen(str(tiny_llama)), Frozen(str(tiny_llama), lora))
        )
    assert not torch.allclose(plain, tuned, atol=0.1)
    data = load_dataset("tiny")
    job = command._job(data, SMOKE, str(tiny_llama), lora, embedder)
    assert job.engine.max_lora_rank == 16
    assert job.engine.adapters == f"taught={lora}"
    result = train(tiny_llama, embedder, adapter=lora, export="tuned")
    belongs = load_adaptor(adaptor_folder("tuned")).belongs
    assert belongs.adapter == result["adapter"]
    assert belongs.adapter is not None
    assert len(belongs.adapter) == 16
