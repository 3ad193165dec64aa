"""`foretaste evaluate intent`: the arms one after the other behind one engine, on the same people."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from foretaste.agents.config import AgentsConfig
from foretaste.agents.objects import Request
from foretaste.agents.recommend import Run, stream
from foretaste.agents.retrieval.tools import Tools
from foretaste.data.errors import InputError
from foretaste.data.progress import meter, note
from foretaste.data.settings import groups_known, override
from foretaste.judge.intent.cases import Asked, Which, asked_about
from foretaste.judge.intent.figures import CUTS, Hits, arm, hit_rates, hits, pair
from foretaste.judge.intent.kept import arm_path, case_of, kept_arm, line_of
from foretaste.judge.intent.lists import Written, of_arm, of_experts, untrained
from foretaste.serving.adapters import check_adapter
from foretaste.serving.engine import EngineConfig, open_chat
from foretaste.serving.merged import JOINT, merges
from foretaste.serving.replicas import usual_replicas
from foretaste.serving.shipped import adapter_folder, record_of

AT_ONCE = 24  # people
DEADLINE_S = 3600.0  # of a call: a slow machine is no reason to lose what was measured
BASE, GROUNDED = "base", "grounded"
EXPERTS = "experts"  # of what they proposed alone, before any arbiter
PAIRS = (("sft", "base"), ("crs", "sft"), ("crs", "sum"), ("sum", "sft"))
_RATES = tuple(f"{kind}hr@{cut}" for kind in ("", f"{EXPERTS}_") for cut in CUTS)
UNTRAINED = ("popular_categories", "own_categories", "rule_categories", "offered_categories")


class Settings(BaseModel):
    """The options of one `foretaste evaluate intent`.

    Attributes:
        dataset: name of an imported data set.
        adapters: NAME or NAME=FOLDER of each arm beside the base model; several seeds of one arm
            are NAME@SEED=FOLDER, and the band over them is reported.
        users: people.
        explained: of these the first so many also get explanations, for the explainer's fallbacks.
        base: whether the untrained model is an arm.
        which: cases of the leave-one-out split.
        seed: of the people and of the bootstrap.
        resamples: behind each interval.
        engine: settings of the engine.
        changes: `agents.FIELD=VALUE` and `engine.FIELD=VALUE`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    adapters: tuple[str, ...] = ()
    users: int = Field(500, ge=1)
    explained: int = Field(50, ge=0)
    base: bool = True
    which: Which = "test"
    seed: int = 0
    resamples: int = Field(2000, ge=100)
    engine: EngineConfig = EngineConfig()
    changes: tuple[str, ...] = ()


@dataclass
class _Found:
    """What was measured: of each arm what was written and whom it hits."""

    written: dict[str, list[Written]] = field(default_factory=dict)
    own: dict[str, Hits] = field(default_factory=dict)
    served: dict[str, Hits] = field(default_factory=dict)
    experts: dict[str, Hits] = field(default_factory=dict)


def run(settings: Settings) -> dict[str, Any]:
    """Measure every arm on the same people.

    Returns:
        The object of `evaluate intent --json`; docs/finetuning.md tells its keys.

    Raises:
        InputError: a wrong option, an unknown adapter, or nobody to ask about.
        EngineError: the engine failed.
    """
    start = time.perf_counter()
    groups_known(settings.changes, ("agents", "engine"))
    folders = _folders(settings.adapters)
    config = agents_config([record_of(folder) for folder in folders.values()], settings.changes)
    asked = asked_about(settings.dataset, settings.users, settings.seed, config, settings.which)
    names = [*([BASE] if settings.base else []), *folders]
    engine = override(settings.engine, "engine", settings.changes)
    if engine.endpoint is None and engine.engine == "vllm":
        engine = engine.model_copy(update={"replicas": usual_replicas(engine)})
    found = _Found()
    lists = untrained(asked)
    for name, own in lists.items():
        found.own[name] = found.served[name] = found.experts[name] = hits(own, asked.targets)
    asyncio.run(_arms(settings, asked, engine, names, folders, found))
    return _report(settings, asked, found, names, engine) | {
        "wall_s": round(time.perf_counter() - start, 1)
    }


