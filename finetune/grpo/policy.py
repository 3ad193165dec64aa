"""TRL's GRPOTrainer where a group's prompt is computed once, and rollouts are our own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from trl import GRPOTrainer

from foretaste.serving.prefixes import continued


class SharedPromptTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO whose log-probabilities share what equal prompts have in common.

    In one process a prompt of p tokens with g answers of a tokens costs p + g·a tokens a pass instead of
    g·(p + a). In several processes TRL's own way is used, as gradients must pass its wrapper.

    Args:
        blocks: see `adapted_blocks`; peft forgets it whenever it goes to the reference and back.
        given: the arguments of GRPOTrainer.
    """

    def __init__(self, blocks: int, **given: Any) -> None:
        super().__init__(**given)
        self.blocks = blocks

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Any,
        attention_mask: Any,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        **other: Any,
    ) -> tuple[Any, Any, Any]:
        """(n, logits_to_keep) log-probabilities and entropies of the answers' tokens, 0 where padded."""
        causal = self.accelerator.unwrap_model(model).get_base_model()
        adapted_blocks(causal, self.blocks)
        if self.accelerator.num_processes > 1:
            return super()._get_per_token_logps_and_entropies(  # type: ignore[no-any-return]
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size=batch_size,
                compute_entropy=compute_entropy,
                **other,
            )
        size = batch_size or len(input_ids)
        with self.accelerator.autocast():
            parts = [
                shared_logps(
                    causal,
                    input_ids[start : start + size],
                    attention_mask[start : start + size],
                    logits_to_keep,
                    self.temperature,
                )
                for start in range(0, len(input_ids), size)
            ]
        logps = torch.cat([one for one, _ in parts])
        return logps, torch.cat([one for _, one in parts]) if compute_entropy else None, None


def shared_logps(
    causal: Any, input_ids: Any, attention_mask: Any, kept: int, temperature: float
) -> tuple[Any, Any]:
    """Log-probabilities and entropies of the last `kept` places, each different prompt read once.

    Args:
        causal: a causal model of transformers.
        input_ids: (n, t) prompts padded on the left, answers on the right.
        attention_mask: (n, t)
        kept: places of the answers, at the right end.
        temperature: that the answers were sampled with.

    Returns:
        (n, kept) log-probabilities, and (n, kept) entropies without gradient; 0 where padded.
    """
    prompts = _rows(input_ids[:, :-kept], attention_mask[:, :-kept])
    answers = _rows(input_ids[:, -kept:], attention_mask[:, -kept:])
    number = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
    owners = [number[prompt] for prompt in prompts]
    last, states = continued(causal.model, list(number), owners, answers)
    before = torch.cat([last[owners][:, None], states[:, :-1]], dim=1)  # (n, longest, d)
    real = attention_mask[:, -kept:].bool()  # (n, kept)
    logits = causal.lm_head(before[real[:, : before.shape[1]]]).float() / temperature
    shares = logits.log_softmax(dim=-1)  # (tokens, vocabulary)
    told = shares.gather(-1, input_ids[:, -kept:][real][:, None]).squeeze(-1)  # (tokens,)
    with torch.no_grad():
        spread = -(shares.exp() * shares).sum(dim=-1)
    logps = told.new_zeros(real.shape).masked_scatter(real, told)
    return logps, torch.zeros_like(logps).masked_scatter(real, spread)


def _rows(ids: Any, mask: Any) -> list[tuple[int, ...]]:
    """The real tokens of each row."""
    return [tuple(row[shown.bool()].tolist()) for row, shown in zip(ids, mask, strict=True)]


def adapted_blocks(causal: Any, blocks: int) -> None:
    """Leave only the LoRA of the upper blocks to be trained, so that backward ends below them.

    Args:
        causal: the model inside a peft model.
        blocks: how many; 0 leaves everything as it is.
    """
    layers = causal.model.layers
    for layer in layers[: len(layers) - blocks] if blocks else []:
        layer.requires_grad_(False)


Rollout = Callable[[Sequence[list[dict[str, str]]], Any], dict[str, Any]]


def rollouts(
    tokenizer: Any,
    write: Callable[[Any, list[list[int]], int], list[list[int]]],
    merged: Callable[[], Any] | None,
    seed: Callable[[], int],
) -> Rollout:
    """What TRL asks for answers.

    Args:
        tokenizer: with the chat template.
        write: model, prompts as tokens, seed → answers as tokens.
        merged: gives a copy of the policy with its LoRA added in; the policy itself when None.
        seed: of the sampling of the step under way; each process adds its number.
    """

    def asked(prompts: Sequence[list[dict[str, str]]], trainer: Any) -> dict[str, Any]:
        tokens = [tokens_of(tokenizer, prompt) for prompt in prompts]
        policy = trainer.accelerator.unwrap_model(trainer.model)
        was = policy.training
        policy.eval()
        own = seed() + trainer.accelerator.process_index
        answers = write(merged() if merged else policy, tokens, own)
        policy.train(was)
        return {"prompt_ids": tokens, "completion_ids": answers, "logprobs": None}

    return asked


def tokens_of(tokenizer: Any, prompt: Sequence[dict[str, str]]) -> list[int]:
    """A conversation as tokens, with the mark that an answer follows."""
    encoded = tokenizer.apply_chat_template(
        list(prompt), add_generation_prompt=True, return_dict=True
    )
    tokens: list[int] = encoded["input_ids"]
    return tokens
