"""Activations of a training step, measured against `finetune/arithmetic.py`.

    python benchmarks/training_memory.py --json -

One forward and backward of the bundled model with a LoRA on every matrix, as `finetune sft` does it
(bfloat16 where this processor is fast in it), in a process of its own for each batch; the growth of the peak memory
from the smaller to the larger batch is what a token's activations take.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from typing import Any

MODEL = "bundled:smollm2-135m-instruct"
SIZES = (256, 1024)  # tokens of a batch, as sequences of 256
RANK = 16
ANSWERS = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", default="-", metavar="FILE")
    parser.add_argument("--tokens", type=int, help="measure one batch; what this file calls itself")
    options = parser.parse_args()
    if options.tokens:
        print(json.dumps(one(options.tokens)))
        return
    rows = []
    for tokens in SIZES:
        command = [sys.executable, "-P", __file__, "--tokens", str(tokens)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(rows[-1], file=sys.stderr, flush=True)
    text = json.dumps(compared(rows))
    if options.json == "-":
        print(text)
    else:
        with open(options.json, "w", encoding="utf-8") as file:
            file.write(text + "\n")


def one(tokens: int) -> dict[str, Any]:
    """Peak memory of a step over so many tokens, and its processor seconds."""
    import time

    import torch
    from peft import LoraConfig, get_peft_model

    from foretaste.finetune.language_model import load_base
    from foretaste.finetune.sft.config import SftConfig
    from foretaste.finetune.sft.trainer import autocast

    torch.set_num_threads(1)
    torch.manual_seed(0)
    base = load_base(MODEL, SftConfig(model=MODEL).kind)
    lora = LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base.model, lora).train()
    ids = torch.randint(0, 40_000, (tokens // 256, 256))  # (b, 256)
    kept = torch.arange(256 - int(256 * ANSWERS), 256)  # places with logits
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with autocast(base):
        logits = model(ids, logits_to_keep=kept, use_cache=False).logits  # (b, kept, vocabulary)
        loss = torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1), ids[:, kept].flatten()
        )
    loss.backward()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "tokens": tokens,
        "before_mb": round(before / 1024),
        "peak_mb": round(after / 1024),
        "processor_s": round(time.process_time() - start, 1),
    }


def compared(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What a token takes, measured and by formula, in kB; logits are in both."""
    from transformers import AutoConfig

    from foretaste.finetune.arithmetic import Decoder, Plan, memory
    from foretaste.serving.store import model_folder

    config = AutoConfig.from_pretrained(model_folder(MODEL))
    decoder = Decoder(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        inner=config.intermediate_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        head=config.hidden_size // config.num_attention_heads,
        vocabulary=config.vocab_size,
    )
    small, large = rows
    more = large["tokens"] - small["tokens"]
    found = memory(decoder, Plan(tokens=more, rank=RANK, answers=ANSWERS))
    paper = (found.activations + found.logits) * 1e9 / more
    measured = (large["peak_mb"] - small["peak_mb"]) * 2**20 / more
    return {
        "rows": rows,
        "measured_kb_a_token": round(measured / 1e3),
        "formula_kb_a_token": round(paper / 1e3),
        "ratio": round(measured / paper, 2),
    }


if __name__ == "__main__":
    main()
