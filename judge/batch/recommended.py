"""Cases out of what `foretaste recommend` prints: tags, sentences, items, lists, pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from foretaste.agents.objects import HistoryEvent
from foretaste.agents.wording.prompting import event_line
from foretaste.data.errors import InputError
from foretaste.judge.batch.rows import Row
from foretaste.judge.objects import Case, Target

_LENGTHS = ((5, "under 5"), (20, "5 to 19"), (100, "20 to 99"))


def got_nothing(row: Row) -> bool:
    """Whether a row of `foretaste recommend --all` says why there is no page."""
    return is_recommendation(row) and bool(row.get("error"))


def is_recommendation(row: Row) -> bool:
    """Whether a row is one result of `foretaste recommend`."""
    return isinstance(row.get("recommendations"), list) and isinstance(row.get("history"), list)


def cases_of(result: Row, target: Target, name: str) -> Iterator[Case]:
    """The cases of one result: one a kept tag, one an item, or the whole as one.

    Args:
        result: one result.
        target: of the rubric.
        name: of the result, different for each one of a run; ids of cases begin with it.

    Raises:
        InputError: the result lacks something that such results have.
    """
    try:
        known = _known(result, name)
        if target == "tag":
            yield from _tags(result, known, name)
        elif target in ("explanation", "item"):
            yield from _items(result, known, name, explained=target == "explanation")
        else:
            yield Case(id=name, answer=whole(result, target), items=ids_of(result), **known)
    except (KeyError, TypeError, IndexError, ValidationError) as error:
        raise InputError(
            f"The result of {name} is not as `foretaste recommend` prints it ({error!s:.200})."
        ) from error


def whole(result: Row, target: Target) -> tuple[str, ...]:
    """All of a result that a target is about, a line each: tags, titles, or titles with sentences."""
    if target == "tag":
        return tuple(tag["text"] for tag in result["tags"] if tag["kept"])
    page = result["recommendations"]
    if target in ("item", "list"):
        return tuple(item["title"] for item in page)
    return tuple(f"{item['title']}: {item['explanation']}".strip(": ") for item in page)


def name_of(result: Row, number: int) -> str:
    """Whom or what a result is about: its id, its user, else its place in the file."""
    named = result.get("id") or result.get("custom_id") or result.get("user_id")
    return str(named) if named else f"row {number}"


def _known(result: Row, name: str) -> dict[str, Any]:
    events = [HistoryEvent.model_validate(one) for one in result["history"]]
    wish = result.get("wish")
    length = next((told for top, told in _LENGTHS if len(events) < top), "100 and more")
    return {
        "group": result.get("user_id") or name,
        "user_id": result.get("user_id"),
        "context": (f"Wish: {wish}",) if wish else (),
        "history": tuple(event_line(event) for event in events),
        "chosen": tuple(event.item_id for event in events),
        "segments": {"history": length},
    }


def _tags(result: Row, known: dict[str, Any], name: str) -> Iterator[Case]:
    for tag in result["tags"]:
        if not tag["kept"]:
            continue
        persona = result["personas"][tag["persona"]]
        told = f"Persona: {persona['name']}: {persona['description']}"
        fields = known | {
            "context": (*known["context"], told),
            "segments": known["segments"] | {"written by": tag["proposed_by"]},
        }
        yield Case(id=f"{name}/{tag['text']}", answer=(tag["text"],), **fields)


def _items(result: Row, known: dict[str, Any], name: str, explained: bool) -> Iterator[Case]:
    for item in result["recommendations"]:
        segments = known["segments"] | {"channel": item["channel"]}
        fields = known | {"segments": segments}
        answer = item["title"]
        if explained:
            answer = item["explanation"]
            fields["context"] = (*known["context"], f"Item: {item['title']}")
            segments["written by"] = item["explained_by"] or "nobody"
        yield Case(
            id=f"{name}/{item['item_id']}", answer=(answer,), items=(item["item_id"],), **fields
        )


def ids_of(result: Row) -> tuple[str, ...]:
    """Ids of the items of a result, best first."""
    return tuple(item["item_id"] for item in result["recommendations"])
