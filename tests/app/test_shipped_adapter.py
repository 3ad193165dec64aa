"""The shipped adapter answers where it fits, and nowhere else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

import pytest

from foretaste.agents.config import AgentsConfig
from foretaste.app.adapters import with_shipped
from foretaste.data.errors import ModelError
from foretaste.finetune.examples.rows import fingerprint
from foretaste.serving import shipped
from foretaste.serving.engine_config import EngineConfig

CPU_BUILD = "foretaste.serving.vllm_server.is_cpu_build"
MODEL = "bundled:smollm2-135m-instruct"


@pytest.fixture
def carried(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One shipped adapter, as far as names and records go."""
    folder = tmp_path / "shipped" / "films"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    record = {
        "base": MODEL,
        "prompts": fingerprint(),
        "sha256": hashlib.sha256(b"weights").hexdigest(),
        "agents": {"tags": 4, "offered": 7},
    }
    (folder / "foretaste.json").write_text(json.dumps(record))
    for module in (
        "foretaste.app.adapters.shipped_folder",
        "foretaste.serving.shipped.shipped_folder",
    ):
        monkeypatch.setattr(module, lambda: tmp_path / "shipped")
    return folder


@pytest.mark.parametrize("kind", ["vllm", "transformers"])
def test_it_answers_with_the_settings_that_it_was_trained_with(
    carried: Path, kind: Literal["vllm", "transformers"], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CPU_BUILD, lambda: True)
    config, engine = with_shipped(AgentsConfig(kept=8), EngineConfig(engine=kind))
    assert engine is not None
    assert (config.tags, config.offered, config.kept) == (4, 7, 8)
    assert (config.adapter, engine.adapters) == (None, None)
    assert engine.model == f"{MODEL}+films"
    told, _ = with_shipped(AgentsConfig(tags=9), EngineConfig())
    assert told.tags == 9


def test_where_adapters_cost_little_vllm_holds_it_apart(
    carried: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CPU_BUILD, lambda: False)
    config, engine = with_shipped(AgentsConfig(), EngineConfig())
    assert engine is not None
    assert (config.adapter, engine.model) == ("films", MODEL)
    assert engine.adapters == f"films={carried}"


@pytest.mark.parametrize(
    "engine",
    [
        None,
        EngineConfig(endpoint="http://127.0.0.1:1/v1"),
        EngineConfig(model="another/model"),
        EngineConfig(adapters="mine=/somewhere"),
    ],
)
def test_other_engines_are_left_alone(carried: Path, engine: EngineConfig | None) -> None:
    assert with_shipped(AgentsConfig(), engine) == (AgentsConfig(), engine)
    chosen = AgentsConfig(expert_adapter="mine")
    assert with_shipped(chosen, EngineConfig()) == (chosen, EngineConfig())


def test_one_of_other_prompts_is_left_out(
    carried: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = carried / "foretaste.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prompts": "0" * 16}))
    assert with_shipped(AgentsConfig(), EngineConfig()) == (AgentsConfig(), EngineConfig())
    assert "other prompts" in capsys.readouterr().err


def test_damaged_weights_are_refused(carried: Path) -> None:
    assert shipped.adapter_folder("films") == carried
    (carried / "adapter_model.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match="damaged"):
        shipped.adapter_folder("films")


def test_what_the_package_carries_is_whole_small_and_says_its_terms() -> None:
    carried = [row for row in shipped.adapter_list() if row["shipped"]]
    assert carried
    for row in carried:
        folder = shipped.shipped_folder() / row["name"]
        shipped.intact(folder)
        assert row["bytes"] <= 8_000_000
        assert "GroupLens" in (folder / "card.md").read_text("utf-8")
        assert row["base"] == MODEL
