"""What was shown and what became of it: love, its gates, and which page an event belongs to, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from foretaste.data.feedback import SHOWN_COLUMNS, shown_line, shown_table
from foretaste.data.ledger import Ledger, ledger_path
from foretaste.data.love import Love, loved, loved_table

LINES = [
    {"item_id": "a", "score": 0.9, "channel": "tags", "placement": {"propensity": 0.9}},
    {"item_id": "b", "score": 0.8, "channel": "tags", "placement": None},
]
DAY = 86_400


def _shown(rows: list[tuple[str, float, str, int | None]]) -> pl.DataFrame:
    known = dict.fromkeys(SHOWN_COLUMNS)
    table = [
        known | {"request_id": one, "user_id": "u", "at": at, "item_id": item, "thumb": thumb}
        for one, at, item, thumb in rows
    ]
    return pl.DataFrame(table, schema=SHOWN_COLUMNS)


def test_the_largest_worth_counts_and_a_gate_cannot_be_outweighed() -> None:
    shown = _shown([("r", 10.5, "a", None), ("r", 10.5, "b", 1), ("r", 10.5, "c", -1)])
    events = [
        ("u", "a", 10, "click", None),
        ("u", "a", 99, "cart", None),
        ("u", "b", 12, "rating", 1.0),
        ("u", "c", 13, "purchase", None),
    ]
    found = loved(shown, events, Love())
    assert found["love"].to_list() == [0.5, 1.0, 1.0]
    assert found["gate"].to_list() == [None, "regret", "down"]
    assert found["reward"].to_list() == [0.5, 0.0, 0.0]


def test_an_event_belongs_to_the_last_page_before_it_and_not_for_ever() -> None:
    shown = _shown([("r1", 10.0, "a", None), ("r2", 20.0, "a", None), ("r3", 30.0, "a", None)])
    events = [
        ("u", "a", 25, "purchase", None),
        ("v", "a", 31, "purchase", None),
        ("u", "a", 30 + 8 * DAY, "purchase", None),
        ("u", "a", 5, "purchase", None),
    ]
    assert loved(shown, events, Love())["reward"].to_list() == [0.0, 1.0, 0.0]
    late = loved(shown, events, Love(days=9))
    assert late["reward"].to_list() == [0.0, 1.0, 1.0]


def test_nobody_did_anything() -> None:
    assert loved(_shown([("r", 1.0, "a", None)]), [], Love())["reward"].to_list() == [0.0]


def test_the_ledger_tells_what_was_shown_also_on_pages_of_older_logs(home: Path) -> None:
    old = [{"item_id": "x", "score": 0.4, "channel": "wish", "propensity": 1.0}]
    ledger = Ledger(ledger_path("d"))
    page = json.dumps([shown_line(line, "p1") for line in LINES])
    for name, at, text in (("r1", 1.0, json.dumps(old)), ("r2", 2.0, page)):
        ledger.write(("INSERT INTO exposures VALUES (?, ?, ?, ?)", [[name, at, "u", text]]))
    event = [[3.0, "u", "b", 3, "purchase"]]
    sql = "INSERT INTO interactions (at, user_id, item_id, timestamp, event) VALUES (?, ?, ?, ?, ?)"
    ledger.write((sql, event)).result()
    ledger.close()
    table = shown_table("d")
    assert table.select("request_id", "position", "item_id", "propensity", "policy").rows() == [
        ("r1", 1, "x", 1.0, ""),
        ("r2", 1, "a", 0.9, "p1"),
        ("r2", 2, "b", 1.0, "p1"),
    ]
    assert loved_table("d")["reward"].to_list() == [0.0, 0.0, 1.0]
