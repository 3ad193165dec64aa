"""TRL's trainer over the steps that are left, with our rollouts, rewards and schedule."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset as Table
from trl import GRPOConfig as TrlConfig

from foretaste.finetune.grpo.keeper import Keeper
from foretaste.finetune.grpo.policy import (
    SharedPromptTrainer,
    adapted_blocks,
    rollouts,
    shared_logps,
    tokens_of,
)
from foretaste.finetune.grpo.rewards import Thresholds
from foretaste.finetune.grpo.scoring import Question, summary

if TYPE_CHECKING:
    from foretaste.finetune.grpo.train import Job

_WARM = 2  # steps over which the rate rises


def build(job: Job, keeper: Keeper, folder: Path) -> SharedPromptTrainer:
    """The trainer over the questions that are not done yet.

    Its reference, which KL is measured to, is the adapter as it is now.
    """
    config, model = job.config, job.loaded.model
    adapted_blocks(model.get_base_model(), config.blocks)
    learnt = [value for value in model.parameters() if value.requires_grad]
    keeper.optimizer = optimizer = torch.optim.AdamW(learnt, lr=config.rate, weight_decay=0.0)
    done = keeper.course.step
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (done + step + 1) / _WARM)
    )
    left = job.questions[done * config.batch_prompts :]
    table = Table.from_dict(
        {
            "prompt": [list(question.prompt) for question in left],
            "number": list(range(done * config.batch_prompts, len(job.questions))),
        }
    )
    sampler = job.copy.refresh if job.copy else None
    return SharedPromptTrainer(
        config.blocks,
        model=model,
        reward_funcs=rewarded(job, keeper),
        args=arguments(job, folder, len(left) // config.batch_prompts),
        train_dataset=table,
        processing_class=job.loaded.tokenizer,
        optimizers=(optimizer, schedule),
        callbacks=[keeper],
        rollout_func=rollouts(job.loaded.tokenizer, timed(job, keeper), sampler, keeper.step_seed),
    )


def arguments(job: Job, folder: Path, steps: int) -> TrlConfig:
    """TRL's settings: advantages centred by the group's mean, no second pass over a batch."""
    config, cpu = job.config, not torch.cuda.is_available()
    batch = config.group * config.batch_prompts
    return TrlConfig(
        output_dir=str(folder),
        use_cpu=cpu,
        bf16=job.loaded.kind == "bfloat16",  # autocast; the LoRA stays in float32
        max_steps=max(steps, 1),
        per_device_train_batch_size=config.micro,
        gradient_accumulation_steps=batch // config.micro,
        num_generations=config.group,
        max_completion_length=config.max_tokens,
        temperature=config.temperature,
        beta=config.beta,
        loss_type="grpo",
        scale_rewards="none",
        shuffle_dataset=False,
        gradient_checkpointing=False,
        max_grad_norm=1.0,
        save_strategy="no",
        logging_steps=1,
        report_to=job.config.report or "none",
        disable_tqdm=True,
        seed=config.seed,
        dataloader_pin_memory=not cpu,
    )


def timed(job: Job, keeper: Keeper) -> Callable[[Any, list[list[int]], int], list[list[int]]]:
    """The writer, with tokens and seconds counted."""

    def write(model: Any, prompts: list[list[int]], seed: int) -> list[list[int]]:
        start = time.perf_counter()
        answers = job.writer.write(model, prompts, job.config.temperature, seed)
        keeper.course.rollout_s += time.perf_counter() - start
        keeper.course.tokens += sum(len(answer) for answer in answers)
        return answers

    return write


def rewarded(job: Job, keeper: Keeper) -> Callable[..., list[float]]:
    """The reward that TRL asks for; its parts are kept for the curve."""
    thresholds = Thresholds.model_validate(keeper.course.thresholds)

    def reward(
        completions: Sequence[list[dict[str, str]]], number: Sequence[int], **given: Any
    ) -> list[float]:
        asked: list[Question] = [job.questions[place] for place in number]
        scored = job.scoring.score(asked, [turns[-1]["content"] for turns in completions])
        combined = [job.scoring.combined(one.rewards, thresholds) for one in scored]
        keeper.step_figures = summary(scored, combined, thresholds)
        return combined

    return reward


def one_pass(job: Job) -> float:
    """Seconds of one forward and backward over `config.micro` answers; nothing is changed."""
    config, tokenizer = job.config, job.loaded.tokenizer
    shown = job.questions[: config.batch_prompts]
    prompts = [tokens_of(tokenizer, question.prompt) for question in shown]
    width, answer = max(map(len, prompts)), config.max_tokens // 2
    ids = torch.zeros(config.micro, width + answer, dtype=torch.long)
    mask = torch.ones_like(ids)
    for row in range(config.micro):
        prompt = prompts[row % len(prompts)]
        ids[row, width - len(prompt) : width] = torch.tensor(prompt)
        mask[row, : width - len(prompt)] = 0
    device = job.loaded.model.device
    start = time.perf_counter()
    with torch.autocast(device.type, torch.bfloat16, enabled=job.loaded.kind == "bfloat16"):
        logps, _ = shared_logps(
            job.loaded.model.get_base_model(), ids.to(device), mask.to(device), answer, 1.0
        )
    logps.mean().backward()
    job.loaded.model.zero_grad(set_to_none=True)
    return (time.perf_counter() - start) * 4 / 3  # and the reference's forward
