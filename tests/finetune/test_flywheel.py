from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from foretaste.agents.config import AgentsConfig
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.lexicon import Lexicon
from foretaste.data.dataset import Dataset
from foretaste.data.store import save_dataset
from foretaste.finetune import flywheel as wheel
from foretaste.finetune.grpo.config import load_config as grpo_config
from foretaste.finetune.grpo.scoring import Leaves, Question
from foretaste.finetune.language_model import LoraSettings, export_adapter, load_base, with_lora
from foretaste.finetune.reward.config import load_config as reward_config
from foretaste.serving.index.opened import build_index


class NoRule:
    name = "none"

    def scores(self, histories: Any) -> Any:
        return np.zeros((len(histories), 40), dtype=np.float32)


@pytest.fixture
def tools(tiny: Dataset, embedder: Any) -> Tools:
    finish = ("Matte", "Glossy", "Satin")
    kinds = [names[-1] for names in tiny.items["categories"].to_list()]
    items = tiny.items.with_columns(
        title=pl.Series([f"number{row}" for row in range(len(kinds))]),
        categories=pl.Series([["Beauty", finish[row % 3], k] for row, k in enumerate(kinds)]),
    )
    dataset = save_dataset(replace(tiny, items=items))
    index = build_index(dataset, embedder)
    return Tools(
        dataset=dataset,
        config=AgentsConfig(tags=2, min_tags=1),
        lexicon=Lexicon(dataset.items),
        embedder=embedder,
        vectors=index.vectors_of(range(len(dataset.item_ids))),
        index=index,
        rule=NoRule(),
    )


def test_tiers_of_a_tag_in_hindsight(tools: Tools) -> None:
    leaves = Leaves(tools)
    razor = [row for row in range(40) if row % 4 == 2]
    question = Question("u", (), "Persona: A", (), (razor[0],), (razor[1],))
    finish = ("Matte", "Glossy", "Satin")[razor[0] % 3]
    other = ("Matte", "Glossy", "Satin")[(razor[0] + 1) % 3]
    found = {
        tag: wheel.tier(tag, question, tools, leaves)
        for tag in (f"{finish} Razor", f"{other} Razor", "Beauty", f"{finish} Perfume", "Qwxz")
    }
    assert list(found.values()) == ["S", "A", "B", "B", "B"]


def test_a_round_samples_judges_learns_and_keeps_only_what_is_better(
    tools: Tools, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    loaded = with_lora(load_base(str(tiny_llama), "float32"), LoraSettings(rank=2))
    export_adapter(loaded, tmp_path / "sft", {"agents": {"tags": 2, "min_tags": 1}})

    def texts(self: Any, questions: list[Question], temperature: float, seed: int) -> list[str]:
        said = (["Matte Razor", "Glossy Perfume"], ["Satin Lipstick", "Beauty"])
        return [
            json.dumps({"tags": [{"tag": tag, "why": "yes"} for tag in said[place % 2]]})
            for place, _ in enumerate(questions)
        ]

    monkeypatch.setattr("foretaste.finetune.grpo.train.Job.texts", texts)
    calls: list[str] = []
    distil, reinforce = wheel.distil, wheel.reinforce
    monkeypatch.setattr(wheel, "distil", lambda *given: calls.append("reward") or distil(*given))
    monkeypatch.setattr(wheel, "reinforce", stopped)
    grpo = grpo_config("smoke", ["grpo.steps=1", "grpo.prompts=12", "grpo.group=2", "grpo.micro=2"])
    reward = reward_config("smoke", [f"reward.base={tiny_llama}", "reward.epochs=1"])

    def turn(resume: bool) -> dict[str, Any]:
        start = str(tmp_path / "sft")
        return wheel.flywheel("tiny", start, "turned", 1, grpo, reward, resume, tools)

    with pytest.raises(KeyboardInterrupt):
        turn(False)
    monkeypatch.setattr(wheel, "reinforce", reinforce)
    result = turn(True)
    (row,) = result["rounds"]
    assert sum(row["tiers"].values()) > 10
    assert row["tiers"]["B"] > 0
    assert (
        calls == ["reward"] * 2
    )  # the wish to go on, then the beginning: once, not again after the stop
    assert row["gain"]["mean"] == 0
    assert not row["kept"]
    assert result["kept"] == str(tmp_path / "sft")
    adapters = Path(os.environ["FORETASTE_HOME"]) / "adapters"
    assert (adapters / "turned" / "adapter_model.safetensors").is_file()


def stopped(*given: Any) -> dict[str, Any]:
    raise KeyboardInterrupt
