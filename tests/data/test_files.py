"""Files are written beside and renamed; what a killed writer left goes, what a living one writes stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from foretaste.data import files
from foretaste.data.errors import InputError
from foretaste.data.files import (
    check_sums,
    new_folder,
    replacing,
    safe_name,
    subfolder,
    write_json,
    write_sums,
)

WRITER = """
import sys
from pathlib import Path
from foretaste.data.files import new_folder, replacing
make = {"file": replacing, "folder": new_folder}[sys.argv[1]]
with make(Path(sys.argv[2])) as part:
    print(part, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _nothing_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SWEPT", set())


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_is_removed_and_a_living_one_is_left_alone(
    tmp_path: Path, kind: str
) -> None:
    (tmp_path / ".diary.part").write_text("of somebody else")
    with subprocess.Popen(
        [sys.executable, "-P", "-c", WRITER, kind, str(tmp_path / "target")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        part = Path(writer.stdout.readline().strip())
        write_json(tmp_path / "other.json", 1)
        assert part.exists(), "its writer lives"
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
    files._SWEPT.clear()
    write_json(tmp_path / "other.json", 2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".diary.part", "other.json"]


def test_a_full_disk_is_an_os_error_whichever_library_met_it(tmp_path: Path) -> None:
    class Rusty(Exception):
        pass

    def write(text: str) -> None:
        with replacing(tmp_path / "a.txt"):
            raise Rusty(text)

    with pytest.raises(OSError, match="No space left") as told:
        write("I/O error: No space left on device (os error 28)")
    assert (told.value.errno, told.value.filename) == (28, str(tmp_path / "a.txt"))
    with pytest.raises(Rusty):
        write("a tensor of another shape")


def test_a_block_that_fails_leaves_the_old_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def half_a_file() -> None:
        with replacing(path) as part:
            part.write_text("half")
            raise OSError("full")

    def half_a_folder() -> None:
        with new_folder(tmp_path / "folder") as part:
            (part / "one").write_text("half")
            raise OSError("full")

    for work in (half_a_file, half_a_folder):
        with pytest.raises(OSError, match="full"):
            work()
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "../up", "/etc", "a/b", "a\\b", "a\0b", "a\nb", "é", "x" * 121],
)
def test_no_name_leaves_its_folder(home: Path, name: str) -> None:
    with pytest.raises(InputError, match="plain name"):
        safe_name(name)
    with pytest.raises(InputError, match="plain name"):
        subfolder("datasets", name)
    assert not home.exists() or list(home.rglob("*")) in ([], [home / "datasets"])


def test_every_altered_bit_and_every_missing_file_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(bytes(range(64)))
    check_sums(tmp_path)  # made before there were digests
    write_sums(tmp_path)
    check_sums(tmp_path)
    for place in range(64):
        held = bytearray(range(64))
        held[place] ^= 1 << place % 8
        (tmp_path / "weights").write_bytes(held)
        with pytest.raises(OSError, match="weights is not as it was written"):
            check_sums(tmp_path)
    (tmp_path / "weights").unlink()
    with pytest.raises(OSError, match="weights"):
        check_sums(tmp_path)
