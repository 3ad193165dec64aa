"""Files in: by hand what is imported, what is put aside, and what stops an import."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import date, time
from pathlib import Path

import polars as pl
import pytest

from foretaste.data.errors import DataError, InputError
from foretaste.data.importing import Files, ImportOptions, find_files, import_dataset
from foretaste.data.mapping import Mapping, read_mapping
from foretaste.data.store import list_datasets, load_dataset, load_quarantine

pytestmark = pytest.mark.usefixtures("home")
Write = Callable[[str, str], Path]
LENIENT = ImportOptions(max_bad_share=1.0)
ITEMS = "item_id,title\na,A\nb,B\n"


def test_a_small_shop(shop: Path) -> None:
    report = import_dataset("shop", find_files(shop))
    assert report.tables["items"].model_dump() == {
        "read": 3,
        "imported": 3,
        "quarantined": 0,
        "unchanged": 0,
    }
    data = load_dataset("shop")
    first = data.items.row(0, named=True)
    assert first["categories"] == ["Makeup", "Lips"]
    assert first["price"] == 9.5
    assert first["attributes"] == [{"name": "brand", "value": "OPI"}]
    assert data.items["title"][2] is None
    assert [data.histories[user].tolist() for user in (0, 1)] == [[0, 1, 2, 0], [1, 0]]
    assert data.times.tolist() == [100, 200, 300, 400, 150, 350]
    assert data.info.fingerprint == report.fingerprint


def test_ties_keep_the_order_of_the_source_or_of_its_position(write: Write) -> None:
    items = write("items.csv", ITEMS)
    log = write("log.csv", "user,item,time\nu,b,5\nu,a,5\nu,a,1\n")
    import_dataset("x", Files(items, log))
    assert load_dataset("x").histories[0].tolist() == [0, 1, 0]
    log = write("log.csv", "user,item,time,pos\nu,b,5,2\nu,a,5,1\nu,a,1,0\n")
    import_dataset("x", Files(items, log))
    assert load_dataset("x").histories[0].tolist() == [0, 0, 1]


def test_each_bad_row_goes_to_the_quarantine_with_its_reason(write: Write) -> None:
    items = write("items.csv", "item_id,title,attributes\na,A,\n,B,\na,Again,\nd,D,what\ne,E,,x\n")
    log = write(
        "log.csv",
        "user_id,item_id,timestamp,event,value,query\n"
        "u,a,5,view,,\n"
        ",a,5,view,,\n"
        "u,a,soon,view,,\n"
        "u,a,5,stare,,\n"
        "u,a,5,rating,good,\n"
        "u,,5,search,,\n"
        "u,,5,search,,red shoes\n"
        "u,,5,view,,\n"
        "u,zz,5,view,,\n"
        "\n",
    )
    users = write("users.csv", "user_id,age\nu,3\n,4\nu,5\n")
    around = write(
        "around.csv",
        "start,end,kind,text\n2020-01-01,,Weather,rain\nx,,trend,t\n5,z,trend,t\n5,4,trend,t\n"
        "5,6,mood,t\n5,6,trend,\n",
    )
    report = import_dataset("x", Files(items, log, users, around), LENIENT)
    aside = load_quarantine("x")
    assert aside.select("table", "file", "row", "reason").rows() == [
        ("items", "items.csv", 2, "missing item_id"),
        ("items", "items.csv", 3, "duplicate item_id"),
        ("items", "items.csv", 4, "unreadable attributes"),
        ("items", "items.csv", 5, "more cells than the header has columns"),
        ("interactions", "log.csv", 2, "missing user_id"),
        ("interactions", "log.csv", 3, "unparseable timestamp"),
        ("interactions", "log.csv", 4, "unknown event"),
        ("interactions", "log.csv", 5, "value is not a number"),
        ("interactions", "log.csv", 6, "missing query"),
        ("interactions", "log.csv", 8, "missing item_id"),
        ("interactions", "log.csv", 9, "item not in the catalogue"),
        ("users", "users.csv", 2, "missing user_id"),
        ("users", "users.csv", 3, "duplicate user_id"),
        ("environment", "around.csv", 2, "unparseable start"),
        ("environment", "around.csv", 3, "unparseable end"),
        ("environment", "around.csv", 4, "end before start"),
        ("environment", "around.csv", 5, "unknown kind"),
        ("environment", "around.csv", 6, "missing text"),
    ]
    assert json.loads(aside["content"][4])["item_id"] == "a"
    assert sum(report.reasons.values()) == 18
    data = load_dataset("x")
    assert data.interactions["query"].to_list() == [None, "red shoes"]
    assert data.environment.rows() == [(1577836800, 1577836800 + 86_400, "weather", "rain")]
    assert len(data.histories.rows) == 1


def test_too_many_bad_rows_change_nothing(write: Write, home: Path) -> None:
    items = write("items.csv", ITEMS)
    log = write("log.csv", "user,item,time\nu,a,1\n")
    before = import_dataset("x", Files(items, log))
    log = write("log.csv", "user,item,time\n" + "u,a,1\n" * 18 + "u,zz,1\n" * 2)
    with pytest.raises(DataError, match=r"2 of 20 rows of log.csv .*10.0%.*row 19.*nothing was"):
        import_dataset("x", Files(items, log))
    assert load_dataset("x").info.fingerprint == before.fingerprint
    assert len(list((home / "datasets" / "x").iterdir())) == 3  # version, pointer, lock
    with pytest.raises(DataError):
        import_dataset("new", Files(items, log))
    assert [info.name for info in list_datasets()] == ["x"]


def test_adding_updates_items_and_skips_what_is_there(shop: Path, write: Write) -> None:
    import_dataset("shop", find_files(shop))
    add = ImportOptions(mode="add")
    again = import_dataset("shop", find_files(shop), add)
    assert again.tables["items"].unchanged == 3
    assert again.tables["interactions"].unchanged == 6
    items = write("more.csv", "item_id,title,category,price,brand\nd,New,,1,\nb,Green mug,,2,\n")
    log = write("more_log.csv", "user_id,item_id,timestamp,event\nu1,d,400,view\n")
    report = import_dataset("shop", Files(items, log), add)
    assert (report.tables["items"].imported, report.tables["interactions"].imported) == (2, 1)
    data = load_dataset("shop")
    assert data.items["item_id"].to_list() == ["a", "b", "c", "d"]
    assert data.items["title"][1] == "Green mug"
    assert data.histories[0].tolist() == [0, 1, 2, 0, 3]


def test_replacing_twice_keeps_one_version_and_its_fingerprint(shop: Path, home: Path) -> None:
    first = import_dataset("shop", find_files(shop))
    second = import_dataset("shop", find_files(shop))
    assert first.fingerprint == second.fingerprint
    assert sum(path.is_dir() for path in (home / "datasets" / "shop").iterdir()) == 1


def test_units_events_and_ratings_are_understood_and_said(write: Write) -> None:
    items = write("items.csv", ITEMS)
    log = write("log.csv", "uid,iid,ts,rating\nu,a,1600000000000,4\nu,b,1600000001000,5\n")
    report = import_dataset("x", Files(items, log))
    assert any("milliseconds" in note for note in report.notes)
    rows = load_dataset("x").interactions
    assert rows["timestamp"].to_list() == [1_600_000_000, 1_600_000_001]
    assert rows["event"].to_list() == ["rating", "rating"]
    log = write("log.csv", "uid,iid,ts,action\nu,a,1,PV\nu,a,2,play\nu,a,3,AddToCart\nu,a,4,\n")
    import_dataset("x", Files(items, log), mapping=Mapping(events={"play": "click"}))
    assert load_dataset("x").interactions["event"].to_list() == ["view", "click", "cart", "view"]


def test_positions_are_told_from_times(write: Write) -> None:
    items = write("items.csv", ITEMS)
    log = write("log.csv", "user,item,time\nu,a,0\nu,b,1\nv,b,0\n")
    assert import_dataset("x", Files(items, log)).order_only
    log = write("log.csv", "user,item,time\nu,a,0\nu,b,7\nv,b,0\n")
    assert not import_dataset("x", Files(items, log)).order_only
    log = write("log.csv", "user,item\nu,b\nv,a\nu,a\n")
    with pytest.raises(InputError, match=r"interactions\.timestamp"):
        import_dataset("x", Files(items, log))
    assert import_dataset("x", Files(items, log), ImportOptions(order_only=True)).order_only
    assert load_dataset("x").interactions["timestamp"].to_list() == [0, 1, 0]


def test_columns_are_named_by_flag_or_file(write: Write) -> None:
    items = write("things.csv", "code,label,secret\na,A,s\nb,B,s\n")
    log = write("log.csv", "who,code,when\nu,a,1\n")
    toml = write(
        "names.toml",
        'drop = ["items.secret"]\n[items]\nitem_id = "code"\n'
        '[interactions]\nuser_id = "who"\nitem_id = "code"\ntimestamp = "when"\n',
    )
    import_dataset("x", Files(items, log), mapping=read_mapping(["items.title=label"], toml))
    assert load_dataset("x").items.row(0, named=True)["title"] == "A"
    assert load_dataset("x").items["attributes"].to_list() == [[], []]


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("items.item_id", "table.column=source"),
        ("things.item_id=x", "items, interactions"),
        ("items.colour=x", "no 'colour'"),
        ("events.play=stare", "view, click"),
        ("items.item_id=absent", "is not in the source"),
    ],
)
def test_wrong_names_are_one_sentence(write: Write, flag: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        import_dataset("x", Files(write("items.csv", ITEMS)), mapping=read_mapping([flag]))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("items.csv", b"", "items.csv is empty"),
        ("items.csv", b"item_id,title\n", "no rows"),
        ("items.csv", b"item_id,title\n1,caf\xe9\n", "not UTF-8"),
        ("items.csv", "item_id,title\n1,x\n".encode("utf-16"), "not UTF-8"),
        ("items.csv", b"title,price\nx,1\n", "items.item_id was found among title, price"),
        ("items.csv", b"item_id,item_id\n1,2\n", "two columns 'item_id'"),
        ("items.csv", b'item_id,title\n1,"open\n2,x\n', "cannot be read"),
        ("items.parquet", b"PAR1 not really", "cannot be read"),
        ("items.jsonl", b"[1]\n[2]\n", "no line is one"),
        ("items.item", b"item_id,title\n1,2\n", "name:type"),
        ("items.xlsx", b"PK", "format that is not read"),
    ],
)
def test_unreadable_files_are_one_sentence(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        import_dataset("x", Files(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no file"):
        import_dataset("x", Files(tmp_path / "absent.csv"))


def test_a_mark_a_crlf_a_quote_and_gzip_are_read(tmp_path: Path) -> None:
    text = '\ufeffitem_id,title\r\na,"one, two\r\nthree ""x"""\r\nb\r\n'
    (tmp_path / "items.csv.gz").write_bytes(gzip.compress(text.encode()))
    import_dataset("x", find_files(tmp_path))
    assert load_dataset("x").items["title"].to_list() == ['one, two\r\nthree "x"', None]


