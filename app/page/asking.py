"""From the fields of the Recommend tab to a request, with one sentence for what is wrong."""

from __future__ import annotations

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
    deny: list[str] | None
    again: bool
    explain: bool
    mode: str

    def request(self) -> Request:
        """The request.

        Raises:
            InputError: nobody to recommend to, or a field that is too long.
        """
        history = tuple(self.chosen or ()) if self.who == HISTORY else None
        user = self.user if self.who == USER else None
        wish = _said(self.wish)
        if not user and not history and not wish:
            raise InputError("Choose a user, build a history, or write a wish.")
        try:
            return Request(
                user_id=user or None,
                history=history,
                wish=wish or None,
                n=int(self.n),
                include_consumed=self.again,
                filters=ItemFilter(
                    categories=tuple(self.categories or ()), deny=tuple(self.deny or ())
                ),
                environment=self.environment(),
                explain=self.explain,
                mode=self._mode(),
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from error

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


def _said(field: str | None) -> str:
    return (field or "").strip()
