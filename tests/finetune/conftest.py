"""A tiny catalogue whose next item can be told from its text: people stay within one kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.store import save_dataset
from foretaste.data.tables import COLUMNS
from foretaste.finetune.interest.config import InterestConfig, load_config

KINDS = ("lipstick", "shampoo", "razor", "perfume")


def make(users: int = 60, items: int = 40, events: int = 8, seed: int = 0) -> Dataset:
    draw = np.random.default_rng(seed)
    kinds = [KINDS[row % len(KINDS)] for row in range(items)]
    rows = [
        {
            "item_id": f"i{row}",
            "title": f"{kind} number{row}",
            "categories": ["Beauty", kind.title()],
            "attributes": [{"name": "brand", "value": f"b{row % 5}"}],
        }
        for row, kind in enumerate(kinds)
    ]
    log = []
    for user in range(users):
        own = np.flatnonzero(np.array(kinds) == KINDS[user % len(KINDS)])
        for time, row in enumerate(draw.choice(own, events, replace=False)):
            log.append(
                {
                    "user_id": f"u{user}",
                    "item_id": f"i{row}",
                    "timestamp": 1_600_000_000 + 86_400 * time,
                    "event": "purchase",
                    "position": len(log),
                }
            )
    tables = {
        name: pl.DataFrame(given, schema=COLUMNS[name])
        for name, given in (
            ("items", rows),
            ("interactions", log),
            ("users", []),
            ("environment", []),
        )
    }
    return Dataset(**tables, info=DatasetInfo(name="tiny"))


@pytest.fixture
def tiny(home: object) -> Dataset:
    """Saved under the home of the test."""
    return save_dataset(make())


@pytest.fixture(scope="session")
def word_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with a tokenizer of words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("words")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=48,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_hidden_layers=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words = ("<s>", "</s>", *KINDS, *(f"number{row}" for row in range(40)))
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(numbers, "<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture
def smoke(word_llama: Path) -> InterestConfig:
    return load_config("smoke", [f"interest.base={word_llama}", "interest.epochs=2"])
