"""What was rated low is no taste: not in a prompt, not in a persona, not in a reason."""

from __future__ import annotations

from typing import Any

import polars as pl

from foretaste.agents.contexts.context import read
from foretaste.agents.contexts.liking import shows_taste, tastes_of
from foretaste.agents.explaining.facts import facts_of
from foretaste.agents.objects import HistoryEvent, Recommendation, Request, Search
from foretaste.agents.reasoning import planner
from foretaste.agents.retrieval.tools import Tools
from foretaste.data.dataset import Dataset

from .conftest import film_tools, films


def rated(values: dict[str, float]) -> Dataset:
    """The films, some of whose interactions are ratings."""
    dataset = films()
    given = pl.col("item_id").replace_strict(values, default=None, return_dtype=pl.Float64)
    ann = pl.col("user_id") == "ann"
    interactions = dataset.interactions.with_columns(
        value=pl.when(ann).then(given).otherwise(4.0),
        event=pl.lit("rating"),
    )
    return Dataset(dataset.items, interactions, dataset.users, dataset.environment, dataset.info)


def events(*values: float | None) -> list[HistoryEvent]:
    return [HistoryEvent(item_id=str(v), title="", event="rating", value=v) for v in values]


def test_the_lowest_third_of_the_scale_shows_no_taste() -> None:
    five = rated({"space-1": 1.0, "space-3": 5.0, "love-1": 4.0})
    assert five.low_rating == 1 + 4 / 3
    assert shows_taste(five, events(1, 2, 3, 4, 5, None)).tolist() == [2, 3, 4, 5]
    assert shows_taste(five, events(1, 2)).tolist() == [0, 1], "nothing else is known of them"
    assert shows_taste(five, []).tolist() == []
    viewed = [HistoryEvent(item_id="a", title="", value=1.0)]
    assert shows_taste(films(), viewed).tolist() == [0], "a view is no rating"


def test_one_mark_for_all_is_no_low_mark() -> None:
    alike = rated({"space-1": 4.0, "space-3": 4.0, "love-1": 4.0})
    assert shows_taste(alike, events(4, 4)).tolist() == [0, 1]


def test_searches_keep_their_place_between_events() -> None:
    dataset = rated({"space-1": 1.0, "space-3": 5.0, "love-1": 4.0})
    reader = read(dataset, Request(user_id="ann"))
    searches = tuple(Search(query=str(n), after=n) for n in (0, 1, 2, 3))
    context = reader.context.model_copy(update={"searches": searches})
    told = tastes_of(dataset, type(reader)(context, reader.rows, reader.allowed))
    assert [event.item_id for event in told.context.events] == ["space-3", "love-1"]
    assert [one.after for one in told.context.searches] == [0, 0, 1, 2]
    assert (told.allowed == reader.allowed).all()


def test_neither_prompt_nor_persona_rests_on_it(embedder: Any) -> None:
    tools: Tools = film_tools(embedder, rated({"space-1": 1.0, "space-3": 5.0, "love-1": 4.0}))
    reader = read(tools.dataset, Request(user_id="ann"))
    assert set(planner.history_of(tools, reader).item_ids) == {"space-3", "love-1"}
    grouped = planner.clustered(tools, reader)
    assert {item for one in grouped for item in one.evidence} == {"space-3", "love-1"}


def test_no_reason_names_it(embedder: Any) -> None:
    tools: Tools = film_tools(embedder, rated({"space-1": 5.0, "space-3": 1.0, "love-1": 1.0}))
    reader = read(tools.dataset, Request(user_id="ann"))
    space, love = facts_of(
        tools,
        reader,
        [
            Recommendation(item_id=one, title=one, score=1, channel="collaborative")
            for one in ("space-2", "love-2")
        ],
    )
    assert space.evidence_id == "space-1"
    assert love.evidence is None
