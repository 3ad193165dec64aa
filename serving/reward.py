"""The judge distilled into one number: a language model with a scalar head (RecGPT-V2, Judge-as-a-Reward).

A saved reward model is a folder: a LoRA adapter as peft writes it, `head.safetensors`, and `reward.json`
(its base model, what it was trained on, how well it did). The base model itself stays in the store.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from foretaste.data.errors import InputError, ModelError
from foretaste.data.files import check_sums, home, read_json, safe_name
from foretaste.serving.adapters import check_adapter
from foretaste.serving.arithmetic import fast_bfloat16
from foretaste.serving.prefixes import continued
from foretaste.serving.shipped import intact, shipped_folder
from foretaste.serving.store import model_folder

RECORD, HEAD = "reward.json", "head.safetensors"
POINTER = "current.json"  # beside the reward models of a data set: which of them is in use
MAX_RANK = 64
_TOGETHER = 64  # answers of one context in one forward pass
_DATA = re.compile(r"<data>\s*(.*?)\s*</data>", re.DOTALL)


class RewardRecord(BaseModel, frozen=True):
    """What a reward model was made from, and how well it did.

    Attributes:
        base: name of the base model, as the store knows it.
        dataset, fingerprint: of the data.
        source: where the tiers came from: `hindsight`, or the judge's name.
        loss: `listwise` or `pointwise`.
        prompts: fingerprint of the prompts whose data the contexts are.
        context_tokens, answer_tokens: what is read of a context and of an answer, at most.
        validation: figure → value, on groups that were not trained on.
    """

    base: str
    dataset: str
    fingerprint: str
    source: str
    loss: str
    prompts: str
    context_tokens: int = 512
    answer_tokens: int = 64
    validation: dict[str, float] = {}


class RewardNet(torch.nn.Module):  # type: ignore[misc]
    """f(context, answer): the hidden state at the end of the answer, through a linear head.

    Args:
        backbone: a decoder of transformers without its language-model head.
        width: numbers in its hidden state.
    """

    def __init__(self, backbone: Any, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = torch.nn.Linear(width, 1)
        torch.nn.init.normal_(self.head.weight, std=0.01)
        torch.nn.init.zeros_(self.head.bias)

    def forward(
        self, contexts: Sequence[list[int]], owners: Sequence[int], answers: Sequence[list[int]]
    ) -> Any:
        """(n,) float32 scores before the sigmoid; each context is computed once for all its answers.

        Args:
            contexts: token ids, at least one each.
            owners: for each of the n answers the number of its context.
            answers: token ids, at least one each.
        """
        _, states = continued(self.backbone, contexts, owners, answers)  # (n, longest, width)
        ends = torch.tensor([len(answer) - 1 for answer in answers])
        last = states[torch.arange(len(answers)), ends].float()  # (n, width)
        return self.head(last).squeeze(-1)


class Spelling:
    """How a context and an answer are turned into tokens: the same in training and in serving.

    Args:
        tokenizer: of the base model.
        context_tokens, answer_tokens: what is kept of each, at most; a long context keeps its end.
    """

    def __init__(self, tokenizer: Any, context_tokens: int, answer_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._context_tokens, self._answer_tokens = context_tokens, answer_tokens

    def context(self, text: str) -> list[int]:
        """Token ids of what is known."""
        ids: list[int] = self._tokenizer(f"{text}\nAnswer:", add_special_tokens=False)["input_ids"]
        return ids[-self._context_tokens :]

    def answer(self, text: str) -> list[int]:
        """Token ids of what is judged, with the end mark at which the score is read."""
        ids: list[int] = self._tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
        return [*ids[: self._answer_tokens], self._tokenizer.eos_token_id]


class RewardModel:
    """A trained reward model, ready to score. Made by `load`.

    Args:
        net: the network, its weights set.
        spelling: texts → tokens.
        record: what it was made from.
    """

    def __init__(self, net: RewardNet, spelling: Spelling, record: RewardRecord) -> None:
        self._net, self._spelling, self.record = net.eval(), spelling, record

    @classmethod
    def load(cls, folder: Path) -> RewardModel:
        """The reward model in a folder, in the fastest arithmetic of this processor.

        Raises:
            ModelError: no reward model there, a damaged one, or another base model than it needs.
        """
        record = read_record(folder)
        try:
            check_sums(folder)
        except OSError as error:
            raise ModelError(
                f"The reward model in {folder} is damaged ({error}); train it again with "
                "`foretaste finetune reward`."
            ) from error
        check_adapter(folder, MAX_RANK)
        net, tokenizer = _network(record, folder)
        spelling = Spelling(tokenizer, record.context_tokens, record.answer_tokens)
        return cls(net, spelling, record)

    def score(self, context: str, answers: Sequence[str]) -> NDArray[np.float32]:
        """(n,) float32 scores before the sigmoid, higher is better; compare them within a context.

        Args:
            context: what was known to the one who answered, such as `context_of` a prompt.
            answers: tags or sentences.

        Raises:
            InputError: the context says nothing.
        """
        if not context.strip():
            raise InputError(
                "A reward model reads an answer beside its context, which is empty here; "
                "give what is known about the person or the item."
            )
        ids = self._spelling.context(context)
        tokens = [self._spelling.answer(answer) for answer in answers]
        parts = [np.zeros(0, dtype=np.float32)]
        with torch.inference_mode():
            for start in range(0, len(tokens), _TOGETHER):
                some = tokens[start : start + _TOGETHER]
                parts.append(self._net([ids], [0] * len(some), some).numpy())
        return np.concatenate(parts)


def context_of(prompt: str) -> str:
    """What an agent's prompt says about the person: the text between its data marks.

    >>> context_of("Write tags. <data>\\nPersona: War films\\n</data> For example: …")
    'Persona: War films'

    A text without marks is taken as it is.
    """
    found = _DATA.findall(prompt)
    return "\n".join(found) if found else prompt


def read_record(folder: Path) -> RewardRecord:
    """The record of the reward model in a folder.

    Raises:
        ModelError: there is none.
    """
    path = folder / RECORD
    if not path.is_file() or not (folder / HEAD).is_file():
        raise ModelError(
            f"A reward model ({RECORD} and {HEAD}) was expected in {folder} and is not there; "
            "train one with `foretaste finetune reward`."
        )
    try:
        return RewardRecord.model_validate(read_json(path))
    except ValidationError as error:
        raise ModelError(
            f"{path} is not the record of a reward model; train it again with "
            "`foretaste finetune reward`."
        ) from error


def reward_folder(dataset: str) -> Path:
    """The folder of the reward model in use for a data set: the one trained here, else a shipped one.

    Raises:
        ModelError: there is none.
    """
    folder = home() / "rewards" / safe_name(dataset)
    if (folder / POINTER).is_file():
        return folder / safe_name(str(read_json(folder / POINTER)["run"]))
    carried = shipped_folder() / f"reward-{safe_name(dataset)}"
    if (carried / RECORD).is_file():
        intact(carried)
        return carried
    raise ModelError(
        f"There is no reward model for {dataset}; train one with "
        f"`foretaste finetune reward --dataset {dataset}`."
    )


def _network(record: RewardRecord, folder: Path) -> tuple[RewardNet, Any]:
    """The network with the adapter merged into the base model's weights, and the tokenizer."""
    from peft import PeftModel
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, logging

    logging.disable_progress_bar()
    base = model_folder(record.base)
    causal = AutoModelForCausalLM.from_pretrained(
        base,
        dtype=torch.bfloat16 if fast_bfloat16() else torch.float32,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    try:
        causal = PeftModel.from_pretrained(causal, folder).merge_and_unload()
    except (RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(
            f"The adapter in {folder} does not fit {record.base} ({str(error)[:200]}); "
            "train it again with `foretaste finetune reward`."
        ) from error
    net = RewardNet(causal.model, causal.config.hidden_size)
    net.head.load_state_dict(_head(folder))
    return net, AutoTokenizer.from_pretrained(base, local_files_only=True)


def _head(folder: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: value.float() for name, value in load_file(folder / HEAD).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{folder / HEAD} is damaged ({error}); train the model again with "
            "`foretaste finetune reward`."
        ) from error
