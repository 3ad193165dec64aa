"""The parts behind the page, without a browser: fields, sides, marks, curves, map, trainings."""

from __future__ import annotations

import asyncio
import runpy
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from foretaste.agents.objects import Recommendation
from foretaste.agents.recommend import EXPLAINED
from foretaste.app.api.config import ApiConfig
from foretaste.app.api.service import Engine, Service
from foretaste.app.cli import cli
from foretaste.app.page import finding, item_map, marking, sides
from foretaste.app.page.asking import Fields
from foretaste.app.page.comparing import JUDGED, Met, figures
from foretaste.app.page.curves import OTHERS, curves, grouped
from foretaste.app.page.desk import Desk, under_way
from foretaste.app.page.judge_tab import ALL, NEGATIVE, chosen, views
from foretaste.app.page.sides import BASE, GROUNDED, MODEL, OWN, TEXT, VECTORS, Setting
from foretaste.app.page.trainings import RECIPES, Wanted
from foretaste.app.page.view import View
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.judge.batch.saved import Record
from foretaste.judge.objects import Preference, Verdict
from foretaste.serving.chat import Ask, Entity, Message
from foretaste.serving.scripted_chat import ScriptedChat

APP = runpy.run_path(str(Path(__file__).parent / "conftest.py"))
PRICED = runpy.run_path(str(Path(__file__).parent / "page_house.py"))["priced_films"]


@pytest.fixture
def films() -> Dataset:
    made: Dataset = PRICED(APP["FILMS"]["films"]())
    return made


@pytest.fixture
def service(home: Path, embedder: Any, films: Dataset) -> Service:
    tools = APP["film_tools"](embedder, films)

    class Kept:
        """What a service needs of live data."""

        def __init__(self) -> None:
            self.tools, self.index = tools, tools.index

    return Service(Kept(), Engine(ScriptedChat([])), ApiConfig())  # type: ignore[arg-type]


def _fields(**changed: Any) -> Fields:
    empty: dict[str, Any] = dict.fromkeys(Fields.__dataclass_fields__)
    known = {"dataset": "films", "who": "A user", "user": "ann", "n": 4, "mode": "hierarchical"}
    return Fields(**empty | known | {"again": False, "explain": True} | changed)


def test_filters_come_from_their_fields(films: Dataset) -> None:
    made = _fields(low="3", high=" 8 ", attributes=["studio: North"], deny=["love-2"]).request()
    rows = np.flatnonzero(made.filters.mask(films.items))
    assert [films.item_ids[row] for row in rows] == ["space-4", "love-4"]
    assert _fields(allow=["odd-1"]).request().filters.mask(films.items).sum() == 1
    assert _fields(allow=[]).request().filters.is_empty
    with pytest.raises(InputError, match="price_min 4 is above price_max 2"):
        _fields(low="4", high="2").request()
    for wrong in ("cheap", "nan", "1e999"):
        with pytest.raises(InputError, match="A price such as"):
            _fields(low=wrong).request()
    assert _fields(low="", high=" ").request().filters.is_empty  # as an opened form sends them
    with pytest.raises(InputError, match="NAME: VALUE, not 'North'"):
        _fields(attributes=["North"]).request()


def test_what_a_catalogue_can_be_filtered_by(films: Dataset) -> None:
    assert finding.attributes(films) == ["studio: North", "studio: South"]
    assert finding.prices(films) == (1.0, 12.0)
    bare = replace(films, items=films.items.with_columns(price=pl.lit(None, pl.Float64)))
    assert finding.prices(bare) is None
    assert finding.attributes(APP["FILMS"]["films"]()) == []


