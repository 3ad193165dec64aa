from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from foretaste.data.errors import UnreadableAnswer
from foretaste.serving.chat import Usage
from foretaste.serving.chat_json import read_answer, schema_text, strict_schema


class Inner(BaseModel):
    title: str = "x"
    type: str


class Outer(BaseModel):
    parts: list[Inner] = Field(default_factory=list, max_length=2)
    default: int = 3


def test_every_field_is_required_and_no_other_allowed() -> None:
    schema = strict_schema(Outer)
    inner = schema["$defs"]["Inner"]
    assert schema["required"] == ["parts", "default"]
    assert inner["required"] == ["title", "type"]
    assert schema["additionalProperties"] is False
    assert inner["additionalProperties"] is False
    assert schema["properties"]["parts"]["maxItems"] == 2


def test_titles_and_defaults_go_but_fields_of_those_names_stay() -> None:
    schema = strict_schema(Outer)
    assert set(schema["$defs"]["Inner"]["properties"]) == {"title", "type"}
    assert "default" in schema["properties"]
    assert schema["properties"]["default"] == {"type": "integer"}
    assert "title" not in schema


def test_schema_text_is_compact_json() -> None:
    text = schema_text(Inner)
    assert ": " not in text
    assert json.loads(text) == strict_schema(Inner)


def test_an_answer_that_fits_is_parsed_with_its_usage() -> None:
    usage = Usage(prompt=3, completion=5)
    answer = read_answer(Inner, '{"title":"a","type":"b"}', usage, complete=True)
    assert answer.parsed == Inner(title="a", type="b")
    assert answer.usage == usage


@pytest.mark.parametrize(
    ("text", "complete", "word"),
    [
        ('{"title":"a"}', True, "type: Field required"),
        ("noise", True, "the whole answer"),
        ('{"title":"a', False, "cut off"),
    ],
)
def test_an_unreadable_answer_says_why_and_keeps_its_cost(
    text: str, complete: bool, word: str
) -> None:
    usage = Usage(prompt=3, completion=5)
    with pytest.raises(UnreadableAnswer, match=word) as caught:
        read_answer(Inner, text, usage, complete=complete)
    assert caught.value.usage == usage
    assert caught.value.text == text


@given(st.dictionaries(st.sampled_from(["title", "type"]), st.text(), min_size=2))
def test_whatever_fits_the_class_is_read_back(fields: dict[str, Any]) -> None:
    assert read_answer(Inner, json.dumps(fields), Usage(), complete=True).parsed == Inner(**fields)


def test_control_characters_in_strings_become_spaces() -> None:
    answer = read_answer(Inner, '{"title":"a\nb\x06",\n"type":"c"}', Usage(), complete=True)
    assert answer.parsed == Inner(title="a b ", type="c")


@given(st.text(max_size=2000))
def test_no_text_raises_anything_else(text: str) -> None:
    with pytest.raises(UnreadableAnswer) as caught:
        read_answer(Inner, f"noise {text}", Usage(), complete=True)
    assert len(str(caught.value)) < 1500
