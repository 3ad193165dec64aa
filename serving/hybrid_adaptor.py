"""The adaptor: a sentence vector in, the vector that stands for an entity in a prompt out.

`z = W2 · ReLU(W1 · f(text) + b1) + b2` (RecGPT-V2, arXiv 2512.14503, section 2). Only these four
arrays are trained; the sentence embedder `f` and the language model stay as they are, so a saved
adaptor names both by fingerprint and is refused beside any other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from foretaste.data.errors import ModelError
from foretaste.data.files import check_sums, new_folder, read_json, write_json, write_sums

WEIGHTS, RECORD = "adaptor.safetensors", "adaptor.json"
_ARRAYS = ("w1", "b1", "w2", "b2")
Floats = NDArray[np.float32]


class Belongs(BaseModel):
    """Which embedder and which language model an adaptor was trained between.

    Attributes:
        embedder, model: their names, for people and to load them.
        embedder_fingerprint, model_fingerprint: 16 hex digits each, over weights and settings.
        adapter: 16 hex digits of the LoRA adapter that was active while it was trained; None for
            none. It is told, not held against: one engine serves several adapters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedder: str
    embedder_fingerprint: str
    model: str
    model_fingerprint: str
    adapter: str | None = None


@dataclass(frozen=True)
class Adaptor:
    """The two layers, and what they belong to.

    Attributes:
        w1: (hidden, embedder) float32.
        b1: (hidden,) float32.
        w2: (model, hidden) float32, `model` being the width of the language model's embeddings.
        b2: (model,) float32.
        belongs: the embedder and the model.
    """

    w1: Floats
    b1: Floats
    w2: Floats
    b2: Floats
    belongs: Belongs

    def __post_init__(self) -> None:
        hidden, width = len(self.b1), len(self.b2)
        fits = self.w1.ndim == 2 and len(self.w1) == hidden and self.w2.shape == (width, hidden)
        if not fits or not all(np.isfinite(getattr(self, name)).all() for name in _ARRAYS):
            raise ModelError(
                "An adaptor needs finite w1 (hidden, embedder), b1 (hidden,), w2 (model, hidden) "
                f"and b2 (model,), not {self.w1.shape}, {self.b1.shape}, {self.w2.shape} and "
                f"{self.b2.shape}; save it again."
            )

    @classmethod
    def untrained(cls, sizes: tuple[int, int, int], belongs: Belongs, seed: int = 0) -> Adaptor:
        """Where training starts: He's normal weights, no offsets.

        Args:
            sizes: widths of embedder, hidden layer and language model.
            belongs: the embedder and the model.
            seed: of the random numbers.
        """
        random, (first, hidden, last) = np.random.default_rng(seed), sizes
        w1 = random.standard_normal((hidden, first)) * np.sqrt(2 / first)
        w2 = random.standard_normal((last, hidden)) * np.sqrt(2 / hidden)
        return cls(
            w1.astype(np.float32),
            np.zeros(hidden, dtype=np.float32),
            w2.astype(np.float32),
            np.zeros(last, dtype=np.float32),
            belongs,
        )

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the arrays: equal means equal vectors."""
        total = hashlib.sha256(self.belongs.embedder_fingerprint.encode())
        for name in _ARRAYS:
            array: Floats = getattr(self, name)
            total.update(f"{name} {array.shape}".encode() + array.astype("<f4").tobytes())
        return total.hexdigest()[:16]

    def __call__(self, vectors: Floats) -> Floats:
        """(n, model) float32 for sentence vectors (n, embedder)."""
        hidden = np.maximum(vectors @ self.w1.T + self.b1, 0)  # (n, hidden)
        return np.asarray(hidden @ self.w2.T + self.b2, dtype=np.float32)

    def check(self, embedder_fingerprint: str, model_fingerprint: str) -> None:
        """Raise `ModelError` when embedder or language model is not the one it was trained for."""
        pairs = (
            ("embedder", self.belongs.embedder_fingerprint, embedder_fingerprint),
            ("language model", self.belongs.model_fingerprint, model_fingerprint),
        )
        for kind, trained, present in pairs:
            if trained != present:
                raise ModelError(
                    f"The adaptor was trained for the {kind} with fingerprint {trained}, and here "
                    f"it is {present}; use the adaptor of this {kind}, or train one."
                )

    def save(self, folder: Path) -> None:
        """Write the adaptor into a new folder: weights as safetensors, and its record.

        Raises:
            ModelError: the folder is there already.
        """
        from safetensors.numpy import save_file

        if folder.exists():
            raise ModelError(f"{folder} is there already; save the adaptor under another name.")
        with new_folder(folder) as part:
            arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
            save_file(arrays, part / WEIGHTS)
            write_json(part / RECORD, self.belongs.model_dump())
            write_sums(part)


def load_adaptor(folder: Path) -> Adaptor:
    """The adaptor saved in `folder`.

    Raises:
        ModelError: there is none, or its files are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not (folder / WEIGHTS).is_file() or not (folder / RECORD).is_file():
        raise ModelError(
            f"An adaptor ({WEIGHTS} and {RECORD}) was expected in {folder} and is not there; "
            "name the folder that training wrote."
        )
    try:
        check_sums(folder)
        arrays = load_file(folder / WEIGHTS)
        w1, b1, w2, b2 = (arrays[name].astype(np.float32) for name in _ARRAYS)
        belongs = Belongs.model_validate(read_json(folder / RECORD))
    except (OSError, SafetensorError, KeyError, ValidationError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"The adaptor in {folder} cannot be read ({reason}); save it again."
        ) from error
    return Adaptor(w1, b1, w2, b2, belongs)
