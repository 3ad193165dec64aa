"""Channels on the twelve films: each finds what it should, and a candidate remembers who found it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foretaste.agents.contexts.context import Reader
from foretaste.agents.objects import Tag, UserContext
from foretaste.agents.retrieval import channels
from foretaste.agents.retrieval.pulse import Pulse
from foretaste.agents.retrieval.tools import Tools
from foretaste.data.histories import Histories


class Towers:
    """Every item scored by its row, with the tags' number on top; four items were trained on."""

    item_vectors = np.eye(4, dtype=np.float32)
    record = SimpleNamespace(rule="counts", weight=0.0)

    def scores(self, histories: Histories) -> Any:
        assert all(row < 4 for row in histories.rows)
        return np.array([[0, 0, 0, 9]], dtype=np.float32)

    def mixed(self, history: Any, tags: Any, beta: float | None = None) -> Any:
        assert all(row < 4 for row in history)
        return np.arange(4, dtype=np.float32) + len(tags)


class Interest:
    """A next-interest model that likes the second item and would never offer the others."""

    name = "interest"
    item_vectors = np.eye(12, dtype=np.float32)

    def scores(self, histories: Histories, wishes: Any = None) -> Any:
        out = np.full((len(histories), 12), -np.inf, dtype=np.float32)
        out[:, 1] = 1
        return out


class Mix:
    """A mix of eleven items that turns the rule's order round."""

    record = SimpleNamespace(rule="counts")
    interest = SimpleNamespace(item_vectors=np.eye(11, dtype=np.float32))

    def scores(self, histories: Histories, rule_scores: Any = None) -> Any:
        assert rule_scores.shape == (1, 11)
        assert all(row < 11 for row in histories.rows)
        return -np.arange(11, dtype=np.float32)[None] + 20


def _reader(rows: list[int], wish: str | None = None, barred: tuple[int, ...] = ()) -> Reader:
    allowed = np.ones(12, dtype=bool)
    allowed[[*rows, *barred]] = False
    return Reader(
        UserContext(user_id=None, events=(), wish=wish), np.asarray(rows, dtype=np.int32), allowed
    )


def _tag(text: str, persona: int) -> Tag:
    return Tag(text=text, persona=persona, reason="", source="model")


def test_tags_find_by_meaning_and_word_and_say_which(tools: Tools) -> None:
    tags = [_tag("mars colony", 0), _tag("paris spring", 1)]
    short = replace(tools, config=tools.config.model_copy(update={"tag_depth": 1}))
    found = channels.by_tags(short, _reader([0]), tags)
    assert set(found.rows) == {2, 4}
    for row, text, persona in ((2, "mars colony", 0), (4, "paris spring", 1)):
        first = found.finds[row][0]
        assert (first.tag, first.persona, first.rank) == (text, persona, 1)
        assert first.score == pytest.approx(3 / 61, abs=1e-5), "by meaning, word and choice"
    assert not channels.by_tags(tools, _reader([0]), []).rows


def test_of_what_fits_a_tag_the_most_chosen_come_first(tools: Tools) -> None:
    """space-1 was chosen twice, space-2 and space-3 once, space-4 never: it is not named."""
    texts = ["sci-fi", "horror thriller", "horror opera", "opera"]
    hits = channels.most_chosen(tools, _reader([]), texts)
    assert hits.rows[:, :4].tolist() == [[0, 1, 2, -1], [9, -1, -1, -1], [-1] * 4, [-1] * 4]
    assert hits.scores[0, :3].tolist() == [2, 1, 1]
    barred = channels.most_chosen(tools, _reader([0], barred=(1,)), texts[:1])
    assert barred.rows[0, :2].tolist() == [2, -1]
    grown = replace(tools, rule=type(tools.rule)("older", tools.rule.counts[:1]))
    later = channels.most_chosen(grown, _reader([]), texts[:1])
    assert later.rows[0, :2].tolist() == [0, -1], "items that the rule never saw are passed over"


def test_a_word_is_found_by_itself(tools: Tools) -> None:
    hits = tools.by_word(["ferry"], 3, np.ones(12, dtype=bool))
    assert hits.rows[0].tolist() == [10, -1, -1]


def test_nothing_that_is_barred_is_found(tools: Tools) -> None:
    reader = _reader([0], wish="moon station", barred=(1, 2))
    config = tools.config.model_copy(update={"candidates": 12})
    ready = replace(tools, towers=Towers(), interest=Interest(), config=config)
    for found in channels.every(ready, reader, [_tag("mars colony", 0)]):
        assert not {0, 1, 2} & set(found.rows), found.channel


def test_a_candidate_remembers_every_channel_with_place_and_score(tools: Tools) -> None:
    times = np.array([0, 0, 100 * 86_400, 100 * 86_400])
    pulse = Pulse(np.array([0, 1, 1, 2], dtype=np.int32), times, 12, 30)
    ready = replace(tools, towers=Towers(), interest=Interest(), pulse=pulse)
    found = channels.every(ready, _reader([0], wish="moon station"), [_tag("moon station", 3)])
    names = {one.channel for one in found}
    assert names == {"collaborative", "tags", "wish", "towers", "interest", "fresh", "trending"}
    moon = next(one for one in channels.merge(ready, found) if one.item_id == "space-2")
    assert set(moon.ranks) == set(moon.scores) == names - {"fresh"}
    assert moon.ranks["wish"] == moon.ranks["interest"] == 1
    assert moon.scores["towers"] == 2.0, "its row, and one tag"
    assert moon.ranks["towers"] == 3
    assert moon.personas == (3,)
    fresh = next(one for one in found if one.channel == "fresh")
    assert fresh.rows == [2]


def test_untrained_and_timeless_parts_find_nothing(tools: Tools) -> None:
    names = [one.channel for one in channels.every(tools, _reader([0]), [])]
    assert names == ["collaborative"]
    assert [one.channel for one in channels.every(tools, _reader([]), [])] == ["popular"]
    later = channels.by_towers(replace(tools, towers=Towers()), _reader([2, 9]), [])
    assert later.rows == [3, 1, 0], "a history item that came after training is left out"


def test_towers_that_validation_gave_a_weight_help_the_rule(tools: Tools) -> None:
    ready = replace(tools, towers=Towers())
    plain = channels.collaborative(ready, _reader([0, 9]))
    ready.towers.record = SimpleNamespace(rule="counts", weight=5.0)
    assert channels.collaborative(ready, _reader([0, 9])).rows[0] == 3
    ready.towers.record = SimpleNamespace(rule="another", weight=5.0)
    assert channels.collaborative(ready, _reader([0, 9])).rows == plain.rows


def test_a_mix_that_was_fitted_beside_the_rule_orders_the_collaborative_channel(
    tools: Tools,
) -> None:
    ready = replace(tools, mix=Mix())
    assert channels.collaborative(ready, _reader([0, 11])).rows == list(range(1, 11))
    plain = channels.collaborative(tools, _reader([0])).rows
    ready.mix.record = SimpleNamespace(rule="another")
    assert channels.collaborative(ready, _reader([0])).rows == plain
