"""Seconds and peak memory of importing interactions from CSV.

    python benchmarks/import_speed.py [--rows 10000000] [--json -]

The file is made first (not counted): random users and items, times over three years, four
kinds of event, in no order. Import runs in a process of its own, whose peak memory is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ITEMS = 100_000
EVENTS_PER_USER = 20
CHUNK = 1_000_000


def make_files(folder: Path, rows: int) -> None:
    import numpy as np
    import polars as pl

    random = np.random.default_rng(0)
    ids = pl.DataFrame({"item_id": np.arange(ITEMS)}).select(
        pl.format("SKU-{}", pl.col("item_id")).alias("item_id"),
        pl.format("Product number {}", pl.col("item_id")).alias("title"),
    )
    ids.write_csv(folder / "items.csv")
    with (folder / "interactions.csv").open("wb") as out:
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)
            chunk = pl.DataFrame(
                {
                    "user_id": random.integers(0, max(1, rows // EVENTS_PER_USER), count),
                    "item_id": random.zipf(1.3, count) % ITEMS,
                    "timestamp": random.integers(1_600_000_000, 1_700_000_000, count),
                    "event": random.choice(["view", "click", "cart", "purchase"], count),
                    "value": random.integers(1, 6, count),
                }
            ).with_columns(
                pl.format("user-{}", pl.col("user_id")).alias("user_id"),
                pl.format("SKU-{}", pl.col("item_id")).alias("item_id"),
            )
            chunk.write_csv(out, include_header=start == 0)


def run_import(folder: Path) -> dict[str, object]:
    """Figures of `foretaste data import`, started afresh."""
    report = folder / "report.json"
    command = [
        *(sys.executable, "-P", "-c", "from foretaste.app.cli import main; main()"),
        *("data", "import", "--data-dir", str(folder), "--name", "speed", "--json", str(report)),
    ]
    environment = {**os.environ, "FORETASTE_HOME": str(folder / "home")}
    start = time.perf_counter()
    child = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"the import failed (status {status})")
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "tables": json.loads(report.read_text())["tables"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--json", default="-", metavar="FILE", help="FILE, or - to print")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="foretaste-import-") as name:
        folder = Path(name)
        print(f"making {wanted.rows:,} rows …", file=sys.stderr)
        make_files(folder, wanted.rows)
        size = (folder / "interactions.csv").stat().st_size / 1e6
        figures = {
            "rows": wanted.rows,
            "csv_mb": round(size),
            "cores": os.cpu_count(),
            **run_import(folder),
        }
    text = json.dumps(figures)
    if wanted.json == "-":
        print(text)
    else:
        Path(wanted.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
