"""Ask the graph about many people in one mode, and keep what the figures are made of."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from foretaste.agents.config import AgentsConfig
from foretaste.agents.objects import Candidate, Mode, Request, Step, Tag
from foretaste.agents.reasoning import expert, planner
from foretaste.agents.reasoning.routes import ANGLES
from foretaste.agents.recommend import Run, stream
from foretaste.agents.retrieval.tools import Tools
from foretaste.data.errors import UnreadableAnswer
from foretaste.data.progress import meter
from foretaste.serving.chat import Answer, Ask, ChatModel, Parsed

PAGE = 10  # places of the page
AT_ONCE = 16  # people, with a model; one after another without one
WIDE = 30  # tags behind `tag_hr@30`
# Of the reference machine, for the estimate alone: prompt tokens read and tokens written a second.
_READ_S, _WRITTEN_S = 240, 87
_START_S = 50  # of one engine
_INSTRUCTIONS = 300  # prompt tokens of a call beside the history


@dataclass(frozen=True)
class Outcome:
    """What one run made.

    Attributes:
        tags: the kept tags in their order.
        candidates: of all channels.
        page: item ids, best first.
        steps: every call.
        intents: personas, or routes.
    """

    tags: tuple[Tag, ...]
    candidates: tuple[Candidate, ...]
    page: tuple[str, ...]
    steps: tuple[Step, ...]
    intents: int = 0


class Doubted:
    """A model that is asked and never believed: real costs of the prompts that the twins write.

    A small model may name two personas where five were wanted, and then costs less for fewer
    intents. Doubted, every mode has the intents of its grounded twins.
    """

    def __init__(self, inner: ChatModel) -> None:
        self._inner, self.name = inner, inner.name

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        """Ask the model, then raise `UnreadableAnswer` with what it cost."""
        answer = await self._inner.ask(ask)
        raise UnreadableAnswer(
            "doubted, so that all modes have as many intents", answer.text, answer.usage
        )

    async def close(self) -> None:
        """Let go of connections."""
        await self._inner.close()


@dataclass(frozen=True)
class Pass:
    """One mode on all people that were asked about.

    Attributes:
        outcomes: in the order of the people.
        seconds: wall time of all together.
    """

    outcomes: list[Outcome]
    seconds: float


async def ask_all(tools: Tools, users: Sequence[str], mode: Mode, seed: int, label: str) -> Pass:
    """Run the graph for everybody, without explanations, which are the same in all modes.

    Args:
        tools: of the graph; with a model up to `AT_ONCE` runs are under way together.
        users: ids.
        mode: how the tags come about.
        seed: of everything that samples.
        label: of the progress.
    """
    places = asyncio.Semaphore(AT_ONCE if tools.model else 1)
    start = time.perf_counter()
    with meter(label, len(users), "users") as progress:

        async def one(user: str) -> Outcome:
            async with places:
                made = await _ask(tools, user, mode, seed)
            progress.advance()
            return made

        outcomes = await asyncio.gather(*(one(user) for user in users))
    return Pass(list(outcomes), time.perf_counter() - start)


async def _ask(tools: Tools, user: str, mode: Mode, seed: int) -> Outcome:
    run, request = Run(), Request(user_id=user, n=PAGE, explain=False, mode=mode, seed=seed)
    async for _ in stream(tools, request, run):
        continue
    state = run.state
    return Outcome(
        tuple(verdict.tag for verdict in state["verdicts"] if verdict.kept),
        tuple(state["candidates"]),
        tuple(one.item_id for one in state["page"]),
        tuple(state["steps"]),
        len(state["personas"]),
    )


def wide(config: AgentsConfig, mode: Mode) -> AgentsConfig:
    """The same settings asking for `WIDE` kept tags.

    Routes keep all they propose, so each proposes its share; the arbiter is offered twice as many
    as it shall keep.

    >>> [wide(AgentsConfig(personas=5), mode).tags for mode in ("hierarchical", "routes")]
    [12, 6]
    """
    offered = 2 * WIDE if mode == "hierarchical" else WIDE
    makers = min(config.personas, len(ANGLES)) if mode == "routes" else config.personas
    each = min(-(-offered // makers), 30)
    return config.model_copy(update={"kept": WIDE, "tags": each})


def expected_s(config: AgentsConfig, mode: Mode, users: int) -> float:
    """A rough upper bound of the seconds of one pass on the reference machine, engine and all.

    Every call is taken to fill its answer and every history its budget.
    """
    routes = min(config.personas, len(ANGLES))
    history = config.history_tokens + _INSTRUCTIONS
    tags = expert.TOKENS_EACH * config.tags
    persona = planner.TOKENS_EACH
    read = {
        "hierarchical": history + (config.personas + 2) * _INSTRUCTIONS,
        "routes": 2 * routes * history,
        "single": history,
    }[mode]
    written = {
        "hierarchical": config.personas * (persona + tags) + expert.TOKENS_EACH * config.kept,
        "routes": routes * (persona + tags),
        "single": expert.TOKENS_EACH * config.kept,
    }[mode]
    return _START_S + users * (read / _READ_S + written / _WRITTEN_S)
