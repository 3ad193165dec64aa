"""`evaluate intent`: lists and hit rates by hand, laws, and the command with a scripted engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from foretaste.agents.objects import Step, Tag, Verdict
from foretaste.agents.wording.schemas import (
    ArbiterAnswer,
    ExpertAnswer,
    ExplainerAnswer,
    PlannerAnswer,
    StyleAnswer,
)
from foretaste.app.cli import cli
from foretaste.data.errors import InputError
from foretaste.judge.intent import run as road
from foretaste.judge.intent.cases import asked_about
from foretaste.judge.intent.figures import arm, hit_rates, hits, pair
from foretaste.judge.intent.kept import arm_path, case_of, kept_arm, line_of
from foretaste.judge.intent.lists import (
    LONGEST,
    Written,
    filled,
    of_arm,
    of_experts,
    ranks,
    untrained,
)
from foretaste.serving.scripted_chat import ScriptedChat

KINDS = ("Drama", "Comedy", "Horror", "War")


@pytest.fixture
def cinema(home: Path, tmp_path: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Twenty-four films of four kinds; people who keep to one kind and its neighbour."""
    monkeypatch.setattr("foretaste.agents.retrieval.tools.load_embedder", lambda name: embedder)
    ids = [f"i{n}" for n in range(24)]
    titles = [f"{KINDS[n % 4]} Tale {n}" for n in range(24)]
    kinds = [f"Film|{KINDS[n % 4]}" for n in range(24)]
    pl.DataFrame({"item_id": ids, "title": titles, "categories": kinds}).write_csv(
        tmp_path / "items.csv"
    )
    events = [(f"u{u}", f"i{(u % 4) + 4 * ((u + k) % 6)}", k) for u in range(16) for k in range(5)]
    pl.DataFrame(events, schema=["user_id", "item_id", "timestamp"], orient="row").write_csv(
        tmp_path / "log.csv"
    )
    told = ["--items", str(tmp_path / "items.csv"), "--interactions", str(tmp_path / "log.csv")]
    done = CliRunner().invoke(cli, ["data", "import", *told, "--name", "cinema"])
    assert done.exit_code == 0, done.output
    return "cinema"


def tag(text: str, source: Any = "model") -> Tag:
    return Tag(text=text, persona=0, reason="so", source=source)


def verdict(text: str, source: Any = "model", kept: bool = True) -> Verdict:
    return Verdict(tag=tag(text, source), kept=kept, reason="so", source=source)


def test_a_list_is_filled_and_holds_nothing_twice() -> None:
    assert filled([2, 2, -1, 0], [1, 0, 3]) == [2, 0, 1, 3]
    assert len(filled(range(100), [])) == LONGEST


@given(st.lists(st.lists(st.integers(0, 9), unique=True), min_size=1), st.integers(0, 9))
def test_hits_grow_with_the_cut(lists: list[list[int]], target: int) -> None:
    found = hits(lists, np.full(len(lists), target))
    assert (np.diff(found, axis=1) >= 0).all()
    for own, place in zip(lists, ranks(lists, np.full(len(lists), target)), strict=True):
        assert (place < LONGEST) == (target in own)


def test_rates_and_pairs_by_hand() -> None:
    one = hits([[1], [2], [9, 1], [3]], np.array([1, 1, 1, 1]))
    other = hits([[1], [2], [2], [3]], np.array([1, 1, 1, 1]))
    assert hit_rates(one, 200, 0)["hr@5"] == 0.5
    (first, *_) = pair(one, other, 500, 0)
    assert first["delta"] == 0.25
    assert first["relative"] == 1.0
    assert first["low"] == 0.0 < first["high"]


def test_untrained_lists_begin_as_they_say(cinema: str) -> None:
    asked = asked_about(cinema, 16, 0, road.agents_config([], ()))
    lists = untrained(asked)
    assert len(asked.names) == 4
    for number, rows in enumerate(asked.cases.histories):
        assert lists["own_categories"][number][0] == asked.leaf[rows[-1]]
        assert sorted(lists["popular_categories"][number]) == [0, 1, 2, 3]
    assert hits(lists["own_categories"], asked.targets)[:, 0].mean() == 1.0


def test_only_what_the_model_wrote_counts_unless_served(cinema: str) -> None:
    asked = asked_about(cinema, 2, 0, road.agents_config([], ()))
    one = Written((verdict("Horror", "fallback"),), (tag("War"),), (), 1.0)
    own, served = (of_arm(asked, [one], served=flag)[0] for flag in (False, True))
    names = asked.names
    assert names[own[0]] == "War"
    assert [names[n] for n in served[:2]] == ["Horror", "War"]


