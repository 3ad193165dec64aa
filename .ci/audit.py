"""Look every pin of the lock up among the published advisories, and say what could not be looked up.

A known vulnerability ends with exit code 1. Where no advisories can be reached nothing is known: that is
said on the last line, with the number of pins, and ends with exit code 0 so that a machine without a
network can go on, or with 3 where AUDIT=required.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements" / "cpu.lock"
SECONDS = 180


def main() -> int:
    """Run pip-audit, tell what it found."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--no-deps"]
    command += ["--disable-pip", "--progress-spinner", "off", "--format", "json", "--timeout", "10"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return _unknown(f"no answer within {SECONDS} s")
    except (ValueError, KeyError, TypeError):
        return _unknown((done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1])
    unsafe = [one for one in packages if one.get("vulns")]
    for one in unsafe:
        for found in one["vulns"]:
            mended = ", ".join(found["fix_versions"]) or "no version yet"
            print(f"{one['name']} {one['version']}: {found['id']}, mended in {mended}")
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    if unsafe:
        print(f"{len(unsafe)} of {len(packages)} pins have a known vulnerability.")
        return 1
    if skipped:
        return _unknown(f"{len(skipped)} of {len(packages)} pins have no entry there")
    print(f"None of {len(packages)} pins has a known vulnerability.")
    return 0


def _unknown(why: str) -> int:
    print(f"NOT AUDITED: the advisories could not be read in full ({why[:300]}).")
    return 3 if os.environ.get("AUDIT") == "required" else 0


if __name__ == "__main__":
    sys.exit(main())
