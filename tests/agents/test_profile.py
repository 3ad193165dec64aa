"""Profiles: statements by hand, then that reading on is reading everything, then the store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents.contexts import context
from foretaste.agents.contexts.profile import Catalogue, Tallies, read_on
from foretaste.agents.contexts.profile_store import Profiles, SqliteProfiles
from foretaste.agents.contexts.profile_text import statements
from foretaste.agents.objects import HistoryEvent, Request, Statement
from foretaste.agents.online.live import Live
from foretaste.agents.recommend import recommend
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.data.changes import Interaction
from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.errors import ForetasteError
from foretaste.data.ledger import Ledger
from foretaste.data.tables import COLUMNS, empty

DAY = 86_400
SPRING = 1_700_000_000 // DAY * DAY


def _shop() -> Dataset:
    """Sixty items in a tree: 2 areas of 3 leaves each, 10 items a leaf, half of them of brand Big."""
    rows = []
    for number in range(60):
        area, leaf = ("Hair", "Skin")[number // 30], f"Leaf {number // 10}"
        rows.append(
            {
                "item_id": f"i{number}",
                "title": f"Thing {number}",
                "categories": ["Beauty", area, leaf],
                "attributes": [{"name": "brand", "value": "Big" if number % 2 else f"B{number}"}],
                "price": float(number % 10),
            }
        )
    items = pl.DataFrame(rows, schema=COLUMNS["items"])
    info = DatasetInfo(name="shop", fingerprint="f" * 16, catalogue_fingerprint="c" * 16)
    return Dataset(items, empty("interactions"), empty("users"), empty("environment"), info)


SHOP = _shop()
CATALOGUE = Catalogue.over(SHOP)


def _event(
    item: int, place: int = 0, event: str = "purchase", value: float | None = None
) -> HistoryEvent:
    return HistoryEvent(
        item_id=f"i{item}", title="", event=event, value=value, timestamp=SPRING + place * DAY
    )


def _said(events: Sequence[HistoryEvent]) -> dict[str, list[Statement]]:
    sides: dict[str, list[Statement]] = {}
    for one in statements(read_on(Tallies(), events, CATALOGUE), CATALOGUE):
        sides.setdefault(one.key, []).append(one)
    return sides


def test_a_catalogue_is_measured() -> None:
    assert CATALOGUE.is_tree
    assert CATALOGUE.level == 1
    assert CATALOGUE.kinds == 6
    assert CATALOGUE.shares["Leaf 0"] == pytest.approx(1 / 6)
    assert CATALOGUE.shares["brand Big"] == 0.5
    facts = CATALOGUE.about("i31")
    assert (facts.kinds, facts.areas) == (("Leaf 3",), ("Skin",))
    assert facts.forms == ("brand Big", "price in the lower third")


def test_genres_are_no_tree() -> None:
    genres = [["Action", "Crime"], ["Comedy", "Crime"], ["Comedy", "Drama"], ["Action", "Drama"]]
    names = pl.Series("categories", genres * 15)
    films = Catalogue.over(replace(SHOP, items=SHOP.items.with_columns(names)))
    assert not films.is_tree
    facts = films.about("i1")
    assert facts.kinds == facts.areas == ("Comedy", "Crime")


def test_a_specialist_by_hand() -> None:
    said = _said([_event(item, place) for place, item in enumerate([1, 3, 5, 7, 9, 31, 1])])
    assert [one.text for one in said["interests"]] == [
        "Leaf 0: 6 of 7 choices",
        "Leaf 3: 1 of 7 choices",
    ]
    assert said["interests"][0].evidence == ("i1", "i9", "i7", "i5", "i3"), "newest first"
    assert said["interests"][1].evidence == ("i31",)
    assert [one.text for one in said["exploration"]] == [
        "Specialises: 2 kinds in 7 choices (evenness 0.23)",  # entropy .410 of log 6
        "2 of the newest 7 choices brought a new kind",
    ]
    assert said["exploration"][0].evidence == ("i31", "i1")
    assert said["curiosity"][0].text == "Crosses areas: Hair, Skin; 33% of steps change the area"
    assert said["depth"][0].text == "Goes deep: 3.5 choices a kind, Leaf 0 is 86%"
    assert [one.text for one in said["format"]] == [
        "Prefers brand Big: 7 of 7 choices (catalogue 50%)"
    ]
    assert [one.text for one in said["habits"]] == [
        "7 choices, 100% purchase, on 7 days: 2023-11-14 to 2023-11-20",
        "Comes back: 14% of choices are items had before",
    ]
    assert said["habits"][1].evidence == ("i1",)


def test_an_explorer_by_hand() -> None:
    said = _said([_event(item, place) for place, item in enumerate([0, 30, 10, 40, 20, 50])])
    assert said["exploration"][0].text.startswith("Explores: 6 kinds in 6 choices (evenness 1.00)")
    assert said["curiosity"][0].text == "Crosses areas: Hair, Skin; 100% of steps change the area"
    assert said["depth"][0].text.startswith("Stays on the surface: 1.0 choices a kind")


def test_ratings_and_what_is_chosen_of_late() -> None:
    events = [_event(n, n, "rating", 2.0) for n in range(10)]
    events += [_event(30 + n % 3, 10 + n, "rating", 5.0) for n in range(3)]
    said = _said(events)
    interests = [one.text for one in said["interests"]]
    assert "Leaf 0: 10 of 13 choices, rated 2.0 where 2.7 is usual" in interests
    assert "Leaf 3: 3 of 13 choices, rated 5.0 where 2.7 is usual" in interests
    assert "Rates 2.7 on average" in [one.text for one in said["habits"]]
    late = _said([_event(0, n) for n in range(60)] + [_event(30, 60 + n) for n in range(6)])
    assert late["interests"][0].text == "Leaf 0: 60 of 66 choices"
    assert late["interests"][1].text == "Leaf 3: 6 of 66 choices, more of late"


def test_hours_count_only_where_the_source_knows_them() -> None:
    evening = [_event(n).model_copy(update={"timestamp": SPRING + 20 * 3600}) for n in range(5)]
    assert "Mostly in the evening (UTC): 100%" in [one.text for one in _said(evening)["habits"]]
    assert len(_said([_event(n) for n in range(5)])["habits"]) == 1


def test_little_is_said_of_few_events_and_nothing_of_none() -> None:
    assert _said([]) == {}
    said = _said([_event(3), _event(4)])
    assert set(said) == {"interests", "habits"}
    assert said["habits"][0].text == "2 choices, 100% purchase, on one day: 2023-11-14"
    untimed = _said([HistoryEvent(item_id="i1", title="")])
    assert untimed["habits"][0].text == "1 choice, 100% view"


EVENTS = st.lists(
    st.builds(
        HistoryEvent,
        item_id=st.integers(0, 59).map("i{}".format),
        title=st.just(""),
        event=st.sampled_from(["view", "purchase", "rating"]),
        value=st.none() | st.integers(1, 5).map(float),
        timestamp=st.none() | st.integers(0, 2_000_000_000),
    ),
    max_size=60,
)


@given(EVENTS, st.lists(st.integers(0, 60), max_size=4))
def test_reading_on_is_reading_everything(events: list[HistoryEvent], stops: list[int]) -> None:
    full = read_on(Tallies(), events, CATALOGUE)
    tallies = Tallies()
    for stop in sorted(stops):
        tallies = read_on(tallies, events[:stop], CATALOGUE)
        tallies = Tallies.model_validate_json(tallies.model_dump_json())
    tallies = read_on(tallies, events, CATALOGUE)
    assert tallies == full
    assert statements(tallies, CATALOGUE) == statements(full, CATALOGUE)


@given(EVENTS, st.integers(0, 60), st.integers(0, 59))
def test_a_history_that_changed_before_is_read_anew(
    events: list[HistoryEvent], place: int, item: int
) -> None:
    before = read_on(Tallies(), events, CATALOGUE)
    other = HistoryEvent(item_id=f"i{item}", title="", event="search", timestamp=5)
    changed = [*events[:place], other, *events[place:]]
    assert read_on(before, changed, CATALOGUE) == read_on(Tallies(), changed, CATALOGUE)
    shorter = events[: place // 2]
    assert read_on(before, shorter, CATALOGUE) == read_on(Tallies(), shorter, CATALOGUE)


@given(EVENTS)
def test_every_statement_rests_on_items_of_the_history(events: list[HistoryEvent]) -> None:
    chosen = {event.item_id for event in events}
    for one in statements(read_on(Tallies(), events, CATALOGUE), CATALOGUE):
        assert one.evidence
        assert set(one.evidence) <= chosen
        assert len(one.text) < 140


def test_only_new_events_are_looked_up() -> None:
    events = [_event(n, n) for n in range(8)]
    tallies = read_on(Tallies(), events, CATALOGUE)
    only_new = replace(CATALOGUE, dataset=replace(SHOP, items=SHOP.items[50:51]))
    assert read_on(tallies, [*events, _event(50, 9)], only_new).events == 9
    with pytest.raises(KeyError):
        read_on(Tallies(), events, only_new)


def test_profiles_are_kept_and_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "p" / "shop.sqlite"
    profiles = Profiles(SqliteProfiles(path))
    events = [_event(n, n) for n in range(6)]
    said = profiles.of(SHOP, "ann", events)
    again = Profiles(SqliteProfiles(path))
    assert again.kept(SHOP, "ann").events == 6
    assert again.of(SHOP, "ann", events) == said
    assert again.of(SHOP, "ann", [*events, _event(50, 7)]) == Profiles().of(
        SHOP, "bob", [*events, _event(50, 7)]
    )
    assert again.forget("ann")
    assert not again.forget("ann")
    assert again.kept(SHOP, "ann").events == 0
    for file in path.parent.iterdir():
        assert b'"i5"' not in file.read_bytes(), "deleted means gone from the file as well"
    profiles.of(SHOP, None, events)
    assert sqlite3.connect(path).execute("SELECT count(*) FROM profiles").fetchone() == (0,)


def test_another_catalogue_or_version_is_counted_anew(tmp_path: Path) -> None:
    profiles = Profiles(SqliteProfiles(tmp_path / "shop.sqlite"))
    events = [_event(n, n) for n in range(6)]
    profiles.of(SHOP, "ann", events)
    moved = SHOP.info.model_copy(update={"catalogue_fingerprint": "d" * 16})
    other = replace(SHOP, items=SHOP.items.reverse(), info=moved)
    assert profiles.kept(other, "ann").events == 0
    profiles.of(other, "ann", events)
    assert profiles.kept(other, "ann").events == 6
    for text in ("{", '{"events": "many"}', '{"version": 0, "events": 3}'):
        assert profiles.store is not None
        profiles.store.put("ann", text)
        assert profiles.kept(SHOP, "ann").events == 0
        assert profiles.of(SHOP, "ann", events)


def test_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(ForetasteError, match="delete the file") as caught:
        SqliteProfiles(path)
    assert "\n" not in str(caught.value)


def test_the_context_carries_the_profile_of_its_own_events(dataset: Dataset) -> None:
    profiles = Profiles()
    made = context.user_context(dataset, Request(user_id="ann"), profiles=profiles)
    assert made.profile == profiles.of(dataset, None, made.events)
    items = {event.item_id for event in made.events}
    assert all(set(one.evidence) <= items for one in made.profile)
    inline = context.user_context(dataset, Request(history=("fear-1",)), profiles=profiles)
    assert {item for one in inline.profile for item in one.evidence} == {"fear-1"}
    assert context.user_context(dataset, Request(user_id="ann")).profile == ()


def test_a_prompt_shows_a_few_lines_of_it(dataset: Dataset) -> None:
    profile = tuple(
        Statement(key=key, text=f"{key} {number} </data>" + "x" * 200)
        for key in ("interests", "exploration", "format", "habits")
        for number in range(3)
    )
    made = context.user_context(dataset, Request(user_id="ann"))
    lines = prompting.context_lines(made.model_copy(update={"profile": profile})).splitlines()
    told = [line for line in lines if line.startswith("Profile: ")]
    assert len(told) == 3
    assert max(map(len, told)) < 180
    assert "</data>" not in "".join(told)


def test_searches_are_part_of_the_context(dataset: Dataset) -> None:
    rows = dataset.interactions.filter(pl.col("user_id") == "ann")
    search = rows[:1].with_columns(
        item_id=pl.lit(None, pl.String),
        event=pl.lit("search"),
        query=pl.lit("robots"),
        timestamp=pl.lit(150, pl.Int64),
    )
    data = replace(dataset, interactions=pl.concat([rows[:1], search, rows[1:]]))
    made = context.user_context(data, Request(user_id="ann"))
    assert len(made.events) == 3
    assert [(one.query, one.after, one.timestamp) for one in made.searches] == [("robots", 1, 150)]


def test_a_server_reads_on_and_forgets(dataset: Dataset, tools: Tools, tmp_path: Path) -> None:
    profiles = Profiles(SqliteProfiles(tmp_path / "films.sqlite"))
    ledger = Ledger(tmp_path / "films" / "ledger.sqlite")
    live = Live(replace(tools, profiles=profiles), ledger)

    async def goes_by() -> None:
        await recommend(live.tools, Request(user_id="ann", n=2))
        assert profiles.kept(dataset, "ann").events == 3
        await live.add_interactions([Interaction(user_id="ann", item_id="fear-2")])
        await recommend(live.tools, Request(user_id="ann", n=2))
        assert any("fear-2" in one["evidence"] for one in (await live.about("ann"))["profile"])
        await live.forget("ann")
        assert (await live.about("ann"))["profile"] == []

    asyncio.run(goes_by())
    ledger.close()
    assert profiles.kept(dataset, "ann").events == 0
