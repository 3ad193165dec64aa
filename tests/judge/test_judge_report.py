"""The report: agreement by hand, one file of each kind, and texts that would be markup."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from foretaste.app.cli import cli
from foretaste.data.errors import InputError
from foretaste.judge.batch.saved import PairRecord, Record, line_of
from foretaste.judge.objects import Look
from foretaste.judge.report.gathered import agreement, gather
from foretaste.judge.report.markdown import markdown
from foretaste.judge.report.page import page

record = runpy.run_path(str(Path(__file__).parent / "test_judge_figures.py"))["record"]
EVIL = "<script>alert(1)</script> [click](http://x) | `code` <img src=x onerror=y>"
AGREE = {
    "judge": "head",
    "n": 50,
    "spearman": 0.7,
    "kappa_quadratic": 0.6,
    "baselines": {"length": {"spearman": None, "kappa_quadratic": 0.0}},
    "human": {"spearman": 0.8, "kappa_quadratic": 0.75},
    "calibration": {"curve": [{"chance": 0.2, "share": 0.25, "n": 30}]},
}


def _write(path: Path, records: list[Record] | list[PairRecord]) -> Path:
    path.write_text("".join(json.dumps(line_of(one)) + "\n" for one in records))
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    run = [record(str(i), i / 10, "SAB"[i % 3], channel="tags") for i in range(9)]
    evil = run[2].model_copy(
        update={
            "id": EVIL,
            "answer": (EVIL,),
            "verdicts": (run[2].verdicts[0].model_copy(update={"reason": EVIL}),),
            "segments": {EVIL: EVIL},
        }
    )
    other = [record(str(i), i / 10, "SAB"[i % 3]) for i in range(9)]
    pair = PairRecord(id="1", better="first", looks=(Look(swapped=False, better="first"),))
    (tmp_path / "people.json").write_text(json.dumps(AGREE))
    return [
        _write(tmp_path / "run.jsonl", [*run[:2], evil, *run[3:]]),
        _write(tmp_path / "other.jsonl", other),
        _write(tmp_path / "pairs.jsonl", [pair]),
        tmp_path / "people.json",
    ]


def test_agreement_by_hand() -> None:
    one = [record("1", 1.0, "S"), record("2", 0.5, "A"), record("3", 0.0, "B"), record("4", 0.2)]
    other = [record("1", 0.9, "S"), record("2", 0.4, "S"), record("3", 0.1, "B")]
    found = agreement(one, other)
    assert (found["n"], found["tiers"]) == (3, 3)
    assert found["spearman"] == 1.0
    assert found["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    # observed 2/3; by chance (1·2 + 1·0 + 1·1)/9 = 1/3
    assert found["kappa"] == 0.5


def test_a_page_of_everything_needs_nothing_else(files: list[Path]) -> None:
    text = page(gather(files))
    body = text.partition("</script></head>")[2]
    for heading in ("run", "other", "pairs", "people: against people", "Calibration", "Cost"):
        assert f"<h2>{heading}</h2>" in body
    assert "Plotly.newPlot" in body
    assert not re.search(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//""", body)
    assert "default-src 'none'" in text


def test_texts_are_no_markup(files: list[Path]) -> None:
    report = gather(files)
    body = page(report).partition("</script></head>")[2]
    assert "alert(1)" in body
    assert "<script>alert" not in body
    assert "<img" not in body
    text = markdown(report)
    assert "alert(1)" in text
    assert "[click]" not in re.sub(r"\\.", "", text)
    assert "<script>" not in text
    rows = [line for line in text.splitlines() if line.startswith("|") and "alert" in line]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 8 for row in rows)


def test_the_same_as_text(files: list[Path]) -> None:
    text = markdown(gather(files))
    assert "| run – other | 8 | 1.0 | 1.0 | 1.0 | 1.0 |" in text
    assert "| one person and the others | 0.8 | 0.75 |" in text
    assert "## pairs" in text
    assert "### The worst cases" in text


def test_the_command(files: list[Path], tmp_path: Path) -> None:
    for name in ("report.html", "report.md"):
        words = [*map(str, files), "--out", str(tmp_path / name), "--json", "-"]
        done = CliRunner().invoke(cli, ["judge", "report", *words])
        assert done.exit_code == 0, done.output
        told: dict[str, Any] = json.loads(done.stdout)
        assert told["runs"] == ["run", "other"]
        assert told["between"][0]["kappa"] == 1.0
        assert (tmp_path / name).stat().st_size > 1000


def test_files_of_something_else(tmp_path: Path, files: list[Path]) -> None:
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"neither": 1}\n')
    with pytest.raises(InputError, match="is no judgement"):
        gather([wrong])
    (tmp_path / "wrong.json").write_text("{}")
    with pytest.raises(InputError, match="judge agree --json"):
        gather([tmp_path / "wrong.json"])
    with pytest.raises(InputError, match="called run"):
        gather([files[0], files[0]])
    out = CliRunner().invoke(cli, ["judge", "report", str(files[0]), "--out", "x.pdf"])
    assert "is written to a .html or .md" in str(out.exception)
