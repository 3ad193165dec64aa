"""Every fault as one JSON sentence: `{"error": {"type", "message", "request_id"}}`.

The form is the one that clients of OpenAI's API read. Nothing of the request is repeated but the
id that was not found; places of files and traces stay in the server's own log.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as PlainHTTPException
from starlette.responses import Response

from foretaste.data.errors import EngineError, EngineUnavailable, ForetasteError, InputError

log = logging.getLogger("foretaste.api")
RETRY_S = 2  # when nobody knows better


class Refused(HTTPException):
    """A request that is answered with a sentence and a status.

    Args:
        status: HTTP status.
        kind: short name of the fault, for programs.
        message: the sentence, for people.
        retry_s: seconds after which asking again makes sense.
    """

    def __init__(self, status: int, kind: str, message: str, retry_s: float | None = None) -> None:
        headers = {} if retry_s is None else {"Retry-After": str(max(1, math.ceil(retry_s)))}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, message, headers)
        self.kind = kind


class ClientLeft(Exception):
    """The client closed the connection before its answer was ready."""


def of(error: BaseException) -> Refused:
    """The refusal that tells this error to a caller."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, EngineError):
        retry = error.retry_after if isinstance(error, EngineUnavailable) else RETRY_S
        return Refused(
            503,
            "engine_unavailable",
            "The language model is not available; it is being looked after, ask again soon.",
            retry,
        )
    if isinstance(error, TimeoutError):
        return Refused(504, "deadline", "No answer was ready in time; ask for less, or later.", 5)
    if isinstance(error, InputError):
        return Refused(422, "invalid_request", str(error))
    log.error("fault type=%s at=%s", type(error).__name__, place_of(error))
    if isinstance(error, ForetasteError):
        return Refused(500, "failed", "The work failed on the server; its log has the reason.")
    return Refused(500, "internal", "A fault of the server; its log names the place.")


def place_of(error: BaseException) -> str:
    """File and line where an error was raised: no text of it, which may hold somebody's data."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return "unknown"
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"


def body_of(refused: Refused, request_id: str) -> bytes:
    """The JSON of a refusal."""
    error = {"type": refused.kind, "message": str(refused.detail), "request_id": request_id}
    return json.dumps({"error": error}, ensure_ascii=False).encode()


def respond(refused: Refused, request_id: str) -> Response:
    """The response that tells a refusal."""
    return Response(
        body_of(refused, request_id), refused.status_code, refused.headers, "application/json"
    )


def install(app: FastAPI) -> None:
    """Answer every fault of the application in this form."""

    async def known(request: Request, error: Exception) -> Response:
        return respond(of(error), request.state.caller.request_id)

    async def invalid(request: Request, error: Exception) -> Response:
        faults = error.errors() if isinstance(error, RequestValidationError) else []
        return respond(
            Refused(422, "invalid_request", sentence(faults)), request.state.caller.request_id
        )

    async def plain(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        kind = {
            400: "invalid_request",
            404: "not_found",
            405: "method_not_allowed",
            413: "too_large",
        }.get(status, "refused")
        refused = Refused(status, kind, f"{getattr(error, 'detail', 'Refused')}.")
        return respond(refused, request.state.caller.request_id)

    async def left(request: Request, error: Exception) -> Response:
        return Response(status_code=499)

    for kind in (ForetasteError, TimeoutError, Refused):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(PlainHTTPException, plain)
    app.add_exception_handler(ClientLeft, left)


def sentence(faults: Sequence[Any]) -> str:
    """The first thing wrong with what was sent, without repeating it.

    >>> sentence([{"loc": ("body", "n"), "msg": "Input should be less than 200"}])
    'body.n: Input should be less than 200.'
    """
    if not faults:
        return "The request could not be read."
    where = ".".join(str(part) for part in faults[0]["loc"][:6])
    said = str(faults[0]["msg"]).removeprefix("Value error, ")
    more = f" ({len(faults) - 1} more faults)" if len(faults) > 1 else ""
    return f"{where[:200]}: {said[:300]}{more}."
