"""Offline batches in OpenAI's form: a file of requests in, a file of results out, resumable.

A line of the input is `{"custom_id", "method", "url", "body"}`, a line of the output
`{"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error"}`. Results are
appended as they come, each synced before it counts, so a run that was killed goes on where it was:
every `custom_id` gets exactly one line. A request that was refused keeps its line with the reason.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from foretaste.data.appended import Appended, appended
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.progress import meter
from foretaste.serving.openai_chat import OpenAIChat

URLS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings")
DEADLINE_S = 1800.0  # that one request may take
_ATTEMPTS = 3  # at a request that the server fails at (5xx)
_PAUSE_S = 1.0
_SHOWN = 5  # bad lines named in one sentence


@dataclass(frozen=True)
class Counts:
    """What a run came to.

    Attributes:
        requests: in the input.
        before: answered by earlier runs.
        succeeded, failed: in the output now.
    """

    requests: int
    before: int
    succeeded: int
    failed: int


class Requests:
    """The requests of a batch file, checked whole; bodies are read again when they are sent.

    Args:
        path: one JSON object a line; empty lines are passed over.

    Raises:
        InputError: no such file, or lines that are no requests or repeat a `custom_id`; the
            sentence names the lines.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.places: dict[str, int] = {}  # custom_id → byte where its line begins
        lines: dict[str, int] = {}
        faults: list[str] = []
        offset = 0
        with _opened(path) as file:
            for number, line in enumerate(file, 1):
                start, offset = offset, offset + len(line)
                if not line.strip():
                    continue
                try:
                    name = _checked(line)["custom_id"]
                    if name in lines:
                        raise ValueError(f"custom_id {name!r} stands on line {lines[name]} too")
                    lines[name], self.places[name] = number, start
                except ValueError as error:
                    faults.append(f"line {number}: {error}")
        if faults:
            more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
            raise InputError(
                f"{path} is no batch of requests ({'; '.join(faults[:_SHOWN])}{more}); "
                'each line needs a custom_id of its own, method "POST", url and body.'
            )

    def request(self, custom_id: str) -> dict[str, Any]:
        """One request, read from the file."""
        with _opened(self._path) as file:
            file.seek(self.places[custom_id])
            return _checked(file.readline())


Results = Appended[bool]


def results(path: Path) -> AbstractContextManager[Results]:
    """The output file for the block; it remembers of every `custom_id` whether it succeeded."""
    return appended(path, "custom_id", lambda line: line["error"] is None, plain=True)


async def run_batch(
    requests: Requests, kept: Results, chat: OpenAIChat, concurrency: int
) -> Counts:
    """Send every request that has no result yet, `concurrency` at a time.

    Raises:
        EngineError: the server is gone; what was answered is kept, and the same call goes on.
        ForetasteError: the disk would not take a result.
    """
    waiting = [name for name in requests.places if name not in kept.done]
    left = iter(waiting)
    with meter("Batch", len(waiting), "requests") as progress:

        async def work() -> None:
            for name in left:
                request = await asyncio.to_thread(requests.request, name)
                line = await _result(request, chat)
                try:
                    await asyncio.to_thread(kept.add, line)
                except OSError as error:
                    raise ForetasteError(
                        f"A result could not be written ({error.strerror}); free some space and "
                        "run the same command again: it goes on from here."
                    ) from error
                progress.advance()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(waiting))):
                    group.create_task(work())
        except* ForetasteError as errors:
            raise errors.exceptions[0] from None
    states = [kept.done[name] for name in requests.places]
    return Counts(len(states), len(states) - len(waiting), sum(states), states.count(False))


async def _result(request: dict[str, Any], chat: OpenAIChat) -> dict[str, Any]:
    """The output line of one request."""
    body = {"model": chat.name, **request["body"]}
    line: dict[str, Any] = {"id": f"batch_req_{uuid.uuid4().hex}"}
    line |= {"custom_id": request["custom_id"], "response": None, "error": None}
    try:
        async with asyncio.timeout(DEADLINE_S):
            response = await _answered(request["url"].removeprefix("/v1/"), body, chat)
    except TimeoutError:
        message = f"no answer within {DEADLINE_S:.0f} s"
        return line | {"error": {"code": "request_timeout", "message": message}}
    said = _json(response)
    line["response"] = {
        "status_code": response.status_code,
        "request_id": response.headers.get("x-request-id") or uuid.uuid4().hex,
        "body": said,
    }
    if not response.is_success:
        reason = said.get("error", said) if isinstance(said, dict) else said
        message = reason.get("message", reason) if isinstance(reason, dict) else reason
        line["error"] = {"code": str(response.status_code), "message": str(message)[:1000]}
    return line


async def _answered(path: str, body: dict[str, Any], chat: OpenAIChat) -> httpx.Response:
    """The response; a server that fails is asked a few times, one that is busy until it is not."""
    failures = 0
    while True:
        response = await chat.post(path, body)
        if response.status_code >= 500:
            await chat.notice_death()
            failures += 1
        if failures == _ATTEMPTS or (response.status_code < 500 and response.status_code != 429):
            return response
        await asyncio.sleep(_PAUSE_S * (failures or _ATTEMPTS))


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text[:1000]


def _checked(line: bytes) -> dict[str, Any]:
    """One request; `ValueError` says what is wrong with it."""
    try:
        request = json.loads(line)
    except ValueError as error:
        raise ValueError("no JSON") from error
    fault = _fault_of(request)
    if fault:
        raise ValueError(fault)
    checked: dict[str, Any] = request
    return checked


def _fault_of(request: Any) -> str | None:
    """What is wrong with a request, or None."""
    if not isinstance(request, dict):
        return "no JSON object"
    name, body = request.get("custom_id"), request.get("body")
    if not isinstance(name, str) or not name:
        return "custom_id is no text"
    if request.get("method") != "POST":
        return f"method is {request.get('method')!r}"
    if request.get("url") not in URLS:
        return f"url is {request.get('url')!r}, not one of {', '.join(URLS)}"
    if not isinstance(body, dict):
        return "body is no JSON object"
    return "body asks for a stream" if body.get("stream") else None


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(
            f"A file of requests was expected at {path}, which cannot be read ({error.strerror})."
        ) from error
