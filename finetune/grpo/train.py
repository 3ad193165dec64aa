"""`foretaste finetune grpo`: from a supervised adapter to a reinforced one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foretaste.agents.config import AgentsConfig
from foretaste.agents.reasoning.expert import expert_messages
from foretaste.agents.retrieval.tools import Tools, load_tools
from foretaste.agents.wording import prompting
from foretaste.agents.wording.schemas import ExpertAnswer, with_room
from foretaste.data.errors import InputError
from foretaste.data.files import safe_name, subfolder
from foretaste.data.progress import meter, note
from foretaste.data.store import load_dataset
from foretaste.finetune.grouped_attention import use_grouped_attention
from foretaste.finetune.grpo.config import GrpoConfig
from foretaste.finetune.grpo.keeper import Course, Keeper, restore
from foretaste.finetune.grpo.policy import tokens_of
from foretaste.finetune.grpo.rewards import NOTHING, Thresholds, quantiles
from foretaste.finetune.grpo.rollout import MergedCopy, Writer
from foretaste.finetune.grpo.scoring import (
    Aligner,
    Leaves,
    Question,
    Scored,
    Scoring,
    summary,
)
from foretaste.finetune.grpo.trainer import build, one_pass
from foretaste.finetune.language_model import (
    Loaded,
    export_adapter,
    load_base,
    load_lora_state,
    lora_state,
    with_adapter,
)
from foretaste.finetune.moments import moments
from foretaste.finetune.runs import Estimate, Run, open_run, peak_mb, run_folder, stoppable
from foretaste.finetune.states import taken_up
from foretaste.judge.ranking.bootstrap import interval, resampled_means
from foretaste.serving.adapters import check_adapter
from foretaste.serving.reward import RewardModel, context_of, reward_folder
from foretaste.serving.shipped import adapter_folder, record_of

KIND = "grpo"
_MAX_RANK = 256
RESAMPLES = 2000  # of the test people


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        config: settings.
        loaded: the policy: base model and the adapter that is trained further.
        questions: prompts in the order of the steps, `config.batch_prompts` a step.
        held: prompts of other people that choose the checkpoint.
        test: prompts of still other people, asked once at the end.
        scoring: what answers earn.
        writer: samples answers.
        copy: the policy with its LoRA added in, or None to sample from the policy itself.
    """

    config: GrpoConfig
    loaded: Loaded
    questions: list[Question]
    held: list[Question]
    test: list[Question]
    scoring: Scoring
    writer: Writer
    copy: MergedCopy | None

    def sampler(self) -> Any:
        """The model that answers are sampled from, as the policy is now."""
        return self.copy.refresh() if self.copy else self.loaded.model

    def texts(self, questions: Sequence[Question], temperature: float, seed: int) -> list[str]:
        """One answer to each question; equal neighbours share their prompt."""
        prompts = [tokens_of(self.loaded.tokenizer, question.prompt) for question in questions]
        model, size = self.sampler(), self.config.group * self.config.batch_prompts
        self.loaded.model.eval()
        written = [
            answer
            for at in range(0, len(prompts), size)
            for answer in self.writer.write(model, prompts[at : at + size], temperature, seed + at)
        ]
        self.loaded.model.train()
        texts: list[str] = self.loaded.tokenizer.batch_decode(written, skip_special_tokens=True)
        return texts

    def answers(self, questions: Sequence[Question], temperature: float, seed: int) -> list[Scored]:
        """What one answer to each question earns."""
        return self.scoring.score(questions, self.texts(questions, temperature, seed))


