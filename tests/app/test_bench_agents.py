"""`foretaste bench agents`: its figures by hand, its laws, and the command on a tiny shop."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from foretaste.agents.config import AgentsConfig
from foretaste.agents.objects import Candidate, Step, Tag, TagFind
from foretaste.agents.wording.schemas import (
    ArbiterAnswer,
    PersonaAnswer,
    PlannerAnswer,
    SingleAnswer,
)
from foretaste.app.benching import agent_figures, agents
from foretaste.app.benching.agent_cases import asked_about, some_cases, until
from foretaste.app.benching.agent_figures import Ratio, duplicates, exclusive, nearest
from foretaste.app.benching.agent_report import Compared
from foretaste.app.benching.agent_runs import Outcome
from foretaste.app.cli import cli
from foretaste.data.errors import EngineError
from foretaste.data.splits import leave_one_out
from foretaste.data.store import load_dataset
from foretaste.serving.chat import Answer, Ask, Parsed, Usage
from foretaste.serving.engine import EngineConfig
from foretaste.serving.scripted_chat import ScriptedChat

TOP = ("hierarchical", "routes", "single")


def _found(item: str, *personas: int, **ranks: int) -> Candidate:
    finds = tuple(TagFind(tag=f"t{p}", persona=p, rank=1, score=1.0) for p in personas)
    return Candidate(item_id=item, ranks=ranks, finds=finds)


def test_duplicates_by_hand() -> None:
    """Lists (a, b) of persona 0 and (b, c) of persona 1: four places, three items, one double."""
    candidates = [
        _found("a", 0, tags=1),
        _found("b", 0, 0, 1, tags=2),
        _found("c", 1, tags=3),
        _found("d", collaborative=1),
    ]
    assert duplicates(candidates) == (1, 4)
    assert duplicates([]) == (0, 0)


@given(st.lists(st.lists(st.integers(0, 4), max_size=5), max_size=20))
def test_what_every_persona_finds_alone_is_no_duplicate(finders: list[list[int]]) -> None:
    candidates = [_found(f"i{n}", *personas, tags=1) for n, personas in enumerate(finders)]
    double, total = duplicates(candidates)
    distinct = sum(bool(personas) for personas in finders)
    assert total - double == distinct
    assert 0 <= double <= max(total - distinct, 0)
    assert (double == 0) == all(len(set(personas)) < 2 for personas in finders)


def test_exclusive_is_what_only_the_agents_found() -> None:
    assert exclusive(_found("a", 0, tags=200))
    assert exclusive(_found("a", 0, tags=3, trending=1))
    assert not exclusive(_found("a", 0, tags=1, collaborative=200))
    assert not exclusive(_found("a", 0, tags=1, interest=9))
    assert not exclusive(_found("a", collaborative=1))
    assert not exclusive(None)


def test_costs_by_hand() -> None:
    """Two people: 10 + 20 tokens sent with 8 of them cached in three calls, and 30 in one."""
    first = (
        Step(node="a", prompt=10, completion=1),
        Step(node="b", prompt=20, cached=8, completion=2),
    )
    last = (Step(node="c", fallback="no model was asked"),)
    outcomes = [
        Outcome((), (), (), first + last),
        Outcome((), (), (), (Step(node="a", prompt=30, completion=5),)),
    ]
    found = {name: ratio.value() for name, ratio in agent_figures.cost(outcomes).items()}
    assert found == {
        "sent": 30,
        "computed": 26,
        "written": 4,
        "calls": 2,
        "intents": 0,
        "prefix_hit_rate": pytest.approx(8 / 60),
        "fallback_rate": 0.25,
    }


def test_quality_and_channels_by_hand(cinema: str) -> None:
    """The first target is third on the page and found by tags alone, the second nowhere."""
    asked = asked_about(cinema, "test", 2, 0, AgentsConfig())
    one, two = asked.target_ids()
    tags = (Tag(text="drama river", persona=0, reason="", source="model"),)
    strange = (*tags, Tag(text="quark", persona=1, reason="", source="model"))
    outcomes = [
        Outcome(tags, (_found("x", 0, 1, tags=1), _found(one, 1, tags=2)), ("x", "y", one), ()),
        Outcome(strange, (_found("x", 0, tags=1, collaborative=1),), ("x",), ()),
    ]
    found = {name: ratio.value() for name, ratio in agent_figures.quality(asked, outcomes).items()}
    assert found == {
        "duplicate_rate": 0.25,
        "exclusive_recall": 0.5,
        "recall": 0.5,
        "tag_validity": pytest.approx(2 / 3),
        "tags": 1.5,
        "r@10": 0.5,
        "n@10": pytest.approx(0.25),  # 1 / log2(3 + 1) for one of two
    }
    lists = agent_figures.channels(asked, outcomes)
    assert lists["tags"]["n@10"].value() == pytest.approx(0.5 / np.log2(3))
    assert lists["collaborative"]["r@10"].value() == 0
    assert two not in outcomes[1].page


def test_a_tag_stands_for_the_nearest_leaf_category(cinema: str, embedder: Any) -> None:
    asked = asked_about(cinema, "test", 3, 0, AgentsConfig())
    names, leaf = agent_figures.leaves(asked.tools.dataset)
    assert names == ["Comedy", "Drama", "Horror", "War"], "the last of each path, not Film"
    assert nearest(embedder, names, ["horror horror film"]).tolist() == [names.index("Horror")]
    own = [names[leaf[row]] for row in asked.targets]
    other = names[(names.index(own[1]) + 1) % 4]

    def said(*texts: str) -> Outcome:
        made = tuple(Tag(text=text, persona=0, reason="", source="model") for text in texts)
        return Outcome(made, (), (), ())

    hits = agent_figures.leaf_hits(asked, [said(own[0]), said(other), said()])
    assert hits.part.tolist() == [1, 0, 0]
    assert hits.value() == pytest.approx(1 / 3)


def test_nothing_after_the_cut_is_known(cinema: str) -> None:
    """People who are asked about keep all before the target, others their training events."""
    dataset = load_dataset(cinema)
    asked = asked_about(cinema, "test", 5, 3, AgentsConfig())
    assert asked.enough == 12
    assert asked.repeats == 0
    seen = asked.tools.dataset
    lengths = dict(zip(seen.user_ids, seen.histories.lengths.tolist(), strict=True))
    for user in dataset.user_ids:
        whole = 25 if int(user[1:]) < 12 else 4
        assert lengths[user] == whole - (1 if user in asked.users else 2)
    for user, target in zip(asked.users, asked.target_ids(), strict=True):
        assert target == dataset.events_of(user)[-1]["item_id"]
        assert target not in [event["item_id"] for event in seen.events_of(user)]
    counted = asked.tools.rule
    assert counted.name, "the best rule on validation"
    late = asked_about(cinema, "validation", 5, 3, AgentsConfig())
    assert late.users == asked.users
    assert late.tools.dataset.histories.lengths.sum() == 12 * 23 + 3 * 2


@given(st.data())
@settings(deadline=None)
def test_a_cut_is_a_beginning(data: st.DataObject) -> None:
    from foretaste.data.dataset import Dataset, DatasetInfo

    kinds = data.draw(st.lists(st.booleans(), min_size=1, max_size=8), label="items, not searches")
    events = pl.DataFrame(
        {
            "user_id": ["u"] * len(kinds),
            "item_id": [f"i{n}" if kind else None for n, kind in enumerate(kinds)],
            "timestamp": list(range(len(kinds))),
        },
        schema_overrides={"item_id": pl.String},
    )
    none = pl.DataFrame({"item_id": [f"i{n}" for n in range(len(kinds))]})
    dataset = Dataset(none, events, none, none, DatasetInfo(name="x"))
    stays = data.draw(st.integers(0, sum(kinds)))
    known = np.full(len(dataset.user_ids), stays, dtype=np.int64)
    left = until(dataset, known).interactions
    assert left.equals(events[: left.height])
    assert left["item_id"].is_not_null().sum() == (stays if any(kinds) else 0)


def test_users_are_drawn_by_seed_and_need_events(cinema: str) -> None:
    dataset = load_dataset(cinema)
    cases = leave_one_out(dataset).test
    drawn = [some_cases(dataset, cases, 6, seed)[0].users.tolist() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(dataset.histories.lengths[place] >= 20 for place in drawn[0])
    assert [some_cases(dataset, cases, 6, 0, least)[1] for least in (3, 4, 5, 25)] == [
        15,
        15,
        12,
        12,
    ]


def test_pairs_by_hand() -> None:
    """3 of 4 against 2 of 4: a quarter more of all, half more relatively."""
    ratios = {
        ("a", "x"): Ratio.mean([1, 1, 1, 0]),
        ("b", "x"): Ratio.mean([1, 1, 0, 0]),
        ("c", "x"): Ratio.of([(0, 0)] * 4),
    }
    compared = Compared(ratios, 0)
    pair = compared.pair(("a", "x"), ("b", "x"))
    assert (pair["delta"], pair["relative"]) == (0.25, 0.5)
    assert pair["low"] == 0, "nobody is better off with b"
    assert pair["high"] > 0.25
    assert compared.value(("c", "x")) is None
    assert compared.pair(("a", "x"), ("c", "x"))["delta"] is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=1, max_size=20))
def test_a_figure_is_the_same_as_itself(pairs: list[tuple[int, int]]) -> None:
    ratio = Ratio.of(pairs)
    pair = Compared({("a",): ratio, ("b",): ratio}, 0).pair(("a",), ("b",))
    assert pair["delta"] == pair["low"] == pair["high"] == 0


def test_quality_without_a_model_end_to_end(cinema: str, tmp_path: Path) -> None:
    target = tmp_path / "figures.json"
    words = ["bench", "agents", "--dataset", cinema, "--users", "6", "--engine", "none"]
    done = CliRunner().invoke(cli, [*words, "--json", str(target)])
    assert done.exit_code == 0, done.output
    figures = json.loads(target.read_text())
    assert (figures["users"], figures["users_with_enough"], figures["complete"]) == (6, 12, True)
    assert list(figures["modes"]) == list(TOP)
    for own in figures["modes"].values():
        assert own["tokens_per_user"] is None
        assert own["fallback_rate"] is None
        assert 0 <= own["duplicate_rate"] < 1
        assert own["tag_validity"] == 1, "the grounded twins take their words from the catalogue"
        assert own["tags_of_30"] <= 30
    assert set(figures["channels"]) >= {"collaborative", "tags_routes", "page_hierarchical"}
    assert set(figures["pairs"]) == {
        "hierarchical-routes",
        "hierarchical-single",
        "page-best_channel",
    }
    assert "hierarchical" in done.stderr


_PERSONA: dict[str, Any] = {"name": "quark", "why": "quark", "items": [999]}


class _Talker:
    """Answers every agent with nonsense of the right form: all but nothing passes the checks."""

    name = "talker"

    def __init__(self, cached: int) -> None:
        self.cached = cached

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        said = await ScriptedChat([_nonsense(ask)]).ask(ask)
        return Answer(said.parsed, said.text, Usage(prompt=100, cached=self.cached, completion=7))

    async def close(self) -> None:
        return None


def _nonsense(ask: Ask[Any]) -> dict[str, Any]:
    persona = _PERSONA
    if issubclass(ask.schema, PlannerAnswer):
        return {"personas": [persona]}
    if issubclass(ask.schema, PersonaAnswer):
        return persona
    if issubclass(ask.schema, ArbiterAnswer):
        return {"keep": [{"tag": 999, "why": "quark"}]}
    tag = {"tag": "quark", "why": "quark"}
    return {"tags": [tag | ({"persona": "q q q"} if issubclass(ask.schema, SingleAnswer) else {})]}


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[EngineConfig]:
    """A talker in the place of every engine; the configurations that were opened."""
    opened: list[EngineConfig] = []

    @asynccontextmanager
    async def open_talker(config: EngineConfig) -> AsyncIterator[_Talker]:
        opened.append(config)
        yield _Talker(40 if config.prefix_caching else 0)

    monkeypatch.setattr(agents, "open_chat", open_talker)
    return opened


def test_costs_with_a_model_end_to_end(cinema: str, engines: list[EngineConfig]) -> None:
    """The planner, five experts and the arbiter; five routes of two calls; one prompt."""
    bench = agents.Bench(dataset=cinema, users=4, model_users=3)
    kept: list[dict[str, Any]] = []
    figures = agents.run(bench, kept.append)
    assert [one.prefix_caching for one in engines] == [False, True, True, True]
    for mode, calls in zip(TOP, (7, 10, 1), strict=True):
        own = figures["modes"][mode]
        sent = {"sent": 100 * calls, "computed": 100 * calls, "written": 7 * calls, "calls": calls}
        sent["intents"] = 1 if mode == "single" else 5
        assert own["tokens_per_user"] == sent
        assert own["tokens_per_user_cached"] == sent | {"computed": 60 * calls}
        assert own["prefix_hit_rate"] == pytest.approx(0.4)
        assert own["fallback_rate"] == 1, "nonsense is told, not hidden"
        assert own["seconds_per_user"] > 0
        assert own["with_model"]["tag_validity"] == 1
    pair = figures["pairs"]["hierarchical-routes"]
    assert pair["sent_off"]["relative"] == pytest.approx(-0.3)
    assert figures["answered_by"].startswith("grounded")
    assert [one["complete"] for one in kept] == [False] * 9, "nothing finished is lost"
    assert kept[0]["modes"]["hierarchical"]["tag_validity"] == 1


def test_a_doubted_model_costs_what_it_costs_and_changes_nothing(
    cinema: str, engines: list[EngineConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Believed, this one persona takes three calls; doubted, the twins' five take seven."""
    asked = asked_about(cinema, "test", 2, 0, AgentsConfig(personas=5, adaptive_personas=False))
    dataset = asked.tools.dataset
    title = dataset.titles[int(dataset.histories[dataset.user_ids.index(asked.users[0])][-1])]
    persona = {"name": title, "why": title, "items": [1]}
    monkeypatch.setattr("foretaste.agents.reasoning.planner.about", lambda *given: True)
    monkeypatch.setitem(globals(), "_PERSONA", persona)
    bench = agents.Bench(dataset=cinema, users=2, modes=("hierarchical",))
    believed = agents.run(bench)["modes"]["hierarchical"]["tokens_per_user"]
    assert (believed["calls"], believed["intents"]) == (3, 1)
    figures = agents.run(bench.model_copy(update={"same_intents": True}))
    doubted = figures["modes"]["hierarchical"]["tokens_per_user"]
    assert (doubted["calls"], doubted["intents"], doubted["sent"]) == (7, 5, 700)
    assert figures["answered_by"].startswith("grounded")
    assert figures["modes"]["hierarchical"]["fallback_rate"] == 1


