"""What the knowledge losses add to the action loss: action, + generation, + reconstruction, both.

    python benchmarks/interest_ablation.py --dataset amazon-beauty --json -

The same steps for each arm, validation people only, HR@200 and N@10 with paired 95 % intervals against action
alone (1,000 resamples), and how attention and vectors look inside (KARMA, arXiv 2603.22779, its table of
losses). Nothing is published; runs lie below `runs/interest-ablation`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from typing import Any

import numpy as np

from foretaste.data.splits import Cases
from foretaste.data.store import load_dataset
from foretaste.finetune.interest.config import GROUP, load_config
from foretaste.finetune.interest.diagnostics import diagnose
from foretaste.finetune.interest.knowledge import read_knowledge
from foretaste.finetune.interest.loop import InterestLoop, Plan
from foretaste.finetune.interest.train import prepare
from foretaste.finetune.runs import Stop, open_run
from foretaste.judge.ranking.bootstrap import interval, resampled_means
from foretaste.serving.embedder import load_embedder
from foretaste.serving.interest import Interest
from foretaste.serving.rules.ranking import by_blocks, drop_history, standing

ARMS = {
    "action": (0.0, 0.0),
    "generation": (0.1, 0.0),
    "reconstruction": (0.0, 0.1),
    "both": (0.1, 0.1),
}
SHOWN = ("sink_mean", "entropy_mean", "hidden_dimension", "item_dimension", "hubness")
RESAMPLES = 1000


def main() -> None:
    """Train the arms one after the other and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="amazon-beauty")
    parser.add_argument("--set", action="append", default=[], metavar="interest.FIELD=VALUE")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    config = load_config("cpu", [f"{GROUP}.wish=0", *options.set])
    job = prepare(load_dataset(options.dataset), config, load_embedder())
    knowledge = read_knowledge(job.plan.base, job.dataset.titles, config.knowledge_words)
    found: dict[str, Any] = {}
    hits: dict[str, Any] = {}
    for name in options.arms.split(","):
        generation, reconstruction = ARMS[name]
        changes = {"generation": generation, "reconstruction": reconstruction}
        told = knowledge if generation or reconstruction else None
        plan = replace(job.plan, config=config.model_copy(update=changes), knowledge=told)
        found[name], hits[name] = arm(plan, options.dataset)
        print(name, json.dumps(found[name]), flush=True)
    report = {"dataset": options.dataset, "cases": len(job.plan.cases), "arms": found}
    report["pairs"] = {
        f"{name}-action": compare(hits[name], hits["action"], job.plan.cases)
        for name in hits
        if name != "action" and "action" in hits
    }
    text = json.dumps(report, indent=1)
    if options.json and options.json != "-":
        with open(options.json, "w") as file:
            file.write(text)
    print(text)


def arm(plan: Plan, dataset: str) -> tuple[dict[str, Any], Any]:
    """Train one arm; its figures, and HR@200 and N@10 of each case, (n, 2)."""
    start, cpu = time.perf_counter(), time.process_time()
    run = open_run("interest-ablation", dataset, plan.config.model_dump(), resume=False)
    steps = len(plan.trainer(1).epoch_batches(0)) * plan.config.epochs
    loop = InterestLoop(plan, run, steps, start)
    loop.train(Stop())
    model = loop.best_model()
    hits = ask(model, plan.cases)
    inside = diagnose(model, plan.material.histories)
    figures = {"hr@200": float(hits[:, 0].mean()), "n@10": float(hits[:, 1].mean())}
    figures |= {name: round(inside[name], 4) for name in SHOWN}
    return figures | {"processor_s": round(time.process_time() - cpu)}, hits


def ask(model: Interest, cases: Cases) -> Any:
    """(n, 2) whether the target is among the first 200, and its N@10; history dropped."""

    def one_block(part: Cases) -> Any:
        scores = model.scores(part.histories)
        drop_history(scores, part.histories, part.targets)
        places = standing(scores, part.targets)
        return np.stack([places.recall(200), places.ndcg(10)], axis=1)

    return np.concatenate(by_blocks(one_block, cases, len(model.item_vectors)))


def compare(one: Any, other: Any, cases: Cases) -> dict[str, Any]:
    """Differences with their intervals."""
    means = resampled_means(one - other, cases.users, RESAMPLES, 0)
    return {
        metric: {
            "delta": float((one - other)[:, place].mean()),
            "interval": interval(means[:, place]),
        }
        for place, metric in enumerate(("hr@200", "n@10"))
    }


if __name__ == "__main__":
    main()
