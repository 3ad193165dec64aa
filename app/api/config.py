"""Limits of the API. Every field can be set by `--set api.<field>=<value>`."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ApiConfig(BaseModel, frozen=True, extra="forbid"):
    """How much one server takes on. The defaults suit two cores and 200 clients at once."""

    runs: int | None = Field(
        None,
        ge=1,
        description="recommendations under way at the same time; if unset 3 without a language "
        "model (they only share the processor), 16 with one (they wait for it)",
    )
    waiting: int = Field(400, ge=0, description="recommendations that may wait for their turn")
    deadline_s: float = Field(
        120.0, gt=0, description="seconds, waiting included, after which a request is given up"
    )
    body_bytes: int = Field(1_000_000, ge=1_000, description="largest body that is read")
    body_s: float = Field(20.0, gt=0, description="seconds in which a body must have come")
    history_items: int = Field(1_000, ge=1, description="items of an inline history")
    batch: int = Field(500, ge=1, description="items or interactions in one request")
    rate: float = Field(50.0, gt=0, description="requests a second of one key, over a few seconds")
    burst: int = Field(100, ge=1, description="requests of one key at once, after a pause")
    concurrency: int = Field(64, ge=1, description="requests of one key under way")
    vectors: int = Field(
        8_192,
        ge=1,
        description="texts of requests (tags, personas) whose vectors are kept, in memory only; "
        "1.5 kB each",
    )
    exposure_days: float = Field(
        180.0, gt=0, description="days for which shown pages without feedback are kept"
    )
