"""What this machine's arithmetic and memory allow, and how much of it the engine uses."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from foretaste.serving.engine_config import EngineConfig, default_threads
from foretaste.serving.store import model_folder

_SIDE = 2048  # of the square matrices
_BYTES = 2**29  # summed to time the memory; far above any cache
_SECONDS = 2.0  # that each is repeated for


def machine(config: EngineConfig) -> dict[str, float]:
    """GFLOP/s of a matrix product in the engine's number format, and GB/s of reading memory.

    With the engine's number of threads. The best of many repetitions counts: others who use the
    machine make it slower, never faster.
    """
    import torch

    torch.set_num_threads(config.threads or default_threads())
    kind = getattr(torch, config.dtype)
    a, b = (torch.randn(_SIDE, _SIDE).to(kind) for _ in range(2))  # (_SIDE, _SIDE)
    block = torch.ones(_BYTES // 4, dtype=torch.float32)
    return {
        "matmul_gflops": round(2 * _SIDE**3 / _best(lambda: a @ b) / 1e9, 1),
        "bandwidth_gbs": round(_BYTES / _best(lambda: block.sum()) / 1e9, 2),
    }


def fractions(
    limits: dict[str, float], config: EngineConfig, read: dict[str, Any]
) -> dict[str, float]:
    """Shares of the limits that the engine reaches when it decodes and when it reads.

    A step that decodes `b` tokens reads every weight once and does two operations a weight and
    token, so it cannot take less than `max(bytes / bandwidth, 2 · weights · b / arithmetic)`.
    Reading a prompt is bound by arithmetic alone. Attention is left out of both, so the shares
    are a little too low at long prompts.

    Args:
        limits: of `machine`.
        config: of the engine that was measured.
        read: what `engines.reading` returned.
    """
    weights, size = weights_of(config)
    flops, bytes_s = limits["matmul_gflops"] * 1e9, limits["bandwidth_gbs"] * 1e9
    together = config.max_num_seqs
    step_s = max(weights * size / bytes_s, 2 * weights * together / flops)
    longest = read["prefill"][-1]
    return {
        "decode_fraction": round(read["decode_tokens_s"] * step_s / together, 3),
        "prefill_fraction": round(
            2 * weights * longest["text_tokens"] / longest["text_s"] / flops, 3
        ),
    }


def weights_of(config: EngineConfig) -> tuple[int, int]:
    """Weights that every token meets (tied embeddings once), and bytes of each in the engine."""
    from safetensors import safe_open

    total = 0
    for path in model_folder(config.model).glob("*.safetensors"):
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118 - it is no dict
                count = 1
                for side in file.get_slice(name).get_shape():
                    count *= side
                total += count
    return total, 4 if config.dtype == "float32" else 2


def _best(work: Callable[[], Any]) -> float:
    """Seconds of the quickest repetition."""
    work()
    times, end = [], time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
