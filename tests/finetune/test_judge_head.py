"""The head: it learns what words alone do not tell, keeps what it learnt, and goes on after a stop."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from foretaste.app import agreement
from foretaste.app.cli import cli
from foretaste.data.errors import InputError, ModelError
from foretaste.finetune.judge_head import train as training
from foretaste.finetune.judge_head.config import load_config
from foretaste.finetune.judge_head.fit import HeadMethod, Held, catalogue_of, inner, prepare
from foretaste.finetune.judge_head.train import train
from foretaste.judge.objects import Case
from foretaste.judge.people import head as heads
from foretaste.judge.people.agree import Protocol, agree, cross_validated, figures
from foretaste.judge.people.features import Reference, read, vectors_of
from foretaste.judge.people.head import HeadJudge, load_head
from foretaste.judge.people.labels import Columns, Labels, read_labels
from foretaste.judge.people.methods import trivial

THINGS = ("mug", "lamp", "desk", "fan", "case", "bag", "pen", "hub")
SMOKE = load_config("smoke", ["head.landmarks=40"])


def rows(seed: int = 0, each: int = 12) -> list[dict]:
    """A thing itself is right, something for it is wrong, however many words both share."""
    draw, found = np.random.default_rng(seed), []
    for thing in THINGS:
        for number in range(each):
            kind = number % 3
            color = ("red", "blue", "green")[int(draw.integers(3))]
            title = {
                0: f"{color} {thing} {number}",
                1: f"{color} cover for {thing} {number}",
                2: f"{color} {THINGS[(THINGS.index(thing) + 3) % len(THINGS)]} {number}",
            }[kind]
            label = 3 if kind == 0 else 0
            found.append(
                {
                    "query": thing,
                    "title": title,
                    "text": f"sold as {color}",
                    "final": label,
                    "r1": label,
                    "r2": 3 - label if draw.random() < 0.1 else label,
                }
            )
    return found


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "people.parquet"
    pl.DataFrame(rows()).write_parquet(path)
    return path


COLUMNS = Columns("query", ("title", "text"), "final", raters=("r1", "r2"))
FLAGS = ["--context", "query", "--answer", "title,text", "--label", "final", "--raters", "r1,r2"]


@pytest.fixture
def labels(table: Path) -> Labels:
    return read_labels(table, COLUMNS)


@pytest.fixture
def words(home: Path, embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command embeds by the words of a test."""
    for module in (agreement, heads):
        monkeypatch.setattr(module, "load_embedder", lambda _: embedder)


def test_features_by_hand(embedder) -> None:
    reference = Reference.of(["red mug", "blue mug", "rain hat"], np.zeros((0, 32), np.float32))
    assert reference.rarity("mug") == pytest.approx(np.log1p(1.5 / 2.5))
    seen = read(["red mugs"], [("a Red mug 2",)], reference, embedder)
    worded = seen.table[0, 1:14]
    assert worded[:4] == pytest.approx(1)  # all words, weighed too, every one, the last one
    assert worded[4:7] == pytest.approx([1 / 4, 2 / 4, 1])  # first, last, words behind
    assert (worded[7], worded[8], worded[12]) == pytest.approx((2 / 4, 1, -1))
    assert seen.table[0, 0] == pytest.approx(float(seen.asked[0] @ seen.said[0]))


def test_fields_make_one_vector_and_none_is_left_out(embedder) -> None:
    whole, own = vectors_of([("red mug", ""), ("red mug", "for tea")], embedder)
    assert whole[0] == pytest.approx(own[0][0])  # what is empty says nothing
    total = own[0][1] + own[1][1]
    assert whole[1] == pytest.approx(total / np.linalg.norm(total), abs=1e-6)
    alone, none = vectors_of([("red mug",)], embedder)
    assert alone[0] == pytest.approx(own[0][0])
    assert none == []
    more = vectors_of([("a", "b", "c", "d")], embedder)[1]
    assert more[2] == pytest.approx(embedder.encode(["c. d"]))


def test_a_head_is_ahead_of_what_it_reads(labels: Labels, embedder) -> None:
    report, _ = agree(
        HeadMethod(SMOKE, embedder), trivial(embedder), labels, Protocol(4, resamples=100)
    )
    assert report["spearman"] > report["baselines"]["cosine"]["spearman"] + 0.1
    assert report["baselines"]["cosine"]["ahead"]["spearman"]["interval"][0] > 0
    assert report["kappa_quadratic"] > 0.6
    assert report["human"]["spearman"] < 1
    assert report["baselines"]["majority"]["spearman"] is None
    assert sum(map(sum, report["confusion"])) == report["n"] == 96
    json.dumps(report, allow_nan=False)


