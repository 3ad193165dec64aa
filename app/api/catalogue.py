"""What changes while serving: items, interactions, feedback, users."""

from __future__ import annotations

import asyncio
from collections.abc import Sized
from typing import Annotated, Any

from fastapi import APIRouter, Query

from foretaste.agents.running import checkpoints
from foretaste.app.api.errors import Refused
from foretaste.app.api.service import Service
from foretaste.app.api.wire import Interactions, Items, Thumbs
from foretaste.app.personal import deleted_from_files
from foretaste.data.changes import Identifier
from foretaste.data.errors import InputError
from foretaste.data.personal import file_rows


def routes(service: Service) -> APIRouter:
    """The routes over one service. Each answers when its change is on disk and in use."""
    router = APIRouter(tags=["data"])
    live, deleting = service.live, asyncio.Lock()

    @router.post("/v1/items")
    async def upsert(sent: Items) -> dict[str, int]:
        """Add items, or change those of the same id; the next request may recommend them."""
        _within(sent.items, service.config.batch)
        new = await live.upsert_items(sent.items)
        return {"items": len({item.item_id for item in sent.items}), "new": new}

    @router.delete("/v1/items")
    async def delete(item_id: Annotated[list[Identifier], Query(min_length=1)]) -> dict[str, int]:
        """Recommend these items no more; histories that hold them stay readable."""
        _within(item_id, service.config.batch)
        _known_items(service, item_id)
        await live.delete_items(list(dict.fromkeys(item_id)))
        return {"deleted": len(set(item_id))}

    @router.post("/v1/interactions")
    async def interactions(sent: Interactions) -> dict[str, int]:
        """Append what people did; their next recommendation knows it."""
        _within(sent.interactions, service.config.batch)
        _known_items(service, [one.item_id for one in sent.interactions if one.item_id])
        return {"kept": await live.add_interactions(sent.interactions)}

    @router.post("/v1/feedback")
    async def feedback(sent: Thumbs) -> dict[str, int]:
        """Keep thumbs for training; the same one sent again replaces itself."""
        _within(sent.feedback, service.config.batch)
        _known_items(service, [one.item_id for one in sent.feedback])
        await service.keep_feedback(sent.feedback)
        return {"kept": len(sent.feedback)}

    @router.get("/v1/users/{user_id}")
    async def user(user_id: Identifier) -> dict[str, Any]:
        """Everything that is kept about a user, also in runs and in files of trainings."""
        _known_user(service, user_id)
        runs = await checkpoints.about(live.tools.dataset.name, user_id)
        files = await asyncio.to_thread(file_rows, user_id)
        return {"user_id": user_id, **await live.about(user_id), "runs": runs, "files": files}

    @router.delete("/v1/users/{user_id}")
    async def forget(user_id: Identifier) -> dict[str, Any]:
        """Delete all that is kept, also from the imported tables: a stranger from now on.

        The answer names what was made from data with them, to be made anew.
        """
        _known_user(service, user_id)
        events, name = len(live.tools.dataset.events_of(user_id)), live.tools.dataset.name
        await live.forget(user_id)
        told = {"user_id": user_id, "forgotten": True, "interactions": events}
        async with deleting:
            return told | await asyncio.to_thread(deleted_from_files, name, user_id)

    return router


def _within(sent: Sized, most: int) -> None:
    if len(sent) > most:
        raise InputError(f"At most {most} in one request were expected, not {len(sent)}; split it.")


def _known_items(service: Service, item_ids: list[str]) -> None:
    known = service.live.tools.dataset.row_of
    unknown = next((item_id for item_id in item_ids if item_id not in known), None)
    if unknown is not None:
        raise Refused(404, "unknown_item", f"There is no item {unknown!r} in the catalogue.")


def _known_user(service: Service, user_id: str) -> None:
    if not service.live.tools.dataset.knows(user_id):
        raise Refused(404, "unknown_user", f"There is no user {user_id!r} here.")
