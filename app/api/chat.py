"""`/v1/chat/completions` as OpenAI's clients know it: the last thing said is the wish."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterator
from typing import Any

from fastapi import APIRouter
from pydantic_core import to_json
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from foretaste.agents.objects import Request
from foretaste.agents.wording.prompting import clean
from foretaste.app.api.errors import Refused
from foretaste.app.api.events import EventStream, event
from foretaste.app.api.service import Service, while_connected
from foretaste.app.api.wire import Chat

MODEL = "foretaste"
ITEMS = 5  # in one answer: as many as people read
_WISH = 500  # characters
_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]!|~#"})


def routes(service: Service) -> APIRouter:
    """The routes over one service."""
    router = APIRouter(tags=["openai"])
    since = int(time.time())

    @router.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The one model there is."""
        one = {"id": MODEL, "object": "model", "created": since, "owned_by": "foretaste"}
        return {"object": "list", "data": [one]}

    @router.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        """The one model there is."""
        _known(name)
        return {"id": MODEL, "object": "model", "created": since, "owned_by": "foretaste"}

    @router.post("/v1/chat/completions", response_class=Response)
    async def complete(chat: Chat, http: HttpRequest) -> Response:
        """Ask for something to watch, buy or read; the answer names items of the catalogue.

        `user` is a user of the data set, if there is one of that id. Beside OpenAI's fields the
        answer has `foretaste` with the request id and the items themselves.
        """
        _known(chat.model)
        request_id = http.state.caller.request_id
        fixed = chat.seed is not None
        work = service.recommend(_asked(service, chat), request_id, fixed=fixed)
        made = await while_connected(http, work)
        head = {
            "id": f"chatcmpl-{request_id}",
            "created": int(time.time()),
            "model": MODEL,
        }
        if chat.stream:
            usage = chat.stream_options is not None and chat.stream_options.include_usage
            return EventStream(_chunks(head, made, usage))
        message = {"role": "assistant", "content": "".join(_said(made))}
        whole = head | {
            "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": _usage(made),
            "foretaste": _beside(made),
        }
        return Response(to_json(whole), media_type="application/json")

    return router


def _known(name: str) -> None:
    if name != MODEL:
        raise Refused(404, "model_not_found", f"There is one model here, {MODEL!r}; ask for it.")


def _asked(service: Service, chat: Chat) -> Request:
    """The last thing the person said, as a wish."""
    said = [turn.text() for turn in chat.messages if turn.role == "user"]
    wish = " ".join(said[-1].split())[:_WISH] if said else ""
    if not wish:
        raise Refused(422, "invalid_request", "A message with the role `user` was expected.")
    user = chat.user if chat.user and service.live.tools.dataset.knows(chat.user) else None
    return Request(user_id=user, wish=wish, n=ITEMS, seed=chat.seed or 0)


def _said(made: dict[str, Any]) -> Iterator[str]:
    """The answer, piece by piece."""
    yield "Here is what I would choose:\n"
    for number, one in enumerate(made["recommendations"], 1):
        yield f"\n{number}. {plain(one['title'])}: {plain(one['explanation'])}"


def plain(text: str) -> str:
    """A text of the catalogue on one line that a chat window shows as it is, not as markup.

    >>> plain("![free](http://x.example)\\nnew line <b>")
    '\\\\!\\\\[free\\\\](http://x.example) new line ‹b›'
    """
    return clean(text, 400).translate(_MARKUP)


def _beside(made: dict[str, Any]) -> dict[str, Any]:
    return {"request_id": made["request_id"], "recommendations": made["recommendations"]}


def _usage(made: dict[str, Any]) -> dict[str, int]:
    spent = made["tokens"].get("total", {"prompt": 0, "completion": 0})
    return {
        "prompt_tokens": spent["prompt"],
        "completion_tokens": spent["completion"],
        "total_tokens": spent["prompt"] + spent["completion"],
    }


async def _chunks(head: dict[str, Any], made: dict[str, Any], usage: bool) -> AsyncGenerator[bytes]:
    """The answer as OpenAI streams it."""
    head = head | {"object": "chat.completion.chunk"}

    def chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event(to_json(head | {"choices": [choice]} | more))

    yield chunk({"role": "assistant", "content": ""})
    for piece in _said(made):
        yield chunk({"content": piece})
    yield chunk({}, "stop", foretaste=_beside(made))
    if usage:
        yield event(to_json(head | {"choices": [], "usage": _usage(made)}))
    yield event(b"[DONE]")
