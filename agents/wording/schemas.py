"""What each agent must answer: short schemas with bounds, so that a small model can fill them.

These classes are sent to the engine as JSON schemas, and the same classes make the training rows.
Items and tags are named by their number in the prompt: a number cannot be misspelt.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, TypeVar

from annotated_types import MaxLen
from pydantic import BaseModel, ConfigDict, Field, create_model

from foretaste.agents.explaining.dimensions import DimensionName

Words = Annotated[str, Field(min_length=3, max_length=60)]
Reason = Annotated[str, Field(min_length=3, max_length=120)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


Answered = TypeVar("Answered", bound=_Answer)


def with_room(schema: type[Answered], count: int) -> type[Answered]:
    """The same answer with room for `count` entries in its list, when it has less.

    A list is kept as short as it can be, because a small model tends to fill it.

    >>> with_room(PlannerAnswer, 3) is PlannerAnswer
    True
    >>> with_room(PlannerAnswer, 9).model_json_schema()["properties"]["personas"]["maxItems"]
    9
    """
    return schema if count <= _room(schema) else _with_most(schema, count)


def cut_to(schema: type[Answered], count: int) -> type[Answered]:
    """The same answer with no room for more than `count` entries in its list.

    >>> cut_to(ExplainerAnswer, 2).model_json_schema()["properties"]["sentences"]["maxItems"]
    2
    """
    return schema if count >= _room(schema) else _with_most(schema, count)


def _room(schema: type[Answered]) -> int:
    """How many entries the only list of an answer may have."""
    (field,) = schema.model_fields.values()
    return next(int(bound.max_length) for bound in field.metadata if isinstance(bound, MaxLen))


@cache
def _with_most(schema: type[Answered], count: int) -> type[Answered]:
    ((name, field),) = schema.model_fields.items()
    bounds: dict[str, Any] = {name: (field.annotation, Field(min_length=1, max_length=count))}
    return create_model(schema.__name__, __base__=schema, **bounds)


class PersonaAnswer(_Answer):
    """The numbers of history items, then the persona that they show.

    Items come first: a model that writes from left to right names what it has just picked.
    """

    items: list[int] = Field(min_length=1, max_length=8)
    name: Words
    why: Reason
    now: Annotated[str, Field(max_length=80)] = ""


class PlannerAnswer(_Answer):
    """The planner's personas."""

    personas: list[PersonaAnswer] = Field(min_length=1, max_length=5)


class TagAnswer(_Answer):
    """One tag with its reason."""

    tag: Words
    why: Annotated[str, Field(min_length=3, max_length=80)]


class ExpertAnswer(_Answer):
    """One expert's tags."""

    tags: list[TagAnswer] = Field(min_length=1, max_length=8)


class KeepAnswer(_Answer):
    """One kept tag by its number, with the reason."""

    tag: int
    why: Annotated[str, Field(min_length=3, max_length=80)]


class ArbiterAnswer(_Answer):
    """The arbiter's joint choice."""

    keep: list[KeepAnswer] = Field(min_length=1, max_length=12)


class OwnedTagAnswer(TagAnswer):
    """One tag with its reason and the name of the persona that it is for."""

    persona: Words


class SingleAnswer(_Answer):
    """The tags of one prompt for everything."""

    tags: list[OwnedTagAnswer] = Field(min_length=1, max_length=12)


class SentenceAnswer(_Answer):
    """One sentence about the item of this number."""

    item: int
    text: Annotated[str, Field(min_length=10, max_length=200)]


class ExplainerAnswer(_Answer):
    """One sentence about each item of a group."""

    sentences: list[SentenceAnswer] = Field(min_length=1, max_length=6)


class StyleAnswer(_Answer):
    """The style guideline for one audience in one language."""

    tone: Words
    first: list[DimensionName] = Field(min_length=1, max_length=3)
    avoid: Reason