def train(
    name: str,
    adapter: str,
    config: GrpoConfig,
    out: str,
    resume: bool = False,
    tools: Tools | None = None,
    aligner: Aligner | Path | None = None,
) -> dict[str, Any]:
    """Reinforce an adapter's experts, and export the best checkpoint into `<home>/adapters/<out>`.

    Args:
        name: of an imported data set.
        adapter: the supervised adapter: name in the store, of a shipped one, or a folder.
        config: settings.
        out: name of what comes out.
        resume: go on where an earlier try with the same settings stopped.
        tools: of the agents; loaded with the adapter's own settings when None.
        aligner: the reward model or its folder; the one in use for the data set when None.

    Returns:
        The result that is saved with the run: thresholds, validation and test of the start and of
        the best step, why it ended, wall_s, peak_mb, best_step (0: nothing was better than the start).

    Raises:
        InputError: no adapter, no reward model, nobody to learn from, or no room.
        KeyboardInterrupt: somebody asked to stop; the state is saved.
    """
    start = time.perf_counter()
    safe_name(out)
    torch.set_num_threads(config.threads)
    folder = adapter_folder(adapter)
    record, dataset = record_of(folder), load_dataset(name)
    given = reward_folder(name) if aligner is None else aligner
    rewards = given.name if isinstance(given, Path) else ""
    settings = {
        "config": config.model_dump(),
        "adapter": check_adapter(folder, _MAX_RANK),
        "reward_model": rewards,
        "data": dataset.info.fingerprint,
        "prompts": prompting.fingerprint(),
    }
    main = int(os.environ.get("RANK", "0")) == 0  # of several processes, the one that writes
    run = open_run(KIND, name, settings, resume) if main else Run(run_folder(KIND, name, settings))
    if resume and (result := run.finished()):
        note(f"This run is finished; its result stands in {run.folder}.")
        return result
    agents = AgentsConfig.model_validate(record.get("agents", {}))
    tools = tools or load_tools(dataset, agents)
    judge = RewardModel.load(given) if isinstance(given, Path) else given
    loaded = _policy(config.base or record.get("base", ""), adapter, folder)
    job, first = prepare(config, loaded, tools, judge), lora_state(loaded.model)
    with stoppable() as stop:
        course, tensors = taken_up(run, resume, Course())
        earlier_s = course.wall_s
        estimate = _measured(job, course)
        estimate.check(run.folder)
        with meter("Reinforcing", config.steps - course.step, "steps") as progress:
            measure = _validation(job, course)
            keeper = Keeper(job.loaded, config, run, course, stop, progress, measure, main)
            trainer = build(job, keeper, run.folder / "trl")  # remembers the start as its reference
            if tensors:
                restore(loaded, keeper, tensors)
            if course.step < config.steps and not course.ended:
                trainer.train()
        if keeper.interrupted:
            note("Saved; the same command with --resume goes on from here.")
            raise KeyboardInterrupt
    told: dict[str, Any] = {"start": adapter, "reward_model": rewards}
    told |= {"test": tested(job, course, first, keeper.best)}
    result = _result(job, course, estimate, earlier_s + time.perf_counter() - start) | told
    if not main:
        return result
    target = subfolder("adapters") / out
    about = {key: value for key, value in record.items() if key not in ("sha256", "base")}
    digest = export_adapter(loaded, target, about | {"reinforced": {"dataset": name, **result}})
    result |= {"adapter": out, "folder": str(target), "sha256": digest, "run": run.folder.name}
    run.finish(result)
    return result


def prepare(config: GrpoConfig, loaded: Loaded, tools: Tools, aligner: Aligner | None) -> Job:
    """Prompts, what is right for each, and everything that answers are made and scored with.

    Raises:
        InputError: too few people.
    """
    leaves = Leaves(tools)
    sizes = config.prompts, config.validation_prompts, config.test_prompts
    found = list(islice(questions(tools, leaves, config), sum(sizes)))
    if len(found) < 3:
        raise InputError(
            f"Three people or more were expected whose next items have categories, and "
            f"{tools.dataset.name} has {len(found)}; import more interactions or categories."
        )
    third = len(found) // 3
    held, test = min(sizes[1], third), min(sizes[2], third)
    learnt = found[: len(found) - held - test]
    count = config.steps * config.batch_prompts
    in_order = [learnt[place % len(learnt)] for place in range(count)]
    schema = with_room(ExpertAnswer, tools.config.tags)
    vocabulary = loaded.model.config.vocab_size
    return Job(
        config,
        loaded,
        in_order,
        found[len(learnt) : len(learnt) + held],
        found[len(learnt) + held :],
        Scoring(tools, leaves, aligner, config, schema),
        Writer(loaded.tokenizer, vocabulary, schema, config.max_tokens),
        MergedCopy(loaded.model) if config.merged else None,
    )


def questions(tools: Tools, leaves: Leaves, config: GrpoConfig) -> Iterator[Question]:
    """One question a person: the expert's prompt as it is served, and the categories that came next."""
    for side in moments(tools, config.future, config.seed):
        wanted = leaves.of_items(side.future)
        if wanted:
            messages = expert_messages(tools, side.reader, side.persona)
            turns = tuple({"role": turn.role, "content": turn.text} for turn in messages)
            yield Question(
                side.owner,
                turns,
                context_of(messages[-1].text),
                wanted,
                side.next_rows,
                tuple(tools.dataset.rows(list(side.persona.evidence))),
            )


