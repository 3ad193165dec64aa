"""The seam between texts and vectors, and the sentence embedder that stands behind it.

Every text that was ever encoded is kept on disk (`serving/vector_cache.py`), so torch is loaded
only when a text is new to this home.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foretaste.data.errors import ForetasteError, InputError, ModelError
from foretaste.data.files import sha256, subfolder
from foretaste.data.progress import meter
from foretaste.serving.arithmetic import fast_bfloat16, few_sizes, threads, usable_cores
from foretaste.serving.vector_cache import VectorCache

DEFAULT_EMBEDDER = "bundled:all-minilm-l6-v2"
_BATCH = 64  # texts in one forward pass
# Batches are filled up to these sizes and texts as `few_sizes` says: the products of both, for which matrix
# kernels are made, are a few dozen numbers.
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, _BATCH)
_SHORTEST = 8  # tokens to which the shortest texts are filled
_MET = 512  # tokens, filled up, of the largest batch that `warm_up` meets
_FEW = 32  # texts up to which waiting for a second thread costs more than it helps
_KEEP_EVERY = 1024  # texts encoded before they are put on disk: what a killed run can lose
_NO_TEXT = "-"  # read in place of an empty text: not every tokenizer makes a token of nothing
_SHOW_FROM = 256  # new texts from which on progress is shown
_SETTINGS = ("*.json", "*/config.json", "vocab.txt", "*.model")  # beside the weights
_NOT_SETTINGS = frozenset({"data_config.json", "foretaste.json"})  # provenance, no behaviour


class Embedder(Protocol):
    """Anything that turns texts into unit vectors, so that a dot product is a cosine."""

    @property
    def name(self) -> str:
        """Which model it is, for people."""
        ...

    @property
    def fingerprint(self) -> str:
        """16 hex digits over weights and settings: equal means equal vectors."""
        ...

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        ...

    def encode(self, texts: Sequence[str], *, keep: bool = True) -> NDArray[np.float32]:
        """(n, d) float32, each row of length 1, in the order of `texts`; n may be 0.

        `keep` says whether new vectors may be remembered: not those of what a person wrote.
        """
        ...


class SentenceEmbedder:
    """A sentence-transformers model in a local folder, with its cache. Safe to use from threads.

    It computes in bfloat16 where the processor is fast at that, else in float32. The two differ by
    rounding (cosine above .9999 for all-MiniLM-L6-v2), so they share their cache.

    Args:
        folder: the model's files; safetensors only.
        name: for people.

    Raises:
        ModelError: the folder holds no such model.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._fingerprint = fingerprint_of(folder)
        self._dimension = _dimension_of(folder)
        self._cache = VectorCache(subfolder("vectors", self._fingerprint), self._dimension)
        self._model: Any = None
        self._guard = threading.Lock()

    @property
    def name(self) -> str:
        """Which model it is, for people."""
        return self._name

    @property
    def fingerprint(self) -> str:
        """16 hex digits over weights, tokenizer and settings."""
        return self._fingerprint

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self._dimension

    def encode(self, texts: Sequence[str], *, keep: bool = True) -> NDArray[np.float32]:
        """Vectors of `texts`, (n, d) float32, each row of length 1.

        None and NaN count as the empty text, which has a vector like any other. A text longer than the model reads is cut by it
        (all-MiniLM-L6-v2 reads 256 tokens). Only texts that are not in the cache are computed,
        each once, longest first.

        Raises:
            InputError: something else than a text was among them.
            ForetasteError: the model gave numbers that are not finite.
        """
        clean = [clean_text(text) for text in texts]
        vectors, found = self._cache.get(clean)
        if found.all():
            return vectors
        with self._guard:  # another thread may have computed them meanwhile
            vectors, found = self._cache.get(clean)
            missing = sorted({clean[row] for row in np.flatnonzero(~found)}, key=_longest_first)
            if not keep and missing:
                made = dict(zip(missing, self._forward(missing), strict=True))
                for row in np.flatnonzero(~found):
                    vectors[row] = made[clean[row]]
                return vectors
            self._compute(missing)
        new, present = self._cache.get(clean)
        if not present.all():
            raise ForetasteError(
                f"The vector cache of {self._name} lost what was just written; "
                "check the disk of FORETASTE_HOME."
            )
        return new

    def _compute(self, texts: list[str]) -> None:
        """Encode new texts and keep them, some at a time, so that a stopped run goes on there."""
        if not texts:
            return
        if len(texts) < _SHOW_FROM:
            self._cache.put(texts, self._forward(texts))
            return
        with meter(f"Reading texts with {self._name}", len(texts), "texts") as progress:
            for start in range(0, len(texts), _KEEP_EVERY):
                part = texts[start : start + _KEEP_EVERY]
                self._cache.put(part, self._forward(part))
                progress.advance(len(part))

    def _forward(self, texts: list[str]) -> NDArray[np.float32]:
        """(n, d) float32 from the model itself."""
        if self._model is None:
            self._model = _load(self._folder)
        words = [text if text.strip() else _NO_TEXT for text in texts]
        with threads(1 if len(words) <= _FEW else usable_cores()):
            batches = (words[first : first + _BATCH] for first in range(0, len(words), _BATCH))
            vectors = np.concatenate([_of_batch(self._model, batch) for batch in batches])  # (n, d)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)  # (n, 1)
        if vectors.shape != (len(texts), self._dimension) or not (lengths > 0).all():
            raise ForetasteError(
                f"{self._name} should give {self._dimension} finite numbers, not all zero, for "
                "each text and did not; its files may be damaged: fetch the model again."
            )
        unit: NDArray[np.float32] = vectors / lengths
        return unit


