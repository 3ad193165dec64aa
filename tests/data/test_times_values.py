"""Cells: what times, lists, numbers and attributes mean."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.data.errors import InputError
from foretaste.data.times import detect_unit, parse_times, seconds_of
from foretaste.data.values import as_attributes, as_list, as_number, as_price, as_text

NOON = int(datetime(2020, 1, 1, 12, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2020-01-01", NOON - 43_200),
        ("2020-01-01T12:00:00Z", NOON),
        ("2020-01-01 12:00", NOON),
        ("2020-01-01T14:00:00+02:00", NOON),
        ("2020-01-01T07:00:00.75-0500", NOON),
        (str(NOON), NOON),
        (f"{NOON}.9", NOON),
        ("2020-13-01", None),
        ("01/02/2020", None),
        ("yesterday", None),
        ("-5", None),
        ("inf", None),
        ("nan", None),
        (None, None),
    ],
)
def test_a_time_in_text(text: str | None, seconds: int | None) -> None:
    column = pl.Series([text, "5"], dtype=pl.String)
    assert parse_times(column, "s").to_list() == [seconds, 5]


def test_typed_times_keep_their_zone() -> None:
    east = datetime(2020, 1, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert parse_times(pl.Series([east]), "s").to_list() == [NOON]
    assert parse_times(pl.Series([date(2020, 1, 1)]), "s").to_list() == [NOON - 43_200]


@given(
    st.integers(min_value=200_000_000, max_value=4_000_000_000),
    st.sampled_from([("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)]),
)
def test_the_unit_is_found_from_the_size(seconds: int, unit: tuple[str, int]) -> None:
    for column in (pl.Series([seconds * unit[1]]), pl.Series([str(seconds * unit[1])])):
        assert detect_unit(column) == unit[0]
        assert parse_times(column, detect_unit(column)).to_list() == [seconds]


def test_a_date_of_a_caller() -> None:
    assert seconds_of("2020-01-01T12:00Z") == NOON
    with pytest.raises(InputError, match="'soon'"):
        seconds_of("soon")


def test_text_is_stripped_and_whole_floats_name_whole_numbers() -> None:
    assert as_text(pl.Series(["  x ", "", "  ", None])).to_list() == ["x", None, None, None]
    assert as_text(pl.Series([7.0, None])).to_list() == ["7", None]
    assert as_text(pl.Series([7.5])).to_list() == ["7.5"]


def test_numbers_and_prices() -> None:
    assert as_number(pl.Series(["1", "x", "inf", None])).to_list() == [1.0, None, None, None]
    cells = ["$1,299.00", "4 €", "-1", "free", None]
    assert as_price(pl.Series(cells)).to_list() == [1299.0, 4.0, None, None, None]


@pytest.mark.parametrize(
    ("cell", "parts"),
    [
        ("a|b c| |", ["a", "b c"]),
        ('["a|b", 3]', ["a|b", "3"]),
        ("[broken|b", ["[broken", "b"]),
        ("", []),
        (None, []),
    ],
)
def test_a_list_in_a_cell(cell: str | None, parts: list[str]) -> None:
    assert as_list(pl.Series([cell], dtype=pl.String), "|").to_list() == [parts]


def test_recbole_tokens_part_at_spaces_only() -> None:
    assert as_list(pl.Series(["Skin\u00a0Care Lips"]), "|", tokens=True).to_list() == [
        ["Skin Care", "Lips"]
    ]


def pairs(*attributes: tuple[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in attributes]


@pytest.mark.parametrize(
    ("cell", "attributes"),
    [
        (
            '{"colour": "red", "sizes": [1, 2]}',
            pairs(("colour", "red"), ("sizes", "1"), ("sizes", "2")),
        ),
        ('[{"name": "n", "value": "v"}]', pairs(("n", "v"))),
        ("colour: red; note: a;b", pairs(("colour", "red"), ("note", "a;b"))),
        ("", []),
        ("no colon", None),
        ('{"broken": ', None),
        ("[1, 2]", None),
    ],
)
def test_attributes_in_a_cell(cell: str, attributes: list[dict[str, str]] | None) -> None:
    frame = pl.DataFrame({"x": [cell]})
    assert as_attributes(frame, "x", ()).to_list() == [attributes]


def test_other_columns_become_attributes_and_empty_cells_do_not() -> None:
    frame = pl.DataFrame({"brand": ["OPI", None], "tags": [["x", "y"], []], "ok": [True, None]})
    assert as_attributes(frame, None, ("brand", "tags", "ok")).to_list() == [
        pairs(("brand", "OPI"), ("tags", "x"), ("tags", "y"), ("ok", "true")),
        [],
    ]
    nested = pl.DataFrame({"a": [{"colour": "red", "size": None}, {"colour": None, "size": 3}]})
    assert as_attributes(nested, "a", ()).to_list() == [
        pairs(("colour", "red")),
        pairs(("size", "3")),
    ]
