"""Figures of a run and of two: by hand, then laws."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretaste.data.errors import InputError
from foretaste.judge.batch.saved import PairRecord, Record, Spent
from foretaste.judge.objects import Fault, Look, Mark, Quote, Tier, Verdict
from foretaste.judge.report.compare import compare_runs, holm
from foretaste.judge.report.figures import figures, pair_figures, worst

MADE_OF = {"judge": "agent", "rubric_hash": "r"}


def record(
    name: str, score: float | None, tier: Tier | None = "A", group: str = "", **more: str
) -> Record:
    mark: Mark = "negative" if tier == "B" else "acceptable"
    evidence = (Quote(text="x y z", found="answer"), Quote(text="prize", found=None))
    return Record(
        id=name,
        group=group,
        tier=tier,
        score=score,
        segments=more,
        verdicts=(Verdict(dimension="fit", mark=mark, evidence=evidence),),
        made_of=MADE_OF,
        spent=Spent(prompt=100, completion=10, calls=1, ms=20),
    )


UNREAD = Record(
    id="u",
    faults=(Fault(dimension="fit", reason="noise"),),
    made_of=MADE_OF,
    spent=Spent(prompt=200, completion=30, calls=2, retries=2, ms=40),
)


def test_figures_by_hand() -> None:
    found = figures([record("1", 0.5), record("2", 0.0, "B"), record("3", 1.0, "S"), UNREAD])
    assert (found["cases"], found["unreadable"]) == (4, 1)
    assert found["tiers"] == {"S": 1, "A": 1, "B": 1}
    assert found["score"]["mean"] == 0.5
    assert found["dimensions"] == {"fit": {"negative": 1, "acceptable": 2, "positive": 0}}
    assert found["evidence"] == {"marks": 3, "without": 0, "quotes": 6, "unsupported": 3}
    cost = found["cost"]
    assert (cost["prompt"], cost["completion"], cost["calls"], cost["retries"]) == (500, 60, 5, 2)
    assert cost["ms"] == 25.0


def test_figures_of_nothing_read() -> None:
    found = figures([UNREAD])
    assert found["score"] == {"mean": None, "interval": None}
    assert found["tiers"] == {"S": 0, "A": 0, "B": 0}
    assert found["segments"] == {}


def test_segments_and_the_worst() -> None:
    run = [record("1", 0.5, country="NL"), record("2", 0.0, "B", country="DE"), UNREAD]
    found = figures(run)
    assert found["segments"]["country"]["DE"]["tiers"] == {"S": 0, "A": 0, "B": 1}
    assert found["segments"]["country"]["NL"]["n"] == 1
    assert [one.id for one in worst(run)] == ["2", "1"]


def test_a_group_is_drawn_as_a_whole() -> None:
    apart = figures([record(str(i), float(i % 2)) for i in range(40)])["score"]["interval"]
    whole = [record(str(i), float(i % 2), group=str(i % 2)) for i in range(40)]
    together = figures(whole)["score"]["interval"]
    assert together == [0.0, 1.0]  # two people only: all of one, or all of the other
    assert apart[1] - apart[0] < 0.4


def _pair(name: str, better: str, *looks: tuple[bool, str]) -> PairRecord:
    read = tuple(
        Look(swapped=swapped, better=side, points={"fit": side}) for swapped, side in looks
    )
    return PairRecord(id=name, better=better, score=0.5, looks=read, consistent=len(set(looks)) < 2)


def test_pair_figures_by_hand() -> None:
    found = pair_figures(
        [
            _pair("1", "first", (False, "first"), (True, "first")),
            _pair("2", "tie", (False, "first"), (True, "second")),
            _pair("3", "tie", (False, "tie"), (True, "tie")),
        ]
    )
    assert [found[side]["n"] for side in ("first", "tie", "second")] == [1, 2, 0]
    position = found["position"]
    assert position["shown_first"] == 0.75  # 1: once of two; 2: twice of two
    assert position["contradicted"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["points"]["fit"] == {"first": 3, "tie": 2, "second": 1}


def test_wins_ties_and_losses_by_hand() -> None:
    first = [record(str(i), s) for i, s in enumerate([1.0, 1.0, 0.5, 0.0, 0.5])]
    second = [record(str(i), s) for i, s in enumerate([0.0, 0.5, 0.5, 1.0, 0.4])]
    found = compare_runs([*first, UNREAD], second)
    total = found["total"]
    assert found["paired_by"] == "id"
    assert found["unreadable"] == {"first": 1, "second": 0}
    assert [total[name]["n"] for name in ("win", "tie", "loss")] == [3, 1, 1]
    assert total["gain"]["mean"] == pytest.approx((1 + 0.5 - 1 + 0.1) / 5, abs=1e-4)
    assert total["p"] == 0.625  # two-sided, 3 of 4
    assert compare_runs(first, second, margin=0.2)["total"]["tie"]["n"] == 2


def test_other_answers_to_the_same_people_are_paired_by_group() -> None:
    first = [record("a/1", 1.0, group="a"), record("a/2", 0.5, group="a")]
    second = [record("a/7", 0.5, group="a"), record("b/7", 0.5, group="b")]
    found = compare_runs(first, second)
    assert (found["paired_by"], found["total"]["n"]) == ("group", 1)
    assert found["total"]["gain"]["mean"] == 0.25
    assert found["unpaired"] == {"first": 0, "second": 1}


def test_small_segments_say_nothing_and_the_others_are_corrected() -> None:
    first = [record(str(i), 1.0, country="NL" if i < 8 else "DE") for i in range(10)]
    second = [record(str(i), 0.5, country="NL" if i < 8 else "DE") for i in range(10)]
    found = compare_runs(first, second)["segments"]
    assert list(found["country"]) == ["NL"]
    assert found["country"]["NL"]["p_holm"] == pytest.approx(2 * 0.5**8, abs=1e-6)


def test_runs_that_cannot_be_compared() -> None:
    other = record("1", 1.0).model_copy(update={"made_of": {"rubric_hash": "other"}})
    with pytest.raises(InputError, match="different rubrics"):
        compare_runs([record("1", 1.0)], [other])
    with pytest.raises(InputError, match="in common"):
        compare_runs([record("1", 1.0)], [record("2", 1.0)])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_raises_each_p_and_keeps_their_order(ps: list[float]) -> None:
    corrected = holm(ps)
    assert all(after >= min(before, 1) - 1e-6 for before, after in zip(ps, corrected, strict=True))
    assert max(corrected) <= 1
    by_p = [after for _, after in sorted(zip(ps, corrected, strict=True))]
    assert by_p == sorted(by_p)
    assert corrected[ps.index(min(ps))] == pytest.approx(min(1, min(ps) * len(ps)), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_comparing_the_other_way_round_turns_everything_round(
    scores: list[tuple[float, float]],
) -> None:
    first = [record(str(i), one) for i, (one, _) in enumerate(scores)]
    second = [record(str(i), other) for i, (_, other) in enumerate(scores)]
    one, other = compare_runs(first, second)["total"], compare_runs(second, first)["total"]
    assert one["win"]["n"] == other["loss"]["n"]
    assert one["p"] == other["p"]
    assert one["gain"]["mean"] == pytest.approx(-other["gain"]["mean"], abs=2e-4)
