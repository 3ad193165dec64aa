"""`evaluate_ranking` with scorers whose figures are known beforehand."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest

from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.histories import Histories
from foretaste.data.splits import Cases, leave_one_out, temporal
from foretaste.data.tables import COLUMNS, empty
from foretaste.judge.ranking.evaluate import Protocol, evaluate_ranking
from foretaste.judge.ranking.segments import against_order, segments

QUICK = Protocol(resamples=100)
DAY = 86_400


def shop(lists: list[list[int]], items: int, times: list[list[int]] | None = None) -> Dataset:
    """A data set of these sequences; ids sort against rows: row 0 has the largest."""
    events = [
        {"user_id": f"u{user:03}", "item_id": f"i{items - row:04}", "event": "view",
         "timestamp": times[user][at] if times else at, "position": at}
        for user, rows in enumerate(lists)
        for at, row in enumerate(rows)
    ]  # fmt: skip
    catalogue = [{"item_id": f"i{items - row:04}"} for row in range(items)]
    return Dataset(
        pl.DataFrame(catalogue, schema=COLUMNS["items"]),
        pl.DataFrame(events, schema=COLUMNS["interactions"]),
        empty("users"),
        empty("environment"),
        DatasetInfo(name="shop", order_only=times is None),
    )


@dataclass(frozen=True)
class Fixed:
    """Scores one item after another, the same for everybody."""

    values: tuple[float, ...]
    name: str = "fixed"

    def scores(self, histories: Histories) -> np.ndarray:
        return np.tile(np.array(self.values, dtype=np.float32), (len(histories), 1))


def ladder(items: int, name: str = "fixed") -> Fixed:
    """Row 0 is best, then row 1, …"""
    return Fixed(tuple(float(-row) for row in range(items)), name)


def test_figures_by_hand() -> None:
    dataset = shop([[19, 18, 0], [19, 18, 2], [19, 18, 7], [17, 18, 15]], 20)
    report = evaluate_ranking(dataset, leave_one_out(dataset), [ladder(20)], QUICK)
    figures = report["methods"]["fixed"]
    assert figures["r@5"] == 0.5
    assert figures["r@10"] == 0.75
    assert figures["n@5"] == pytest.approx((1 + 1 / 2) / 4)
    assert figures["n@10"] == pytest.approx((1 + 1 / 2 + 1 / np.log2(9)) / 4)
    assert figures["mrr"] == pytest.approx((1 + 1 / 3 + 1 / 8 + 1 / 16) / 4)
    assert figures["coverage"] == 0.5
    assert figures["diversity"] is None
    assert (report["users"], report["cases"], report["items"]) == (4, 4, 20)
    json.dumps(report, allow_nan=False)


def test_history_dropped_or_kept() -> None:
    dataset = shop([[0, 1, 2]], 20)
    split = leave_one_out(dataset)
    dropped = evaluate_ranking(dataset, split, [ladder(20)], QUICK)
    kept = evaluate_ranking(dataset, split, [ladder(20)], replace(QUICK, history="kept"))
    assert dropped["methods"]["fixed"]["mrr"] == 1
    assert kept["methods"]["fixed"]["mrr"] == pytest.approx(1 / 3)


def test_a_repeated_target_stays_a_candidate() -> None:
    dataset = shop([[0, 1, 0]], 20)
    report = evaluate_ranking(dataset, leave_one_out(dataset), [ladder(20)], QUICK)
    assert report["methods"]["fixed"]["mrr"] == 1


def test_a_scorer_that_knows_nothing_gets_what_chance_gives() -> None:
    dataset = shop([[0, 1, 2], [3, 4, 5], [6, 7, 8]], 42)
    constant = Fixed((1.0,) * 42)
    report = evaluate_ranking(dataset, leave_one_out(dataset), [constant], QUICK)
    assert report["methods"]["fixed"]["r@10"] == pytest.approx(10 / 40)


def test_against_order_follows_the_ids_not_the_rows() -> None:
    cases = Cases(
        np.arange(3), Histories.from_lists([[0], [1], []]), np.array([1, 0, 0], dtype=np.int32)
    )
    assert against_order(["b", "a"], cases).tolist() == [True, False, False]
    dataset = shop([[0, 1, 2], [5, 4, 3]], 6)  # ids fall along the first, rise along the second
    report = evaluate_ranking(dataset, leave_one_out(dataset), [ladder(6)], QUICK)
    against = report["methods"]["fixed"]["against_order"]
    assert against["users"] == 1
    assert against["r@10"] == 1


def test_segments_by_hand() -> None:
    dataset = shop(
        [[0, 0, 0, 1, 0], [1, 0, 2], [1, 0, 3]], 5, [[0, 1, 2, 3, 2 * DAY], [0, 1, 2], [0, 1, DAY]]
    )
    split = leave_one_out(dataset)  # fitted on 0 0 0 | 1 | 1
    parts = segments(dataset, split.test, split.train)
    assert parts["head"].tolist() == [True, False, False]
    assert parts["cold"].tolist() == [False, True, True]
    assert not parts["tail"].any()
    assert parts["new_day"].tolist() == [True, False, True]
    assert "new_day" not in segments(
        shop([[0, 1, 2]], 3), split.test.take(np.array([0])), split.train
    )


def test_pairs_compare_with_the_best() -> None:
    lists = [[19, 18, row % 12] for row in range(30)]
    dataset = shop(lists, 20)
    bad = Fixed(tuple(float(row) for row in range(20)), "upside-down")
    methods = [bad, ladder(20, "right")]
    report = evaluate_ranking(dataset, leave_one_out(dataset), methods, QUICK, best="right")
    pair = report["pairs"]["right-upside-down"]
    assert pair["metric"] == "n@10"
    assert 0 < pair["low"] <= pair["delta"] <= pair["high"]
    assert list(report["pairs"]) == ["right-upside-down"]


def test_same_seed_same_report_and_a_sample_of_users() -> None:
    draw = np.random.default_rng(0)
    dataset = shop(draw.integers(0, 30, (40, 4)).tolist(), 30)
    split = leave_one_out(dataset)

    def figures(protocol: Protocol) -> dict:
        report = evaluate_ranking(dataset, split, [Fixed((0.0,) * 30)], protocol)
        report["methods"]["fixed"].pop("seconds")
        return report

    assert figures(QUICK) == figures(QUICK)
    part = figures(replace(QUICK, users=10))
    assert part["users"] == part["cases"] == 10


def test_temporal_cases_count_and_cluster_by_user() -> None:
    times = [[0, 10, 20, 21], [0, 11, 22, 23]]
    dataset = shop([[0, 1, 2, 3], [3, 2, 1, 0]], 4, times)
    split = temporal(dataset, 10, 20)
    report = evaluate_ranking(dataset, split, [ladder(4)], QUICK)
    assert (report["users"], report["cases"]) == (2, 4)


def test_faults_of_callers_and_scorers_are_told() -> None:
    dataset = shop([[0, 1, 2]], 5)
    split = leave_one_out(dataset)
    with pytest.raises(InputError, match="different names"):
        evaluate_ranking(dataset, split, [ladder(5), ladder(5)], QUICK)
    with pytest.raises(InputError, match="different names"):
        evaluate_ranking(dataset, split, [], QUICK)
    with pytest.raises(ForetasteError, match="should score"):
        evaluate_ranking(dataset, split, [ladder(4)], QUICK)
    with pytest.raises(ForetasteError, match="not numbers"):
        evaluate_ranking(dataset, split, [Fixed((float("nan"),) * 5)], QUICK)
    short = shop([[0, 1]], 5)
    with pytest.raises(InputError, match="Nobody"):
        evaluate_ranking(short, leave_one_out(short), [ladder(5)], QUICK)
