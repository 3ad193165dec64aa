"""The road of `foretaste finetune examples --from feedback`: a server's log in, preferences out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.files import subfolder, write_json
from foretaste.data.ledger import ledger_path, read_ledger
from foretaste.data.love import Love, loved_table
from foretaste.data.store import load_dataset
from foretaste.finetune.examples.rows import CARD
from foretaste.finetune.feedback.config import FeedbackConfig
from foretaste.finetune.feedback.preferences import Row, corrected, preferences
from foretaste.finetune.reward.data import TIERS, Group, write_groups
from foretaste.judge.objects import Case
from foretaste.judge.records import Records
from foretaste.judge.reward import answer_of, context_of

KNOWN_EVENTS = 50  # newest choices that the context is told from


def from_feedback(
    name: str, config: FeedbackConfig, love: Love, out: Path | None = None
) -> dict[str, Any]:
    """Turn what was shown and what became of it into preferences for `finetune reward --groups`.

    Args:
        name: of an imported data set that was served.
        config: which confounders are removed, and how.
        love: what counts as love.
        out: folder to write; `<home>/examples/<name>-feedback` when None.

    Returns:
        The card, which is saved beside the rows: groups, answers by tier, what places and popularity
        did, and how far they are removed.

    Raises:
        InputError: nobody who is known loved or refused anything that was shown to them.
    """
    start = time.perf_counter()
    dataset = load_dataset(name)
    shown = loved_table(name, love).filter(pl.col("user_id") != "")
    if shown.is_empty():
        raise InputError(
            f"No page of {name} was shown to anybody with a user id in this home; serve it first "
            "(`foretaste serve`)."
        )
    counts = dict(dataset.interactions["item_id"].drop_nulls().value_counts().iter_rows())
    log = corrected(shown, counts, config)
    teller = _Teller(dataset)
    groups = list(preferences(log, teller.context, teller.answer))
    if not groups:
        raise InputError(
            f"Nobody loved or refused anything of {name} that was shown to them in this home; "
            "serve it with user ids, and send /v1/feedback and /v1/interactions."
        )
    folder = out or subfolder("examples") / f"{name}-feedback"
    card = {
        "dataset": name,
        "data_fingerprint": dataset.info.fingerprint,
        "from": "feedback",
        "groups": len(groups),
        "people": len({group.owner for group in groups}),
        "answers": _tiers(groups),
        "shown": len(log.rows),
        "gates": dict(Counter(row["gate"] for row in log.rows if row["gate"])),
        "by_chance": log.positions.by_chance,
        "places": [round(float(one), 4) for one in log.positions.effects],
        "popularity_slope": round(log.slope, 4),
        "drift": log.drift(),
        "settings": {"feedback": config.model_dump(), "love": love.model_dump()},
        "wall_s": round(time.perf_counter() - start, 1),
    }
    write_groups(folder, groups)
    write_json(folder / CARD, card)
    return card | {"folder": str(folder)}


class _Teller:
    """People and items in the words that a reward model reads when it judges (`judge/reward.py`)."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self._records = dataset, Records(dataset)
        self._live: dict[str, list[tuple[int, str]]] = {}
        sql = (
            "SELECT user_id, timestamp, item_id FROM interactions WHERE item_id IS NOT NULL "
            "ORDER BY timestamp"
        )
        for user_id, timestamp, item_id in read_ledger(ledger_path(dataset.name), sql):
            self._live.setdefault(user_id, []).append((timestamp, item_id))

    def context(self, row: Row) -> str:
        """What the person had chosen before the page was shown."""
        chosen = self._chosen(row["user_id"], row["at"])
        case = Case(id="page", chosen=chosen, answer=())
        return context_of(self._records.of_person(case))

    def answer(self, row: Row) -> str:
        """An item with its facts; empty when the import does not know it."""
        facts = self._records.facts([row["item_id"]])
        return answer_of(Case(id="item", answer=facts)) if facts else ""

    def _chosen(self, user_id: str, at: float) -> tuple[str, ...]:
        """Items of the newest events before a time, oldest first; a set without times has all."""
        info = self._dataset.info
        imported = [
            row["item_id"]
            for row in self._dataset.events_of(user_id)
            if row["item_id"] is not None and (info.order_only or row["timestamp"] < at)
        ]
        later = [item for timestamp, item in self._live.get(user_id, ()) if timestamp < at]
        known = [item for item in (*imported, *later) if item in self._dataset.row_of]
        return tuple(known[-KNOWN_EVENTS:])


def _tiers(groups: Sequence[Group]) -> Mapping[str, int]:
    counted = Counter(tier for group in groups for tier in group.tiers)
    return {name: counted[number] for name, number in TIERS.items()}
