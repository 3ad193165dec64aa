"""Memory and time of a training, on paper: what a GPU must hold and how long it is at work.

    python -m foretaste.finetune.arithmetic --layers 36 --width 4096 --inner 12288 --heads 32 \\
        --kv-heads 8 --head 128 --vocabulary 151936 --tokens 16384 --gpus 8 --sharded

Counted are decoders of the Llama and Qwen kind (RMS norm, rotary positions, SwiGLU, grouped queries).
Activations follow the reasoning of Korthikanti et al. (arXiv 2205.05198, section 4.1) for that kind, with
attention that keeps no (tokens × tokens) matrix. docs/scale.md holds them against a measured run.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass

_GB = 1e9


@dataclass(frozen=True)
class Decoder:
    """The sizes of a decoder.

    Attributes:
        layers: of it.
        width: of the residual stream.
        inner: width inside an MLP.
        heads, kv_heads: of the attention.
        head: width of one head.
        vocabulary: tokens.
        tied: whether input and output embeddings are the same weights.
    """

    layers: int
    width: int
    inner: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    tied: bool = True

    @property
    def linears(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of the seven matrices of a layer."""
        q, kv = self.heads * self.head, self.kv_heads * self.head
        across = [(self.width, q), (self.width, kv), (self.width, kv), (q, self.width)]
        return [*across, *2 * [(self.width, self.inner)], (self.inner, self.width)]

    @property
    def weights(self) -> int:
        """All weights.

        >>> Decoder(30, 576, 1536, 9, 3, 64, 49152).weights  # SmolLM2-135M
        134515008
        """
        layer = sum(a * b for a, b in self.linears) + 2 * self.width
        embeddings = self.vocabulary * self.width * (1 if self.tied else 2)
        return self.layers * layer + embeddings + self.width

    def lora(self, rank: int) -> int:
        """Weights of a LoRA on every matrix.

        >>> Decoder(30, 576, 1536, 9, 3, 64, 49152).lora(16)
        4884480
        """
        return self.layers * rank * sum(a + b for a, b in self.linears)


@dataclass(frozen=True)
class Plan:
    """How it is trained.

    Attributes:
        tokens: of one device's batch (sequences times their length).
        rank: of a LoRA on every matrix; 0 trains all weights.
        weight_bytes: of a weight while training: 2 in bfloat16, 4 in float32.
        activation_bytes: of an activation: 2 under bfloat16 autocast.
        answers: share of the tokens whose logits are made (answers alone count in SFT).
        checkpointed: keep each layer's input only, and compute the rest again.
        gpus: devices.
        sharded: whether weights, gradients and optimizer are shared out among them (FSDP full shard,
            ZeRO-3); otherwise every device has a copy.
    """

    tokens: int
    rank: int = 16
    weight_bytes: int = 2
    activation_bytes: int = 2
    answers: float = 0.2
    checkpointed: bool = False
    gpus: int = 1
    sharded: bool = False