def test_a_side_takes_model_adapter_and_form(service: Service) -> None:
    async def tools(*said: Any) -> Any:
        async with AsyncExitStack() as stack:
            return await Setting(*said).over(service, stack)

    def of(*said: Any) -> Any:
        return asyncio.run(tools(*said))

    assert of(GROUNDED, "single", OWN, TEXT).model is None
    assert of(MODEL, "single", OWN, TEXT).model.name == "scripted"
    assert of(MODEL, "single", "fine", TEXT).config.adapter_of("planner") == "fine"
    assert of(MODEL, "single", BASE, TEXT).config.adapter_of("planner") is None
    with pytest.raises(InputError, match="reads items as text"):
        of(MODEL, "single", OWN, VECTORS)
    with pytest.raises(InputError, match="Only this server's model reads vectors"):
        of("other@http://127.0.0.1:9/v1", "single", OWN, VECTORS)
    with pytest.raises(InputError, match="An address like"):
        of("other@nowhere", "single", OWN, TEXT)
    service.engine.model = None
    with pytest.raises(InputError, match="no model"):
        of(MODEL, "single", OWN, TEXT)


def test_a_model_that_reads_vectors_can_be_given_text() -> None:
    chat = ScriptedChat(["{}"])

    class Nothing(BaseModel):
        """An answer without fields."""

    turn = Message("user", ("likes ", Entity("i1", "Heat (Crime)")))
    asyncio.run(sides.WrittenOut(chat).ask(Ask((turn,), Nothing)))
    assert chat.asks[0].messages == (Message("user", "likes Heat (Crime)"),)


def test_paired_figures_of_two_settings(service: Service) -> None:
    def result(*ids: str) -> dict[str, Any]:
        page = [{"item_id": one} for one in ids]
        return {"recommendations": page, "tokens": {}, "timings_ms": {"total": 500.0}}

    met = [Met("ann", "love-1", (result("love-1"), result("fear-1", "love-1")))] * 2
    words = [Preference(id="1", better="first"), Preference(id="2", better=None)]
    found = figures(service, met, words)
    assert found["hit@10"][:3] == (1, 1, 0)
    assert found["ndcg@10"][:2] == pytest.approx((1, 1 / np.log2(3)))
    assert found["ndcg@10"][3] == pytest.approx([1 / np.log2(3) - 1] * 2)
    assert found[JUDGED] == (1, 0, -1, None)


def _record(name: str, tier: Any = None, score: float | None = None, bad: bool = False) -> Record:
    mark: Any = "negative" if bad else "positive"
    return Record(
        id=name, tier=tier, score=score, verdicts=(Verdict(dimension="clarity", mark=mark),)
    )


def test_marks_are_kept_once_and_agreement_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "marks.jsonl"
    marking.mark(path, "a", "S")
    marking.mark(path, "a", "B")
    marking.mark(path, "b", "B")
    marks = marking.marked(path)
    assert marks == {"a": "S", "b": "B"}
    found = marking.agreement(marks, [_record("a", "S"), _record("b", "B"), _record("c", "A")])
    assert found == {"n": 2, "same": 1.0, "kappa_quadratic": 1.0}
    scores = [_record("a", score=0.4), _record("b", score=0.6), _record("c", score=1.0)]
    assert marking.agreement(marks, scores) is None
    assert marking.ordering(marks, scores) == {"pairs": 1, "right": 0.0}
    assert marking.ordering({"a": "S"}, scores) is None


def test_verdicts_can_be_looked_at_in_parts() -> None:
    records = [_record("a", "S"), _record("b", "B", bad=True)]
    assert views(records) == [ALL, "tier S", "tier B", f"{NEGATIVE}clarity"]
    assert [one.id for one in chosen(records, f"{NEGATIVE}clarity")] == ["b"]
    assert [one.id for one in chosen(records, "tier S")] == ["a"]
    assert chosen(records, ALL) == records


def test_curves_of_grpo_stand_in_pictures_of_one_kind() -> None:
    row = {"step": 1, "reward": 0.1, "reward_std": 0.2, "gate/all": 1.0, "zero_variance": 0.0}
    rows = [row | {"kl": 0.0, "invalid": 0.3, "sink": [[1.0]]}, {"step": 2, "reward": 0.2}]
    found = grouped(rows)
    assert list(found) == [
        *("Reward and its parts", "Gates: share of answers that pass"),
        *("Share of answers with a fault", "Loss", OTHERS),
    ]
    assert found[OTHERS] == ["reward_std"]
    figure = curves(rows)
    assert list(figure.data[0].x) == [1, 2]
    assert len(figure.data) == 6


