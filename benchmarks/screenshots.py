"""Pictures of every tab of the page, light and dark, into docs/pictures.

    make screenshots

Starts `foretaste app` on ML-100K without a language model (`--engine vllm` shows the model at work),
drives Debian's chromium through the tabs, and stops it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"
START_S = 600.0  # of an engine on a machine that does other things, too
WAIT_MS = 300_000
SCHEMES = ("light", "dark")
HIGHEST = 1_800  # pixels of a picture
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
    """A recommendation for the first user, with its cost."""
    page.locator("#recommend").click()
    page.locator(".ft-card").first.wait_for()
    page.get_by_text("Where its score comes from").first.click()


def compare(page: Page) -> None:
    """Two ways on five people."""
    page.locator("#compare").click()
    page.get_by_text("5 of 5 people are compared").wait_for()


def judge(page: Page) -> None:
    """The explanations of three real answers, judged by the rules."""
    address = page.url.split("/app")[0]
    asked = [{"user_id": str(user), "n": 4} for user in (1, 2, 3)]
    with httpx.Client(base_url=address, timeout=WAIT_MS / 1000, trust_env=False) as client:
        made = [client.post("/v1/recommendations", json=one).json() for one in asked]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "answers.json"
        file.write_text(json.dumps(made))
        page.locator("input[type=file]").first.set_input_files(file)
        page.get_by_text("answers.json").first.wait_for()
        page.get_by_label("Judge", exact=True).click()
        page.get_by_role("option", name="rules over the data set").click()
        page.locator("#judge").click()
        page.get_by_text("Choose a row to read its verdict").wait_for()
    page.get_by_role("gridcell").first.click()
    page.get_by_role("columnheader", name="evidence").wait_for()
    page.get_by_text("Mark the same rows yourself, blindly").click()
    page.locator("#label").click()
    page.locator("#mark-S").wait_for()


def catalogue(page: Page) -> None:
    """A search, the neighbours of what it finds, and the map with a user."""
    page.locator("#catalogue-search").get_by_role("textbox").fill("space war")
    page.keyboard.press("Enter")
    page.get_by_text("the best first").wait_for()
    page.get_by_role("gridcell").first.click()
    page.get_by_text("What is near").wait_for()
    page.get_by_text("Map of the items").click()
    page.locator("#map-user").get_by_role("textbox").fill("5")
    page.locator("#draw-map").click()
    page.locator("#map .legendtext", has_text="interests").first.wait_for()
    page.locator("#draw-map").scroll_into_view_if_needed()


def training(page: Page) -> None:
    """The newest run with its curves; a short training of the towers where there is none."""
    page.wait_for_timeout(3_000)
    if not page.get_by_text("rows of its curve").count():
        page.locator("#train").click()
        page.get_by_text("It waits for you").wait_for()
        page.locator("#begin-training").click()
        page.get_by_text("Done; choose its run").wait_for()
    page.locator("#curves .legendtext").first.wait_for()


def system(page: Page) -> None:
    """The state of the server and its models."""
    page.get_by_text("recommendations under way").wait_for()
    page.get_by_text("all-minilm").first.wait_for()


ROADS = {
    "Recommend": recommend,
    "Compare": compare,
    "Judge": judge,
    "Catalogue": catalogue,
    "Training": training,
    "System": system,
}


def main() -> None:
    """Take all pictures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--dataset", default="ml-100k")
    options.add_argument("--engine", default="none")
    options.add_argument("--out", type=Path, default=FOLDER)
    options.add_argument("--tabs", nargs="+", default=list(ROADS), choices=list(ROADS))
    options.add_argument("--schemes", nargs="+", default=SCHEMES, choices=SCHEMES)
    said = options.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium was not found; `make browser` installs it on Debian.")
    with served(said.dataset, said.engine) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in said.schemes:
            page = browser.new_page(
                viewport={"width": 1280, "height": 900}, color_scheme=scheme, device_scale_factor=1
            )
            page.goto(url)
            page.set_default_timeout(WAIT_MS)
            page.locator("#recommend").wait_for()
            for name in said.tabs:
                page.get_by_role("tab", name=name).click()
                ROADS[name](page)
                page.wait_for_timeout(1_000)  # until menus are closed and plots are drawn
                high = min(page.evaluate("document.documentElement.scrollHeight"), HIGHEST)
                page.screenshot(
                    path=said.out / f"page-{name.lower()}-{scheme}.png",
                    full_page=True,
                    clip={"x": 0, "y": 0, "width": 1280, "height": high},
                )
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
