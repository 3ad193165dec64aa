"""Planted defects: what each looks like, who finds it, and what a clean page is called."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from foretaste.agents.config import AgentsConfig
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.lexicon import Lexicon
from foretaste.app.cli import cli
from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.errors import InputError
from foretaste.data.histories import Histories
from foretaste.data.store import save_dataset
from foretaste.data.tables import COLUMNS
from foretaste.judge.probes.defects import ground_of, plant
from foretaste.judge.probes.detectors import KINDS, Detectors
from foretaste.judge.probes.fit import features_of, fit_head
from foretaste.judge.probes.pages import Page, Place, clean_pages
from foretaste.judge.probes.probe import DAY, ProbeConfig, probe
from foretaste.serving.index.opened import build_index

KINDS_OF_ITEMS = ("Lipstick", "Shampoo", "Razor", "Perfume")
EACH = 16


class NearRule:
    """Items whose vectors are like the history's."""

    name = "near"

    def __init__(self, vectors: Any) -> None:
        self._vectors = vectors

    def scores(self, histories: Histories) -> Any:
        means = [self._vectors[rows].mean(axis=0) for rows in histories]
        return (np.array(means) @ self._vectors.T).astype(np.float32)


def shop() -> Dataset:
    draw = np.random.default_rng(0)
    names = ("Rose", "Ocean", "Cedar", "Amber", "Linen", "Citrus", "Velvet", "Pearl")
    items = [
        {
            "item_id": f"{kind}-{number}",
            "title": f"{kind} {names[number % 8]} {100 + number}",
            "categories": ["Beauty", kind],
            "attributes": [],
        }
        for kind in KINDS_OF_ITEMS
        for number in range(EACH)
    ]
    items[-1] |= {"title": "Candle of Christmas", "categories": ["Home"]}
    events = [
        {
            "user_id": f"u{user}",
            "item_id": f"{KINDS_OF_ITEMS[user % 4]}-{number}",
            "timestamp": 1_600_000_000 + 86_400 * place,
            "event": "purchase",
            "position": user * 5 + place,
        }
        for user in range(40)
        for place, number in enumerate(draw.choice(EACH - 1, 5, replace=False))
    ]
    given = {"items": items, "interactions": events, "users": [], "environment": []}
    tables = {name: pl.DataFrame(rows, schema=COLUMNS[name]) for name, rows in given.items()}
    return Dataset(**tables, info=DatasetInfo(name="shop", fingerprint="f" * 16))


@pytest.fixture
def tools(home: object, embedder: Any) -> Tools:
    dataset = shop()
    index = build_index(dataset, embedder)
    vectors = index.vectors_of(range(len(dataset.item_ids)))
    return Tools(
        dataset=dataset,
        config=AgentsConfig(),
        lexicon=Lexicon(dataset.items),
        embedder=embedder,
        vectors=vectors,
        index=index,
        rule=NearRule(vectors),
    )


PAGE = Page(
    user_id="u0",
    history=("Lipstick-0", "Lipstick-1"),
    places=(
        Place("Lipstick-2", "You chose Lipstick Rose 100; Lipstick Cedar 102 is also Lipstick."),
        Place("Lipstick-3", "You chose Lipstick Rose 100; Lipstick Amber 103 is also Lipstick."),
    ),
    environment=DAY,
)


def _kinds(tools: Tools, page: Page) -> set[str]:
    return {one.kind for one in Detectors(tools.dataset).findings(page)}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"text": "You chose Lipstick Rose 100; Lipstick Cedar 102 is also Perfume."}, "factual"),
        ({"text": "You chose Razor Rose 100; Lipstick Cedar 102 is also Lipstick."}, "factual"),
        ({"text": "You chose Lipstick Rose 109; Lipstick Cedar 102 is also Lipstick."}, "factual"),
        ({"text": "Lipstick Cedar 102 is Lipstick. It won a prize in 1987."}, "factual"),
        ({"item_id": "no-such-item"}, "factual"),
        ({"text": " … "}, "empty"),
        ({"item_id": "Lipstick-3"}, "repeated"),
        ({"item_id": "Lipstick-0"}, "repeated"),
        ({"text": "Lipstick Cedar 102 is Lipstick. <b>Buy</b>"}, "unsafe"),
        ({"text": "Only an idiot leaves Lipstick Cedar 102."}, "unsafe"),
        ({"text": PAGE.places[1].text}, "shuffled"),
        ({"item_id": "Perfume-15"}, "out_of_season"),
    ],
)
def test_each_rule_finds_its_defect(tools: Tools, changes: dict[str, str], kind: str) -> None:
    assert kind in _kinds(tools, PAGE.with_place(0, **changes))


