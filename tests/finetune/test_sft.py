"""Supervised fine-tuning: the loss by hand, batches, and the command with a tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from typer.testing import CliRunner

from foretaste.app.cli import cli
from foretaste.data.errors import InputError, ModelError
from foretaste.finetune.examples.rows import Row, fingerprint, save
from foretaste.finetune.language_model import (
    IGNORED,
    LoraSettings,
    answer_loss,
    encode,
    load_base,
    with_adapter,
    with_lora,
)
from foretaste.finetune.presets import presets
from foretaste.finetune.sft import train as road
from foretaste.finetune.sft.config import load_config
from foretaste.finetune.sft.data import Tokens, batches, padded, tokenised
from foretaste.finetune.sft.trainer import Keeper, rate
from foretaste.serving.adapters import WEIGHTS, check_adapter
from foretaste.serving.shipped import adapter_folder, adapter_list, intact, record_of

WORDS = ("red", "blue", "green", "black")


def rows(count: int = 24) -> list[Row]:
    """A colour is asked for and said: something that can be learnt."""
    return [
        Row(
            agent="expert",
            kind="behaviour",
            part="validation" if n % 6 == 5 else "train",
            dataset="d",
            user=str(n),
            teacher="hindsight",
            stage=n % 3,
            messages=[
                {"role": "system", "content": "say"},
                {"role": "user", "content": f"{n} {WORDS[n % 4]}"},
                {"role": "assistant", "content": f'{{"tag":"{WORDS[n % 4]}"}}'},
            ],
            fingerprint=fingerprint(),
        )
        for n in range(count)
    ]


@pytest.fixture
def made(tmp_path: Path, home: Path) -> Path:
    folder = tmp_path / "rows"
    save(folder, rows(), {"dataset": "d", "terms": "free", "settings": {"agents": {"tags": 4}}})
    return folder


def changes(model: Path, **more: Any) -> list[str]:
    given = {"model": model, "kind": "float32", "rate": 0.02, **more}
    return [f"sft.{name}={value}" for name, value in given.items()]


def test_only_the_answer_is_learnt(tiny_llama: Path) -> None:
    loaded = load_base(str(tiny_llama), "float32")
    ids, labels = encode(loaded.tokenizer, rows()[0].messages)
    answer = [token for token in labels if token != IGNORED]
    assert loaded.tokenizer.decode(answer) == '{"tag":"red"}<|im_end|>'
    assert ids[-len(answer) :] == answer
    prompt = loaded.tokenizer.decode(ids[: -len(answer)])
    assert prompt.endswith("<|im_start|>assistant\n")


def test_the_loss_is_that_of_the_whole_logits(tiny_llama: Path) -> None:
    loaded = load_base(str(tiny_llama), "float32")
    own, long = tokenised(rows(6), loaded.tokenizer, 500)
    assert not long
    batch = padded(own, loaded.tokenizer.pad_token_id)
    with torch.no_grad():
        total, count = answer_loss(loaded.model, batch)
        whole = loaded.model(**batch).loss
    assert count == sum(label != IGNORED for one in own for label in one.labels)
    assert float(total) / count == pytest.approx(float(whole), rel=1e-4)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 2)), min_size=1, max_size=40))
def test_every_row_comes_once_an_epoch_and_stages_rise(sizes: list[tuple[int, int]]) -> None:
    own = [Tokens([0] * n, [0] * n, "a", stage) for n, stage in sizes]
    order = batches(own, 4, 2, seed=1)
    half = len(batches(own, 4, 1, seed=1))
    for part in (order[:half], order[half:]):
        assert sorted(n for step in part for n in step) == list(range(len(own)))
    stages = [own[n].stage for step in order[:half] for n in step]
    assert stages == sorted(stages)


def test_the_rate_rises_and_falls() -> None:
    told = [rate(step, 40) for step in range(40)]
    assert told[:2] == [0.5, 1.0]
    assert told[2:] == sorted(told[2:], reverse=True)
    assert told[-1] < 0.01


def test_a_shorter_training_keeps_every_stages_share() -> None:
    order = [[n] for n in range(90)]
    assert road.spread(order, 3) == [[0], [44], [89]]
    assert road.spread(order, 500) == order


def test_the_presets_load() -> None:
    for name in presets("sft"):
        load_config(name)
    with pytest.raises(InputError, match="no preset"):
        load_config("huge")


def test_the_command_learns_exports_and_merges(
    made: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    words = ["finetune", "sft", "--rows", str(made), "--name", "colours", "--preset", "smoke"]
    for change in changes(tiny_llama, epochs=6):
        words += ["--set", change]
    done = CliRunner().invoke(cli, [*words, "--json", "-"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["best_loss"] < 0.9 * result["validation"]["untrained"]["loss"]
    folder = adapter_folder("colours")
    assert check_adapter(folder, 4) == result["sha256"]
    tensors = load_file(folder / WEIGHTS)
    assert {value.dtype for value in tensors.values()} == {torch.bfloat16}
    record = record_of(folder)
    assert record["agents"] == {"tags": 4}
    assert record["data"][0]["terms"] == "free"
    assert [one["name"] for one in adapter_list() if not one["shipped"]] == ["colours"]

    merged = CliRunner().invoke(
        cli, ["finetune", "merge", "--adapter", "colours", "--out", str(tmp_path / "whole")]
    )
    assert merged.exit_code == 0, merged.output
    whole = load_base(str(tmp_path / "whole"), "float32")
    with_it = with_adapter(load_base(str(tiny_llama), "float32"), folder)
    batch = padded(tokenised(rows(6), whole.tokenizer, 500)[0], 0)
    with torch.no_grad():
        one, other = (float(answer_loss(m.model, batch)[0]) for m in (whole, with_it))
    assert one == pytest.approx(other, rel=1e-3)

    copied = CliRunner().invoke(
        cli, ["finetune", "export", "--adapter", "colours", "--out", str(tmp_path / "copy")]
    )
    assert copied.exit_code == 0, copied.output
    weights = tmp_path / "copy" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelError, match="damaged"):
        intact(tmp_path / "copy")


def test_stopped_and_resumed_it_ends_where_it_would_have(
    made: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config("smoke", changes(tiny_llama, epochs=3))
    whole = road.train([made], "whole", config)
    first = Keeper.on_step_end

    def stopping(self: Keeper, *given: Any, **more: Any) -> Any:
        self.stop.asked = self.course.step == 6
        return first(self, *given, **more)

    monkeypatch.setattr(Keeper, "on_step_end", stopping)
    with pytest.raises(KeyboardInterrupt):
        road.train([made], "parts", config)
    monkeypatch.setattr(Keeper, "on_step_end", first)
    parts = road.train([made], "parts", config, resume=True)
    assert parts["best_loss"] == pytest.approx(whole["best_loss"], rel=1e-3)
    assert parts["steps"] == whole["steps"]
    assert road.train([made], "parts", config, resume=True) == parts


def test_an_adapter_is_trained_further(made: Path, tiny_llama: Path, tmp_path: Path) -> None:
    start = time.perf_counter()
    first = road.train([made], "first", load_config("smoke", changes(tiny_llama, epochs=3)))
    assert 0 < first["train_s"] <= first["wall_s"] <= time.perf_counter() - start
    config = load_config("smoke", changes(tiny_llama, epochs=1))
    second = road.train([made], "second", config, begin="first")
    began = second["validation"]["untrained"]["loss"]
    assert began == pytest.approx(first["best_loss"], rel=0.02)  # it was kept in bfloat16
    told = record_of(adapter_folder("second"))["begin"]
    assert told["sha256"] == first["sha256"]
    other = load_config("smoke", [*changes(tiny_llama), f"sft.model={tmp_path}"])
    with pytest.raises(InputError, match=r"set sft\.model"):
        road.train([made], "third", other, begin="first")


def test_a_killed_training_goes_on(made: Path, tiny_llama: Path, home: Path) -> None:
    call = "from foretaste.app.cli import main; main()"
    words = [
        sys.executable,
        "-P",
        "-c",
        call,
        "finetune",
        "sft",
        "--rows",
        str(made),
        "--name",
        "k",
    ]
    for change in changes(tiny_llama, epochs=200, save_s=0.01, batch=1, validations=1):
        words += ["--set", change]
    words += ["--preset", "smoke"]
    running = subprocess.Popen(words, stderr=subprocess.PIPE, env=os.environ.copy())
    state = home / "runs" / "sft"
    until = time.monotonic() + 90
    while not list(state.glob("*/state.safetensors")) and time.monotonic() < until:
        time.sleep(0.1)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    config = load_config(
        "smoke", changes(tiny_llama, epochs=200, save_s=0.01, batch=1, validations=1)
    )
    run = road.open_run(
        road.KIND,
        "k",
        {"config": config.model_dump(), "rows": road._digest(rows()), "prompts": fingerprint()},
        resume=True,
    )
    course, tensors = road.taken_up(run, True, road.Course())
    assert 0 < course.step < course.steps
    assert any(name.startswith("adam.") for name in tensors)


def test_rows_without_validation_or_all_too_long_are_refused(
    tmp_path: Path, home: Path, tiny_llama: Path
) -> None:
    save(tmp_path, [row for row in rows() if row.part == "train"], {})
    config = load_config("smoke", changes(tiny_llama))
    with pytest.raises(InputError, match="to validate with"):
        road.train([tmp_path], "x", config)
    save(tmp_path, rows(), {})
    with pytest.raises(InputError, match="of at most 16 tokens"):
        road.train([tmp_path], "x", load_config("smoke", changes(tiny_llama, tokens=16)))
    with pytest.raises(InputError, match="no unfinished run"):
        road.train([tmp_path], "never", config, resume=True)


def test_a_model_without_a_chat_template_is_refused(
    tmp_path: Path, tiny_llama: Path, home: Path
) -> None:
    import shutil

    folder = tmp_path / "plain"
    shutil.copytree(tiny_llama, folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    with pytest.raises(ModelError, match="no chat template"):
        load_base(str(folder), "float32")


def test_a_lora_begins_as_the_base_model(tiny_llama: Path) -> None:
    base = load_base(str(tiny_llama), "float32")
    batch = padded(tokenised(rows(4), base.tokenizer, 500)[0], 0)
    with torch.no_grad():
        before = float(answer_loss(base.model, batch)[0])
        after = float(answer_loss(with_lora(base, LoraSettings(rank=2)).model, batch)[0])
    assert after == pytest.approx(before, rel=1e-5)
