"""The door: who asks, how often, how much; and one line in the log without anybody's data.

Pure ASGI, so that nothing stands between a route and the connection it watches.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foretaste.app.api import errors
from foretaste.app.api.config import ApiConfig
from foretaste.app.api.errors import Refused
from foretaste.app.api.keys import ApiKey, KeyRing
from foretaste.app.api.limits import Limits, too_often
from foretaste.app.api.metrics import Metrics
from foretaste.app.api.shared_limits import SharedLimits

log = logging.getLogger("foretaste.api")
OPEN = frozenset({"/healthz", "/readyz"})
LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})


@dataclass(frozen=True)
class Caller:
    """Who asks: the key's name (`local` without keys), and the id of this request."""

    name: str
    request_id: str


class Guard:
    """Wraps the application.

    Args:
        app: what answers.
        ring: the keys; while there are none, only this machine may ask.
        config: the limits.
        metrics: where requests are counted.
        any_host: whether the server may be asked without keys under other names than this machine's.
        page: where the page is mounted, which has a login and limits of its own; None without one.
        login: whether the page asks who is there; if not, only this machine may open it.
        shared: the limits of all servers together; None where there is one.
    """

    def __init__(
        self,
        app: ASGIApp,
        ring: KeyRing,
        config: ApiConfig,
        metrics: Metrics,
        any_host: bool = False,
        page: str | None = None,
        login: bool = False,
        shared: SharedLimits | None = None,
    ) -> None:
        self.app, self.ring, self.config, self.metrics = app, ring, config, metrics
        self.any_host, self.limits = any_host, Limits()
        self.page, self.login, self.shared = page, login, shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass a lifespan event on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, answer = time.perf_counter(), _Answer(send, uuid.uuid4().hex)
        caller = Caller("nobody", answer.request_id)
        try:
            headers = Headers(scope=scope)
            if self._is_page(scope["path"]):
                if not self.login:
                    self._check_local(headers)
                scope.setdefault("state", {})["caller"] = Caller("page", answer.request_id)
                await self.app(scope, receive, answer.send)
                return
            key = self._let_in(scope["path"], headers)
            caller = Caller(key.name if key else "local", answer.request_id)
            scope.setdefault("state", {})["caller"] = caller
            async with self._limited(key):
                await self.app(scope, self._bounded(headers, receive), answer.send)
        except Exception as error:  # noqa: BLE001 (the door is where every fault ends)
            await answer.refuse(errors.of(error), scope, receive)
        finally:
            self._note(scope, caller, answer, time.perf_counter() - started)

    def _is_page(self, path: str) -> bool:
        return self.page is not None and (path == self.page or path.startswith(f"{self.page}/"))

    def _let_in(self, path: str, headers: Headers) -> ApiKey | None:
        """The key of a caller who may come in; None where none is needed."""
        if path in OPEN:
            return None
        if not len(self.ring):
            self._check_local(headers)
            return None
        presented = headers.get("authorization", "")
        presented = presented[7:] if presented[:7].lower() == "bearer " else ""
        key = self.ring.find(presented or headers.get("x-api-key", ""))
        if key is None:
            raise Refused(
                401, "unauthorized", "A valid key was expected as `Authorization: Bearer KEY`."
            )
        return key

    def _check_local(self, headers: Headers) -> None:
        """Without keys, web pages of other places must not reach this machine through a browser."""
        if self.any_host:
            return
        host = headers.get("host", "").rsplit(":", 1)[0]
        origin = headers.get("origin")
        foreign = origin is not None and origin.split("://")[-1].rsplit(":", 1)[0] not in LOCAL
        if host not in LOCAL or foreign:
            raise Refused(
                403,
                "forbidden",
                "Without API keys only this machine is served; add one with "
                "`foretaste serve keys add NAME`.",
            )

    @asynccontextmanager
    async def _limited(self, key: ApiKey | None) -> AsyncIterator[None]:
        """One request of a key, within its limits."""
        if key is None:
            yield
            return
        rate = key.rate or self.config.rate
        burst = max(1, round(self.config.burst * rate / self.config.rate))
        if self.shared is not None:
            wait = await asyncio.to_thread(self.shared.wait_s, key.name, rate, burst)
            if wait > 0:
                raise too_often(rate, wait)
        with self.limits.using(key.name, rate, burst, key.concurrency or self.config.concurrency):
            yield

    def _bounded(self, headers: Headers, receive: Receive) -> Receive:
        """`receive`, which gives up on a body that is too large or too slow."""
        limit, body_s = self.config.body_bytes, self.config.body_s
        too_large = Refused(413, "too_large", f"A body has at most {limit:,} bytes.")
        announced = headers.get("content-length", "0")
        if not announced.isdigit() or int(announced) > limit:
            raise too_large
        seen, complete = 0, False
        ends = time.monotonic() + body_s

        async def bounded() -> Message:
            nonlocal seen, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(ends - time.monotonic()):
                    message = await receive()
            except TimeoutError as error:
                sentence = f"A body must come within {body_s:g} s."
                raise Refused(408, "slow_body", sentence) from error
            seen += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if seen > limit:
                raise too_large
            return message

        return bounded

    def _note(self, scope: Scope, caller: Caller, answer: _Answer, seconds: float) -> None:
        """Count the request and write its line: the route's pattern, never the address itself."""
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(route, answer.status).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        if answer.kind is not None:
            self.metrics.refused.labels(answer.kind).inc()
        log.info(
            "%s %s %s %.0f ms key=%s request=%s",
            scope["method"] if scope["method"].isalpha() else "?",
            route,
            answer.status,
            seconds * 1000,
            caller.name,
            caller.request_id,
        )


class _Answer:
    """Watches what is sent: adds the request id, remembers the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self.request_id = send, request_id
        self.status, self._begun = 499, False
        self.kind: str | None = None

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self._begun, self.status = True, message["status"]
            MutableHeaders(scope=message)["x-request-id"] = self.request_id
        await self._send(message)

    async def refuse(self, refused: Refused, scope: Scope, receive: Receive) -> None:
        """Answer with a refusal, unless an answer has begun already."""
        self.kind = refused.kind
        if not self._begun:
            await errors.respond(refused, self.request_id)(scope, receive, self.send)
