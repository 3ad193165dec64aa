"""Texts about the surroundings from elsewhere: the provider plug-in, and one for weather.

A provider is asked in a thread and seldom, never by the request that needs it. When it fails,
the last answer stands a while, and then nothing: no recommendation waits for a forecast.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, Protocol

from foretaste.data.errors import ForetasteError, InputError

GROUP = "foretaste.environment"  # entry points of installed packages that are providers
KEPT = 3  # refresh times for which an answer stands when no newer one comes
MOST = 5  # texts of one provider
LARGEST = 1_000_000  # bytes of an answer that are read
_LOG = logging.getLogger("foretaste.environment")
# WMO code table 4677 as weather services use it: the highest code of each group, and its words.
_CODES = (
    *((0, "clear sky"), (2, "partly cloudy"), (3, "overcast"), (48, "fog"), (57, "drizzle")),
    *((63, "rain"), (65, "heavy rain"), (67, "freezing rain"), (73, "snow"), (77, "heavy snow")),
    *((81, "showers"), (82, "heavy showers"), (86, "snow showers"), (99, "thunderstorm")),
)


class Provider(Protocol):
    """Something that knows texts about the day: weather, trends, what is on."""

    def texts(self) -> Sequence[str]:
        """Short texts that hold now; may take seconds.

        Raises:
            ForetasteError: it could not find out.
        """
        ...


class HttpWeather:
    """The weather from a service that answers as Open-Meteo does: `{"current": {...}}`.

    Args:
        url: of the forecast, without query.
        latitude, longitude: of the place, in degrees.
        timeout_s: seconds after which the service is given up.
    """

    def __init__(self, url: str, latitude: float, longitude: float, timeout_s: float) -> None:
        if not url.startswith(("http://", "https://")):
            raise InputError(f"environment.weather_url should begin with https://, not {url!r}.")
        self.url, self.timeout_s = url, timeout_s
        self.place = {"latitude": str(latitude), "longitude": str(longitude)}

    def texts(self) -> list[str]:
        """One text such as `weather: rain, 8 °C`."""
        import httpx

        asked = self.place | {"current": "temperature_2m,weather_code"}
        try:
            with httpx.stream("GET", self.url, params=asked, timeout=self.timeout_s) as answer:
                answer.raise_for_status()
                body = b""
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > LARGEST:
                        raise ForetasteError(f"{self.url} sent more than {LARGEST:,} bytes.")
            return [weather_text(_object(body))]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ForetasteError(f"{self.url} gave no weather ({error}).") from error


def weather_text(answer: Mapping[str, Any]) -> str:
    """The words of one answer.

    Raises:
        ForetasteError: it is not of the form that was expected.

    >>> weather_text({"current": {"temperature_2m": 7.6, "weather_code": 61}})
    'weather: rain, 8 °C'
    """
    current = answer.get("current")
    if not isinstance(current, Mapping):
        raise ForetasteError('Weather was expected as {"current": {...}}.')
    units = answer.get("current_units")
    unit = str(units.get("temperature_2m", "°C")) if isinstance(units, Mapping) else "°C"
    code, degrees = current.get("weather_code"), current.get("temperature_2m")
    told = []
    if isinstance(code, int) and 0 <= code <= _CODES[-1][0]:
        told.append(next(words for top, words in _CODES if code <= top))
    if isinstance(degrees, int | float) and math.isfinite(degrees):
        told.append(f"{round(degrees)} {unit}")  # an integer: there is no -0
    if not told:
        raise ForetasteError("Weather was expected with a weather_code or a temperature_2m.")
    return f"weather: {', '.join(told)}"


class Kept:
    """A provider's last answer, asked for anew in the background when it is old.

    Args:
        provider: is asked once here, so that the first request knows.
        refresh_s: seconds after which it is asked again.
    """

    def __init__(self, provider: Provider, refresh_s: float) -> None:
        self.provider, self.refresh_s = provider, refresh_s
        self._texts: tuple[str, ...] = ()
        self._answered = self._asked = -float("inf")
        self._asking = threading.Lock()
        self._ask()

    def texts(self) -> tuple[str, ...]:
        """What stands now; never waits."""
        now = time.monotonic()
        if now - self._asked > self.refresh_s and not self._asking.locked():
            threading.Thread(target=self._ask, name="environment", daemon=True).start()
        return self._texts if now - self._answered <= KEPT * self.refresh_s else ()

    def _ask(self) -> None:
        if not self._asking.acquire(blocking=False):
            return
        try:
            self._asked = time.monotonic()
            self._texts = tuple(map(str, self.provider.texts()))[:MOST]
            self._answered = time.monotonic()
        except Exception as error:  # noqa: BLE001 - foreign code: whatever it raises, we go on
            ours = isinstance(error, ForetasteError)
            name = type(self.provider).__name__
            _LOG.warning("The environment goes without %s: %s", name, error, exc_info=not ours)
        finally:
            self._asking.release()


def installed_provider(name: str) -> Provider:
    """The provider that an installed package offers under this name.

    It is an entry point of the group `foretaste.environment` that gives a `Provider` when called.

    Raises:
        InputError: no package offers it.
    """
    found = {one.name: one for one in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise InputError(
            f"environment.provider={name}: no installed package offers it as an entry point of "
            f"{GROUP} (installed: {known}); install one, or leave the setting out."
        )
    try:
        provider: Provider = found[name].load()()
    except Exception as error:  # importing and calling foreign code
        raise InputError(
            f"environment.provider={name} cannot be started ({error}); mend or remove the package."
        ) from error
    return provider


def _object(body: bytes) -> dict[str, Any]:
    import json

    try:
        answer = json.loads(body)
    except ValueError as error:
        raise ForetasteError("Weather was expected as JSON.") from error
    if not isinstance(answer, dict):
        raise ForetasteError("Weather was expected as one JSON object.")
    return answer
