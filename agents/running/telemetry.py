"""Traces of runs as OpenTelemetry spans, for those who collect them; off unless an address is set.

`FORETASTE_OTEL_ENDPOINT` holds the collector's base address (OTLP over HTTP), or OpenTelemetry's
own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, and beside them
headers, certificates, resource attributes) do. Attributes follow the semantic conventions for
generative AI. What a span says is numbers and names of ours: no user, item, persona, prompt or
answer leaves the machine this way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from foretaste.agents.objects import Step
from foretaste.agents.running.trace import Span
from foretaste.agents.wording.asking import NO_MODEL
from foretaste.data.progress import note

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

SETTING = "FORETASTE_OTEL_ENDPOINT"
_OWN = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
Made = tuple[Sequence[Span], Sequence[Step]]
PROVIDER = "foretaste"  # the engine behind the seam is not known here


@contextmanager
def exporting(made: Callable[[], Made], model: str) -> Iterator[None]:
    """Send what the block made as one trace, also when the block fails.

    Args:
        made: gives the spans, and the calls made in them, once the block has ended.
        model: the language model's name.
    """
    failed = ""
    try:
        yield
    except BaseException as error:
        failed = type(error).__name__
        raise
    finally:
        found = tracer()
        spans, steps = made()
        if found is not None and spans:
            send(found, spans, steps, model, failed)


@cache
def tracer() -> Tracer | None:
    """Where spans go; None when no address is set or the library is missing, which is said."""
    chosen = os.environ.get(SETTING)
    if not chosen and not any(os.environ.get(name) for name in _OWN):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        note("Traces are not exported: their library is missing; install foretaste[otel].")
        return None
    name = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": "foretaste"}
    provider = TracerProvider(resource=Resource.create(name))
    endpoint = f"{chosen.rstrip('/')}/v1/traces" if chosen else None
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return provider.get_tracer("foretaste.agents")


def send(
    to: Tracer, spans: Sequence[Span], steps: Sequence[Step], model: str, failed: str = ""
) -> None:
    """One trace: the workflow, in it a span for every node, in those one for every model call.

    Args:
        to: OpenTelemetry's tracer.
        spans: of the nodes.
        steps: the calls; those that asked no model are left out.
        model: the language model's name.
        failed: the class of the error that ended the run, if one did.
    """
    from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

    begun, ended = min(s.at for s in spans), max(s.at + s.ms / 1000 for s in spans)
    root = to.start_span(
        "invoke_workflow foretaste",
        start_time=_ns(begun),
        attributes={
            "gen_ai.operation.name": "invoke_workflow",
            "gen_ai.workflow.name": "foretaste",
        },
    )
    for span in spans:
        own = [step for step in steps if step.span == span.id and step.fallback != NO_MODEL]
        head, attributes = _node(span, bool(own))
        inner = to.start_span(
            head,
            context=set_span_in_context(root),
            start_time=_ns(span.at),
            attributes=attributes,
        )
        for step in own:
            to.start_span(
                f"chat {model}",
                context=set_span_in_context(inner),
                kind=SpanKind.CLIENT,
                start_time=_ns(step.at),
                attributes=_call(step, model),
            ).end(_ns(step.at + step.ms / 1000))
        inner.end(_ns(span.at + span.ms / 1000))
    if failed:
        root.set_attribute("error.type", failed)
        root.set_status(Status(StatusCode.ERROR))
    root.end(_ns(ended))


def _node(span: Span, asks: bool) -> tuple[str, dict[str, Any]]:
    """Name and attributes of a node's span; its notes are numbers, texts may be about people."""
    notes = {
        f"foretaste.{name}": value
        for name, value in span.notes.items()
        if not isinstance(value, str)
    }
    if asks:
        own = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": span.node}
        return f"invoke_agent {span.node}", own | notes
    if span.node == "retrieve":
        return "retrieval", {"gen_ai.operation.name": "retrieval"} | notes
    return span.node, notes


def _call(step: Step, model: str) -> dict[str, Any]:
    """Attributes of one call of the model."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": model,
        "gen_ai.prompt.name": step.node,
        "gen_ai.usage.input_tokens": step.prompt,
        "gen_ai.usage.cache_read.input_tokens": step.cached,
        "gen_ai.usage.output_tokens": step.completion,
        "foretaste.prompt.version": step.prompt_version,
        "foretaste.adapter": step.adapter or "",
        "foretaste.fallback": step.fallback is not None,
    }


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