def tested(job: Job, course: Course, first: dict[str, Any], best: dict[str, Any]) -> dict[str, Any]:
    """What the start and the best step answer to people who trained nothing, sampled alike.

    The policy has the best weights afterwards.

    Returns:
        means of both, and the gain in accuracy with its 95 % interval over people.
    """
    thresholds = Thresholds.model_validate(course.thresholds)
    found = []
    for weights in (first, best):
        load_lora_state(job.loaded.model, weights)
        found.append(job.answers(job.test, job.config.temperature, job.config.seed))
    gain = np.array([b.rewards.accuracy - a.rewards.accuracy for a, b in zip(*found, strict=True)])
    means = resampled_means(gain[:, None], np.arange(len(gain)), RESAMPLES, job.config.seed)
    low, high = interval(means) or (0.0, 0.0)
    parts = [
        summary(one, [job.scoring.combined(o.rewards, thresholds) for o in one], thresholds)
        for one in found
    ]
    told = {"mean": float(gain.mean()), "low": low, "high": high}
    return {"people": len(gain), "start": parts[0], "best": parts[1], "accuracy_gain": told}


def _measured(job: Job, course: Course) -> Estimate:
    """Let the first model answer: that sets τ (kept on resume) and tells what a step takes."""
    config = job.config
    some = job.questions[: config.threshold_prompts]
    asked = [question for question in some for _ in range(config.group)]
    start = time.perf_counter()
    if not course.thresholds:
        scored = job.answers(asked, config.temperature, config.seed)
        course.thresholds = gates(scored, config.quantile).model_dump()
        note(f"Thresholds of the gates: {course.thresholds}")
    else:
        asked = asked[: config.group * config.batch_prompts]
        job.answers(asked, config.temperature, config.seed)
    answer_s = (time.perf_counter() - start) / len(asked)
    batch = config.group * config.batch_prompts
    pass_s = one_pass(job) * batch / config.micro
    left = config.steps - course.step
    validations = left // config.validate_every + 1
    seconds = left * (batch * answer_s + pass_s) + validations * len(job.held) * answer_s
    return Estimate(seconds, peak_mb() + 300, 100)


def gates(scored: Sequence[Scored], share: float) -> Thresholds:
    """τ from the answers that hold tags: those without would pull every gate open.

    Args:
        scored: answers of the first model.
        share: of the answers with tags that a gate stops, about.
    """
    return quantiles([one.rewards for one in scored if one.tags] or [NOTHING], share)


def _validation(job: Job, course: Course) -> Callable[[], dict[str, float]]:
    """Measures the policy on the held prompts: mean reward and its parts.

    Answers are sampled as those that set τ, with one seed for all steps: the likeliest answers of a
    small model repeat a tag, so that none of them would pass the gate of diversity.
    """

    def measure() -> dict[str, float]:
        thresholds = Thresholds.model_validate(course.thresholds)
        scored = job.answers(job.held, job.config.temperature, job.config.seed)
        combined = [job.scoring.combined(one.rewards, thresholds) for one in scored]
        return summary(scored, combined, thresholds)

    return measure


def _result(job: Job, course: Course, estimate: Estimate, wall_s: float) -> dict[str, Any]:
    """What came of it, and what it cost."""
    return {
        "combine": job.config.combine,
        "thresholds": course.thresholds,
        "prompts": len({question.owner for question in job.questions}),
        "validation_prompts": len(job.held),
        "steps": course.step,
        "best_step": course.best_step,
        "ended": course.ended or "all steps are done",
        "validation": {"start": course.validation[0], "best": course.best_row()},
        "completion_tokens_per_s": round(course.tokens / max(course.rollout_s, 1e-9), 1),
        "rollout_s": round(course.rollout_s, 1),
        "expected_s": round(estimate.seconds, 1),
        "wall_s": round(wall_s, 1),
        "peak_mb": peak_mb(),
        "seed": job.config.seed,
    }


def _policy(base: str, adapter: str, folder: Path) -> Loaded:
    """The adapter on its base model, to be trained, on this process's device."""
    if not base:
        raise InputError(
            f"The adapter {adapter} does not say which model it is of; give --set grpo.base=MODEL."
        )
    loaded = with_adapter(load_base(base), folder, trained=True)
    if torch.cuda.is_available():
        loaded.model.to(torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))))
    use_grouped_attention(loaded.model.get_base_model())
    return loaded