def test_what_is_told_of_a_row_does_not_depend_on_its_label(labels: Labels, embedder) -> None:
    method, protocol = HeadMethod(SMOKE, embedder), Protocol(4)
    first = cross_validated(method, labels, protocol).judged
    one = labels.take(np.arange(len(labels)))
    one.labels[labels.groups == 0] = 3 - one.labels[labels.groups == 0]
    one.raters[labels.groups == 0] = one.labels[labels.groups == 0, None]
    other = cross_validated(method, one, protocol).judged
    same = labels.groups == 0
    assert np.array_equal(first.scores[same], other.scores[same])
    assert not np.array_equal(first.scores[~same], other.scores[~same])


def test_many_rows_rest_on_landmarks(labels: Labels, embedder) -> None:
    few = HeadMethod(SMOKE, embedder).fit(labels)
    every = HeadMethod(load_config("smoke"), embedder).fit(labels)
    assert (len(few.machine.weights), len(every.machine.weights)) == (40, 96)
    both = few.scores(labels), every.scores(labels)
    assert np.corrcoef(*both)[0, 1] > 0.9


def test_pairs_are_told_alike_in_both_orders(embedder, tmp_path: Path) -> None:
    table = pl.DataFrame(rows(each=24)).sort("query", "final")
    bad, good = table.filter(pl.col("final") == 0), table.filter(pl.col("final") == 3)
    pairs = [
        {"q": one["query"], "a": one["title"], "b": two["title"], "better": "a"}
        if place % 2
        else {"q": one["query"], "a": two["title"], "b": one["title"], "better": "b"}
        for place, (one, two) in enumerate(
            zip(good.to_dicts(), bad.gather_every(2).to_dicts(), strict=True)
        )
    ]
    path = tmp_path / "pairs.jsonl"
    pl.DataFrame(pairs).write_ndjson(path)
    labels = read_labels(path, Columns("q", ("a",), "better", other=("b",)))
    found = cross_validated(HeadMethod(SMOKE, embedder), labels, Protocol(4)).judged
    assert figures(labels, found)["roc_auc"] > 0.8
    head = HeadMethod(SMOKE, embedder).fit(labels)
    swapped = Labels(**{**vars(labels), "answers": labels.others, "others": labels.answers})
    assert head.scores(labels) == pytest.approx(-head.scores(swapped))


def test_a_saved_head_says_the_same(labels: Labels, words, embedder) -> None:
    catalogue = catalogue_of([(row["title"], row["text"]) for row in rows(1)], embedder)
    result = train("shop", labels, SMOKE, embedder, catalogue, "people.parquet")
    assert {"wall_s", "peak_mb", "flops_fraction", "best_epoch", "validation"} <= set(result)
    head = load_head("shop")
    material = prepare(labels, SMOKE, embedder, catalogue)
    again = training.finish(material, SMOKE, _held(material), embedder, "shop")
    assert head.scores(labels) == pytest.approx(again.scores(labels), abs=1e-3)  # float16 catalogue
    case = Case(id="1", context=("mug",), answer=("red mug 0", "sold as red"))
    wrong = case.model_copy(update={"answer": ("red cover for mug 1",)})
    judge = HeadJudge(head)
    told = [asyncio.run(judge.judge(one)).score for one in (case, wrong)]
    assert told[0] is not None
    assert told[1] is not None
    assert told[0] > told[1]
    assert judge.made_of["head_hash"]
    with pytest.raises(InputError, match="2 fields"):
        head.utilities(["mug"], [("red mug",)])


def _held(material) -> Held:
    held = Held()
    for _ in inner(material, SMOKE, held):
        continue
    return held


