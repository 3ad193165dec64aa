"""`foretaste serve`: the engine and the API together, until they are told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import httpx
import uvicorn

from foretaste.agents.config import AgentsConfig
from foretaste.agents.contexts.profile_store import stored_profiles
from foretaste.agents.online.live import Live
from foretaste.agents.retrieval.tools import load_tools
from foretaste.app.api import errors
from foretaste.app.api.application import application
from foretaste.app.api.config import ApiConfig
from foretaste.app.api.guard import LOCAL
from foretaste.app.api.keys import KeyRing
from foretaste.app.api.service import Engine, Service
from foretaste.app.console import say
from foretaste.app.recommending import EngineChoice, engine_of, load, surroundings_of
from foretaste.data.errors import InputError
from foretaste.data.ledger import open_ledger
from foretaste.data.settings import groups_known, override
from foretaste.data.store import load_dataset
from foretaste.serving.replicas import ReplicatedChat
from foretaste.serving.vllm_supervisor import SupervisedChat

_PROBE_S = 2.0


class Serving(EngineChoice, frozen=True):
    """The options of one `foretaste serve`; see its help."""

    dataset: str
    host: str = "127.0.0.1"
    port: int | None = None
    without_keys: bool = False
    page: bool = False
    auth: str | None = None


def serve(serving: Serving, ring: KeyRing | None = None) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is under way and stop what was started.

    Raises:
        InputError: the call is wrong, or the data set is served already.
        EngineError: the engine did not start.
    """
    keys = ring or KeyRing()
    check_host(serving.host, keys, serving.without_keys)
    if serving.page:
        check_page(serving.host, serving.auth)
    asyncio.run(_serve(serving, keys))


def check_host(host: str, ring: KeyRing, without_keys: bool) -> None:
    """Refuse to be reachable from elsewhere without keys, unless that is said to be meant."""
    if host not in LOCAL and not len(ring) and not without_keys:
        raise InputError(
            f"--host {host} can be reached from other machines and there are no API keys; add one "
            "with `foretaste serve keys add NAME`, or say --without-keys if others keep it safe."
        )


def check_page(host: str, auth: str | None) -> None:
    """Refuse to show the page to other machines without a login."""
    if host not in LOCAL and auth is None:
        raise InputError(
            f"--host {host} can be reached from other machines and the page has no login; give "
            "--auth NAME:PASSWORD, or FORETASTE_AUTH in the environment."
        )


@asynccontextmanager
async def open_service(serving: Serving) -> AsyncGenerator[Service]:
    """The service behind the options, its engine started; both end with the block."""
    groups_known(serving.settings, ("agents", "engine", "api", "environment"))
    agents = override(AgentsConfig(), "agents", serving.settings)
    config = override(ApiConfig(), "api", serving.settings)
    engine, surroundings = engine_of(serving), surroundings_of(serving)
    if engine is not None:
        engine = engine.model_copy(update={"restart": True})
    dataset = load_dataset(serving.dataset)
    async with AsyncExitStack() as stack:
        ledger = open_ledger(serving.dataset)
        stack.callback(ledger.close)
        tools = await load(stack, dataset, agents, engine, surroundings)
        live = await asyncio.to_thread(Live, tools, ledger, config.vectors)
        watched = Engine(tools.model)
        if serving.endpoint is not None:
            client = await stack.enter_async_context(httpx.AsyncClient(timeout=_PROBE_S))
            watched = Engine(tools.model, endpoint_probe(client, serving.endpoint))
        elif isinstance(tools.model, SupervisedChat | ReplicatedChat):
            watched = supervised_engine(tools.model)
        service = Service(live, watched, config)
        stack.push_async_callback(service.close)
        await service.warm_up()
        yield service


def supervised_engine(chat: SupervisedChat | ReplicatedChat) -> Engine:
    """An engine that is started again when it ends, and says when it will be there."""

    async def answers() -> bool:
        return chat.ready

    return Engine(chat, answers, wait_s=lambda: chat.retry_after)


