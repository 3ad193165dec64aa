"""The API on Ray Serve: replicas behind one address, each with its engine, all with one state.

Every replica is what `foretaste serve` runs in one process: service, routes, guard, MCP. What changes
while serving stands in the database of `FORETASTE_STATE`, so a request may go to any of them.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from foretaste.app.api.application import application
from foretaste.app.api.config import ApiConfig
from foretaste.app.api.keys import KeyRing
from foretaste.app.api.server import Serving, check_host, open_service, quiet_logs
from foretaste.app.console import say
from foretaste.app.fleet.config import FleetConfig
from foretaste.app.fleet.spread import cluster, passed_on
from foretaste.data.errors import EngineError, ForetasteError, InputError
from foretaste.data.postgres import SETTING, state_address
from foretaste.data.settings import override

NAME = "foretaste"
_PORT = 8000
_LOGGING = {"enable_access_log": False}  # addresses hold ids of users; the guard logs patterns


class Replica:
    """One replica as an ASGI application; everything is opened when its life begins.

    Args:
        serving: the options.
        shared: whether there are others, so that the state must be shared.
    """

    def __init__(self, serving: Serving, shared: bool) -> None:
        self._serving, self._shared = serving, shared
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live from the first event of the life to its last."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        begun = False
        try:
            check_shared(self._shared)
            quiet_logs()
            async with open_service(self._serving) as service:
                app = application(service, KeyRing(), any_host=self._serving.without_keys)
                async with app.router.lifespan_context(app):
                    self._app, begun = app, True
                    await send({"type": "lifespan.startup.complete"})
                    await receive()
        except ForetasteError as error:
            kind = "shutdown" if begun else "startup"
            logging.getLogger("foretaste.api").error("%s", error)
            await send({"type": f"lifespan.{kind}.failed", "message": str(error)})
            return
        await send({"type": "lifespan.shutdown.complete"})


def check_shared(shared: bool) -> None:
    """Refuse several replicas that would each keep a state of their own."""
    if shared and state_address() is None:
        raise InputError(
            f"Several replicas need one state; set {SETTING}=postgresql://… on every machine, or "
            "leave fleet.workers and fleet.most_workers at 1."
        )


def serve_on_ray(serving: Serving) -> None:
    """Serve until SIGINT or SIGTERM, then stop all replicas.

    Raises:
        InputError: the call is wrong.
        EngineError: the replicas did not start; the logs of Ray have the reason.
    """
    fleet = override(FleetConfig(), "fleet", serving.settings)
    own = tuple(one for one in serving.settings if not one.startswith("fleet."))
    serving = serving.model_copy(update={"settings": own})
    check_host(serving.host, KeyRing(), serving.without_keys)
    check_shared(_most(fleet) > 1)
    with cluster(), deployed(serving, fleet) as url:
        print(url, flush=True)
        say(f"{fleet.workers} to {_most(fleet)} replicas answer at {url}. Ctrl-C stops them.")
        _until_told()


@contextmanager
def deployed(serving: Serving, fleet: FleetConfig) -> Iterator[str]:
    """The replicas for the block; gives their address. Ray is there already.

    Raises:
        EngineError: the replicas did not start.
    """
    from ray import serve
    from ray.exceptions import RayError

    host, port = serving.host.strip("[]"), serving.port or _PORT
    try:
        try:
            serve.start(http_options={"host": host, "port": port}, logging_config=_LOGGING)
            serve.run(_bound(serving, fleet), name=NAME, route_prefix="/")
        except (RayError, RuntimeError) as error:
            raise EngineError(
                "The replicas did not start; `serve status` and the logs below /tmp/ray tell why."
            ) from error
        yield f"http://{serving.host}:{port}"
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]


def _bound(serving: Serving, fleet: FleetConfig) -> Any:
    """The deployment that Ray Serve runs."""
    from ray import serve

    most = _most(fleet)
    config = override(ApiConfig(), "api", serving.settings)
    room = (config.runs or 16) + config.waiting  # the replica's own gate tells who must wait
    sized: dict[str, Any] = {"num_replicas": fleet.workers}
    if most > fleet.workers:
        scaling = {"min_replicas": fleet.workers, "max_replicas": most}
        sized = {"autoscaling_config": scaling | {"target_ongoing_requests": config.runs or 4}}
    deployment = serve.deployment(
        name=NAME,
        max_ongoing_requests=room,
        graceful_shutdown_timeout_s=20,
        logging_config=_LOGGING,
        ray_actor_options={
            "num_cpus": fleet.cpus,
            "num_gpus": fleet.gpus,
            "runtime_env": {"env_vars": passed_on()},
        },
        **sized,
    )
    return deployment(serve.ingress(Replica(serving, most > 1))()).bind()


def _most(fleet: FleetConfig) -> int:
    return fleet.most_workers or fleet.workers


def _until_told() -> None:
    told = threading.Event()
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda *_: told.set()) for kind in kinds]
    try:
        told.wait()
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