def agents_config(records: Sequence[dict[str, Any]], changes: Sequence[str]) -> AgentsConfig:
    """The settings that the adapters were trained with, so that all arms are asked the same.

    Raises:
        InputError: the adapters were trained with different settings, or a change is none.
    """
    told = [record["agents"] for record in records if record.get("agents")]
    if any(one != told[0] for one in told):
        note("The adapters were trained with different settings; all arms get the first one's.")
    start = AgentsConfig.model_validate(told[0] if told else {"offered": 12})
    return override(start, "agents", changes)


async def _arms(
    settings: Settings,
    asked: Asked,
    engine: EngineConfig,
    names: Sequence[str],
    folders: dict[str, Path],
    found: _Found,
) -> None:
    """The twins alone, then every arm of the model; whoever was asked about before is read."""
    cases = [case_of(user, n < settings.explained) for n, user in enumerate(asked.users)]
    twins = await _arm(settings, asked, asked.tools, GROUNDED, {}, lambda *_: None)
    _count(asked, found, GROUNDED, twins)
    for one, arms in _engines(engine, {name: folders.get(name) for name in names}):
        async with AsyncExitStack() as stack:
            kept = {
                name: stack.enter_context(
                    kept_arm(_path(settings, asked, engine, folders.get(name)))
                )
                for name in arms
            }
            if any(case not in own.done for own in kept.values() for case in cases):
                chat = await stack.enter_async_context(open_chat(one))
                tools = asked.tools.with_model(chat)
            else:
                note(f"{', '.join(arms)}: measured before; that is read again.")
                tools = asked.tools
            for name, adapter in arms.items():
                update = {"adapter": adapter, "deadline_s": DEADLINE_S}
                config = asked.tools.config.model_copy(update=update)
                own = kept[name]
                written = await _arm(
                    settings, asked, replace(tools, config=config), name, own.done, own.add
                )
                _count(asked, found, name, written)


def _engines(
    engine: EngineConfig, arms: dict[str, Path | None]
) -> list[tuple[EngineConfig, dict[str, str | None]]]:
    """The engines to open one after the other, each with its arms and the adapter that each asks for.

    Where adapters are merged, an arm is a model of its own; otherwise one engine holds them all.
    """
    names = {name: None if folder is None else name for name, folder in arms.items()}
    if engine.endpoint:  # it serves the adapters under these names
        return [(engine, names)]
    if merges(engine):
        models = {
            name: engine.model if folder is None else f"{engine.model}{JOINT}{folder}"
            for name, folder in arms.items()
        }
        return [
            (engine.model_copy(update={"model": model}), {name: None})
            for name, model in models.items()
        ]
    listed = ",".join(f"{name}={folder}" for name, folder in arms.items() if folder)
    return [(engine.model_copy(update={"adapters": listed or None, "max_loras": 1}), names)]


def _path(settings: Settings, asked: Asked, engine: EngineConfig, folder: Path | None) -> Path:
    decides = settings.model_dump(include={"dataset", "which", "seed"})
    decides |= {"data": asked.tools.dataset.info.fingerprint, "rule": asked.tools.rule.name}
    decides |= {"agents": asked.tools.config.model_dump(mode="json", exclude={"adapter"})}
    decides |= {"merged": folder is not None and merges(engine)}
    decides |= engine.model_dump(include={"model", "engine", "endpoint", "dtype"})
    return arm_path(decides | {"adapter": check_adapter(folder, 256) if folder else None})


async def _arm(
    settings: Settings,
    asked: Asked,
    tools: Tools,
    name: str,
    done: Mapping[str, Written],
    add: Callable[[dict[str, Any]], None],
) -> list[Written]:
    """One arm on everybody who is not `done` yet, each kept at once; everybody, in order."""
    places = asyncio.Semaphore(AT_ONCE if tools.model else 1)
    made: dict[str, Written] = dict(done)
    cases = [case_of(user, n < settings.explained) for n, user in enumerate(asked.users)]
    left = [place for place, case in enumerate(cases) if case not in made]
    with meter(name, len(left), "users") as progress:

        async def one(place: int) -> None:
            explain = place < settings.explained and tools.model is not None
            async with places:
                written = await _ask(tools, asked.users[place], explain, settings.seed)
            made[cases[place]] = written
            await asyncio.to_thread(add, line_of(cases[place], written))
            progress.advance()

        await asyncio.gather(*(one(place) for place in left))
    return [made[case] for case in cases]