@dataclass(frozen=True)
class Memory:
    """GB (10⁹ bytes) that one device holds at the peak."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.logits


def trained(decoder: Decoder, plan: Plan) -> int:
    """Weights that learn."""
    return decoder.lora(plan.rank) if plan.rank else decoder.weights


def memory(decoder: Decoder, plan: Plan) -> Memory:
    """What one device holds at the peak of a step.

    Weights that learn are float32 where there is a LoRA; bfloat16 weights that all learn have a float32
    copy in the optimizer. Gradients are as large as what learns, AdamW's two moments are float32.
    Sharded training holds two whole layers beside its share while it computes.

    >>> small = Decoder(30, 576, 1536, 9, 3, 64, 49152)
    >>> round(memory(small, Plan(tokens=1600)).weights, 3)
    0.289
    """
    learns, whole = trained(decoder, plan), decoder.weights
    share = plan.gpus if plan.sharded else 1
    frozen_bytes = whole * plan.weight_bytes
    weights = (frozen_bytes + (4 * learns if plan.rank else 0)) / share
    if plan.sharded:
        weights += 2 * plan.weight_bytes * sum(a * b for a, b in decoder.linears)
    gradient = 4 if plan.rank else plan.weight_bytes
    master = 4 if not plan.rank and plan.weight_bytes == 2 else 0
    return Memory(
        weights=weights / _GB,
        gradients=gradient * learns / share / _GB,
        optimizer=(8 + master) * learns / share / _GB,
        activations=plan.tokens * activation_bytes(decoder, plan) / _GB,
        # Logits, their float32 copy's log-softmax and the gradient of it.
        logits=plan.tokens * plan.answers * decoder.vocabulary * (plan.activation_bytes + 8) / _GB,
    )


def activation_bytes(decoder: Decoder, plan: Plan) -> float:
    """Bytes of activations that a token keeps until backward has passed.

    A layer keeps, in elements: both norms' inputs in float32, what they give, q, k and v before and
    after rotation, the attention's result, gate, up, SiLU(gate) and their product; and each LoRA's
    inner vector.
    """
    width, inner = decoder.width, decoder.inner
    q, kv = decoder.heads * decoder.head, decoder.kv_heads * decoder.head
    norms = 4 * 2 * 2 * width  # each norm's input and its normalised form, float32
    rest = 2 * width + 2 * q + 3 * kv + q + 4 * inner + 7 * plan.rank
    layer = norms + plan.activation_bytes * rest
    if plan.checkpointed:
        return decoder.layers * plan.activation_bytes * width + layer
    return decoder.layers * layer


def step_flops(decoder: Decoder, plan: Plan) -> float:
    """Operations of one step on one device: 6 a weight and token; 4 where frozen weights need no
    gradients; 2 more where activations are computed again. Attention is left out.
    """
    times = (4 if plan.rank else 6) + (2 if plan.checkpointed else 0)
    return float(times) * decoder.weights * plan.tokens


def hours(
    decoder: Decoder, plan: Plan, all_tokens: float, device_flops: float, used: float = 0.35
) -> float:
    """Hours of a training over `all_tokens` tokens.

    Args:
        decoder: what is trained.
        plan: how.
        all_tokens: of all epochs.
        device_flops: operations a second of one device at its peak.
        used: share of the peak that is reached; more devices reach less.
    """
    steps = all_tokens / (plan.tokens * plan.gpus)
    return steps * step_flops(decoder, plan) / (device_flops * used) / 3600


def main() -> None:
    """Print the figures of one plan as JSON."""
    parser = argparse.ArgumentParser(prog="python -m foretaste.finetune.arithmetic")
    for name in ("layers", "width", "inner", "heads", "kv-heads", "head", "vocabulary"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--untied", action="store_true", help="two embedding matrices")
    parser.add_argument("--tokens", type=int, required=True, help="of one device's batch")
    parser.add_argument("--rank", type=int, default=16, help="of the LoRA; 0 trains all weights")
    parser.add_argument("--weight-bytes", type=int, default=2)
    parser.add_argument("--answers", type=float, default=0.2, help="share of tokens with logits")
    parser.add_argument("--checkpointed", action="store_true")
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--sharded", action="store_true")
    parser.add_argument("--all-tokens", type=float, default=1e9, help="of all epochs")
    parser.add_argument("--device-tflops", type=float, default=989.0, help="peak of one device")
    parser.add_argument("--used", type=float, default=0.35, help="share of the peak")
    given = parser.parse_args()
    decoder = Decoder(
        *(given.layers, given.width, given.inner, given.heads, given.kv_heads, given.head),
        vocabulary=given.vocabulary,
        tied=not given.untied,
    )
    plan = Plan(
        tokens=given.tokens,
        rank=given.rank,
        weight_bytes=given.weight_bytes,
        answers=given.answers,
        checkpointed=given.checkpointed,
        gpus=given.gpus,
        sharded=given.sharded,
    )
    held = memory(decoder, plan)
    figures = {
        "weights": decoder.weights,
        "trained": trained(decoder, plan),
        "gb": {name: round(value, 2) for name, value in asdict(held).items()},
        "total_gb": round(held.total, 2),
        "hours": round(
            hours(decoder, plan, given.all_tokens, given.device_tflops * 1e12, given.used), 2
        ),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
