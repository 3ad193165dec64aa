"""The road of `foretaste bench hybrid`: the same prompts in both forms on one vLLM; docs/hybrid.md."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel

from foretaste.agents.config import AgentsConfig
from foretaste.agents.objects import Persona, Request
from foretaste.agents.recommend import Run, stream
from foretaste.agents.retrieval.tools import Tools
from foretaste.app.benching.engines import PATIENCE_S
from foretaste.app.benching.hybrid_answers import agreement, attribute_questions, right_answers
from foretaste.app.benching.hybrid_reading import (
    FORMS,
    Cost,
    Forms,
    costs_of,
    curve,
    medians,
    newest,
    planner_ask,
)
from foretaste.data.errors import InputError
from foretaste.data.progress import meter
from foretaste.data.settings import groups_known, override
from foretaste.judge.intent.cases import Asked, asked_about
from foretaste.judge.intent.figures import Hits, hit_rates, hits, pair
from foretaste.judge.intent.lists import Written, of_arm
from foretaste.judge.ranking.bootstrap import interval, resampled_means
from foretaste.serving.adapters import Adapters
from foretaste.serving.chat import ChatModel
from foretaste.serving.engine import EngineConfig
from foretaste.serving.hybrid_chat import HybridChat, load_hybrid
from foretaste.serving.hybrid_store import fitting_adaptor
from foretaste.serving.merged import JOINT, merges
from foretaste.serving.openai_chat import OpenAIChat
from foretaste.serving.shipped import adapter_folder
from foretaste.serving.vllm_server import vllm_server_async

PARTS = ("curve", "users", "attributes")
ARM = "arm"  # name of the adapter, where vLLM holds one
_READS = 8192  # tokens that the server takes; longer text prompts are left out
_WRITES = 400  # of these, for an answer
_WHOLE = 1_000_000  # tokens that a history may have: none is shortened
_AT_ONCE = 16
_RESAMPLES = 2000


class Bench(BaseModel, frozen=True):
    """The options of one `foretaste bench hybrid`; see its help."""

    dataset: str
    parts: tuple[str, ...] = PARTS
    users: int = 200
    least_events: int = 20
    timed: int = 20
    questions: int = 200
    histories: tuple[int, ...] = (10, 20, 50, 100, 200)
    repeats: int = 5
    adapter: str | None = None
    seed: int = 0
    settings: tuple[str, ...] = ()


@dataclass
class Made:
    """What one form made of the same people.

    Attributes:
        written: tags, verdicts and calls of each.
        personas: of each.
        costs: of the planners of those who are timed, read alone.
        wall_s: of all together, up to 16 at once.
    """

    written: list[Written] = field(default_factory=list)
    personas: list[list[Persona]] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    wall_s: float = 0.0


Figures = dict[str, Any]


def run(bench: Bench, keep: Callable[[Figures], None] = lambda figures: None) -> Figures:
    """Measure the parts that were asked for.

    Args:
        bench: the options.
        keep: is given the figures so far whenever a part is done.

    Returns:
        `curve`: a row a length of history, each with `text` and `hybrid`; `text`, `hybrid` and
        `pairs` of the people; docs/hybrid.md tells the keys.

    Raises:
        InputError: a wrong option, or nobody to ask about.
        ModelError: no adaptor for this data set and model.
    """
    groups_known(bench.settings, ("agents", "engine"))
    unknown = [part for part in bench.parts if part not in PARTS]
    if unknown:
        raise InputError(f"--only expects parts of {', '.join(PARTS)}, not {unknown[0]!r}.")
    engine = _engine(bench)
    start = AgentsConfig(
        entities="vectors",
        history_tokens=_WHOLE,
        deadline_s=PATIENCE_S,
        adapter=ARM if engine.adapters else None,
    )
    config = override(start, "agents", bench.settings)
    asked = asked_about(bench.dataset, bench.users, bench.seed, config, least=bench.least_events)
    return asyncio.run(_measure(bench, asked, engine, keep))


def _engine(bench: Bench) -> EngineConfig:
    """vLLM that takes both forms, without a prefix cache: nobody reads what another has read.

    On a processor the adapter is merged into the weights: vLLM's own LoRA layers there end at prompts
    that are vectors.
    """
    start = EngineConfig(form="hybrid", prefix_caching=False, max_model_len=_READS)
    engine = override(start, "engine", bench.settings)
    if engine.engine != "vllm" or engine.endpoint is not None:
        raise InputError(
            "bench hybrid asks one vLLM in both forms and starts it itself; leave engine.engine "
            "and engine.endpoint out."
        )
    folder = fitting_adaptor(engine.adaptor or bench.dataset, engine.model)
    return engine.model_copy(update={"adaptor": str(folder)} | _with_adapter(bench, engine))


def _with_adapter(bench: Bench, engine: EngineConfig) -> dict[str, Any]:
    if bench.adapter is None:
        return {}
    folder = adapter_folder(bench.adapter).resolve()
    if merges(engine):
        return {"model": f"{engine.model}{JOINT}{folder}"}
    return {"adapters": f"{ARM}={folder}", "max_loras": 1}


@asynccontextmanager
async def _opened(bench: Bench, engine: EngineConfig) -> AsyncIterator[Forms]:
    writer, vectors = await asyncio.to_thread(load_hybrid, engine)
    async with vllm_server_async(engine) as server:
        adapters = Adapters(lambda: server.url) if engine.adapters else None
        if adapters is not None and bench.adapter is not None:
            await adapters.load(ARM, adapter_folder(bench.adapter))
        text = OpenAIChat(server.url, server.model, alive=server.check, adapters=adapters)
        hybrid = HybridChat(
            server.url, server.model, writer, vectors, alive=server.check, adapters=adapters
        )
        yield Forms(text, hybrid, vectors)
        await text.close()
        await hybrid.close()


async def _measure(
    bench: Bench, asked: Asked, engine: EngineConfig, keep: Callable[[Figures], None]
) -> Figures:
    figures: Figures = {
        "dataset": bench.dataset,
        "model": engine.model,
        "adaptor": engine.adaptor,
        "adapter": bench.adapter,
        "least_events": bench.least_events,
        "seed": bench.seed,
    }
    adapter, config = ARM if engine.adapters else None, asked.tools.config
    async with _opened(bench, engine) as forms:
        if "attributes" in bench.parts:
            figures |= await _attributes(bench, asked, forms, adapter)
            keep(figures)
        if "curve" in bench.parts:
            most = _READS - _WRITES
            tools = asked.tools.with_model(forms.text)
            figures["curve"] = await curve(
                tools, forms, bench.histories, bench.repeats, adapter, most, bench.seed
            )
            keep(figures)
        if "users" in bench.parts:
            made = {form: Made() for form in FORMS}
            await _planners(asked, asked.users[: bench.timed], forms, adapter, made)
            for form, chat in forms.named().items():
                made[form].wall_s = await _users(asked, chat, made[form], form)
            _merge(figures, _of_users(asked, made, bench.seed))
    figures["settings"] = config.model_dump(mode="json", exclude_defaults=True)
    return figures


async def _attributes(
    bench: Bench, asked: Asked, forms: Forms, adapter: str | None
) -> dict[str, dict[str, Any]]:
    deadline = asked.tools.config.deadline_s
    questions = attribute_questions(
        asked.tools.dataset, bench.questions, adapter, deadline, bench.seed
    )
    if not questions:
        return {}
    right = np.stack(
        [await right_answers(chat, questions) for chat in forms.named().values()], axis=1
    )  # (questions, forms)
    means = resampled_means(right, np.arange(len(right)), _RESAMPLES, bench.seed)
    low, high = interval(means[:, 1] - means[:, 0]) or (0.0, 0.0)
    delta = float((right[:, 1] - right[:, 0]).mean())
    found: dict[str, dict[str, Any]] = {
        form: {"attribute_accuracy": round(float(right[:, place].mean()), 4)}
        for place, form in enumerate(FORMS)
    }
    bounds = {"delta": round(delta, 4), "low": round(low, 4), "high": round(high, 4)}
    return found | {
        "questions": {"asked": len(questions), "options": 4},
        "pairs": {"hybrid-text": [{"metric": "attribute_accuracy", **bounds}]},
    }


async def _planners(
    asked: Asked, users: Sequence[str], forms: Forms, adapter: str | None, made: dict[str, Made]
) -> None:
    """Each person's planner alone, read and written, in both forms in turn."""
    tools = asked.tools.with_model(forms.text)
    with meter("Planners, one at a time", len(users), "users") as progress:
        for user in users:
            ask = planner_ask(tools, newest(tools, user, _WHOLE), adapter)
            for form, found in (await costs_of(ask, forms)).items():
                made[form].costs.append(found)
            progress.advance()


