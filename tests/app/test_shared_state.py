"""What several servers share, in a real Postgres that the test starts: feedback, items, profiles, limits."""

from __future__ import annotations

import asyncio
import glob
import os
import runpy
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foretaste.agents.contexts.profile_store import stored_profiles
from foretaste.agents.online.live import Live
from foretaste.agents.running import checkpoints
from foretaste.app.api.config import ApiConfig
from foretaste.app.api.errors import Refused
from foretaste.app.api.gate import Gate
from foretaste.app.api.guard import Guard
from foretaste.app.api.keys import ApiKey, KeyRing
from foretaste.app.api.limits import Limits
from foretaste.app.api.metrics import Metrics
from foretaste.app.api.shared_limits import SharedLimits, shared_limits
from foretaste.data.changes import Interaction, Item
from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.feedback import feedback_table
from foretaste.data.ledger import Changes, ledger_path, open_ledger, read_ledger
from foretaste.data.postgres import Database, schema_of

pytest.importorskip("psycopg", reason="foretaste[postgres] is not installed")
FILMS = runpy.run_path(str(Path(__file__).parent.parent / "agents" / "conftest.py"))
PLACES = ("/usr/local/bin", "/usr/bin", *sorted(glob.glob("/usr/lib/postgresql/*/bin")))
THUMB = "INSERT INTO feedback VALUES (?, ?, ?, ?, ?, ?)"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a Postgres of our own, on a socket in a folder."""
    found = [
        Path(one) for one in PLACES if all((Path(one) / p).exists() for p in ("initdb", "postgres"))
    ]
    if not found:
        pytest.skip(f"initdb and postgres were looked for in {', '.join(PLACES)}: not there")
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("Postgres does not run as root, and there is no runuser to start it with")
    as_user = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
    place = Path(tempfile.mkdtemp(prefix="foretaste-pg-"))
    if as_user:
        shutil.chown(place, "nobody")
    data = place / "data"
    made = [*as_user, str(found[0] / "initdb"), "-D", str(data), "-A", "trust", "-U", "foretaste"]
    subprocess.run(
        [*made, "--no-sync", "--locale=C", "-E", "UTF8"], check=True, capture_output=True, cwd="/"
    )
    options = ["-k", str(place), "-c", "listen_addresses=", "-c", "fsync=off"]
    running = subprocess.Popen(
        [*as_user, str(found[0] / "postgres"), "-D", str(data), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    address = f"postgresql://foretaste@/postgres?host={place}"
    try:
        _wait_for(address)
        yield address
    finally:
        running.terminate()
        running.wait(30)
        shutil.rmtree(place, ignore_errors=True)


def _wait_for(address: str) -> None:
    import psycopg

    for _ in range(300):
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    pytest.fail("Postgres did not start")


@pytest.fixture
def state(server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The shared database, empty."""
    import psycopg

    monkeypatch.setenv("FORETASTE_STATE", server)
    yield server
    with psycopg.connect(server, autocommit=True) as connection:
        for name in ("films", "limits"):
            connection.execute(f'DROP SCHEMA IF EXISTS "foretaste_{name}" CASCADE')  # type: ignore[arg-type]


@pytest.fixture
def ledgers(state: str) -> Iterator[Callable[[], Changes]]:
    """Opens ledgers of the films, as each server does."""
    opened: list[Changes] = []

    def another() -> Changes:
        opened.append(open_ledger("films"))
        return opened[-1]

    yield another
    for ledger in opened:
        ledger.close()


def test_a_schema_fits_a_name_of_postgres() -> None:
    assert schema_of("ml-100k") == "foretaste_ml-100k"
    long = schema_of("a" * 100)
    assert len(long) == 63
    assert long != schema_of("a" * 99)


def test_what_one_server_keeps_every_server_reads(ledgers: Callable[[], Changes]) -> None:
    one, other = ledgers(), ledgers()
    page = '[{"item_id": "fear-1", "score": 0.5, "channel": "tags", "propensity": 1.0}]'
    shown = one.write(("INSERT INTO exposures VALUES (?, ?, ?, ?)", [["r1", 1.0, "ann", page]]))
    assert shown.result(30) == 1
    rows = [["r1", "ann", "fear-1", 2.0, 1, "cosy"], ["r2", "bob", "love-1", 3.0, -1, None]]
    assert other.write((THUMB, rows)).result(30) == 2
    twice = one.write((THUMB, [rows[0]]))
    fine = one.write((THUMB, [["r3", "bob", "love-2", 4.0, 1, None]]))
    assert fine.result(30) == 1
    with pytest.raises(ForetasteError, match="did not take a change"):
        twice.result(30)
    sql = "SELECT request_id FROM feedback WHERE user_id = ? ORDER BY at"
    assert read_ledger(ledger_path("films"), sql, ["bob"]) == [("r2",), ("r3",)]
    table = feedback_table("films").to_dicts()
    assert [row["thumb"] for row in table] == [1, -1, 1]
    assert (table[0]["position"], table[0]["channel"]) == (1, "tags")
    assert not (Path(os.environ["FORETASTE_HOME"]) / "live" / "films" / "ledger.sqlite").exists()


