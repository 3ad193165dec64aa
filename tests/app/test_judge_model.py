"""The agent judge on real parts: the bundled model behind a real vLLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.model
COMMAND = [sys.executable, "-P", "-c", "from foretaste.app.cli import main; main()", "judge", "run"]
TEN_MINUTES = 600


def test_real_marks_or_honest_faults(tmp_path: Path) -> None:
    rows = [
        {"id": "good", "answer": "Ronin (Crime, Thriller)", "history": ["Heat (Crime)"]},
        {"id": "empty", "answer": "", "history": ["Heat (Crime)"]},
    ]
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = ["--in", str(source), "--out", str(out), "--rubric", "item", "--json", "-"]
    done = subprocess.run(
        [*COMMAND, *files],
        check=False,
        capture_output=True,
        text=True,
        timeout=TEN_MINUTES,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["id"] for line in lines} == {"good", "empty"}
    for line in lines:
        assert (line["tier"] is None) == bool(line["faults"])
        assert (line["score"] is None) == bool(line["faults"])
        assert line["faults"] or json.loads(line["verdicts"][0]["text"])["reason"]
        assert line["spent"]["prompt"] > 100
        assert line["spent"]["completion"] > 5
    assert figures["unreadable"] == sum(bool(line["faults"]) for line in lines)
    assert figures["made_of"]["model"].endswith("smollm2-135m-instruct")
