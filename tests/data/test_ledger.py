"""The ledger: on disk before it is said, one bad write spoils no other, nothing erased stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import wait
from pathlib import Path

import pytest

from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.feedback import feedback_table
from foretaste.data.ledger import Ledger, ledger_path, read_ledger

ADD = "INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?)"
COUNT = "SELECT count(*) FROM feedback"


def _row(request: str, user: str = "u", item: str = "i") -> list[object]:
    return [request, user, item, 1.0, 1, "why"]


def test_writes_are_read_back_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "shop" / "ledger.sqlite"
    first = Ledger(path)
    writes = [first.write((ADD, [_row(str(n))])) for n in range(1_000)]
    assert sum(write.result() for write in writes) == 1_000
    first.close()
    second = Ledger(path)
    assert second.read(COUNT) == [(1_000,)]
    second.close()


def test_a_write_that_does_not_fit_leaves_the_others_alone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "shop" / "ledger.sqlite")
    good, twice, after = (
        ledger.write((ADD, [_row("a")])),
        ledger.write((ADD, [_row("b"), _row("a")])),
        ledger.write((ADD, [_row("c")])),
    )
    wait([good, twice, after])
    with pytest.raises(ForetasteError, match="did not take a change"):
        twice.result()
    assert ledger.read("SELECT request_id FROM feedback ORDER BY 1") == [("a",), ("c",)]
    ledger.close()
    with pytest.raises(ForetasteError, match="stopping"):
        ledger.write((ADD, [_row("d")])).result()


def test_only_one_process_serves_a_data_set(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "shop" / "ledger.sqlite")
    with pytest.raises(InputError, match="already served"):
        Ledger(tmp_path / "shop" / "ledger.sqlite")
    ledger.close()
    Ledger(tmp_path / "shop" / "ledger.sqlite").close()


def test_what_was_erased_is_in_no_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "shop" / "ledger.sqlite")
    ledger.write((ADD, [_row("a", user="someone-very-private")])).result()
    ledger.write(
        ("DELETE FROM feedback WHERE user_id = ?", [["someone-very-private"]]), erases=True
    ).result()
    files = [file.read_bytes() for file in (tmp_path / "shop").iterdir() if file.is_file()]
    assert not any(b"someone-very-private" in file for file in files)
    ledger.close()


def test_whatever_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "shop" / "ledger.sqlite"
    program = (
        "import sys; from pathlib import Path; from foretaste.data.ledger import Ledger\n"
        f"ledger = Ledger(Path({str(path)!r}))\n"
        "for n in range(100_000):\n"
        f"    ledger.write(({ADD!r}, [[str(n), 'u', 'i', 1.0, 1, None]])).result()\n"
        "    print(n, flush=True)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told = [int(child.stdout.readline()) for _ in range(40)]
    os.kill(child.pid, signal.SIGKILL)
    told += [int(line) for line in child.stdout.read().split("\n")[:-1]]
    child.wait()
    kept = {int(request) for (request,) in read_ledger(path, "SELECT request_id FROM feedback")}
    assert set(told) <= kept


def test_feedback_stands_beside_how_the_item_was_shown(home: Path) -> None:
    ledger = Ledger(ledger_path("shop"))
    page = '[{"item_id": "x", "score": 0.9, "channel": "tags", "propensity": 1.0}, '
    page += '{"item_id": "i", "score": 0.4, "channel": "wish", "propensity": 1.0}]'
    ledger.write(("INSERT INTO exposures VALUES (?, ?, ?, ?)", [["a", 1.0, "u", page]]))
    ledger.write((ADD, [_row("a"), _row("strange")])).result()
    table = feedback_table("shop")
    assert table.select("request_id", "position", "score", "channel", "propensity").rows() == [
        ("a", 2, 0.4, "wish", 1.0),
        ("strange", None, None, None, None),
    ]
    ledger.close()
    assert feedback_table("never-served").is_empty()
