"""A training that asks before it begins: it goes on after a yes, and leaves everything else alone."""

from __future__ import annotations

import contextvars
import io
from pathlib import Path
from typing import Any

import pytest

from foretaste.finetune import runs


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call something as if `answer` stood on standard input, after `--ask`."""

    def call(answer: str, what: Any, *given: Any) -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))

        def inside() -> Any:
            runs.ask_first()
            return what(*given)

        return contextvars.copy_context().run(inside)

    return call


def test_a_yes_goes_on_and_anything_else_stops(asked: Any, capsys: Any, tmp_path: Path) -> None:
    estimate = runs.Estimate(90.0, 1.0, 1.0)
    asked("y\n", estimate.check, tmp_path)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("Expected: 90 s")
    assert said[1] == "Begin? [y/n]"
    for answer in ("n\n", "", "perhaps\n"):
        with pytest.raises(KeyboardInterrupt):
            asked(answer, estimate.check, tmp_path)
    estimate.check(tmp_path)  # nobody is asked without --ask


def test_an_unfinished_run_is_given_up_only_after_a_yes(home: Path, asked: Any) -> None:
    folder = runs.open_run("test", "tiny", {"a": 1}, resume=False).folder
    (folder / runs.STATE).write_bytes(b"half")
    with pytest.raises(KeyboardInterrupt):
        asked("n\n", runs.open_run, "test", "tiny", {"a": 1}, False)
    assert (folder / runs.STATE).read_bytes() == b"half"
    asked("y\n", runs.open_run, "test", "tiny", {"a": 1}, False)
    assert not (folder / runs.STATE).exists()
