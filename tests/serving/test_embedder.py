"""The embedder and its cache: same text, same vector, and nothing damaged is believed."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretaste.data.errors import InputError, ModelError
from foretaste.serving.embedder import SentenceEmbedder, clean_text, fingerprint_of, load_embedder
from foretaste.serving.vector_cache import VectorCache

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "blue", "shoe", "hat", "for", "rain"]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETASTE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence embedder with random weights and ten words."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(1)
    bert = tmp_path_factory.mktemp("bert")
    pad, unknown, first, last = WORDS[:4]
    places = {word: row for row, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(places, unk_token=unknown))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=pad,
        unk_token=unknown,
        cls_token=first,
        sep_token=last,
    ).save_pretrained(bert)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(bert)
    body = Transformer(str(bert), max_seq_length=16)
    folder = tmp_path_factory.mktemp("tiny-embedder")
    SentenceTransformer(modules=[body, Pooling(16), Normalize()], device="cpu").save(str(folder))
    return folder


def test_texts_become_unit_vectors_in_their_order(tiny_model: Path) -> None:
    embedder = SentenceEmbedder(tiny_model, "tiny")
    together = embedder.encode(["red shoe", "blue hat for rain", "red shoe", None, float("nan")])
    assert together.shape == (5, 16) == (5, embedder.dimension)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(together[0], together[2])
    np.testing.assert_array_equal(together[3], together[4])
    assert not np.allclose(together[0], together[1])
    alone = embedder.encode(["blue hat for rain"])
    np.testing.assert_array_equal(alone[0], together[1])
    assert embedder.encode([]).shape == (0, 16)


def test_the_model_meets_few_shapes_and_the_filling_changes_no_vector(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foretaste.serving.embedder.fast_bfloat16", lambda: False)
    embedder = SentenceEmbedder(tiny_model, "tiny")
    texts = [f"red {'shoe ' * count}" for count in range(13)]
    alone = np.concatenate([embedder.encode([text], keep=False) for text in texts])
    shapes = []
    model = embedder._model[0].auto_model
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda **sent: shapes.append(sent["input_ids"].shape) or forward(**sent)
    )
    together = embedder.encode(texts, keep=False)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert [tuple(shape) for shape in shapes] == [(16, 16)]  # 13 texts, the longest of 15 tokens
    shapes.clear()
    for count in range(1, 80):
        words = [" ".join(["red"] * (1 + (count * row) % 16)) for row in range(count)]
        embedder.encode([f"{word} {row}" for row, word in enumerate(words)], keep=False)
    for sizes, length in shapes:
        assert length in (8, 12, 16)
        assert sizes * length in {a << power for a in (1, 3, 9) for power in range(11)}


@pytest.mark.parametrize(("fast", "rounding"), [(False, 1e-6), (True, 1e-3)])
def test_the_cache_answers_like_the_model_itself(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, fast: bool, rounding: float
) -> None:
    from sentence_transformers import SentenceTransformer

    monkeypatch.setattr("foretaste.serving.embedder.fast_bfloat16", lambda: fast)
    texts = [f"{first} {second}" for first in WORDS[4:] for second in WORDS[4:]]
    ours = SentenceEmbedder(tiny_model, "tiny").encode(texts)
    theirs = SentenceTransformer(str(tiny_model), device="cpu").encode(texts)
    assert 1 - (ours * theirs).sum(axis=1).min() < rounding


def test_what_is_not_to_be_kept_leaves_nothing_on_disk(tiny_model: Path) -> None:
    embedder = SentenceEmbedder(tiny_model, "tiny")
    kept = embedder.encode(["red shoe"])
    cache = VectorCache(Path(os.environ["FORETASTE_HOME"]) / "vectors" / embedder.fingerprint, 16)
    assert cache.get(["red shoe"])[1].all()
    texts = ["rain for", "red shoe", "rain for"]
    vectors = embedder.encode(texts, keep=False)
    assert not cache.get(["rain for"])[1].any()
    np.testing.assert_array_equal(vectors[1], kept[0])
    np.testing.assert_allclose(vectors, embedder.encode(texts), atol=1e-6)


def test_known_texts_need_no_torch(tiny_model: Path) -> None:
    SentenceEmbedder(tiny_model, "tiny").encode(["red shoe", "blue hat"])
    code = (
        "import sys; from pathlib import Path\n"
        "from foretaste.serving.embedder import SentenceEmbedder\n"
        f"found = SentenceEmbedder(Path({str(tiny_model)!r}), 'tiny').encode(['blue hat'])\n"
        "print(found.shape, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    answer = subprocess.check_output([sys.executable, "-P", "-c", code], text=True)
    assert answer.strip() == "(1, 16) False False"


def test_other_weights_or_settings_are_another_embedder(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    first = fingerprint_of(tiny_model)
    assert len(first) == 16
    assert int(first, 16) >= 0
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    assert fingerprint_of(other) == first
    (other / "README.md").write_text("another text about it")
    (other / "foretaste.json").write_text("{}")
    assert fingerprint_of(other) == first
    pooling = next(other.glob("*Pooling/config.json"))
    before = pooling.read_text()
    pooling.write_text(before.replace("}", ' ,"include_prompt": false}'))
    assert fingerprint_of(other) != first
    pooling.write_text(before)
    with (other / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, 2)
        last = weights.read(1)
        weights.seek(-1, 2)
        weights.write(bytes([last[0] ^ 1]))
    assert fingerprint_of(other) != first


def test_a_folder_that_is_no_embedder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(ModelError, match="safetensors"):
        SentenceEmbedder(tmp_path, "pickled")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="sentence-transformers"):
        SentenceEmbedder(tmp_path, "a language model")
    (tmp_path / "modules.json").write_text(json.dumps([]))
    with pytest.raises(ModelError, match="pooling"):
        SentenceEmbedder(tmp_path, "without pooling")


def test_only_texts_are_encoded() -> None:
    assert clean_text("half \ud83d") == "half ?"
    for wrong in (7, b"bytes", ["a list"]):
        with pytest.raises(InputError, match="A text was expected"):
            clean_text(wrong)


@given(st.lists(st.text(max_size=8), max_size=12), st.lists(st.text(max_size=8), max_size=6))
@settings(max_examples=30, deadline=None)
def test_what_is_kept_is_found_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, kept: list[str], asked: list[str]
) -> None:
    kept, asked = [clean_text(text) for text in kept], [clean_text(text) for text in asked]
    folder = tmp_path_factory.mktemp("cache")
    vectors = np.random.default_rng(0).normal(size=(len(kept), 3)).astype(np.float32)
    VectorCache(folder, 3).put(kept, vectors)
    newest = dict(zip(kept, vectors, strict=True))
    found_vectors, found = VectorCache(folder, 3).get(kept + asked)
    for text, vector, there in zip(kept + asked, found_vectors, found, strict=True):
        assert there == (text in newest)
        np.testing.assert_array_equal(vector, newest[text] if there else np.zeros(3))


def test_a_torn_end_is_dropped_and_written_over(tmp_path: Path) -> None:
    one, two = np.ones((1, 4), np.float32), np.full((1, 4), 2, np.float32)
    VectorCache(tmp_path, 4).put(["one"], one)
    for name, rest in (("vectors.f32", b"\x07" * 11), ("keys.u64", b"\x07" * 5)):
        with (tmp_path / name).open("ab") as file:
            file.write(rest)
    cache = VectorCache(tmp_path, 4)
    assert cache.get(["one", "two"])[1].tolist() == [True, False]
    cache.put(["two"], two)
    again, found = VectorCache(tmp_path, 4).get(["one", "two"])
    assert found.all()
    np.testing.assert_array_equal(again, np.concatenate([one, two]))


def test_a_flipped_bit_anywhere_is_computed_again_never_believed(tmp_path: Path) -> None:
    texts = ["a", "b", "c"]
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    for name, size in (("vectors.f32", 48), ("keys.u64", 72)):
        for place in range(size):
            folder = tmp_path / f"{name}-{place}"
            VectorCache(folder, 4).put(texts, vectors)
            content = bytearray((folder / name).read_bytes())
            content[place] ^= 0x10
            (folder / name).write_bytes(content)
            found_vectors, found = VectorCache(folder, 4).get(texts)
            assert found.sum() == 2
            np.testing.assert_array_equal(found_vectors[found], vectors[found])


def test_a_lost_half_is_missing_and_comes_back(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
    VectorCache(tmp_path, 4).put(["a", "b", "c"], vectors)
    content = (tmp_path / "vectors.f32").read_bytes()
    (tmp_path / "vectors.f32").write_bytes(content[:20])
    cache = VectorCache(tmp_path, 4)
    assert cache.get(["a", "b", "c"])[1].tolist() == [True, False, False]
    cache.put(["b", "c"], vectors[1:])
    np.testing.assert_array_equal(cache.get(["a", "b", "c"])[0], vectors)


def _append(folder: Path, who: int) -> None:
    cache = VectorCache(folder, 2)
    for step in range(50):
        cache.put([f"{who}-{step}"], np.array([[who, step]], dtype=np.float32))


def test_two_processes_append_without_loss(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    workers = [spawn.Process(target=_append, args=(tmp_path, who)) for who in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    pairs = [(who, step) for who in (1, 2) for step in range(50)]
    vectors, found = VectorCache(tmp_path, 2).get([f"{who}-{step}" for who, step in pairs])
    assert found.all()
    np.testing.assert_array_equal(vectors, np.array(pairs, dtype=np.float32))


@pytest.mark.model
def test_the_bundled_embedder_understands_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORETASTE_HOME")
    embedder = load_embedder()
    cat, kitten, tax = embedder.encode(["a cat on the sofa", "a sleeping kitten", "income tax law"])
    assert embedder.dimension == 384
    assert cat @ kitten > 0.4 > cat @ tax
