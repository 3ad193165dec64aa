"""`ChatModel` over any OpenAI-compatible server: vLLM started here, or an endpoint of the user.

httpx is used directly: one request form is needed, the retries must be ours (faults of transport
only), and importing it takes a tenth of the time of OpenAI's own client.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx

from foretaste.data.errors import EngineError, InputError, ModelError
from foretaste.serving.adapters import Adapters
from foretaste.serving.chat import Answer, Ask, Parsed, Usage
from foretaste.serving.chat_json import read_answer, strict_schema

KEY_VARIABLES = ("FORETASTE_API_KEY", "OPENAI_API_KEY")
RETRIES = 3  # after the first attempt, on faults of transport
_FIRST_PAUSE_S = 0.25  # doubled before each further attempt
_LONGEST_PAUSE_S = 30.0  # that a server may ask for with Retry-After
_DEATH_NOTICE_S = 3.0  # a server whose engine died answers a few errors before it ends
_CONNECT_S = 5.0


class OpenAIChat:
    """Asks an OpenAI-compatible chat endpoint, many asks at once.

    Args:
        url: the address up to and including `/v1`.
        model: the name under which the endpoint knows the model.
        alive: called when an answer failed to come; raises `EngineError` when the server is one
            of ours and has ended, which tells more than a broken connection does.
        api_key: sent as bearer token and shown nowhere; None takes `FORETASTE_API_KEY` or
            `OPENAI_API_KEY` from the environment when there is one.
        adapters: finds the adapter that an ask names; None sends the name as it is.

    Raises:
        InputError: `url` is not an http address.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        alive: Callable[[], None] | None = None,
        api_key: str | None = None,
        adapters: Adapters | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            told = url.rpartition("@")[2]  # what stands before it may be a password
            raise InputError(f"An address like http://host:8000/v1 was expected, not {told!r}.")
        self._model, self._alive, self._adapters = model, alive, adapters
        self._where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        key = api_key or next((os.environ[name] for name in KEY_VARIABLES if os.getenv(name)), None)
        self._client = httpx.AsyncClient(
            base_url=url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(None, connect=_CONNECT_S),  # each ask has its own deadline
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
            trust_env=parts.hostname not in ("127.0.0.1", "localhost", "::1"),
        )

    @property
    def name(self) -> str:
        """The model's name, as the endpoint knows it."""
        return self._model

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        """Answer one question; see `ChatModel.ask` for the errors.

        Raises:
            ModelError: the endpoint does not know the model or the adapter.
            InputError: the endpoint refused the key.
        """
        started = time.perf_counter()
        try:
            async with asyncio.timeout(ask.deadline_s):
                path, body = await self.request(ask)
                reply = await self._accepted(await self.post(path, body), str(body["model"]))
        except TimeoutError as error:
            self._check_alive()
            raise EngineError(
                f"{self._where} gave no answer within {ask.deadline_s:g} s; "
                "allow more time, ask for fewer tokens, or look at its load."
            ) from error
        return self._read(ask, reply, (time.perf_counter() - started) * 1000)

    async def models(self) -> list[str]:
        """The models and adapters that the endpoint says it serves; empty when it does not say."""
        try:
            reply = (await self._client.get("models", timeout=_CONNECT_S)).json()
            return [str(one["id"]) for one in reply["data"]]
        except (httpx.HTTPError, ValueError, LookupError, TypeError):
            return []

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def request(self, ask: Ask[Any]) -> tuple[str, dict[str, Any]]:
        """Where an ask is posted, below the address, and the JSON body that is posted."""
        turns = [{"role": turn.role, "content": turn.text} for turn in ask.messages]
        return "chat/completions", {"messages": turns, **self.decoding(ask)}

    def decoding(self, ask: Ask[Any]) -> dict[str, Any]:
        """The part of a body that is no prompt: model or adapter, length, sampling, schema."""
        adapter = ask.adapter
        if self._adapters is not None:
            adapter = self._adapters.resolve(adapter)
        return {
            "model": adapter or self._model,
            "max_tokens": ask.max_tokens,
            "temperature": ask.temperature,
            "seed": ask.seed,
            "response_format": {
                "type": "json_schema",
                "json_schema": {
                    "name": ask.schema.__name__,
                    "strict": True,
                    "schema": strict_schema(ask.schema),
                },
            },
        }

    @staticmethod
    def written(choice: dict[str, Any]) -> Any:
        """What was written, out of one choice of a reply."""
        return choice["message"]["content"]

    async def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """The response to a request, whatever its status.

        Faults of transport are tried again, and a server that is busy (429 or 503 with
        Retry-After) is waited for.

        Args:
            path: below the address, such as `chat/completions`.
            body: sent as JSON.

        Raises:
            EngineError: the server cannot be reached, or is one of ours and has ended.
        """
        for pause_s in [_FIRST_PAUSE_S * 2**attempt for attempt in range(RETRIES)]:
            try:
                response = await self._client.post(path, json=body)
            except httpx.RequestError:
                await self.notice_death()
                await asyncio.sleep(pause_s)
                continue
            asked = _asked_to_wait(response)
            if asked is None:
                return response
            await asyncio.sleep(asked)
        try:
            return await self._client.post(path, json=body)
        except httpx.RequestError as error:
            raise EngineError(
                f"{self._where} could not be reached ({type(error).__name__}: {error}); "
                "check that the server runs and the address is right."
            ) from error

    async def _accepted(self, response: httpx.Response, model: str) -> httpx.Response:
        if response.is_success:
            return response
        said = _what_it_said(response)
        if response.status_code >= 500:
            await self.notice_death()
        if response.status_code == 404:
            known = ", ".join(await self.models()) or "none that it tells"
            raise ModelError(
                f"{self._where} does not know the model or adapter {model!r} ({said}); "
                f"it serves: {known}."
            )
        if response.status_code in (401, 403):
            raise InputError(
                f"{self._where} refused the key ({response.status_code}); set FORETASTE_API_KEY."
            )
        raise EngineError(f"{self._where} answered {response.status_code}: {said}")

    def _read(self, ask: Ask[Parsed], response: httpx.Response, ms: float) -> Answer[Parsed]:
        try:
            reply = response.json()
            choice = reply["choices"][0]
            text = self.written(choice) or ""
            usage = _usage(reply.get("usage") or {}, ms)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise EngineError(
                f"{self._where} answered with something else than an OpenAI chat completion; "
                "check that the address ends in /v1 and names such a server."
            ) from error
        if not isinstance(text, str):
            text = str(text)
        complete = choice.get("finish_reason") != "length"
        return read_answer(ask.schema, text, usage, complete=complete)

    def _check_alive(self) -> None:
        if self._alive is not None:
            self._alive()

    async def notice_death(self) -> None:
        """Give a server of ours the time to end when it is about to, so that its log is named.

        Raises:
            EngineError: it has ended.
        """
        if self._alive is None:
            return
        for _ in range(round(_DEATH_NOTICE_S / 0.1)):
            self._alive()
            await asyncio.sleep(0.1)


def _asked_to_wait(response: httpx.Response) -> float | None:
    """Seconds that a busy server asked for (429 or 503 with Retry-After), otherwise None."""
    if response.status_code not in (429, 503):
        return None
    try:
        seconds = float(response.headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return min(max(seconds, 0.0), _LONGEST_PAUSE_S) if math.isfinite(seconds) else None


def _usage(reported: dict[str, Any], ms: float) -> Usage:
    details = reported.get("prompt_tokens_details") or {}
    return Usage(
        prompt=int(reported.get("prompt_tokens") or 0),
        cached=int(details.get("cached_tokens") or 0),
        completion=int(reported.get("completion_tokens") or 0),
        ms=ms,
    )


def _what_it_said(response: httpx.Response) -> str:
    """The server's own words about a refusal, at most 300 characters."""
    try:
        body = response.json()
        error = body.get("error", body)
        said = error.get("message", error) if isinstance(error, dict) else error
    except (ValueError, AttributeError):
        said = response.text
    return " ".join(str(said).split())[:300]
