"""The seam between the agents and any language model: messages in, text and object out.

Behind `ChatModel` stand a vLLM server, any OpenAI-compatible endpoint, in-process transformers,
and, in tests only, a scripted model. Nothing above this seam knows which one answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel

Parsed = TypeVar("Parsed", bound=BaseModel)
Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Entity:
    """One thing that a prompt names: written as its text, or read by the model as one vector.

    Attributes:
        key: what it is, an item's id for instance; for records.
        text: what stands in the text form, and what the vector of the hybrid form is made from.
    """

    key: str
    text: str


Part = str | Entity


@dataclass(frozen=True)
class Message:
    """One turn of a conversation: plain text, or pieces of text and entities in order.

    >>> Message("user", ("1. ", Entity("i1", "Heat (Crime)"), ", rating 5")).text
    '1. Heat (Crime), rating 5'
    """

    role: Role
    content: str | tuple[Part, ...]

    @property
    def text(self) -> str:
        """The turn with every entity written out."""
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The turn's pieces in order."""
        return (self.content,) if isinstance(self.content, str) else self.content


def entities_of(messages: Sequence[Message]) -> list[Entity]:
    """The entities that a prompt names, in order, each as often as it is named."""
    return [part for turn in messages for part in turn.parts if isinstance(part, Entity)]


@dataclass(frozen=True)
class Usage:
    """Tokens and time of one call.

    Attributes:
        prompt: tokens read.
        cached: of those, tokens served from the engine's prefix cache (0 when not reported).
        completion: tokens written.
        ms: wall time of the call in milliseconds.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    ms: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
            self.ms + other.ms,
        )


@dataclass(frozen=True)
class Ask(Generic[Parsed]):
    """One question to a language model.

    Attributes:
        messages: the conversation so far; the shared context first, the instruction last, so
            that calls about one user share a prefix.
        schema: the pydantic class that the answer must fit; the engine is held to its JSON
            schema where it can be.
        max_tokens: tokens the answer may have at most.
        temperature: 0 picks the likeliest token each time.
        seed: of the sampling when `temperature` is above 0.
        adapter: name of a LoRA adapter that the engine has loaded, or None for the base model.
        deadline_s: seconds after which the call is given up with an `EngineError`.
    """

    messages: tuple[Message, ...]
    schema: type[Parsed]
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    adapter: str | None = None
    deadline_s: float = 120.0


@dataclass(frozen=True)
class Answer(Generic[Parsed]):
    """What came back: the object, the raw text it was read from, and what it cost."""

    parsed: Parsed
    text: str
    usage: Usage


class ChatModel(Protocol):
    """A language model that can be asked.

    `ask` raises `UnreadableAnswer` (with its usage) when the text does not fit the schema, and
    `EngineError` when no answer came: transport faults were retried before that.
    """

    @property
    def name(self) -> str:
        """Which model answers, for records."""
        ...

    async def ask(self, ask: Ask[Parsed]) -> Answer[Parsed]:
        """Answer one question; many may be under way at once."""
        ...

    async def close(self) -> None:
        """Let go of connections. An engine that was started elsewhere is left running."""
        ...
