"""A few seconds of `make faults`: it runs, it prints what it promises, and everything is survived."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SUITE = Path(__file__).parent / "run.py"
SAMPLE = "kill -9: batch,kill -9: engine of,closing endpoint: batch,altered: batch"


def test_a_few_seconds_of_the_suite() -> None:
    bounds = {"FAULT_ONLY": SAMPLE, "FAULT_TRIALS": "1", "FAULT_SECONDS": "60", "FAULT_JOBS": "1"}
    done = subprocess.run(
        [sys.executable, "-P", str(SUITE)],
        check=False,
        env=os.environ | bounds,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    lines = done.stdout.splitlines()
    total = json.loads(lines[-1])
    assert total == {
        "trials": 4,
        "survived": 4,
        "lost": 0,
        "duplicated": 0,
        "corrupt_reads": 0,
    }
    assert (
        sum(line.startswith(("| kill -9 |", "| closing", "| file cut off")) for line in lines) == 4
    )
