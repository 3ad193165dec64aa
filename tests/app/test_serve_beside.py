"""Another data set behind the engine of the first is asked as that engine was started."""

from __future__ import annotations

import asyncio
from typing import Any

from foretaste.app.api.server import Serving, beside


def test_the_second_data_set_has_the_adapter_and_the_form_of_the_engine(
    serve: Any, cinema: str
) -> None:
    asked = {"adapter": "films", "expert_adapter": "tags", "entities": "vectors", "tags": 4}
    first = serve(model=None, agents=asked, vectors=300).service
    second = beside(Serving(dataset="films"), first, cinema)
    try:
        config, own = second.live.tools.config, first.live.tools.config
        assert {name: getattr(config, name) for name in asked} == asked
        assert config == own
        assert second.live.tools.dataset.name == cinema
        assert (second.engine, second.config) == (first.engine, first.config)
    finally:
        second.live.ledger.close()
        asyncio.run(second.close())
