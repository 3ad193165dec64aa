"""Attention by plain products is attention."""

from __future__ import annotations

from pathlib import Path

import torch

from foretaste.finetune.grouped_attention import grouped, use_grouped_attention
from foretaste.finetune.language_model import load_base


def test_grouped_attention_is_attention(tiny_llama: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    shapes = ((2, 6, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4))  # six heads, three of them to a key
    query, key, value = (torch.randn(shape, generator=draw) for shape in shapes)
    mask = torch.zeros(2, 1, 3, 5)
    mask[0, :, :, 0] = torch.finfo(torch.float32).min
    told, _ = grouped(None, query, key, value, mask)
    plain = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, mask, enable_gqa=True
    )
    assert torch.allclose(told, plain.transpose(1, 2), atol=1e-6)
    model = load_base(str(tiny_llama)).model.float()
    ids, shown = torch.tensor([[1, 2, 3], [0, 4, 5]]), torch.tensor([[1, 1, 1], [0, 1, 1]])
    before = model(input_ids=ids, attention_mask=shown).logits
    use_grouped_attention(model)
    after = model(input_ids=ids, attention_mask=shown).logits
    assert torch.allclose(before[0], after[0], atol=1e-5)
    assert torch.allclose(before[1, 1:], after[1, 1:], atol=1e-5)