def test_a_stopped_fit_goes_on_to_the_same_head(
    labels: Labels, words, embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train("one", labels, SMOKE, embedder)
    real = training.inner

    def stopping(*given):
        for fold in real(*given):
            yield fold
            os.kill(os.getpid(), 2)  # as Ctrl-C does

    with pytest.raises(InputError, match="no unfinished run"):
        train("two", labels, SMOKE, embedder, resume=True)
    monkeypatch.setattr(training, "inner", stopping)
    with pytest.raises(KeyboardInterrupt):
        train("two", labels, SMOKE, embedder)
    with pytest.raises(ModelError, match="no judge head"):
        load_head("two")
    monkeypatch.setattr(training, "inner", real)
    resumed = train("two", labels, SMOKE, embedder, resume=True)
    assert resumed["validation"] == whole["validation"]
    assert np.array_equal(load_head("one").scores(labels), load_head("two").scores(labels))


def test_too_little_to_learn_from(labels: Labels, embedder) -> None:
    with pytest.raises(InputError, match="30 labelled rows"):
        HeadMethod(SMOKE, embedder).fit(labels.take(np.arange(20)))


def _run(*flags: str) -> dict:
    result = CliRunner().invoke(cli, [*flags, "--json", "-"])
    if result.exception:
        raise result.exception
    found: dict = json.loads(result.stdout)
    return found


KEYS = {
    *("n", "split", "spearman", "kappa", "kappa_quadratic", "balanced_accuracy", "roc_auc"),
    *("confusion", "unreadable", "pairs_per_second", "human", "baselines"),
}


def test_the_road_of_agree_calibrate_and_judge_head(table: Path, words, tmp_path: Path) -> None:
    shared = ["--labels", str(table), *FLAGS]
    agree_flags = ["judge", "agree", *shared, "--folds", "4", "--resamples", "100"]
    run = tmp_path / "run.jsonl"
    report = _run(*agree_flags, "--preset", "smoke", "--save", str(run), "--catalogue", str(table))
    assert set(report) >= KEYS
    assert set(report["human"]) >= {"spearman", "kappa_quadratic"}
    assert {"majority", "cosine", "length"} <= set(report["baselines"])
    assert {"order", "length", "verbosity", "popularity", "injection"} <= set(report["bias"])
    assert report["unreadable"] == 0
    assert report["pairs_per_second"] > 0

    lines = run.read_text().splitlines()
    broken = json.loads(lines[0]) | {"score": None}
    run.write_text("\n".join([json.dumps(broken), *lines[1:]]))
    saved = _run(*agree_flags, "--judge", f"run:{run}", "--against", str(run))
    assert saved["unreadable"] == 1
    assert saved["n"] == 96
    assert (saved["drift"]["n"], saved["drift"]["changed"]) == (95, 0)
    assert saved["spearman"] == pytest.approx(report["spearman"], abs=0.03)

    made = _run("finetune", "judge-head", *shared, "--preset", "smoke", "--name", "shop")
    assert made["rows"] == 96
    known = _run(*agree_flags, "--judge", "head:shop", "--no-biases")
    assert known["spearman"] > 0.8

    told = _run("judge", "calibrate", *shared, "--judge", "cosine", "--kind", "platt")
    assert told["n"] + told["calibrated_on"] == 96
    assert (tmp_path / "home" / told["file"]).exists()
    again = _run("judge", "calibrate", *shared, "--judge", "head:shop", "--kind", "platt")
    assert load_head("shop").record.calibration.good_cut == again["threshold"]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--judge", "magic"], "--judge expects"),
        (["--judge", "head:none"], "no judge head"),
        (["--judge", "run:none.jsonl"], "none is there"),
        (["--task", "pairwise"], "--other"),
        (["--task", "listwise"], "--task expects"),
        (["--folds", "90"], "--folds expects"),
        (["--set", "head.depth=none"], "depth"),
        (["--catalogue", "nothing"], "no data set"),
    ],
)
def test_a_wrong_call_is_one_sentence(table: Path, words, flags: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        _run("judge", "agree", "--labels", str(table), *FLAGS, *flags)


SHARED = os.environ.get("FORETASTE_SHARED_DATA", "")


@pytest.mark.shared
@pytest.mark.model
@pytest.mark.skipif(not SHARED, reason="FORETASTE_SHARED_DATA names no folder")
def test_product_relevance_is_told_better_than_by_cosine() -> None:
    folder = Path(SHARED) / "product-relevance"
    flags = ["--context", "query", "--answer", "title,description", "--label", "final"]
    raters = ["--raters", "rater1,rater2,rater3", "--resamples", "200", "--no-biases"]
    report = _run("judge", "agree", "--labels", str(folder / "labels.parquet"), *flags, *raters)
    assert report["n"] == 3188
    assert report["baselines"]["cosine"]["ahead"]["spearman"]["interval"][0] > 0
    assert report["spearman"] >= 0.76
    assert report["kappa_quadratic"] >= 0.74
