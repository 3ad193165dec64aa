"""What callers send: checked before anything is done with it, with examples for the document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from foretaste.agents.objects import Mode, Request
from foretaste.data.changes import Identifier, Interaction, Item
from foretaste.data.feedback import Feedback
from foretaste.serving.index.filters import ItemFilter


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Wanted(_Sent):
    """Whom to recommend to, and what."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"user_id": "1", "n": 5},
                {"history": ["50", "172"], "wish": "something lighter for tonight", "n": 3},
                {"user_id": "1", "filters": {"categories": ["Comedy"]}, "explain": False},
            ]
        },
    )

    user_id: Identifier | None = Field(None, description="A user of the data set.")
    history: list[Identifier] | None = Field(
        None, description="Item ids, oldest first, instead of a stored history."
    )
    wish: str | None = Field(None, max_length=500, description="Free text.")
    n: int = Field(10, ge=1, le=200, description="Items wanted.")
    include_consumed: bool = Field(False, description="Items of the history may come again.")
    filters: ItemFilter = Field(ItemFilter(), description="Which items are allowed at all.")
    environment: list[Annotated[str, Field(max_length=200)]] | None = Field(
        None, max_length=20, description="Short texts about the day; [] for none."
    )
    explain: bool = Field(True, description="Whether each item gets its sentence.")
    seed: int | None = Field(
        None,
        ge=0,
        lt=2**31,
        description="Of everything that samples. With one nothing of the page is left to chance; "
        "without, neighbours may change places (`agents.swap`).",
    )
    mode: Mode = Field("hierarchical", description="How tags come about.")
    trace: bool = Field(False, description="Whether the result has its trace: nodes and calls.")
    run_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        description="Keeps checkpoints under this name: the same request again goes on where it "
        "was, also after the server was killed, and one that is finished is given at once.",
    )
    stream: bool = Field(False, description="Server-sent events of every step instead of JSON.")

    @model_validator(mode="after")
    def _somebody(self) -> Wanted:
        if self.user_id is None and self.history is None and not (self.wish or "").strip():
            raise ValueError("give user_id, history or wish")
        if self.user_id is not None and self.history is not None:
            raise ValueError("user_id and history exclude each other; give one of them")
        return self

    def request(self) -> Request:
        """The same as the graph reads it."""
        return Request(
            user_id=self.user_id,
            history=None if self.history is None else tuple(self.history),
            wish=(self.wish or "").strip() or None,
            n=self.n,
            include_consumed=self.include_consumed,
            filters=self.filters,
            environment=None if self.environment is None else tuple(self.environment),
            explain=self.explain,
            seed=self.seed or 0,
            mode=self.mode,
        )


class Items(_Sent):
    """Items to add or to change."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "item_id": "p-100",
                            "title": "Enamel kettle, red",
                            "categories": ["Kitchen"],
                            "attributes": {"brand": "Acme"},
                            "price": 29.0,
                        }
                    ]
                }
            ]
        },
    )

    items: list[Item] = Field(min_length=1)


class Interactions(_Sent):
    """Things that people did."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"interactions": [{"user_id": "1", "item_id": "50", "event": "purchase"}]}]
        },
    )

    interactions: list[Interaction] = Field(min_length=1)


class Thumbs(_Sent):
    """Feedback about items of one or more answers."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "feedback": [
                        {
                            "request_id": "5f0c7b1e9a2d4c37b7d1f0a6c1e2d3b4",
                            "user_id": "1",
                            "item_id": "50",
                            "thumb": "down",
                            "reason": "I have seen it",
                        }
                    ]
                }
            ]
        },
    )

    feedback: list[Feedback] = Field(min_length=1)


class Turn(BaseModel):
    """One message of a chat, as OpenAI's clients send it."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None

    def text(self) -> str:
        """Its words; pictures and sounds are passed over."""
        if isinstance(self.content, list):
            texts = [part.get("text") for part in self.content if part.get("type") == "text"]
            return " ".join(text for text in texts if isinstance(text, str))
        return self.content or ""


class StreamOptions(BaseModel):
    """How a chat is streamed."""

    include_usage: bool = False


class Chat(BaseModel):
    """A chat completion; settings that mean nothing here are passed over."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "foretaste",
                    "messages": [{"role": "user", "content": "What should I watch tonight?"}],
                    "user": "1",
                }
            ]
        }
    )

    model: str
    messages: list[Turn] = Field(min_length=1, max_length=200)
    user: str | None = Field(None, max_length=200)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(1, ge=1, le=1)
    seed: int | None = Field(None, ge=0, lt=2**31)
