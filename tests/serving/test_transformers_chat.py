from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from foretaste.data.errors import EngineError, ModelError, UnreadableAnswer
from foretaste.serving.chat import Answer, Ask, Message
from foretaste.serving.engine import EngineConfig, open_chat
from foretaste.serving.transformers_chat import MAX_BATCH, TransformersChat


class Tags(BaseModel):
    tags: list[Annotated[str, Field(max_length=4)]] = Field(min_length=2, max_length=2)


class Flag(BaseModel):
    good: bool


def ask_of(text: str = "x", schema: type[BaseModel] = Tags, **options: Any) -> Ask[Any]:
    return Ask(
        (Message("user", text),), schema, max_tokens=options.pop("max_tokens", 64), **options
    )


def run(folder: Path, do: Callable[[TransformersChat], Awaitable[Any]], **settings: Any) -> Any:
    async def go() -> Any:
        config = EngineConfig(engine="transformers", model=str(folder), threads=1, **settings)
        async with open_chat(config) as chat:
            assert isinstance(chat, TransformersChat)
            return await do(chat)

    return asyncio.run(go())


def test_random_weights_still_answer_in_the_schema(tiny_llama: Path) -> None:
    answer = run(tiny_llama, lambda chat: chat.ask(ask_of()))
    assert len(answer.parsed.tags) == 2
    assert answer.text.startswith('{"tags":["')
    assert answer.usage.prompt == len(
        "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n".replace(
            "<|im_start|>", "S"
        ).replace("<|im_end|>", "E")
    )
    assert answer.usage.completion > 4
    assert answer.usage.cached == 0


def test_a_batch_answers_as_each_alone(tiny_llama: Path) -> None:
    asks = [ask_of("a" * length, schema) for length in (1, 30, 7) for schema in (Tags, Flag)]

    async def both(chat: TransformersChat) -> tuple[list[Answer[Any]], list[Answer[Any]]]:
        alone = [await chat.ask(ask) for ask in asks]
        return alone, list(await asyncio.gather(*(chat.ask(ask) for ask in asks)))

    alone, together = run(tiny_llama, both)
    assert [one.text for one in alone] == [one.text for one in together]
    assert [one.usage.prompt for one in alone] == [one.usage.prompt for one in together]


def test_asks_at_once_share_batches_of_at_most_sixteen(
    tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = TransformersChat._answer

    def counted(self: TransformersChat, asks: Any) -> Any:
        sizes.append(len(asks))
        return real(self, asks)

    monkeypatch.setattr(TransformersChat, "_answer", counted)

    async def many(chat: TransformersChat) -> Any:
        return await asyncio.gather(*(chat.ask(ask_of(schema=Flag)) for _ in range(MAX_BATCH + 3)))

    assert len(run(tiny_llama, many)) == MAX_BATCH + 3
    assert sizes == [MAX_BATCH, 3]


def test_sampling_repeats_with_its_seed(tiny_llama: Path) -> None:
    async def three(chat: TransformersChat) -> list[str]:
        asks = [ask_of(temperature=1.0, seed=seed) for seed in (1, 1, 2)]
        return [answer.text for answer in await asyncio.gather(*(chat.ask(ask) for ask in asks))]

    first, same, other = run(tiny_llama, three)
    assert first == same
    assert first != other


def test_a_limit_of_ones_own_in_a_shared_batch(tiny_llama: Path) -> None:
    async def two(chat: TransformersChat) -> Any:
        asks = [ask_of(max_tokens=3), ask_of(max_tokens=64)]
        return await asyncio.gather(*(chat.ask(ask) for ask in asks), return_exceptions=True)

    cut, whole = run(tiny_llama, two)
    assert isinstance(cut, UnreadableAnswer)
    assert "cut off" in str(cut)
    assert cut.usage.completion == 3  # type: ignore[attr-defined]
    assert len(whole.parsed.tags) == 2


def test_what_cannot_be_answered(tiny_llama: Path) -> None:
    async def bad(chat: TransformersChat) -> Any:
        asks = [ask_of("a" * 400), ask_of(adapter="x"), ask_of(deadline_s=0.0001), ask_of()]
        return await asyncio.gather(*(chat.ask(ask) for ask in asks), return_exceptions=True)

    long, adapter, late, good = run(tiny_llama, bad, max_model_len=256)
    assert isinstance(long, EngineError)
    assert "256 together" in str(long)
    assert isinstance(adapter, ModelError)
    assert isinstance(late, EngineError)
    assert isinstance(good, Answer)


def test_a_model_without_a_chat_template(tiny_llama: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "plain"
    shutil.copytree(tiny_llama, folder)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        run(folder, lambda chat: chat.ask(ask_of()))
