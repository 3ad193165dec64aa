"""Language models as they are fine-tuned: loaded by name, given a LoRA, asked for a loss, exported.

One place for SFT, reward model and GRPO, so that all of them load the same weights in the same
number format behind the same chat template.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, Field
from torch.nn import functional

from foretaste.data.errors import ModelError
from foretaste.data.files import replacing, sha256, write_json
from foretaste.serving.adapters import SETTINGS, WEIGHTS
from foretaste.serving.arithmetic import fast_bfloat16
from foretaste.serving.shipped import RECORD
from foretaste.serving.store import model_folder

IGNORED = -100  # label of a token that is read and not learnt
_KINDS = {"bfloat16": torch.bfloat16, "float32": torch.float32}


class LoraSettings(BaseModel, frozen=True, extra="forbid"):
    """What is trained beside the frozen weights (LoRA, arXiv 2106.09685).

    Attributes:
        rank: of the two factors of every change.
        alpha: the change is scaled by alpha / rank.
        dropout: of what goes into the change.
        targets: peft's names of the layers, with commas between; `all-linear` is every linear one.
        blocks: of the decoder, from the top, that are changed; all when None. Backward ends below them.
    """

    rank: int = Field(8, ge=1, le=256)
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: str = "all-linear"
    blocks: int | None = Field(None, ge=1)


@dataclass(frozen=True)
class Loaded:
    """A model with its tokenizer.

    Attributes:
        name: what was asked for.
        folder: where its files are.
        model: a causal model of transformers, or the peft model around it.
        tokenizer: has a chat template and a padding token.
        kind: number format of the frozen weights, `bfloat16` or `float32`.
    """

    name: str
    folder: Path
    model: Any
    tokenizer: Any
    kind: str


def number_format(wanted: str = "auto") -> str:
    """`bfloat16` where a probe finds it fast on this processor or there is a GPU, else `float32`.

    Raises:
        ModelError: another name than these or `auto`.
    """
    if wanted == "auto":
        fast = torch.cuda.is_available() or fast_bfloat16()
        return "bfloat16" if fast else "float32"
    if wanted not in _KINDS:
        raise ModelError(f"auto, bfloat16 or float32 was expected, not {wanted!r}.")
    return wanted


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a model, padded at the right end.

    Raises:
        ModelError: no such model, or one without a chat template.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder(name), local_files_only=True)
    if tokenizer.chat_template is None:
        raise ModelError(
            f"{name} has no chat template, so conversations cannot be written for it; name an "
            "instruct model."
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def load_base(name: str, kind: str = "auto") -> Loaded:
    """A frozen model by bundled name, folder, GGUF file or hub id.

    Args:
        name: see `serving/store.py`.
        kind: number format, or `auto` for what a probe finds fast.

    Raises:
        ModelError: no such model, unsafe weights, or no chat template.
    """
    from transformers import AutoModelForCausalLM, logging

    logging.disable_progress_bar()
    folder, kind = model_folder(name), number_format(kind)
    tokenizer = load_tokenizer(name)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=_KINDS[kind],
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
    )
    model.requires_grad_(False)
    return Loaded(name, folder, model, tokenizer, kind)


def with_lora(base: Loaded, settings: LoraSettings, seed: int = 0) -> Loaded:
    """The model with a fresh LoRA in float32; only the LoRA is trained."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    targets = settings.targets.split(",") if "," in settings.targets else settings.targets
    depth = base.model.config.num_hidden_layers
    below = "|".join(str(n) for n in range(depth - (settings.blocks or depth)))
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        exclude_modules=rf".*\.({below})\..*" if below else None,
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(base.model, config)
    return Loaded(base.name, base.folder, model, base.tokenizer, base.kind)


