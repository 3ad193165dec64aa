"""Serve with chance, log, evaluate another policy from the log, and hold it against the truth."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from foretaste.agents.objects import Request
from foretaste.agents.online.live import Live
from foretaste.app.api.config import ApiConfig
from foretaste.app.api.service import Engine, Service
from foretaste.app.cli import cli
from foretaste.data.feedback import Feedback, shown_table
from foretaste.data.ledger import Ledger, ledger_path
from foretaste.judge.policies.own import ranked

WORTH = {"space-1": 0.9, "space-2": 0.8, "space-3": 0.2}  # of the others 0.4
PLACES = (1.0, 0.6, 0.4)  # how likely a place is looked at
PAGES = 120


def _run(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli, [*words, "--json", "-"])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


def _chance(item_id: str, place: int) -> float:
    return PLACES[place] * WORTH.get(item_id, 0.4)


async def _serve(tools: Any) -> None:
    """Pages for strangers with a history, and thumbs by the chances above."""
    ledger, draw = Ledger(ledger_path("films")), np.random.default_rng(0)
    service = Service(Live(tools, ledger), Engine(), ApiConfig())
    request = Request(history=("fear-1", "love-2"), n=len(PLACES), explain=False, environment=())
    thumbs = []
    for number in range(PAGES):
        made = await service.recommend(request, f"r{number}")
        for place, one in enumerate(made["recommendations"]):
            if draw.random() < _chance(one["item_id"], place):
                thumbs.append(Feedback(request_id=f"r{number}", item_id=one["item_id"], thumb="up"))
    await service.keep_feedback(thumbs)
    fixed = [await service.recommend(request, f"f{n}", fixed=True) for n in range(2)]
    pages = [[one["item_id"] for one in made["recommendations"]] for made in fixed]
    assert pages[0] == pages[1]
    await service.close()
    ledger.close()


@pytest.fixture
def films_tools(embedder: Any) -> Any:
    import runpy

    made = runpy.run_path(str(Path(__file__).parent / "conftest.py"))
    return made["film_tools"](embedder, swap=0.5)


def test_a_policy_that_was_not_served_is_worth_what_the_log_says(
    home: Path, tmp_path: Path, films_tools: Any
) -> None:
    asyncio.run(_serve(films_tools))
    table = shown_table("films")
    certain = table.filter(table["request_id"].str.starts_with("f"))
    assert certain["propensity"].to_list() == [1.0] * 6
    told = _run("judge", "log", "--dataset", "films", "--out", str(tmp_path))
    assert told["pages"] == PAGES + 2
    assert 0.9 < told["by_chance"] < 1
    assert len(told["policies"]) == 1
    base = ranked(table)["item_id"].to_list()[: len(PLACES)]
    assert base == certain["item_id"].to_list()[: len(PLACES)]
    report = _run(
        *("judge", "policies", "--log", str(tmp_path / "shown.parquet")),
        *("--context", "place", "--person", "request_id", "--resamples", "200"),
        *("--policy", f"ranked={tmp_path / 'ranked.parquet'}"),
    )
    truth = float(np.mean([_chance(item, place) for place, item in enumerate(base)]))
    found = report["policies"]["ranked"]
    low, high = found["ips"]["interval"]
    assert low < truth < high
    assert high - low < 0.3
    assert report["logging"]["contexts"] == 3 * (PAGES + 2)
