"""One recommendation for one caller: admission, deadline, engine, and what was shown."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from starlette.requests import Request as HttpRequest

from foretaste.agents.config import AgentsConfig
from foretaste.agents.objects import Request
from foretaste.agents.online.live import Live
from foretaste.agents.recommend import Run, result, stream
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.running.checkpoints import Thread
from foretaste.app.api.config import ApiConfig
from foretaste.app.api.errors import ClientLeft, Refused
from foretaste.app.api.gate import Gate
from foretaste.app.api.metrics import Metrics
from foretaste.app.api.runs import Runs
from foretaste.app.api.workshop import AskedFrom, Workshop
from foretaste.data.errors import EngineError, EngineUnavailable, ForetasteError, InputError
from foretaste.data.feedback import Feedback, shown_line
from foretaste.serving.chat import ChatModel
from foretaste.serving.embedder import warm_up
from foretaste.serving.index.filters import ItemFilter

Made = TypeVar("Made")
OnStep = Callable[[str, Mapping[str, Any]], None]
_ADD_PAGE = "INSERT INTO exposures VALUES (?, ?, ?, ?)"
_ADD_THUMB = (
    "INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (request_id, user_id, item_id) "
    "DO UPDATE SET at = excluded.at, thumb = excluded.thumb, reason = excluded.reason"
)
_OLD_PAGES = (
    "DELETE FROM exposures WHERE at < ? AND request_id NOT IN (SELECT request_id FROM feedback)"
)
RUNS_ALONE, RUNS_WITH_MODEL = 3, 16
_LOOK_S = 1.0  # between two looks at the engine
_FOLLOW_S = 1.0  # between two looks at what other servers changed
_LOG = logging.getLogger("foretaste.api")


@dataclass
class Engine:
    """The language model of a server, and whether it answers.

    Attributes:
        model: the seam to it, or None to run on the grounded fallbacks.
        probe: whether it answers now; None when that cannot be asked.
        ready: what the last look said.
        wait_s: seconds after which to ask again when it does not.
    """

    model: ChatModel | None = None
    probe: Callable[[], Awaitable[bool]] | None = None
    ready: bool = True
    wait_s: Callable[[], float] = lambda: 2.0

    async def watch(self) -> None:
        """Look at the engine again and again, until cancelled."""
        while self.probe is not None:
            self.ready = await self.probe()
            await asyncio.sleep(_LOOK_S)


class Service:
    """What all routes share. Belongs to one event loop.

    Args:
        live: the data set that is served.
        engine: the language model.
        config: the limits.
    """

    def __init__(self, live: Live, engine: Engine, config: ApiConfig) -> None:
        self.live, self.engine, self.config = live, engine, config
        runs = config.runs or (RUNS_ALONE if engine.model is None else RUNS_WITH_MODEL)
        self.gate, self.runs = Gate(runs, config.waiting), Runs()
        self.metrics, self.workshop = Metrics(self.gate), Workshop()
        self.metrics.engine.set_function(lambda: float(self.engine.ready))

    async def recommend(
        self,
        request: Request,
        request_id: str,
        on_step: OnStep | None = None,
        *,
        traced: bool = False,
        run_id: str | None = None,
        fixed: bool = False,
    ) -> dict[str, Any]:
        """The whole result of one request, with its `request_id`; kept as shown before it is given.

        Args:
            request: whom to recommend to, and what.
            request_id: under which feedback will refer to it.
            on_step: told of each event of `agents.recommend.stream` as it comes.
            traced: whether the result has its trace.
            run_id: the name under which its checkpoints are kept and gone on with; see `Runs`.
            fixed: whether nothing of the page is left to chance.

        Raises:
            Refused: no such user (404), or no room (503).
            InputError: unknown items, filters that leave nothing, or a run begun with something
                else.
            EngineError: the language model is not there.
            TimeoutError: the deadline passed.
        """
        self._check(request)
        if not fixed:
            request = request.model_copy(update={"draw": _draw(run_id or request_id)})
        name = self.engine.model.name if self.engine.model else ""
        kept = self.runs.of(self.live.tools, request, name, run_id)
        async with asyncio.timeout(self.config.deadline_s), self.gate.admitted(), kept as thread:
            done = thread is not None and thread.done
            model = self.engine.model if done else self._model()
            try:
                if thread is not None:  # its checkpoints belong to this loop
                    tools = self.live.tools.with_model(model)
                    made = await _worked_out(tools, request, on_step, thread, traced=traced)
                else:
                    made = await self._elsewhere(model, request, on_step, traced=traced)
            except EngineError:
                self.engine.ready = self.engine.probe is None
                raise
        made_of = {"request_id": request_id, **made}
        if not done:
            self.metrics.count_run(made_of)
        await self._keep_shown(made_of)
        return made_of

    async def _elsewhere(
        self, model: ChatModel | None, request: Request, on_step: OnStep | None, *, traced: bool
    ) -> dict[str, Any]:
        """The result, worked out in the workshop; `on_step` is called on this loop."""
        here = asyncio.get_running_loop()
        tools = self.live.tools.with_model(model and AskedFrom(model, here))

        def told(node: str, made: Mapping[str, Any]) -> None:
            if on_step is not None:
                here.call_soon_threadsafe(on_step, node, made)

        return await self.workshop.run(_worked_out(tools, request, told, None, traced=traced))

    async def close(self) -> None:
        """End the workshop."""
        await self.workshop.close()

    async def search(
        self, query: str, n: int, categories: tuple[str, ...] = ()
    ) -> list[dict[str, Any]]:
        """Items by meaning and by word, best first: item_id, title, categories, price."""
        async with asyncio.timeout(self.config.deadline_s), self.gate.admitted():
            return await asyncio.to_thread(self._search, query, n, categories)

    async def keep_feedback(self, thumbs: list[Feedback]) -> None:
        """Keep thumbs: on disk when this returns. The same thumb sent again replaces itself."""
        rows = [
            [
                one.request_id,
                one.user_id,
                one.item_id,
                time.time(),
                1 if one.thumb == "up" else -1,
                one.reason,
            ]
            for one in thumbs
        ]
        await asyncio.shield(asyncio.wrap_future(self.live.ledger.write((_ADD_THUMB, rows))))
        for one in thumbs:
            self.metrics.feedback.labels(one.thumb).inc()

    async def warm_up(self) -> None:
        """Load what the first requests would otherwise wait for, and grow the process by."""
        tools = self.live.tools
        await asyncio.to_thread(warm_up, tools.embedder)
        if tools.interest is not None:
            await asyncio.to_thread(tools.interest.warm_up)

    async def follow(self) -> None:
        """Take in, until cancelled, what other servers of a shared database change."""
        while self.live.ledger.shared:
            try:
                await self.live.follow()
            except ForetasteError as error:  # the next look finds what this one missed
                _LOG.error("%s", error)
            await asyncio.sleep(_FOLLOW_S)

    def forget_old_pages(self) -> None:
        """Delete pages that were shown long ago and brought no feedback."""
        before = time.time() - self.config.exposure_days * 86_400
        self.live.ledger.write((_OLD_PAGES, [[before]]))

    def _search(self, query: str, n: int, categories: tuple[str, ...]) -> list[dict[str, Any]]:
        tools = self.live.tools
        dataset = tools.dataset
        allowed = ItemFilter(categories=categories).mask(dataset.items)  # (items,)
        allowed[dataset.withdrawn] = False
        vectors = tools.embedder.encode([query], keep=False)  # (1, d)
        hits = self.live.index.search_both([query], vectors, n, allowed)
        rows = [int(row) for row in hits.rows[0] if row >= 0]
        return [
            {
                "item_id": dataset.item_ids[row],
                "title": dataset.titles[row],
                "categories": dataset.categories_of(row),
                "price": dataset.items["price"][row],
            }
            for row in rows
        ]

    def _check(self, request: Request) -> None:
        if request.user_id is not None and not self.live.tools.dataset.knows(request.user_id):
            raise Refused(404, "unknown_user", f"There is no user {request.user_id!r} here.")
        if request.history is not None and len(request.history) > self.config.history_items:
            raise InputError(
                f"A history of at most {self.config.history_items} items was expected, "
                f"not {len(request.history)}; send the newest ones."
            )

    def _model(self) -> ChatModel | None:
        if not self.engine.ready:
            raise EngineUnavailable(
                "The engine does not answer.", self.gate.turn(self.engine.wait_s())
            )
        return self.engine.model

    async def _keep_shown(self, made: dict[str, Any]) -> None:
        """Keep the page: where each item stood, by which policy, how likely, and who else might have."""
        policy = policy_of(self.live.tools.config, made["versions"])
        page = [shown_line(one, policy) for one in made["recommendations"]]
        row = [made["request_id"], time.time(), made["user_id"] or "", json.dumps(page)]
        await asyncio.wrap_future(self.live.ledger.write((_ADD_PAGE, [row])))


def policy_of(config: AgentsConfig, versions: Mapping[str, str]) -> str:
    """The version of the policy that made a page: 12 hex digits of all that decides it."""
    decides = json.dumps([config.model_dump(), dict(versions)], sort_keys=True)
    return hashlib.sha256(decides.encode()).hexdigest()[:12]


def _draw(name: str) -> int:
    """What chance is drawn from: a fresh request id is as good as a coin, and it is in the log."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")


async def _worked_out(
    tools: Tools,
    request: Request,
    on_step: OnStep | None,
    thread: Thread | None,
    *,
    traced: bool,
) -> dict[str, Any]:
    """The result of one run, each of its steps told as it comes."""
    run = Run()
    async with aclosing(stream(tools, request, run, thread)) as steps:
        async for node, made in steps:
            if on_step is not None:
                on_step(node, made)
    return result(tools, request, run, traced=traced)


async def while_connected(http: HttpRequest, work: Coroutine[Any, Any, Made]) -> Made:
    """What `work` gives; when the client leaves before that, the work is cancelled.

    Args:
        http: the request, its body read already.

    Raises:
        ClientLeft: nobody waits for the answer any more.
    """
    task = asyncio.create_task(work)
    left = asyncio.create_task(_left(http))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeft
    finally:
        left.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _left(http: HttpRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        continue
