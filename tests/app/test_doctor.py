from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from foretaste.app import checkup
from foretaste.app.commands.doctor import doctor

NAMES = ["python", "cores", "memory", "home", "disk", "versions", "torch", "models", "data", "vllm"]


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, home: Path) -> typer.Typer:
    """The command, with vLLM's import taken as done: it needs half a minute."""
    done: subprocess.CompletedProcess[str] = subprocess.CompletedProcess([], 0, "", "")
    monkeypatch.setattr(checkup.subprocess, "run", lambda *_, **__: done)
    one = typer.Typer()
    one.command()(doctor)
    return one


def test_an_empty_home_fails_with_remedies(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["--json", "-"])
    report = json.loads(result.stdout)
    checks = {check["name"]: check for check in report["checks"]}
    assert list(checks) == NAMES
    assert result.exit_code == 1
    assert report["ok"] is False
    assert checks["models"]["remedy"] == "run `foretaste models fetch`"
    assert "data fetch ml-100k" in checks["data"]["remedy"]
    for check in report["checks"]:
        assert set(check) == {"name", "ok", "detail", "remedy"}
        assert bool(check["remedy"]) != check["ok"]


def test_people_get_lines(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, [])
    assert "FAIL models" in result.stdout
    assert "-> run `foretaste models fetch`" in result.stdout


def test_all_well_exits_zero(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    well = checkup.Check("python", True, "3.11", "")
    monkeypatch.setattr(checkup, "all_checks", lambda: iter([well]))
    result = CliRunner().invoke(app, ["--json", "-"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["ok"] is True


def test_versions_against_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "cpu.lock"
    monkeypatch.setattr(checkup, "LOCK", lock)
    lock.write_text("# a comment\npydantic>=2\nold==1 ; python_version < '3'\n")
    assert checkup.versions().ok
    lock.write_text("pydantic==1.0\nno-such-thing==2.0\n")
    found = checkup.versions()
    assert not found.ok
    assert "pydantic is 2" in found.detail
    assert "no-such-thing is missing" in found.detail
    monkeypatch.setattr(checkup, "LOCK", tmp_path / "none")
    assert "the requirements of foretaste" in checkup.versions().detail


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("FORETASTE_HOME", str(file / "home"))
    assert not checkup.home_writable().ok
    assert not checkup.disk().ok


@pytest.mark.parametrize("fault", ["fails", "hangs"])
def test_vllm_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    def run(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        if fault == "hangs":
            raise subprocess.TimeoutExpired([], 1)
        return subprocess.CompletedProcess([], 1, "", "Traceback\nImportError: no libnuma")

    monkeypatch.setattr(checkup.subprocess, "run", run)
    found = checkup.vllm()
    assert not found.ok
    assert ("no libnuma" in found.detail) == (fault == "fails")
    assert "--engine transformers" in found.remedy
