"""`foretaste judge probe`: which planted defects are found, and how often a clean page is doubted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foretaste.agents.retrieval.tools import Tools
from foretaste.data.errors import InputError
from foretaste.data.progress import meter
from foretaste.judge.probes.defects import Ground, ground_of, plant
from foretaste.judge.probes.detectors import KINDS, Detectors, Kind
from foretaste.judge.probes.fit import FitHead, features_of, fit_head
from foretaste.judge.probes.pages import Page, clean_pages

EXAMPLES = 3  # missed defects and false alarms that are shown of each kind
DAY = ("Wednesday 8 July 2026", "season: summer")  # for which pages are made


@dataclass(frozen=True)
class ProbeConfig:
    """How a data set is probed.

    Attributes:
        users: whose pages are made; the fit head learns from one half, the other is measured.
        n: items of a page.
        seed: of users, defects and the head.
        environment: texts about the day.
    """

    users: int = 400
    n: int = 10
    seed: int = 0
    environment: tuple[str, ...] = DAY


def probe(tools: Tools, config: ProbeConfig | None = None) -> dict[str, Any]:
    """Plant each kind of defect into every measured page, and look for it.

    Args:
        tools: of the data set, without a language model.
        config: of the probe.

    Returns:
        kinds: name → n, detected (by a finding of that kind), any (by a finding of any kind);
        clean: n, false_alarms (pages with any finding), by kind; and examples of what went wrong.

    Raises:
        InputError: too few users.
    """
    config = config or ProbeConfig()
    if config.users < 8:
        raise InputError(
            f"--users expects 8 or more, half of them to learn from, not {config.users}."
        )
    pages = clean_pages(tools, config.users, config.n, config.seed, config.environment)
    half = len(pages) // 2
    learns, measured = pages[:half], pages[half:]
    fit = _fitted(tools, learns, config.seed)
    detectors = Detectors(
        tools.dataset, lambda page: bool(fit.foreign(features_of(tools, [page]))[0])
    )
    alarms = [(page, detectors.findings(page)) for page in measured]
    wrong = [(page, found) for page, found in alarms if found]
    kinds, missed = _planted(detectors, measured, ground_of(tools, measured), config.seed)
    return {
        "dataset": tools.dataset.name,
        "users": len(pages),
        "items": config.n,
        "seed": config.seed,
        "environment": list(config.environment),
        "kinds": kinds,
        "clean": {
            "n": len(measured),
            "false_alarms": len(wrong),
            "kinds": dict(Counter(kind for _, found in wrong for kind in {x.kind for x in found})),
            "examples": [
                {"user": page.user_id, "kind": found[0].kind, "reason": found[0].reason}
                for page, found in wrong[:EXAMPLES]
            ],
        },
        "missed": missed,
    }


def _fitted(tools: Tools, pages: Sequence[Page], seed: int) -> FitHead:
    """The head that tells foreign items, from pages that are not measured."""
    ground, draw = Ground(tools, pages, ()), np.random.default_rng([seed, 1])
    foreign = [found.page for page in pages if (found := plant("foreign", page, ground, draw))]
    if not foreign:
        raise InputError(
            "Everybody gets the same page, so foreign items cannot be told; import more users."
        )
    return fit_head(features_of(tools, pages), features_of(tools, foreign), seed)


def _planted(
    detectors: Detectors, pages: Sequence[Page], ground: Ground, seed: int
) -> tuple[dict[str, dict[str, int]], dict[str, list[dict[str, str]]]]:
    """Counts by kind, and some defects that nobody saw."""
    counts = {kind: {"n": 0, "detected": 0, "any": 0} for kind in KINDS}
    missed: dict[str, list[dict[str, str]]] = {}
    with meter("Looking for planted defects", len(KINDS) * len(pages), "pages") as progress:
        for number, kind in enumerate(KINDS):
            draw = np.random.default_rng([seed, 2, number])
            for page in pages:
                found = plant(kind, page, ground, draw)
                progress.advance(1)
                if found is None:
                    continue
                seen = detectors.findings(found.page)
                row = counts[kind]
                row["n"] += 1
                row["detected"] += any(one.kind == kind for one in seen)
                row["any"] += bool(seen)
                if not any(one.kind == kind for one in seen):
                    some = missed.setdefault(kind, [])
                    if len(some) < EXAMPLES:
                        some.append(_example(kind, page, found.page))
    return {kind: row for kind, row in counts.items() if row["n"]}, missed


def _example(kind: Kind, clean: Page, planted: Page) -> dict[str, str]:
    """What was planted, for people."""
    texts = [two.text for one, two in zip(clean.places, planted.places, strict=False) if one != two]
    return {"user": clean.user_id, "planted": texts[0] if texts else kind}
