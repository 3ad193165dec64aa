"""The road of `foretaste bench agents`: people, three modes, quality and costs; docs/agents-bench.md."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast, get_args

from pydantic import BaseModel

from foretaste.agents.config import AgentsConfig
from foretaste.agents.objects import Mode
from foretaste.agents.retrieval.tools import Tools
from foretaste.app.benching.agent_cases import HISTORY, Asked, Which, asked_about
from foretaste.app.benching.agent_figures import channels, cost, leaf_hits, quality
from foretaste.app.benching.agent_report import Measured, report
from foretaste.app.benching.agent_runs import AT_ONCE, Doubted, Pass, ask_all, expected_s, wide
from foretaste.app.benching.engines import PATIENCE_S
from foretaste.data.errors import InputError
from foretaste.data.progress import note
from foretaste.data.settings import groups_known, override
from foretaste.serving.chat import ChatModel
from foretaste.serving.engine import EngineConfig, open_chat

MODES: tuple[Mode, ...] = get_args(Mode)
SPLITS = ("leave-one-out",)  # the only one where a person is asked about once
ENGINES = ("vllm", "none")  # the prefix cache must be ours to switch
CASES = get_args(Which)
_WITHOUT_MODEL_S = 0.05  # of one person in one mode
Figures = dict[str, Any]


class Bench(BaseModel, frozen=True):
    """The options of one `foretaste bench agents`; see its help."""

    dataset: str = "amazon-beauty"
    users: int = 200
    least_events: int = HISTORY
    model_users: int | None = None
    modes: tuple[str, ...] = MODES
    engine: str = "vllm"
    split: str = "leave-one-out"
    cases: str = "test"
    same_intents: bool = False
    seed: int = 0
    settings: tuple[str, ...] = ()

    @property
    def with_model(self) -> int:
        """How many people the model is asked about."""
        if self.engine == "none":
            return 0
        return self.users if self.model_users is None else self.model_users


def run(bench: Bench, keep: Callable[[Figures], None] = lambda figures: None) -> Figures:
    """Measure quality and costs of the modes.

    Args:
        bench: the options.
        keep: is given the figures so far whenever a mode has been measured.

    Returns:
        The object of `bench agents --json`; docs/agents-bench.md tells its keys.

    Raises:
        InputError: a wrong option, or too few people.
    """
    modes = _checked(bench)
    start = AgentsConfig(personas=5, adaptive_personas=False, deadline_s=PATIENCE_S)
    config = override(start, "agents", bench.settings)
    engine = override(EngineConfig(), "engine", bench.settings)
    if engine.endpoint or engine.engine != "vllm":
        raise InputError(
            "bench agents switches the prefix cache off and on, so it starts vLLM itself; leave "
            "engine.endpoint and engine.engine out, or use --engine none."
        )
    asked = asked_about(
        bench.dataset,
        cast(Which, bench.cases),
        bench.users,
        bench.seed,
        config,
        bench.least_events,
    )
    _announce(bench, asked, modes)
    work = _Work(bench, asked, modes, engine, keep)
    return asyncio.run(work.all())


def _checked(bench: Bench) -> tuple[Mode, ...]:
    groups_known(bench.settings, ("agents", "engine"))
    known = {"--engine": ENGINES, "--split": SPLITS, "--cases": CASES}
    given = {"--engine": bench.engine, "--split": bench.split, "--cases": bench.cases}
    for option, value in given.items():
        if value not in known[option]:
            raise InputError(f"{option} expects {' or '.join(known[option])}, not {value!r}.")
    for mode in bench.modes:
        if mode not in MODES:
            raise InputError(f"--modes expects some of {', '.join(MODES)}, not {mode!r}.")
    if not bench.modes or len(set(bench.modes)) < len(bench.modes):
        raise InputError(f"--modes expects different modes, not {','.join(bench.modes)!r}.")
    if bench.with_model > bench.users:
        raise InputError(
            f"--model-users {bench.with_model} is more than the {bench.users} of --users; the model "
            "is asked about some of these users."
        )
    return cast(tuple[Mode, ...], bench.modes)


def _announce(bench: Bench, asked: Asked, modes: tuple[Mode, ...]) -> None:
    """Who is asked about, and how long it may take."""
    seconds = 2 * len(modes) * bench.users * _WITHOUT_MODEL_S
    passes = [expected_s(asked.tools.config, mode, bench.with_model) for mode in modes]
    wide_ones = [
        expected_s(wide(asked.tools.config, mode), mode, bench.users)
        for mode in modes
        if bench.with_model == bench.users and not bench.same_intents
    ]
    if bench.with_model:
        seconds += 2 * sum(passes) + sum(wide_ones)
    note(
        f"{bench.users:,} of {asked.enough:,} users of {bench.dataset} with enough events; "
        f"{bench.with_model:,} of them with the model. On two cores this takes up to about "
        f"{max(seconds / 60, 1):,.0f} min."
    )


@dataclass
class _Work:
    """One benchmark under way."""

    bench: Bench
    asked: Asked
    modes: tuple[Mode, ...]
    engine: EngineConfig
    keep: Callable[[Figures], None]
    measured: Measured = field(default_factory=Measured)

    async def all(self) -> Figures:
        """Quality without a model where not everybody is asked with one; costs; quality with it."""
        if not self._model_answers:
            for mode in self.modes:
                await self._quality(self.asked.tools, mode, None)
                self.keep(self.figures(complete=False))
        if self.bench.with_model:
            await self._uncached()
            for mode in self.modes:
                await self._cached(mode)
                self.keep(self.figures(complete=False))
        return self.figures(complete=True)

    def figures(self, *, complete: bool) -> Figures:
        """What is known so far."""
        told = {
            "dataset": self.bench.dataset,
            "split": self.bench.split,
            "cases": self.bench.cases,
            "least_events": self.bench.least_events,
            "complete": complete,
            "model": self.engine.model if self.bench.with_model else "no model",
            "model_users": self.bench.with_model,
            "at_once": AT_ONCE if self.bench.with_model else 1,
            "same_intents": self.bench.same_intents,
            "answered_by": "model" if self._model_answers else "grounded twins, without a model",
        }
        return report(self.asked, self.measured, told, self.bench.seed)

    @property
    def _model_answers(self) -> bool:
        """Whether the model is asked about everybody, so that quality is that of its answers."""
        return self.bench.with_model == self.bench.users and not self.bench.same_intents

    def _asking(self, chat: ChatModel) -> Tools:
        """The tools with the model, which is not believed where all modes have the same intents."""
        return self.asked.tools.with_model(Doubted(chat) if self.bench.same_intents else chat)

    async def _quality(self, tools: Tools, mode: Mode, done: Pass | None) -> None:
        """Quality of a mode over everybody; the 30 tags behind `tag_hr@30` are asked for apart."""
        done = done or await self._pass(tools, mode, "without a model")
        wider = replace(tools, config=wide(tools.config, mode))
        tagged = await self._pass(wider, mode, "30 tags")
        figures = quality(self.asked, done.outcomes)
        figures["tag_hr@30"] = leaf_hits(self.asked, tagged.outcomes)
        figures["tags_of_30"] = quality(self.asked, tagged.outcomes)["tags"]
        self.measured.quality[mode] = figures
        self.measured.channels[mode] = channels(self.asked, done.outcomes)

    async def _uncached(self) -> None:
        """Costs of all modes on one engine whose cache is off."""
        off = self.engine.model_copy(update={"prefix_caching": False})
        async with open_chat(off) as chat:
            for mode in self.modes:
                done = await self._pass(
                    self._asking(chat), mode, "cache off", self.bench.with_model
                )
                self.measured.off[mode] = cost(done.outcomes)
                self.measured.seconds_off[mode] = done.seconds / self.bench.with_model
                self.keep(self.figures(complete=False))

    async def _cached(self, mode: Mode) -> None:
        """Costs of one mode on an engine of its own, whose cache is on and cold."""
        on = self.engine.model_copy(update={"prefix_caching": True})
        async with open_chat(on) as chat:
            tools = self._asking(chat)
            done = await self._pass(tools, mode, "cache on", self.bench.with_model)
            self.measured.on[mode] = cost(done.outcomes)
            self.measured.seconds_on[mode] = done.seconds / self.bench.with_model
            if self._model_answers:
                await self._quality(tools, mode, done)
            elif not self.bench.same_intents:
                self.measured.with_model[mode] = quality(self.asked, done.outcomes)

    async def _pass(self, tools: Tools, mode: Mode, what: str, users: int | None = None) -> Pass:
        people = self.asked.users[:users]
        return await ask_all(tools, people, mode, self.bench.seed, f"{mode}, {what}")
