"""`accelerate launch -m foretaste.finetune.grpo`: the same training in several processes."""

from __future__ import annotations

import argparse
import json
import os

from foretaste.finetune.grpo.config import load_config
from foretaste.finetune.grpo.train import train


def main() -> None:
    """Read the same options as `foretaste finetune grpo`; the main process prints the result."""
    parser = argparse.ArgumentParser(prog="python -m foretaste.finetune.grpo")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--adapter", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--preset", default="gpu-qwen3")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--resume", action="store_true")
    given = parser.parse_args()
    config = load_config(given.preset, given.changes)
    result = train(given.dataset, given.adapter, config, given.out, given.resume)
    if int(os.environ.get("RANK", "0")) == 0:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
