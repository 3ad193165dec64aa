"""`foretaste finetune flywheel`: samples → tiers → reward model → GRPO → evaluation, again and again.

RecGPT-V2 (arXiv 2512.14503, section 5): the policy's own answers are judged, the judge is distilled into
a reward model, and the policy is reinforced with it. A round's policy is kept only when it finds more of
what people chose next than the one before. What a step made is kept, so a stopped flywheel goes on there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from foretaste.agents.config import AgentsConfig
from foretaste.agents.retrieval.tools import Tools, load_tools
from foretaste.data.errors import InputError
from foretaste.data.files import read_json, replacing, safe_name, subfolder, write_json
from foretaste.data.progress import note
from foretaste.data.store import load_dataset
from foretaste.finetune.grpo.config import GrpoConfig
from foretaste.finetune.grpo.scoring import Leaves, Question
from foretaste.finetune.grpo.train import Job, prepare, questions
from foretaste.finetune.grpo.train import train as reinforce
from foretaste.finetune.language_model import load_base, with_adapter
from foretaste.finetune.reward.config import RewardConfig
from foretaste.finetune.reward.train import train as distil
from foretaste.finetune.runs import Run, open_run, peak_mb
from foretaste.finetune.sft.export import export_to
from foretaste.judge.objects import Case, Judgement, Tier
from foretaste.serving.shipped import adapter_folder, record_of

KIND = "flywheel"
GENERAL = 0.25  # share of the catalogue that a tag may match before it says too little
CASES, VERDICTS = "cases.jsonl", "verdicts.jsonl"


@dataclass(frozen=True)
class Wheel:
    """What every round needs.

    Attributes:
        name: of the data set.
        tools: of the agents, with the adapter's own settings.
        grpo, reward: settings of the two trainings.
        run: where steps are kept.
        out: name of what comes out.
    """

    name: str
    tools: Tools
    grpo: GrpoConfig
    reward: RewardConfig
    run: Run
    out: str


def flywheel(
    name: str,
    adapter: str,
    out: str,
    rounds: int,
    grpo: GrpoConfig,
    reward: RewardConfig,
    resume: bool = False,
    tools: Tools | None = None,
) -> dict[str, Any]:
    """Turn the flywheel; the adapter that came last and was kept is exported as `out`.

    Args:
        name: of an imported data set.
        adapter: where it begins: name in the store, of a shipped one, or a folder.
        out: name of what comes out.
        rounds: how often.
        grpo, reward: settings of the two trainings.
        resume: go on where an earlier try with the same settings stopped.
        tools: of the agents; loaded with the adapter's own settings when None.

    Returns:
        One entry a round (tiers, figures of the reward model, accuracy before and after, kept).

    Raises:
        InputError: no adapter, or too few people.
    """
    safe_name(out)
    dataset, record = load_dataset(name), record_of(adapter_folder(adapter))
    settings = {
        "adapter": record.get("sha256", adapter),
        "data": dataset.info.fingerprint,
        "grpo": grpo.model_dump(),
        "reward": reward.model_dump(),
        "out": out,
    }
    run = open_run(KIND, name, settings, resume)
    if resume and (finished := run.finished()):
        note(f"This run is finished; its result stands in {run.folder}.")
        return finished
    run.save_state({}, {})  # from now on there is something to resume
    agents = AgentsConfig.model_validate(record.get("agents", {}))
    wheel = Wheel(name, tools or load_tools(dataset, agents), grpo, reward, run, out)
    told, current = [], adapter
    for number in range(1, rounds + 1):
        row = _round(wheel, number, current)
        told.append(row)
        current = row["adapter"] if row["kept"] else current
        note(
            f"Round {number}: accuracy {row['before']:.4f} → {row['after']:.4f}, "
            f"{'kept' if row['kept'] else 'not kept'}"
        )
    export_to(current, subfolder("adapters") / out)
    result = {
        "dataset": name,
        "start": adapter,
        "adapter": out,
        "kept": current,
        "rounds": told,
        "peak_mb": peak_mb(),
        "run": run.folder.name,
    }
    run.finish(result)
    return result


def _round(wheel: Wheel, number: int, current: str) -> dict[str, Any]:
    """One round from an adapter; each step is done once."""
    folder = wheel.run.folder / f"round-{number}"
    folder.mkdir(exist_ok=True)
    after = f"{wheel.out}-round-{number}"
    tiers = _once(folder / "samples.json", lambda: _sampled(wheel, current, folder, number))
    given = (folder / CASES, folder / VERDICTS)
    learnt = _once(
        folder / "reward.json",
        lambda: _going_on(
            lambda again: distil(wheel.name, wheel.reward, again, given, wheel.tools)
        ),
    )
    judge = subfolder("rewards", wheel.name) / safe_name(learnt["folder"])
    trained = _once(
        folder / "grpo.json",
        lambda: _going_on(
            lambda again: reinforce(
                wheel.name, current, wheel.grpo, after, again, wheel.tools, judge
            )
        ),
    )
    test = trained["test"]
    return {
        "round": number,
        "adapter": after,
        "tiers": tiers,
        "reward_model": learnt["validation"],
        "best_step": trained["best_step"],
        "ended": trained["ended"],
        "people": test["people"],
        "before": test["start"]["accuracy"],
        "after": test["best"]["accuracy"],
        "gain": test["accuracy_gain"],
        "kept": test["accuracy_gain"]["mean"] > 0,
    }


def _once(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a step made, from its file when it was done before."""
    if not path.exists():
        write_json(path, make())
    return dict(read_json(path))


