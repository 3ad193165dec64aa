"""The page in a real browser: each tab's road, faults, Stop, reload, phone, accessibility."""

from __future__ import annotations

import json
import runpy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from foretaste.app.page import trainings
from foretaste.data.feedback import feedback_table
from foretaste.data.files import home, write_json
from foretaste.serving.scripted_chat import ScriptedChat

HOUSE = runpy.run_path(str(Path(__file__).parent / "page_house.py"))
until = HOUSE["until"]
TABS = ("Recommend", "Compare", "Judge", "Catalogue", "Training", "System")
RUN = "towers/films-0123abcd"
CHILD = """
import sys
print("Expected: 3 s, 100 MB of memory, 1 MB of disk.", file=sys.stderr)
print("Begin? [y/n]", file=sys.stderr, flush=True)
if sys.stdin.readline() != "y\\n":
    print("foretaste: stopped.", file=sys.stderr)
    sys.exit(130)
print("Training " + " ".join(sys.argv[1:]), file=sys.stderr)
"""
LATE = """
const asked = window.fetch;
window.fetch = async (...request) => {
  const answer = await asked(...request);
  if (!(request[0].url ?? String(request[0])).includes("/queue/data")) return answer;
  const late = new TransformStream({
    async transform(chunk, onward) {
      await new Promise((go) => setTimeout(go, 100));
      onward.enqueue(chunk);
    },
  });
  return new Response(answer.body.pipeThrough(late), answer);
};
"""

