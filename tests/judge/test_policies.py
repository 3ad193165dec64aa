"""Off-policy estimates by hand, their laws, and the road of the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from foretaste.app.cli import cli
from foretaste.data.errors import InputError
from foretaste.judge.policies.assess import Beside, assess
from foretaste.judge.policies.estimators import (
    PRIOR,
    Terms,
    action_rewards,
    sharpe_ratio,
    terms_of,
)
from foretaste.judge.policies.log import Log, LogColumns, Policy, read_log, read_policy


def test_estimates_by_hand() -> None:
    # four impressions; weights 2, 0, 1, 1 and rewards 1, 1, 0, 1
    terms = Terms(
        weights=np.array([2.0, 0, 1, 1]),
        rewards=np.array([1.0, 1, 0, 1]),
        model=np.array([0.5, 0.5, 0.5, 0.5]),
        expected=np.array([0.5, 0.25, 0.5, 0.5]),
    )
    found = terms.estimates(np.ones((1, 4)))
    assert found["ips"][0] == pytest.approx(3 / 4)  # (2 + 0 + 0 + 1) / 4
    assert found["snips"][0] == pytest.approx(3 / 4)  # 3 / (2 + 0 + 1 + 1)
    assert found["dr"][0] == pytest.approx((0.5 + 1 + 0.25 + 0.5 - 0.5 + 0.5 + 0.5) / 4)
    assert terms.effective == pytest.approx(16 / 6)
    twice = terms.estimates(np.array([[2.0, 0, 0, 0]]))
    assert (twice["ips"][0], twice["snips"][0]) == (2, 1)


def test_sharpe_ratio_by_hand() -> None:
    guessed, worth = np.array([1.0, 3.0, 2.0]), np.array([0.9, 0.2, 0.4])
    # the first two by the guess are worth 0.2 and 0.4: best 0.4, deviation 0.1
    assert sharpe_ratio(guessed, worth, 0.3, 2) == pytest.approx((0.4 - 0.3) / 0.1)
    assert sharpe_ratio(guessed, worth, 0.3, 3) == pytest.approx(0.6 / worth.std())
    assert np.isnan(sharpe_ratio(guessed, worth, 0.3, 1))
    assert np.isnan(sharpe_ratio(guessed, np.ones(3), 0.3, 2))


def made(n: int, seed: int) -> tuple[Log, np.ndarray]:
    """A log of two actions whose clicks depend on the context's parity; chances of the action 0."""
    draw = np.random.default_rng(seed)
    contexts = np.arange(n)
    first = np.where(contexts % 2, 0.8, 0.3)  # p(action 0)
    actions = (draw.random(n) >= first).astype(np.int64)
    clicks = np.where(actions == contexts % 2, 0.5, 0.1)
    rewards = (draw.random(n) < clicks).astype(float)
    chances = np.where(actions == 0, first, 1 - first)
    names = {str(one): one for one in range(n)}
    people = np.arange(len(names))
    return Log(contexts, actions, rewards, chances, names, {"0": 0, "1": 1}, people), first


def always(log: Log, action: np.ndarray, name: str = "new") -> Policy:
    """A policy that shows one action in each context."""
    logged = (log.actions == action[log.contexts]).astype(float)
    count = len(log.context_of)
    return Policy(name, np.arange(count), action, np.ones(count), logged)


def test_every_estimator_finds_what_a_policy_is_worth() -> None:
    log, _ = made(40_000, 0)
    best = always(log, np.arange(40_000) % 2)  # worth 0.5
    worst = always(log, (np.arange(40_000) + 1) % 2, "old")  # worth 0.1
    report = assess(log, [best, worst], resamples=100)
    for estimator in ("ips", "snips", "dr"):
        for name, worth in (("new", 0.5), ("old", 0.1)):
            row = report["policies"][name][estimator]
            assert row["value"] == pytest.approx(worth, abs=0.03)
            assert row["interval"][0] < worth < row["interval"][1]
    assert report["policies"]["new"]["dr"]["effect_interval"][0] > 0
    assert report["policies"]["old"]["dr"]["effect_interval"][1] < 0
    assert report["sharpe_ratio"]["dr"]["2"] > 0


def test_doubly_robust_varies_less() -> None:
    log, _ = made(4000, 1)
    both = np.zeros(4000, dtype=np.int64)
    row = assess(log, [always(log, both)], resamples=300)["policies"]["new"]
    wide = [row[one]["interval"][1] - row[one]["interval"][0] for one in ("ips", "dr")]
    assert wide[1] < wide[0]


@given(st.integers(5, 40), st.integers(0, 9))
def test_the_logging_policy_is_worth_what_it_earned(n: int, seed: int) -> None:
    log, first = made(n, seed)
    same = Policy(
        "same",
        np.repeat(np.arange(n), 2),
        np.tile([0, 1], n),
        np.stack([first, 1 - first], axis=1).ravel(),
        log.propensities,
    )
    terms = terms_of(log, same)
    assert terms.weights == pytest.approx(1)
    found = terms.estimates(np.ones((1, n)))
    assert found["ips"][0] == pytest.approx(log.rewards.mean())
    assert found["snips"][0] == pytest.approx(log.rewards.mean())
    assert terms.effective == pytest.approx(n)


