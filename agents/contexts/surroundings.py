"""The environment E of a recommendation: day, season, holidays, weather, trends.

Nothing here reaches out unless a setting names where to. The day stands always, season and holidays
once the country is known, the rest when it is asked for; a caller's own `Request.environment`
replaces all of it.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import time
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from foretaste.agents.contexts.compression import short_title
from foretaste.agents.contexts.seasons import day_text, holiday_texts, season
from foretaste.agents.contexts.weather import HttpWeather, Kept, Provider, installed_provider
from foretaste.agents.wording.prompting import clean
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError

_LOG = logging.getLogger("foretaste.environment")
DAY = 86_400
CHARACTERS = 200  # of one text
RISING, LEAST, SURPRISE = 3, 5, 2.0  # items told, events they need, standard errors above before


class EnvironmentConfig(BaseModel, frozen=True, extra="forbid"):
    """What the agents are told of the day. Set by `--set environment.<field>=<value>`."""

    day: bool = Field(True, description="day of the week and date")
    today: dt.date | None = Field(None, description="a date that stands for today")
    timezone: str = Field("UTC", description="where the day begins, such as Europe/Amsterdam")
    country: str | None = Field(
        None, pattern="^[A-Z]{2}$", description="ISO 3166 code: season and public holidays"
    )
    region: str | None = Field(None, description="part of the country, for its own holidays")
    latitude: float | None = Field(None, ge=-90, le=90, description="degrees; south is negative")
    longitude: float | None = Field(None, ge=-180, le=180, description="degrees; west is negative")
    season: bool = Field(True, description="the season, where country or latitude is known")
    holidays: bool = Field(True, description="public holidays, where the country is known")
    holiday_days: int = Field(14, ge=0, le=366, description="days that holidays are told ahead")
    dataset: bool = Field(True, description="the environment table of the data set")
    file: Path | None = Field(None, description="TOML or JSON with notes; read again when changed")
    trends: bool = Field(False, description="items of the data set that are rising")
    trend_days: int = Field(7, ge=1, le=366, description="days that are held against those before")
    weather_url: str | None = Field(
        None, description="a weather service that answers as Open-Meteo does; needs the place"
    )
    provider: str | None = Field(None, description="an installed plug-in, by its name")
    timeout_s: float = Field(3.0, gt=0, le=60, description="seconds that weather is waited for")
    refresh_s: float = Field(1_800.0, ge=1, description="seconds after which it is asked again")


class Note(BaseModel):
    """One note of a file: a text, and from when to when it holds (days are whole)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=CHARACTERS)]
    kind: Literal["weather", "season", "holiday", "trend"] = "trend"
    start: dt.date | dt.datetime | None = None
    end: dt.date | dt.datetime | None = None

    def holds(self, now: dt.datetime) -> bool:
        """Whether it holds at a time that has a zone; times without one are in that zone."""
        after = self.start is None or _moment(self.start, now, 0) <= now
        return after and (self.end is None or now < _moment(self.end, now, 1))


class Notes(BaseModel):
    """A file of notes: `notes = [...]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    notes: list[Note] = Field(default=[], max_length=10_000)


class Surroundings:
    """Tells the texts that hold now.

    Args:
        config: what to tell. Weather and plug-in are asked here for the first time.

    Raises:
        InputError: a country, time zone, file or plug-in that is not there.
    """

    def __init__(self, config: EnvironmentConfig | None = None) -> None:
        self.config = config or EnvironmentConfig()
        self.zone = _zone(self.config.timezone)
        self._notes: tuple[float, Notes] = (0.0, Notes())
        self._rising: tuple[tuple[str, dt.date], list[str]] | None = None
        now = self._now(None)
        self._calendar(now.date())
        if self.config.file is not None:
            self._notes = _read(self.config.file)
        self._kept = [Kept(one, self.config.refresh_s) for one in _providers(self.config)]

    def texts(self, dataset: Dataset, now: float | None = None) -> tuple[str, ...]:
        """What holds at `now` (seconds; the present when None), most general first."""
        config, moment = self.config, self._now(now)
        told = self._calendar(moment.date())
        if config.dataset:
            told += holding(dataset, moment.timestamp())
        told += [note.text for note in self._file_notes() if note.holds(moment)]
        told += [text for kept in self._kept for text in kept.texts()]
        if config.trends:
            told += self._trends(dataset, moment)
        return tuple(dict.fromkeys(clean(text, CHARACTERS) for text in told if text.strip()))

    def _now(self, now: float | None) -> dt.datetime:
        """The moment there, on the day that stands for today if one does."""
        moment = dt.datetime.fromtimestamp(time.time() if now is None else now, self.zone)
        if self.config.today is None:
            return moment
        return dt.datetime.combine(self.config.today, moment.timetz())

    def _calendar(self, day: dt.date) -> list[str]:
        config = self.config
        name = season(day, config.latitude, config.country) if config.season else None
        parts = [day_text(day) if config.day else None, name]
        told = [", ".join(part for part in parts if part)]
        if config.holidays and config.country is not None:
            told += holiday_texts(day, config.holiday_days, config.country, config.region)
        return told

    def _file_notes(self) -> list[Note]:
        """The file's notes, read again when it has changed; the last good ones when it is bad."""
        path = self.config.file
        if path is not None and path.is_file() and path.stat().st_mtime != self._notes[0]:
            try:
                self._notes = _read(path)
            except InputError as error:
                _LOG.warning("The last good notes stand: %s", error)
                self._notes = (path.stat().st_mtime, self._notes[1])
        return self._notes[1].notes

    def _trends(self, dataset: Dataset, moment: dt.datetime) -> list[str]:
        key = (dataset.info.fingerprint, moment.date())
        if self._rising is None or self._rising[0] != key:
            self._rising = (key, rising(dataset, moment.timestamp(), self.config.trend_days))
        return self._rising[1]