def test_broken_lines_of_jsonl_are_put_aside(write: Write) -> None:
    items = write(
        "items.jsonl", '{"id": 1, "title": "A"}\n{"id": 2,\n\n{"id": 3, "genres": ["x"]}\n'
    )
    import_dataset("x", Files(items), LENIENT)
    assert load_dataset("x").items["item_id"].to_list() == ["1", "3"]
    assert load_quarantine("x").select("row", "reason").rows() == [(2, "not a JSON object")]


def test_a_folder_needs_items_once(tmp_path: Path, write: Write) -> None:
    with pytest.raises(InputError, match="not a folder"):
        find_files(tmp_path / "absent")
    with pytest.raises(InputError, match="no items table"):
        find_files(tmp_path)
    write("items.csv", ITEMS)
    write("items.tsv", ITEMS)
    with pytest.raises(InputError, match=r"items.csv and items.tsv"):
        find_files(tmp_path)


def test_names_cannot_leave_the_home(write: Write) -> None:
    for name in ("../x", "/x", ".x", ""):
        with pytest.raises(InputError):
            import_dataset(name, Files(write("items.csv", ITEMS)))
    with pytest.raises(InputError, match="separator"):
        import_dataset("x", Files(write("items.csv", ITEMS)), ImportOptions(list_separator=""))


