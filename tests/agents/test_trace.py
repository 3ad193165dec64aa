"""The trace of a run: numbers by hand, then spans, calls and starts of the real graph."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents.objects import Request, Step
from foretaste.agents.recommend import STARTED, Run, result, stream
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.running.trace import Span, note, noting, trace_of, wall_ms
from foretaste.agents.wording import asking, prompting
from foretaste.agents.wording.schemas import ArbiterAnswer, ExpertAnswer, PlannerAnswer
from foretaste.serving.chat import Answer, Ask
from foretaste.serving.scripted_chat import ScriptedChat


def _span(id_: str, node: str, at: float, ms: float, **more: Any) -> Span:
    return Span(id=id_, node=node, at=at, ms=ms, **more)


def test_wall_time_counts_what_overlaps_once() -> None:
    spans = [
        _span("1", "expert", 10.0, 1000),
        _span("2", "expert", 10.5, 1000),
        _span("3", "expert", 10.6, 100),
        _span("4", "expert", 20.0, 250),
        _span("5", "rank", 10.0, 40),
    ]
    spent = wall_ms(spans)
    assert spent["expert"] == pytest.approx(1500 + 250)
    assert spent["rank"] == pytest.approx(40)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 5000)), min_size=1, max_size=12))
def test_wall_time_lies_between_the_longest_and_the_sum(parts: list[tuple[float, float]]) -> None:
    spans = [_span(str(n), "expert", at, ms) for n, (at, ms) in enumerate(parts)]
    spent = wall_ms(spans)["expert"]
    lengths = [ms for _, ms in parts]
    first, last = min(at for at, _ in parts), max(at + ms / 1000 for at, ms in parts)
    assert spent <= min(sum(lengths), (last - first) * 1000) + 0.01
    assert spent >= max(lengths) - 0.01


def test_a_trace_is_in_the_order_of_starts_with_its_calls_inside() -> None:
    spans = [
        _span("b", "arbiter", 102.0, 500),
        _span("a", "planner", 100.5, 1000, notes={"personas": 2}),
    ]
    steps = [
        Step(node="arbiter", at=102.1, ms=300, prompt=7, cached=3, completion=2, span="b"),
        Step(node="planner", at=100.6, ms=800, span="a", adapter="mine", prompt_version="12ab"),
    ]
    trace = trace_of(spans, steps, {"a"})
    assert trace["began"] == 100.5
    assert trace["ms"] == pytest.approx(2000)
    planner, arbiter = trace["nodes"]
    assert (planner["node"], planner["start_ms"], planner["ms"]) == ("planner", 0, 1000)
    assert (planner["kept"], arbiter["kept"]) == (True, False)
    assert planner["notes"] == {"personas": 2}
    assert planner["calls"][0] == {
        "label": "",
        "start_ms": 100,
        "ms": 800,
        "prompt": 0,
        "cached": 0,
        "completion": 0,
        "fallback": None,
        "repaired": None,
        "prompt_version": "12ab",
        "adapter": "mine",
        "asks": 1,
    }
    assert arbiter["calls"][0]["start_ms"] == pytest.approx(1600)
    assert trace_of([], [])["nodes"] == []


def test_notes_stay_with_their_node() -> None:
    note(lost=1)
    with noting() as outer:
        note(found=3)
        with noting() as inner:
            note(found=4, share=0.5)
        note(found=5)
    assert outer == {"found": 5}
    assert inner == {"found": 4, "share": 0.5}


class Slow(ScriptedChat):
    """Answers after a while, so that starts and ends can be told apart."""

    async def ask(self, ask: Ask[Any]) -> Answer[Any]:
        romance = "Paris Spring" in ask.messages[-1].text
        await asyncio.sleep(0.15 if issubclass(ask.schema, ExpertAnswer) and romance else 0.02)
        return await super().ask(ask)


def _answer(ask: Ask[Any]) -> Any:
    if issubclass(ask.schema, PlannerAnswer):
        personas = [
            {"name": "Sci-Fi Action", "why": "Star Voyage Mars Colony Sci-Fi", "items": [1, 2]},
            {"name": "Romance Comedy", "why": "Paris Spring Romance", "items": [3]},
        ]
        return {"personas": personas}
    if issubclass(ask.schema, ExpertAnswer):
        romance = "Paris Spring" in ask.messages[-1].text
        words = ["romance comedy", "romance drama"] if romance else ["sci-fi action", "robot dawn"]
        return {"tags": [{"tag": tag, "why": "it fits well"} for tag in words]}
    if issubclass(ask.schema, ArbiterAnswer):
        return {"keep": [{"tag": n, "why": "close to the person"} for n in (1, 2, 3)]}
    return {"text": "It is close to what you chose, such as Star Voyage."}


def _run(tools: Tools, **request: Any) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    wanted, run = Request(**{"user_id": "ann", "n": 3} | request), Run()

    async def events() -> list[tuple[str, Any]]:
        return [event async for event in stream(tools, wanted, run)]

    seen = asyncio.run(events())
    return seen, result(tools, wanted, run, traced=True)


def test_experts_start_together_and_are_told_as_they_finish(tools: Tools) -> None:
    seen, made = _run(tools.with_model(Slow(_answer)))
    told = [
        (kind, made_["number"] if kind == STARTED else made_["tags"][0].persona)
        for kind, made_ in seen
        if kind == "expert" or made_.get("node") == "expert"
    ]
    experts = [node for node in made["trace"]["nodes"] if node["node"] == "expert"]
    slow = max(experts, key=lambda node: node["ms"])
    assert [kind for kind, _ in told] == [STARTED, STARTED, "expert", "expert"]
    assert {number for _, number in told[:2]} == {0, 1}
    assert told[-1][1] == 1, "the slow one comes last"
    assert slow["label"] == "Romance Comedy"
    other = next(node for node in experts if node is not slow)
    assert slow["start_ms"] < other["start_ms"] + other["ms"], "they ran at once"
    assert made["timings_ms"]["expert"] < slow["ms"] + other["ms"]


def test_every_start_but_the_first_is_told_before_its_end(tools: Tools) -> None:
    seen, made = _run(tools)
    open_: list[str] = []
    for kind, update in seen:
        if kind == STARTED:
            open_.append(update["node"])
        elif kind != "context":
            open_.remove(kind)
    assert open_ == []
    assert STARTED not in [seen[0][0]]
    assert len(made["trace"]["nodes"]) == sum(kind != STARTED for kind, _ in seen)


def test_calls_name_their_tokens_prompt_and_adapter(tools: Tools) -> None:
    config = tools.config.model_copy(update={"adapter": "all", "expert_adapter": "tags-v2"})
    _, made = _run(replace(tools, config=config, model=ScriptedChat(_answer)))
    calls = {node["node"]: call for node in made["trace"]["nodes"] for call in node["calls"]}
    assert calls["planner"]["adapter"] == "all"
    assert calls["expert"]["adapter"] == "tags-v2"
    assert calls["planner"]["prompt_version"] == asking.version_of("planner")
    assert len({calls[node]["prompt_version"] for node in ("planner", "expert", "arbiter")}) == 3
    tokens = sum(call["prompt"] for node in made["trace"]["nodes"] for call in node["calls"])
    assert tokens == made["tokens"]["total"]["prompt"] > 0
    assert json.loads(json.dumps(made["trace"])) == made["trace"]


def test_a_run_without_a_model_says_why_and_names_no_adapter(tools: Tools) -> None:
    config = tools.config.model_copy(update={"adapter": "all"})
    _, made = _run(replace(tools, config=config))
    calls = [call for node in made["trace"]["nodes"] for call in node["calls"]]
    assert calls
    assert {call["fallback"] for call in calls} == {asking.NO_MODEL}
    assert {call["adapter"] for call in calls} == {None}


def test_a_prompt_version_changes_with_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    before = asking.version_of.__wrapped__("planner")
    real = prompting.template
    monkeypatch.setattr(prompting, "template", lambda name: real(name) + "!")
    assert asking.version_of.__wrapped__("planner") != before
    assert len(before) == 8


def test_without_asking_there_is_no_trace_in_the_result(tools: Tools) -> None:
    run, wanted = Run(), Request(user_id="ann", n=2)

    async def go() -> None:
        async for _ in stream(tools, wanted, run):
            continue

    asyncio.run(go())
    assert "trace" not in result(tools, wanted, run)
