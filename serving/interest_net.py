"""The next-interest network: a language model's first layers read the history, one vector an event.

An item enters as one input vector: its sentence vector and its behaviour vector (`Side`, as in the towers)
through an adaptor as wide as the language model. The layers run once over the sequence, so every place
yields h, what comes next from there (KARMA, arXiv 2603.22779; items as single vectors as in HLLM,
arXiv 2409.12740). h is projected to K interest vectors in the item space and added to what the towers' K codes
see in the same history; the projection starts at zero, so training starts at the towers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from torch import nn

from foretaste.data.errors import ModelError
from foretaste.data.files import read_json
from foretaste.data.signals import ACTIONS, GAPS
from foretaste.serving.towers_net import Shape, TowersNet

_KEPT = (  # what decides the layers of a Llama-like model
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "rms_norm_eps",
    "rope_parameters",
    "max_position_embeddings",
)
_FAMILY = "llama"
_WORDLESS = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"))
_INSIDE = "model."  # how the names of the language model's weights begin
_DECODER = "knowledge."  # of weights that only training needs
_WORDS = "embed_tokens.weight"  # the table of words: nothing of it is kept


class InterestShape(BaseModel, frozen=True):
    """How large the network is.

    Attributes:
        towers: of the item side and of the codes beside the language model.
        model: configuration of the language model, cut to its first layers.
        lora: rank of LoRA on all linear layers; 0 trains all weights of the layers.
        signals: whether action and time gap of an event have learned vectors.
    """

    towers: Shape
    model: dict[str, Any]
    lora: int = 0
    signals: bool = False


class InterestNet(nn.Module):  # type: ignore[misc]
    """Language model, adaptor and towers.

    Args:
        shape: sizes.
        dropout: share of the numbers of a behaviour that are hidden while training.
        low: arithmetic of the language model, bfloat16 where the processor is fast at it.
    """

    def __init__(
        self, shape: InterestShape, dropout: float = 0.0, low: torch.dtype = torch.float32
    ) -> None:
        from transformers import LlamaConfig, LlamaModel

        super().__init__()
        self.shape, self.low = shape, low
        self.towers = TowersNet(shape.towers, dropout)
        # no words come in, and their table would be most of the weights
        self.model = LlamaModel(LlamaConfig(**shape.model, vocab_size=1, **_WORDLESS))
        self.model.embed_tokens.requires_grad_(False)
        if shape.lora:
            _add_lora(self.model, shape.lora)
        width, dim = int(shape.model["hidden_size"]), shape.towers.dim
        self.text = nn.Linear(shape.towers.text, width)
        self.seen = nn.Linear(dim, width, bias=False)
        self.wish = nn.Linear(shape.towers.text, width)
        if shape.signals:
            self.action = nn.Embedding(ACTIONS, width, padding_idx=0)
            self.gap = nn.Embedding(GAPS, width, padding_idx=0)
            nn.init.zeros_(self.action.weight)
            nn.init.zeros_(self.gap.weight)
        self.begin = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        self.heads = nn.Linear(width, shape.towers.codes * dim)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)

    def inputs(self, text: Any, seen: Any) -> Any:
        """(..., width) input vectors of events, of the size of word embeddings.

        Args:
            text: (..., text) sentence vectors of the items.
            seen: (..., dim) their behaviour vectors.
        """
        return self.text(text) + self.seen(seen)

    def told(self, inputs: Any, signals: Any) -> Any:
        """(b, t, width): what was done and how long after the event before is added to each event.

        Args:
            inputs: (b, t, width).
            signals: (b, t, 2) int64 codes of `data/signals.py`; None where nothing is known.
        """
        if signals is None or not self.shape.signals:
            return inputs
        return inputs + self.action(signals[..., 0]) + self.gap(signals[..., 1])

    def with_wishes(self, inputs: Any, ends: Any, wishes: Any) -> Any:
        """(b, t + 1, width): what each person wishes stands right after the last event.

        Args:
            inputs: (b, t, width), padded at the end.
            ends: (b,) int64, place of the last event.
            wishes: (b, text) sentence vectors.
        """
        room = torch.cat([inputs, torch.zeros_like(inputs[:, :1])], dim=1)
        return room.index_put((torch.arange(len(inputs)), ends + 1), self.wish(wishes))

    def read(self, inputs: Any, **wanted: Any) -> Any:
        """What the language model gives back for input vectors (b, t, width).

        Args:
            inputs: what stands in the sequence; see `begun`.
            wanted: further arguments of the model (`past_key_values`, `output_attentions`).
        """
        with torch.autocast("cpu", self.low, enabled=self.low != torch.float32):
            return self.model(inputs_embeds=inputs, **{"use_cache": False} | wanted)

    def begun(self, inputs: Any) -> Any:
        """(b, 1 + t, width): the beginning stands before the first event, as words had it."""
        begin = self.begin.expand(len(inputs), 1, -1)
        return torch.cat([begin, self.dropout(inputs)], dim=1)

    def hidden(self, inputs: Any) -> Any:
        """h after every event, (b, t, width) float32; padding stands at the end and is not looked at."""
        return self.norm(self.read(self.begun(inputs)).last_hidden_state[:, 1:].float())

    def added(self, hidden: Any) -> Any:
        """(b, places, codes, dim), what h adds to each of the user's vectors."""
        towers = self.shape.towers
        return self.heads(self.dropout(hidden)).unflatten(-1, (towers.codes, towers.dim))

    def own_state(self) -> dict[str, Any]:
        """All weights that have to be saved: neither the base model's own nor a decoder's."""
        return {k: v for k, v in self.state_dict().items() if not self._foreign(k)}

    def load_own(self, state: dict[str, Any]) -> None:
        """Load what `own_state` gave; numbers may have been saved in less precision."""
        wanted = self.own_state()
        if wanted.keys() != state.keys():
            raise KeyError(f"{sorted(wanted.keys() ^ state.keys())[:3]}")
        self.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)

    def load_base(self, folder: Path) -> None:
        """Give the layers the weights of the language model saved in `folder`.

        Raises:
            ModelError: they are not there.
        """
        own = self.model.state_dict()
        left = {k for k in own if k != _WORDS and "lora_" not in k}
        with torch.no_grad():
            for name, value in _weights_in(folder):
                for key in (name, name.replace("_proj.", "_proj.base_layer.")):
                    if key in left:
                        own[key].copy_(value.float())
                        left.discard(key)
                if name == _WORDS:
                    self._start(value.float())
        if left:
            raise ModelError(f"{folder} lacks {min(left)} of the language model; fetch it again.")

    def _start(self, words: Any) -> None:
        """Let input vectors begin as large as the words' vectors (vocabulary, width)."""
        size = float(words.std())
        self.begin.copy_(words[1])
        for layer in (self.text, self.wish):
            layer.weight.normal_(0, size)
            layer.bias.zero_()
        self.seen.weight.normal_(0, size / self.shape.towers.dim**0.5)

    def _foreign(self, name: str) -> bool:
        frozen = bool(self.shape.lora) and "lora_" not in name
        if name.startswith(_DECODER) or name == _INSIDE + _WORDS:
            return True
        return name.startswith(_INSIDE) and frozen


def model_shape(folder: Path, layers: int) -> dict[str, Any]:
    """The configuration of the language model in `folder`, cut to its first `layers`.

    Raises:
        ModelError: it is of another family, or has fewer layers.
    """
    found = read_json(folder / "config.json")
    if found.get("model_type") != _FAMILY or found["num_hidden_layers"] < layers:
        raise ModelError(
            f"A Llama-like language model of {layers} layers or more was expected in {folder}, not "
            f"{found.get('model_type')} of {found.get('num_hidden_layers')}; choose another --base."
        )
    kept = {key: found[key] for key in _KEPT if key in found}
    return {**kept, "num_hidden_layers": layers}


def word_vectors(folder: Path) -> Any:
    """(vocabulary, width) of the language model's words.

    Raises:
        ModelError: there are none in `folder`.
    """
    for name, value in _weights_in(folder):
        if name == _WORDS:
            return value
    raise ModelError(f"{folder} lacks the vectors of its words; fetch the model again.")


def _add_lora(model: Any, rank: int) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")
    inject_adapter_in_model(config, model)


def _weights_in(folder: Path) -> Any:
    """Name (without `model.`) and tensor of every weight in a folder, one after the other."""
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                yield name.removeprefix(_INSIDE), file.get_tensor(name)
