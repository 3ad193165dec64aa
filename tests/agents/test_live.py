"""A data set that changes while it is served: seen by the next run, and again after a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents.contexts import context
from foretaste.agents.objects import Request
from foretaste.agents.online import learning
from foretaste.agents.online.live import Live
from foretaste.agents.online.newcomers import Newcomers
from foretaste.agents.recommend import recommend
from foretaste.agents.retrieval.pulse import Pulse
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.lexicon import Lexicon
from foretaste.agents.wording.terms import Terms
from foretaste.data.changes import Interaction, Item
from foretaste.data.errors import InputError
from foretaste.data.histories import Histories
from foretaste.data.ledger import Ledger
from foretaste.serving.index.base import IndexInfo
from foretaste.serving.index.exact import ExactIndex
from foretaste.serving.rules.base import Scores
from foretaste.serving.rules.recipes import Material, fit, start_of
from foretaste.serving.rules.words import item_words

NEW = Item(item_id="space-9", title="Star Station (2030)", categories=("Sci-Fi", "Adventure"))
Reopen = Callable[[], Live]


@pytest.fixture
def reopen(tools: Tools, tmp_path: Path) -> Iterator[Reopen]:
    """Gives the live data set; called again, the one of a process that starts anew."""
    ledgers: list[Ledger] = []

    def again() -> Live:
        for ledger in ledgers:
            ledger.close()
        ledgers.append(Ledger(tmp_path / "films" / "ledger.sqlite"))
        return Live(tools, ledgers[-1])

    yield again
    ledgers[-1].close()


def _page(live: Live, **wanted: Any) -> list[str]:
    result = asyncio.run(recommend(live.tools, Request(**wanted)))
    return [one["item_id"] for one in result["recommendations"]]


def test_a_new_item_is_recommended_without_fitting_anything_and_after_a_restart(
    reopen: Reopen,
) -> None:
    live = reopen()
    before = live.tools
    assert asyncio.run(live.upsert_items([NEW])) == 1
    for now in (live, reopen()):
        assert "space-9" in _page(now, user_id="cat", n=5)
        assert "space-9" in _page(now, wish="star station", n=2)
        assert now.tools.lexicon.matching("star station").tolist() == [12]
        assert now.tools.vectors.shape == (13, 32)
    assert "space-9" not in before.dataset.row_of, "a run under way keeps what it started with"


def test_a_changed_item_keeps_its_row_and_reads_anew(reopen: Reopen) -> None:
    live = reopen()
    item = Item(item_id="fear-3", title="Wedding Cake", categories=("Comedy",))
    assert asyncio.run(live.upsert_items([item])) == 0
    for now in (live, reopen()):
        dataset = now.tools.dataset
        assert dataset.titles[dataset.row_of["fear-3"]] == "Wedding Cake"
        assert dataset.item_ids == live.tools.dataset.item_ids
        found = now.index.search(now.tools.embedder.encode(["Wedding Cake. Comedy"]), 1)
        assert dataset.item_ids[found.rows[0, 0]] == "fear-3"
        assert not now.tools.lexicon.matching("night ferry").size


def test_a_deleted_item_is_shown_to_nobody_but_histories_keep_it(reopen: Reopen) -> None:
    live = reopen()
    asyncio.run(live.delete_items(["space-1", "space-2"]))
    for now in (live, reopen()):
        assert not {"space-1", "space-2"} & set(_page(now, user_id="bob", n=12))
        reader = context.read(now.tools.dataset, Request(user_id="cat"))
        assert [event.item_id for event in reader.context.events] == ["space-1", "space-2"]
    live = now
    with pytest.raises(InputError, match="deleted before"):
        asyncio.run(live.delete_items(["space-1"]))
    asyncio.run(live.upsert_items([Item(item_id="space-1", title="Star Voyage (1980)")]))
    assert "space-1" in _page(live, user_id="bob", n=12), "sent again, it is back"


def test_interactions_are_known_to_the_next_run_once_and_after_a_restart(reopen: Reopen) -> None:
    live = reopen()
    event = Interaction(user_id="zoe", item_id="fear-1", event="click", event_id="e1")
    assert asyncio.run(live.add_interactions([event])) == 1
    assert asyncio.run(live.add_interactions([event])) == 0, "sent twice, counted once"
    asyncio.run(
        live.add_interactions([Interaction(user_id="ann", item_id="fear-2", timestamp=250)])
    )
    for now in (live, reopen()):
        read = context.user_context(now.tools.dataset, Request(user_id="zoe"))
        assert [one.item_id for one in read.events] == ["fear-1"]
        read = context.user_context(now.tools.dataset, Request(user_id="ann"))
        assert [one.item_id for one in read.events] == ["space-1", "space-3", "fear-2", "love-1"]
        assert "fear-1" not in _page(now, user_id="zoe", n=11)


def test_an_unknown_item_in_one_event_keeps_none(reopen: Reopen) -> None:
    live = reopen()
    events = [
        Interaction(user_id="zoe", item_id="fear-1"),
        Interaction(user_id="zoe", item_id="nowhere"),
    ]
    with pytest.raises(InputError, match="'nowhere'"):
        asyncio.run(live.add_interactions(events))
    assert not live.tools.dataset.knows("zoe")


def test_a_forgotten_user_is_a_stranger_everywhere(reopen: Reopen) -> None:
    live = reopen()
    asyncio.run(live.add_interactions([Interaction(user_id="ann", item_id="fear-2")]))
    assert len(asyncio.run(live.about("ann"))["interactions"]) == 4
    asyncio.run(live.forget("ann"))
    for now in (live, reopen()):
        assert not now.tools.dataset.knows("ann")
        assert asyncio.run(now.about("ann")) == {
            "attributes": {},
            "profile": [],
            "interactions": [],
            "feedback": [],
            "answers": [],
        }
    asyncio.run(now.add_interactions([Interaction(user_id="ann", item_id="fear-3")]))
    assert [row["item_id"] for row in now.tools.dataset.events_of("ann")] == ["fear-3"]


def test_a_newer_import_has_its_own_say_about_its_items(
    reopen: Reopen, tools: Tools, tmp_path: Path
) -> None:
    live = reopen()
    asyncio.run(live.upsert_items([NEW, Item(item_id="fear-3", title="Older than the import")]))
    asyncio.run(live.delete_items(["fear-1"]))
    info = tools.dataset.info.model_copy(update={"catalogue_fingerprint": "d" * 16})
    ledger = live.ledger
    later = Live(replace(tools, dataset=replace(tools.dataset, info=info)), ledger)
    titles = dict(zip(later.tools.dataset.item_ids, later.tools.dataset.titles, strict=True))
    assert titles["fear-3"] == "Night Ferry (1995)"
    assert titles["space-9"] == "Star Station (2030)", "the import does not hold it"
    assert not later.tools.dataset.withdrawn.size


def test_a_newcomer_is_scored_between_its_likes() -> None:
    class Fixed:
        name = "fixed"

        def scores(self, histories: Histories) -> Any:
            assert histories.rows.max(initial=0) < 3, "the rule is never asked about a newcomer"
            return np.tile(np.array([3.0, 0.0, 6.0], dtype=np.float32), (len(histories), 1))

    vectors = np.array([[1, 0], [0, 1], [1, 0], [1, 0]], dtype=np.float32)
    info = IndexInfo(
        kind="exact", items=3, dimension=2, catalogue_fingerprint="c", embedder_fingerprint="e"
    )
    index = ExactIndex.build(info, ["a", "b", "c"], vectors[:3])
    rule = Newcomers.of(Fixed(), 3).grown([1, 3], vectors[[1, 3]], index)
    scores = rule.scores(Histories.from_lists([[3, 1], []]))
    assert scores.shape == (2, 4)
    assert scores[0, 3] == pytest.approx(4.5, abs=1e-3), "half of each of its two equal likes"


TERMS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=4), min_size=1, max_size=8)


@given(TERMS, TERMS, st.data())
def test_terms_grown_are_terms_made_at_once(
    before: list[list[str]], changed: list[list[str]], data: st.DataObject
) -> None:
    whole = list(before)
    rows = data.draw(
        st.lists(
            st.integers(0, len(before) - 1), unique=True, max_size=min(len(before), len(changed))
        )
    )
    rows += range(len(before), len(before) + len(changed) - len(rows))
    for row, terms in zip(rows, changed, strict=True):
        whole[row : row + 1] = [terms]
    grown, fresh = Terms.of(before).with_rows(rows, changed), Terms.of(whole)
    assert grown.present.shape[0] == len(whole)
    for name, number in fresh.number.items():
        assert sorted(grown.carriers(name)) == sorted(fresh.carriers(name))
        assert grown.idf[grown.number[name]] == pytest.approx(fresh.idf[number])


def test_a_lexicon_grown_matches_like_one_made_at_once(tools: Tools) -> None:
    items = tools.dataset.items
    grown = Lexicon(items[:6]).with_items(range(6, 12), items[6:])
    fresh = Lexicon(pl.concat([items]))
    for text in ("summer letters", "sci-fi action", "romance comedy", "nothing known"):
        assert grown.matching(text).tolist() == fresh.matching(text).tolist()
    assert grown.fact_words(7) == fresh.fact_words(7)


def _learning(tools: Tools) -> Tools:
    """The same with a rule that can be fitted again, and a pulse."""
    material = Material(tools.dataset.histories, item_words(tools.dataset.items))
    rule = fit("transitions", start_of("transitions") | {"gamma": 0.0}, material)
    return replace(tools, rule=rule, pulse=Pulse.of(tools.dataset, 30))


def _refitted(live: Live) -> Scores:
    """Scores of a rule fitted on everything that the live data set shows."""
    dataset = live.tools.dataset
    people = ["ann", "bob", "cat", "zoe"]
    rows = [[dataset.row_of[one["item_id"]] for one in dataset.events_of(user)] for user in people]
    material = Material(Histories.from_lists(rows), item_words(dataset.items))
    rule = fit("transitions", start_of("transitions") | {"gamma": 0.0}, material)
    return rule.scores(Histories.from_lists([[], [0], [8], [9], [2, 4]]))


def test_events_reach_the_rule_at_once_and_after_a_restart(tools: Tools, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "films" / "ledger.sqlite")
    live = Live(_learning(tools), ledger)
    asked = Histories.from_lists([[], [0], [8], [9], [2, 4]])
    before = live.tools.rule.scores(asked)
    events = [
        Interaction(user_id="zoe", item_id="fear-1", timestamp=10),
        Interaction(user_id="zoe", item_id="love-2", timestamp=20),
        Interaction(user_id="ann", item_id="fear-2", timestamp=250),
    ]
    asyncio.run(live.add_interactions(events))
    assert not np.allclose(live.tools.rule.scores(asked), before)
    for now in (live, Live(_learning(tools), ledger)):
        assert now.tools.rule.scores(asked) == pytest.approx(_refitted(now), abs=1e-5)
    ledger.close()


def test_after_many_events_or_a_farewell_the_rule_is_fitted_anew(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "REFIT_AFTER", 2)
    ledger = Ledger(tmp_path / "films" / "ledger.sqlite")
    live = Live(_learning(tools), ledger)
    asked = Histories.from_lists([[], [0], [8], [9], [2, 4]])

    async def some() -> None:
        event = Interaction(user_id="zoe", item_id="fear-1", timestamp=10)
        await live.add_interactions([event, event.model_copy(update={"item_id": "love-1"})])
        await live.learner.settled()
        assert live.tools.rule.scores(asked) == pytest.approx(_refitted(live), abs=1e-5)
        await live.forget("bob")
        await live.learner.settled()

    asyncio.run(some())
    assert not live.tools.dataset.knows("bob")
    assert live.tools.rule.scores(asked) == pytest.approx(_refitted(live), abs=1e-5)
    ledger.close()


def test_what_came_lately_and_what_rises_is_known_at_once(tools: Tools, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "films" / "ledger.sqlite")
    live = Live(_learning(tools), ledger)
    asyncio.run(live.upsert_items([NEW]))
    new = live.tools.dataset.row_of["space-9"]
    pulse = live.tools.pulse
    assert pulse is not None
    assert pulse.fresh()[0] == new
    now = 40 * 86_400
    for user in ("zoe", "eve"):
        asyncio.run(
            live.add_interactions([Interaction(user_id=user, item_id="fear-1", timestamp=now)])
        )
    assert int(np.argmax(pulse.rises())) == live.tools.dataset.row_of["fear-1"]
    again = Live(_learning(tools), ledger)
    assert again.tools.pulse is not None
    assert new in again.tools.pulse.fresh()
    ledger.close()
