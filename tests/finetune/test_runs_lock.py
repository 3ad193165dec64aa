from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from foretaste.data.errors import InputError
from foretaste.finetune.runs import open_run


def test_one_process_at_a_time_trains_in_a_run(home: Path) -> None:
    first = open_run("towers", "films", {"rate": 1}, resume=False)
    again = open_run("towers", "films", {"rate": 1}, resume=False)  # the same process may
    lock = first.folder.parent / f".{first.folder.name}.lock"
    del first, again
    with lock.open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another training of these very settings"):
            open_run("towers", "films", {"rate": 1}, resume=False)
        open_run("towers", "films", {"rate": 2}, resume=False)
    open_run("towers", "films", {"rate": 1}, resume=False)