def load_embedder(name: str = DEFAULT_EMBEDDER) -> Embedder:
    """The embedder called `name`: `bundled:…`, a local folder or a hub id.

    Nothing heavy is loaded until a text is encoded that this home has not seen.

    Raises:
        ModelError: there is no such model here, or it is not a sentence embedder.
    """
    from foretaste.serving.store import model_folder

    return SentenceEmbedder(model_folder(name), name)


def warm_up(embedder: Embedder) -> None:
    """Load the weights, and meet the sizes that short texts have: a second or two.

    What each size needs stays in memory, so that a server has at its start what it would grow to.
    """
    met: set[int] = set()
    for length in (size * _SHORTEST // 2 for size in (2, 3, 4, 6, 8)):
        for size in _SIZES:
            tokens = size * length
            if size <= _FEW and tokens <= _MET and tokens not in met:
                met.add(tokens)
                words = " a" * (length - 3)  # beside a number, a beginning and an end
                embedder.encode([f"{number}{words}" for number in range(size)], keep=False)


def clean_text(text: object) -> str:
    """`text` as the model gets it: None and NaN become empty, lone surrogates a question mark.

    >>> clean_text(None), clean_text(float("nan")), clean_text("Heat (1995)")
    ('', '', 'Heat (1995)')
    """
    if isinstance(text, str):
        return text.encode("utf-8", "replace").decode("utf-8")
    if text is None or (isinstance(text, float) and np.isnan(text)):
        return ""
    raise InputError(
        f"A text was expected for the embedder, not {text!r}; pass strings (None for no text)."
    )


def fingerprint_of(folder: Path) -> str:
    """16 hex digits of sha256 over the weights and every file that changes what they answer.

    Raises:
        ModelError: no safetensors weights in `folder`.
    """
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise ModelError(
            f"A sentence embedder with .safetensors weights was expected in {folder} and none is "
            "there; name a folder saved by sentence-transformers, or `foretaste models fetch`."
        )
    settings = {path for pattern in _SETTINGS for path in folder.glob(pattern)}
    total = hashlib.sha256()
    for path in [*weights, *sorted(settings)]:
        if path.name in _NOT_SETTINGS:
            continue
        total.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return total.hexdigest()[:16]


def _dimension_of(folder: Path) -> int:
    """Numbers in a vector, from the configuration of the last module that sets them."""
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        sizes = [
            _output_size(folder / module["path"] / "config.json")
            for module in modules
            if module["type"].rsplit(".", 1)[-1] in ("Pooling", "Dense")
        ]
        return sizes[-1]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(
            f"{folder} should hold a sentence-transformers model (modules.json with a pooling "
            f"layer) and does not ({error}); name a sentence embedder."
        ) from error


def _output_size(path: Path) -> int:
    """What a Pooling or Dense layer puts out."""
    config = json.loads(path.read_text(encoding="utf-8"))
    if "out_features" in config:
        return int(config["out_features"])
    modes = [key for key, on in config.items() if key.startswith("pooling_mode_") and on is True]
    width = config.get("word_embedding_dimension", config.get("embedding_dimension"))
    return int(width) * max(1, len(modes))


def _load(folder: Path) -> Any:
    """The model itself: from local files only, safetensors only, no code of the model's own."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model = SentenceTransformer(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={
                "use_safetensors": True,
                "dtype": torch.bfloat16 if fast_bfloat16() else torch.float32,
            },
        )
        return model
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ModelError(
            f"The sentence embedder in {folder} cannot be loaded ({error}); fetch it again."
        ) from error


def _of_batch(model: Any, words: list[str]) -> NDArray[np.float32]:
    """(n, d) float32 of at most `_BATCH` texts, computed in one of few shapes."""
    most = int(model.max_seq_length)
    tokens = model.tokenizer(words, truncation=True, max_length=most)["input_ids"]
    length = min(few_sizes(max(map(len, tokens)), _SHORTEST), most)
    model[0].processing_kwargs = {"text": {"padding": "max_length", "max_length": length}}
    size = next(size for size in _SIZES if size >= len(words))
    raw = model.encode(
        words + [_NO_TEXT] * (size - len(words)),
        batch_size=_BATCH,
        show_progress_bar=False,
        convert_to_tensor=True,
    )
    return np.asarray(raw[: len(words)].float().cpu(), dtype=np.float32)


def _longest_first(text: str) -> tuple[int, str]:
    """Sort key: long texts first, so that batches are even and the time left only gets better."""
    return -len(text), text