def test_a_clean_page_is_called_clean(tools: Tools) -> None:
    assert _kinds(tools, PAGE) == set()
    winter = replace(PAGE, environment=("public holiday in 2 days: Christmas Day",))
    assert "out_of_season" not in _kinds(tools, winter.with_place(0, item_id="Perfume-15"))
    assert _kinds(tools, replace(PAGE, places=())) == {"empty"}


def test_words_of_a_title_are_not_unsafe(tools: Tools) -> None:
    items = tools.dataset.items.with_columns(
        title=pl.when(pl.col("item_id") == "Lipstick-2")
        .then(pl.lit("Lipstick Loser 102"))
        .otherwise("title")
    )
    other = replace(tools, dataset=replace(tools.dataset, items=items))
    page = PAGE.with_place(0, text="Lipstick Loser 102 is Lipstick.")
    assert "unsafe" not in _kinds(other, page)


def test_a_chosen_title_may_lose_its_article_and_its_colon(tools: Tools) -> None:
    title = "Assignment: Lipstick, The (1997)"
    renamed = pl.when(pl.col("item_id") == "Lipstick-1").then(pl.lit(title)).otherwise("title")
    items = tools.dataset.items.with_columns(title=renamed)
    other = replace(tools, dataset=replace(tools.dataset, items=items))
    said = "You chose Assignment Lipstick (1997); Lipstick Cedar 102 is also Lipstick."
    assert _kinds(other, PAGE.with_place(0, text=said)) == set()
    wrong = PAGE.with_place(0, text=said.replace("1997", "1998"))
    assert _kinds(other, wrong) == {"factual"}


@pytest.fixture
def pages(tools: Tools) -> list[Page]:
    return clean_pages(tools, 24, 4, 0, DAY)


def test_clean_pages_hold_what_people_have_not_chosen(pages: list[Page]) -> None:
    assert len(pages) == 24
    for page in pages:
        assert not set(page.item_ids) & set(page.history)
        assert len(set(page.item_ids)) == len(page.places)
        assert all(place.text for place in page.places)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(KINDS), st.integers(0, 23), st.integers(0, 99))
def test_planting_changes_a_page_and_leaves_the_person(
    tools: Tools, pages: list[Page], kind: str, number: int, seed: int
) -> None:
    ground = ground_of(tools, pages)
    page = pages[number]
    found = plant(kind, page, ground, np.random.default_rng(seed))  # type: ignore[arg-type]
    if found is None:
        return
    assert found.page != page
    assert (found.page.user_id, found.page.history) == (page.user_id, page.history)
    if kind == "foreign":
        assert not set(found.page.item_ids) & {*page.item_ids, *page.history}
    if kind == "shuffled":
        assert found.page.item_ids == page.item_ids


def test_the_head_tells_whose_items_they_are(tools: Tools, pages: list[Page]) -> None:
    own = features_of(tools, pages)
    ground = ground_of(tools, pages)
    draw = np.random.default_rng(0)
    planted = [plant("foreign", page, ground, draw) for page in pages]
    other = [
        one.page
        for one in planted
        if one and one.page.places[0].item_id.split("-")[0] not in one.page.history[0]
    ]
    head = fit_head(own, features_of(tools, other), 0)
    assert head.foreign(features_of(tools, other)).mean() > 0.95
    assert head.foreign(own).mean() <= 0.05


def test_probe_counts_what_it_planted(tools: Tools) -> None:
    report = probe(tools, ProbeConfig(users=32, n=4))
    assert report["clean"]["n"] == 16
    assert set(report["clean"]["kinds"]) <= {"out_of_season"}  # a page may well hold that candle
    assert set(report["kinds"]) == set(KINDS)
    for kind in ("factual", "repeated", "empty", "unsafe"):
        row = report["kinds"][kind]
        assert row["detected"] >= 0.95 * row["n"] > 0
    assert report["kinds"]["foreign"]["any"] >= report["kinds"]["foreign"]["detected"] > 8
    json.dumps(report, allow_nan=False)
    assert probe(tools, ProbeConfig(users=32, n=4)) == report


def test_the_road_of_the_command(
    tools: Tools, monkeypatch: pytest.MonkeyPatch, embedder: Any
) -> None:
    from foretaste.agents.retrieval import tools as loading

    save_dataset(tools.dataset)
    monkeypatch.setattr(loading, "load_tools", lambda dataset, embedder_name: tools)
    words = ["judge", "probe", "--dataset", "shop", "--users", "16", "--n", "4", "--json", "-"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert {"n", "detected"} <= set(report["kinds"]["factual"])
    assert {"n", "false_alarms"} <= set(report["clean"])


def test_too_few_people(tools: Tools) -> None:
    with pytest.raises(InputError, match="--users"):
        probe(tools, ProbeConfig(users=4))
