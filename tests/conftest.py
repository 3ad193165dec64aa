"""What all tests share: the rooms without an installation, a tiny catalogue, a home of their own."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent


def _installed() -> bool:
    try:
        return find_spec("foretaste.agents") is not None
    except ModuleNotFoundError:
        return False


if not _installed():  # a bare checkout: the folders at the top are the rooms
    package = ModuleType("foretaste")
    package.__path__ = [str(ROOT)]
    sys.modules["foretaste"] = package


class WordEmbedder:
    """A unit vector a text: one random direction a word, summed. No weights, no network."""

    name = "words-of-a-test"
    fingerprint = "0" * 16
    dimension = 32

    def encode(self, texts: Sequence[str], *, keep: bool = True) -> NDArray[np.float32]:
        out = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.casefold().replace(".", " ").replace(",", " ").split():
                seed = zlib.crc32(word.encode())
                out[row] += np.random.default_rng(seed).standard_normal(self.dimension)
        length = np.linalg.norm(out, axis=1, keepdims=True)
        return out / np.where(length == 0, 1, length)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for a test that reads or writes one."""
    folder = tmp_path / "home"
    monkeypatch.setenv("FORETASTE_HOME", str(folder))
    return folder


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()