def test_text_of_items_stays_text(write: Write) -> None:
    hostile = "=cmd|'/c calc'!A0 <script> {braces} ../../etc"
    items = write("items.jsonl", json.dumps({"item_id": "../a", "title": hostile}) + "\n")
    import_dataset("x", Files(items))
    assert load_dataset("x").items.row(0)[:2] == ("../a", hostile)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "items", "interactions", "order_only"),
    [("amazon-beauty", 12_101, 198_502, True), ("amazon-industrial", 3_686, 21_737, False)],
)
def test_real_sets_keep_all_their_rows(
    shared_data: Path, name: str, items: int, interactions: int, order_only: bool
) -> None:
    report = import_dataset(name, find_files(shared_data / name))
    assert report.reasons == {}
    assert report.order_only is order_only
    data = load_dataset(name)
    assert (data.items.height, data.interactions.height) == (items, interactions)
    source = pl.read_parquet(shared_data / name / "interactions.parquet")
    order = ["user_id", "pos"] if "pos" in source.columns else ["user_id", "timestamp"]
    assert data.interactions["item_id"].equals(source.sort(order)["item_id"])


def test_odd_types_of_parquet_are_read_or_put_aside(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "item_id": [1.0, None],
            "title": pl.Series(["a", "b"], dtype=pl.Categorical),
            "price": pl.Series(["1.5", None]).cast(pl.Decimal(10, 2)),
            "categories": [[["Beauty", "Lips"]], None],
            "raw": [b"\xff", None],
            "day": [date(2020, 1, 1), None],
            "pair": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int64, 2)),
            "nested": [{"k": 1}, None],
            "nothing": [None, None],
        }
    )
    frame.write_parquet(tmp_path / "items.parquet")
    import_dataset("x", Files(tmp_path / "items.parquet"), LENIENT)
    [row] = load_dataset("x").items.to_dicts()
    assert (row["item_id"], row["title"], row["price"]) == ("1", "a", 1.5)
    assert row["categories"] == ["Beauty", "Lips"]
    assert [(one["name"], one["value"]) for one in row["attributes"]] == [
        ("raw", "\ufffd"),
        ("day", "2020-01-01"),
        ("pair", "1"),
        ("pair", "2"),
        ("nested", '{"k": 1}'),
    ]
    assert load_quarantine("x")["reason"].to_list() == ["missing item_id"]


