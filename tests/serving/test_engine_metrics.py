"""The hit rate, read from the text that vLLM publishes."""

from __future__ import annotations

import httpx
import pytest

from foretaste.data.errors import EngineError
from foretaste.serving import engine_metrics
from foretaste.serving.engine_metrics import prefix_hit_rate

TEXT = """# HELP vllm:prefix_cache_queries_total Prefix cache queries, in tokens.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="m"} %s
# HELP vllm:prefix_cache_queries_created x
# TYPE vllm:prefix_cache_queries_created gauge
vllm:prefix_cache_queries_created{engine="0"} 1.7e9
# HELP vllm:prefix_cache_hits_total Prefix cache hits, in tokens.
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0",model_name="m"} %s
"""


def _serve(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def get(url: str, **_: object) -> httpx.Response:
        assert url == "http://h:1/metrics"
        return httpx.Response(200, text=text, request=httpx.Request("GET", url))

    monkeypatch.setattr(engine_metrics.httpx, "get", get)


def test_hits_over_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, TEXT % ("400.0", "100.0"))
    assert prefix_hit_rate("http://h:1/v1") == 0.25
    _serve(monkeypatch, TEXT % ("0.0", "0.0"))
    assert prefix_hit_rate("http://h:1/v1") is None


def test_what_tells_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    _serve(monkeypatch, "# nothing\n")
    with pytest.raises(EngineError, match="is it vLLM"):
        prefix_hit_rate("http://h:1/v1")
    monkeypatch.undo()
    with pytest.raises(EngineError, match="cannot be read"):
        prefix_hit_rate("http://127.0.0.1:9/v1")
