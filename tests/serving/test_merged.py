"""Merged models: the weights by hand, and the store that keeps them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from foretaste.data.errors import ModelError
from foretaste.serving.engine_config import EngineConfig
from foretaste.serving.merged import merge, merges, parted
from foretaste.serving.store import model_facts, model_folder, model_list

LAYER = "model.layers.0.up"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    weights = {f"{LAYER}.weight": torch.eye(2), "model.norm.weight": torch.ones(2)}
    save_file(
        {key: value.to(torch.bfloat16) for key, value in weights.items()},
        folder / "model.safetensors",
    )
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def adapter(folder: Path, up: float = 3.0, layer: str = LAYER, **settings: object) -> Path:
    """Rank 1, alpha 2: adds 2 · (1, 0)ᵀ · (0, up) to the layer."""
    folder.mkdir(exist_ok=True)
    save_file(
        {
            f"base_model.model.{layer}.lora_A.weight": torch.tensor([[0.0, up]]),
            f"base_model.model.{layer}.lora_B.weight": torch.tensor([[1.0], [0.0]]),
        },
        folder / "adapter_model.safetensors",
    )
    told = {"r": 1, "lora_alpha": 2.0, **settings}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    return folder


def test_weights_by_hand(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    merge(base, adapter(tmp_path / "films"), out, {"name": "both"})
    made = load_file(out / "model.safetensors")
    assert made[f"{LAYER}.weight"].tolist() == [[1.0, 6.0], [0.0, 1.0]]
    assert made[f"{LAYER}.weight"].dtype == torch.bfloat16
    assert made["model.norm.weight"].tolist() == [1.0, 1.0]
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "foretaste.json",
        "model.safetensors",
        "tokenizer.json",
    ]


@pytest.mark.parametrize(
    ("settings", "layer", "said"),
    [
        ({"use_dora": True}, LAYER, "only a plain LoRA"),
        ({"modules_to_save": ["head"]}, LAYER, "only a plain LoRA"),
        ({}, "model.layers.9.up", "does not have"),
        ({}, "model.norm", "shape"),
    ],
)
def test_what_does_not_fit_is_refused(
    base: Path, tmp_path: Path, settings: dict[str, object], layer: str, said: str
) -> None:
    with pytest.raises(ModelError, match=said):
        merge(base, adapter(tmp_path / "films", layer=layer, **settings), tmp_path, {"name": "x"})


def test_it_is_made_once_and_again_when_the_adapter_changes(
    home: Path, base: Path, tmp_path: Path
) -> None:
    films = adapter(tmp_path / "films")
    name = f"{base}+{films}"
    first = model_folder(name)
    assert model_folder(name) == first
    assert model_facts(name)["folder"] == str(first)
    adapter(films, up=5.0)
    second = model_folder(name)
    assert second != first
    assert not first.exists()
    assert [row["name"] for row in model_list() if row["name"] == name] == [name]
    (second / "model.safetensors").write_bytes(b"damaged")
    again = load_file(model_folder(name) / "model.safetensors")
    assert again[f"{LAYER}.weight"].tolist() == [[1.0, 10.0], [0.0, 1.0]]


def test_a_name_without_an_adapter_of_the_store_is_one_sentence(home: Path, base: Path) -> None:
    with pytest.raises(ModelError, match="no adapter 'nothing'"):
        model_folder(f"{base}+nothing")


def test_a_folder_may_have_a_plus_in_its_name(home: Path, base: Path) -> None:
    odd = base.rename(base.with_name("a+b"))
    assert model_folder(str(odd)) == odd
    assert parted("a+b+c") == ("a", "b+c")


def test_an_endpoint_and_a_gpu_keep_adapters_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretaste.serving.vllm_server.is_cpu_build", lambda: False)
    assert not merges(EngineConfig())
    assert not merges(EngineConfig(engine="transformers", endpoint="http://127.0.0.1:1/v1"))
    assert merges(EngineConfig(engine="transformers"))
