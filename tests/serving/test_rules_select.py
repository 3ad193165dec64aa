"""Fitting each rule, choosing among them, and what the served one does."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.errors import InputError
from foretaste.data.histories import Histories
from foretaste.data.splits import Cases, leave_one_out
from foretaste.data.tables import COLUMNS, empty
from foretaste.serving.rules import select
from foretaste.serving.rules.recipes import Material, fit, rule_names, start_of
from foretaste.serving.rules.select import best_untrained, choose, sample

WORDS = ("red mug", "red plate", "blue mug", "green lamp", "old lamp", "blue plate")
TEXTS = {key: list(WORDS) for key in ("title", "title+brand", "title+brand+categories")}
HISTORIES = Histories.from_lists([[0, 1, 2], [0, 1, 3], [0, 1], [4, 3, 3], [2]])


def shop(lists: list[list[int]], titles: tuple[str | None, ...] = WORDS) -> Dataset:
    """A data set of these sequences, one event a second."""
    items = [{"item_id": f"i{row}", "title": title} for row, title in enumerate(titles)]
    events = [
        {"user_id": f"u{user:05}", "item_id": f"i{row}", "timestamp": at, "event": "view",
         "position": at}
        for user, rows in enumerate(lists)
        for at, row in enumerate(rows)
    ]  # fmt: skip
    return Dataset(
        pl.DataFrame(items, schema=COLUMNS["items"]),
        pl.DataFrame(events, schema=COLUMNS["interactions"]),
        empty("users"),
        empty("environment"),
        DatasetInfo(name="shop", order_only=True),
    )


def unit(items: int) -> np.ndarray:
    vectors = np.random.default_rng(0).standard_normal((items, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_names_that_tables_need_are_there() -> None:
    needed = "popularity bm25_last embedding_last item_cosine item_cosine_bm25 transitions"
    assert {*needed.split(), "transitions_bm25"} <= set(rule_names(vectors=True))
    assert "embedding_last" not in rule_names(vectors=False)


@pytest.mark.parametrize("name", rule_names(vectors=True))
def test_each_rule_scores_all_items(name: str) -> None:
    material = Material(HISTORIES, TEXTS, unit(6))
    rule = fit(name, start_of(name), material)
    scores = rule.scores(Histories.from_lists([[0], [], [5, 1]]))
    assert rule.name == name
    assert scores.shape == (3, 6)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert scores[1].tolist() == [3, 3, 2, 3, 1, 0]  # an empty history: popularity


@pytest.mark.parametrize("name", rule_names(vectors=True))
def test_no_rule_reads_the_order_of_the_catalogue(name: str) -> None:
    order = np.array([3, 0, 5, 1, 4, 2])  # new row of each old row
    texts = {key: [words[old] for old in np.argsort(order)] for key, words in TEXTS.items()}
    moved = Histories(order[HISTORIES.rows].astype(np.int32), HISTORIES.offsets)
    asked = [[0, 1], [3], [5, 4, 2]]
    one = fit(name, start_of(name) | {"kin": 0.5}, Material(HISTORIES, TEXTS, unit(6)))
    other = fit(
        name, start_of(name) | {"kin": 0.5}, Material(moved, texts, unit(6)[np.argsort(order)])
    )
    there = other.scores(Histories.from_lists([[int(order[row]) for row in h] for h in asked]))
    np.testing.assert_allclose(
        there[:, order], one.scores(Histories.from_lists(asked)), rtol=1e-4, atol=1e-5
    )


def test_each_rule_by_hand() -> None:
    material = Material(HISTORIES, TEXTS)
    after_0 = Histories.from_lists([[0]])
    moves = fit("transitions", start_of("transitions"), material).scores(after_0)[0]
    assert moves.argmax() == 1
    alike = fit("bm25_last", start_of("bm25_last"), material).scores(after_0)[0]
    assert set(np.flatnonzero(alike)) == {1, 2}  # red plate, blue mug
    both = fit("item_cosine", start_of("item_cosine"), material).scores(after_0)[0]
    assert both[1] == pytest.approx(1)  # 3 / sqrt(3 × 3)
    assert both[2] == pytest.approx(1 / np.sqrt(3 * 2))


def test_an_item_that_nobody_took_is_found_by_its_words() -> None:
    rule = fit("transitions_bm25", start_of("transitions_bm25"), Material(HISTORIES, TEXTS))
    scores = rule.scores(Histories.from_lists([[2]]))[0]
    assert scores[5] > np.median(scores)  # blue plate


def test_embedding_last_says_what_it_lacks() -> None:
    with pytest.raises(InputError, match="vectors"):
        fit("embedding_last", start_of("embedding_last"), Material(HISTORIES, TEXTS))


def test_choice_finds_the_rule_that_made_the_data() -> None:
    cycle = [[(start + step) % 6 for step in range(4)] for start in range(6)] * 5
    dataset = shop(cycle)
    split = leave_one_out(dataset)
    choice = choose(split.validation, Material(split.train, TEXTS))
    assert choice.cases == 30
    assert set(choice.constants) == set(rule_names(vectors=False))
    assert choice.validation["transitions"] == pytest.approx(1)
    assert choice.validation[choice.best] == max(choice.validation.values())
    assert choice.validation["popularity"] < 0.8


def test_the_best_rule_is_kept_and_found_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = shop([[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]])
    first = best_untrained(dataset)
    saved = list(home.rglob("rules/**/*.json"))
    assert len(saved) == 1

    def searched_again(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(select, "choose", searched_again)
    second = best_untrained(dataset)
    asked = Histories.from_lists([[0, 1], []])
    assert second.name == first.name
    assert second.constants == first.constants
    np.testing.assert_array_equal(second.scores(asked), first.scores(asked))
    best_untrained(shop([[0, 1, 2, 3], [1, 2, 3, 0], [2, 3, 4, 5]]))  # only a test item differs
    with pytest.raises(AssertionError):
        best_untrained(shop([[0, 1, 2, 3], [1, 2, 5, 4], [2, 3, 4, 5]]))


@pytest.mark.parametrize(
    ("lists", "titles"),
    [
        ([[0]], WORDS),
        ([[0, 1, 2]], (None,) * 6),
        ([[0, 0, 0, 0], [1]], WORDS),
        ([[0, 1, 0], [1, 0, 1]], ("mug", "mug")),
        ([[0, 0, 0]], (None,)),
    ],
)
def test_the_smallest_shops_are_served(
    home: Path, lists: list[list[int]], titles: tuple[str | None, ...]
) -> None:
    rule = best_untrained(shop(lists, titles))
    scores = rule.scores(Histories.from_lists([[0], []]))
    assert scores.shape == (2, len(titles))
    assert np.isfinite(scores).all()


def test_one_user_is_answered_at_once(home: Path) -> None:
    draw = np.random.default_rng(0)
    titles = tuple(f"thing {number % 97} of kind {number % 31}" for number in range(2000))
    rule = fit(
        "untrained_mix",
        start_of("untrained_mix") | {"kin": 0.5},
        Material(
            Histories.from_lists(draw.integers(0, 2000, (3000, 8)).tolist()),
            dict.fromkeys(TEXTS, titles),
        ),
    )
    asked = Histories.from_lists([draw.integers(0, 2000, 50).tolist()])
    rule.scores(asked)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        rule.scores(asked)
        times.append(time.perf_counter() - start)
    assert np.median(times) < 0.02


def test_repetitions_do_not_decide_the_choice(home: Path) -> None:
    again = [[0, 1, 0, 5], [1, 2, 2, 4]]  # the third, asked in validation, is a repetition
    split = leave_one_out(shop([*again, [3, 4, 2, 5]]))
    found = select.chosen(shop(again), split, Material(split.train, TEXTS))
    assert len(split.validation) == 3
    assert found.cases == 1


def test_a_sample_keeps_cases_whole() -> None:
    histories = Histories.from_lists([[0], [1, 1], [2, 2, 2], []])
    cases = Cases(np.arange(4), histories, np.arange(4, dtype=np.int32))
    part = sample(cases, 2, seed=0)
    assert len(part) == 2
    for user, history, target in zip(part.users, part.histories, part.targets, strict=True):
        assert history.tolist() == histories[user].tolist()
        assert target == user
    assert sample(cases, 4, seed=0) is cases


def test_kin_lend_their_followers() -> None:
    texts = {key: ["red mug", "lamp", "red mug", "plate"] for key in TEXTS}
    material = Material(Histories.from_lists([[0, 1], [0, 1]]), texts)
    alone, lent = (
        fit("untrained_mix", start_of("untrained_mix") | {"kin": kin, "popular": 0.0}, material)
        for kin in (0.0, 1.0)
    )
    asked = Histories.from_lists([[2]])  # nobody went on from the second red mug
    assert alone.scores(asked)[0, 1] == alone.scores(asked)[0, 3]
    assert lent.scores(asked)[0, 1] > lent.scores(asked)[0, 3]
