"""The store: what was saved is loaded, and damage is one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.errors import DataError, ForetasteError, InputError
from foretaste.data.importing import find_files, import_dataset
from foretaste.data.store import list_datasets, load_dataset, save_dataset, stored
from foretaste.data.tables import COLUMNS, empty, validate


@pytest.fixture
def version(shop: Path, home: Path) -> Path:
    """The folder of the imported shop's version."""
    import_dataset("shop", find_files(shop))
    pointer = json.loads((home / "datasets" / "shop" / "current.json").read_text())
    return home / "datasets" / "shop" / pointer["version"]


def test_the_version_is_named_after_its_fingerprint(version: Path) -> None:
    data = load_dataset("shop")
    assert version.name.startswith(data.info.fingerprint)
    assert len(data.info.catalogue_fingerprint) == len(data.info.fingerprint) == 16
    assert [info.name for info in list_datasets()] == ["shop"]
    assert list_datasets()[0].rows("interactions") == 6
    assert stored("shop")
    assert not stored("other")


def test_the_fingerprint_of_the_catalogue_is_that_of_the_items(version: Path) -> None:
    data = load_dataset("shop")
    fewer = Dataset(data.items, data.interactions.head(1), data.users, data.environment, data.info)
    saved = save_dataset(fewer)
    assert saved.info.catalogue_fingerprint == data.info.catalogue_fingerprint
    assert saved.info.fingerprint != data.info.fingerprint


@pytest.mark.parametrize("table", ["items", "interactions", "users", "environment"])
def test_every_damage_is_one_sentence(version: Path, table: str) -> None:
    path = version / f"{table}.parquet"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content, words in [(whole[:-3], "bytes where"), (bytes(flipped), "altered")]:
        path.write_bytes(content)
        with pytest.raises(ForetasteError, match=words) as caught:
            load_dataset("shop")
        assert "import it again" in str(caught.value)
    path.unlink()
    with pytest.raises(ForetasteError, match="missing"):
        load_dataset("shop")


def test_a_damaged_description_is_one_sentence(version: Path) -> None:
    for name in (version / "dataset.json", version.parent / "current.json"):
        whole = name.read_text()
        for content in ("", "{", "{}", '{"version": "../../etc"}'):
            name.write_text(content)
            with pytest.raises(ForetasteError):
                load_dataset("shop")
        name.write_text(whole)
    shutil.rmtree(version)
    with pytest.raises(ForetasteError, match="damaged"):
        load_dataset("shop")


def test_the_same_import_mends_a_damaged_version(version: Path, shop: Path) -> None:
    (version / "items.parquet").write_bytes(b"")
    import_dataset("shop", find_files(shop))
    assert load_dataset("shop").items.height == 3


def test_a_description_with_another_letter_is_refused_and_mended(version: Path, shop: Path) -> None:
    told = version / "dataset.json"
    whole, inode = told.read_text(), (version / "items.parquet").stat().st_ino
    import_dataset("shop", find_files(shop))
    assert (version / "items.parquet").stat().st_ino == inode, "what is whole stays"
    told.write_text(whole.replace("items.csv", "items.csw"))
    assert told.read_text() != whole
    with pytest.raises(ForetasteError, match="description was altered"):
        load_dataset("shop")
    import_dataset("shop", find_files(shop))
    assert told.read_text() == whole
    assert load_dataset("shop").items.height == 3


def test_what_a_killed_import_left_is_removed(version: Path, shop: Path) -> None:
    left = version.parent / ".abc.x1.part"
    left.mkdir()
    import_dataset("shop", find_files(shop))
    assert load_dataset("shop").items.height == 3
    assert not left.exists()


def test_another_command_in_between_is_noticed(version: Path) -> None:
    with pytest.raises(ForetasteError, match="meanwhile"):
        save_dataset(load_dataset("shop"), built_on="0" * 16)


def test_a_full_disk_is_one_sentence_and_changes_nothing(
    version: Path, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_dataset("shop").info
    (shop / "items.csv").write_text("item_id\na\nb\nc\nd\n")

    def full(self: pl.DataFrame, file: Path, **settings: object) -> None:
        Path(file).write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(ForetasteError, match=r"No space left.*nothing was changed"):
        import_dataset("shop", find_files(shop))
    assert load_dataset("shop").info == before
    assert sorted(path.name for path in version.parent.iterdir()) == sorted(
        [".lock", "current.json", version.name]
    )


def test_an_unknown_name_lists_the_known_ones(version: Path) -> None:
    with pytest.raises(InputError, match=r"no data set 'shoe' here \(there are: shop\)"):
        load_dataset("shoe")


def test_tables_that_are_not_valid_are_refused(home: Path) -> None:
    row = {"item_id": "a", "categories": [], "attributes": []}
    items = pl.DataFrame([row], schema=COLUMNS["items"])
    assert validate("items", items) is items
    for wrong in (
        items.drop("price"),
        items.with_columns(price=pl.lit("4")),
        items.with_columns(price=pl.lit(-4.0)),
        pl.concat([items, items]),
        items.with_columns(item_id=pl.lit("")),
        items.with_columns(categories=pl.lit(None, dtype=pl.List(pl.String))),
    ):
        with pytest.raises(DataError, match="items table is not valid"):
            validate("items", wrong)
    event = {"user_id": "u", "item_id": "z", "timestamp": 1, "event": "view", "position": 0}
    log = pl.DataFrame([event], schema=COLUMNS["interactions"])
    for wrong in (
        log.with_columns(event=pl.lit("stare")),
        log.with_columns(item_id=pl.lit(None, dtype=pl.String)),
        log.with_columns(timestamp=pl.lit(-1, dtype=pl.Int64)),
    ):
        with pytest.raises(DataError, match="interactions table is not valid"):
            validate("interactions", wrong)
    around = [empty("users"), empty("environment")]
    with pytest.raises(DataError, match="'z'"):
        save_dataset(Dataset(items, log, *around, info=DatasetInfo(name="x")))
