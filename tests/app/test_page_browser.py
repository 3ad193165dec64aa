"""The page in a real browser: each tab's road, faults, Stop, reload, phone, accessibility."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from axe_playwright_python.sync_playwright import Axe
from gradio_client import Client
from playwright.sync_api import Browser, Page, sync_playwright

from foretaste.data.dataset import Dataset
from foretaste.data.feedback import feedback_table
from foretaste.serving.scripted_chat import ScriptedChat

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
TABS = ("Recommend", "Compare", "Judge", "Catalogue", "Training", "System")
HOSTILE = "<img src=x onerror='window.hacked=1'><script>window.hacked=1</script>${7*7} {{7*7}}"
WAIT_MS = 60_000

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium (`apt-get install chromium`, or `make browser`)"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(serve: Any, chromium: Browser) -> Iterator[Callable[..., tuple[Any, Page]]]:
    """Start a server and open its page: `visit(model=…, width=…, dark=…)`."""
    contexts = []

    def open_page(width: int = 1280, dark: bool = False, **how: Any) -> tuple[Any, Page]:
        server = serve(page=True, **how)
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{server.url}/app")
        page.locator("#recommend").wait_for()
        return server, page

    yield open_page
    for context in contexts:
        context.close()


def _recommended(page: Page) -> None:
    page.locator("#recommend").click()
    page.locator(".ft-card").first.wait_for()


def _until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 40
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_the_agents_show_their_work_then_the_items_and_a_thumb_is_kept(visit: Any) -> None:
    _, page = visit(model=ScriptedChat(lambda ask: {"nothing": "useful"}))
    _recommended(page)
    assert page.locator(".ft-box h4").first.inner_text()
    assert page.get_by_text("rests on").count() >= 1
    assert page.locator(".ft-card").count() == 8
    assert page.get_by_text("Star Voyage (1980)").first.is_visible()  # evidence of user ann
    page.get_by_placeholder("Why? (optional)").first.fill("more of this")
    page.get_by_role("button", name="Good").first.click()
    page.get_by_text("Kept: thumb up.").wait_for()
    kept = feedback_table("films").row(0, named=True)
    assert (kept["user_id"], kept["thumb"], kept["reason"]) == ("ann", 1, "more of this")
    assert kept["position"] == 1


def test_the_cost_and_the_way_of_a_missing_item_are_told(visit: Any) -> None:
    _, page = visit(model=ScriptedChat(lambda ask: {"nothing": "useful"}))
    _recommended(page)
    page.get_by_text("What it cost").click()
    page.get_by_role("columnheader", name="cache hits").wait_for()
    page.get_by_text("Why is something not here?").click()
    page.locator("#why-not").get_by_role("textbox").fill("space-1")
    page.keyboard.press("Enter")
    page.get_by_text("is in the history").wait_for()


def test_markup_in_a_title_stays_inert(visit: Any, embedder: Any) -> None:
    films: Dataset = _films()
    hostile = films.items.with_columns(
        title=pl.when(pl.col("item_id") == "space-2").then(pl.lit(HOSTILE)).otherwise("title")
    )
    _, page = visit(dataset=replace(films, items=hostile))
    _recommended(page)
    page.locator(".ft-card", has_text="${7*7}").first.wait_for()
    assert "{{7*7}}" in page.locator(".ft-card", has_text="${7*7}").first.inner_text()
    page.get_by_role("tab", name="Catalogue").click()
    page.locator("#catalogue-search").get_by_role("textbox").fill("space-2")
    page.keyboard.press("Enter")
    page.get_by_text("the best first").wait_for()
    assert page.evaluate("window.hacked") is None


def test_a_call_without_anybody_is_one_sentence(visit: Any) -> None:
    _, page = visit()
    page.get_by_label("A history that I choose").check()
    page.locator("#recommend").click()
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == "Choose a user, build a history, or write a wish."


def test_an_engine_that_is_down_is_one_sentence(visit: Any) -> None:
    async def down() -> bool:
        return False

    server, page = visit(model=ScriptedChat([]), probe=down)
    _until(lambda: not server.service.engine.ready)
    page.locator("#recommend").click()
    page.get_by_text("The language model is not available").wait_for()


def test_stop_ends_the_work(visit: Any) -> None:
    server, page = visit(model=ScriptedChat(lambda ask: {}, delay_s=60))
    page.locator("#recommend").click()
    page.get_by_text("At work: planner").wait_for()
    assert server.service.gate.active == 1
    page.locator("#stop").click()
    page.get_by_text("nothing works for you any more").wait_for()
    _until(lambda: server.service.gate.active == 0)


def test_a_reload_in_the_middle_ends_the_work_and_the_page_is_usable(visit: Any) -> None:
    chat = ScriptedChat(lambda ask: {}, delay_s=60)
    server, page = visit(model=chat)
    page.locator("#recommend").click()
    page.get_by_text("At work: planner").wait_for()
    page.reload()
    _until(lambda: server.service.gate.active == 0)
    page.locator("#recommend").click()
    page.get_by_text("At work: planner").wait_for()


def test_a_history_is_built_by_searching(visit: Any) -> None:
    _, page = visit()
    page.get_by_label("A history that I choose").check()
    page.locator("#find-item").get_by_role("textbox").fill("fear-1")
    page.keyboard.press("Enter")
    found = page.get_by_label("Found items: choose one to add it")
    found.click()
    page.get_by_role("option", name="Cold Cellar (1979) (fear-1)").click()
    page.get_by_text("Cold Cellar (1979) (fear-1)").first.wait_for()
    _recommended(page)
    assert page.locator(".ft-chip", has_text="Cold Cellar (1979)").count() >= 1


def test_users_are_found_by_taste(visit: Any) -> None:
    _, page = visit()
    page.locator("#find-user").get_by_role("textbox").fill("Silent Ward")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "document.querySelector('input[aria-label=\"User\"]').value.startsWith('bob')"
    )


def test_a_file_is_judged_read_and_marked_blindly(visit: Any, tmp_path: Any) -> None:
    said = {"reason": "it fits", "evidence": ["film of the sea"], "mark": "positive"}
    _, page = visit(model=ScriptedChat(lambda ask: said))
    page.get_by_role("tab", name="Judge").click()
    rows = [{"id": f"r{n}", "answer": f"A film of the sea, number {n}."} for n in range(3)]
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page.locator("input[type=file]").first.set_input_files(file)
    page.get_by_text("answers.jsonl").first.wait_for()
    page.locator("#judge").click()
    page.get_by_text("3 judged: 3 S, 0 A, 0 B; 0 could not be read").wait_for()
    page.get_by_role("gridcell", name="r1").first.click()
    page.get_by_role("columnheader", name="evidence").wait_for()
    page.get_by_text("Mark the same rows yourself, blindly").click()
    page.locator("#label").click()
    page.get_by_text("0 of 3 rows are marked.").wait_for()
    page.keyboard.press("1")
    page.get_by_text("1 of 3 rows are marked.").wait_for()
    page.keyboard.press("1")
    page.get_by_text("On 2 rows that the judge read too: the same tier 100%").wait_for()
    page.reload()  # what was marked is kept
    page.get_by_role("tab", name="Judge").click()
    page.locator("input[type=file]").first.set_input_files(file)
    page.get_by_text("answers.jsonl").first.wait_for()
    page.get_by_text("Mark the same rows yourself, blindly").click()
    page.locator("#label").click()
    page.get_by_text("2 of 3 rows are marked.").wait_for()


def test_judging_without_a_model_or_a_file_is_one_sentence(visit: Any) -> None:
    _, page = visit()
    page.get_by_role("tab", name="Judge").click()
    page.locator("#judge").click()
    page.get_by_text("A file of answers was expected").wait_for()


def test_two_ways_are_compared_on_a_sample(visit: Any) -> None:
    _, page = visit()
    page.get_by_role("tab", name="Compare").click()
    page.locator("#compare").click()
    page.get_by_text("1 of 1 people are compared.").wait_for()  # ann alone has three events
    assert page.get_by_role("columnheader", name="95 % interval").is_visible()
    assert page.get_by_text("kept out: Paris Spring (1990)").count() == 2
    page.locator("#compare-user").get_by_role("textbox").fill("nobody")
    page.locator("#compare").click()
    page.get_by_text("User nobody has fewer than two events.").wait_for()


def test_the_catalogue_is_searched_and_shows_neighbours(visit: Any) -> None:
    _, page = visit()
    page.get_by_role("tab", name="Catalogue").click()
    page.locator("#catalogue-search").get_by_role("textbox").fill("Paris Spring")
    page.keyboard.press("Enter")
    page.get_by_text("the best first").wait_for()
    page.get_by_role("gridcell", name="Paris Spring (1990)").first.click()
    page.get_by_text("What is near Paris Spring (1990).").wait_for()
    page.get_by_text("Map of the items").click()
    page.locator("#map-user").get_by_role("textbox").fill("nobody")
    page.get_by_role("button", name="Draw the map").click()
    page.get_by_text("There is no user 'nobody' here.").wait_for()
    page.locator("#map-user").get_by_role("textbox").fill("ann")
    page.get_by_role("button", name="Draw the map").click()
    page.locator(".js-plotly-plot").first.wait_for()


def test_a_training_that_cannot_begin_says_why(visit: Any) -> None:
    _, page = visit()
    page.get_by_role("tab", name="Training").click()
    page.locator("#train").click()
    page.get_by_text("It ended with code 2").wait_for()
    assert page.locator("pre.ft-box").inner_text()


def test_the_system_tab_tells_the_state_of_the_server(visit: Any) -> None:
    _, page = visit()
    page.get_by_role("tab", name="System").click()
    page.get_by_text("films, 12 items").wait_for()


@pytest.mark.parametrize("dark", [False, True])
def test_no_tab_has_a_serious_fault_of_accessibility(visit: Any, dark: bool) -> None:
    _, page = visit(dark=dark)
    _recommended(page)
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(300)
        found = Axe().run(page).response["violations"]
        serious = {
            one["id"]: [node["html"][:200] for node in one["nodes"]][:3]
            for one in found
            if one["impact"] in ("serious", "critical")
        }
        assert not serious, (tab, serious)


def test_a_phone_needs_no_sideways_scrolling(visit: Any) -> None:
    _, page = visit(width=360)
    _recommended(page)
    for tab in TABS:
        if not page.get_by_role("tab", name=tab).is_visible():
            page.locator(".overflow-menu button").first.click()
            page.get_by_role("menuitem", name=tab).or_(
                page.get_by_role("button", name=tab)
            ).last.click()
        else:
            page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(200)
        wide = page.evaluate(
            "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > 361"
            " && !e.closest('.ft-scroll, .table-wrap')).map(e => e.outerHTML.slice(0, 120)).slice(0, 4)"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, (tab, wide)


def test_twenty_visitors_keep_their_own_pages_and_the_next_one_still_gets_in(visit: Any) -> None:
    server, page = visit()
    users = ["ann", "bob"] * 10

    def visitor(user: str) -> str:
        client = Client(f"{server.url}/app", verbose=False)
        fields = ["films", "A user", user, [], "", 4, "", "", "", "", [], [], False, True]
        agents: str = client.predict(*fields, "hierarchical", api_name="/recommend_page")[1]
        return agents

    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(visitor, user) for user in users]
        started = time.monotonic()
        page.reload()
        page.locator("#recommend").wait_for()
        assert time.monotonic() - started < 40
        for user, agents in zip(users, waiting, strict=True):
            shown = agents.result(60)
            assert ("Silent Ward" in shown) == (user == "bob")
            assert ("Star Voyage" in shown) == (user == "ann")


def _films() -> Dataset:
    import runpy
    from pathlib import Path

    made: Dataset = runpy.run_path(str(Path(__file__).parent.parent / "agents" / "conftest.py"))[
        "films"
    ]()
    return made
