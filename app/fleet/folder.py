"""The folder of a batch: Parquet partitions, each written once, and what is unfinished.

    settings.json                     what made it; a run with other settings is refused
    part-00003-of-00016.parquet       one row a user, sorted by user id
    manifest.jsonl                    a line for each finished partition, with its checksum
    .unfinished/part-00003.jsonl      the rows of a partition under way, each synced as it is made

A partition is finished when its line stands in the manifest. Whatever a crash leaves behind, the next
run begins with the rows that are there and makes the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from foretaste.data.appended import Appended, appended
from foretaste.data.errors import InputError
from foretaste.data.files import read_json, replacing, sha256, write_json
from foretaste.data.progress import note

SETTINGS, MANIFEST, UNFINISHED = "settings.json", "manifest.jsonl", ".unfinished"
DAY = "environment"
_TEXT, _TEXTS = pa.string(), pa.list_(pa.string())

#: Columns of a partition. `error` is null for users who got a page; the others have empty lists.
SCHEMA = pa.schema(
    [
        ("user_id", _TEXT),
        ("error", _TEXT),
        (
            "recommendations",
            pa.list_(
                pa.struct(
                    [
                        ("rank", pa.int32()),
                        ("item_id", _TEXT),
                        ("title", _TEXT),
                        ("score", pa.float64()),
                        ("channel", _TEXT),
                        ("channels", _TEXTS),
                        ("tags", _TEXTS),
                        ("explanation", _TEXT),
                        ("explained_by", _TEXT),
                    ]
                )
            ),
        ),
        (
            "tags",
            pa.list_(
                pa.struct(
                    [
                        ("text", _TEXT),
                        ("persona", pa.int32()),
                        ("kept", pa.bool_()),
                        ("proposed_by", _TEXT),
                        ("reason", _TEXT),
                    ]
                )
            ),
        ),
        (
            "personas",
            pa.list_(
                pa.struct(
                    [
                        ("name", _TEXT),
                        ("description", _TEXT),
                        ("evidence", _TEXTS),
                        ("source", _TEXT),
                    ]
                )
            ),
        ),
        (
            "history",
            pa.list_(
                pa.struct(
                    [
                        ("item_id", _TEXT),
                        ("title", _TEXT),
                        ("categories", _TEXTS),
                        ("event", _TEXT),
                        ("value", pa.float64()),
                        ("timestamp", pa.int64()),
                    ]
                )
            ),
        ),
        ("calls", pa.int32()),
        ("fallbacks", pa.int32()),
    ]
)


class Part(BaseModel, frozen=True):
    """A finished partition: its line in the manifest.

    Attributes:
        key: partition and content; names the line.
        partition: its number.
        file: its name in the folder.
        users: rows of it.
        failed: of these, users without a page.
        calls, fallbacks: calls of agents, and those answered without the model's words.
        prompt, cached, completion: tokens read, of these from a cache, and written.
        seconds: of work on it by the run that finished it.
        bytes, sha256: of the file.
    """

    key: str
    partition: int
    file: str
    users: int
    failed: int
    calls: int
    fallbacks: int
    prompt: int
    cached: int
    completion: int
    seconds: float
    bytes: int
    sha256: str


class Folder:
    """The folder of one batch.

    Args:
        path: of the folder.
        partitions: how many there are.
    """

    def __init__(self, path: Path, partitions: int) -> None:
        self.path, self.partitions = path, partitions

    def begin(self, made_of: dict[str, Any], day: list[str]) -> list[str]:
        """Make the folder, or find one that was begun with the same.

        Args:
            made_of: all that decides the rows, as JSON values.
            day: what is told of the day, if the batch begins now.

        Returns:
            What was told of the day when the batch began.

        Raises:
            InputError: it was begun with something else, or holds other files.
        """
        settings = self.path / SETTINGS
        if settings.exists():
            before = dict(read_json(settings))
            begun = [str(text) for text in before.pop(DAY, [])]
            names = {*before, *made_of}
            others = sorted(name for name in names if before.get(name) != made_of.get(name))
            if others:
                raise InputError(
                    f"{self.path} was begun with another {' and another '.join(others)}; give the "
                    "same call to go on, or name another folder."
                )
            return begun
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if any(self.path.glob("*.parquet")):
                raise InputError(f"{self.path} holds other Parquet files; name another folder.")
            write_json(settings, made_of | {DAY: day})
            return day
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be written ({error.strerror}); name another folder."
            ) from error

    @contextmanager
    def manifest(self) -> Iterator[Manifest]:
        """What is finished, for the block; held against other runs.

        Raises:
            InputError: another run writes this folder.
        """
        with appended(self.path / MANIFEST, "key", Part.model_validate) as lines:
            yield Manifest(self, lines)

    def file_of(self, partition: int) -> Path:
        """The Parquet file of a partition."""
        return self.path / f"part-{partition:05d}-of-{self.partitions:05d}.parquet"

    @contextmanager
    def rows(self, partition: int) -> Iterator[Appended[dict[str, Any]]]:
        """The rows of a partition under way, by user."""
        path = self.path / UNFINISHED
        path.mkdir(exist_ok=True)
        with appended(self._journal(partition), "user_id", lambda line: line) as rows:
            yield rows

    def write(self, partition: int, rows: list[dict[str, Any]]) -> tuple[int, str]:
        """Put the rows of a whole partition in place; gives bytes and sha256 of the file."""
        with replacing(self.file_of(partition)) as part:
            table = pa.Table.from_pylist(rows, schema=SCHEMA)
            pq.write_table(table, part, compression="zstd", write_page_checksum=True)
            return part.stat().st_size, sha256(part)

    def clear(self, partition: int) -> None:
        """The rows under way have done their work."""
        self._journal(partition).unlink(missing_ok=True)

    def begun(self, partition: int) -> int:
        """About how many users of a partition under way have their row."""
        path = self._journal(partition)
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def end(self) -> None:
        """Nothing is under way any more."""
        place = self.path / UNFINISHED
        if place.exists() and not any(place.iterdir()):
            place.rmdir()

    def _journal(self, partition: int) -> Path:
        return self.path / UNFINISHED / f"part-{partition:05d}.jsonl"


class Manifest:
    """The finished partitions of a folder; a file that is missing or altered does not count."""

    def __init__(self, folder: Folder, lines: Appended[Part]) -> None:
        self._folder, self._lines = folder, lines
        self.parts: dict[int, Part] = {part.partition: part for part in lines.done.values()}
        for part in list(self.parts.values()):
            file = folder.path / part.file
            if not file.is_file() or sha256(file) != part.sha256:
                note(f"{part.file} is missing or altered; it is made again.")
                del self.parts[part.partition]

    def add(self, part: Part) -> None:
        """A partition is finished: on disk when this returns."""
        if part.key not in self._lines.done:
            self._lines.add(part.model_dump())
        self.parts[part.partition] = part
        self._folder.clear(part.partition)