def _count(asked: Asked, found: _Found, name: str, written: list[Written]) -> None:
    found.written[name] = written
    for served, kept in ((False, found.own), (True, found.served)):
        lists = of_arm(asked, written, served=served or name == GROUNDED)
        kept[name] = hits(lists, asked.targets)
    found.experts[name] = hits(of_experts(asked, written), asked.targets)


async def _ask(tools: Tools, user: str, explain: bool, seed: int) -> Written:
    start, made = time.perf_counter(), Run()
    request = Request(user_id=user, n=6, explain=explain, seed=seed)
    async for _ in stream(tools, request, made):
        continue
    state = made.state
    return Written(
        tuple(state["verdicts"]),
        tuple(sorted(state["tags"], key=lambda tag: tag.persona)),
        tuple(state["steps"]),
        (time.perf_counter() - start) * 1000,
    )


def _report(
    settings: Settings, asked: Asked, found: _Found, names: Sequence[str], engine: EngineConfig
) -> dict[str, Any]:
    """All figures as one JSON-ready object."""
    arms: dict[str, dict[str, Any]] = {}
    for name, own in found.own.items():
        arms[name] = hit_rates(own, settings.resamples, settings.seed)
        if name not in UNTRAINED:
            for kind, lists in (("served", found.served), (EXPERTS, found.experts)):
                told = hit_rates(lists[name], settings.resamples, settings.seed)
                arms[name] |= {f"{kind}_{key}": value for key, value in told.items()}
            arms[name] |= arm(asked, found.written[name])
    bands = _bands(arms, names)
    seed, resamples = settings.seed, settings.resamples
    pooled = {**found.own, **_pooled(found.own, bands)}
    alone = {**found.experts, **_pooled(found.experts, bands)}
    return {
        "dataset": settings.dataset,
        "users": len(asked.users),
        "categories": len(asked.names),
        "cases": settings.which,
        "split": asked.rule,
        "model": engine.model,
        "agents": asked.tools.config.model_dump(mode="json", exclude_defaults=True),
        "arms": arms,
        "seeds": bands,
        "pairs": {
            f"{one}-{other}": [
                *pair(pooled[one], pooled[other], resamples, seed),
                *pair(alone[one], alone[other], resamples, seed, f"{EXPERTS}_"),
            ]
            for one, other in _pairs(names)
        },
    }


def _bands(arms: dict[str, dict[str, Any]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of arms with several seeds (NAME@SEED) the mean, lowest and highest of each hit rate."""
    groups: dict[str, list[str]] = {}
    for name in names:
        if "@" in name:
            groups.setdefault(name.partition("@")[0], []).append(name)
    return {
        group: {
            "arms": members,
            **{
                key: {
                    "mean": round(float(np.mean([arms[name][key] for name in members])), 4),
                    "low": min(arms[name][key] for name in members),
                    "high": max(arms[name][key] for name in members),
                }
                for key in _RATES
            },
        }
        for group, members in groups.items()
    }


def _pooled(
    own: dict[str, Hits], bands: dict[str, dict[str, Any]]
) -> dict[str, NDArray[np.float64]]:
    """Of arms with several seeds the mean of each person's hits."""
    return {
        group: np.mean([own[name] for name in told["arms"]], axis=0)
        for group, told in bands.items()
    }


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs that are always wanted, and every arm against base and the untrained lists."""
    known = [*dict.fromkeys(name.partition("@")[0] for name in names)]
    wanted = [(one, other) for one, other in PAIRS if one in known and other in known]
    others = [BASE] if BASE in known else []
    for name in known:
        if name != BASE:
            wanted += [(name, other) for other in [*others, *UNTRAINED]]
    return list(dict.fromkeys(wanted))


def _folders(adapters: Sequence[str]) -> dict[str, Path]:
    """Arm → folder of its adapter."""
    found: dict[str, Path] = {}
    for entry in adapters:
        name, equals, folder = entry.partition("=")
        if name in (*UNTRAINED, BASE, GROUNDED) or name in found:
            raise InputError(f"--adapter {entry}: {name!r} is taken; name the arm otherwise.")
        found[name] = adapter_folder(folder if equals else name).resolve()
    return found
