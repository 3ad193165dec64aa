"""The client against a real HTTP server in this process that says what each test wants."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from pydantic import BaseModel

from foretaste.data.errors import EngineError, InputError, ModelError, UnreadableAnswer
from foretaste.serving import openai_chat
from foretaste.serving.chat import Answer, Ask, Message
from foretaste.serving.engine import EngineConfig, open_chat
from foretaste.serving.openai_chat import OpenAIChat

Reply = tuple[int, dict[str, str], Any]  # status, headers, body; status 0 hangs up


class Tag(BaseModel):
    tag: str


class Server:
    """Answers from `script` in order; the last reply is repeated."""

    def __init__(self) -> None:
        self.script: list[Reply | Callable[[], Reply]] = []
        self.seen: list[tuple[dict[str, Any], dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.seen.append((body, dict(self.headers)))
                step = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                status, headers, said = step() if callable(step) else step
                if status == 0:
                    self.connection.close()
                    return
                text = said if isinstance(said, str) else json.dumps(said)
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(openai_chat, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(openai_chat, "_DEATH_NOTICE_S", 0.2)
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


def good(text: str = '{"tag":"space"}', finish: str = "stop") -> Reply:
    usage = {
        "prompt_tokens": 40,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 32},
    }
    choice = {"message": {"content": text}, "finish_reason": finish}
    return 200, {}, {"choices": [choice], "usage": usage}


def ask_it(server: Server, **options: Any) -> Answer[Tag]:
    deadline = options.pop("deadline_s", 10.0)
    adapter = options.pop("adapter", None)

    async def go() -> Answer[Tag]:
        chat = OpenAIChat(server.url, "m", **options)
        try:
            messages = (Message("system", "s"), Message("user", "u"))
            ask = Ask(messages, Tag, max_tokens=9, deadline_s=deadline, adapter=adapter)
            return await chat.ask(ask)
        finally:
            await chat.close()

    return asyncio.run(go())


def test_the_request_and_the_answer(server: Server) -> None:
    server.script = [good()]
    answer = ask_it(server)
    assert answer.parsed == Tag(tag="space")
    assert (answer.usage.prompt, answer.usage.cached, answer.usage.completion) == (40, 32, 7)
    assert answer.usage.ms > 0
    body = server.seen[0][0]
    assert body["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
    ]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", 9, 0.0)
    form = body["response_format"]["json_schema"]
    assert form["schema"]["required"] == ["tag"]


def test_an_adapter_is_asked_for_by_name(server: Server) -> None:
    server.script = [good()]
    ask_it(server, adapter="expert-v1")
    assert server.seen[0][0]["model"] == "expert-v1"


@pytest.mark.parametrize("variable", ["FORETASTE_API_KEY", "OPENAI_API_KEY"])
def test_the_key_comes_from_the_environment_and_into_no_error(
    server: Server, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.delenv("FORETASTE_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv(variable, "sk-secret")
    server.script = [(401, {}, {"error": {"message": "no"}})]
    with pytest.raises(InputError) as caught:
        ask_it(server)
    assert server.seen[0][1]["Authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in str(caught.value)


def test_a_cut_or_unfitting_answer_keeps_its_usage(server: Server) -> None:
    for reply in (good('{"tag":"spa', "length"), good("noise")):
        server.script = [reply]
        with pytest.raises(UnreadableAnswer) as caught:
            ask_it(server)
        assert caught.value.usage.completion == 7  # type: ignore[attr-defined]
    assert len(server.seen) == 2  # an unreadable answer is not asked for again


def test_broken_connections_are_tried_again(server: Server) -> None:
    server.script = [(0, {}, ""), (0, {}, ""), good()]
    assert ask_it(server).parsed.tag == "space"
    assert len(server.seen) == 3


def test_a_server_that_stays_away_is_an_engine_error() -> None:
    chat = OpenAIChat("http://127.0.0.1:9/v1", "m")
    with pytest.raises(EngineError, match="could not be reached"):
        asyncio.run(chat.ask(Ask((), Tag)))


def test_a_busy_server_is_waited_for_as_it_asks(server: Server) -> None:
    server.script = [(429, {"Retry-After": "0.2"}, ""), (503, {"Retry-After": "0"}, ""), good()]
    started = time.monotonic()
    assert ask_it(server).parsed.tag == "space"
    assert time.monotonic() - started >= 0.2
    assert len(server.seen) == 3


@pytest.mark.parametrize("status", [400, 422, 429, 500, 503])
def test_a_refusal_is_not_repeated(server: Server, status: int) -> None:
    server.script = [(status, {}, {"error": {"message": "the prompt is too long"}})]
    with pytest.raises(EngineError, match=f"answered {status}: the prompt is too long"):
        ask_it(server)
    assert len(server.seen) == 1


def test_an_unknown_model_is_named(server: Server) -> None:
    server.script = [(404, {}, {"error": {"message": "gone"}})]
    with pytest.raises(ModelError, match="'m'"):
        ask_it(server)


@pytest.mark.parametrize("said", ["<html>", {}, {"choices": []}, [], {"choices": [{"message": 1}]}])
def test_something_else_than_a_chat_server(server: Server, said: Any) -> None:
    server.script = [(200, {}, said)]
    with pytest.raises(EngineError, match="OpenAI chat completion"):
        ask_it(server)


def test_the_deadline_holds(server: Server) -> None:
    def slow() -> Reply:
        time.sleep(2)
        return good()

    server.script = [slow]
    started = time.monotonic()
    with pytest.raises(EngineError, match=r"within 0.3 s"):
        ask_it(server, deadline_s=0.3)
    assert time.monotonic() - started < 1.5


@pytest.mark.parametrize("status", [0, 500])
def test_a_dead_engine_is_told_from_a_broken_connection(server: Server, status: int) -> None:
    looks = 0

    def alive() -> None:
        nonlocal looks
        looks += 1
        if looks > 1:  # it ends a moment after its last answer
            raise EngineError("vLLM ended")

    server.script = [(status, {}, {})]
    with pytest.raises(EngineError, match="vLLM ended"):
        ask_it(server, alive=alive)
    assert len(server.seen) == 1


@pytest.mark.parametrize("url", ["", "localhost:8000", "file:///etc/passwd", "http://"])
def test_an_address_is_wanted(url: str) -> None:
    with pytest.raises(InputError, match="address"):
        OpenAIChat(url, "m")


def test_many_at_once_and_through_the_one_door(server: Server) -> None:
    server.script = [good()]

    async def go() -> list[Answer[Tag]]:
        async with open_chat(EngineConfig(model="m", endpoint=server.url)) as chat:
            assert chat.name == "m"
            return list(await asyncio.gather(*(chat.ask(Ask((), Tag)) for _ in range(20))))

    assert len(asyncio.run(go())) == 20
