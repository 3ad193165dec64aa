"""Recommendations over HTTP: whole, step by step, refused in one sentence, stopped when unwanted."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from foretaste.data.errors import EngineError
from foretaste.serving.chat import Answer, Ask
from foretaste.serving.scripted_chat import ScriptedChat

FILM_IDS = {f"{kind}-{n}" for kind in ("space", "love") for n in range(1, 5)} | {
    "fear-1",
    "fear-2",
    "fear-3",
    "odd-1",
}


class SlowChat(ScriptedChat):
    """Answers after a while, and remembers which asks were cancelled before that."""

    def __init__(self, seconds: float) -> None:
        super().__init__(lambda ask: {"nothing": "useful"})
        self.seconds, self.cancelled, self.begun = seconds, 0, threading.Event()

    async def ask(self, ask: Ask[Any]) -> Answer[Any]:
        self.begun.set()
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return await super().ask(ask)


class HeldChat(SlowChat):
    """Answers once it is released."""

    def __init__(self) -> None:
        super().__init__(0)
        self.released = threading.Event()

    async def ask(self, ask: Ask[Any]) -> Answer[Any]:
        self.begun.set()
        while not self.released.is_set():
            await asyncio.sleep(0.01)
        return await super().ask(ask)


def _events(text: str) -> list[tuple[str, Any]]:
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    pairs = [block.split("\n", 1) for block in blocks]
    return [
        (name.removeprefix("event: "), json.loads(data.removeprefix("data: ")))
        for name, data in pairs
    ]


def test_a_user_gets_items_that_exist_and_are_new_to_them(serve: Any) -> None:
    made = serve().recommend(user_id="ann", n=5)
    page = [one["item_id"] for one in made["recommendations"]]
    assert len(set(page)) == 5
    assert set(page) <= FILM_IDS - {"space-1", "space-3", "love-1"}
    assert [event["item_id"] for event in made["history"]] == ["space-1", "space-3", "love-1"]
    assert all(one["explanation"] for one in made["recommendations"])
    assert made["request_id"]


def test_history_wish_filters_environment_and_no_sentences(serve: Any) -> None:
    server = serve()
    made = server.recommend(
        history=["love-1"],
        wish="autumn dance",
        n=2,
        filters={"categories": ["drama"]},
        environment=["Raining"],
        explain=False,
    )
    assert {one["item_id"] for one in made["recommendations"]} == {"love-3", "love-4"}
    assert not any(one["explanation"] for one in made["recommendations"])
    assert "explain" not in made["timings_ms"]
    streamed = server.call(
        "POST",
        "/v1/recommendations",
        {"wish": "x", "environment": ["Raining"], "stream": True},
    )
    assert _events(streamed.text)[0][1]["context"]["environment"] == ["Raining"]


def test_streaming_tells_every_step_and_the_whole_result_last(serve: Any) -> None:
    server = serve()
    whole = server.recommend(user_id="ann", n=3)
    answer = server.call("POST", "/v1/recommendations", {"user_id": "ann", "n": 3, "stream": True})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = _events(answer.text)
    starts = [data["node"] for name, data in events if name == "started"]
    assert starts[0] == "planner"
    assert starts[-3:] == ["retrieve", "rank", "explain"]
    names = [name for name, _ in events if name != "started"]
    assert names[:2] == ["context", "planner"]
    assert names[-4:] == ["retrieve", "rank", "explain", "result"]
    assert events[-1][1]["recommendations"] == whole["recommendations"]
    assert events[-1][1]["request_id"] == answer.headers["x-request-id"]


def test_the_trace_is_in_the_result_when_it_is_asked_for(serve: Any) -> None:
    server = serve()
    assert "trace" not in server.recommend(user_id="ann", n=2)
    trace = server.recommend(user_id="ann", n=2, trace=True)["trace"]
    assert [node["node"] for node in trace["nodes"]][:2] == ["context", "planner"]
    answer = server.call(
        "POST", "/v1/recommendations", {"user_id": "ann", "stream": True, "trace": True}
    )
    name, result = _events(answer.text)[-1]
    assert name == "result"
    assert result["trace"]["nodes"][-1]["node"] == "explain"


@pytest.mark.parametrize(
    ("body", "status", "kind", "sentence"),
    [
        ({"user_id": "nobody"}, 404, "unknown_user", "no user 'nobody'"),
        ({"history": ["nothing"]}, 422, "invalid_request", "'nothing' is not in the catalogue"),
        ({}, 422, "invalid_request", "give user_id, history or wish"),
        ({"user_id": "ann", "history": ["love-1"]}, 422, "invalid_request", "exclude each other"),
        ({"user_id": "ann", "n": 999}, 422, "invalid_request", "body.n"),
        ({"user_id": "ann", "mode": "sideways"}, 422, "invalid_request", "body.mode"),
        ({"user_id": "ann", "colour": 1}, 422, "invalid_request", "body.colour"),
        ({"wish": "x" * 501}, 422, "invalid_request", "body.wish"),
        ({"history": ["love-1"] * 9}, 422, "invalid_request", "at most 8 items"),
        (
            {"wish": "x", "filters": {"categories": ["Opera"]}},
            422,
            "invalid_request",
            "passes the filters",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_request_is_one_sentence_with_its_status(
    serve: Any, body: dict[str, Any], status: int, kind: str, sentence: str, stream: bool
) -> None:
    answer = serve(history_items=8).call("POST", "/v1/recommendations", body | {"stream": stream})
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (status, kind)
    assert sentence in error["message"]
    assert "\n" not in error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert len(answer.content) < 600, "what was sent is not sent back"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        (b"\xff\xfe", 422),
        (b"[]", 422),
        (b'{"n":' + b"[" * 20_000, 400),
        (b'{"wish": "' + b"x" * 30_000 + b'"}', 413),
    ],
)
def test_a_body_that_is_none_or_too_large(serve: Any, body: bytes, status: int) -> None:
    server = serve(body_bytes=25_000)
    head = {"content-type": "application/json"}
    with server.client() as client:
        plain = client.post("/v1/recommendations", content=body, headers=head)
        in_pieces = client.post("/v1/recommendations", content=iter([body]), headers=head)
    for answer in (plain, in_pieces):
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_stops_its_work(serve: Any, stream: bool) -> None:
    chat = SlowChat(30)
    server = serve(model=chat)
    with pytest.raises(httpx.ReadTimeout), server.client() as client:
        client.post("/v1/recommendations", json={"user_id": "ann", "stream": stream}, timeout=1.0)
    deadline = time.monotonic() + 5
    while (not chat.cancelled or server.service.gate.active) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert chat.cancelled == 1
    assert server.service.gate.active == server.service.gate.line == 0
    asked = len(chat.asks)
    time.sleep(0.2)
    assert len(chat.asks) == asked, "nothing goes on for nobody"


def test_a_client_that_leaves_the_line_gives_up_its_place(serve: Any) -> None:
    chat = SlowChat(1.0)
    server = serve(model=chat, runs=1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(server.recommend, wish="x", n=1)
        chat.begun.wait(5)
        with pytest.raises(httpx.ReadTimeout), server.client() as client:
            client.post("/v1/recommendations", json={"wish": "left"}, timeout=0.3)
        assert first.result()["recommendations"]
    assert server.service.gate.line == 0
    assert all("left" not in str(ask.messages) for ask in chat.asks)


def test_the_deadline_is_kept(serve: Any) -> None:
    answer = serve(model=SlowChat(30), deadline_s=0.3).call(
        "POST", "/v1/recommendations", {"user_id": "ann"}
    )
    assert answer.status_code == 504
    assert answer.json()["error"]["type"] == "deadline"


def test_a_full_queue_is_said_at_once_with_when_to_come_back(serve: Any) -> None:
    chat = HeldChat()
    server = serve(model=chat, runs=1, waiting=1)
    with ThreadPoolExecutor(2) as pool:
        taken = pool.submit(server.recommend, user_id="ann", n=1)
        assert chat.begun.wait(5)
        waits = pool.submit(server.recommend, user_id="bob", n=1)
        deadline = time.monotonic() + 5
        while server.service.gate.line < 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        refused = server.call("POST", "/v1/recommendations", {"user_id": "cat"})
        chat.released.set()
        assert taken.result()["user_id"] == "ann"
        assert waits.result()["user_id"] == "bob"
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["type"] == "busy"


def test_while_the_engine_is_down_the_answer_is_503_and_readiness_says_so(serve: Any) -> None:
    state = {"up": True}

    async def probe() -> bool:
        return state["up"]

    def say(ask: Ask[Any]) -> Any:
        return {"nothing": "useful"} if state["up"] else EngineError("secret place /var/log")

    server = serve(model=ScriptedChat(say), probe=probe)
    assert server.recommend(user_id="ann", n=2)["recommendations"]
    state["up"] = False
    for _ in range(2):
        answer = server.call("POST", "/v1/recommendations", {"user_id": "ann"})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["type"] == "engine_unavailable"
        assert "/var" not in answer.text
    assert server.call("GET", "/readyz").status_code == 503
    assert server.call("GET", "/healthz").status_code == 200
    state["up"] = True
    deadline = time.monotonic() + 5
    while server.call("GET", "/readyz").status_code != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.recommend(user_id="ann", n=2)["recommendations"]


def test_many_callers_at_once_each_get_their_own(serve: Any) -> None:
    server = serve(runs=4)
    people = {"ann": "space-1", "bob": "fear-1", "cat": "space-2"}

    def one(number: int) -> None:
        user = list(people)[number % 3]
        made = server.recommend(user_id=user, n=3)
        assert made["user_id"] == user
        history = {event["item_id"] for event in made["history"]}
        assert people[user] in history
        assert not history & {line["item_id"] for line in made["recommendations"]}

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(90)))


def test_metrics_count_what_happened(serve: Any) -> None:
    server = serve(model=ScriptedChat(lambda ask: {"nothing": "useful"}))
    server.recommend(user_id="ann", n=2)
    server.call("POST", "/v1/recommendations", {"user_id": "somebody-private"})
    text = server.call("GET", "/metrics").text
    values = dict(
        line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("foretaste_")
    )
    route = 'route="/v1/recommendations"'
    assert float(values[f'foretaste_requests_total{{{route},status="200"}}']) == 1
    assert float(values[f'foretaste_requests_total{{{route},status="404"}}']) == 1
    assert float(values['foretaste_fallbacks_total{node="planner"}']) == 1
    assert float(values['foretaste_tokens_total{kind="prompt",node="planner"}']) > 0
    assert float(values['foretaste_node_seconds_count{node="retrieve"}']) == 1
    assert "foretaste_queue_waiting" in values
    assert 'foretaste_prefix_cache_tokens_total{outcome="hit"}' in values
    assert "process_resident_memory_bytes" in text
    assert "private" not in text


def test_the_document_shows_every_route_with_an_example(serve: Any) -> None:
    document = serve().call("GET", "/openapi.json").json()
    for path in ("recommendations", "items", "interactions", "feedback", "chat/completions"):
        assert f"/v1/{path}" in document["paths"]
    for name in ("Wanted", "Items", "Interactions", "Thumbs", "Chat"):
        assert document["components"]["schemas"][name]["examples"], name
    answers = document["paths"]["/v1/recommendations"]["post"]["responses"]
    assert answers["200"]["content"]["application/json"]["example"]["recommendations"]
