"""What the knowledge losses add to the action loss: action, + generation, + reconstruction, both.

    python benchmarks/interest_ablation.py --dataset amazon-beauty --minutes 30 --json -

The same steps for each arm: as many whole epochs as the dearest arm does in `--minutes` of one core, at most
`interest.epochs`. Validation people only, HR@200 and N@10 with paired 95 % intervals against action alone (1,000
resamples), and how attention and vectors look inside (KARMA, arXiv 2603.22779, its table of losses).
The same command goes on where an earlier one stopped. Nothing is published; runs lie below
`<home>/runs/interest-ablation`.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretaste.data.errors import InputError
from foretaste.data.files import write_json
from foretaste.data.progress import note
from foretaste.data.splits import Cases
from foretaste.data.store import load_dataset
from foretaste.finetune.interest.config import GROUP, InterestConfig, load_config
from foretaste.finetune.interest.diagnostics import diagnose
from foretaste.finetune.interest.knowledge import read_knowledge
from foretaste.finetune.interest.loop import InterestLoop, Plan
from foretaste.finetune.interest.train import prepare
from foretaste.finetune.runs import STATE, Run, Stop, open_run, run_folder, stoppable
from foretaste.judge.ranking.bootstrap import interval, resampled_means
from foretaste.serving.embedder import load_embedder
from foretaste.serving.interest import Interest
from foretaste.serving.rules.ranking import by_blocks, drop_history, standing

KIND = "interest-ablation"  # of the runs
ARMS = {  # generation, reconstruction
    "action": (0, 0),
    "generation": (1, 0),
    "reconstruction": (0, 1),
    "both": (1, 1),
}
SHOWN = ("sink_mean", "entropy_mean", "hidden_dimension", "item_dimension", "hubness")
RESAMPLES = 1000
_BUDGET = "budget.json"
_TIMED = 6  # steps of the dearest arm that are timed


def main() -> None:
    """Train the arms one after the other and print one table."""
    options = _options()
    config = load_config(options.preset, [f"{GROUP}.wish=0", *options.set])
    job = prepare(load_dataset(options.dataset), config, load_embedder())
    knowledge = read_knowledge(job.plan.base, job.dataset.titles, config.knowledge_words)
    whole = replace(job.plan, knowledge=knowledge)
    config = config.model_copy(update={"epochs": epochs(whole, options)})
    found: dict[str, Any] = {}
    hits: dict[str, NDArray[np.float64]] = {}
    with stoppable() as stop:
        for name in options.arms.split(","):
            told = of_arm(name, config, options.weight)
            plan = replace(whole, config=told, knowledge=knowledge if name != "action" else None)
            result = arm(plan, name, options.dataset, stop)
            hits[name] = np.array(result.pop("hits"))
            found[name] = result
    report = {
        "dataset": options.dataset,
        "cases": len(whole.cases),
        "minutes": options.minutes,
        "layers": config.layers,
        "epochs": config.epochs,
        "weight": options.weight,
        "arms": found,
        "pairs": {
            f"{name}-action": compare(hits[name], hits["action"], whole.cases)
            for name in hits
            if name != "action" and "action" in hits
        },
    }
    if options.json and options.json != "-":
        write_json(Path(options.json), report)
    print(json.dumps(report, indent=1) if options.json else table(report))


def epochs(plan: Plan, options: argparse.Namespace) -> int:
    """Whole epochs that the dearest arm does in the budget; timed once and kept for the next try."""
    given = plan.config.model_dump() | {"minutes": options.minutes}
    run = Run(run_folder(KIND, f"{options.dataset}-budget", given))
    path = run.folder / _BUDGET
    if path.exists():
        return int(json.loads(path.read_text())["epochs"])
    trainer = replace(plan, config=of_arm("both", plan.config, options.weight)).trainer(1)
    batches = trainer.epoch_batches(0)
    some = [batches[place] for place in np.linspace(0, len(batches) - 1, _TIMED).astype(int)]
    start = time.process_time()
    for batch in some:
        trainer.step(batch)
    epoch_s = (time.process_time() - start) / len(some) * len(batches)
    number = int(np.clip(options.minutes * 60 // epoch_s, 1, plan.config.epochs))
    note(f"An epoch takes {epoch_s:.0f} processor s with both losses: {number} epochs an arm.")
    run.folder.mkdir(parents=True, exist_ok=True)
    write_json(path, {"epochs": number, "epoch_s": epoch_s})
    return number


def of_arm(name: str, config: InterestConfig, weight: float) -> InterestConfig:
    """The settings of an arm whose knowledge losses have this weight.

    Raises:
        InputError: there is no such arm.
    """
    if name not in ARMS:
        raise InputError(f"There is no arm {name!r}; choose from {', '.join(ARMS)}.")
    generation, reconstruction = ARMS[name]
    changes = {"generation": generation * weight, "reconstruction": reconstruction * weight}
    return config.model_copy(update=changes)


def arm(plan: Plan, name: str, dataset: str, stop: Stop) -> dict[str, Any]:
    """Train one arm, or go on with it: its figures, and `hits`, HR@200 and N@10 of each case."""
    given = {"config": plan.config.model_dump(), "histories": plan.record.histories, "arm": name}
    folder = run_folder(KIND, dataset, given)
    if (earlier := Run(folder).finished()) is not None:
        return earlier
    resume = (folder / STATE).exists()
    start, cpu = time.perf_counter(), time.process_time()
    run = open_run(KIND, dataset, given, resume)
    steps = len(plan.trainer(1).epoch_batches(0)) * plan.config.epochs
    loop = InterestLoop(plan, run, steps, start)
    if resume:
        loop.restore()
    note(f"Arm {name}:")
    loop.train(stop)
    model = loop.best_model()
    hits = ask(model, plan.cases)
    inside = diagnose(model, plan.material.histories)
    figures = {"hr@200": float(hits[:, 0].mean()), "n@10": float(hits[:, 1].mean())}
    figures |= {key: round(inside[key], 4) for key in SHOWN}
    figures |= {"steps": steps, "best_epoch": loop.course.best_epoch + 1}
    figures |= {"processor_s": round(time.process_time() - cpu)}
    result = figures | {"hits": hits.round(6).tolist()}
    run.finish(result)
    return result


def ask(model: Interest, cases: Cases) -> NDArray[np.float64]:
    """(n, 2) whether the target is among the first 200, and its N@10; history dropped."""

    def one_block(part: Cases) -> NDArray[np.float64]:
        scores = model.scores(part.histories)
        drop_history(scores, part.histories, part.targets)
        places = standing(scores, part.targets)
        return np.stack([places.recall(200), places.ndcg(10)], axis=1)

    return np.concatenate(by_blocks(one_block, cases, len(model.item_vectors)))


def compare(
    one: NDArray[np.float64], other: NDArray[np.float64], cases: Cases
) -> dict[str, dict[str, Any]]:
    """Differences of (n, 2) HR@200 and N@10 with their intervals."""
    means = resampled_means(one - other, cases.users, RESAMPLES, 0)
    return {
        metric: {
            "delta": float((one - other)[:, place].mean()),
            "interval": interval(means[:, place]),
        }
        for place, metric in enumerate(("hr@200", "n@10"))
    }


def table(report: dict[str, Any]) -> str:
    """The figures of all arms as lines of one table, and the differences below it."""
    columns = ("hr@200", "n@10", *SHOWN, "processor_s")
    lines = ["  ".join(["arm".ljust(14), *(name.rjust(16) for name in columns)])]
    for name, figures in report["arms"].items():
        cells = (f"{figures[column]:16.4f}" for column in columns)
        lines.append("  ".join([name.ljust(14), *cells]))
    for name, pair in report["pairs"].items():
        for metric, found in pair.items():
            low, high = found["interval"]
            lines.append(f"{name} {metric} {found['delta']:+.4f} [{low:+.4f}, {high:+.4f}]")
    return "\n".join(lines)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="amazon-beauty")
    parser.add_argument("--preset", default="cpu")
    parser.add_argument("--minutes", type=float, default=30, help="of one core, for each arm")
    parser.add_argument("--weight", type=float, default=0.1, help="of each knowledge loss")
    parser.add_argument("--set", action="append", default=[], metavar="interest.FIELD=VALUE")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
