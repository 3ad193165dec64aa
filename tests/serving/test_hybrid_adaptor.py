"""The adaptor: the formula by hand, kept whole on disk, refused beside another model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretaste.data.errors import InputError, ModelError
from foretaste.serving.chat import Entity
from foretaste.serving.engine_config import EngineConfig
from foretaste.serving.hybrid_adaptor import Adaptor, Belongs, load_adaptor
from foretaste.serving.hybrid_chat import AdaptedEntities, hybrid_possible

BELONGS = Belongs(
    embedder="e", embedder_fingerprint="0" * 16, model="m", model_fingerprint="1" * 16
)


def by_hand() -> Adaptor:
    one = np.float32
    return Adaptor(
        w1=np.array([[1, 0], [0, -1], [1, 1]], dtype=one),
        b1=np.array([0, 0, -1], dtype=one),
        w2=np.array([[1, 2, 3], [0, 1, 0]], dtype=one),
        b2=np.array([10, 20], dtype=one),
        belongs=BELONGS,
    )


def test_the_two_layers_by_hand() -> None:
    # (2, 3): hidden 2, -3 -> 0, 4; out 2 + 3 * 4 + 10, 20. (1, -1): hidden 1, 1, -1 -> 0.
    out = by_hand()(np.array([[2, 3], [1, -1]], dtype=np.float32))
    assert out.tolist() == [[24.0, 20.0], [13.0, 21.0]]


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    adaptor = Adaptor.untrained((4, 6, 5), BELONGS, seed=3)
    adaptor.save(tmp_path / "one")
    again = load_adaptor(tmp_path / "one")
    vectors = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    assert np.array_equal(again(vectors), adaptor(vectors))
    assert again.fingerprint == adaptor.fingerprint
    assert again.belongs == BELONGS
    with pytest.raises(ModelError, match="is there already"):
        adaptor.save(tmp_path / "one")


def test_the_fingerprint_is_of_the_numbers() -> None:
    one, other = (Adaptor.untrained((4, 6, 5), BELONGS, seed) for seed in (0, 1))
    assert one.fingerprint != other.fingerprint
    moved = replace(one, b2=one.b2 + 1)
    assert moved.fingerprint != one.fingerprint


@pytest.mark.parametrize(("embedder", "model"), [("9" * 16, "1" * 16), ("0" * 16, "9" * 16)])
def test_another_embedder_or_model_is_refused(embedder: str, model: str) -> None:
    by_hand().check("0" * 16, "1" * 16)
    with pytest.raises(ModelError, match=r"trained for the .* 9999999999999999"):
        by_hand().check(embedder, model)


def test_a_damaged_or_missing_adaptor_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="was expected in"):
        load_adaptor(tmp_path)
    by_hand().save(tmp_path / "a")
    load_adaptor(tmp_path / "a")
    (tmp_path / "a" / "adaptor.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be read"):
        load_adaptor(tmp_path / "a")
    with pytest.raises(ModelError, match="finite"):
        replace(by_hand(), b1=np.full(3, np.nan, dtype=np.float32))


def test_entities_are_kept_by_text_and_adaptor(home: Path, embedder: Any) -> None:
    read: list[list[str]] = []

    class Counting:
        name, fingerprint, dimension = embedder.name, embedder.fingerprint, embedder.dimension

        def encode(self, texts: Any, *, keep: bool = True) -> Any:
            read.append(list(texts))
            return embedder.encode(texts)

    adaptor = Adaptor.untrained((embedder.dimension, 8, 5), BELONGS)
    entities = AdaptedEntities(adaptor, Counting())
    heat, alien = Entity("1", "Heat"), Entity("2", "Alien")
    first = entities([heat, alien, heat])
    assert [one.shape for one in first] == [(1, 5)] * 3
    assert np.array_equal(first[0], first[2])
    assert np.allclose(first[0], adaptor(embedder.encode(["Heat"])), atol=1e-6)
    assert np.array_equal(AdaptedEntities(adaptor, Counting())([alien])[0], first[1])
    assert read == [["Alien", "Heat"]], "each text once, and the second object reads the disk"
    other = Adaptor.untrained((embedder.dimension, 8, 5), BELONGS, seed=1)
    assert not np.array_equal(AdaptedEntities(other, embedder)([heat])[0], first[0])
    assert entities([]) == []


def test_a_hybrid_form_that_cannot_be_is_said_at_once() -> None:
    with pytest.raises(InputError, match="needs an adaptor"):
        hybrid_possible(EngineConfig(form="hybrid"))
    with pytest.raises(InputError, match="text only"):
        hybrid_possible(EngineConfig(form="hybrid", adaptor="x", engine="transformers"))
