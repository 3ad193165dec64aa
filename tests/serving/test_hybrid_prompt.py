"""One prompt in two forms: its pieces, its vectors, and what is sent."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import BaseModel

from foretaste.data.errors import InputError, ModelError
from foretaste.serving.chat import Ask, Entity, Message
from foretaste.serving.hybrid_chat import HybridChat
from foretaste.serving.hybrid_prompt import PromptWriter, embedding_table
from foretaste.serving.openai_chat import OpenAIChat

TURNS = (
    Message("system", "Be brief."),
    Message("user", ("1. ", Entity("h", "Heat"), ", seen\n2. ", Entity("a", "Alien"), "\nWhich?")),
)


class Tag(BaseModel):
    tag: str


@pytest.fixture(scope="module")
def writer(tiny_llama: Path) -> PromptWriter:
    return PromptWriter(tiny_llama)


def own_tokens(writer: PromptWriter) -> Any:
    """Every entity as the embeddings of its own text, as many vectors as it has tokens."""

    def vectors(entities: Sequence[Entity]) -> list[NDArray[np.float32]]:
        return [writer.rows(writer.tokens(f" {one.text}")).float().numpy() for one in entities]

    return vectors


def test_pieces_are_the_chat_template_with_entities_in_their_places(writer: PromptWriter) -> None:
    pieces = writer.pieces(TURNS)
    assert [piece for piece in pieces if isinstance(piece, Entity)] == [
        Entity("h", "Heat"),
        Entity("a", "Alien"),
    ]
    written = [
        piece.text if isinstance(piece, Entity) else writer.tokenizer.decode(piece)
        for piece in pieces
    ]
    assert written == [
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1.",
        "Heat",
        ", seen\n2.",
        "Alien",
        "\nWhich?<|im_end|>\n<|im_start|>assistant\n",
    ]


def test_own_tokens_give_the_rows_of_the_text_form(writer: PromptWriter) -> None:
    text = writer.tokenizer.apply_chat_template(
        [{"role": turn.role, "content": turn.text} for turn in TURNS],
        add_generation_prompt=True,
        return_dict=True,
    )["input_ids"]
    assert torch.equal(writer.embeddings(TURNS, own_tokens(writer)), writer.rows(text))


def test_one_vector_an_entity_shortens_the_prompt(writer: PromptWriter) -> None:
    def ones(entities: Sequence[Entity]) -> list[NDArray[np.float32]]:
        return [np.full((1, writer.width), 7, dtype=np.float32) for _ in entities]

    whole = writer.embeddings(TURNS, own_tokens(writer))
    short = writer.embeddings(TURNS, ones)
    assert len(whole) - len(short) == len(" Heat") - 1 + len(" Alien") - 1  # tokens are bytes
    assert (short == 7).all(dim=1).sum() == 2


@given(st.lists(st.one_of(st.text("ab 1.\n", max_size=6), st.just(None)), max_size=6))
def test_the_text_form_is_what_the_parts_say(parts: list[str | None]) -> None:
    content = tuple(Entity("k", "Heat") if part is None else part for part in parts)
    said = "".join("Heat" if part is None else part for part in parts)
    assert Message("user", content).text == said == Message("user", said).text


def test_a_mark_in_a_text_and_a_model_without_table_are_refused(
    writer: PromptWriter, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"U\+E000"):
        writer.pieces((Message("user", "x\ue000y"),))
    with pytest.raises(ModelError, match="No embedding table"):
        embedding_table(tmp_path)


def test_both_forms_ask_with_the_same_adapter_and_schema(writer: PromptWriter) -> None:
    ask = Ask(TURNS, Tag, adapter="films@2", max_tokens=9)
    address = "http://127.0.0.1:1/v1"
    text_path, text_body = asyncio.run(OpenAIChat(address, "m").request(ask))
    path, body = asyncio.run(HybridChat(address, "m", writer, own_tokens(writer)).request(ask))
    assert (text_path, path) == ("chat/completions", "completions")
    assert text_body.pop("messages")[1]["content"] == "1. Heat, seen\n2. Alien\nWhich?"
    sent = torch.load(io.BytesIO(base64.b64decode(body.pop("prompt_embeds"))), weights_only=True)
    assert torch.equal(sent, writer.embeddings(TURNS, own_tokens(writer)))
    assert body == text_body
    assert body["model"] == "films@2"
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["tag"]
