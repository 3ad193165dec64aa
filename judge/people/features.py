"""What the head reads of a context and an answer: words, characters, numbers and sentence vectors.

Nothing here knows a domain. What is rare, and what else could have been answered, comes from a
reference: the user's own catalogue when one is given, else the answers that were learnt from.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from foretaste.judge.people.labels import Fields, Floats, joined
from foretaste.judge.people.methods import recent
from foretaste.serving.embedder import Embedder
from foretaste.serving.rules.words import K1, B, words

Vectors = NDArray[np.float32]
BUCKETS = 1 << 15  # of words by their checksum: a vocabulary that needs no list of words
READ = 50_000  # answers of a reference whose vectors are kept, drawn at random from more
NEAR = (5, 20, 50)  # nearest answers of the reference whose mean stands for what was meant
PARTS = 3  # fields of an answer that are read one by one, beside all of them together
SAME = 1e-3  # of cosines: what rounding to half precision may move
SHORTEST = 1e-9  # length of a vector that has a direction
_SHORT = 3  # letters of a word up to which a final s belongs to it
_GRAMS = (3, 4, 5)  # characters


@dataclass(frozen=True)
class Reference:
    """What is usual: how many texts hold a word, how long they are, and their vectors.

    Attributes:
        holding: (BUCKETS,) texts that hold a word of the bucket.
        texts: how many there are.
        length: their mean length in words.
        vectors: (N, d) float32 of length 1; (0, d) when the head reads no neighbours.
    """

    holding: NDArray[np.float32]
    texts: int
    length: float
    vectors: Vectors

    @classmethod
    def of(cls, texts: Sequence[str], vectors: Vectors) -> Reference:
        """Counted from texts."""
        holding = np.zeros(BUCKETS, dtype=np.float32)
        sizes = []
        for text in texts:
            own = stems(text)
            sizes.append(len(own))
            holding[list({bucket(word) for word in own})] += 1
        return cls(holding, len(texts), float(np.mean(sizes)) if sizes else 1.0, vectors)

    def rarity(self, word: str) -> float:
        """Lucene's inverse document frequency of a word."""
        held = float(self.holding[bucket(word)])
        return float(np.log1p((self.texts - held + 0.5) / (held + 0.5)))


@dataclass(frozen=True)
class Read:
    """n contexts and answers as numbers.

    Attributes:
        table: (n, k) features that mean something alone.
        asked, said: (n, d) unit vectors of context and answer.
    """

    table: Floats
    asked: Vectors
    said: Vectors

    def take(self, rows: NDArray[np.int64]) -> Read:
        """Some rows."""
        return Read(self.table[rows], self.asked[rows], self.said[rows])


def read(
    contexts: Sequence[str], answers: Sequence[Fields], reference: Reference, embedder: Embedder
) -> Read:
    """The features of answers, each beside its context.

    Args:
        contexts: n texts; of long ones the end counts.
        answers: n answers of the same number of fields.
        reference: what is usual.
        embedder: behind the vectors.
    """
    asked_texts = [recent(text) for text in contexts]
    wholes = [joined(answer) for answer in answers]
    asked = embedder.encode(asked_texts)
    said, own = vectors_of(answers, embedder)
    parts = _parts(answers)
    columns = [_close(asked, said)]
    for field in own:
        columns += [_close(asked, field), _close(said, field)]
    columns += [_worded(asked_texts, part, reference) for part in (*parts, wholes)]
    columns.append(_contexts(asked_texts, reference))
    if len(reference.vectors):
        columns.append(_neighbours(asked, said, reference.vectors))
    return Read(np.concatenate(columns, axis=1), asked, said)


def vectors_of(answers: Sequence[Fields], embedder: Embedder) -> tuple[Vectors, list[Vectors]]:
    """(n, d) a vector an answer, and those of its fields; none of them when it has but one.

    Of several fields it is the direction of their sum, what is empty left out: no text is read twice.
    """
    parts = _parts(answers)
    if not parts:
        return embedder.encode([joined(answer) for answer in answers]), []
    own = [embedder.encode(part) for part in parts]
    told = [np.array([bool(text.strip()) for text in part], dtype=np.float32) for part in parts]
    total = sum(vector * says[:, None] for vector, says in zip(own, told, strict=True))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.asarray(total / np.maximum(length, SHORTEST), dtype=np.float32), own


def stems(text: str) -> list[str]:
    """The words of a text in small letters, a plural's final s left out.

    >>> stems("USB hubs")
    ['usb', 'hub']
    """
    return [word[:-1] if len(word) > _SHORT and word[-1] == "s" else word for word in words(text)]


@lru_cache(maxsize=1 << 16)
def bucket(word: str) -> int:
    """Where a word is counted."""
    return zlib.crc32(word.encode()) % BUCKETS