def test_servers_follow_each_other(ledgers: Callable[[], Changes], embedder: Any) -> None:
    one, other = (Live(FILMS["film_tools"](embedder), ledgers()) for _ in range(2))

    async def happen() -> None:
        await one.upsert_items([Item(item_id="new-1", title="Star Ferry")])
        await one.delete_items(["odd-1"])
        await one.add_interactions([Interaction(user_id="ann", item_id="new-1", timestamp=400)])
        await one.follow()
        await other.follow()

    asyncio.run(happen())
    for live in (one, other):
        dataset = live.tools.dataset
        assert dataset.item_ids[-1] == "new-1"
        assert dataset.titles[-1] == "Star Ferry"
        assert dataset.withdrawn.tolist() == [dataset.row_of["odd-1"]]
        assert [row["item_id"] for row in dataset.events_of("ann")][-2:] == ["love-1", "new-1"]

    async def leave() -> None:
        await other.forget("ann")
        await one.follow()
        await one.add_interactions([Interaction(user_id="ann", item_id="fear-1", timestamp=500)])
        await other.follow()

    asyncio.run(leave())
    for live in (one, other):
        assert [row["item_id"] for row in live.tools.dataset.events_of("ann")] == ["fear-1"]
    late = Live(FILMS["film_tools"](embedder), ledgers())
    assert late.tools.dataset.item_ids == one.tools.dataset.item_ids
    assert [row["item_id"] for row in late.tools.dataset.events_of("ann")] == ["fear-1"]


def test_profiles_are_kept_for_all(state: str) -> None:
    one, other = stored_profiles("films").store, stored_profiles("films").store
    assert one is not None
    assert other is not None
    one.put("ann", "first")
    other.put("ann", "second")
    assert one.get("ann") == "second"
    assert one.get("bob") is None
    assert (other.forget("ann"), other.forget("ann"), one.get("ann")) == (True, False, None)
    one.close()
    other.close()


def test_a_key_has_one_rate_over_all_servers(state: str) -> None:
    one, other = SharedLimits(state), shared_limits()
    assert other is not None
    alone = Limits(clock=lambda: 0.0)
    asked = [(one, other)[turn % 2].wait_s("shop", 0.01, 3) for turn in range(4)]
    assert asked[:3] == [0, 0, 0]
    for _ in range(3):
        with alone.using("shop", 0.01, 3, 9):
            pass
    assert asked[3] == pytest.approx(alone.wait_s("shop", 0.01, 3), abs=1.0)
    assert one.wait_s("else", 0.01, 3) == 0
    one.close()
    other.close()


def test_the_door_asks_the_shared_limits(state: str) -> None:
    key = ApiKey(name="shop", id="k", sha256="", created=0.0, rate=0.01)
    doors = [
        Guard(_nothing, KeyRing(), ApiConfig(), Metrics(Gate(1, 1)), shared=SharedLimits(state))
        for _ in range(2)
    ]

    async def through(door: Guard) -> None:
        async with door._limited(key):
            pass

    asyncio.run(through(doors[0]))
    with pytest.raises(Refused) as refused:
        asyncio.run(through(doors[1]))
    assert refused.value.status_code == 429
    for door in doors:
        assert door.shared is not None
        door.shared.close()


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """An application that nobody reaches."""


def test_checkpoints_go_there_too(state: str) -> None:
    async def kept() -> str:
        async with checkpoints.opened("films") as opened:
            return type(opened.saver).__name__

    assert asyncio.run(kept()) == "AsyncPostgresSaver"


def test_a_lost_connection_is_made_again(state: str) -> None:
    database = Database(state, "foretaste_films", "CREATE TABLE words (word TEXT)", "words")
    database.write(("INSERT INTO words VALUES (?)", [["one"]]))
    with Database(state, "foretaste_films", "", "words").transaction() as run:
        run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    assert database.write(("INSERT INTO words VALUES (?)", [["two"]])) == 1
    assert database.read("SELECT word FROM words") == [("one",), ("two",)]
    with pytest.raises(ForetasteError, match="FORETASTE_STATE"):
        database.read("SELECT nothing FROM nowhere")
    database.close()


def test_an_address_that_is_none_or_does_not_answer_is_one_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETASTE_STATE", "mysql://here")
    with pytest.raises(InputError, match="postgresql://"):
        open_ledger("films")
    monkeypatch.setenv("FORETASTE_STATE", "postgresql://secret:word@127.0.0.1:9/none")
    with pytest.raises(ForetasteError, match="FORETASTE_STATE") as refused:
        open_ledger("films")
    assert "secret" not in str(refused.value)
