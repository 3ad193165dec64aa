"""Laws of importing and exporting, over tables that nobody wrote by hand."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.exporting import Format, export_dataset
from foretaste.data.importing import Files, ImportOptions, find_files, import_dataset
from foretaste.data.store import load_dataset, load_quarantine, save_dataset
from foretaste.data.tables import COLUMNS, EVENTS, KINDS, TABLES, empty

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
LAWS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Texts that any format must carry: quotes, separators, other scripts, but no control characters
# and no white space around or doubled, which importing does not keep.
WORD = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
TEXT = st.lists(WORD, min_size=1, max_size=4).map(" ".join)
ATTRIBUTE = st.fixed_dictionaries({"name": WORD, "value": TEXT})


@contextmanager
def own_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name, monkeypatch.context() as patch:
        patch.setenv("FORETASTE_HOME", f"{name}/home")
        yield Path(name)


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    ids = draw(st.lists(WORD, min_size=1, max_size=5, unique=True))
    items = [
        {
            "item_id": one,
            "title": draw(st.none() | TEXT),
            "description": draw(st.none() | TEXT),
            "categories": draw(st.lists(TEXT, max_size=3)),
            "attributes": draw(st.lists(ATTRIBUTE, max_size=2)),
            "price": draw(st.none() | st.floats(0, 1e6)),
            "image_url": draw(st.none() | WORD),
        }
        for one in ids
    ]
    time = st.integers(0, 4_000_000_000)
    row = st.fixed_dictionaries(
        {
            "user_id": WORD,
            "item_id": st.sampled_from(ids),
            "timestamp": time,
            "event": st.sampled_from(EVENTS),
            "value": st.none() | st.floats(-1e6, 1e6),
            "query": st.none() | TEXT,
        }
    )
    rows = draw(st.lists(row, min_size=1, max_size=6))
    users = draw(st.lists(WORD, max_size=3, unique=True))
    spans = draw(st.lists(st.tuples(time, time, st.sampled_from(KINDS), TEXT), max_size=2))
    frames = {
        "items": items,
        "interactions": [{**row, "position": place} for place, row in enumerate(rows)],
        "users": [{"user_id": one, "attributes": draw(st.lists(ATTRIBUTE))} for one in users],
        "environment": [
            dict(zip(COLUMNS["environment"], (min(a, b), max(a, b), kind, text), strict=True))
            for a, b, kind, text in spans
        ],
    }
    tables = {
        table: pl.DataFrame(frames[table], schema=COLUMNS[table]) if frames[table] else empty(table)
        for table in TABLES
    }
    return Dataset(**tables, info=DatasetInfo(name="law"))


@LAWS
@given(data=datasets(), form=st.sampled_from(["csv", "parquet", "recbole"]))
def test_what_is_exported_is_imported_again(
    monkeypatch: pytest.MonkeyPatch, data: Dataset, form: Format
) -> None:
    with own_home(monkeypatch) as folder:
        saved = save_dataset(data)
        paths = export_dataset(saved, form, folder / "out")
        if form == "recbole":
            kinds = {"item": "items", "inter": "interactions", "user": "users"}
            files = Files(**{kinds.get(p.suffix[1:], "environment"): p for p in paths})
        else:
            files = find_files(folder / "out")
        import_dataset("again", files, ImportOptions(time_unit="s", max_bad_share=0))
        again = load_dataset("again")
        for table in TABLES:
            assert getattr(again, table).equals(getattr(saved, table)), table
        assert again.info.fingerprint == saved.info.fingerprint


@LAWS
@given(data=datasets())
def test_jsonl_gives_the_same_as_parquet(monkeypatch: pytest.MonkeyPatch, data: Dataset) -> None:
    with own_home(monkeypatch) as folder:
        lines = folder / "items.jsonl"
        data.items.write_ndjson(lines)
        import_dataset("law", Files(lines))
        assert load_dataset("law").items.equals(data.items)


CELL = st.sampled_from(["", "a", "b", "zz", "1", "-1", "2020-01-01", "view", "search", "stare"])


@LAWS
@given(
    items=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=12),
    log=st.lists(st.tuples(*[CELL] * 6), min_size=1, max_size=12),
)
def test_imported_and_quarantined_make_up_what_was_read(
    monkeypatch: pytest.MonkeyPatch, items: list[tuple[str, ...]], log: list[tuple[str, ...]]
) -> None:
    header = ["user_id", "item_id", "timestamp", "event", "value", "query"]
    rows = [["item_id", "title"], *map(list, items)], [header, *map(list, log)]
    blank = [sum(not any(row) for row in table) for table in rows]
    if blank[0] == len(items) or blank[1] == len(log):
        return  # nothing but blank lines is refused, which has its own test
    with own_home(monkeypatch) as folder:
        for name, table in zip(("items", "log"), rows, strict=True):
            text = "".join(",".join(row) + "\n" for row in table)
            (folder / f"{name}.csv").write_text(text)
        files = Files(folder / "items.csv", folder / "log.csv")
        report = import_dataset("x", files, ImportOptions(max_bad_share=1))
        aside, data = load_quarantine("x"), load_dataset("x")
        for table, given_rows, empty_rows in (
            ("items", items, blank[0]),
            ("interactions", log, blank[1]),
        ):
            counts = report.tables[table]
            assert counts.read == len(given_rows) - empty_rows
            assert counts.imported + counts.quarantined == counts.read
            assert counts.imported == getattr(data, table).height
            assert counts.quarantined == aside.filter(pl.col("table") == table).height
        assert data.items["item_id"].is_unique().all()
        assert aside.select("table", "row").is_unique().all()
        assert aside["reason"].null_count() == 0
