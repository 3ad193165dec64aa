"""`run_id` over HTTP: the same request goes on where it was, and a finished one asks nobody."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from foretaste.data.errors import EngineError
from foretaste.serving.chat import Ask
from foretaste.serving.scripted_chat import ScriptedChat

WANTED = {"user_id": "ann", "n": 3, "run_id": "monday"}


def _agent(ask: Ask[Any]) -> str:
    return ask.schema.__name__


def _useless(ask: Ask[Any]) -> Any:
    return {"nothing": "useful"}


def _dies_at_the_arbiter(ask: Ask[Any]) -> Any:
    return EngineError("gone") if _agent(ask) == "ArbiterAnswer" else _useless(ask)


def test_a_run_that_failed_goes_on_in_the_next_server(serve: Any) -> None:
    broken, sound = ScriptedChat(_dies_at_the_arbiter), ScriptedChat(_useless)
    assert serve(model=broken).call("POST", "/v1/recommendations", WANTED).status_code == 503
    server = serve(model=sound)
    made = server.recommend(**WANTED, trace=True)
    assert {"PlannerAnswer", "ExpertAnswer"} <= {_agent(ask) for ask in broken.asks}
    assert not {"PlannerAnswer", "ExpertAnswer"} & {_agent(ask) for ask in sound.asks}
    kept = {node["node"]: node["kept"] for node in made["trace"]["nodes"]}
    assert kept["planner"] is kept["expert"] is True
    assert kept["arbiter"] is False
    plain = server.recommend(user_id="ann", n=3)
    assert made["recommendations"] == plain["recommendations"]


def test_a_finished_run_is_given_at_once_even_without_an_engine(serve: Any) -> None:
    chat = ScriptedChat(_useless)
    first = serve(model=chat).recommend(**WANTED)
    asked = len(chat.asks)
    up = threading.Event()

    async def probe() -> bool:
        return up.is_set()

    server = serve(model=chat, probe=probe)
    assert server.call("POST", "/v1/recommendations", {"user_id": "ann"}).status_code == 503
    again = server.recommend(**WANTED)
    assert len(chat.asks) == asked
    assert again["recommendations"] == first["recommendations"]
    assert again["request_id"] != first["request_id"], "feedback can tell the two answers apart"
    metrics = server.call("GET", "/metrics").text
    assert 'foretaste_agent_calls_total{node="planner"}' not in metrics, "no call is counted twice"


def test_two_requests_of_one_name_do_the_work_once(serve: Any) -> None:
    chat = ScriptedChat(_useless)
    server = serve(model=chat)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: server.recommend(**WANTED), range(4)))
    assert [_agent(ask) for ask in chat.asks].count("PlannerAnswer") == 1
    pages = {str(one["recommendations"]) for one in answers}
    assert len(pages) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"n": 4}, "begun with another request"),
        ({"run_id": "../x"}, "run_id"),
        ({"run_id": ""}, "run_id"),
    ],
)
def test_a_name_that_is_taken_or_is_none_is_refused(
    serve: Any, change: dict[str, Any], sentence: str
) -> None:
    server = serve()
    server.recommend(**WANTED)
    answer = server.call("POST", "/v1/recommendations", WANTED | change)
    assert answer.status_code == 422
    assert sentence in answer.text


def test_what_came_after_is_another_history_or_catalogue(serve: Any) -> None:
    server = serve()
    server.recommend(**WANTED)
    server.recommend(user_id="bob", run_id="bob")
    event = {"user_id": "ann", "item_id": "love-3", "event": "purchase"}
    assert server.call("POST", "/v1/interactions", {"interactions": [event]}).status_code == 200
    answer = server.call("POST", "/v1/recommendations", WANTED)
    assert "another history" in answer.text
    gone = server.call("DELETE", "/v1/items", params={"item_id": "odd-1"})
    assert gone.status_code == 200
    answer = server.call("POST", "/v1/recommendations", {"user_id": "bob", "run_id": "bob"})
    assert "another catalogue" in answer.text


def test_forgetting_a_user_forgets_their_runs(serve: Any, home: Path) -> None:
    server = serve()
    server.recommend(**WANTED)
    assert server.call("DELETE", "/v1/users/ann").status_code == 200
    path = home / "runs" / "films" / "checkpoints.sqlite"
    assert b"Star Voyage" not in path.read_bytes()
