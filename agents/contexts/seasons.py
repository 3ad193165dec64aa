"""The calendar as texts: day, season, public holidays."""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache

from foretaste.data.errors import InputError

TROPIC = 23.4  # degrees of latitude within which a year has no four seasons
HOLIDAYS = 3  # that are told at most
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
SEASONS = ("winter", "spring", "summer", "autumn")
# ISO 3166 codes: south of the tropics, and (mostly) within them. All others are north of them.
SOUTHERN = "AR AU BW CL FK LS NA NZ PY SZ UY ZA"
TROPICAL = (
    "AG AI AO AS AW BB BF BI BJ BN BO BQ BR BS BZ CD CF CG CI CK CM CO CR CU CV CW DJ DM DO EC ER "
    "ET FJ FM GA GD GF GH GM GN GP GQ GT GU GW GY HN HT ID IO JM KE KH KI KM KN KY LA LC LK LR MG "
    "MH ML MQ MR MS MU MV MW MX MY MZ NC NE NG NI NR NU OM PA PE PF PG PH PR PW RE RW SB SC SD SG "
    "SL SN SO SR SS ST SV SX TC TD TG TH TL TO TT TV TZ UG VC VE VG VI VN VU WF WS YE YT ZM ZW"
)


def day_text(day: date) -> str:
    """A day in words.

    >>> day_text(date(2026, 11, 22))
    'Sunday 22 November 2026'
    """
    return f"{WEEKDAYS[day.weekday()]} {day.day} {MONTHS[day.month - 1]} {day.year}"


def season(day: date, latitude: float | None, country: str | None) -> str | None:
    """The meteorological season; None within the tropics, or where nothing is known.

    Args:
        day: the day.
        latitude: degrees, south negative; it overrules the country.
        country: ISO 3166 alpha-2 code.

    >>> season(date(2026, 12, 1), 52.4, None), season(date(2026, 12, 1), None, "NZ")
    ('winter', 'summer')
    """
    if latitude is None and country is None:
        return None
    if abs(latitude) < TROPIC if latitude is not None else country in TROPICAL.split():
        return None
    south = latitude < 0 if latitude is not None else country in SOUTHERN.split()
    return SEASONS[(day.month % 12 // 3 + 2 * south) % 4]


def holiday_texts(day: date, days: int, country: str, region: str | None = None) -> list[str]:
    """Public holidays from this day on, the next few within `days`.

    Args:
        day: from when on.
        days: how far ahead is looked; 0 is this day alone.
        country: ISO 3166 alpha-2 code.
        region: a part of the country by its code (`BY`), for its own holidays.

    Raises:
        InputError: no holidays are known of that country or region.

    >>> holiday_texts(date(2026, 12, 23), 7, "NL")
    ['public holiday in 2 days: Christmas Day', 'public holiday in 3 days: Second Day of Christmas']
    """
    last = day + timedelta(days=days)
    known = {
        one: name for year in {day.year, last.year} for one, name in _year(country, region, year)
    }
    told = []
    for one in sorted(one for one in known if day <= one <= last)[:HOLIDAYS]:
        ahead = (one - day).days
        when = "today" if not ahead else "tomorrow" if ahead == 1 else f"in {ahead} days"
        told.append(f"public holiday {when}: {known[one]}")
    return told


@lru_cache(maxsize=64)
def _year(country: str, region: str | None, year: int) -> tuple[tuple[date, str], ...]:
    """Holidays of one year, named in English where the library has English names."""
    from holidays import country_holidays

    try:
        found = country_holidays(country, subdiv=region, years=year, language="en_US")
    except NotImplementedError as error:
        where = f"{country}, region {region}" if region else country
        raise InputError(
            f"No public holidays are known for {where}; give environment.country as an ISO 3166 "
            "code such as NL (and environment.region as its part), or environment.holidays=false."
        ) from error
    return tuple(sorted(found.items()))
