"""What this machine's arithmetic and memory allow a language model, with one thread and with all.

    python benchmarks/serving_limits.py

Matrix products in float32 and bfloat16, and reading memory; the best of many repetitions. The shares
of these that the engine reaches are printed by `foretaste bench serving --only prefill`.
"""

from __future__ import annotations

import json
import os

from foretaste.app.benching.limits import machine
from foretaste.serving.engine_config import EngineConfig


def main() -> None:
    for threads in sorted({1, os.cpu_count() or 1}):
        for dtype in ("float32", "bfloat16"):
            config = EngineConfig.model_validate({"threads": threads, "dtype": dtype})
            print(json.dumps({"threads": threads, "dtype": dtype, **machine(config)}), flush=True)


if __name__ == "__main__":
    main()