def test_when_the_model_is_asked_about_everybody_quality_is_its_own(
    cinema: str, engines: list[EngineConfig]
) -> None:
    figures = agents.run(agents.Bench(dataset=cinema, users=2, modes=("single", "routes")))
    assert figures["answered_by"] == "model"
    assert list(figures["modes"]) == ["single", "routes"]
    assert "with_model" not in figures["modes"]["single"]
    assert set(figures["pairs"]) == {"single-routes", "page-best_channel"}


def test_what_was_finished_is_kept_when_the_engine_dies(
    cinema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def dies(config: EngineConfig) -> AsyncIterator[_Talker]:
        raise EngineError("vLLM did not start.")
        yield _Talker(0)

    monkeypatch.setattr(agents, "open_chat", dies)
    kept: list[dict[str, Any]] = []
    with pytest.raises(EngineError):
        agents.run(agents.Bench(dataset=cinema, users=2, model_users=1), kept.append)
    assert set(kept[-1]["modes"]) == set(TOP)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "magic"], "vllm or none"),
        (["--split", "temporal"], "leave-one-out"),
        (["--cases", "train"], "test or validation"),
        (["--modes", "routes,v3"], "'v3'"),
        (["--modes", "routes,routes"], "different modes"),
        (["--users", "13"], "12 users"),
        (["--users", "16", "--least-events", "4"], "15 users with 4 events"),
        (["--users", "2", "--model-users", "3"], "--model-users 3"),
        (["--set", "environment.day=false"], "agents.FIELD=VALUE"),
        (["--set", "engine.endpoint=http://127.0.0.1:1/v1"], "starts vLLM itself"),
    ],
)
def test_a_wrong_call_is_one_sentence(
    cinema: str,
    words: list[str],
    said: str,
    refused: Callable[..., tuple[object, str]],
) -> None:
    code, told = refused("bench", "agents", "--dataset", cinema, *words)
    assert code == 2
    assert said in told
