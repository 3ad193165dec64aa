"""Items as words, and a data set in numbers."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.data.dataset import Dataset
from foretaste.data.describe import describe
from foretaste.data.importing import Files, find_files, import_dataset
from foretaste.data.store import load_dataset
from foretaste.data.tables import COLUMNS
from foretaste.data.text import DESCRIPTION_CHARACTERS, item_texts, item_titles


def items(**columns: object) -> pl.DataFrame:
    row = {"item_id": "7", "categories": [], "attributes": [], **columns}
    return pl.DataFrame([row], schema=COLUMNS["items"])


@pytest.mark.parametrize(
    ("columns", "text", "title"),
    [
        ({}, "7", "7"),
        ({"title": "  "}, "7", "7"),
        ({"title": "Mug."}, "Mug", "Mug"),
        ({"description": "Blue."}, "Blue", "7"),
        ({"title": "A\n\tB", "categories": ["X", "Y"]}, "A B. X > Y", "A B"),
        ({"title": "A", "attributes": [{"name": "Brand", "value": "OPI"}]}, "A. OPI", "A"),
        ({"title": "A", "attributes": [{"name": "size", "value": "9"}]}, "A", "A"),
    ],
)
def test_texts_by_hand(columns: dict[str, object], text: str, title: str) -> None:
    assert item_texts(items(**columns)) == [text]
    assert item_titles(items(**columns)) == [title]


@given(st.text(max_size=900))
def test_a_description_is_cut_after_a_word(description: str) -> None:
    [text] = item_texts(items(description=description))
    assert 0 < len(text) <= DESCRIPTION_CHARACTERS + 2
    assert item_texts(items(description="word " * 100))[0].endswith("word …")


def test_no_items_no_texts() -> None:
    none = pl.DataFrame(schema=COLUMNS["items"])
    assert item_texts(none) == item_titles(none) == []


def test_the_shop_in_numbers(shop: Path, home: Path) -> None:
    import_dataset("shop", find_files(shop))
    figures = describe(load_dataset("shop"))
    assert figures["counts"]["interactions"] == 6
    assert figures["counts"]["users"] == 2
    assert figures["sparsity"] == round(1 - 5 / 6, 6)  # u1 has a, b, c; u2 has a, b
    assert figures["per_user"] == {"min": 2, "median": 3.0, "mean": 3.0, "max": 4}
    assert figures["events"] == {"view": 4, "purchase": 1, "cart": 1}
    assert figures["time"]["first"] == "1970-01-01 00:01:40"
    assert figures["time"]["tied_share"] == 0
    assert figures["text"]["title_share"] == round(2 / 3, 4)
    # u1: a<b up, b<c up, c>a down; u2: b>a down
    assert figures["catalogue_order_share"] == 0.5
    assert any("cannot carry a sequence" in warning for warning in figures["warnings"])


def test_numeric_ids_are_ordered_as_numbers(tmp_path: Path, home: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id\n9\n10\n")
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\nu,9,5\nu,10,5\n")
    import_dataset("x", Files(tmp_path / "items.csv", tmp_path / "log.csv"))
    figures = describe(load_dataset("x"))
    assert figures["catalogue_order_share"] == 1.0
    assert figures["time"]["tied_share"] == 1.0
    assert any("catalogue order" in warning for warning in figures["warnings"])


def test_a_catalogue_without_a_log_is_described(tmp_path: Path, home: Path) -> None:
    (tmp_path / "items.csv").write_text("item_id\n9\n")
    import_dataset("x", Files(tmp_path / "items.csv"))
    data: Dataset = load_dataset("x")
    figures = describe(data)
    assert figures["sparsity"] is figures["catalogue_order_share"] is None
    assert len(data.histories) == 0


@pytest.mark.shared
def test_the_readmes_figures_are_met(shared_data: Path, home: Path) -> None:
    for name, ties, order in (("amazon-beauty", None, 0.694), ("amazon-industrial", 0.468, None)):
        import_dataset(name, find_files(shared_data / name))
        figures = describe(load_dataset(name))
        if ties:
            assert figures["time"]["tied_share"] == pytest.approx(ties, abs=5e-4)
        if order:
            assert figures["catalogue_order_share"] == pytest.approx(order, abs=5e-4)