@pytest.mark.parametrize(
    ("cell", "attributes"),
    [
        ('[{"name": "c", "value": "d", "unit": "e"}]', [("c", "d")]),
        ('["x", "y"]', [("attribute", "x"), ("attribute", "y")]),
        ('{"c": ["d", "e"], "f": null}', [("c", "d"), ("c", "e")]),
        ('[{"k": "c"}]', None),
        ("3", None),
    ],
)
def test_attributes_of_jsonl(
    write: Write, cell: str, attributes: list[tuple[str, str]] | None
) -> None:
    items = write("items.jsonl", f'{{"item_id": "a", "attributes": {cell}}}\n')
    import_dataset("x", Files(items), LENIENT)
    rows = load_dataset("x").items["attributes"].to_list()
    found = [[(one["name"], one["value"]) for one in row] for row in rows]
    assert found == ([] if attributes is None else [attributes])


def test_times_of_a_wrong_type_and_semicolons(write: Write, tmp_path: Path) -> None:
    log = pl.DataFrame({"user": ["u"], "item": ["a"], "time": [time(1, 2)]})
    log.write_parquet(tmp_path / "log.parquet")
    items = write("items.csv", "item_id;title\na;A\n")
    report = import_dataset("x", Files(items, tmp_path / "log.parquet"), LENIENT)
    assert report.reasons == {"unparseable timestamp": 1}
    assert load_dataset("x").items["title"].to_list() == ["A"]
    with pytest.raises(InputError, match="format that is not read"):
        import_dataset("x", Files(write("items.parquet.gz", "x")))
    atomic = tmp_path / "items.item.gz"
    atomic.write_bytes(gzip.compress(b"item_id:token\ttitle:token_seq\na\tA mug\n"))
    import_dataset("x", Files(atomic))
    assert load_dataset("x").items["title"].to_list() == ["A mug"]
