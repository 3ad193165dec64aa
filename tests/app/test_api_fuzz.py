"""Requests made up from the API's own document: refused with a sentence or answered, never a fault.

`FUZZ_REQUESTS` says how many; `make fuzz` sends ten thousand.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

schemathesis = pytest.importorskip("schemathesis", reason="a development tool, see pyproject.toml")
# pytest rewrites it, and Python 3.11 cannot parse in two threads at once: before a server runs
pytest.importorskip("schemathesis.specs.openapi.schemas")

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "60"))
_AT_MOST = 64 * 1024  # bytes of an answer that says no


@pytest.fixture
def server(serve: Any) -> Any:
    return serve(rate=1e6, burst=10**6)


@pytest.mark.timeout(1800)
def test_no_request_of_the_document_is_a_fault_of_the_server(server: Any) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 12
    statuses: Counter[int] = Counter()
    modes = list(schemathesis.GenerationMode)
    each = max(1, REQUESTS // (len(operations) * len(modes)))
    with server.client() as client:
        for operation in operations:
            for mode in modes:
                _fuzzed(client, operation, mode, each, statuses)
    print(f"{sum(statuses.values())} requests, by status: {dict(sorted(statuses.items()))}")
    assert sum(statuses.values()) >= REQUESTS * 0.5, statuses
    assert {200, 422} <= set(statuses), statuses
    assert server.recommend(user_id="ann", n=3)["recommendations"], "it answers as before"


def _fuzzed(client: Any, operation: Any, mode: Any, each: int, statuses: Counter[int]) -> None:
    """Send so many requests of one operation, right ones or wrong ones."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=each,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case: Any) -> None:
        made = case.as_transport_kwargs(base_url=str(client.base_url))
        made.pop("cookies", None)
        answer = client.request(**_for_httpx(made))
        statuses[answer.status_code] += 1
        assert answer.status_code < 500, (operation.label, made, answer.text[:500])
        if answer.status_code >= 400 and answer.content:
            assert len(answer.content) <= _AT_MOST
            assert "Traceback" not in answer.text

    with suppress(Unsatisfiable):  # a call without parameters cannot be a wrong one
        send()


def _for_httpx(made: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `requests` as httpx takes them."""
    data = made.pop("data", None)
    if data is not None:
        made["content"] = data if isinstance(data, str | bytes) else b"".join(data)
    return {key: value for key, value in made.items() if value is not None}
