from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foretaste.app.commands.models import group
from foretaste.data.errors import ForetasteError, ModelError
from foretaste.data.files import sha256
from foretaste.data.wheels import Member, WheelSource
from foretaste.serving import bundled as bundled_file
from foretaste.serving import store
from foretaste.serving.bundled import (
    BUNDLED,
    BundledModel,
    bundled_folder,
    checksums,
    fault_of,
    fetch_bundled,
)
from foretaste.serving.store import model_facts, model_folder, model_list


@pytest.fixture
def tiny(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BundledModel:
    """A bundled model of two small files; "downloading" counts its calls."""
    content = {"config.json": b"{}", "model.safetensors": b"weights"}
    members = []
    for name, text in content.items():
        (tmp_path / name).write_bytes(text)
        members.append(Member(f"w/{name}", name, sha256(tmp_path / name), len(text)))
    model = BundledModel("tiny", "a test", "none", "", (WheelSource("w==1", 9, tuple(members)),))
    monkeypatch.setitem(BUNDLED, "tiny", model)

    def unpacked(sources: object, target: Path, *, label: str) -> None:
        fetched.append(label)
        target.mkdir(parents=True)
        for name, text in content.items():
            (target / name).write_bytes(text)

    fetched.clear()
    monkeypatch.setattr(bundled_file, "wheel_members", unpacked)
    return model


fetched: list[str] = []


def test_fetched_once_and_recorded(tiny: BundledModel) -> None:
    assert fetch_bundled(tiny) is True
    assert fetch_bundled(tiny) is False
    assert fetched == ["tiny"]
    record = json.loads((bundled_folder(tiny) / "foretaste.json").read_text())
    assert record["sources"] == ["w==1"]
    assert record["files"]["model.safetensors"]["bytes"] == 7
    assert model_folder("bundled:tiny") == bundled_folder(tiny)


@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "record"])
def test_a_damaged_model_is_noticed_and_made_again(tiny: BundledModel, harm: str) -> None:
    fetch_bundled(tiny)
    weights = bundled_folder(tiny) / "model.safetensors"
    if harm == "flip":
        weights.write_bytes(b"weighty")
    elif harm == "cut":
        weights.write_bytes(b"weig")
    elif harm == "remove":
        weights.unlink()
    else:
        (bundled_folder(tiny) / "foretaste.json").write_text("{")
    assert fault_of(bundled_folder(tiny)) is not None
    assert model_folder("bundled:tiny") == bundled_folder(tiny)
    assert weights.read_bytes() == b"weights"
    assert fetched == ["tiny", "tiny"]