def test_the_experts_alone_take_turns_and_no_arbiter_is_heard(cinema: str) -> None:
    asked = asked_about(cinema, 2, 0, road.agents_config([], ()))
    other = tag("Comedy").model_copy(update={"persona": 1})
    twin = tag("Drama", "fallback")
    one = Written((verdict("Drama"),), (twin, tag("War"), tag("Horror"), other), (), 1.0)
    (own,) = of_experts(asked, [one])
    assert [asked.names[n] for n in own[:3]] == ["War", "Comedy", "Horror"]


def test_figures_of_an_arm_by_hand(cinema: str) -> None:
    asked = asked_about(cinema, 2, 0, road.agents_config([], ()))
    steps = (
        Step(node="planner", prompt=10, completion=5, repaired="1 of 2 personas dropped"),
        Step(node="expert", prompt=6, completion=3, fallback="unreadable: cut off"),
    )
    tags = (tag("War"), tag("war"), tag("zebra"))
    told = arm(asked, [Written((verdict("War"),), tags, steps, 2000.0)])
    assert told["fallback_rate"] == {"planner": 0, "expert": 1, "arbiter": None, "explainer": None}
    assert told["repair_rate"] == {"planner": 1, "expert": 0, "arbiter": None, "explainer": None}
    assert told["format_errors"] == 0.5
    assert told["tokens_per_user"] == 24
    assert told["seconds_per_user"] == 2
    assert told["tag_validity"] == pytest.approx(2 / 3, abs=1e-3)
    assert told["duplicates"] == pytest.approx(1 / 3, abs=1e-3)


def test_what_an_arm_wrote_is_kept_person_by_person(home: Path) -> None:
    written = Written((verdict("War"),), (tag("War"),), (Step(node="planner"),), 3.0)
    path = arm_path({"a": 1})
    assert arm_path({"a": 2}) != path
    with kept_arm(path) as kept:
        kept.add(line_of(case_of("ann", True), written))
    with path.open("ab") as file:
        file.write(b'{"case":"bob","verd')  # killed while it wrote
    with kept_arm(path) as kept:
        assert kept.done == {"ann explained": written}


def test_the_command_asks_the_same_people_and_keeps_the_answers(
    cinema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = ScriptedChat(_answer)
    opened: list[int] = []

    @asynccontextmanager
    async def engine(config: Any) -> AsyncIterator[ScriptedChat]:
        opened.append(1)
        yield chat

    monkeypatch.setattr(road, "open_chat", engine)
    words = ["evaluate", "intent", "--dataset", cinema, "--users", "6", "--explained", "1"]
    first = CliRunner().invoke(cli, [*words, "--json", "-"])
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    assert set(told["arms"]) == {
        "base",
        "grounded",
        "popular_categories",
        "own_categories",
        "rule_categories",
        "offered_categories",
    }
    base = told["arms"]["base"]
    for key in (
        "hr@5",
        "experts_hr@30",
        "tag_validity",
        "diversity",
        "format_errors",
        "duplicates",
        "fallback_rate",
    ):
        assert key in base
    assert told["users"] == 6
    assert told["categories"] == 4
    again = json.loads(CliRunner().invoke(cli, [*words, "--json", "-"]).stdout)
    assert opened == [1]
    assert again["arms"]["base"]["hr@10"] == base["hr@10"]
    asked = len(chat.asks)
    words[words.index("6")] = "8"
    more = CliRunner().invoke(cli, [*words, "--json", "-"])
    assert json.loads(more.stdout)["users"] == 8
    assert len(chat.asks) < 2 * asked, "only who is new is asked about"


def test_a_wrong_call_is_one_sentence(cinema: str, refused: Any) -> None:
    code, said = refused("evaluate", "intent", "--dataset", cinema, "--adapter", "nothing")
    assert code == 2
    assert "no adapter 'nothing'" in said
    code, said = refused("evaluate", "intent", "--dataset", cinema, "--cases", "train")
    assert (code, said.count("\n")) == (2, 0)
    with pytest.raises(InputError, match="is taken"):
        road._folders(["base=here"])


def _answer(ask: Any) -> dict[str, Any]:
    if issubclass(ask.schema, PlannerAnswer):
        return {"personas": [{"name": "Film", "why": "chose films", "now": "", "items": [1]}]}
    if issubclass(ask.schema, ExpertAnswer):
        return {"tags": [{"tag": f"{kind} film", "why": "like it"} for kind in KINDS]}
    if issubclass(ask.schema, ArbiterAnswer):
        return {"keep": [{"tag": n, "why": "fits"} for n in (2, 1, 3)]}
    if issubclass(ask.schema, StyleAnswer):
        return {"tone": "plain", "first": ["clarity"], "avoid": "jargon"}
    assert issubclass(ask.schema, ExplainerAnswer)
    return {"sentences": [{"item": 1, "text": "Nothing that holds."}]}
