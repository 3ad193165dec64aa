"""Where training starts: an entity's vector is what its words' own vectors are on average, spread out.

The linear map from sentence vectors to these averages that fits best (ridge regression) is written into the two
layers exactly, since x = ReLU(x) - ReLU(-x); the rest of the hidden layer begins with no say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foretaste.serving.hybrid_adaptor import Adaptor, Belongs

Floats = NDArray[np.float32]
_RIDGE = 1e-3  # times the number of texts: sentence vectors have length 1


def spread_means(tokens: Sequence[Floats]) -> Floats:
    """(texts, model) the mean of each text's token vectors, as far from their centre as tokens are.

    Means of several tokens lie close together, and a language model hardly tells them apart:
    their distances from the centre are stretched to the tokens' own (docs/log.md has the effect).

    Args:
        tokens: of each text (tokens, model), one token at least.

    >>> one = np.array([[0, 0], [4, 0]], dtype=np.float32)
    >>> spread_means([one, one + np.float32([0, 2])]).astype(int).tolist()  # 1 ± √5
    [[2, -1], [2, 3]]
    """
    means = np.stack([own.mean(axis=0) for own in tokens])  # (texts, model)
    centre = means.mean(axis=0)
    apart = float(np.linalg.norm(means - centre, axis=1).mean())
    lengths = np.concatenate([np.linalg.norm(own - centre, axis=1) for own in tokens])
    stretch = float(lengths.mean()) / apart if apart > 0 else 1.0
    return np.asarray(centre + stretch * (means - centre), dtype=np.float32)


def regression(vectors: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Weights (model, embedder) and offset (model,) of the linear map with the least squared error.

    Args:
        vectors: (n, embedder) sentence vectors.
        targets: (n, model).
    """
    x, y = vectors.astype(np.float64), targets.astype(np.float64)
    middle, level = x.mean(axis=0), y.mean(axis=0)
    x, y = x - middle, y - level
    gram = x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1])  # (embedder, embedder)
    weights = np.linalg.solve(gram, x.T @ y).T
    offset = level - weights @ middle
    return weights.astype(np.float32), offset.astype(np.float32)


def as_layers(weights: Floats, offset: Floats, hidden: int, belongs: Belongs, seed: int) -> Adaptor:
    """The two layers that compute a linear map, with `hidden` numbers between them.

    Exact from `hidden` = 2 · rank on; below, the map's strongest directions are kept.

    Args:
        weights: (model, embedder).
        offset: (model,).
        hidden: 2 at least.
        belongs: the embedder and the model.
        seed: of the hidden numbers that are not needed.
    """
    width, first = weights.shape
    u, s, v = np.linalg.svd(weights.astype(np.float64), full_matrices=False)
    rank = min(len(s), hidden // 2)
    into, out = v[:rank], u[:, :rank] * s[:rank]  # (rank, embedder), (model, rank)
    spare = hidden - 2 * rank
    random = np.random.default_rng(seed).standard_normal((spare, first)) * np.sqrt(2 / first)
    return Adaptor(
        w1=np.concatenate([into, -into, random]).astype(np.float32),
        b1=np.zeros(hidden, dtype=np.float32),
        w2=np.concatenate([out, -out, np.zeros((width, spare))], axis=1).astype(np.float32),
        b2=offset.astype(np.float32),
        belongs=belongs,
    )
