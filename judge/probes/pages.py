"""A page as a judge sees it, and clean pages of a data set: made by the graph without a model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from foretaste.agents.objects import Request
from foretaste.agents.recommend import recommend
from foretaste.agents.retrieval.tools import Tools
from foretaste.data.errors import InputError
from foretaste.data.progress import meter

HISTORY = 3  # events that a history needs for its page to be judged


@dataclass(frozen=True)
class Place:
    """One item of a page, its sentence, and what may be said of it beside the catalogue's facts."""

    item_id: str
    text: str
    known: str = ""


@dataclass(frozen=True)
class Page:
    """What was shown to one person.

    Attributes:
        user_id: whom.
        history: ids of what they had chosen, oldest first.
        places: the items, best first.
        environment: texts about the day.
    """

    user_id: str
    history: tuple[str, ...]
    places: tuple[Place, ...]
    environment: tuple[str, ...] = ()

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The items, best first."""
        return tuple(place.item_id for place in self.places)

    def with_place(self, number: int, **changes: str) -> Page:
        """The page with one place changed."""
        places = list(self.places)
        places[number] = replace(places[number], **changes)
        return replace(self, places=tuple(places))


def page_of(result: Mapping[str, Any]) -> Page:
    """The page of a result of `recommend` (its JSON object)."""
    environment = tuple(result.get("environment") or ())
    return Page(
        user_id=str(result["user_id"]),
        history=tuple(event["item_id"] for event in result["history"]),
        places=tuple(
            Place(one["item_id"], one["explanation"], " ".join(one["tags"] or ()))
            for one in result["recommendations"]
        ),
        environment=environment,
    )


def clean_pages(
    tools: Tools, users: int, n: int, seed: int, environment: Sequence[str] = ()
) -> list[Page]:
    """Pages of users drawn at random, made without a language model.

    Args:
        tools: without a model.
        users: how many; all who have a history of three events or more when there are fewer.
        n: items of a page.
        seed: of the draw.
        environment: texts about the day that the pages are made for.

    Raises:
        InputError: fewer than eight users to draw from.
    """
    dataset = tools.dataset
    able = np.flatnonzero(dataset.histories.lengths >= HISTORY)
    if len(able) < 8:
        raise InputError(
            f"Eight or more users with {HISTORY} interactions were expected in {dataset.name}, not "
            f"{len(able)}; import more interactions."
        )
    chosen = np.random.default_rng(seed).permutation(able)[:users]
    pages = []
    with meter("Making clean pages", len(chosen), "pages") as progress:
        for number in chosen:
            request = Request(
                user_id=dataset.user_ids[number], n=n, seed=seed, environment=tuple(environment)
            )
            found = asyncio.run(recommend(tools, request))
            pages.append(replace(page_of(found), environment=tuple(environment)))
            progress.advance(1)
    return [page for page in pages if page.places]
