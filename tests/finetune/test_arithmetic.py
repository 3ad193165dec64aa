"""Memory and time on paper: numbers by hand, laws, and the launch configurations beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from foretaste.finetune.arithmetic import (
    Decoder,
    Plan,
    activation_bytes,
    hours,
    memory,
    step_flops,
    trained,
)

TRAINING = Path(__file__).resolve().parents[2] / "deploy" / "training"
TINY = Decoder(layers=2, width=4, inner=8, heads=2, kv_heads=1, head=2, vocabulary=10)
GPUS = {
    path.name: int(path.name.split("-")[1].removesuffix(".yaml"))
    for path in TRAINING.glob("*.yaml")
}


def test_weights_by_hand() -> None:
    """A layer: q 4·4, k and v 4·2 each, o 4·4, three of 4·8, two norms of 4; then 10·4 and a norm."""
    assert TINY.weights == 2 * (16 + 8 + 8 + 16 + 3 * 32 + 8) + 40 + 4
    assert replace(TINY, tied=False).weights == TINY.weights + 40
    assert TINY.lora(3) == 2 * 3 * (8 + 6 + 6 + 8 + 3 * 12)


def test_memory_by_hand() -> None:
    whole = memory(TINY, Plan(tokens=0, rank=0))
    assert whole.weights == pytest.approx(2 * TINY.weights / 1e9)
    assert whole.gradients == pytest.approx(2 * TINY.weights / 1e9)
    assert whole.optimizer == pytest.approx(12 * TINY.weights / 1e9)
    assert whole.total == pytest.approx(16 * TINY.weights / 1e9)  # the well-known 16 bytes a weight
    lora = memory(TINY, Plan(tokens=0, rank=3))
    assert lora.total == pytest.approx((2 * TINY.weights + (4 + 4 + 8) * TINY.lora(3)) / 1e9)
    logits = memory(TINY, Plan(tokens=100, answers=0.5)).logits
    assert logits == pytest.approx(100 * 0.5 * 10 * (2 + 8) / 1e9)


def test_activations_by_hand() -> None:
    """A layer of width 4: norms 4·2·2·4; elements 8 + 8 + 3·2 + 4 + 32 and no LoRA, 2 bytes each."""
    assert activation_bytes(TINY, Plan(tokens=1, rank=0)) == 2 * (64 + 2 * 58)
    checkpointed = activation_bytes(TINY, Plan(tokens=1, rank=0, checkpointed=True))
    assert checkpointed == 2 * 2 * 4 + (64 + 2 * 58)


def test_time_by_hand() -> None:
    plan = Plan(tokens=1000, rank=0, gpus=4)
    assert step_flops(TINY, plan) == 6 * TINY.weights * 1000
    assert step_flops(TINY, replace(plan, rank=2)) == 4 * TINY.weights * 1000
    once = hours(TINY, plan, 4e6, device_flops=1e6, used=0.5)
    assert once == pytest.approx(1000 * 6 * TINY.weights * 1000 / 0.5e6 / 3600)


@given(
    st.integers(1, 64), st.integers(0, 64), st.integers(1, 100_000), st.booleans(), st.booleans()
)
def test_laws(gpus: int, rank: int, tokens: int, checkpointed: bool, sharded: bool) -> None:
    plan = Plan(tokens, rank, checkpointed=checkpointed, gpus=gpus, sharded=sharded)
    held, alone = memory(TINY, plan), memory(TINY, replace(plan, gpus=1, sharded=False))
    assert held.optimizer <= alone.optimizer
    assert held.activations == alone.activations  # more devices never make a device's batch smaller
    assert activation_bytes(TINY, replace(plan, checkpointed=True)) <= activation_bytes(
        TINY, replace(plan, checkpointed=False)
    )
    assert trained(TINY, replace(plan, rank=0)) == TINY.weights
    assert step_flops(TINY, replace(plan, checkpointed=True)) > step_flops(
        TINY, replace(plan, checkpointed=False)
    )


def test_the_module_prints_a_plan() -> None:
    sizes = "--layers 2 --width 4 --inner 8 --heads 2 --kv-heads 1 --head 2 --vocabulary 10"
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "foretaste.finetune.arithmetic",
            *sizes.split(),
            "--tokens",
            "64",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["weights"] == TINY.weights


@pytest.mark.parametrize("name", sorted(GPUS))
def test_accelerate_reads_the_launch_configurations(name: str) -> None:
    """Each is loaded by accelerate's own reader, whose classes refuse unknown fields."""
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(TRAINING / name))
    assert config.num_processes == GPUS[name]
    assert config.num_machines == max(1, GPUS[name] // 8)
    assert config.use_cpu is False
    if config.distributed_type == "DEEPSPEED":
        assert (TRAINING.parents[1] / config.deepspeed_config["deepspeed_config_file"]).exists()
    else:
        assert config.mixed_precision == "bf16"


@pytest.mark.parametrize("name", sorted(GPUS))
def test_accelerate_launch_knows_every_field(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options of FSDP and of the ways to be parallel are arguments of `accelerate launch`."""
    from accelerate.commands.launch import launch_command_parser

    known = {action.dest for action in launch_command_parser()._actions}
    written = yaml.safe_load((TRAINING / name).read_text())
    for group in ("fsdp_config", "parallelism_config", "deepspeed_config"):
        assert set(written.get(group, {})) <= known, name
    if "parallelism_config" in written:
        sizes = written["parallelism_config"].values()
        product = 1
        for size in sizes:
            product *= size
        assert product == written["num_processes"]


def test_fsdp_and_zero_are_what_they_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.utils.dataclasses import FullyShardedDataParallelPlugin
    from accelerate.utils.deepspeed import HfDeepSpeedConfig

    for name in ("gpu-8-fsdp.yaml", "gpu-64-fsdp.yaml"):
        written = yaml.safe_load((TRAINING / name).read_text())["fsdp_config"]
        with monkeypatch.context() as patched:
            for key, value in written.items():
                patched.setenv(key.upper(), str(value))
            plugin = FullyShardedDataParallelPlugin()
        assert plugin.fsdp_version == 2
        assert plugin.reshard_after_forward is True
        assert plugin.activation_checkpointing is True
    zero = HfDeepSpeedConfig(str(TRAINING / "zero3.json"))
    assert zero.is_zero3()
    assert not zero.is_offload()
    assert "ACCELERATE_USE_FSDP" not in os.environ