def endpoint_probe(client: httpx.AsyncClient, endpoint: str) -> Callable[[], Awaitable[bool]]:
    """Asks an OpenAI-compatible endpoint for its models; a refusal is an answer too."""
    address = f"{endpoint.rstrip('/')}/models"

    async def answers() -> bool:
        try:
            return (await client.get(address)).status_code < 500
        except httpx.HTTPError:
            return False

    return answers


async def _serve(serving: Serving, ring: KeyRing) -> None:
    quiet_logs()
    with _listening(serving.host, serving.port) as listener:
        async with open_service(serving) as service:
            gc.collect()
            gc.freeze()  # what was loaded stays: looking through it again would stop all requests
            app = _application(serving, service, ring)
            server = _Server(uvicorn_config(app))
            running = asyncio.create_task(server.serve([listener]))
            while not (server.started or running.done()):
                await asyncio.sleep(0.05)
            if server.started:
                _announce(listener, len(ring))
            await running


def _application(serving: Serving, service: Service, ring: KeyRing) -> Any:
    """The API, and the page when it is wanted."""
    if not serving.page:
        return application(service, ring, any_host=serving.without_keys)
    from foretaste.app.page.build import PATH, mount
    from foretaste.app.page.desk import Desk
    from foretaste.app.page.login import login_of

    login = login_of(serving.auth)
    app = application(service, ring, serving.without_keys, PATH, login is not None)
    return mount(app, Desk(service, partial(beside, serving, service)), login)


def beside(serving: Serving, service: Service, name: str) -> Service:
    """The service of another data set behind the same engine; slow, and safe in a thread.

    Its agents ask as the engine was started: with the shipped adapter it holds, and with entities in
    the form, and through the adaptor, that it reads.

    Args:
        serving: the options of the server.
        service: of the data set that the engine was started with.
        name: of the other data set.

    Raises:
        ForetasteError: there is no such data set, or it is served by another process.
    """
    agents, config = service.live.tools.config, service.config
    tools = load_tools(
        load_dataset(name),
        agents,
        surroundings=surroundings_of(serving),
        profiles=stored_profiles(name) if agents.profile else None,
    )
    live = Live(tools.with_model(service.engine.model), open_ledger(name), config.vectors)
    return Service(live, service.engine, config)


def uvicorn_config(app: Any) -> uvicorn.Config:
    """How uvicorn runs the application: no line of its own about who asked what."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=10,
        ws="none",
    )


def quiet_logs() -> None:
    """One line a request on standard error, and of a fault only its kind and its place."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_NoTexts("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("foretaste.api").setLevel(logging.INFO)
    for name in ("mcp", "bm25s"):  # what they say can hold what somebody sent
        logging.getLogger(name).setLevel(logging.CRITICAL)


class _NoTexts(logging.Formatter):
    """Writes no text of an exception: it may repeat somebody's data."""

    def formatException(self, ei: Any) -> str:
        """The kind and the place of an exception."""
        return f"{ei[0].__name__} at {errors.place_of(ei[1])}"


class _Server(uvicorn.Server):
    """Ends `serve` on a signal instead of the process, so that what was started is stopped."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Stop on the first signal, at once on the second."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


@contextmanager
def _listening(host: str, port: int | None) -> Generator[socket.socket]:
    """A socket bound before anything slow starts, so that a taken port is told at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host.strip("[]"), 0 if port is None else port))
        except OSError as error:
            raise InputError(
                f"{host} port {port} cannot be used ({error.strerror}); choose another --port."
            ) from error
        yield listener


def _announce(listener: socket.socket, keys: int) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    print(url, flush=True)
    who = f"{keys} API keys" if keys else "no API keys: this machine only"
    say(f"Answering at {url} ({who}; document at {url}/openapi.json). Ctrl-C stops it.")
