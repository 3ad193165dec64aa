"""The road of `foretaste bench serving`: each part alone, its figures under the agreed keys."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from foretaste.agents.config import AgentsConfig
from foretaste.agents.retrieval.tools import Tools, load_tools
from foretaste.app.benching import engines, limits
from foretaste.app.benching.overhead import measure_overhead
from foretaste.data.dataset import Dataset
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.settings import groups_known, override
from foretaste.data.store import load_dataset
from foretaste.serving.embedder import load_embedder
from foretaste.serving.engine import EngineConfig
from foretaste.serving.replicas import usual_replicas

PARTS = ("users", "overhead", "prefill", "index")
_HISTORY = 20  # events that a user needs to be measured with
_READS = 8192  # tokens; the longest text prompt needs more than an engine's default
_INDEX = Path(__file__).resolve().parents[2] / "benchmarks" / "index_speed.py"


class Bench(BaseModel, frozen=True):
    """The options of one `foretaste bench serving`; see its help."""

    dataset: str
    parts: tuple[str, ...] = PARTS
    users: int = 16
    sequential: int | None = None
    requests: int = 200
    index_items: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    settings: tuple[str, ...] = ()


def run(bench: Bench) -> dict[str, Any]:
    """Measure the parts that were asked for.

    Returns:
        `users_per_minute`, `overhead_ms`, `prefill`, `limits` and `index`, as far as measured.
    """
    groups_known(bench.settings, ("engine",))
    unknown = [part for part in bench.parts if part not in PARTS]
    if unknown:
        raise InputError(f"--only expects parts of {', '.join(PARTS)}, not {unknown[0]!r}.")
    config = override(EngineConfig(), "engine", bench.settings)
    dataset = load_dataset(bench.dataset)
    figures: dict[str, Any] = {}
    if {"users", "overhead"} & set(bench.parts):
        tools = load_tools(dataset, AgentsConfig(deadline_s=engines.PATIENCE_S))
        users = some_users(dataset, max(bench.users, bench.requests))
        if "overhead" in bench.parts:
            figures["overhead_ms"] = measure_overhead(tools, users[: bench.requests])
        if "users" in bench.parts:
            figures["users_per_minute"] = _users(bench, config, tools, users[: bench.users])
    if "prefill" in bench.parts:
        figures |= _prefill(config, dataset)
    if "index" in bench.parts:
        figures["index"] = _index(bench)
    return figures


def some_users(dataset: Dataset, count: int) -> list[str]:
    """`count` users with enough of a history, chosen by a fixed seed.

    Raises:
        InputError: too few have one.
    """
    table = dataset.interactions.group_by("user_id").len()
    enough = sorted(table.filter(table["len"] >= _HISTORY)["user_id"].to_list())
    if len(enough) < count:
        raise InputError(
            f"{dataset.name} has {len(enough)} users with {_HISTORY} events or more and {count} "
            "were expected; ask for fewer with --users and --requests."
        )
    chosen = np.random.default_rng(0).permutation(len(enough))[:count]
    return [enough[place] for place in chosen]


def _users(bench: Bench, config: EngineConfig, tools: Tools, users: list[str]) -> dict[str, Any]:
    other = config.model_copy(update={"engine": "transformers"})
    alone = users[: bench.sequential or len(users)]
    served = config.model_copy(update={"replicas": usual_replicas(config)})
    at_once = asyncio.run(engines.users_per_minute(tools, served, users, at_once=True))
    sequential = asyncio.run(engines.users_per_minute(tools, other, alone, at_once=False))
    return {
        "concurrent": round(at_once, 2),
        "sequential_transformers": round(sequential, 2),
        "ratio": round(at_once / sequential, 2),
        "replicas": served.replicas,
        "users": len(users),
        "sequential_users": len(alone),
    }


def _prefill(config: EngineConfig, dataset: Dataset) -> dict[str, Any]:
    reads = config.model_copy(update={"max_model_len": _READS})
    read = asyncio.run(engines.reading(reads, dataset, load_embedder()))
    machine = limits.machine(reads)
    return {
        "prefill": read["prefill"],
        "limits": machine
        | limits.fractions(machine, reads, read)
        | {"decode_tokens_s": read["decode_tokens_s"]},
    }


def _index(bench: Bench) -> list[dict[str, Any]]:
    """The rows of `benchmarks/index_speed.py`, which runs every kind in a process of its own."""
    if not _INDEX.exists():
        raise ForetasteError(
            "The index benchmark stands in benchmarks/ of a checkout; run this command from one, "
            "or leave it out with --only users,overhead,prefill."
        )
    command = [sys.executable, "-P", str(_INDEX), "--dataset", bench.dataset, "--sizes"]
    done = subprocess.run(
        [*command, *map(str, bench.index_items)], stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        raise ForetasteError(f"The index benchmark ended with exit code {done.returncode}.")
    rows: list[dict[str, Any]] = json.loads(done.stdout)["index"]
    return rows
