"""The page's main road with the real bundled model, in this process, in a real browser."""

from __future__ import annotations

import asyncio
import runpy
from pathlib import Path
from typing import Any

import pytest

from foretaste.serving.engine import EngineConfig
from foretaste.serving.store import model_folder
from foretaste.serving.transformers_chat import TransformersChat

HOUSE = runpy.run_path(str(Path(__file__).parent / "page_house.py"))
SMALL = {"personas": 1, "tags": 1, "kept": 1, "min_tags": 1, "profile": False}

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        HOUSE["CHROMIUM"] is None,
        reason="no chromium (`apt-get install chromium`, or `make browser`)",
    ),
]


def test_the_real_model_is_seen_at_work(tmp_path: Path) -> None:
    folder = model_folder("bundled:smollm2-135m-instruct")  # of the real home
    config = EngineConfig(model=str(folder), engine="transformers")
    model: Any = asyncio.run(TransformersChat.load(config))
    with HOUSE["opened"](tmp_path / "home", model, **SMALL) as house:
        page = house.page()
        page.set_default_timeout(300_000)
        page.get_by_text("Filters and the way to the tags").click()
        page.get_by_label("A sentence for each item").uncheck()
        page.get_by_label("single").first.check()  # one call of the model
        page.locator("#recommend").click()
        page.get_by_text("At work: one prompt").wait_for()
        page.locator(".ft-card").first.wait_for()
        told = page.get_by_text("tokens read").inner_text()
        page.close()
    read, written = (int(part.split()[-1].replace(",", "")) for part in _counts(told))
    assert read > 100
    assert written > 5


def _counts(told: str) -> list[str]:
    """The words up to the tokens that were read, and up to those that were written."""
    return [told.split(" tokens read")[0], told.split(" written")[0]]
