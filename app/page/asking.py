"""From the fields of the Recommend tab to a request, with one sentence for what is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from foretaste.agents.objects import Mode, Request
from foretaste.data.errors import InputError
from foretaste.serving.index.filters import ItemFilter

MODES: tuple[str, ...] = get_args(Mode)
USER, HISTORY = "A user", "A history that I choose"
SEASONS = ("", "spring", "summer", "autumn", "winter")


@dataclass(frozen=True)
class Fields:
    """What a visitor filled in, in the order of the tab's inputs."""

    dataset: str
    who: str
    user: str | None
    chosen: list[str] | None
    wish: str | None
    n: float
    day: str | None
    season: str | None
    weather: str | None
    trend: str | None
    categories: list[str] | None
    attributes: list[str] | None
    low: str | None
    high: str | None
    allow: list[str] | None
    deny: list[str] | None
    again: bool
    explain: bool
    mode: str

    def request(self) -> Request:
        """The request.

        Raises:
            InputError: nobody to recommend to, a field that is too long, or prices out of order.
        """
        history = tuple(self.chosen or ()) if self.who == HISTORY else None
        user = self.user if self.who == USER else None
        wish = _said(self.wish)
        if not user and not history and not wish:
            raise InputError("Choose a user, build a history, or write a wish.")
        mode = self._mode()
        try:
            return Request(
                user_id=user or None,
                history=history,
                wish=wish or None,
                n=int(self.n),
                include_consumed=self.again,
                filters=self.filters(),
                environment=self.environment(),
                explain=self.explain,
                mode=mode,
            )
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "filters"
            raise InputError(f"{where}: {first['msg']}.") from error

    def filters(self) -> ItemFilter:
        """Which items are allowed.

        Raises:
            ValidationError: the lowest price is above the highest.
            InputError: an attribute that is not NAME: VALUE, or a price that is no number.
        """
        return ItemFilter(
            categories=tuple(self.categories or ()),
            attributes=_pairs(self.attributes or ()),
            price_min=_price(self.low),
            price_max=_price(self.high),
            allow=tuple(self.allow) if self.allow else None,
            deny=tuple(self.deny or ()),
        )

    def environment(self) -> tuple[str, ...] | None:
        """The texts about the day, or None where nothing was set: what is known of it holds."""
        named = {"today is ": self.day, "": self.season, "weather: ": self.weather}
        named["trend: "] = self.trend
        told = [f"{name}{_said(value)}" for name, value in named.items() if _said(value)]
        return tuple(told) or None

    def _mode(self) -> Any:
        if self.mode not in MODES:
            raise InputError(f"The way is one of {', '.join(MODES)}, not {self.mode!r}.")
        return self.mode


def _pairs(attributes: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Attribute → the values of it that were chosen.

    >>> _pairs(["brand: OPI", "size: S", "brand: Acme"])
    {'brand': ('OPI', 'Acme'), 'size': ('S',)}
    """
    found: dict[str, tuple[str, ...]] = {}
    for one in attributes:
        name, colon, value = one.partition(": ")
        if not colon or not name.strip() or not value.strip():
            raise InputError(f"An attribute is written as NAME: VALUE, not {one!r}.")
        found[name] = (*found.get(name, ()), value)
    return found


def _price(field: str | None) -> float | None:
    """The price that was written; None for none."""
    written = _said(field)
    if not written:
        return None
    try:
        price = float(written)
    except ValueError as error:
        raise InputError(f"A price such as 9.50 was expected, not {written!r}.") from error
    if not math.isfinite(price):
        raise InputError(f"A price such as 9.50 was expected, not {written!r}.")
    return price


def _said(field: str | None) -> str:
    return (field or "").strip()
