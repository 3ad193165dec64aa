"""People's own marks of the rows of a file, and how far they agree with the judge."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np

from foretaste.app.page.judging import Sheet
from foretaste.data.appended import appended
from foretaste.data.files import subfolder
from foretaste.judge.batch.saved import Record
from foretaste.judge.objects import TIERS, Tier
from foretaste.judge.people.agreement import confusion, kappa


def marks_path(sheet: Sheet, who: str) -> Path:
    """Where one person's marks of a file are kept."""
    by = hashlib.sha256(who.strip().casefold().encode()).hexdigest()[:8]
    return subfolder("judged") / f"{sheet.digest}-people-{by}.jsonl"


def marked(path: Path) -> dict[str, Tier]:
    """Case id → the tier that the person gave."""
    if not path.exists():
        return {}
    with appended(path, "id", _tier) as kept:
        return dict(kept.done)


def mark(path: Path, case_id: str, tier: Tier) -> None:
    """Keep a tier of one row; on disk when this returns, and the first one stands."""
    with appended(path, "id", _tier) as kept:
        if case_id not in kept.done:
            kept.add({"id": case_id, "tier": tier, "at": time.time()})


def agreement(marks: dict[str, Tier], records: list[Record]) -> dict[str, Any] | None:
    """How far people and judge agree on the rows that both have: n, share of the same tiers, and
    quadratic κ over B, A, S; None without such rows.
    """
    both = [(marks[one.id], one.tier) for one in records if one.id in marks and one.tier]
    if not both:
        return None
    order = {tier: place for place, tier in enumerate(reversed(TIERS))}  # B 0, A 1, S 2
    people, said = (np.array([order[pair[side]] for pair in both]) for side in (0, 1))
    value = kappa(confusion(people, said, len(TIERS)), "quadratic")
    return {"n": len(both), "same": float((people == said).mean()), "kappa_quadratic": value}


def ordering(marks: dict[str, Tier], records: list[Record]) -> dict[str, Any] | None:
    """For a judge that gives scores alone: of the pairs of rows that the person put into different
    tiers, the share whose better row has the higher score (ties count half); None without such pairs.
    """
    both = [(TIERS.index(marks[one.id]), one.score) for one in records if one.id in marks]
    scored = [(tier, score) for tier, score in both if score is not None]
    points = [
        1.0 if score > other else 0.5 if score == other else 0.0
        for tier, score in scored
        for below, other in scored
        if tier < below  # TIERS fall: a smaller place is the better one
    ]
    return {"pairs": len(points), "right": float(np.mean(points))} if points else None


def _tier(line: dict[str, Any]) -> Tier:
    tier: Tier = line["tier"]
    if tier not in TIERS:
        raise KeyError(tier)
    return tier
