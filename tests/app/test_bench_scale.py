"""`foretaste bench scale`: how data is made larger, the fit by hand, and the command on a tiny shop."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from foretaste.app.benching import scale
from foretaste.app.benching.replicate import SHIFT_DAYS, base_of, replicate
from foretaste.app.cli import cli
from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.store import save_dataset
from foretaste.data.tables import COLUMNS, ORDER, TABLES, validate

FIRST = 1_600_000_000


def shop(order_only: bool = False) -> Dataset:
    """Three people, twelve items, six events each, two of them at the same second."""
    items = [
        {"item_id": f"i{n}", "title": f"Thing {n}", "categories": [], "attributes": []}
        for n in range(12)
    ]
    log = [
        {
            "user_id": f"u{user}",
            "item_id": f"i{(5 * user + n) % 12}",
            "timestamp": n if order_only else FIRST + 60 * max(n, 1),
            "event": "view",
            "position": 6 * user + n,
        }
        for user in range(3)
        for n in range(6)
    ]
    given: dict[str, list[dict[str, Any]]] = {"items": items, "interactions": log}
    given |= {"users": [{"user_id": f"u{n}", "attributes": []} for n in range(3)]}
    tables = {name: pl.DataFrame(given.get(name, []), schema=COLUMNS[name]) for name in TABLES}
    return Dataset(**tables, info=DatasetInfo(name="shop", order_only=order_only))


@pytest.mark.parametrize("order_only", [False, True])
def test_three_times_the_shop(order_only: bool) -> None:
    base = shop(order_only)
    large = replicate(base, 3, seed=1)
    for table in ("items", "interactions", "users"):
        assert validate(table, getattr(large, table)).height == 3 * getattr(base, table).height
    assert large.items.head(12).equals(base.items)  # copy 0 is the real thing
    assert large.interactions.head(18).equals(base.interactions)
    assert large.items["title"].n_unique() == 36
    known = set(large.items["item_id"])
    assert set(large.interactions["item_id"]) <= known
    u1 = base.interactions.filter(pl.col("user_id") == "u1")
    copy = large.interactions.filter(pl.col("user_id") == "u1~2")
    assert copy["item_id"].str.replace("~.*", "").to_list() == u1["item_id"].to_list()
    moved = (copy["timestamp"] - u1["timestamp"]).unique().to_list()
    assert len(moved) == 1  # moved as a whole, so order and ties stay
    assert abs(moved[0]) <= (0 if order_only else SHIFT_DAYS * 86_400)


def test_the_same_seed_makes_the_same_data_and_another_does_not() -> None:
    one, two, other = (replicate(shop(), 4, seed=seed).interactions for seed in (0, 0, 1))
    assert one.equals(two)
    assert not one.equals(other)


def test_most_events_stay_in_their_copy() -> None:
    events = replicate(shop(), 40).interactions.filter(pl.col("user_id").str.contains("~"))
    own = (
        events["user_id"].str.split("~").list.last() == events["item_id"].str.split("~").list.last()
    )
    assert 0.72 < own.mean() < 0.90  # type: ignore[operator]


def test_a_smaller_base() -> None:
    base = base_of(shop(), users=2, items=10)
    assert base.items.height == 10
    assert base.interactions["user_id"].n_unique() == 2
    assert set(base.interactions["item_id"]) <= set(base.items["item_id"])
    assert base_of(shop(), 2, 10).interactions.equals(base.interactions)
    with pytest.raises(InputError, match="3 people with events and 4 were asked for"):
        base_of(shop(), users=4)


def test_the_fit_by_hand() -> None:
    """8 s at 10, 16 s at 40, 32 s at 160: each quadrupling doubles, so the exponent is one half."""
    rows = [
        {"n": 10, "processor_s": 8.0, "peak_mb": 100},
        {"n": 40, "processor_s": 16.0, "peak_mb": 100},
        {"n": 160, "processor_s": 32.0, "peak_mb": 220},
    ]
    found = scale.fit(rows, "n")
    assert found["exponent"] == found["last_exponent"] == 0.5
    assert found["per_million_s"] == pytest.approx(16 / 120 * 1e6, rel=1e-6)
    assert found["per_million_mb"] == pytest.approx(1e6)
    assert scale.fit(rows[:1], "n") == {}


@given(st.floats(0.2, 3.0), st.floats(0.1, 100.0))
def test_the_fit_finds_the_power_behind_exact_points(power: float, factor: float) -> None:
    rows = [{"n": n, "processor_s": factor * n**power, "peak_mb": 1} for n in (1, 4, 16)]
    found = scale.fit(rows, "n")
    assert math.isclose(found["exponent"], power, abs_tol=1e-3)
    assert math.isclose(found["last_exponent"], power, abs_tol=1e-3)


def test_the_command_measures_and_goes_on(home: Path, tmp_path: Path) -> None:
    """The import of a shop at two sizes, as a user runs it; the second call keeps the first point."""
    save_dataset(shop())
    (home / "models").mkdir(exist_ok=True)
    file = tmp_path / "scale.json"
    call = ["bench", "scale", "--dataset", "shop", "--only", "import", "--json", str(file)]
    assert CliRunner().invoke(cli, [*call, "--sizes", "1"]).exit_code == 0
    first = json.loads(file.read_text())["parts"]["import"]["points"]
    assert CliRunner().invoke(cli, [*call, "--sizes", "1,4", "--resume"]).exit_code == 0
    part = json.loads(file.read_text())["parts"]["import"]
    assert part["points"][0] == first[0]
    assert [point["interactions"] for point in part["points"]] == [18, 72]
    assert [point["items"] for point in part["points"]] == [12, 48]
    assert all(point["processor_s"] > 0 and point["peak_mb"] > 30 for point in part["points"])
    assert not (home / "datasets" / scale.NAME).exists()  # the home of the user is left alone
    with pytest.raises(InputError, match="other options"):
        CliRunner().invoke(cli, [*call, "--seed", "7", "--resume"], catch_exceptions=False)


def test_a_command_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(ForetasteError, match="exit code 2"):
        scale._measure([sys.executable, "-c", "raise SystemExit(2)"], tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "training"], "--only expects parts of import"),
        (["--sizes", "4,1"], "each larger than the one before"),
        (["--sizes", "1,x"], "expects numbers with commas"),
        (["--resume"], "give it as --json FILE"),
    ],
)
def test_wrong_calls_are_one_sentence(home: Path, options: list[str], said: str) -> None:
    save_dataset(shop())
    with pytest.raises(InputError, match=said):
        CliRunner().invoke(
            cli, ["bench", "scale", "--dataset", "shop", *options], catch_exceptions=False
        )


def test_the_order_of_a_larger_shop_is_the_stored_one() -> None:
    events = replicate(shop(), 5).interactions
    per_user = events.group_by("user_id", maintain_order=True).agg(pl.col("position").is_sorted())
    assert per_user["position"].all()
    assert set(ORDER) <= set(events.columns)