def _parts(answers: Sequence[Fields]) -> list[list[str]]:
    """The fields one by one, the last part holding all that are left; none when there is but one."""
    count = len(answers[0]) if len(answers) else 0
    if count < 2:
        return []
    if count > PARTS:
        answers = [(*answer[: PARTS - 1], joined(answer[PARTS - 1 :])) for answer in answers]
    return [[answer[i] for answer in answers] for i in range(min(count, PARTS))]


def _close(one: Vectors, other: Vectors) -> Floats:
    """(n, 1) cosines."""
    return np.asarray((one * other).sum(axis=1, keepdims=True), dtype=np.float64)


def _worded(contexts: Sequence[str], texts: Sequence[str], reference: Reference) -> Floats:
    """(n, 13) how the words of a text meet those of its context."""
    asked = {text: stems(text) or [""] for text in set(contexts)}
    weights = {
        text: np.array([reference.rarity(word) for word in own]) for text, own in asked.items()
    }
    grams = {text: _grams(own) for text, own in asked.items()}
    rows = [
        _meeting(asked[context], weights[context], grams[context], stems(text), reference)
        for context, text in zip(contexts, texts, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(len(rows), 13)


def _meeting(
    asked: list[str], weight: Floats, grams: set[str], said: list[str], reference: Reference
) -> list[float]:
    """Shares of words, where they stand, BM25, characters, numbers; −1 where there is nothing."""
    held, wanted = set(said), set(asked)
    hit = np.array([word in held for word in asked])
    places = [place for place, word in enumerate(said) if word in wanted]
    size = max(1, len(said))
    numbers = [word for word in asked if any(map(str.isdigit, word))]
    counted = {word: said.count(word) for word in wanted & held}
    scale = K1 * (1 - B + B * size / max(reference.length, 1.0))
    bm25 = sum(reference.rarity(word) * n * (K1 + 1) / (n + scale) for word, n in counted.items())
    return [
        float(hit.mean()),
        float((weight * hit).sum() / max(float(weight.sum()), 1e-9)),
        float(hit.all()),
        float(hit[-1]),
        places[0] / size if places else -1.0,
        places[-1] / size if places else -1.0,
        float(size - places[-1] - 1) if places else -1.0,
        len(places) / size,
        float(" ".join(asked) in " ".join(said)),
        float(np.log1p(len(said))),
        len(grams & _grams(said)) / max(1, len(grams)),
        bm25,
        sum(word in held for word in numbers) / len(numbers) if numbers else -1.0,
    ]


def _grams(own: list[str]) -> set[str]:
    """Runs of three to five characters within words, blanks at both ends counted."""
    found: set[str] = set()
    for word in own:
        text = f" {word} "
        for n in _GRAMS:
            found.update(text[i : i + n] for i in range(max(1, len(text) - n + 1)))
    return found


def _contexts(contexts: Sequence[str], reference: Reference) -> Floats:
    """(n, 4) what a context is like alone: words, characters, mean and highest rarity."""
    known = {}
    for text in set(contexts):
        rarities = [reference.rarity(word) for word in stems(text)] or [0.0]
        known[text] = [
            float(len(rarities)),
            float(np.log1p(len(text))),
            float(np.mean(rarities)),
            max(rarities),
        ]
    return np.array([known[text] for text in contexts], dtype=np.float64).reshape(-1, 4)


def _neighbours(asked: Vectors, said: Vectors, known: Vectors) -> Floats:
    """(n, 7 + len(NEAR)) an answer among all that the reference could have answered.

    How many are nearer to the context, how far its cosine stands out, and how like it is to the mean
    of the nearest few: what was meant, as the reference has it (pseudo-relevance feedback,
    Rocchio 1971).
    """
    unique, whose = np.unique(asked, axis=0, return_inverse=True)
    out = np.zeros((len(asked), 7 + len(NEAR)))
    for number, vector in enumerate(unique):
        rows = np.flatnonzero(whose.ravel() == number)
        near = known @ vector  # (N,)
        own = said[rows] @ vector  # (rows,)
        order = np.argsort(-near)[: max(NEAR)]
        top = near[order]
        mean, spread = float(near.mean()), float(near.std()) or 1.0
        out[rows, 0] = np.log1p([int((near > one + SAME).sum()) for one in own])
        out[rows, 1] = (own - mean) / spread
        out[rows, 2] = top[min(9, len(top) - 1)]
        out[rows, 3] = own - top[min(19, len(top) - 1)]
        out[rows, 4:7] = top[0], mean, spread
        for place, count in enumerate(NEAR):
            middle = known[order[:count]].mean(axis=0)
            out[rows, 7 + place] = said[rows] @ (
                middle / max(float(np.linalg.norm(middle)), SHORTEST)
            )
    return out
