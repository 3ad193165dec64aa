"""A run that was killed goes on where it was; what is kept is rebuilt safely, and goes again."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from foretaste.agents.contexts import context
from foretaste.agents.objects import Persona, Request
from foretaste.agents.online.live import Live
from foretaste.agents.recommend import Run, result, stream
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.running import checkpoints
from foretaste.agents.running.checkpoints import made_of, opened, serializer, state_classes
from foretaste.agents.wording.schemas import ArbiterAnswer, ExpertAnswer, PlannerAnswer
from foretaste.data.errors import EngineError, ForetasteError, InputError
from foretaste.data.ledger import Ledger
from foretaste.serving.chat import Ask
from foretaste.serving.scripted_chat import ScriptedChat

ROOT = Path(__file__).parent.parent


def answer(ask: Ask[Any]) -> dict[str, Any]:
    """Two personas for ann, tags that match, facts only."""
    if agent(ask) == "planner":
        personas = [
            {"name": "Sci-Fi Action", "why": "Star Voyage Mars Colony Sci-Fi", "items": [1, 2]},
            {"name": "Romance Comedy", "why": "Paris Spring Romance", "items": [3]},
        ]
        return {"personas": personas}
    if agent(ask) == "expert":
        words = (
            ["romance comedy", "romance drama"] if romance(ask) else ["sci-fi action", "robot dawn"]
        )
        return {"tags": [{"tag": tag, "why": "it fits well"} for tag in words]}
    if agent(ask) == "arbiter":
        return {"keep": [{"tag": n, "why": "close to the person"} for n in (1, 2, 3)]}
    return {"text": "It is close to what you chose, such as Star Voyage."}


def agent(ask: Ask[Any]) -> str:
    """Who asks."""
    asks = {"planner": PlannerAnswer, "expert": ExpertAnswer, "arbiter": ArbiterAnswer}
    return next((name for name, schema in asks.items() if issubclass(ask.schema, schema)), "other")


def romance(ask: Ask[Any]) -> bool:
    return "Paris Spring" in ask.messages[-1].text


async def run_kept(
    tools: Tools, chat: Any, run_id: str = "one", **request: Any
) -> tuple[dict[str, Any], Run]:
    """One request whose checkpoints are kept under `run_id`."""
    wanted, run, tools = (
        Request(**{"user_id": "ann", "n": 3} | request),
        Run(),
        tools.with_model(chat),
    )
    reader = context.read(tools.dataset, wanted)
    made = made_of(tools.dataset, [tools.config], wanted, reader, "scripted")
    async with opened("films") as kept:
        thread = await kept.thread(run_id, made, wanted.user_id)
        async for _ in stream(tools, wanted, run, thread):
            continue
    return result(tools, wanted, run, traced=True), run


def _page(made: dict[str, Any]) -> list[str]:
    return [one["item_id"] for one in made["recommendations"]]


def _threads(home: Path) -> set[str]:
    path = home / "runs" / "films" / "checkpoints.sqlite"
    with sqlite3.connect(path) as connection:
        names = {name for (name,) in connection.execute("SELECT thread_id FROM checkpoints")}
    return {name.removeprefix("foretaste/films/") for name in names}


@dataclass
class Stop:
    """Answers well, but dies at the asks of one agent."""

    at: str

    def __call__(self, ask: Ask[Any]) -> Any:
        return EngineError("gone") if agent(ask) == self.at else answer(ask)


def test_a_run_that_failed_goes_on_at_its_node(tools: Tools, home: Path) -> None:
    broken, sound = ScriptedChat(Stop("arbiter")), ScriptedChat(answer)
    with pytest.raises(EngineError):
        asyncio.run(run_kept(tools, broken))
    made, run = asyncio.run(run_kept(tools, sound))
    assert [agent(ask) for ask in broken.asks] == ["planner", "expert", "expert", "arbiter"]
    assert not {agent(ask) for ask in sound.asks} & {"planner", "expert"}
    straight, _ = asyncio.run(run_kept(tools, ScriptedChat(answer), "other"))
    assert _page(made) == _page(straight)
    assert made["tags"] == straight["tags"]
    kept = {node["node"]: node["kept"] for node in made["trace"]["nodes"]}
    assert kept["planner"] is kept["expert"] is True
    assert kept["arbiter"] is kept["explain"] is False
    assert made["tokens"]["planner"]["prompt"] > 0, "what was spent before counts"
    assert run.kept


@pytest.mark.parametrize("mode", ["hierarchical", "routes", "single"])
def test_a_finished_run_is_given_again_without_a_call(tools: Tools, home: Path, mode: str) -> None:
    first, _ = asyncio.run(run_kept(tools, ScriptedChat(answer), mode=mode))
    silent = ScriptedChat(answer)
    again, _ = asyncio.run(run_kept(tools, silent, mode=mode))
    assert silent.asks == []
    assert again["personas"] == first["personas"]
    assert again["tags"] == first["tags"]
    assert again["recommendations"] == first["recommendations"]
    assert again["steps"] == first["steps"]


CHILD = """
import asyncio, os, runpy, sys, time
root, home, log, hang = sys.argv[1:]
os.environ["FORETASTE_HOME"] = home
shared = runpy.run_path(root + "/conftest.py")
films = runpy.run_path(root + "/agents/conftest.py")
test = runpy.run_path(root + "/agents/test_checkpoints.py")
tools = films["film_tools"](shared["WordEmbedder"]())

