from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from foretaste.app.api.metrics import Metrics


def told(metrics: Metrics, name: str) -> float:
    lines = metrics.text().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def run_of(prompt: int, cached: int) -> dict[str, Any]:
    spent = {"prompt": prompt, "cached": cached, "completion": 5}
    return {"timings_ms": {}, "tokens": {"planner": spent, "total": spent}, "fallbacks": {}}


def test_the_hit_rate_is_that_of_all_prompt_tokens_so_far() -> None:
    metrics = Metrics(SimpleNamespace(active=0, line=0))  # type: ignore[arg-type]
    assert told(metrics, "foretaste_prefix_hit_rate") == 0
    metrics.count_run(run_of(100, 80))
    metrics.count_run(run_of(300, 20))
    assert told(metrics, "foretaste_prefix_hit_rate") == 0.25
