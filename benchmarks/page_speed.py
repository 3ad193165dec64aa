"""How fast the page is: paint, first word of the agents, and what other visitors notice meanwhile.

    python benchmarks/page_speed.py --dataset ml-100k --engine vllm --json -

Starts `foretaste app`, waits until its engine is warm, and drives Debian's chromium:

* paint: from opening the page until the Recommend button can be pressed, in a browser that has seen
  nothing yet (`first`) and in later visits (`again`); and the processor seconds of server and browser
  for it, which say more than wall time where others use the processor, too;
* first output: from the click until the page shows what the agents read of the person, until their
  first persona, until the titles of the items, and until their cards with sentences and thumbs;
* while working: how long a new visit takes while a recommendation is worked out (in one more run,
  which tells nothing else), and the longest time that the page under work did not answer to its own
  clock;
* visitors: so many at once, each with a session of its own asking for another user; seconds until
  each had its items, and whether each got their own.

The others are wall time: on a machine that does other things it is a bound from above. Runs repeat,
medians and worst are told; runs that ended in a fault are counted and left out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import httpx
import psutil
from playwright.sync_api import Browser, Page, sync_playwright
from screenshots import served

from foretaste.app.console import emit, say
from foretaste.data.dataset import Dataset
from foretaste.data.store import load_dataset

CLOCK = """() => {
  window.ftWorst = 0; let last = performance.now();
  setInterval(() => { const now = performance.now();
    window.ftWorst = Math.max(window.ftWorst, now - last - 50); last = now; }, 50);
}"""
LONG_MS = 300_000


def told(values: list[float]) -> dict[str, float] | None:
    """Median and worst of some seconds; None without any."""
    if not values:
        return None
    return {"median_s": round(statistics.median(values), 3), "worst_s": round(max(values), 3)}


def processor(url: str) -> dict[str, float]:
    """Processor seconds so far of the server at `url`, and of the browsers started here."""
    with httpx.Client(timeout=60, trust_env=False) as client:
        lines = client.get(url.replace("/app/", "/metrics")).text.splitlines()
    server = next(line for line in lines if line.startswith("process_cpu_seconds_total"))
    started = psutil.Process().children(recursive=True)
    times = [one.cpu_times() for one in started if "chrom" in one.name()]
    return {
        "server_s": float(server.split()[1]),
        "browser_s": sum(t.user + t.system for t in times),
    }


def since(before: dict[str, float], url: str, times: int) -> dict[str, float]:
    """Processor seconds since then, a time."""
    return {key: round((now - before[key]) / times, 2) for key, now in processor(url).items()}


def visit(browser: Browser, url: str) -> tuple[Page, float]:
    """A page in a browser without any memory, and the seconds until it can be used."""
    page = browser.new_context().new_page()
    page.set_default_timeout(LONG_MS)
    return page, opened(page, url)


def opened(page: Page, url: str) -> float:
    """Seconds until the page can be used."""
    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.locator("#recommend").wait_for()
    return time.perf_counter() - start


def recommended(page: Page, url: str, others: Browser | None = None) -> dict[str, float] | None:
    """Seconds from the click to the first output and to the items, and the page's longest stall.

    With `others` also the seconds of a visit meanwhile. None where the page told of a fault instead.
    """
    page.evaluate(CLOCK)
    start = time.perf_counter()
    page.locator("#recommend").click()
    page.locator(".ft-read h2").first.wait_for()
    read = time.perf_counter() - start
    page.locator(".ft-persona h2, .ft-fault").first.wait_for()
    first = time.perf_counter() - start
    meanwhile = 0.0
    if others is not None:
        beside, meanwhile = visit(others, url)
        beside.context.close()
    page.locator(".ft-items h2, .ft-card, .ft-fault").first.wait_for()
    titles = time.perf_counter() - start
    page.locator(".ft-card, .ft-fault").first.wait_for()
    whole = time.perf_counter() - start
    if page.locator(".ft-fault").count():
        say(f"The page said: {page.locator('.ft-fault').first.inner_text()}")
        return None
    worst = float(page.evaluate("window.ftWorst")) / 1000
    return {
        "read_s": read,
        "first_s": first,
        "titles_s": titles,
        "whole_s": whole,
        "visit_s": meanwhile,
        "stall_s": worst,
    }


def visitor(url: str, dataset: Dataset, number: int) -> tuple[float, bool]:
    """Seconds until a visitor's items stand there, and whether they are of that visitor's user."""
    user = dataset.user_ids[number % len(dataset.user_ids)]
    own = f"{len(dataset.events_of(user)):,} events, the newest first"
    start = time.perf_counter()
    path = "gradio_api/call/recommend_page"
    rules = [[], [], "", "", [], [], False, False, "hierarchical"]
    fields = [dataset.name, "A user", user, [], "", 8, "", "", "", "", *rules]
    with httpx.Client(base_url=url, timeout=LONG_MS / 1000, trust_env=False) as client:
        sent = client.post(path, json={"data": fields, "session_hash": f"visitor{number}"})
        name = sent.json()["event_id"]
        lines = client.get(f"{path}/{name}").text
    last = lines.rpartition("event: complete\ndata: ")[2].partition("\n")[0]
    status, agents = json.loads(last)[:2] if last else ("", "")
    return time.perf_counter() - start, " items in " in status and own in agents


def measured(url: str, dataset: str, repeats: int, visitors: int) -> dict[str, Any]:
    """All figures of a running page."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("chromium was not found; `make browser` installs it on Debian.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        before = processor(url)
        page, first = visit(browser, url)
        cold, before = since(before, url, 1), processor(url)
        again = [opened(page, url) for _ in range(repeats)]
        warm = since(before, url, repeats)
        say(f"First visit {first:.2f} s, later ones {statistics.median(again):.2f} s.")
        runs = []
        for _ in range(repeats):
            opened(page, url)
            if (one := recommended(page, url)) is not None:
                runs.append(one)
                words = ("read_s", "first_s", "titles_s", "whole_s")
                say("Read, persona, titles, cards: " + ", ".join(f"{one[w]:.2f} s" for w in words))
        opened(page, url)
        beside = recommended(page, url, browser)
        browser.close()
    known = load_dataset(dataset)
    with ThreadPoolExecutor(visitors) as pool:
        came = list(pool.map(lambda number: visitor(url, known, number), range(visitors)))
    return {
        "runs": {"asked": repeats, "finished": len(runs)},
        "paint": {"first_s": round(first, 3), "again": told(again)},
        "paint_processor": {"first": cold, "again": warm},
        "what_is_read": told([one["read_s"] for one in runs]),
        "first_persona": told([one["first_s"] for one in runs]),
        "titles": told([one["titles_s"] for one in runs]),
        "cards": told([one["whole_s"] for one in runs]),
        "while_working": {
            "new_visit_s": beside and round(beside["visit_s"], 3),
            "longest_stall": told([one["stall_s"] for one in runs]),
        },
        "visitors": {
            "count": visitors,
            "served": sum(done for _, done in came),
            "cards": told([seconds for seconds, done in came if done]),
        },
        "bars": {"paint_s": 2.0, "first_output_s": 3.0},
    }


def main() -> None:
    """Start the page, measure, stop it."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--dataset", default="ml-100k")
    options.add_argument("--engine", default="vllm")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--visitors", type=int, default=20)
    options.add_argument("--url", default=None, help="of a page that runs; nothing is started")
    options.add_argument("--json", default=None, metavar="FILE")
    said = options.parse_args()
    with nullcontext(said.url) if said.url else served(said.dataset, said.engine) as url:
        found = measured(url, said.dataset, said.repeats, said.visitors)
    emit({"dataset": said.dataset, "engine": said.engine, **found}, said.json)


if __name__ == "__main__":
    main()