def say(text):
    with open(log, "a") as out:
        out.write(text + chr(10))

class Slow(test["ScriptedChat"]):
    async def ask(self, ask):
        name = test["agent"](ask)
        if name == "expert" and test["romance"](ask):
            name = "second expert"
        say(name)
        if hang == "yes" and name == "second expert":
            await asyncio.sleep(600)
        return await super().ask(ask)

made, run = asyncio.run(test["run_kept"](tools, Slow(test["answer"])))
say("page " + " ".join(test["_page"](made)))
"""


def _child(home: Path, log: Path, hang: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-P", "-c", CHILD, str(ROOT), str(home), str(log), hang]
    return subprocess.Popen(words, env=os.environ | {"OMP_NUM_THREADS": "1"})


def _saved(home: Path) -> Counter[str]:
    """Channel → how many tasks have saved something for it."""
    path = home / "runs" / "films" / "checkpoints.sqlite"
    if not path.exists():
        return Counter()
    with sqlite3.connect(path) as connection:
        try:
            return Counter(name for (name,) in connection.execute("SELECT channel FROM writes"))
        except sqlite3.OperationalError:
            return Counter()


def test_a_killed_run_repeats_no_finished_call_not_even_of_an_expert(
    home: Path, tmp_path: Path
) -> None:
    log = tmp_path / "calls"
    log.touch()
    first = _child(home, log, "yes")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and first.poll() is None:
        if "second expert" in log.read_text() and _saved(home)["branch:to:arbiter"] == 1:
            break
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    assert first.wait(10) == -signal.SIGKILL
    before = log.read_text().splitlines()
    assert sorted(before) == ["expert", "planner", "second expert"]
    assert _child(home, log, "no").wait(60) == 0
    after = log.read_text().splitlines()[len(before) :]
    calls = Counter(line for line in after if not line.startswith("page"))
    assert calls["second expert"] == 1, "the one that was under way is asked again"
    assert calls["arbiter"] == 1
    assert calls["expert"] == calls["planner"] == 0
    assert len(after[-1].split()) == 1 + 3, "the page is full"


@pytest.mark.parametrize(
    ("other", "named"),
    [({"n": 4}, "request"), ({"wish": "calm"}, "request"), ({"user_id": "cat"}, "history")],
)
def test_another_request_does_not_go_on_with_it(
    tools: Tools, home: Path, other: dict[str, Any], named: str
) -> None:
    asyncio.run(run_kept(tools, None))
    with pytest.raises(InputError, match=f"another .*{named}.*another run id"):
        asyncio.run(run_kept(tools, None, **other))


def test_other_prompts_data_and_code_are_refused(
    tools: Tools, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(run_kept(tools, None))
    monkeypatch.setattr(checkpoints.prompting, "fingerprint", lambda: "other")
    monkeypatch.setattr(checkpoints, "_code", lambda: "other")
    tools.dataset.info.__dict__["fingerprint"] = "e" * 16
    with pytest.raises(InputError, match="another data set and another prompts and another code"):
        asyncio.run(run_kept(tools, None))


def test_a_run_id_is_a_plain_name(tools: Tools, home: Path) -> None:
    with pytest.raises(InputError, match="plain name"):
        asyncio.run(run_kept(tools, None, "../other"))


def test_what_is_kept_of_a_user_can_be_forgotten(tools: Tools, home: Path) -> None:
    assert asyncio.run(checkpoints.forget("films", "ann")) == 0
    assert not (home / "runs").exists(), "looking makes nothing"
    for run_id, user in (("a", "ann"), ("b", "ann"), ("c", "bob")):
        asyncio.run(run_kept(tools, None, run_id, user_id=user, wish=f"Quux {user}"))
    assert asyncio.run(checkpoints.forget("films", "ann")) == 2
    assert _threads(home) == {"c"}
    kept = b"".join(file.read_bytes() for file in (home / "runs" / "films").iterdir())
    assert b"Quux bob" in kept
    assert b"Quux ann" not in kept, "nor in free pages, nor in the log of the file"


def test_a_user_forgotten_by_the_server_has_no_runs_left(tools: Tools, home: Path) -> None:
    asyncio.run(run_kept(tools, None, "one"))
    assert _threads(home) == {"one"}
    ledger = Ledger(home / "ledger.sqlite")
    try:
        asyncio.run(Live(tools, ledger).forget("ann"))
    finally:
        ledger.close()
    assert not _threads(home)


def test_old_runs_and_too_many_runs_go(
    tools: Tools, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def prune(now: float | None) -> int:
        async with opened("films") as kept:
            return await kept.prune(now)

    for run_id in ("a", "b", "c"):
        asyncio.run(run_kept(tools, None, run_id))
    day = 86_400
    assert asyncio.run(prune(time.time() + (checkpoints.KEPT_DAYS - 0.1) * day)) == 0
    monkeypatch.setattr(checkpoints, "KEPT_RUNS", 2)
    asyncio.run(prune(None))
    assert _threads(home) == {"b", "c"}
    path = home / "runs" / "films" / "checkpoints.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO checkpoints SELECT 'another program', '', checkpoint_id, NULL, type, "
            "checkpoint, metadata FROM checkpoints LIMIT 1"
        )
    assert asyncio.run(prune(time.time() + (checkpoints.KEPT_DAYS + 0.1) * day)) == 2
    assert _threads(home) == {"another program"}


def test_only_the_owner_can_read_the_file(tools: Tools, home: Path) -> None:
    asyncio.run(run_kept(tools, None))
    path = home / "runs" / "films" / "checkpoints.sqlite"
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_database_is_one_sentence(tools: Tools, home: Path) -> None:
    path = home / "runs" / "films" / "checkpoints.sqlite"
    path.parent.mkdir(parents=True)
    path.write_text("no database at all, but long enough to be read as one " * 30)
    with pytest.raises(ForetasteError, match="cannot be opened"):
        asyncio.run(run_kept(tools, None))


def test_every_class_of_the_state_comes_back_as_itself(tools: Tools, home: Path) -> None:
    _, run = asyncio.run(run_kept(tools, ScriptedChat(answer)))
    serde = serializer()
    for value in run.state.values():
        assert serde.loads_typed(serde.dumps_typed(value)) == value
    assert {Request, Persona} <= set(state_classes())


class Intruder(Request):
    """A class that is not part of any state."""


def test_nothing_else_is_rebuilt_and_nothing_is_unpickled() -> None:
    serde = serializer()
    assert type(serde.loads_typed(serde.dumps_typed(Intruder(n=3)))) is dict
    with pytest.raises(NotImplementedError):
        serde.loads_typed(("pickle", pickle.dumps({})))
    with pytest.raises(TypeError):
        serde.dumps_typed(object())


@pytest.mark.parametrize("address", ["mysql://x", "a file"])
def test_an_address_of_another_kind_is_one_sentence(
    tools: Tools, home: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("FORETASTE_CHECKPOINTS", address)
    with pytest.raises(InputError, match="postgresql://"):
        asyncio.run(run_kept(tools, None))


@pytest.mark.skipif(importlib.util.find_spec("psycopg") is not None, reason="the library is there")
def test_postgres_without_its_library_is_one_sentence(
    tools: Tools, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETASTE_CHECKPOINTS", "postgresql://nobody@localhost/none")
    with pytest.raises(InputError, match=r"foretaste\[postgres\]"):
        asyncio.run(run_kept(tools, None))


@pytest.mark.skipif(
    importlib.util.find_spec("psycopg") is None or "FORETASTE_TEST_POSTGRES" not in os.environ,
    reason="needs foretaste[postgres] and a server's address in FORETASTE_TEST_POSTGRES",
)
def test_the_same_in_postgres(tools: Tools, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def prune(now: float) -> int:
        async with opened("films") as kept:
            return await kept.prune(now)

    monkeypatch.setenv("FORETASTE_CHECKPOINTS", os.environ["FORETASTE_TEST_POSTGRES"])
    asyncio.run(prune(time.time() + 1e9))
    broken, sound, silent = (
        ScriptedChat(Stop("arbiter")),
        ScriptedChat(answer),
        ScriptedChat(answer),
    )
    with pytest.raises(EngineError):
        asyncio.run(run_kept(tools, broken))
    made, _ = asyncio.run(run_kept(tools, sound))
    assert not {agent(ask) for ask in sound.asks} & {"planner", "expert"}
    again, _ = asyncio.run(run_kept(tools, silent))
    assert silent.asks == []
    assert again["recommendations"] == made["recommendations"]
    with pytest.raises(InputError, match="another request"):
        asyncio.run(run_kept(tools, None, n=4))
    asyncio.run(run_kept(tools, None, "b", user_id="bob"))
    assert asyncio.run(checkpoints.forget("films", "ann")) == 1
    assert asyncio.run(checkpoints.forget("films", "ann")) == 0
    assert asyncio.run(prune(time.time())) == 0
    assert asyncio.run(prune(time.time() + (checkpoints.KEPT_DAYS + 0.1) * 86_400)) == 1
    assert not (home / "runs").exists()


@pytest.mark.skipif(importlib.util.find_spec("psycopg") is None, reason="the library is missing")
def test_a_postgres_that_is_not_there_is_one_sentence(
    tools: Tools, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETASTE_CHECKPOINTS", "postgresql://secret:word@127.0.0.1:9/none")
    with pytest.raises(ForetasteError, match="does not answer") as told:
        asyncio.run(run_kept(tools, None))
    assert "word" not in str(told.value)
    assert "\n" not in str(told.value)


def test_the_result_of_a_kept_run_is_json(tools: Tools, home: Path) -> None:
    made, _ = asyncio.run(run_kept(tools, ScriptedChat(answer)))
    assert json.loads(json.dumps(made))["trace"]["nodes"][0]["node"] == "context"
