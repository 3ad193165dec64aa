"""One training row, the fingerprint of what it was made for, its files, and the data card."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from foretaste.agents.wording import prompting
from foretaste.agents.wording.schemas import (
    ArbiterAnswer,
    ExpertAnswer,
    ExplainerAnswer,
    PlannerAnswer,
    StyleAnswer,
)
from foretaste.data.errors import InputError
from foretaste.data.files import read_json, replacing, sha256, write_json
from foretaste.serving.chat import Message
from foretaste.serving.chat_json import schema_text

ANSWERS: dict[str, type[BaseModel]] = {
    "planner": PlannerAnswer,
    "expert": ExpertAnswer,
    "arbiter": ArbiterAnswer,
    "explainer": ExplainerAnswer,
    "style": StyleAnswer,
}
GENERAL = "general"
ROWS, LINES, CARD = "rows.parquet", "rows.jsonl", "card.json"
Kind = Literal["behaviour", "environment", "general"]
Part = Literal["train", "validation"]


class Row(BaseModel):
    """One conversation whose last turn is learnt.

    Attributes:
        agent: whose call it is, or `general`.
        kind: what its context adds to the behaviours.
        part: learnt from, or only used to choose the checkpoint.
        dataset, user: where it comes from; empty for general rows.
        teacher: who wrote the answer: `hindsight`, `self`, or a model's name.
        stage: place in the curriculum, the easy first.
        messages: turns of `role` and `content`; the last is the answer.
        fingerprint: of prompts and schemas, see `fingerprint`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    agent: str
    kind: Kind
    part: Part
    dataset: str
    user: str
    teacher: str
    stage: int
    messages: list[dict[str, str]]
    fingerprint: str


@cache
def fingerprint() -> str:
    """16 hex digits over every prompt file and answer schema: rows made for others are refused."""
    schemas = "\0".join(schema_text(cls) for cls in ANSWERS.values())
    return hashlib.sha256(f"{prompting.fingerprint()}\0{schemas}".encode()).hexdigest()[:16]


def answered(prompt: Sequence[Message], answer: BaseModel | str) -> list[dict[str, str]]:
    """The turns of a row: the prompt as it is served with entities written out, and the answer.

    An answer object is written as the engine's grammar writes it: compact, every field in order.
    """
    text = answer if isinstance(answer, str) else answer.model_dump_json()
    turns = [{"role": turn.role, "content": turn.text} for turn in prompt]
    return [*turns, {"role": "assistant", "content": text}]


def save(folder: Path, rows: Sequence[Row], card: dict[str, Any]) -> None:
    """Write `rows.parquet`, `rows.jsonl` (the same) and `card.json`; `datasets` loads either.

    The card goes first and comes last: rows without one were not finished.
    """
    table = [row.model_dump() for row in rows]
    (folder / CARD).unlink(missing_ok=True)
    with replacing(folder / ROWS) as part:
        pl.DataFrame(table, infer_schema_length=None).write_parquet(part)
    with replacing(folder / LINES) as part, part.open("w", encoding="utf-8") as file:
        for line in table:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    sums = {name: sha256(folder / name) for name in (ROWS, LINES)}
    write_json(folder / CARD, card | {"sha256": sums})


def load(path: Path) -> list[Row]:
    """The rows of a folder of `save`, or of one of its files.

    Raises:
        InputError: no such file, no rows, rows of another form, or rows that were made for other
            prompts or schemas than are served now.
    """
    file = path / ROWS if path.is_dir() else path
    if not file.is_file():
        raise InputError(
            f"Training rows were expected in {path}; make them with `foretaste finetune examples`."
        )
    if path.is_dir():
        _finished(path)
    try:
        if file.suffix == ".parquet":
            table = pl.read_parquet(file).to_dicts()
        else:
            lines = file.read_text(encoding="utf-8").splitlines()
            table = [json.loads(line) for line in lines if line.strip()]
        rows = [Row.model_validate(line) for line in table]
    except (pl.exceptions.PolarsError, ValueError, ValidationError) as error:
        raise InputError(
            f"{file} holds no training rows ({str(error)[:200]}); make them with "
            "`foretaste finetune examples`."
        ) from error
    if not rows:
        raise InputError(f"{file} is empty; make more rows with `foretaste finetune examples`.")
    made_for = {row.fingerprint for row in rows} - {fingerprint()}
    if made_for:
        raise InputError(
            f"The rows in {file} were made for prompts {min(made_for)} and {fingerprint()} are "
            "served now; make them anew with `foretaste finetune examples`."
        )
    return rows


def _finished(folder: Path) -> None:
    """Refuse rows whose card is missing, and those that are not the ones it was written for."""
    if not (folder / CARD).is_file():
        raise InputError(
            f"The rows in {folder} were not finished ({CARD} is missing); make them again with "
            "`foretaste finetune examples`."
        )
    card = read_json(folder / CARD)
    wanted = card.get("sha256", {}).get(ROWS) if isinstance(card, dict) else ""
    if wanted is not None and wanted != sha256(folder / ROWS):
        raise InputError(
            f"{folder / ROWS} was altered (its sha256 differs from that in {CARD}); make the rows "
            "again with `foretaste finetune examples`, or name the file itself to take it as it is."
        )


def counts(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """How many rows by agent, kind, part and teacher."""
    names = ("agent", "kind", "part", "teacher", "dataset")
    return {name: dict(Counter(getattr(row, name) for row in rows)) for name in names}
