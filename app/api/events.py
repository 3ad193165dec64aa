"""Server-sent events that stop their work when nobody listens any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_BEAT_S = 15.0  # a comment this often keeps proxies from closing a quiet connection


def event(data: bytes, name: str | None = None) -> bytes:
    """One event. JSON holds no raw line break, so nothing in it can end the event early.

    >>> event(b'{"a": 1}', "rank")
    b'event: rank\\ndata: {"a": 1}\\n\\n'
    """
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + data + b"\n\n"


class EventStream(Response):
    """Sends events as they come; closes their source when the client leaves."""

    media_type = "text/event-stream"

    def __init__(self, source: AsyncGenerator[bytes]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        sending = asyncio.create_task(self._send_all(send))
        left = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({sending, left}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            for task in (sending, left):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    async def _send_all(self, send: Send) -> None:
        head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(head)
        async with aclosing(_with_beats(self._source)) as source:
            async for chunk in source:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _with_beats(source: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """The source, with a comment whenever nothing came for a while."""
    following: asyncio.Future[bytes] | None = None
    try:
        while True:
            following = following or asyncio.ensure_future(anext(source))
            done, _ = await asyncio.wait({following}, timeout=_BEAT_S)
            if not done:
                yield b": waiting\n\n"
                continue
            try:
                chunk = following.result()
            except StopAsyncIteration:
                return
            following = None
            yield chunk
    finally:
        if following is not None and not following.done():
            following.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await following
        await source.aclose()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
