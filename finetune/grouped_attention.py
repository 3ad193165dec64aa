"""Attention of a decoder on a CPU, heads that share their keys together.

torch's fused attention is slow in bfloat16 on CPUs: 6 ms a layer for 32 rows of one new token, which was half
of sampling (docs/rl.md), and a third of an adaptor's step (docs/log.md). Three plain products take a fifth of that.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

NAME = "foretaste_grouped"
# Kinds of models without a cap of the scores or sinks: the mask says it all.
PLAIN = ("llama", "mistral", "qwen2", "qwen3")


def use_grouped_attention(model: Any) -> None:
    """Let a causal model of transformers on a CPU attend by plain products.

    Models on other devices, and kinds whose attention is more than that (`PLAIN`), stay as they are.
    """
    if next(model.parameters()).device.type != "cpu" or model.config.model_type not in PLAIN:
        return
    AttentionInterface.register(NAME, grouped)
    AttentionMaskInterface.register(NAME, eager_mask)
    model.set_attn_implementation(NAME)


def grouped(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    **given: Any,
) -> tuple[Any, None]:
    """Grouped-query attention (arXiv 2305.13245) without repeating keys and values.

    Args:
        module: the layer; not asked.
        query: (rows, heads, places, width).
        key, value: (rows, shared, known, width); `heads / shared` heads in a row read the same.
        attention_mask: (rows, 1, places, known), added to the scores, or None.
        scaling: of the scores; 1/√width when None.
        given: what other kinds of attention take.

    Returns:
        (rows, places, heads, width), and None where others tell the shares.
    """
    rows, heads, places, width = query.shape
    shared = key.shape[1]
    asked = query.reshape(rows, shared, heads // shared * places, width)
    scores = asked @ key.transpose(-1, -2) * (width**-0.5 if scaling is None else scaling)
    if attention_mask is not None:
        apart = scores.view(rows, shared, heads // shared, places, -1)
        scores = (apart + attention_mask[:, :, None]).view_as(scores)
    shares = scores.softmax(dim=-1, dtype=torch.float32).to(value.dtype)
    return (shares @ value).view(rows, heads, places, width).transpose(1, 2).contiguous(), None
