"""Whether the server lives, whether it can answer, and what it has done."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from foretaste.app.api.service import Service


def routes(service: Service) -> APIRouter:
    """The routes over one service."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def healthz() -> dict[str, bool]:
        """The process lives."""
        return {"ok": True}

    @router.get("/readyz", responses={503: {"description": "The engine is down."}})
    async def readyz() -> Response:
        """A recommendation would be answered now."""
        ready = service.engine.ready
        model = service.engine.model
        body = {
            "ready": ready,
            "dataset": service.live.tools.dataset.name,
            "model": model.name if model else "none",
            "engine": "answers" if ready else "down",
        }
        return JSONResponse(body, 200 if ready else 503, {} if ready else {"Retry-After": "2"})

    @router.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    return router
