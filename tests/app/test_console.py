"""What a person reads when the machine refuses: one sentence and exit code 1, never a traceback."""

from __future__ import annotations

import errno
import os

import pytest

from foretaste.app.console import numbers_of, one_sentence
from foretaste.data.errors import InputError


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission is denied"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EMFILE, "ulimit -n"),
    ],
)
def test_what_the_machine_refuses_is_one_sentence(
    number: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, one_sentence():
        raise OSError(number, os.strerror(number), "/home/of/somebody")
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert told.startswith("foretaste: /home/of/somebody: ")
    assert said in told
    assert told.count("\n") == 1


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(FileNotFoundError), one_sentence():
        raise FileNotFoundError(errno.ENOENT, "nothing there", "/somewhere")
    with pytest.raises(KeyError), one_sentence():
        raise KeyError("ours")


@pytest.mark.parametrize("written", ["", "1,x", "0", "-3", "1,,2", "²"])
def test_numbers_of_an_option(written: str) -> None:
    assert numbers_of("--sizes", "100, 2000") == (100, 2000)
    with pytest.raises(InputError, match="--sizes expects numbers with commas"):
        numbers_of("--sizes", written)
