"""A really running server over twelve films, for any client, the model scripted or none; and a data
set that was imported by the command, for commands that measure.
"""

from __future__ import annotations

import asyncio
import runpy
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
import uvicorn
from typer.testing import CliRunner

from foretaste.agents.config import AgentsConfig
from foretaste.agents.online.live import Live
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.lexicon import Lexicon
from foretaste.app.api.application import application
from foretaste.app.api.config import ApiConfig
from foretaste.app.api.keys import KeyRing
from foretaste.app.api.server import uvicorn_config
from foretaste.app.api.service import Engine, Service
from foretaste.app.cli import cli
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.ledger import Ledger, ledger_path
from foretaste.serving.index.opened import build_index

FILMS = runpy.run_path(str(Path(__file__).parent.parent / "agents" / "conftest.py"))


@dataclass
class Running:
    """A server that answers at `url`."""

    url: str
    service: Service
    loop: asyncio.AbstractEventLoop

    def client(self, **more: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, **more)

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        with self.client() as client:
            return client.request(method, path, json=body, **more)

    def recommend(self, **wanted: Any) -> dict[str, Any]:
        answer = self.call("POST", "/v1/recommendations", wanted)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result


@dataclass
class _Thread:
    """The server's own thread and loop."""

    made: dict[str, Any] = field(default_factory=dict)
    up: threading.Event = field(default_factory=threading.Event)

    async def serve(self, make: Callable[[], tuple[Service, Any]], listener: Any) -> None:
        service, app = make()
        server = uvicorn.Server(uvicorn_config(app))
        self.made.update(service=service, server=server, loop=asyncio.get_running_loop())
        running = asyncio.create_task(server.serve([listener]))
        while not (server.started or running.done()):
            await asyncio.sleep(0.01)
        self.up.set()
        await running


@contextmanager
def running(
    tools: Tools, engine: Engine, config: ApiConfig, ring: KeyRing, page: bool = False
) -> Iterator[Running]:
    """A server for the block, on a free port of this machine; with the page when it is wanted."""
    ledger = Ledger(ledger_path("films"))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = _Thread()

    def make() -> tuple[Service, Any]:
        service = Service(Live(tools, ledger), engine, config)
        return service, _with_page(service, ring) if page else application(service, ring)

    worker = threading.Thread(target=lambda: asyncio.run(thread.serve(make, listener)))
    worker.start()
    assert thread.up.wait(90)
    port = listener.getsockname()[1]
    try:
        yield Running(f"http://127.0.0.1:{port}", thread.made["service"], thread.made["loop"])
    finally:
        thread.made["server"].should_exit = True
        worker.join()
        listener.close()
        ledger.close()


def _with_page(service: Service, ring: KeyRing) -> Any:
    from foretaste.app.page.build import PATH, mount
    from foretaste.app.page.desk import Desk

    def nothing_else(name: str) -> Service:
        raise InputError(f"There is no data set {name}.")

    return mount(application(service, ring, page=PATH), Desk(service, nothing_else))


def film_tools(embedder: Any, dataset: Dataset | None = None, **config: Any) -> Tools:
    """What a run needs over the films, popularity for a rule."""
    films: Dataset = dataset or FILMS["films"]()
    index = build_index(films, embedder)
    count = len(films.item_ids)
    counts = np.bincount(films.histories.rows, minlength=count).astype(np.float32)
    return Tools(
        dataset=films,
        config=AgentsConfig(**{"min_tags": 2, "candidates": 12, "swap": 0} | config),
        lexicon=Lexicon(films.items),
        embedder=embedder,
        vectors=index.vectors_of(range(count)),
        index=index,
        rule=FILMS["CountRule"]("counts", counts),
    )


Serve = Callable[..., Running]


@pytest.fixture
def serve(home: Path, embedder: Any) -> Iterator[Serve]:
    """Start servers: `serve(model=…, probe=…, dataset=…, page=…, runs=2, agents={…})`, one a home."""
    with ExitStack() as stack:

        def start(
            model: Any = None,
            probe: Any = None,
            dataset: Dataset | None = None,
            agents: dict[str, Any] | None = None,
            page: bool = False,
            **limits: Any,
        ) -> Running:
            stack.close()
            tools = film_tools(embedder, dataset, **agents or {})
            return stack.enter_context(
                running(tools, Engine(model, probe), ApiConfig(**limits), KeyRing(), page)
            )

        yield start


@pytest.fixture
def films_over(embedder: Any) -> Callable[[str, str], Tools]:
    """What a run needs over the films, one of which has another title."""

    def make(item_id: str, title: str) -> Tools:
        films: Dataset = FILMS["films"]()
        other = pl.when(pl.col("item_id") == item_id).then(pl.lit(title)).otherwise("title")
        return film_tools(embedder, replace(films, items=films.items.with_columns(title=other)))

    return make


@pytest.fixture
def regulars() -> int:
    """People of the cinema with twenty-five films each."""
    return 12


@pytest.fixture
def cinema(
    home: Path, tmp_path: Path, embedder: Any, regulars: int, monkeypatch: pytest.MonkeyPatch
) -> str:
    """Sixty films; some people with twenty-five of them each, and three with four."""
    random = np.random.default_rng(0)
    words = [(a, n) for a in ("Red", "Cold", "Long", "Late") for n in ("River", "Letter", "Garden")]
    titles = [f"{a} {n} {c}" for a, n in words for c in ("One", "Two", "Three", "Four", "Five")]
    kinds = ("Drama", "Comedy", "Horror", "War")
    paths = [f"Film|{kinds[n % 4]}" for n in range(60)]
    ids = [f"i{n}" for n in range(60)]
    pl.DataFrame({"item_id": ids, "title": titles, "categories": paths}).write_csv(
        tmp_path / "items.csv"
    )
    lengths = [25] * regulars + [4] * 3
    chosen = [
        (f"u{user}", f"i{item}")
        for user, length in enumerate(lengths)
        for item in random.permutation(60)[:length]
    ]
    pl.DataFrame(
        {
            "user_id": [user for user, _ in chosen],
            "item_id": [item for _, item in chosen],
            "timestamp": [1_600_000_000 + 3600 * n for n in range(len(chosen))],
        }
    ).write_csv(tmp_path / "events.csv")
    files = ["--items", str(tmp_path / "items.csv"), "--interactions", str(tmp_path / "events.csv")]
    done = CliRunner().invoke(cli, ["data", "import", *files, "--name", "cinema"])
    assert done.exit_code == 0, done.output
    monkeypatch.setattr("foretaste.agents.retrieval.tools.load_embedder", lambda name: embedder)
    return "cinema"
