"""Pictures of every tab of the page, light and dark, into docs/pictures.

    make screenshots

Starts `foretaste app` on ML-100K without a language model (`--engine vllm` shows the model at work),
drives Debian's chromium through the tabs, and stops it.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
START_S = 180.0
RUN = "import sys; from foretaste.app.cli import main; sys.argv[0] = 'foretaste'; main()"


@contextmanager
def served(dataset: str, engine: str) -> Iterator[str]:
    """A running page; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["app", "--dataset", dataset, "--engine", engine, "--port", str(port)]
    process = subprocess.Popen([sys.executable, "-P", "-c", RUN, *command])
    url, ends = f"http://127.0.0.1:{port}/app/", time.monotonic() + START_S
    try:
        while not _answers(url):
            if process.poll() is not None or time.monotonic() > ends:
                raise SystemExit("The page did not start.")
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def recommend(page: Page) -> None:
    """A recommendation for the first user."""
    page.locator("#recommend").click()
    page.locator(".ft-card").first.wait_for(timeout=180_000)


def compare(page: Page) -> None:
    """Two ways on five people."""
    page.locator("#compare").click()
    page.get_by_text("5 of 5 people are compared").wait_for(timeout=180_000)


def catalogue(page: Page) -> None:
    """A search and the map."""
    page.locator("#catalogue-search").get_by_role("textbox").fill("space war")
    page.keyboard.press("Enter")
    page.get_by_text("the best first").wait_for(timeout=60_000)
    page.get_by_text("Map of the items").click()
    page.locator("#map-user").get_by_role("textbox").fill("1")
    page.get_by_role("button", name="Draw the map").click()
    page.locator(".js-plotly-plot").first.wait_for(timeout=60_000)
    page.wait_for_timeout(1500)


def nothing(page: Page) -> None:
    """The tab as it opens."""
    page.wait_for_timeout(1500)


ROADS = {
    "Recommend": recommend,
    "Compare": compare,
    "Judge": nothing,
    "Catalogue": catalogue,
    "Training": nothing,
    "System": nothing,
}


def main() -> None:
    """Take all pictures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--dataset", default="ml-100k")
    options.add_argument("--engine", default="none")
    options.add_argument("--out", type=Path, default=FOLDER)
    said = options.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium was not found; `make browser` installs it on Debian.")
    with served(said.dataset, said.engine) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = browser.new_page(
                viewport={"width": 1280, "height": 900}, color_scheme=scheme, device_scale_factor=1
            )
            page.goto(url)
            page.locator("#recommend").wait_for(timeout=60_000)
            for name, road in ROADS.items():
                page.get_by_role("tab", name=name).click()
                road(page)
                page.evaluate("window.scrollTo(0, 0)")
                page.screenshot(path=said.out / f"page-{name.lower()}-{scheme}.png")
            page.close()
        browser.close()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (this machine's page)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()
