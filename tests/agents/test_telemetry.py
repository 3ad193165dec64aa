"""Runs as OpenTelemetry spans: what is sent, when it fails, without the library, never people."""

from __future__ import annotations

import asyncio
import gzip
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from foretaste.agents.objects import Request
from foretaste.agents.recommend import Run, stream
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.running import telemetry
from foretaste.data.errors import EngineError
from foretaste.serving.scripted_chat import ScriptedChat

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What a collector would have received."""
    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    monkeypatch.setattr(telemetry, "tracer", lambda: provider.get_tracer("test"))
    return memory


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """No address, and no tracer made before."""
    for name in (telemetry.SETTING, *telemetry._OWN):
        monkeypatch.delenv(name, raising=False)
    telemetry.tracer.cache_clear()
    yield monkeypatch
    telemetry.tracer.cache_clear()


def _run(tools: Tools, model: Any, **request: Any) -> None:
    async def go() -> None:
        wanted = Request(**{"user_id": "ann", "n": 3} | request)
        async for _ in stream(tools.with_model(model), wanted, Run()):
            continue

    asyncio.run(go())


def _attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_run_is_one_trace_of_agents_and_chats(
    tools: Tools, collected: InMemorySpanExporter
) -> None:
    _run(tools, ScriptedChat(lambda ask: {"nothing": "useful"}, name="tiny"))
    spans = collected.get_finished_spans()
    names = [span.name for span in spans]
    (root,) = [span for span in spans if span.parent is None]
    assert root.name == "invoke_workflow foretaste"
    assert {"invoke_agent planner", "invoke_agent expert", "retrieval", "rank"} <= set(names)
    assert len({span.context.trace_id for span in spans}) == 1
    chats = [span for span in spans if span.name == "chat tiny"]
    planner = next(span for span in spans if span.name == "invoke_agent planner")
    first = min(chats, key=lambda span: span.start_time or 0)
    assert first.parent is not None
    assert first.parent.span_id == planner.context.span_id
    assert first.kind is SpanKind.CLIENT
    said = _attributes(first)
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.request.model"] == "tiny"
    assert said["gen_ai.usage.input_tokens"] > 0
    assert said["gen_ai.usage.output_tokens"] > 0
    assert said["foretaste.fallback"] is True
    for span in spans:
        assert (span.start_time or 0) <= (span.end_time or 0)
        assert (span.start_time or 0) >= (root.start_time or 0)


def test_nothing_about_people_or_items_is_sent(
    tools: Tools, collected: InMemorySpanExporter
) -> None:
    _run(tools, ScriptedChat(lambda ask: {"nothing": "useful"}), wish="Quux by the sea")
    sent = " ".join(f"{span.name} {_attributes(span)}" for span in collected.get_finished_spans())
    for word in ("ann", "Quux", "Star Voyage", "space-1", "Romance"):
        assert not re.search(rf"\b{word}\b", sent)


def test_a_run_that_fails_is_sent_as_failed(tools: Tools, collected: InMemorySpanExporter) -> None:
    with pytest.raises(EngineError):
        _run(tools, ScriptedChat(lambda ask: EngineError("gone")))
    (root,) = [span for span in collected.get_finished_spans() if span.parent is None]
    assert root.status.status_code is StatusCode.ERROR
    assert _attributes(root)["error.type"] == "EngineError"


def test_without_a_model_there_are_no_chats(tools: Tools, collected: InMemorySpanExporter) -> None:
    _run(tools, None)
    names = [span.name for span in collected.get_finished_spans()]
    assert "planner" in names
    assert not [name for name in names if name.startswith(("chat", "invoke_agent"))]


def test_it_is_off_without_an_address(fresh: pytest.MonkeyPatch) -> None:
    assert telemetry.tracer() is None


@pytest.mark.parametrize("name", [telemetry.SETTING, *telemetry._OWN])
def test_an_address_switches_it_on(fresh: pytest.MonkeyPatch, name: str) -> None:
    fresh.setenv(name, "http://127.0.0.1:9")
    assert telemetry.tracer() is not None


def test_a_collector_receives_the_run(fresh: pytest.MonkeyPatch, tools: Tools) -> None:
    received: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    fresh.setenv(telemetry.SETTING, f"http://127.0.0.1:{server.server_port}/")
    fresh.setenv("NO_PROXY", "127.0.0.1")
    _run(tools, ScriptedChat(lambda ask: {"nothing": "useful"}, name="tiny"))
    found: Any = telemetry.tracer()
    assert found.span_processor.force_flush()
    server.shutdown()
    server.server_close()
    assert {path for path, _ in received} == {"/v1/traces"}
    sent = b"".join(
        gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body for _, body in received
    )
    for word in (b"invoke_workflow foretaste", b"gen_ai.usage.input_tokens", b"chat tiny"):
        assert word in sent


def test_without_the_library_it_says_so_once_and_goes_on(
    fresh: pytest.MonkeyPatch, tools: Tools, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh.setenv(telemetry.SETTING, "http://127.0.0.1:9")
    fresh.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    for _ in range(2):
        _run(tools, None)
    assert capsys.readouterr().err.count("install foretaste[otel]") == 1