def holding(dataset: Dataset, now: float) -> list[str]:
    """The environment rows of a data set that hold at `now` (seconds)."""
    rows = dataset.environment
    if rows.is_empty():
        return []
    texts: list[str] = rows.filter((pl.col("start") <= now) & (pl.col("end") >= now))[
        "text"
    ].to_list()
    return texts


def rising(dataset: Dataset, now: float, days: int) -> list[str]:
    """Items chosen more often in the last `days` before `now` than in as many before those.

    An item rises when its two counts a and b differ by two standard errors,
    (a − b) / √(a + b) ≥ 2, and a is at least 5. None for a data set without times.
    """
    if dataset.info.order_only:
        return []
    recent, before = now - days * DAY, now - 2 * days * DAY
    gone = [dataset.item_ids[row] for row in dataset.withdrawn]
    counts = (
        dataset.interactions.filter(
            pl.col("item_id").is_not_null() & ~pl.col("item_id").is_in(gone),
            pl.col("timestamp") > before,
            pl.col("timestamp") <= now,
        )
        .group_by("item_id")
        .agg(
            (pl.col("timestamp") > recent).sum().cast(pl.Int64).alias("a"),
            (pl.col("timestamp") <= recent).sum().cast(pl.Int64).alias("b"),
        )
        .with_columns(((pl.col("a") - pl.col("b")) / (pl.col("a") + pl.col("b")).sqrt()).alias("z"))
        .filter((pl.col("a") >= LEAST) & (pl.col("z") >= SURPRISE))
        .sort(["z", "item_id"], descending=[True, False])
        .head(RISING)
    )
    names = [short_title(dataset.titles[dataset.row_of[one]]) for one in counts["item_id"]]
    return [f"rising here: {', '.join(names)}"] if names else []


def _providers(config: EnvironmentConfig) -> list[Provider]:
    """The providers that the settings name."""
    named: list[Provider] = []
    if config.weather_url is not None:
        if config.latitude is None or config.longitude is None:
            raise InputError(
                "environment.weather_url needs the place; set environment.latitude and "
                "environment.longitude too."
            )
        named.append(
            HttpWeather(config.weather_url, config.latitude, config.longitude, config.timeout_s)
        )
    if config.provider is not None:
        named.append(installed_provider(config.provider))
    return named


def _read(path: Path) -> tuple[float, Notes]:
    """When a file of notes was changed, and its notes."""
    wanted = 'notes = [{text = "…", start = 2026-12-01, end = 2026-12-26}]'
    try:
        changed, text = path.stat().st_mtime, path.read_text(encoding="utf-8")
        found: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return changed, Notes.model_validate(found)
    except OSError as error:
        raise InputError(
            f"environment.file={path} cannot be read ({error.strerror}); name a TOML or JSON file."
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {where}: {first['msg']}; expected {wanted}.") from error
    except ValueError as error:
        raise InputError(f"{path} cannot be read ({error}); expected {wanted}.") from error


def _moment(when: dt.date, now: dt.datetime, days: int) -> dt.datetime:
    """A time in the zone of `now`; a date is its midnight, so many days later."""
    if isinstance(when, dt.datetime):
        return when if when.tzinfo else when.replace(tzinfo=now.tzinfo)
    midnight = dt.datetime.combine(when, dt.time(), now.tzinfo)
    return midnight + dt.timedelta(days=days)


def _zone(name: str) -> dt.tzinfo:
    if name == "UTC":  # known without the system's table of zones
        return dt.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InputError(
            f"environment.timezone={name} is not a time zone; give one such as Europe/Amsterdam."
        ) from error
