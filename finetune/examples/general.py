"""Everyday instructions with the base model's own answers, so that a small model keeps its language.

Self-distillation: what is learnt here is what the model would have said anyway, so these rows hold it in
place while the others move it (the general part of RecGPT-V2's mix, arXiv 2512.14503, section 4).
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Any

import numpy as np

from foretaste.data.files import read_json, subfolder, write_json
from foretaste.data.progress import meter
from foretaste.finetune.examples.rows import GENERAL, Row, fingerprint

TOKENS = 64  # of an answer
_BATCH = 16


def general_rows(base: str, count: int, validation: float, seed: int) -> list[Row]:
    """At most `count` rows of the written list of instructions.

    Args:
        base: the model that will be trained; it writes the answers, once.
        count: rows.
        validation: share of rows that only choose the checkpoint.
        seed: of the choice of instructions.
    """
    if not count:
        return []
    told = instructions()
    draw = np.random.default_rng(seed)
    chosen = [told[n] for n in draw.permutation(len(told))[:count]]
    answers = _answers(base, chosen)
    return [
        Row(
            agent=GENERAL,
            kind="general",
            part="validation" if draw.random() < validation else "train",
            dataset="",
            user="",
            teacher="self",
            stage=0,
            messages=[
                {"role": "user", "content": said},
                {"role": "assistant", "content": answers[said]},
            ],
            fingerprint=fingerprint(),
        )
        for said in chosen
        if answers[said]
    ]


def instructions() -> list[str]:
    """The written list, one instruction a line."""
    text = files("foretaste.finetune.examples").joinpath("words", "general.txt").read_text("utf-8")
    return [line for line in text.splitlines() if line.strip()]


def _answers(base: str, told: list[str]) -> dict[str, str]:
    """Instruction → the base model's answer, kept under home."""
    key = hashlib.sha256(f"{base}\0{TOKENS}".encode()).hexdigest()[:12]
    path = subfolder("cache", "general") / f"{key}.json"
    known: dict[str, str] = dict(read_json(path)) if path.exists() else {}
    missing = [said for said in told if said not in known]
    if missing:
        known |= _written(base, missing)
        write_json(path, known)
    return known


def _written(base: str, told: list[str]) -> dict[str, str]:
    """Greedy answers, cut at the last whole sentence."""
    import torch

    from foretaste.finetune.language_model import load_base

    loaded = load_base(base, "float32")
    loaded.tokenizer.padding_side = "left"
    made: dict[str, str] = {}
    with meter("Answers to general instructions", len(told), "answers") as progress:
        for start in range(0, len(told), _BATCH):
            part = told[start : start + _BATCH]
            turns = [[{"role": "user", "content": said}] for said in part]
            batch: Any = loaded.tokenizer.apply_chat_template(
                turns,
                add_generation_prompt=True,
                padding=True,
                return_tensors="pt",
                return_dict=True,
            )
            with torch.inference_mode():
                out = loaded.model.generate(
                    **batch,
                    max_new_tokens=TOKENS,
                    do_sample=False,
                    pad_token_id=loaded.tokenizer.pad_token_id,
                )
            new = out[:, batch["input_ids"].shape[1] :]
            texts = loaded.tokenizer.batch_decode(new, skip_special_tokens=True)
            made |= {said: _whole(text) for said, text in zip(part, texts, strict=True)}
            progress.advance(len(part))
    return made


def _whole(text: str) -> str:
    """The text up to its last full stop; all of it when there is none.

    >>> _whole("One. Two. Thr")
    'One. Two.'
    """
    line = text.strip()
    end = max(line.rfind(mark) for mark in (".", "!", "?"))
    return line[: end + 1] if end > 0 else line