pytestmark = pytest.mark.skipif(
    HOUSE["CHROMIUM"] is None,
    reason="no chromium (`apt-get install chromium`, or `make browser`)",
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with HOUSE["opened"](tmp_path_factory.mktemp("home"), ScriptedChat([])) as house:
        folder = home() / "runs" / RUN
        folder.mkdir(parents=True)
        write_json(folder / "settings.json", {"config": {"epochs": 2}})
        curve = [{"epoch": n, "loss": 1 / n, "n@10": n / 9, "gate/all": n / 2} for n in (1, 2)]
        write_json(folder / "curve.json", curve)
        yield house


@pytest.fixture
def visit(house: Any) -> Iterator[Callable[..., Page]]:
    """A visitor's page: `visit(tab, model=…, width=…, dark=…)`; without a model none answers."""
    pages = []

    def come(tab: str | None = None, model: Any = None, **how: Any) -> Page:
        house.idle()
        house.engine(model)
        pages.append(house.page(tab=tab, **how))
        return pages[-1]

    yield come
    for page in pages:
        page.close()
    house.idle()


def _recommended(page: Page) -> None:
    page.locator("#recommend").click()
    page.locator(".ft-card").first.wait_for()


def _fill(page: Page, place: str, text: str) -> None:
    page.locator(place).get_by_role("textbox").fill(text)
    page.keyboard.press("Enter")


def _asks_stay(chat: ScriptedChat, seconds: float = 0.8) -> None:
    """Nobody asks the model any more, for longer than it takes to answer."""
    before = len(chat.asks)
    time.sleep(seconds)
    assert len(chat.asks) == before


def _answers(folder: Path, count: int, name: str = "answers.jsonl") -> Path:
    file = folder / name
    rows = [{"id": f"r{n}", "answer": f"A film of the sea, number {n}."} for n in range(count)]
    if name.endswith(".csv"):
        lines = ["id,answer,item_id", *(f'{row["id"]},"{row["answer"]}",space-1' for row in rows)]
        file.write_text("\n".join(lines) + "\n")
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def _upload(page: Page, file: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(file)
    page.get_by_text(file.stem).first.wait_for()


def test_the_agents_show_their_work_the_cost_and_why_something_is_missing(visit: Any) -> None:
    page = visit(model=ScriptedChat(lambda ask: {"nothing": "useful"}))
    _recommended(page)
    assert page.locator(".ft-read").get_by_text("3 events").count() == 1
    assert page.locator(".ft-persona h2").first.inner_text()
    assert page.get_by_text("rests on").count() >= 1
    assert page.locator(".ft-card").count() == 8
    assert page.get_by_text("Star Voyage (1980)").first.is_visible()  # evidence of user ann
    page.get_by_text("Where its score comes from").first.click()
    assert page.get_by_role("columnheader", name="its own score").first.is_visible()
    page.get_by_placeholder("Why? (optional)").first.fill("more of this")
    page.get_by_role("button", name="Good").first.click()
    page.get_by_text("Kept: thumb up.").wait_for()
    kept = feedback_table("films").row(0, named=True)
    assert (kept["user_id"], kept["thumb"], kept["reason"]) == ("ann", 1, "more of this")
    assert kept["position"] == 1
    page.get_by_text("What it cost").click()
    page.get_by_role("columnheader", name="cache hits").wait_for()
    page.get_by_text("Why is something not here?").click()
    _fill(page, "#why-not", "space-1")
    page.get_by_text("is in the history").wait_for()


def test_no_press_is_lost_where_the_stream_comes_late(visit: Any, house: Any) -> None:
    visit()
    for _ in range(5):  # of five presses three were lost before (app/page/joins.js)
        context = house.browser.new_context()
        context.add_init_script(LATE)
        page = context.new_page()
        page.goto(f"{house.server.url}/app")
        _recommended(page)
        context.close()


def test_markup_in_a_title_stays_inert(visit: Any) -> None:
    page = visit()
    _recommended(page)
    card = page.locator(".ft-card", has_text="${7*7}").first
    card.wait_for()
    assert "{{7*7}}" in card.inner_text()
    page.get_by_role("tab", name="Catalogue").click()
    _fill(page, "#catalogue-search", "space-2")
    page.get_by_text("the best first").wait_for()
    assert page.evaluate("window.hacked") is None


def test_filters_hold_and_a_wrong_call_is_one_sentence(visit: Any) -> None:
    page = visit()
    page.get_by_text("Filters and the way to the tags").click()
    _recommended(page)  # a form that was only opened filters nothing
    assert page.locator(".ft-card").count() == 8
    page.get_by_label("Price from (here 1.00 to 12.00)").fill("4")
    page.get_by_label("Price up to").fill("2")
    page.locator("#recommend").click()
    page.get_by_text("price_min 4 is above price_max 2").wait_for()
    until(lambda: page.locator(".ft-card").count() == 0)
    page.get_by_label("Price up to").fill("8")
    attributes = page.get_by_label("Only these attributes")
    attributes.click()
    page.get_by_role("option", name="studio: North").click()
    page.keyboard.press("Escape")
    _recommended(page)
    titles = page.locator(".ft-card h2").all_inner_texts()
    assert {title.split(". ", 1)[1] for title in titles} == {
        *("Robot Dawn (2001)", "Two Weddings (1994)", "Autumn Dance (1998)")
    }
    page.get_by_label("A history that I choose").check()
    page.locator("#recommend").click()
    page.get_by_text("Choose a user, build a history, or write a wish.").wait_for()


def test_an_engine_that_is_down_is_one_sentence(visit: Any, house: Any) -> None:
    page = visit(model=ScriptedChat([]))
    house.server.service.engine.ready = False
    page.locator("#recommend").click()
    page.get_by_text("The language model is not available").wait_for()


def test_stop_ends_the_work_and_so_does_a_reload(visit: Any, house: Any) -> None:
    chat = ScriptedChat(lambda ask: {}, delay_s=2)  # long enough to be seen on a busy machine
    page = visit(model=chat)
    page.locator("#recommend").click()
    page.get_by_text("At work: planner").wait_for()
    page.locator("#stop").click()
    page.get_by_text("nothing works for you any more").wait_for()
    house.idle()
    _asks_stay(chat, 2.2)
    page.locator("#recommend").click()
    page.get_by_text("At work: planner").wait_for()
    page.reload()
    house.idle()
    _asks_stay(chat, 2.2)
    page.locator("#recommend").click()
    page.get_by_text("At work: planner").wait_for()


def test_a_history_is_built_by_searching_and_users_are_found_by_taste(visit: Any) -> None:
    page = visit()
    _fill(page, "#find-user", "Silent Ward")
    page.wait_for_function(
        "document.querySelector('input[aria-label=\"User\"]').value.startsWith('bob')"
    )
    page.get_by_label("A history that I choose").check()
    _fill(page, "#find-item", "fear-1")
    found = page.get_by_label("Found items: choose one to add it")
    found.click()
    page.get_by_role("option", name="Cold Cellar (1979) (fear-1)").click()
    page.locator(".token", has_text="Cold Cellar (1979) (fear-1)").wait_for()  # in the history now
    _recommended(page)
    assert page.locator(".ft-chip", has_text="Cold Cellar (1979)").count() >= 1


def test_a_file_is_judged_looked_at_and_marked_blindly(visit: Any, tmp_path: Path) -> None:
    said = {"reason": "it fits", "evidence": ["film of the sea"], "mark": "positive"}
    page = visit("Judge", model=ScriptedChat(lambda ask: said))
    file = _answers(tmp_path, 3)
    _upload(page, file)
    page.locator("#judge").click()
    page.get_by_text("3 judged: 3 S, 0 A, 0 B; 0 could not be read").wait_for()
    page.get_by_role("gridcell", name="r1").first.click()
    page.get_by_role("columnheader", name="evidence").wait_for()
    with page.expect_download() as down:
        page.get_by_role("button", name="Download the verdicts").click()
    assert len(Path(down.value.path()).read_text().splitlines()) == 3
    page.get_by_text("Mark the same rows yourself, blindly").click()
    page.locator("#label").click()
    page.get_by_text("0 of 3 rows are marked.").wait_for()
    page.keyboard.press("1")
    page.get_by_text("1 of 3 rows are marked.").wait_for()
    page.keyboard.press("1")
    page.get_by_text("Of the 2 that the judge read too: the same tier 100%").wait_for()
    page.reload()  # what was marked is kept
    page.get_by_role("tab", name="Judge").click()
    _upload(page, file)
    page.get_by_text("Mark the same rows yourself, blindly").click()
    page.locator("#label").click()
    page.get_by_text("2 of 3 rows are marked.").wait_for()


def test_without_a_model_rules_and_cosine_judge_a_table(visit: Any, tmp_path: Path) -> None:
    page = visit("Judge")
    page.locator("#judge").click()
    page.get_by_text("A file of answers was expected").wait_for()
    _upload(page, _answers(tmp_path, 2, "table.csv"))
    page.locator("#judge").click()
    page.get_by_text("Agents need a model and this server was started without one").wait_for()
    for name, told in (
        ("rules over the data set", "2 judged: 0 S, 0 A, 2 B"),  # a number that nothing tells
        ("cosine of sentence vectors", "2 judged: scores alone"),
    ):
        page.get_by_label("Judge", exact=True).click()
        page.get_by_role("option", name=name).click()
        page.locator("#judge").click()
        page.get_by_text(told).wait_for()


def test_stop_ends_judging_and_it_goes_on(visit: Any, tmp_path: Path) -> None:
    said = {"reason": "it fits", "evidence": ["film"], "mark": "acceptable"}
    chat = ScriptedChat(lambda ask: said, delay_s=0.3)
    page = visit("Judge", model=chat)
    _upload(page, _answers(tmp_path, 40, "many.jsonl"))
    page.locator("#judge").click()
    page.get_by_text("of 40 are judged").wait_for()
    until(lambda: len(chat.asks) > 10)
    page.locator("#stop-judging").click()
    page.get_by_text("what was judged is kept").wait_for()
    time.sleep(0.4)  # whose answer was under way
    _asks_stay(chat)
    assert 10 < len(chat.asks) < 40 * 7


def test_two_ways_are_compared_on_a_sample(visit: Any) -> None:
    page = visit("Compare")
    for name in ("First", "Second"):
        page.get_by_label(f"{name}: who answers").click()
        page.get_by_role("option", name="grounded, without a model").click()
        page.get_by_role("option").first.wait_for(state="hidden")
    page.locator("#compare").click()
    page.get_by_text("1 of 1 people are compared").wait_for()  # ann alone has three events
    assert page.get_by_role("columnheader", name="95 % interval").is_visible()
    assert page.get_by_text("kept out: Paris Spring (1990)").count() == 2
    _fill(page, "#compare-user", "nobody")
    page.locator("#compare").click()
    page.get_by_text("User nobody has fewer than two events.").wait_for()


def test_models_are_compared_judged_and_stopped(visit: Any, house: Any) -> None:
    chat = ScriptedChat(lambda ask: {"better": "1", "reason": "closer", "points": {}})
    page = visit("Compare", model=chat)
    page.get_by_label("Ask the judge, in both orders").check()
    page.locator("#compare").click()
    page.get_by_text("The judge prefers").wait_for()
    page.get_by_label("Second: items in prompts as").get_by_label("vectors").or_(
        page.get_by_label("vectors")
    ).last.check()
    page.get_by_label("First: items in prompts as").or_(
        page.get_by_label("vectors")
    ).first.wait_for()
    house.engine(slow := ScriptedChat(lambda ask: {}, delay_s=0.7))
    page.get_by_label("text", exact=True).last.check()
    page.locator("#compare").click()
    until(lambda: len(slow.asks) > 0)
    page.locator("#stop-comparing").click()
    page.get_by_text("nothing works for you any more").wait_for()
    house.idle()
    _asks_stay(slow)


def test_the_catalogue_is_searched_and_drawn(visit: Any) -> None:
    page = visit("Catalogue")
    _fill(page, "#catalogue-search", "Paris Spring")
    page.get_by_text("the best first").wait_for()
    page.get_by_role("gridcell", name="Paris Spring (1990)").first.click()
    page.get_by_text("What is near Paris Spring (1990).").wait_for()
    page.get_by_text("Map of the items").click()
    _fill(page, "#map-user", "nobody")
    page.get_by_text("There is no user 'nobody' here.").wait_for()
    _fill(page, "#map-user", "ann")
    page.locator(".js-plotly-plot .legendtext", has_text="interests").first.wait_for()
    assert page.locator(".js-plotly-plot .legendtext", has_text="the path").count() == 1


def test_a_training_says_what_it_takes_and_waits(visit: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(trainings, "_RUN", CHILD)
    page = visit("Training")
    start = page.locator("#begin-training")
    assert start.is_disabled()
    page.locator("#train").click()
    page.get_by_text("Expected: 3 s, 100 MB of memory").wait_for()
    page.get_by_text("It waits for you").wait_for()
    assert page.get_by_text("Training finetune").count() == 0
    other = visit("Training")
    other.locator("#train").click()
    other.get_by_text("Another training is under way here").wait_for()
    start.click()
    page.get_by_text("Training finetune --ask towers --preset smoke --dataset films").wait_for()
    page.get_by_text("Done; choose its run").wait_for()
    page.locator("#train").click()
    page.get_by_text("It waits for you").wait_for()
    page.locator("#stop-training").click()
    page.get_by_text("the same training can go on").wait_for()
    page.get_by_label("What to train").click()
    page.get_by_role("option", name="the agents' model, supervised (SFT)").click()
    page.get_by_label("Name of the adapter that comes out").fill("mine")
    until(lambda: _no_other(page))
    page.get_by_text("There are no training rows of films").wait_for()


def _no_other(page: Page) -> bool:
    """Ask again until the training before has ended."""
    page.locator("#train").click()
    page.wait_for_timeout(200)
    return page.get_by_text("Another training is under way here").count() == 0


def test_a_run_shows_its_curves_and_its_gates(visit: Any) -> None:
    page = visit("Training")
    page.get_by_text("Gates: share of answers that pass").first.wait_for()
    page.get_by_text("gate “all”, first → last").wait_for()
    page.get_by_text("50% → 100% pass").wait_for()


def test_the_system_tab_tells_the_state_of_the_server(visit: Any) -> None:
    page = visit("System")
    page.get_by_text("films, 12 items").wait_for()


def _violations(page: Page) -> dict[str, list[str]]:
    found = Axe().run(page).response["violations"]
    return {one["id"]: [node["html"][:200] for node in one["nodes"]][:3] for one in found}


@pytest.mark.parametrize("dark", [False, True])
def test_no_tab_has_a_fault_of_accessibility(visit: Any, dark: bool) -> None:
    page = visit(dark=dark)
    _recommended(page)
    for tab in TABS:
        page.get_by_role("tab", name=tab).click()
        if tab == "Catalogue":
            _fill(page, "#catalogue-search", "Paris Spring")
            page.get_by_text("the best first").wait_for()
        if tab == "Training":
            page.locator("#curves .legendtext").first.wait_for()
        page.wait_for_timeout(300)
        found = _violations(page)
        assert not found, (tab, found)


def test_a_phone_needs_no_sideways_scrolling(visit: Any) -> None:
    page = visit(width=360)
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


def test_twenty_visitors_keep_their_own_pages_and_the_next_one_still_gets_in(
    visit: Any, house: Any
) -> None:
    page = visit()
    users = ["ann", "bob"] * 10

    def visitor(number: int, user: str) -> str:
        own = {"session_hash": f"visitor{number}"}
        rules = [[], [], "", "", [], [], False, True, "hierarchical"]
        fields = ["films", "A user", user, [], "", 4, "", "", "", "", *rules]
        with httpx.Client(base_url=house.server.url, timeout=60, trust_env=False) as client:
            path = "/app/gradio_api/call/recommend_page"
            name = client.post(path, json={"data": fields, **own}).json()["event_id"]
            told = client.get(f"{path}/{name}").text
        done = told.rpartition("event: complete\ndata: ")[2].partition("\n")[0]
        agents: str = json.loads(done)[1]
        return agents

    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(visitor, *one) for one in enumerate(users)]
        started = time.monotonic()
        page.reload()
        page.locator("#recommend").wait_for()
        assert time.monotonic() - started < 40
        for user, agents in zip(users, waiting, strict=True):
            shown = agents.result(60)
            assert ("Silent Ward" in shown) == (user == "bob")
            assert ("Star Voyage" in shown) == (user == "ann")
