"""The public client libraries of OpenAI and of the Model Context Protocol against a running server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import openai
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from foretaste.app.api.chat import plain
from foretaste.app.api.keys import add_key
from foretaste.data.errors import EngineError
from foretaste.serving.scripted_chat import ScriptedChat

TONIGHT = [{"role": "user", "content": "What should I watch tonight? A romance, please"}]


def _openai(server: Any, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)


def test_a_chat_client_asks_and_gets_items_of_the_catalogue(serve: Any) -> None:
    server = serve()
    client = _openai(server)
    assert [model.id for model in client.models.list()] == ["foretaste"]
    assert client.models.retrieve("foretaste").id == "foretaste"
    answer = client.chat.completions.create(model="foretaste", messages=TONIGHT, user="ann")
    said = answer.choices[0].message.content
    beside = answer.model_extra["foretaste"]
    assert answer.choices[0].finish_reason == "stop"
    assert len(beside["recommendations"]) == 5
    for one in beside["recommendations"]:
        assert one["title"] in said
        assert one["item_id"] not in {"space-1", "space-3", "love-1"}, "ann's own"
    assert answer.usage.total_tokens == 0, "no model was asked"


def test_a_chat_can_be_streamed(serve: Any) -> None:
    server = serve(model=ScriptedChat(lambda ask: {"nothing": "useful"}))
    client = _openai(server)
    whole = client.chat.completions.create(model="foretaste", messages=TONIGHT, user="ann")
    chunks = list(
        client.chat.completions.create(
            model="foretaste",
            messages=TONIGHT,
            user="ann",
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len(pieces) > 5
    assert chunks[-2].choices[0].finish_reason == "stop"
    # The second page finds its sentences in the cache, so it cannot cost more.
    assert 0 < chunks[-1].usage.total_tokens <= whole.usage.total_tokens


def test_what_chat_clients_send_beside_is_passed_over_and_parts_are_read(serve: Any) -> None:
    parts = [
        {"type": "text", "text": "a horror film"},
        {"type": "image_url", "image_url": {"url": "http://x.example/a.png"}},
    ]
    answer = _openai(serve()).chat.completions.create(
        model="foretaste",
        messages=[{"role": "system", "content": "Be brief"}, {"role": "user", "content": parts}],
        temperature=0.7,
        user="a stranger",
        tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
    )
    assert answer.choices[0].message.content


def test_faults_are_the_exceptions_that_chat_clients_know(serve: Any) -> None:
    server = serve(model=ScriptedChat(lambda ask: EngineError("gone")))
    client = _openai(server)
    with pytest.raises(openai.NotFoundError, match="one model here"):
        client.chat.completions.create(model="gpt-4o", messages=TONIGHT)
    with pytest.raises(openai.UnprocessableEntityError, match="role `user`"):
        client.chat.completions.create(
            model="foretaste", messages=[{"role": "system", "content": "x"}]
        )
    with pytest.raises(openai.InternalServerError) as down:
        client.chat.completions.create(model="foretaste", messages=TONIGHT, user="ann")
    assert down.value.status_code == 503
    assert down.value.response.headers["retry-after"]
    key = add_key("chat")
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    assert _openai(server, key).models.list().data


def test_a_title_is_shown_in_a_chat_as_it_is() -> None:
    assert plain("Two\nlines *bold* ![x](http://e.example/?q=1) <img src=x>") == (
        "Two lines \\*bold\\* \\!\\[x\\](http://e.example/?q=1) ‹img src=x›"
    )


def _mcp(server: Any, tool: str, key: str | None = None, **arguments: Any) -> Any:
    async def call() -> Any:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with httpx2.AsyncClient(headers=headers, trust_env=False) as http:
            transport = streamable_http_client(f"{server.url}/mcp", http_client=http)
            async with Client(transport) as client:
                if tool == "list":
                    return await client.list_tools()
                return await client.call_tool(tool, arguments)

    return asyncio.run(call())


def _object(result: Any) -> Any:
    assert not result.is_error, result.content
    return json.loads(result.content[0].text)


def test_an_agent_finds_three_tools_that_explain_themselves(serve: Any) -> None:
    tools = {tool.name: tool for tool in _mcp(serve(), "list").tools}
    assert set(tools) == {"recommend", "search_items", "explain"}
    assert all(tool.description for tool in tools.values())
    assert "user_id" in tools["recommend"].input_schema["properties"]


def test_an_agent_recommends_searches_and_explains(serve: Any) -> None:
    server = serve()
    made = _object(_mcp(server, "recommend", user_id="ann", n=3))
    assert len(made["recommendations"]) == 3
    assert made["request_id"]
    found = _object(_mcp(server, "search_items", query="autumn dance", n=2))
    assert found["items"][0]["item_id"] == "love-4"
    only = _object(_mcp(server, "search_items", query="dance", n=5, categories=["Horror"]))
    assert {item["item_id"] for item in only["items"]} <= {"fear-1", "fear-2", "fear-3"}
    line = _object(_mcp(server, "explain", item_id="space-2", user_id="ann"))
    assert line["item_id"] == "space-2"
    assert "Moon Station (1984)" in line["explanation"]


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("recommend", {"user_id": "nobody"}, "no user 'nobody'"),
        ("recommend", {}, "give user_id, history or wish"),
        ("recommend", {"wish": "x", "n": 5_000}, "50"),
        ("explain", {"item_id": "none", "wish": "x"}, "no item 'none'"),
    ],
)
def test_an_agents_mistake_is_told_to_it(
    serve: Any, tool: str, arguments: dict[str, Any], sentence: str
) -> None:
    result = _mcp(serve(), tool, **arguments)
    assert result.is_error
    assert sentence in result.content[0].text


def test_an_agent_needs_a_key_where_there_are_keys(serve: Any) -> None:
    server = serve()
    key = add_key("agent")
    assert _object(_mcp(server, "recommend", key, wish="x", n=1))["recommendations"]
    with pytest.raises(Exception, match=r"401|[Uu]nauthorized|Session|error"):
        _mcp(server, "recommend", wish="x", n=1)
