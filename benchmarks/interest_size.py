"""Memory and time of training next interests at two sizes, beside the formula, and what a million takes.

    python benchmarks/interest_size.py --items 10000,40000 --json -

Catalogues and histories are random; the layers are those of the base model. A few steps are taken at each size;
times are seconds of this process's processor, and so is `flops_fraction`, the rate of the steps' matrix products beside
that of a large product. docs/interest.md states the formula:

    weights = (2 (items + facts) + 3 · text) · dim + layers · 3.54 M + adaptor and heads
    training memory = 5 · 4 · weights (weights, gradients, two of AdamW, the best epoch)
    an epoch = events · s_event + steps · weights · s_weight

`s_event` and `s_weight` are solved from the two measured sizes.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch.utils.flop_counter import FlopCounterMode

from foretaste.data.errors import InputError
from foretaste.data.files import write_json
from foretaste.data.histories import Histories
from foretaste.finetune.interest.config import GROUP, InterestConfig, load_config
from foretaste.finetune.interest.trainer import InterestTrainer
from foretaste.finetune.runs import matmul_flops
from foretaste.finetune.towers.data import TAGS_EACH, Vocabulary
from foretaste.finetune.towers.material import Material
from foretaste.serving.interest import base_folder, low_precision
from foretaste.serving.rules.base import popularity

EVENTS = 10  # of a person
TEXT = 384  # numbers in a sentence vector
FACTS_EACH = 6  # facts of an item, of half as many as there are items
COPIES = 5  # of all weights: themselves, gradients, two of AdamW, the best epoch
_STEPS = 4  # that are timed, after one that warms up
_MILLION = 1_000_000


def main() -> None:
    """Measure both sizes and print one object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", default="10000,40000", metavar="N,N")
    parser.add_argument("--set", action="append", default=[], metavar="interest.FIELD=VALUE")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    sizes = [int(size) for size in options.items.split(",")]
    if len(sizes) != 2 or sizes[0] >= sizes[1]:
        raise InputError(f"--items expects two sizes, the smaller one first, not {options.items}.")
    config = load_config("cpu", [f"{GROUP}.wish=0", *options.set])
    task = partial(measured, config=config, base=base_folder(config.base))
    # Each size in a process of its own: the second would find the memory that the first let go.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        rows = list(pool.map(task, sizes))
    report = {"rows": rows, "million": extrapolated(rows, config)}
    if options.json and options.json != "-":
        write_json(Path(options.json), report)
    print(json.dumps(report, indent=1))


def measured(items: int, config: InterestConfig, base: Path) -> dict[str, Any]:
    """One size: as many people as items."""
    torch.set_num_threads(config.threads)
    made = material(items)
    before = psutil.Process().memory_info().rss
    trainer = InterestTrainer(made, config, base, _STEPS + 1)
    batches = trainer.epoch_batches(0)[: _STEPS + 1]
    with FlopCounterMode(display=False) as counter:
        trainer.step(batches[0])
    start = time.process_time()
    for batch in batches[1:]:
        trainer.step(batch)
    seconds = (time.process_time() - start) / len(batches[1:])
    events = [int((batch.targets >= 0).sum()) for batch in batches]
    rate = counter.get_total_flops() / events[0] * float(np.mean(events[1:])) / seconds
    kind = str(low_precision()).removeprefix("torch.")
    trained = sum(value.numel() for value in trainer.net.parameters() if value.requires_grad)
    grown = psutil.Process().memory_info().rss - before
    return {
        "items": items,
        "events": len(made.histories.rows),
        "weights": trained,
        "weights_by_formula": weights(items, config, trainer),
        "memory_mb": round(grown / 1e6),
        "memory_mb_by_formula": round(4 * (COPIES - 1) * trained / 1e6),
        "events_a_step": round(float(np.mean(events[1:]))),
        "processor_s_a_step": round(seconds, 3),
        "mflop_an_event": round(counter.get_total_flops() / events[0] / 1e6, 1),
        "gflops": round(rate / 1e9, 1),
        "flops_fraction": round(rate / matmul_flops(kind=kind), 3),
        "arithmetic": kind,
    }


def material(items: int) -> Material:
    """A random catalogue and as many random histories as it has items."""
    draw = np.random.default_rng(0)
    rows = draw.integers(items, size=items * EVENTS).astype(np.int32)
    histories = Histories(rows, np.arange(0, len(rows) + 1, EVENTS, dtype=np.int64))
    facts = draw.integers(1, items // 2 + 1, size=(items, FACTS_EACH))
    none = np.full(items, -1, dtype=np.int64)
    return Material(
        histories=histories,
        text=draw.standard_normal((items, TEXT), dtype=np.float32) / np.float32(TEXT**0.5),
        facts=facts,
        fact_names=[f"fact{number}" for number in range(items // 2)],
        counts=popularity(histories, items),
        words=Vocabulary([], none, np.full((items, TAGS_EACH), -1, dtype=np.int64)),
        said=np.zeros((0, TEXT), dtype=np.float32),
    )


def weights(items: int, config: InterestConfig, trainer: InterestTrainer) -> int:
    """The formula; the adaptor is counted as it stands, because its size has nothing to do with items."""
    net = trainer.net
    fixed = [net.model, net.text, net.seen, net.wish, net.heads, net.norm]
    inside = sum(value.numel() for part in fixed for value in part.parameters())
    inside -= net.model.embed_tokens.weight.numel()
    return int((2 * (items + items // 2) + 3 * TEXT) * config.dim + inside)


def extrapolated(rows: list[dict[str, Any]], config: InterestConfig) -> dict[str, Any]:
    """A million items and as many people with ten events each."""
    small, large = rows
    gap = large["processor_s_a_step"] - small["processor_s_a_step"]
    s_weight = max(gap, 0.0) / (large["weights"] - small["weights"])
    own = small["processor_s_a_step"] - s_weight * small["weights"]
    s_event = own / small["events_a_step"]
    per_item = (large["weights"] - small["weights"]) / (large["items"] - small["items"])
    total = small["weights"] + per_item * (_MILLION - small["items"])
    events = _MILLION * (EVENTS - 1)
    steps = events / config.batch
    grown = 1e6 * (large["memory_mb"] - small["memory_mb"])
    return {
        "bytes_a_weight": round(grown / (large["weights"] - small["weights"]), 1),
        "weights": round(total),
        "training_gb": round(4 * COPIES * total / 1e9, 1),
        "ms_an_event": round(1e3 * s_event, 3),
        "ns_a_weight_and_step": round(1e9 * s_weight, 2),
        "reading_h_an_epoch": round(events * s_event / 3600, 2),
        "adamw_h_an_epoch": round(steps * total * s_weight / 3600, 2),
    }


if __name__ == "__main__":
    main()
