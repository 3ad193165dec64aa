"""Answers sampled from the policy: batched, the prompt computed once a group, held to the JSON schema.

On a CPU sampling takes most of reinforcement's time. Here a group's prompt is read once and its keys
and values are shared by the group; the grammar keeps answers readable, so that they are short; rows that
have ended leave the batch; and a copy of the model with the LoRA added in saves two small products in
every layer and token.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from pydantic import BaseModel

from foretaste.finetune.grouped_attention import use_grouped_attention
from foretaste.serving.chat_json import schema_text


class Writer:
    """Samples answers that fit a schema. Safe for one thread.

    Args:
        tokenizer: of the model.
        vocabulary: logits of the model, which may be more than the tokenizer knows.
        schema: what every answer must fit.
        max_tokens: tokens of an answer, at most; one that is cut off has no end mark.
    """

    def __init__(
        self, tokenizer: Any, vocabulary: int, schema: type[BaseModel], max_tokens: int
    ) -> None:
        import xgrammar

        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocabulary)
        self._grammar = xgrammar.GrammarCompiler(info, max_threads=1).compile_json_schema(
            schema_text(schema), any_whitespace=False, separators=(",", ":")
        )
        self._vocabulary, self.max_tokens = vocabulary, max_tokens
        self._pad = tokenizer.pad_token_id

    def write(
        self, model: Any, prompts: Sequence[list[int]], temperature: float, seed: int
    ) -> list[list[int]]:
        """One answer a prompt, as tokens with the end mark; equal neighbours share their prefix.

        Args:
            model: a causal model of transformers.
            prompts: token ids; a group is the same prompt several times in a row.
            temperature: 0 takes the likeliest token.
            seed: of the draws.
        """
        groups = [(list(prompt), len(list(same))) for prompt, same in groupby(prompts)]
        draw = torch.Generator().manual_seed(seed)
        device = next(model.parameters()).device
        with torch.inference_mode():
            logits, cache, mask = self._read(model, groups, device)
            return self._continue(model, logits, cache, mask, temperature, draw)

    def _read(
        self, model: Any, groups: Sequence[tuple[list[int], int]], device: Any
    ) -> tuple[Any, Any, Any]:
        """Next-token logits (rows, vocabulary), keys and values, and mask (rows, width) of all rows."""
        width = max(len(prompt) for prompt, _ in groups)
        ids = torch.full((len(groups), width), self._pad)  # (groups, width), padded on the left
        mask = torch.zeros(len(groups), width, dtype=torch.long)
        for row, (prompt, _) in enumerate(groups):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        out = model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            position_ids=_positions(mask).to(device),
            use_cache=True,
            logits_to_keep=1,
        )
        rows = torch.tensor([row for row, (_, count) in enumerate(groups) for _ in range(count)])
        out.past_key_values.batch_select_indices(rows.to(device))
        return out.logits[:, -1].cpu()[rows], out.past_key_values, mask[rows]

    def _continue(
        self, model: Any, logits: Any, cache: Any, mask: Any, temperature: float, draw: Any
    ) -> list[list[int]]:
        """Token after token until every row has ended or is cut off."""
        import xgrammar

        device = next(model.parameters()).device
        written: list[list[int]] = [[] for _ in range(len(logits))]
        live = torch.arange(len(logits))  # number of the answer in each row of the batch
        matchers = [xgrammar.GrammarMatcher(self._grammar) for _ in written]
        allowed = xgrammar.allocate_token_bitmask(len(logits), self._vocabulary)
        for _ in range(self.max_tokens):
            for row, number in enumerate(live.tolist()):
                if not matchers[number].is_terminated():
                    matchers[number].fill_next_token_bitmask(allowed, row)
            scores = logits.float()
            xgrammar.apply_token_bitmask_inplace(scores, allowed[: len(live)])
            tokens = _drawn(scores, temperature, draw)  # (rows,)
            for row, number in enumerate(live.tolist()):
                if not matchers[number].is_terminated():
                    matchers[number].accept_token(int(tokens[row]))
                    written[number].append(int(tokens[row]))
            going = torch.tensor([not matchers[n].is_terminated() for n in live.tolist()])
            if not going.any():
                break
            if going.sum() * 2 <= len(going):  # half of the rows have ended: the rest go on alone
                rest = going.nonzero().squeeze(-1)
                live, tokens, mask = live[rest], tokens[rest], mask[rest]
                cache.batch_select_indices(rest.to(device))
            mask = torch.cat([mask, torch.ones(len(mask), 1, dtype=torch.long)], dim=1)
            out = model(
                input_ids=tokens[:, None].to(device),
                attention_mask=mask.to(device),
                position_ids=_positions(mask)[:, -1:].to(device),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            logits = out.logits[:, -1].cpu()
        return written


class MergedCopy:
    """A copy of a policy's base model with the policy's LoRA added into its weights.

    Args:
        policy: a peft model; its base weights are never changed.
    """

    def __init__(self, policy: Any) -> None:
        from copy import deepcopy

        from peft.tuners.lora import LoraLayer

        self._layers = {
            name: layer
            for name, layer in policy.get_base_model().named_modules()
            if isinstance(layer, LoraLayer)
        }
        with torch.no_grad():
            self.model = _without_lora(deepcopy(policy))
        self._targets = dict(self.model.named_modules())
        use_grouped_attention(self.model)

    def refresh(self) -> Any:
        """The copy with the LoRA as it is now."""
        with torch.no_grad():
            for name, layer in self._layers.items():
                weight = layer.get_base_layer().weight
                delta = layer.get_delta_weight("default")
                self._targets[name].weight.copy_(weight.float() + delta.float())
        return self.model


def _without_lora(policy: Any) -> Any:
    """The base model of a peft model that nobody else uses, its own layers in place again."""
    model = policy.unload()
    model.requires_grad_(False)
    return model.eval()


def _drawn(scores: Any, temperature: float, draw: Any) -> Any:
    """(rows,) a token for each row of logits."""
    if temperature == 0:
        return scores.argmax(dim=-1)
    shares = (scores / temperature).softmax(dim=-1).cumsum(dim=-1)
    whole = shares[:, -1:]
    at = torch.rand(len(shares), 1, generator=draw) * whole
    at = at.minimum(whole.nextafter(torch.zeros_like(whole)))  # rounded up it would lie behind all
    return torch.searchsorted(shares, at, right=True).squeeze(-1)


def _positions(mask: Any) -> Any:
    return (mask.cumsum(dim=1) - 1).clamp(min=0)
