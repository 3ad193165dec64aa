"""An index and a ledger that change while they are killed: what was acknowledged is there, once."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forks
import shop
from commands import IMPORTED, Command, Found
from trials import Verdict, compare, copied, leftovers, look, prepared

CHANGES = 60
_CLIENTS = 4
_SENT = 40  # a client, in the undisturbed run


def _said(path: Path) -> list[str]:
    """Whole lines of a file of acknowledgements."""
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].split()


def _item(number: int) -> tuple[str, str]:
    """Id and text of the number-th change: ten items that come, change and go."""
    return f"new{number % 10}", f"a new thing of round {number // 10}"


class IndexChanges:
    """The journal beside an item index, killed while items come, change and go."""

    fault, name = "kill -9", "index update"
    most: int | None = None

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.command = Command("index update", lambda home: [], _found_items, before=IMPORTED)

    def prepare(self, folder: Path) -> None:
        """All changes, undisturbed."""
        self.template = prepared(self.command, folder)
        home = copied(self.template, folder / "undisturbed")
        counted = folder / "changes.txt"
        ended = forks.run(_changing(home), folder / "said.txt", counted=counted)
        self.after = look(self.command, home).found or {}
        if ended.code != 0 or not self.after:
            raise SystemExit(f"index update: undisturbed it failed: {ended.said[-2000:]}")
        self.seconds, self.writes = ended.seconds, int(counted.read_text())

    def trial(self, number: int, folder: Path) -> Verdict:
        """Kill it; every acknowledged change must be there; go on to the end."""
        verdict, home = Verdict(), copied(self.template, folder / "one")
        moment = forks.moments(self.seed, self.seconds, self.writes, number)
        forks.run(_changing(home), folder / "said.txt", moment)
        seen = look(self.command, home)
        told = len(_said(home.parent / "told.txt"))
        if seen.fault or seen.found is None:
            verdict.corrupt += 1
            verdict.faults.append(f"the index does not open after the kill: {seen.said[-400:]}")
        elif seen.found not in (_state(told), _state(told + 1)):
            verdict.lost += 1
            verdict.faults.append(f"after {told} acknowledged changes it holds another state")
        ended = forks.run(_changing(home), folder / "said.txt")
        if ended.code != 0 or ended.fault:
            verdict.faults.append(f"the other changes were not taken: {ended.said[-400:]}")
            return verdict
        compare(look(self.command, home).found or {}, self.after, verdict)
        return verdict


def _state(changes: int) -> Found:
    """What the new items are after so many changes: number of the round, while they are there."""
    held: dict[str, str] = {}
    for number in range(changes):
        name, text = _item(number)
        if number % 7 == 6:
            held.pop(name, None)
        else:
            held[name] = text
    return {name: [text] for name, text in held.items()} | {"items": [str(shop.ITEMS + len(held))]}


def _changing(home: Path) -> Callable[[], None]:
    """Makes the changes that are not acknowledged yet, and acknowledges each."""

    def work() -> None:
        shop.use_home(home)
        index, words = _opened()
        told = home.parent / "told.txt"
        with told.open("a", buffering=1) as out:
            for number in range(len(_said(told)), CHANGES):
                name, text = _item(number)
                if number % 7 != 6:
                    index.upsert([name], [text], words.encode([text]))
                elif index.row(name) is not None:
                    index.remove([name])
                out.write(f"{number}\n")

    return work


def _found_items(home: Path) -> Found:
    """The new items by their texts, and how many items there are."""
    index, words = _opened()
    texts = [f"a new thing of round {number}" for number in range(CHANGES // 10)]
    made: Found = {"items": [str(int(index.present.sum()))]}
    for text, vector in zip(texts, words.encode(texts), strict=True):
        hits = index.search(vector[None], 60)
        for row, score in zip(hits.rows[0].tolist(), hits.scores[0].tolist(), strict=True):
            name = index.item_ids[row] if row >= 0 else ""
            if score > 1 - 1e-5 and name.startswith("new"):
                made.setdefault(name, []).append(text)
    return made


def _opened() -> tuple[Any, Any]:
    from foretaste.data.store import load_dataset
    from foretaste.serving.index.opened import open_live_index

    words = shop.Words()
    return open_live_index(load_dataset(shop.NAME), words), words


class Feedback:
    """`foretaste serve` under load, killed: every acknowledged change is kept, none twice."""

    fault, name = "kill -9", "feedback under load"
    most: int | None = None

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.command = Command("feedback", lambda home: [], _found_ledger, before=IMPORTED)

    def prepare(self, folder: Path) -> None:
        """How long the load takes, undisturbed."""
        self.template = prepared(self.command, folder)
        home = copied(self.template, folder / "undisturbed")
        with served(home) as (_, url):
            ended = forks.run(_loading(home, url), folder / "load.txt")
        self.after = look(self.command, home).found or {}
        wanted = 3 * _CLIENTS * _SENT
        if ended.code != 0 or len(self.after) != wanted:
            raise SystemExit(
                f"feedback: {len(self.after)} of {wanted} kept, undisturbed: {ended.said[-2000:]}"
            )
        self.seconds = ended.seconds

    def trial(self, number: int, folder: Path) -> Verdict:
        """Kill the server in the middle, start it again, send all that was not acknowledged."""
        verdict, home = Verdict(), copied(self.template, folder / "one")
        draw = forks.moments(self.seed, self.seconds, 0, number).seconds or 0.0
        with served(home) as (server, url):
            killer = threading.Timer(draw, os.kill, (server, 9))
            killer.start()
            forks.run(_loading(home, url), folder / "load.txt")
            killer.cancel()
        self._held(home, verdict, part=True)
        with served(home) as (_, url):
            ended = forks.run(_loading(home, url), folder / "load.txt")
        if ended.code != 0:
            verdict.faults.append(f"not all was taken after the start: {ended.said[-400:]}")
        self._held(home, verdict, part=False)
        if left := leftovers(home.parent):
            verdict.faults.append(f"left behind: {', '.join(left[:3])}")
        return verdict

    def _held(self, home: Path, verdict: Verdict, *, part: bool) -> None:
        """What was acknowledged is in the ledger, and nothing is there twice."""
        seen = look(self.command, home)
        if seen.found is None:
            verdict.corrupt += 1
            verdict.faults.append(f"the ledger cannot be read: {seen.said[-300:]}")
            return
        told = set(_said(home.parent / "told.txt"))
        lost = told - set(seen.found)
        verdict.lost += len(lost)
        if lost:
            verdict.faults.append(f"acknowledged and not kept: {sorted(lost)[:3]}")
        compare(seen.found, self.after, verdict, part=part)


def _found_ledger(home: Path) -> Found:
    from foretaste.data.ledger import ledger_path, read_ledger

    path, made = ledger_path(shop.NAME), {}
    asked = {
        "e": "SELECT event_id, user_id || item_id FROM interactions",
        "f": "SELECT request_id, item_id || thumb FROM feedback",
        "i": "SELECT item_id, item IS NOT NULL FROM items",
    }
    for kind, sql in asked.items():
        for name, value in read_ledger(path, sql):
            made.setdefault(f"{kind}-{name}", []).append(str(value))
    return made


@contextmanager
def served(
    home: Path,
    engine: Sequence[str] = ("--engine", "none"),
    first: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, str]]:
    """The API over the shop for the block: its process and its address.

    Args:
        home: of the server.
        engine: words of the command line about the engine.
        first: done in the server's process before the command.
    """
    import time

    said = home.parent / "server.txt"
    said.unlink(missing_ok=True)
    words = ["serve", "--dataset", shop.NAME, *engine]
    words += ["--set", "api.rate=100000", "--set", "api.burst=100000"]
    with forks.beside(lambda: (first(), shop.foretaste(home, *words))[1], said) as process:
        until = time.monotonic() + forks.LIMIT_S
        while "Answering at " not in (text := said.read_text() if said.exists() else ""):
            if time.monotonic() > until or "foretaste: " in text:
                raise RuntimeError(f"the server did not start: {text[-500:]}")
            time.sleep(0.01)
        yield process, text.split("Answering at ")[1].split()[0]


def _loading(home: Path, url: str) -> Callable[[], None]:
    """Clients that send what is not acknowledged yet, as fast as they can, until one call fails."""

    def work() -> None:
        told = home.parent / "told.txt"
        before = set(_said(told))
        failed: list[Exception] = []
        with told.open("a", buffering=1) as out:
            clients = [
                threading.Thread(target=_client, args=(url, number, before, out, failed))
                for number in range(_CLIENTS)
            ]
            for one in clients:
                one.start()
            for one in clients:
                one.join()
        raise SystemExit(3 if failed else 0)

    return work


def _client(url: str, number: int, before: set[str], out: Any, failed: list[Exception]) -> None:
    import httpx

    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        for turn in range(_SENT):
            name = f"{number}.{turn}"
            item = f"i{turn % shop.ITEMS}"
            sent = {
                f"e-{name}": (
                    "interactions",
                    {"user_id": f"u{number}", "item_id": item, "event_id": name, "timestamp": turn},
                ),
                f"f-{name}": ("feedback", {"request_id": name, "item_id": item, "thumb": "up"}),
                f"i-{name}": ("items", {"item_id": name, "title": f"thing {name}"}),
            }
            for key, (kind, body) in sent.items():
                if key in before:
                    continue
                try:
                    client.post(f"/v1/{kind}", json={kind: [body]}).raise_for_status()
                except httpx.HTTPError as error:
                    failed.append(error)
                    return
                out.write(f"{key}\n")
