"""Knowledge losses of KARMA (arXiv 2603.22779): what comes next has to be sayable, not only findable.

* history-conditioned generation `−Σ_l log p(w_l | w_<l, H_t)`: the target's title after the events;
* embedding-conditioned reconstruction `−Σ_l log p(w_l | w_<l, h_t)`: the title after h alone, as a soft prefix.

Both go through the layers that read histories; words enter and leave by the language model's own frozen
vectors, of which only those that titles use are held. The decoder is trained beside the network and
is no part of what is exported. Read-out and weights are unpublished: settings here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from foretaste.serving.interest_net import InterestNet, word_vectors

Ints = NDArray[np.int64]
_EVENTS = 8  # newest events that generation reads
_PADDING = -100  # a token that cross entropy leaves out


class Knowledge(nn.Module):  # type: ignore[misc]
    """Decoder of titles.

    Args:
        words: (v, width) float32 frozen vectors of the tokens that titles use.
        tokens: (items, m) int64 numbers of each title's first tokens among them, padded with -100.
    """

    def __init__(self, words: Any, tokens: Any) -> None:
        super().__init__()
        self.register_buffer("words", words, persistent=False)
        self.register_buffer("tokens", tokens, persistent=False)
        self.prefix = nn.Linear(words.shape[1], words.shape[1])
        with torch.no_grad():
            self.prefix.weight.copy_(torch.eye(words.shape[1]) * words.std())
            self.prefix.bias.zero_()

    def reconstruction(self, net: InterestNet, hidden: Any, targets: Ints) -> Any:
        """Mean −log p of the targets' tokens given h (n, width) alone."""
        begin = net.begin.expand(len(hidden), 1, -1)
        before = torch.cat([begin, self.prefix(hidden)[:, None]], dim=1)  # (n, 2, width)
        return self._said(net, before, torch.ones(before.shape[:2]), targets)

    def generation(
        self, net: InterestNet, inputs: Any, lines: Ints, places: Ints, targets: Ints
    ) -> Any:
        """Mean −log p of the targets' tokens given the events up to each place.

        Args:
            net: the network.
            inputs: (b, t, width) input vectors of events.
            lines, places: (n,) where each target comes next.
            targets: (n,) item rows.
        """
        back = places[:, None] - np.arange(_EVENTS)[::-1]  # (n, events), oldest first
        held = torch.as_tensor(back >= 0)
        rows = torch.as_tensor(lines)[:, None]
        events = inputs[rows, torch.as_tensor(np.maximum(back, 0))] * held[:, :, None]
        begin = net.begin.expand(len(lines), 1, -1)
        before = torch.cat([begin, events], dim=1)
        mask = torch.cat([torch.ones(len(lines), 1), held.float()], dim=1)
        return self._said(net, before, mask, targets)

    def _said(self, net: InterestNet, before: Any, mask: Any, targets: Ints) -> Any:
        """Cross entropy of the targets' tokens after `before` (n, p, width), masked by (n, p)."""
        tokens = self.tokens[torch.as_tensor(targets)]  # (n, m)
        spoken = self.words[tokens[:, :-1].clamp(min=0)]  # (n, m - 1, width)
        whole = torch.cat([before, spoken], dim=1)
        mask = torch.cat([mask, torch.ones(spoken.shape[:2])], dim=1)
        hidden = net.read(whole, attention_mask=mask).last_hidden_state[:, before.shape[1] - 1 :]
        with torch.autocast("cpu", net.low, enabled=net.low != torch.float32):
            scores = hidden @ self.words.T  # (n, m, v)
        return F.cross_entropy(
            scores.float().flatten(0, 1), tokens.flatten(), ignore_index=_PADDING
        )


def read_knowledge(base: Path, titles: Sequence[str], most: int) -> Knowledge:
    """The decoder for these titles.

    Args:
        base: folder of the language model, its tokenizer among its files.
        titles: one an item, in row order.
        most: tokens of a title that are said.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    said = tokenizer(list(titles), add_special_tokens=False, truncation=True, max_length=most)
    ids = np.full((len(titles), most), _PADDING, dtype=np.int64)
    for line, own in zip(ids, said["input_ids"], strict=True):
        line[: len(own)] = own
    used = np.unique(ids[ids >= 0])
    tokens = np.where(ids >= 0, np.searchsorted(used, ids), _PADDING)
    return Knowledge(word_vectors(base)[torch.as_tensor(used)].float(), torch.as_tensor(tokens))
