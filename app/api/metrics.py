"""What Prometheus reads. No label ever holds an id of a user or an item."""

from __future__ import annotations

from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from foretaste.app.api.gate import Gate

# A second series for every counter, which nobody reads:
disable_created_metrics()  # type: ignore[no-untyped-call]
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one server."""

    def __init__(self, gate: Gate) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter("requests", "Requests answered", "route", "status")
        self.seconds = self._histogram("request_seconds", "From request to answer", "route")
        self.node_seconds = self._histogram("node_seconds", "Wall time of a node", "node")
        self.tokens = self._counter("tokens", "Tokens of the language model", "node", "kind")
        self.calls = self._counter("agent_calls", "Calls of an agent", "node")
        self.fallbacks = self._counter("fallbacks", "Answers that were replaced", "node")
        self.cached = self._counter(
            "prefix_cache_tokens", "Prompt tokens by whether the engine had them", "outcome"
        )
        rate = Gauge(
            "foretaste_prefix_hit_rate",
            "Share of all prompt tokens that the engine had in its prefix cache",
            registry=self.registry,
        )
        rate.set_function(self._hit_rate)
        self.refused = self._counter("refused", "Requests that were refused", "reason")
        self.feedback = self._counter("feedback", "Thumbs kept", "thumb")
        self.engine = Gauge(
            "foretaste_engine_ready", "1 when the engine answers", registry=self.registry
        )
        for name, read in (("active", lambda: gate.active), ("waiting", lambda: gate.line)):
            gauge = Gauge(
                f"foretaste_queue_{name}", f"Recommendations {name}", registry=self.registry
            )
            gauge.set_function(read)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)

    def count_run(self, result: dict[str, Any]) -> None:
        """Take in the costs of one finished run."""
        for node, ms in result["timings_ms"].items():
            self.node_seconds.labels(node).observe(ms / 1000)
        for node, spent in result["tokens"].items():
            if node == "total":
                for kind, count in (
                    ("hit", spent["cached"]),
                    ("miss", spent["prompt"] - spent["cached"]),
                ):
                    self.cached.labels(kind).inc(count)
                continue
            for kind, amount in spent.items():
                self.tokens.labels(node, kind).inc(amount)
        for node, row in result["fallbacks"].items():
            self.calls.labels(node).inc(row["calls"])
            self.fallbacks.labels(node).inc(row["fallbacks"])

    def _hit_rate(self) -> float:
        counted = [one for family in self.cached.collect() for one in family.samples]
        total = sum(one.value for one in counted)
        hit = sum(one.value for one in counted if one.labels["outcome"] == "hit")
        return hit / total if total else 0.0

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"foretaste_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, label: str) -> Histogram:
        return Histogram(
            f"foretaste_{name}", text, [label], buckets=_SECONDS, registry=self.registry
        )
