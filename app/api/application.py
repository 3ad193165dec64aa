"""All routes, the guard and the MCP server as one application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import FastAPI

from foretaste.app.api import catalogue, chat, errors, health, mcp_tools, recommending
from foretaste.app.api.guard import Guard
from foretaste.app.api.keys import KeyRing
from foretaste.app.api.memory import give_back_freed_memory
from foretaste.app.api.service import Service
from foretaste.app.api.shared_limits import shared_limits

SUMMARY = "Recommendations of LLM agents over your own catalogue, and the data they learn from."


def application(
    service: Service,
    ring: KeyRing,
    any_host: bool = False,
    page: str | None = None,
    login: bool = False,
) -> FastAPI:
    """The application that uvicorn runs.

    Args:
        service: what answers.
        ring: the keys.
        any_host: whether callers without a key may use other names than this machine's.
        page: where a page will be mounted, if one will.
        login: whether that page asks who is there.
    """
    mcp = mcp_tools.server(service)
    mounted = mcp.streamable_http_app(
        stateless_http=True,
        json_response=True,
        max_request_body_size=service.config.body_bytes,
        transport_security=mcp_tools.TRUST_THE_GUARD,
    )

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        service.forget_old_pages()
        watching = [
            asyncio.create_task(service.engine.watch()),
            asyncio.create_task(service.follow()),
            asyncio.create_task(give_back_freed_memory()),
        ]
        try:
            async with mcp.session_manager.run():
                yield
        finally:
            for task in watching:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    app = FastAPI(
        title="Foretaste",
        summary=SUMMARY,
        version=version("foretaste"),
        lifespan=life,
        docs_url=None,  # its page loads scripts of another place
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    for part in (recommending, catalogue, chat, health):
        app.include_router(part.routes(service))
    app.router.routes.extend(mounted.routes)
    errors.install(app)
    app.add_middleware(
        Guard,
        ring=ring,
        config=service.config,
        metrics=service.metrics,
        any_host=any_host,
        page=page,
        login=login,
        shared=shared_limits(),
    )
    return app