def _going_on(step: Callable[[bool], dict[str, Any]]) -> dict[str, Any]:
    """A training: where it was stopped, else from its beginning."""
    try:
        return step(True)
    except InputError:  # there is nothing to resume, or a fault that the next line says again
        return step(False)


def _job(wheel: Wheel, adapter: str) -> Job:
    """An adapter, ready to answer."""
    folder = adapter_folder(adapter)
    base = load_base(wheel.grpo.base or record_of(folder)["base"])
    return prepare(wheel.grpo, with_adapter(base, folder), wheel.tools, None)


def _sampled(wheel: Wheel, adapter: str, folder: Path, number: int) -> dict[str, Any]:
    """Let the policy answer, and judge every different tag in hindsight, as files of a judge."""
    job, config = _job(wheel, adapter), wheel.grpo
    leaves = Leaves(wheel.tools)
    asked = list(islice(questions(wheel.tools, leaves, config), config.prompts))
    repeated = [question for question in asked for _ in range(config.group)]
    texts = job.texts(repeated, config.temperature, config.seed + number)
    cases, verdicts = [], []
    for place, question in enumerate(asked):
        own = texts[place * config.group : (place + 1) * config.group]
        tags = dict.fromkeys(tag for text in own for tag in job.scoring.tags(text) or ())
        for row, tag in enumerate(tags):
            known = {"id": f"{place}-{row}", "group": question.owner}
            context = tuple(question.context.splitlines())
            cases.append(Case(**known, context=context, answer=(tag,)))
            verdicts.append(Judgement(**known, tier=tier(tag, question, wheel.tools, leaves)))
    _write(folder / CASES, cases)
    _write(folder / VERDICTS, verdicts)
    return {name: sum(one.tier == name for one in verdicts) for name in ("S", "A", "B")}


def tier(tag: str, question: Question, tools: Tools, leaves: Leaves) -> Tier:
    """The tier of a tag in hindsight.

    S: it matches an item that was chosen next. A: it stands for a category of what the persona rests on.
    B: the rest, and whatever matches nothing or more than a quarter of the catalogue.
    """
    rows = tools.lexicon.matching(tag)
    if not 0 < len(rows) <= GENERAL * len(tools.dataset.item_ids):
        return "B"
    if set(rows.tolist()) & set(question.next_rows):
        return "S"
    return "A" if leaves.of_tags([tag])[0] in leaves.of_items(question.evidence) else "B"


def _write(path: Path, rows: Sequence[Case | Judgement]) -> None:
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row.model_dump(mode="json"), ensure_ascii=False) + "\n")
