"""`POST /v1/recommendations`: the graph for one person, whole or step by step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import Any

from fastapi import APIRouter
from pydantic_core import to_json
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from foretaste.agents.recommend import Event
from foretaste.app.api import errors
from foretaste.app.api.events import EventStream, event
from foretaste.app.api.service import Service, while_connected
from foretaste.app.api.wire import Wanted

_RESULT = {
    "request_id": "5f0c7b1e9a2d4c37b7d1f0a6c1e2d3b4",
    "user_id": "1",
    "personas": [{"name": "Drama & War", "evidence": ["318", "50"], "source": "fallback"}],
    "tags": [{"text": "war drama", "kept": True, "reason": "close to the history"}],
    "recommendations": [
        {
            "item_id": "527",
            "title": "Gandhi (1982)",
            "score": 0.81,
            "channel": "collaborative",
            "explanation": "You chose Schindler's List (1993); Gandhi (1982) is also Drama.",
            "tags": [],
        }
    ],
    "timings_ms": {"total": 212.0},
    "tokens": {"total": {"prompt": 0, "cached": 0, "completion": 0}},
    "fallbacks": {"planner": {"calls": 1, "fallbacks": 1, "reasons": ["no model was asked"]}},
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The result; with `stream`, an event `started` as a step starts, one of the "
        "step's own name as it ends, `explained` as sentences of a group are final, and the "
        "result last.",
        "content": {
            "application/json": {"example": _RESULT},
            "text/event-stream": {
                "example": 'event: started\ndata: {"node": "planner", "label": ""}\n\n'
                'event: planner\ndata: {"personas": []}\n\n'
                'event: result\ndata: {"recommendations": []}\n\n'
            },
        },
    },
    404: {"description": "No such user."},
    422: {"description": "Something in the request is wrong, in one sentence."},
    503: {"description": "The engine is down or the queue is full; see Retry-After."},
    504: {"description": "No answer within the deadline."},
}


def routes(service: Service) -> APIRouter:
    """The route over one service."""
    router = APIRouter(tags=["recommendations"])

    @router.post("/v1/recommendations", responses=_ANSWERS, response_class=Response)
    async def recommend(wanted: Wanted, http: HttpRequest) -> Response:
        """Recommend items to a user, to a history, or to a wish."""
        request_id = http.state.caller.request_id
        if wanted.stream:
            return EventStream(await begun(service, wanted, request_id, http))
        work = service.recommend(
            wanted.request(),
            request_id,
            traced=wanted.trace,
            run_id=wanted.run_id,
            fixed=wanted.seed is not None,
        )
        made = await while_connected(http, work)
        return Response(to_json(made), media_type="application/json")

    return router


async def begun(
    service: Service, wanted: Wanted, request_id: str, http: HttpRequest
) -> AsyncGenerator[bytes]:
    """The events of a run whose first step is done: faults before that still have their status."""
    steps = _steps(service, wanted, request_id)
    first = await while_connected(http, steps.__anext__())

    async def all_of_them() -> AsyncGenerator[bytes]:
        try:
            yield first
            async for chunk in steps:
                yield chunk
        finally:
            await steps.aclose()

    return all_of_them()


async def _steps(service: Service, wanted: Wanted, request_id: str) -> AsyncGenerator[bytes]:
    """An event for every step of the run; the last one is the result, or what went wrong.

    Raises:
        Exception: what went wrong before the first step was done.
    """
    made: asyncio.Queue[Event | None] = asyncio.Queue()
    work = asyncio.create_task(
        service.recommend(
            wanted.request(),
            request_id,
            lambda node, update: made.put_nowait((node, update)),
            traced=wanted.trace,
            run_id=wanted.run_id,
            fixed=wanted.seed is not None,
        )
    )
    work.add_done_callback(lambda _: made.put_nowait(None))
    count = 0
    try:
        while (step := await made.get()) is not None:
            count += 1
            yield event(to_json(_shown(*step)), step[0])
        if not count:
            work.result()
        try:
            yield event(to_json(work.result()), "result")
        except Exception as error:  # noqa: BLE001 (the connection has its status already)
            yield event(errors.body_of(errors.of(error), request_id), "error")
    finally:
        work.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await work


def _shown(node: str, made: Mapping[str, Any]) -> dict[str, Any]:
    """A step's update; of the candidates, how many each channel found."""
    update: dict[str, Any] = {"node": node, **made}
    if "candidates" in update:
        channels: dict[str, int] = {}
        for candidate in update.pop("candidates"):
            for channel in candidate.ranks:
                channels[channel] = channels.get(channel, 0) + 1
        update["found"] = channels
    return update