async def _users(asked: Asked, chat: ChatModel, made: Made, form: str) -> float:
    """Planner, experts and arbiter for everybody; returns wall seconds."""
    tools, places = asked.tools.with_model(chat), asyncio.Semaphore(_AT_ONCE)
    start = time.perf_counter()
    with meter(f"People in the {form} form", len(asked.users), "users") as progress:

        async def one(user: str) -> tuple[Written, list[Persona]]:
            async with places:
                found = await _ask(tools, user)
            progress.advance()
            return found

        for written, personas in await asyncio.gather(*(one(user) for user in asked.users)):
            made.written.append(written)
            made.personas.append(personas)
    return time.perf_counter() - start


async def _ask(tools: Tools, user: str) -> tuple[Written, list[Persona]]:
    begin, run_ = time.perf_counter(), Run()
    async for _ in stream(tools, Request(user_id=user, n=6, explain=False), run_):
        continue
    state = run_.state
    tags = tuple(sorted(state["tags"], key=lambda tag: tag.persona))
    ms = (time.perf_counter() - begin) * 1000
    written = Written(tuple(state["verdicts"]), tags, tuple(state["steps"]), ms)
    return written, list(state["personas"])


def _of_users(asked: Asked, made: dict[str, Made], seed: int) -> Figures:
    """Costs, hit rates and agreement; hit rates of what the model wrote, and as served."""
    figures: Figures = {"users": len(asked.users)}
    own: dict[str, Hits] = {}
    served: dict[str, Hits] = {}
    for form, one in made.items():
        own[form], served[form] = (
            hits(of_arm(asked, one.written, served=kind), asked.targets) for kind in (False, True)
        )
        calls = [step for written in one.written for step in written.steps]
        figures[form] = {
            **medians(one.costs),
            "prompt_tokens_all_calls": round(
                sum(step.prompt for step in calls) / len(asked.users), 1
            ),
            "seconds_per_user": round(one.wall_s / len(asked.users), 3),
            **hit_rates(own[form], _RESAMPLES, seed),
            **{f"served_{k}": v for k, v in hit_rates(served[form], _RESAMPLES, seed).items()},
            "planner_fallbacks": _share(
                [step.fallback is not None for step in calls if step.node == "planner"]
            ),
        }
    figures["pairs"] = {
        "hybrid-text": [
            *pair(own["hybrid"], own["text"], _RESAMPLES, seed),
            *(
                {**row, "metric": f"served_{row['metric']}"}
                for row in pair(served["hybrid"], served["text"], _RESAMPLES, seed)
            ),
        ]
    }
    return figures | {"agreement": _agreement(asked, made)}


def _agreement(asked: Asked, made: dict[str, Made]) -> dict[str, Any]:
    """Of people whose personas the model found in both forms."""
    pairs = zip(made["text"].personas, made["hybrid"].personas, strict=True)
    both = [
        agreement(text, hybrid, asked.tools.embedder)
        for text, hybrid in pairs
        if all(persona.source == "model" for persona in [*text, *hybrid])
    ]
    known = [one for one in both if one is not None]
    return {
        "people": len(known),
        "persona_similarity": _share([one[0] for one in known]),
        "evidence_overlap": _share([one[1] for one in known]),
    }


def _share(values: list[Any]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def _merge(figures: Figures, more: Figures) -> None:
    """Add `more`, joining objects and lists that are there already."""
    for key, value in more.items():
        there = figures.get(key)
        if isinstance(there, dict) and isinstance(value, dict):
            _merge(there, value)
        elif isinstance(there, list) and isinstance(value, list):
            there += value
        else:
            figures[key] = value
