"""Texts that begin alike, read by a decoder: what they share is computed once, with gradients.

The keys and values of a prefix are repeated over the texts that go on from it. A group of g answers to
a context of c tokens, a tokens each, costs c + g·a tokens instead of g·(c + a).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def continued(
    decoder: Any,
    prefixes: Sequence[Sequence[int]],
    owners: Sequence[int],
    endings: Sequence[Sequence[int]],
) -> tuple[Any, Any]:
    """Hidden states of texts that share beginnings.

    Args:
        decoder: of transformers, without its language-model head.
        prefixes: token ids of p beginnings, at least one each.
        owners: for each of the n endings the number of its beginning.
        endings: token ids, at least one each.

    Returns:
        (p, d) states at the last token of each beginning, and (n, longest, d) states of the endings,
        padded at their right ends.
    """
    device = next(decoder.parameters()).device
    ids, mask = padded(prefixes)
    first = decoder(input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=True)
    ends = torch.tensor([len(one) - 1 for one in prefixes])
    last = first.last_hidden_state[torch.arange(len(prefixes)), ends]  # (p, d)
    rows = torch.as_tensor(owners, dtype=torch.long)
    cache = first.past_key_values
    cache.batch_select_indices(rows.to(device))
    more, shown = padded(endings)
    places = ends[rows][:, None] + 1 + torch.arange(more.shape[1])[None, :]  # (n, longest)
    states = decoder(
        input_ids=more.to(device),
        attention_mask=torch.cat([mask[rows], shown], dim=1).to(device),
        position_ids=places.to(device),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    return last, states


def padded(rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """Token ids as one tensor (n, longest), padded at the right end with 0, and the mask.

    >>> padded([[5, 6], [7]])[0].tolist()
    [[5, 6], [7, 0]]
    """
    longest = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.as_tensor(row)
        mask[number, : len(row)] = 1
    return ids, mask
