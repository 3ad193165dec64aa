"""One server and one chromium for all tests of the page: starting either takes seconds."""

from __future__ import annotations

import runpy
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from foretaste.app.api.config import ApiConfig
from foretaste.app.api.keys import KeyRing
from foretaste.app.api.service import Engine
from foretaste.data.dataset import Dataset

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>${7*7} {{7*7}}"
WAIT_MS = 40_000
_HERE = Path(__file__).parent


@dataclass
class House:
    """The server, and pages of it.

    Attributes:
        server: of `conftest.running`.
        browser: chromium.
        contexts: width and scheme → where its pages are opened; their files are fetched once.
    """

    server: Any
    browser: Browser
    contexts: dict[tuple[int, bool], BrowserContext] = field(default_factory=dict)

    def engine(self, model: Any) -> None:
        """Let another model answer from now on; None for none."""
        self.server.service.engine.model = model
        self.server.service.engine.ready = True

    def page(self, width: int = 1280, dark: bool = False, tab: str | None = None) -> Page:
        """A new visitor, at one of the tabs."""
        key = (width, dark)
        if key not in self.contexts:
            scheme: Any = "dark" if dark else "light"
            size: Any = {"width": width, "height": 900}
            self.contexts[key] = self.browser.new_context(viewport=size, color_scheme=scheme)
        page = self.contexts[key].new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{self.server.url}/app")
        page.locator("#recommend").wait_for()
        if tab:
            page.get_by_role("tab", name=tab).click()
        return page

    def idle(self) -> None:
        """Wait until nothing is worked on."""
        until(lambda: self.server.service.gate.active == 0)


@contextmanager
def opened(home: Path, model: Any, **config: Any) -> Iterator[House]:
    """The house for the block.

    Args:
        home: of the server.
        model: what answers at first.
        config: of the agents.
    """
    fixtures = runpy.run_path(str(_HERE / "conftest.py"))
    embedder = runpy.run_path(str(_HERE.parent / "conftest.py"))["WordEmbedder"]()
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("FORETASTE_HOME", str(home))
        tools = fixtures["film_tools"](
            embedder, priced_films(fixtures["FILMS"]["films"]()), **config
        )
        limits = ApiConfig(runs=20)
        server = stack.enter_context(
            fixtures["running"](tools, Engine(model), limits, KeyRing(), page=True)
        )
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        stack.callback(browser.close)
        yield House(server, browser)


def priced_films(films: Dataset) -> Dataset:
    """The films with prices 1, 2, 3, …, a studio that several share, and one hostile title."""
    rows = films.items.height
    studio = [[{"name": "studio", "value": "North" if row % 2 else "South"}] for row in range(rows)]
    kinds = films.items.schema
    made = films.items.with_columns(
        price=pl.Series([float(row + 1) for row in range(rows)], dtype=kinds["price"]),
        attributes=pl.Series(studio, dtype=kinds["attributes"]),
        title=pl.when(pl.col("item_id") == "space-2").then(pl.lit(HOSTILE)).otherwise("title"),
    )
    return replace(films, items=made)


def until(true: Callable[[], bool], seconds: float = 40) -> None:
    """Wait until something holds."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)
