"""`foretaste evaluate ranking` from an imported data set to its figures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from foretaste.app.cli import cli
from foretaste.data.errors import InputError
from foretaste.data.importing import Files, import_dataset
from foretaste.judge.ranking import run as command
from foretaste.serving.rules.recipes import rule_names

KEYS = {"r@5", "n@5", "r@10", "n@10", "mrr", "coverage", "seconds", "against_order", "intervals"}
QUICK = ["--resamples", "100"]


@pytest.fixture
def shop(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedder) -> str:
    """30 users who walk along a circle of 12 items, and an embedder without weights."""
    monkeypatch.setattr(command, "load_embedder", lambda _: embedder)
    kinds = ("red mug", "blue mug", "old lamp")
    rows = [f"i{row:02},{kinds[row % 3]} {row},Home" for row in range(12)]
    items = tmp_path / "items.csv"
    items.write_text("\n".join(["item_id,title,category", *rows]))
    events = [
        f"u{user},i{(user + step) % 12:02},{step * 86_400 + 1_600_000_000}"
        for user in range(30)
        for step in range(6)
    ]
    log = tmp_path / "interactions.csv"
    log.write_text("\n".join(["user_id,item_id,timestamp", *events]))
    import_dataset("shop", Files(items=items, interactions=log))
    return "shop"


def _json(*words: str) -> dict:
    result = CliRunner().invoke(cli, ["evaluate", "ranking", *words, *QUICK, "--json", "-"])
    if result.exception:
        raise result.exception
    found: dict = json.loads(result.stdout)
    return found


def test_the_object_has_the_promised_shape(shop: str) -> None:
    report = _json("--dataset", shop)
    assert report["dataset"] == shop
    assert (report["split"], report["fitted_on"]) == ("leave-one-out", "train")
    assert (report["history"], report["seed"]) == ("dropped", 0)
    assert (report["users"], report["items"]) == (30, 12)
    assert list(report["methods"]) == rule_names(vectors=True)
    for figures in report["methods"].values():
        assert set(figures) >= KEYS
        assert {"users", "r@10", "n@10"} <= set(figures["against_order"])
        assert 0 <= figures["n@5"] <= figures["r@5"] <= 1
    best = report["best_untrained"]
    assert set(report["pairs"]) == {f"{best}-{name}" for name in report["methods"] if name != best}
    assert {"metric", "delta", "low", "high"} <= set(next(iter(report["pairs"].values())))
    assert report["methods"]["transitions"]["n@10"] == pytest.approx(1)
    assert report["methods"]["transitions"]["constants"]["window"]


def test_the_same_call_gives_the_same_figures(shop: str) -> None:
    one, other = (_json("--dataset", shop)["methods"] for _ in range(2))
    for figures in (*one.values(), *other.values()):
        figures.pop("seconds")
    assert one == other


def test_a_table_for_people(shop: str) -> None:
    words = ["evaluate", "ranking", "--dataset", shop, "--methods", "popularity", *QUICK]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert "popularity" in result.stdout
    assert "Best untrained rule" in result.stdout


def test_options_change_what_is_measured(shop: str) -> None:
    few = _json("--dataset", shop, "--methods", "popularity,bm25_last", "--users", "7")
    assert {"popularity", "bm25_last", few["best_untrained"]} == set(few["methods"])
    assert few["users"] == 7
    both = _json("--dataset", shop, "--fitted-on", "train+validation", "--history", "kept")
    assert (both["fitted_on"], both["history"]) == ("train+validation", "kept")
    timed = _json("--dataset", shop, "--split", "temporal")
    assert timed["split"] == "temporal"
    dated = ("--validation-start", "2020-09-16", "--test-start", "2020-09-18")
    assert _json("--dataset", shop, "--split", "temporal", *dated)["cases"] == 30


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--dataset", "nothing"], "no data set"),
        (["--dataset", "shop", "--methods", "magic"], "no method 'magic'"),
        (["--dataset", "shop", "--test-start", "2020-09-18"], "--split temporal"),
        (["--dataset", "shop", "--split", "temporal", "--test-start", "x"], "date"),
    ],
)
def test_a_wrong_call_is_one_sentence(shop: str, words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        _json(*words)


SHARED = os.environ.get("FORETASTE_SHARED_DATA", "")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED, reason="FORETASTE_SHARED_DATA names no folder")
def test_amazon_beauty_keeps_its_figures(home: Path) -> None:
    from foretaste.data.importing import find_files
    from foretaste.data.splits import leave_one_out
    from foretaste.data.store import load_dataset
    from foretaste.judge.ranking.evaluate import Protocol, evaluate_ranking
    from foretaste.judge.ranking.segments import against_order
    from foretaste.serving.rules.recipes import Material, fit
    from foretaste.serving.rules.words import item_words

    import_dataset("amazon-beauty", find_files(Path(SHARED) / "amazon-beauty"))
    dataset = load_dataset("amazon-beauty")
    split = leave_one_out(dataset)
    assert int(against_order(dataset.item_ids, split.test).sum()) == 6432
    constants = {
        "decay": 0.35, "window": 5, "back": 0.5, "gamma": 0.5, "power": 0.0,
        "fields": "title", "alpha": 2.0, "text_decay": 0.5,
    }  # fmt: skip
    rule = fit("transitions_bm25", constants, Material(split.train, item_words(dataset.items)))
    report = evaluate_ranking(dataset, split, [rule], Protocol(resamples=100))
    figures = report["methods"]["transitions_bm25"]
    assert report["users"] == 22_363
    assert figures["r@10"] == pytest.approx(0.1045, abs=0.0015)
    assert figures["n@10"] == pytest.approx(0.0643, abs=0.0015)
    assert figures["against_order"]["n@10"] == pytest.approx(0.0351, abs=0.0015)
    assert np.isfinite(figures["novelty"])