def with_adapter(base: Loaded, folder: Path, *, trained: bool = False) -> Loaded:
    """The model with an adapter that peft saved.

    Args:
        base: what the adapter was trained on.
        folder: of the adapter.
        trained: whether the adapter is to be trained further.

    Raises:
        ModelError: no adapter there, or one of another model.
    """
    from peft import PeftModel

    if not (folder / WEIGHTS).is_file() or not (folder / SETTINGS).is_file():
        raise ModelError(f"An adapter ({WEIGHTS}, {SETTINGS}) was expected in {folder}; name one.")
    try:
        model = PeftModel.from_pretrained(base.model, folder, is_trainable=trained)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"The adapter in {folder} does not fit {base.name} ({str(error)[:200]}); name the model "
            "that it was trained on."
        ) from error
    return Loaded(base.name, base.folder, model, base.tokenizer, base.kind)


def encode(tokenizer: Any, messages: list[dict[str, str]]) -> tuple[list[int], list[int]]:
    """A conversation as tokens and labels: only the last turn, the answer, is learnt.

    The prompt is written as it is served, with the mark that an answer follows.

    Returns:
        (n,) tokens, and (n,) labels, `IGNORED` before the answer.
    """
    prompt = tokenizer.apply_chat_template(
        messages[:-1], add_generation_prompt=True, return_dict=True
    )["input_ids"]
    answer = tokenizer(messages[-1]["content"] + tokenizer.eos_token, add_special_tokens=False)[
        "input_ids"
    ]
    return [*prompt, *answer], [IGNORED] * len(prompt) + list(answer)


def answer_loss(model: Any, batch: dict[str, Any]) -> tuple[Any, int]:
    """Summed -log p of the answers' tokens, and how many they are.

    Hidden states are made for all tokens, logits for answers alone: over a vocabulary of tens of
    thousands the logits of prompts would cost a third of a small model's step.

    Args:
        model: a causal model, with a LoRA or without.
        batch: input_ids, attention_mask, labels, each (b, t).
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    states = causal.model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
    ).last_hidden_state  # (b, t, d)
    told = batch["labels"][:, 1:]  # (b, t - 1)
    asked = told != IGNORED
    logits = causal.lm_head(states[:, :-1][asked])  # (answers, vocabulary)
    loss = functional.cross_entropy(logits.float(), told[asked], reduction="sum")
    return loss, int(asked.sum())


def lora_state(model: Any) -> dict[str, Any]:
    """The LoRA's tensors by name, as peft saves them."""
    from peft import get_peft_model_state_dict

    return {
        name: value.detach().clone() for name, value in get_peft_model_state_dict(model).items()
    }


def load_lora_state(model: Any, state: dict[str, Any]) -> None:
    """Put back what `lora_state` gave."""
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(model, state)


def export_adapter(loaded: Loaded, folder: Path, about: dict[str, Any]) -> str:
    """Write the LoRA in bfloat16, as vLLM and peft read it, with a record beside it.

    Args:
        loaded: the model with its LoRA.
        folder: made when missing; files in it are replaced one by one.
        about: JSON values for `foretaste.json`: data, prompts, settings, figures.

    Returns:
        sha256 of the weights, 64 hex digits; it stands in the record too.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = lora_state(loaded.model)
    tensors = {name: value.to(torch.bfloat16).contiguous() for name, value in state.items()}
    with replacing(folder / WEIGHTS) as part:
        save_file(tensors, part, metadata={"format": "pt"})
    settings = loaded.model.peft_config["default"].to_dict()
    settings |= {"base_model_name_or_path": loaded.name, "inference_mode": True}
    targets = settings.get("target_modules")
    if isinstance(targets, set):
        settings["target_modules"] = sorted(targets)
    write_json(folder / SETTINGS, {key: _plain(value) for key, value in settings.items()})
    digest = sha256(folder / WEIGHTS)
    write_json(folder / RECORD, about | {"base": loaded.name, "sha256": digest})
    return digest


def _plain(value: Any) -> Any:
    """A setting as JSON holds it."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return (
        value if value is None or isinstance(value, str | int | float | bool | list) else str(value)
    )