def test_a_failed_fetch_leaves_nothing(tiny: BundledModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ForetasteError("no package index reachable")

    monkeypatch.setattr(bundled_file, "wheel_members", offline)
    with pytest.raises(ForetasteError, match="index"):
        model_folder("bundled:tiny")
    assert not bundled_folder(tiny).exists()


def test_what_a_killed_run_left_is_cleared(tiny: BundledModel, home: Path) -> None:
    left = home / "models" / ".tiny.abc.part"
    left.mkdir(parents=True)
    fetch_bundled(tiny)
    assert not left.exists()


def test_a_damaged_download_is_not_converted(tiny: BundledModel, home: Path) -> None:
    raw = home / "models" / "tiny.download"
    raw.mkdir(parents=True)
    with pytest.raises(ForetasteError, match="fetch tiny"):
        bundled_file._recheck(tiny, raw)
    assert not raw.exists()


def test_pickled_weights_are_refused_and_safetensors_preferred(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(ModelError, match="no weights"):
        model_folder(str(folder))
    (folder / "config.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="pickle can run any program"):
        model_folder(str(folder))
    (folder / "model.safetensors").write_bytes(b"")
    assert model_folder(str(folder)) == folder
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json"):
        model_folder(str(folder))


def test_names_that_are_no_model(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no bundled model 'x'"):
        model_folder("bundled:x")
    for name in ("x", "../x", "/x/y", "a b/c", "a/b/c"):
        with pytest.raises(ModelError, match="was expected as"):
            model_folder(name)
    file = tmp_path / "weights.bin"
    file.write_bytes(b"")
    with pytest.raises(ModelError, match=r"not \.gguf"):
        model_folder(str(file))


def test_several_ggufs_are_not_guessed_between(home: Path, tmp_path: Path) -> None:
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ModelError, match=r"a\.gguf, b\.gguf"):
        model_folder(str(tmp_path))


def test_a_hub_id_offline_is_one_sentence(home: Path) -> None:
    code = "from foretaste.serving.store import model_folder; model_folder('org/name')"
    environment = {"HF_HUB_OFFLINE": "1", "FORETASTE_HOME": str(home), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert "ModelError: 'org/name' is not in the store and the hub cannot" in done.stderr


def test_files_of_a_hub_repository() -> None:
    assert store._one_gguf(["a.gguf", "README.md"]) == "a.gguf"
    with pytest.raises(ModelError, match="2 GGUF files"):
        store._one_gguf(["a.gguf", "b.gguf"])
    with pytest.raises(ModelError, match="pickle"):
        store._one_gguf(["pytorch_model.bin"])


def test_a_gguf_that_is_none(home: Path, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelError, match="not a GGUF file"):
        model_folder(str(tmp_path / "x.gguf"))
    assert not list((home / "models").glob("gguf-*"))


def test_list_and_facts(tiny: BundledModel, tiny_llama: Path) -> None:
    rows = {row["name"]: row for row in model_list()}
    assert rows["bundled:tiny"]["fetched"] is False
    fetch_bundled(tiny)
    assert model_facts("tiny")["intact"] is True
    facts = model_facts(str(tiny_llama))
    assert facts["files"] == checksums(tiny_llama)
    assert "model.safetensors" in facts["files"]


def test_the_commands(tiny: BundledModel) -> None:
    run = CliRunner().invoke
    first = run(group, ["fetch", "tiny", "--json", "-"])
    assert json.loads(first.stdout)["models"][0]["fetched_now"] is True
    again = run(group, ["fetch", "bundled:tiny", "--json", "-"])
    assert json.loads(again.stdout)["models"][0]["fetched_now"] is False
    listed = json.loads(run(group, ["list", "--json", "-"]).stdout)["models"]
    assert {row["name"] for row in listed} >= {"bundled:tiny", "bundled:all-minilm-l6-v2"}
    shown = run(group, ["show", "tiny"])
    assert shown.exit_code == 0
    assert "model.safetensors" in shown.stdout
    shutil.rmtree(bundled_folder(tiny) / "model.safetensors", ignore_errors=True)
    (bundled_folder(tiny) / "model.safetensors").write_bytes(b"bad")
    damaged = run(group, ["show", "tiny"])
    assert damaged.exit_code == 1
    assert "models fetch tiny" in damaged.stderr


@pytest.mark.model
def test_the_bundled_language_model() -> None:
    """The tokenizer and template are SmolLM2's own; the weights answer a plain question."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = model_folder("bundled:smollm2-135m-instruct")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    turns = [{"role": "user", "content": "What is the capital of France?"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert tokenizer.tokenize("in  1995") == ["in", "ĠĠ", "1", "9", "9", "5"]
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|im_end|>", 2)
    assert tokenizer.model_max_length == 8192
    config = json.loads((folder / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["dtype"] == "bfloat16"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert model.generation_config.do_sample is False
    tokens = tokenizer(text, return_tensors="pt")
    torch.set_num_threads(1)
    out = model.generate(**tokens, max_new_tokens=12)
    assert "Paris" in tokenizer.decode(out[0, tokens["input_ids"].shape[1] :])
    record = json.loads((folder / "foretaste.json").read_text())
    assert "dequantised Q4_1" in record["note"]
