"""Splits: checked by hand, held to their laws, and refused when the future leaks in."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.errors import InputError, LeakageError
from foretaste.data.histories import Histories
from foretaste.data.importing import find_files, import_dataset
from foretaste.data.splits import Cases, Split, check_leakage, leave_one_out, temporal
from foretaste.data.store import load_dataset
from foretaste.data.tables import COLUMNS, ORDER, empty

Row = tuple[str, str, int]
DAY = 86_400


def dataset(rows: list[Row], order_only: bool = False, **tables: pl.DataFrame) -> Dataset:
    """A data set of (user, item, time); ties in the order given."""
    log = [
        {"user_id": user, "item_id": item, "timestamp": at, "event": "view", "position": place}
        for place, (user, item, at) in enumerate(rows)
    ]
    ids = [{"item_id": one} for one in sorted({item for _, item, _ in rows})]
    return Dataset(
        items=tables.get("items", pl.DataFrame(ids, schema=COLUMNS["items"])),
        interactions=pl.DataFrame(log, schema=COLUMNS["interactions"]).sort(ORDER),
        users=tables.get("users", empty("users")),
        environment=tables.get("environment", empty("environment")),
        info=DatasetInfo(name="hand", order_only=order_only),
    )


def lists(histories: Histories) -> list[list[int]]:
    return [one.tolist() for one in histories]


HAND = [
    *(("u", "a", 10), ("u", "b", 20), ("u", "c", 30), ("u", "a", 40)),
    *(("v", "b", 15), ("v", "c", 35)),
    *(("w", "c", 5), ("w", "b", 35), ("w", "a", 35)),
]


def test_leave_one_out_by_hand() -> None:
    split = leave_one_out(dataset(HAND))
    assert lists(split.train) == [[0, 1], [1, 2], [2]]
    assert lists(split.train_validation) == [[0, 1, 2], [1, 2], [2, 1]]
    assert split.validation.users.tolist() == split.test.users.tolist() == [0, 2]
    assert lists(split.validation.histories) == [[0, 1], [2]]
    assert split.validation.targets.tolist() == [2, 1]
    assert lists(split.test.histories) == [[0, 1, 2], [2, 1]]
    assert split.test.targets.tolist() == [0, 0]
    assert split.fitted_on("train") is split.train
    assert split.validation.unseen() is split.validation
    assert lists(split.test.unseen().histories) == [[2, 1]]  # u had a before
    assert split.test.unseen().users.tolist() == [2]


def test_temporal_by_hand() -> None:
    split = temporal(dataset(HAND), validation_start=20, test_start=35)
    assert lists(split.train) == [[0], [1], [2]]
    assert lists(split.train_validation) == [[0, 1, 2], [1], [2]]
    assert split.validation.users.tolist() == [0, 0]
    assert lists(split.validation.histories) == [[0], [0, 1]]
    assert split.test.users.tolist() == [0, 1, 2, 2]
    # w did two things at second 35: neither is a clue for the other
    assert lists(split.test.histories) == [[0, 1, 2], [1], [2], [2]]
    assert split.test.targets.tolist() == [0, 2, 1, 0]


def test_temporal_by_shares_puts_the_second_of_a_cut_after_it() -> None:
    split = temporal(dataset(HAND), fractions=(0.2, 0.4))
    # nine events at 5 10 15 20 30 35 35 35 40: cuts after 3.6 and 5.4 of them
    assert split.rule.startswith("Train before 1970-01-01 00:00:20")
    assert (len(split.validation), len(split.test)) == (2, 4)


def test_what_cannot_be_cut_is_one_sentence() -> None:
    hand = dataset(HAND)
    for wrong, words in [
        (lambda: temporal(dataset(HAND, order_only=True)), "no times"),
        (lambda: temporal(hand, 20), "both starts"),
        (lambda: temporal(hand, 1, 20), "one part is empty"),
        (lambda: temporal(hand, 35, 20), "one part is empty"),
        (lambda: temporal(hand, 20, 99), "one part is empty"),
        (lambda: temporal(hand, fractions=(0.5, 0.5)), "leave something to train"),
    ]:
        with pytest.raises(InputError, match=words):
            wrong()


ROWS = st.lists(
    st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcde"), st.integers(0, 30)),
    min_size=1,
    max_size=40,
)


@given(ROWS)
def test_leave_one_out_loses_and_invents_nothing(rows: list[Row]) -> None:
    data = dataset(rows)
    split = leave_one_out(data)
    for user, whole in enumerate(lists(data.histories)):
        cases = np.flatnonzero(split.test.users == user)
        assert len(cases) == (len(whole) >= 3)
        rest = lists(split.train)[user]
        for case in cases:
            rest = [*rest, int(split.validation.targets[case]), int(split.test.targets[case])]
        assert rest == whole


@settings(max_examples=60)
@given(ROWS, st.integers(1, 15), st.integers(16, 30))
def test_temporal_follows_its_definition(rows: list[Row], first: int, second: int) -> None:
    data = dataset(rows)
    try:
        split = temporal(data, first, second)
    except InputError:
        times = data.times
        parts = (times < first, (times >= first) & (times < second), times >= second)
        assert not all(part.any() for part in parts)
        return
    expected = sorted(
        (user, item, [i for u, i, t in sorted(rows, key=lambda r: r[2]) if u == user and t < at])
        for user, item, at in rows
        if at >= second
    )
    ids = data.item_ids
    found = sorted(
        (data.user_ids[user], ids[target], [ids[row] for row in history])
        for user, target, history in zip(
            split.test.users, split.test.targets, split.test.histories, strict=True
        )
    )
    assert found == expected
    for user, history in zip(data.user_ids, lists(split.train), strict=True):
        assert len(history) == sum(u == user and t < first for u, _, t in rows)


def leaking(split: Split, part: str, histories: list[list[int]]) -> Split:
    cases = getattr(split, part)
    if isinstance(cases, Cases):
        return replace(split, **{part: replace(cases, histories=Histories.from_lists(histories))})
    return replace(split, **{part: Histories.from_lists(histories)})


@pytest.mark.parametrize(
    ("part", "histories", "words"),
    [
        ("train", [[0, 1, 2], [1, 2], [2]], "inside what is trained on"),
        ("train_validation", [[0, 1, 2, 0], [1, 2], [2, 1]], "inside what is trained on"),
        ("train", [[0, 2], [1, 2], [2]], "not the beginning"),
        ("train", [[0, 1], [1, 2]], "longer"),
        ("test", [[0, 1, 2, 0], [2, 1]], "holds all events"),
        ("test", [[0, 1, 0], [2, 1]], "not the beginning"),
        ("validation", [[0], [2]], "inside what is trained on"),
    ],
)
def test_the_future_in_a_split_is_found(part: str, histories: list[list[int]], words: str) -> None:
    data = dataset(HAND)
    split = leave_one_out(data)
    check_leakage(data, split)
    with pytest.raises(LeakageError, match=words):
        check_leakage(data, leaking(split, part, histories))


def test_a_tied_event_in_a_temporal_history_is_found() -> None:
    data = dataset(HAND)
    split = temporal(data, 20, 35)
    with pytest.raises(LeakageError, match="its target's own time"):
        check_leakage(data, leaking(split, "test", [[0, 1, 2], [1], [2], [2, 1]]))
    # v is asked about second 15, when u has been trained on up to second 20
    asked = Cases(np.array([1]), Histories.from_lists([[]]), np.array([1], dtype=np.int32))
    late = replace(leaking(split, "train", [[0, 1], [], [2]]), validation=asked)
    with pytest.raises(LeakageError, match="as late as"):
        check_leakage(data, late)


def known(key: str, one: str, when: str) -> pl.DataFrame:
    row = {key: one, "attributes": [{"name": "known_at", "value": when}]}
    return pl.DataFrame([row], schema=COLUMNS["users" if key == "user_id" else "items"])


def test_a_future_attribute_is_found() -> None:
    rows = [(user, item, at * DAY) for user, item, at in HAND]
    early, late = "1970-02-01", "1970-02-20"  # days 31 and 50; the tests are on days 35 and 40
    leave_one_out(dataset(rows, users=known("user_id", "u", early)))
    with pytest.raises(LeakageError, match=r"user_id 'u' are dated 1970-02-20"):
        leave_one_out(dataset(rows, users=known("user_id", "u", late)))
    leave_one_out(dataset(rows, users=known("user_id", "v", late)))  # v is never asked about
    items = pl.concat([known("item_id", "a", late), known("item_id", "b", early)])
    items = pl.concat([items, known("item_id", "c", early)])
    with pytest.raises(LeakageError, match="item_id 'a'"):
        temporal(dataset(rows, items=items), 20 * DAY, 35 * DAY)


def test_a_trend_across_the_cut_is_found() -> None:
    rows = [(user, item, at * DAY) for user, item, at in HAND]

    def around(kind: str, start: int, end: int) -> pl.DataFrame:
        row = {"start": start * DAY, "end": end * DAY, "kind": kind, "text": "mugs sell"}
        return pl.DataFrame([row], schema=COLUMNS["environment"])

    for kind, start, end in [("holiday", 30, 50), ("trend", 20, 35), ("weather", 34, 35)]:
        temporal(dataset(rows, environment=around(kind, start, end)), 20 * DAY, 35 * DAY)
    with pytest.raises(LeakageError, match="'mugs sell' begins before the test"):
        temporal(dataset(rows, environment=around("trend", 30, 50)), 20 * DAY, 35 * DAY)


@pytest.mark.shared
def test_beauty_is_split_within_a_second(shared_data: Path, home: Path) -> None:
    import_dataset("amazon-beauty", find_files(shared_data / "amazon-beauty"))
    data = load_dataset("amazon-beauty")
    start = time.perf_counter()
    split = leave_one_out(data)
    assert time.perf_counter() - start < 1
    assert len(split.test) == len(split.validation) == 22_363
    assert len(split.train.rows) == 198_502 - 2 * 22_363
    ids = np.array(data.item_ids)
    last = split.test.histories
    before = np.array([one[-1] for one in last])
    assert int((ids[split.test.targets] < ids[before]).sum()) == 6_432  # against catalogue order
