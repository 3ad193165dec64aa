"""What a running vLLM says about itself: how much of the prompts its prefix cache answered."""

from __future__ import annotations

import httpx

from foretaste.data.errors import EngineError

_TIMEOUT_S = 5.0
_ASKED, _FOUND = "vllm:prefix_cache_queries", "vllm:prefix_cache_hits"


def prefix_hit_rate(url: str) -> float | None:
    """Share of prompt tokens that were read from the prefix cache since the server started.

    Args:
        url: of the server, up to and including `/v1`.

    Returns:
        0 to 1, or None when no prompt was read yet.

    Raises:
        EngineError: nothing there tells these figures.
    """
    try:
        reply = httpx.get(
            f"{url.removesuffix('/v1')}/metrics", timeout=_TIMEOUT_S, trust_env=False
        ).raise_for_status()
    except httpx.HTTPError as error:
        raise EngineError(
            f"The figures of {url} cannot be read ({type(error).__name__}); check that vLLM runs."
        ) from error
    totals = _totals(reply.text)
    if _ASKED not in totals:
        raise EngineError(f"{url} does not tell its prefix cache; is it vLLM?")
    asked = totals[_ASKED]
    return totals.get(_FOUND, 0.0) / asked if asked else None


def _totals(text: str) -> dict[str, float]:
    """Each counter summed over its labels, without the ending `_total` of its name."""
    from prometheus_client.parser import text_string_to_metric_families

    return {
        family.name: sum(one.value for one in family.samples if one.name.endswith("_total"))
        for family in text_string_to_metric_families(text)
        if family.type == "counter"
    }
