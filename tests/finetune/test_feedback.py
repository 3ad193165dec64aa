"""Feedback without its confounders: by hand, in a small world whose truth is known, and as a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from foretaste.agents.ranking.chance import exchanged
from foretaste.app.cli import cli
from foretaste.data.errors import InputError
from foretaste.data.feedback import SHOWN_COLUMNS
from foretaste.data.ledger import Ledger, ledger_path
from foretaste.finetune.feedback.config import FeedbackConfig
from foretaste.finetune.feedback.confounders import (
    Place,
    popularity_slope,
    position_effects,
    weights,
)
from foretaste.finetune.feedback.preferences import Corrected, corrected, preferences
from foretaste.finetune.reward.data import Group, read_groups, write_groups
from foretaste.finetune.reward.loss import listwise

# A small world. Two kinds of people, each loving its own kind of item twice as much as the other;
# two hits that are loved thrice as often by anybody for being known, and a ranking that puts them on top.
ITEMS = {"hit-a": 99, "hit-b": 99, "rare-a": 3, "rare-b": 3}  # interactions before
SLOPE = float(np.log(3) / np.log(100 / 4))
LOOKED = (1.0, 0.5, 0.4, 0.2)
PAGES = 6_000


def _taste(person: str, item_id: str) -> float:
    return 0.3 if item_id.endswith(person) else 0.15


def _love(person: str, item_id: str, place: int) -> float:
    known = ((1 + ITEMS[item_id]) / 100) ** SLOPE * 3
    return LOOKED[place] * known * _taste(person, item_id)


def _log(swap: float, pages: int = PAGES) -> pl.DataFrame:
    """Pages of the small world, as `loved_table` would give them."""
    draw, rows = np.random.default_rng(0), []
    names = list(ITEMS)
    for number in range(pages):
        person = "ab"[number % 2]
        order, chances = exchanged(4, 4, swap, draw)
        for place, (item, at) in enumerate(zip(order, chances, strict=True)):
            reward = float(draw.random() < _love(person, names[item], place))
            told = [{"item_id": names[one], "chance": chance} for one, chance in at.items()]
            known = {"request_id": f"r{number}", "user_id": person, "at": float(number)}
            known |= {"position": place + 1, "item_id": names[item], "chances": told}
            rows.append(dict.fromkeys(SHOWN_COLUMNS) | known | {"reward": reward, "gate": None})
    schema = SHOWN_COLUMNS | {"reward": pl.Float64(), "gate": pl.String()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _preferred(log: Corrected, way: np.ndarray) -> dict[tuple[str, str], float]:
    """(person, item) → mean love a page, in some way of counting it."""
    found: dict[tuple[str, str], float] = {}
    for row, worth in zip(log.rows, way, strict=True):
        key = row["user_id"], row["item_id"]
        found[key] = found.get(key, 0.0) + 2 * worth / PAGES
    return found


def test_the_naive_count_prefers_hits_at_the_top_and_the_corrected_one_what_people_love() -> None:
    log = corrected(_log(0.4), ITEMS, FeedbackConfig(most=1e9))
    counted = np.array([row["reward"] for row in log.rows])
    naive, free = _preferred(log, counted), _preferred(log, log.weights)
    for person, other in ("ab", "ba"):
        own, foreign = (person, f"rare-{person}"), (person, f"hit-{other}")
        assert naive[foreign] > 1.5 * naive[own], "the naive count is wrong"
        assert free[own] > 1.4 * free[foreign], "the truth is 2"
        assert free[own] / free[foreign] == pytest.approx(2, rel=0.3)
    assert log.positions.effects == pytest.approx(LOOKED, rel=0.2)
    assert log.slope == pytest.approx(SLOPE, rel=0.2)
    drift = log.drift()
    assert drift["counted"]["log_popularity"] > drift["weighted"]["log_popularity"] + 0.3
    assert drift["counted"]["place"] < drift["weighted"]["place"] - 0.3


def test_a_log_without_chance_says_so_and_counts_places_as_alike() -> None:
    log = corrected(_log(0.0, 10), ITEMS, FeedbackConfig())
    assert log.positions.by_chance == 0
    assert log.positions.effects.tolist() == [1, 1, 1, 1]


def test_places_by_hand() -> None:
    either = {"a": 0.8, "b": 0.2}
    pages = [[Place("a", 1.0, either), Place("b", 0.0, {"a": 0.2, "b": 0.8})]] * 8
    pages += [[Place("b", 1.0, either), Place("a", 1.0, {"a": 0.2, "b": 0.8})]] * 2
    # above: 8 of 8 over 0.8 and 2 of 2 over 0.2 = 20 of 20; below: 0 of 10, and 2 over 0.2 = 10 of 20
    assert position_effects(pages, 0.0).effects.tolist() == [1.0, 0.5]
    assert position_effects(pages, 0.0).by_chance == 20
    # fifteen more on either side at the mean of both, 30 of 40: 35 of 40 above, 25 of 40 below
    assert position_effects(pages, 15.0).effects[1] == pytest.approx(25 / 35)
    assert position_effects([], 1.0).effects.tolist() == [1.0]


def test_popularity_by_hand() -> None:
    popularity = np.repeat([0.0, 1.0], 5_000)
    rewards = np.concatenate([np.repeat([1.0, 0.0], [500, 4_500]), np.repeat([1.0, 0.0], 2_500)])
    # 1 of 10 against 1 of 2, so five times as much
    found = popularity_slope(rewards, np.ones(10_000), popularity)
    assert found == pytest.approx(np.log(5), rel=0.05)
    # all of it is due to the place
    places = np.repeat([0.2, 1.0], 5_000)
    assert popularity_slope(rewards, places, popularity) == pytest.approx(0, abs=0.01)
    assert popularity_slope(np.zeros(3), np.ones(3), np.arange(3.0)) == 0
    assert popularity_slope(np.ones(3), np.ones(3), np.ones(3)) == 0


def test_weights_by_hand() -> None:
    rewards, places = np.array([1.0, 1.0, 0.0, 0.5]), np.array([1.0, 0.5, 0.25, 0.5])
    # 1, 2, 0, 1 over their mean of 4/3
    free = weights(rewards, places, np.zeros(4), 1.0, 10.0)
    assert free == pytest.approx([0.75, 1.5, 0, 0.75])
    assert weights(rewards, places, np.zeros(4), 1.0, 1.0).max() == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(1, 5))
def test_weights_are_bounded_and_average_to_one_where_they_are_not(
    rewards: list[float], most: float
) -> None:
    given = np.array(rewards)
    free = weights(given, np.ones(len(given)), np.zeros(len(given)), 0.0, most)
    assert (free <= most).all()
    assert ((free > 0) <= (given > 0)).all()


def test_a_page_becomes_tiers() -> None:
    table = _log(0.2, 1).with_columns(
        reward=pl.Series([0.0, 1.0, 0.0, 0.0]), gate=pl.Series([None, None, "down", None])
    )
    log = corrected(table, ITEMS, FeedbackConfig(position=False, popularity=False))
    (group,) = preferences(log, lambda row: row["user_id"], lambda row: row["item_id"])
    shown = table["item_id"].to_list()
    assert group == Group("a", "a", tuple(shown), (1, 2, 0, 1), (1.0, 1.0, 1.0, 1.0))
    assert not list(preferences(log, lambda row: "", lambda row: ""))


def test_a_weight_counts_for_as_much_in_the_loss() -> None:
    scores, tiers = torch.tensor([1.0, 0.5, 0.0]), torch.tensor([2, 1, 0])
    plain = listwise(scores, tiers)
    assert listwise(scores, tiers, torch.ones(3)) == plain
    assert float(listwise(scores, tiers, 3 * torch.ones(3))) == pytest.approx(3 * float(plain))
    first = float(listwise(scores, tiers, torch.tensor([1.0, 0.0, 1.0])))
    second = float(listwise(scores, tiers, torch.tensor([0.0, 1.0, 1.0])))
    assert first + second == pytest.approx(float(plain))


def test_groups_are_read_as_written_and_others_refused(tmp_path: Path) -> None:
    groups = [Group("u", "Chose: x", ("y", "z"), (2, 0), (1.5, 1.0)), Group("v", "", ("y",), (1,))]
    write_groups(tmp_path, groups)
    assert read_groups(tmp_path) == read_groups(tmp_path / "groups.jsonl") == groups
    for line in ("{", "{}", '{"owner": "u", "context": "", "answers": ["a"], "tiers": [7]}'):
        (tmp_path / "groups.jsonl").write_text(line + "\n")
        with pytest.raises(InputError, match="holds no groups"):
            read_groups(tmp_path)
    with pytest.raises(InputError, match="--from feedback"):
        read_groups(tmp_path / "none")


def _shop(folder: Path) -> None:
    items = "item_id,title,categories\n" + "".join(f"k{n},Kettle {n},Kettles\n" for n in range(6))
    events = "user_id,item_id,timestamp,event\n" + "".join(
        f"{user},k{n},{1_000 + n},purchase\n" for user in ("ann", "bob") for n in range(3)
    )
    (folder / "items.csv").write_text(items)
    (folder / "events.csv").write_text(events)
    files = ["--items", str(folder / "items.csv"), "--interactions", str(folder / "events.csv")]
    done = CliRunner().invoke(cli, ["data", "import", *files, "--name", "shop"])
    assert done.exit_code == 0, done.output


def _examples(*words: str) -> Any:
    return CliRunner().invoke(
        cli, ["finetune", "examples", "--dataset", "shop", "--from", "feedback", *words]
    )


def test_the_road_of_the_command(home: Path, tmp_path: Path) -> None:
    _shop(tmp_path)
    assert "serve it first" in str(_examples().exception)
    ledger = Ledger(ledger_path("shop"))
    lines = [
        {"item_id": f"k{n}", "score": 0.5, "channel": "tags", "propensity": 1.0} for n in (3, 4, 5)
    ]
    for user in ("ann", "bob"):
        page = [[f"of-{user}", 5_000.0, user, json.dumps(lines)]]
        ledger.write(("INSERT INTO exposures VALUES (?, ?, ?, ?)", page))
        thumb = [[f"of-{user}", user, "k4", 5_001.0, -1, "seen it"]]
        ledger.write(("INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?)", thumb))
        bought = [[5_002.0, user, "k5", 5_002, "purchase"]]
        sql = "INSERT INTO interactions (at, user_id, item_id, timestamp, event) VALUES (?,?,?,?,?)"
        ledger.write((sql, bought)).result()
    ledger.close()
    done = _examples("--json", "-")
    assert done.exit_code == 0, done.output
    card = json.loads(done.stdout)
    assert (card["groups"], card["people"], card["answers"]) == (2, 2, {"B": 2, "A": 2, "S": 2})
    assert card["gates"] == {"down": 2}
    assert card["by_chance"] == 0
    assert "left to chance" in done.stderr
    group = read_groups(Path(card["folder"]))[0]
    assert group.context == "Chose: Kettle 0 (Kettles); Kettle 1 (Kettles); Kettle 2 (Kettles)"
    assert group.answers == ("Kettle 3 (Kettles)", "Kettle 4 (Kettles)", "Kettle 5 (Kettles)")
    assert group.tiers == (1, 0, 2)
    assert "love.speed" in str(_examples("--set", "love.speed=1").exception)


def test_preferences_train_a_reward_model(home: Path, tmp_path: Path, tiny_llama: Path) -> None:
    _shop(tmp_path)
    groups = [
        Group(f"u{n}", f"Chose: Kettle {n % 3}", ("good kettle", f"bad {n}"), (2, 0), (1.5, 1.0))
        for n in range(12)
    ]
    write_groups(tmp_path / "rows", groups)
    words = ["finetune", "reward", "--dataset", "shop", "--preset", "smoke", "--json", "-"]
    words += ["--groups", str(tmp_path / "rows"), "--set", f"reward.base={tiny_llama}"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["source"] == "preferences in rows"
    assert told["groups"] + told["validation_groups"] == 12
