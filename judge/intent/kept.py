"""What an arm wrote, kept under home person by person: the same arm asks nobody twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from foretaste.agents.objects import Step, Tag, Verdict
from foretaste.agents.wording import prompting
from foretaste.data.appended import Appended, appended
from foretaste.data.files import subfolder
from foretaste.judge.intent.lists import Written


def arm_path(decides: dict[str, Any]) -> Path:
    """The file of an arm.

    Args:
        decides: everything that decides what is written about a person: data, settings, model, adapter.
    """
    told = json.dumps(decides | {"prompts": prompting.fingerprint()}, sort_keys=True, default=str)
    name = hashlib.sha256(told.encode()).hexdigest()[:16]
    return subfolder("cache", "intent") / f"{name}.jsonl"


def case_of(user: str, explained: bool) -> str:
    """The name of one person's line: with explanations more is asked about the same person."""
    return f"{user} explained" if explained else user


@contextmanager
def kept_arm(path: Path) -> Iterator[Appended[Written]]:
    """What an arm wrote so far, by case, for the block; lines of `line_of` are added to it."""
    with appended(path, "case", _written) as kept:
        yield kept


def line_of(case: str, written: Written) -> dict[str, Any]:
    """One line of the file."""
    return {
        "case": case,
        "verdicts": [one.model_dump() for one in written.verdicts],
        "tags": [one.model_dump() for one in written.tags],
        "steps": [one.model_dump() for one in written.steps],
        "ms": written.ms,
    }


def _written(line: dict[str, Any]) -> Written:
    return Written(
        tuple(Verdict.model_validate(one) for one in line["verdicts"]),
        tuple(Tag.model_validate(one) for one in line["tags"]),
        tuple(Step.model_validate(one) for one in line["steps"]),
        line["ms"],
    )