@given(st.integers(2, 30), st.integers(2, 8), st.integers(0, 2**31 - 1))
def test_the_plane_keeps_the_two_widest_directions(n: int, d: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    places, beside = item_map.plane(vectors, vectors[:1])
    assert places.shape == (n, 2)
    assert np.allclose(places[:1], beside, atol=1e-4)
    spread = np.linalg.svd(vectors - vectors.mean(axis=0), compute_uv=False)
    assert np.allclose(np.linalg.norm(places, axis=0), spread[:2], atol=1e-2)


def test_the_map_has_a_persons_interests_and_path(service: Service) -> None:
    tools = service.live.tools
    assert item_map.spaces(tools) == [item_map.TEXTS]
    space = item_map.space_of(tools, item_map.TEXTS, [0, 2, 4])
    assert len(space.interests) == len(space.names) >= 1
    assert item_map.space_of(tools, item_map.TEXTS, []).interests.shape == (0, 32)
    names = [trace.name for trace in item_map.figure_of(tools, "ann").data]
    assert names[-2:] == ["the path, oldest first", "interests"]
    assert "interests" not in [trace.name for trace in item_map.figure_of(tools, "").data]
    with pytest.raises(InputError, match="train that model first"):
        item_map.space_of(tools, item_map.TOWERS, [])


def test_every_training_is_a_command_that_exists(home: Path) -> None:
    (home / "examples" / "films").mkdir(parents=True)
    group: Any = typer.main.get_command(cli)
    for recipe in RECIPES:
        words = Wanted("films", recipe, "smoke", "mine", "start", resume=True).command()
        assert words[:2] == ["finetune", "--ask"]
        own = group.commands["finetune"].commands[words[2]]
        with own.make_context(words[2], words[3:]) as context:  # parsed, not run
            assert context.params["preset"] == "smoke"
    with pytest.raises(InputError, match="no training rows of other"):
        Wanted("other", "sft", "smoke", "mine").command()
    with pytest.raises(InputError, match="name that the adapter shall have"):
        Wanted("films", "grpo", "smoke").command()


def test_work_ends_when_nobody_listens_any_more(service: Service) -> None:
    desk = Desk(service, lambda name: service)
    done: list[str] = []

    async def work(tell: Any) -> None:
        try:
            tell(1)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            done.append("ended")
            raise

    async def stopped() -> None:
        told = under_way(desk, "visitor", "work", work)
        assert await anext(told) == 1
        await told.aclose()

    async def left() -> None:
        told = under_way(desk, "visitor", "work", work)
        assert await anext(told) == 1
        desk.leave("visitor")
        assert [one async for one in told] == []

    async def pressed() -> None:
        told = under_way(desk, "visitor", "work", work)
        assert await anext(told) == 1
        desk.stop("visitor", "other work")
        desk.stop("somebody", "work")
        await asyncio.sleep(0)
        assert len(done) == 2
        desk.stop("visitor", "work")
        assert [one async for one in told] == []

    for road in (stopped, left, pressed):
        asyncio.run(road())
    assert done == ["ended", "ended", "ended"]


def test_items_stand_there_before_their_sentences() -> None:
    ranked = [
        Recommendation(item_id=one, title=f"<b>{one}</b>", score=1, channel="tags")
        for one in ("a", "b")
    ]
    view = View()
    view.take("rank", {"page": ranked})
    assert "‹b›a‹/b›" in view.agents()
    view.take(EXPLAINED, {"recommendations": [ranked[1].model_copy(update={"explanation": "As."})]})
    assert [one.explanation for one in view.page] == ["", "As."]
    assert "‹b›b‹/b› · As." in view.agents()
