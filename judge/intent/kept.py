"""What an arm wrote, kept under home: the same arm on the same people is not asked twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foretaste.agents.objects import Step, Tag, Verdict
from foretaste.agents.wording import prompting
from foretaste.data.files import read_json, subfolder, write_json
from foretaste.judge.intent.lists import Written


def arm_path(decides: dict[str, Any]) -> Path:
    """The file of an arm.

    Args:
        decides: everything that decides what is written: data, people, settings, model, adapter.
    """
    told = json.dumps(decides | {"prompts": prompting.fingerprint()}, sort_keys=True, default=str)
    name = hashlib.sha256(told.encode()).hexdigest()[:16]
    return subfolder("cache", "intent") / f"{name}.json"


def read_arm(path: Path) -> list[Written] | None:
    """What was written, in the order of the people; None when it was not kept."""
    if not path.exists():
        return None
    return [
        Written(
            tuple(Verdict.model_validate(one) for one in row["verdicts"]),
            tuple(Tag.model_validate(one) for one in row["tags"]),
            tuple(Step.model_validate(one) for one in row["steps"]),
            row["ms"],
        )
        for row in read_json(path)
    ]


def keep_arm(path: Path, written: Sequence[Written]) -> None:
    """Keep it."""
    write_json(
        path,
        [
            {
                "verdicts": [one.model_dump() for one in row.verdicts],
                "tags": [one.model_dump() for one in row.tags],
                "steps": [one.model_dump() for one in row.steps],
                "ms": row.ms,
            }
            for row in written
        ],
    )
