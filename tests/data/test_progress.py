"""What a log says of long work whose length is only expected."""

from __future__ import annotations

import time

import pytest

from foretaste.data import progress


def test_work_that_takes_longer_than_usual_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "QUIET_SECONDS", 0.0)
    with progress.meter("Engine", 0.05, "s") as meter:
        meter.advance(0.02)
        time.sleep(0.06)
        meter.advance(0.03)
    first, *lines, _ = capsys.readouterr().err.splitlines()
    assert first == "Engine … 0 s"
    assert [line.partition(", ")[2] for line in lines] == [
        "0 s left (0 s)",
        "longer than usual (0 s)",
    ]