@given(st.floats(1, 5), st.integers(0, 5))
def test_clipped_weights_stay_below(clip: float, seed: int) -> None:
    log, _ = made(50, seed)
    terms = terms_of(log, always(log, np.zeros(50, dtype=np.int64)), clip)
    assert terms.weights.max() <= clip
    assert 0 <= terms.estimates(np.ones((1, 50)))["snips"][0] <= 1


def test_rewards_of_actions_lean_on_the_mean() -> None:
    log, _ = made(4, 0)
    every = np.ones(4, dtype=bool)
    mean = log.rewards.mean()
    shown = log.actions == 0
    wanted = (log.rewards[shown].sum() + PRIOR * mean) / (shown.sum() + PRIOR)
    found = action_rewards(log, every)
    assert found[0] == pytest.approx(wanted)
    assert found[-1] == pytest.approx(mean)  # never logged


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    log, _ = made(400, 2)
    pl.DataFrame(
        {
            "user_id": [f"u{one}" for one in log.contexts],
            "item_id": [f"i{one}" for one in log.actions],
            "reward": log.rewards,
            "propensity": log.propensities,
        }
    ).write_parquet(tmp_path / "log.parquet")
    users = [f"u{one}" for one in range(400)]
    for name, chance in (("good", 0.9), ("even", 0.5)):
        rows = [
            {"user_id": user, "item_id": f"i{item}", "probability": p}
            for number, user in enumerate(users)
            for item, p in ((number % 2, chance), (1 - number % 2, 1 - chance))
        ]
        pl.DataFrame(rows).write_csv(tmp_path / f"{name}.csv")
    runs = [{"id": str(one), "score": 0.5 + one / 10} for one in range(3)]
    (tmp_path / "run.jsonl").write_text("\n".join(json.dumps(one) for one in runs))
    return tmp_path


def _run(folder: Path, *flags: str) -> dict:
    words = ["judge", "policies", "--log", str(folder / "log.parquet"), "--resamples", "100"]
    result = CliRunner().invoke(cli, [*words, *flags, "--json", "-"])
    if result.exception:
        raise result.exception
    found: dict = json.loads(result.stdout)
    return found


def test_the_road_of_the_command(tables: Path) -> None:
    both = [f"--policy={name}={tables / name}.csv" for name in ("good", "even")]
    beside = [f"--judged=good={tables / 'run.jsonl'}", "--ranking=good=0.12"]
    report = _run(tables, *both, *beside)
    good, even = report["policies"]["good"], report["policies"]["even"]
    assert good["dr"]["value"] > even["dr"]["value"]
    assert (good["judge_score"], good["ranking"], even["ranking"]) == (
        pytest.approx(0.6),
        0.12,
        None,
    )
    assert set(report["sharpe_ratio"]) == {"ips", "snips", "dr"}
    known = _run(tables, *both, "--online=good=0.46", "--online=even=0.3")
    assert known["sharpe_ratio_by"] == "online values"
    assert known["sharpe_ratio"]["dr"]["2"] == pytest.approx(
        (0.46 - known["logging"]["value"]) / 0.08
    )


def test_a_policy_reads_as_it_stands(tables: Path) -> None:
    log = read_log(tables / "log.parquet", LogColumns())
    policy = read_policy("good", tables / "good.csv", LogColumns(), log)
    odd = np.array([name.startswith("i1") for name in log.action_of])[log.actions]
    parity = np.array([int(name[1:]) % 2 for name in log.context_of])[log.contexts]
    assert policy.logged == pytest.approx(np.where(odd == parity, 0.9, 0.1))


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--policy", "good"], "NAME=VALUE"),
        (["--policy", "x=none.csv"], "was expected"),
        (["--policy", "x={}/log.parquet"], "no column 'probability'"),
        (["--policy", "x={}/good.csv", "--policy", "x={}/even.csv"], "different names"),
        (["--policy", "x={}/good.csv", "--ranking", "y=1"], "no policy 'y'"),
        (["--policy", "x={}/good.csv", "--online", "x=much"], "number for x"),
        (["--policy", "x={}/good.csv", "--propensity", "reward"], "chance, above 0"),
    ],
)
def test_a_wrong_call_is_one_sentence(tables: Path, flags: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        _run(tables, *[flag.format(tables) for flag in flags])


def test_a_log_that_hardly_shows_a_policy_says_so() -> None:
    log, _ = made(2000, 3)
    never = Policy("never", np.arange(2000), np.full(2000, -1), np.ones(2000), np.zeros(2000))
    never.logged[:3] = 1.0
    report = assess(log, [never], Beside(), resamples=100)
    assert "hardly" in report["policies"]["never"]["warning"]
