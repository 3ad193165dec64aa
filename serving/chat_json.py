"""From a pydantic class to the JSON schema an engine is held to, and from its text back again."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from foretaste.data.errors import UnreadableAnswer
from foretaste.serving.chat import Answer, Parsed, Usage

_SHOWN = 200  # characters of an answer in an error
# xgrammar lets raw control characters into strings of limited length, where JSON forbids them;
# outside of strings they are white space anyway.
_NO_CONTROLS = dict.fromkeys(range(32), " ")


def strict_schema(cls: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of `cls` in the strict form: every field is asked for, and no other.

    Titles and defaults are left out: they only cost tokens where an endpoint puts the schema into
    the prompt, and a field with a default would be skipped by a small model.

    >>> class Tags(BaseModel):
    ...     tags: list[str] = []
    >>> strict_schema(Tags)["required"], strict_schema(Tags)["additionalProperties"]
    (['tags'], False)
    """
    schema = cls.model_json_schema()
    _make_strict(schema)
    return schema


def schema_text(cls: type[BaseModel]) -> str:
    """The same as compact JSON."""
    return json.dumps(strict_schema(cls), separators=(",", ":"))


def read_answer(schema: type[Parsed], text: str, usage: Usage, *, complete: bool) -> Answer[Parsed]:
    """The answer as an object of `schema`; control characters in it count as spaces.

    Args:
        schema: the class that the text must fit.
        text: what the model wrote.
        usage: what it cost; kept in the error too.
        complete: False when the model was cut off at its number of tokens.

    Raises:
        UnreadableAnswer: the text does not fit; the sentence says where.
    """
    try:
        return Answer(schema.model_validate_json(text.translate(_NO_CONTROLS)), text, usage)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole answer"
        reason = f"{where}: {first['msg']}" if complete else "it was cut off at its last token"
        raise UnreadableAnswer(
            f"The model's answer does not fit {schema.__name__} ({reason}): {text[:_SHOWN]!r}",
            text,
            usage,
        ) from error


def _make_strict(node: Any) -> None:
    if isinstance(node, list):
        for each in node:
            _make_strict(each)
    if not isinstance(node, dict):
        return
    properties = node.get("properties")
    if node.get("type") == "object" and isinstance(properties, dict):
        node["additionalProperties"] = False
        node["required"] = list(properties)
    for key in ("title", "default"):
        if not isinstance(node.get(key), dict):  # a field may be called `title`
            node.pop(key, None)
    for each in node.values():
        _make_strict(each)
