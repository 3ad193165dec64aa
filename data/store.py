"""Data sets on disk: saved whole beside the older version, then one pointer is moved.

`<home>/datasets/<name>/current.json` names the version in use. A version is a folder that is
never changed: five Parquet files and `dataset.json` with the size and sha256 of each, so that
a truncated or altered file is noticed before a row of it is read.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError
from pydantic import BaseModel, ValidationError

from foretaste.data.dataset import Dataset, DatasetInfo
from foretaste.data.errors import DataError, ForetasteError, InputError
from foretaste.data.files import home, locked, new_folder, read_json, safe_name, sha256, write_json
from foretaste.data.tables import ORDER, TABLES, Table, validate

QUARANTINE_COLUMNS: dict[str, pl.DataType] = {
    "table": pl.String(),
    "file": pl.String(),
    "row": pl.Int64(),
    "reason": pl.String(),
    "content": pl.String(),
}
_HASHED_ROWS = 250_000  # rows turned into text at once for the fingerprint


class StoredFile(BaseModel, frozen=True):
    """One file of a version: its size in bytes, the sha256 of its bytes, its rows."""

    bytes: int
    sha256: str
    rows: int


class StoredInfo(DatasetInfo, frozen=True):
    """`dataset.json`: the facts about a data set and the files it is made of."""

    files: dict[str, StoredFile]

    def rows(self, table: Table) -> int:
        """Rows of one table."""
        return self.files[table].rows


def load_dataset(name: str) -> Dataset:
    """The data set imported as `name`, every file checked against its sha256.

    Raises:
        InputError: there is none of this name.
        ForetasteError: a file is missing, truncated or altered.
    """
    info, tables = _tables(name, TABLES)
    facts = DatasetInfo.model_validate(info.model_dump(exclude={"files"}))
    return Dataset(**tables, info=facts)


def load_quarantine(name: str) -> pl.DataFrame:
    """Rows that the last import put aside: table, file, row, reason, content."""
    return _tables(name, ("quarantine",))[1]["quarantine"]


def list_datasets() -> list[StoredInfo]:
    """The data sets of this home, by name."""
    names = sorted(path.parent.name for path in (home() / "datasets").glob("*/current.json"))
    return [_current(name)[0] for name in names]


def stored(name: str) -> bool:
    """Whether a data set of this name has been imported."""
    return (_folder(name) / "current.json").exists()


def save_dataset(
    dataset: Dataset, quarantine: pl.DataFrame | None = None, built_on: str | None = None
) -> Dataset:
    """Check every table, write a new version and make it the current one.

    Args:
        dataset: what to save; its name is the name it will be loaded by. Interactions are
            sorted here; fingerprints in `info` are replaced by those of the tables.
        quarantine: rows put aside (`QUARANTINE_COLUMNS`).
        built_on: fingerprint of the version that this one was made from, if any.

    Returns:
        The data set as it will be loaded.

    Raises:
        DataError: a table is not valid or names an item that is not in the catalogue.
        ForetasteError: another command replaced the version named by `built_on` meanwhile, or
            the disk is full or not writable.
    """
    tables: dict[str, pl.DataFrame] = {table: getattr(dataset, table) for table in TABLES}
    tables["interactions"] = tables["interactions"].sort(ORDER)
    for table in TABLES:
        validate(table, tables[table])
    _check_items(tables)
    prints = {table: _fingerprint(tables[table]) for table in TABLES}
    whole = hashlib.sha256("".join(prints.values()).encode()).hexdigest()
    info = dataset.info.model_copy(
        update={"catalogue_fingerprint": prints["items"][:16], "fingerprint": whole[:16]}
    )
    aside = pl.DataFrame(schema=QUARANTINE_COLUMNS) if quarantine is None else quarantine
    try:
        _replace_current({**tables, "quarantine": aside}, info, built_on)
    except (OSError, PolarsError) as error:
        raise ForetasteError(
            f"{info.name} could not be written to {home()} ({error}); nothing was changed. Make "
            "room there, or set FORETASTE_HOME to a folder you can write to."
        ) from error
    return Dataset(**tables, info=info)


def _replace_current(
    tables: dict[str, pl.DataFrame], info: DatasetInfo, built_on: str | None
) -> None:
    """Write a version, move the pointer to it, remove the older ones."""
    folder = _folder(info.name)
    with locked(folder):
        if built_on is not None and _current(info.name)[0].fingerprint != built_on:
            raise ForetasteError(f"Another command changed {info.name} meanwhile; repeat this one.")
        version = _write_version(folder, tables, info)
        told = {"version": version, "sha256": sha256(folder / version / "dataset.json")}
        write_json(folder / "current.json", told)
        _remove_older(folder, version)


def _folder(name: str) -> Path:
    return home() / "datasets" / safe_name(name)


def _current(name: str) -> tuple[StoredInfo, Path]:
    """What `current.json` points at."""
    pointer = _folder(name) / "current.json"
    if not pointer.exists():
        known = ", ".join(path.parent.name for path in sorted(home().glob("datasets/*/*.json")))
        raise InputError(
            f"There is no data set {name!r} here (there are: {known or 'none'}); "
            "import one with `foretaste data import` or `foretaste data fetch ml-100k`."
        )
    try:
        for _ in range(2):  # an import may replace the version right after it was looked up
            told = read_json(pointer)
            folder = pointer.parent / safe_name(told["version"])
            with suppress(FileNotFoundError):
                found = sha256(folder / "dataset.json")
                if told.get("sha256", found) != found:  # earlier pointers have none
                    raise _damaged(name, "its description was altered (its sha256 differs)")
                return StoredInfo.model_validate(read_json(folder / "dataset.json")), folder
    except (ValidationError, KeyError, TypeError, InputError) as error:
        raise _damaged(name, "its description is not readable") from error
    raise _damaged(name, "its description is missing")


def _tables(name: str, wanted: Sequence[str]) -> tuple[StoredInfo, dict[str, pl.DataFrame]]:
    """Some tables of the current version; tried again when an import replaced it meanwhile."""
    for _ in range(2):
        info, folder = _current(name)
        with suppress(FileNotFoundError):
            return info, {table: _read(folder, table, info) for table in wanted}
    missing = [table for table in wanted if not (folder / f"{table}.parquet").exists()]
    raise _damaged(name, f"{', '.join(missing)}.parquet missing")


def _read(folder: Path, table: str, info: StoredInfo) -> pl.DataFrame:
    """One table whose file is byte for byte the one that was written."""
    path = folder / f"{table}.parquet"
    expected = info.files.get(table)
    if expected is None:
        raise _damaged(info.name, f"its description does not list {path.name}")
    found = _describe_file(path, expected.rows)
    if found != expected:
        raise _damaged(
            info.name,
            f"{path.name} has {found.bytes:,} bytes where {expected.bytes:,} were written"
            if found.bytes != expected.bytes
            else f"{path.name} was altered (its sha256 differs)",
        )
    return pl.read_parquet(path)


def _write_version(folder: Path, tables: dict[str, pl.DataFrame], info: DatasetInfo) -> str:
    """Write all files into a new folder, named after what it holds, and return its name.

    The same import again finds its folder there: an intact one is kept as it is.
    """
    facts = info.model_dump_json() + _fingerprint(tables["quarantine"])
    version = f"{info.fingerprint}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"
    if (folder / version).exists() and not _intact(folder / version, info):
        shutil.rmtree(folder / version)
    if not (folder / version).exists():
        with new_folder(folder / version) as part:
            files = {}
            for table, frame in tables.items():
                path = part / f"{table}.parquet"
                frame.write_parquet(path, compression="zstd")
                files[table] = _describe_file(path, frame.height)
            saved = StoredInfo(**info.model_dump(), files=files)
            write_json(part / "dataset.json", saved.model_dump())
    return version


def _intact(version: Path, info: DatasetInfo) -> bool:
    """Whether every file of a version is the one that was written, its description that of `info`."""
    try:
        found = StoredInfo.model_validate(read_json(version / "dataset.json"))
        return found == StoredInfo(**info.model_dump(), files=found.files) and all(
            _describe_file(version / f"{table}.parquet", file.rows) == file
            for table, file in found.files.items()
        )
    except (OSError, ValidationError, ForetasteError):
        return False


def _remove_older(folder: Path, version: str) -> None:
    """Remove every version but the current one, and what a killed import left behind."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != version:
            shutil.rmtree(path, ignore_errors=True)


def _check_items(tables: dict[str, pl.DataFrame]) -> None:
    known = tables["items"]["item_id"]
    strange = tables["interactions"].filter(
        pl.col("item_id").is_not_null() & ~pl.col("item_id").is_in(known.implode())
    )
    if strange.height:
        raise DataError(
            f"{strange.height:,} interactions name an item that is not in the items table, the "
            f"first {strange['item_id'][0]!r}; add the item or leave those rows out."
        )


def _fingerprint(frame: pl.DataFrame) -> str:
    """sha256 of the rows as text: the same for the same rows, whatever wrote them."""
    digest = hashlib.sha256(",".join(frame.columns).encode())
    for rows in frame.iter_slices(_HASHED_ROWS):
        digest.update(rows.write_ndjson().encode())
    return digest.hexdigest()


def _describe_file(path: Path, rows: int) -> StoredFile:
    return StoredFile(bytes=path.stat().st_size, sha256=sha256(path), rows=rows)


def _damaged(name: str, what: str) -> ForetasteError:
    return ForetasteError(
        f"The data set {name} is damaged: {what}; import it again with `foretaste data import`."
    )
