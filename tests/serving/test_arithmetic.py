from __future__ import annotations

import os

import pytest
import torch

from foretaste.serving.arithmetic import (
    KERNELS,
    fast_bfloat16,
    keep_few_kernels,
    threads,
    usable_cores,
    wait_patiently,
)


def test_threads_are_put_back_even_after_a_fault():
    before = torch.get_num_threads()
    inside = []

    def fail() -> None:
        with threads(before + 1):
            inside.append(torch.get_num_threads())
            raise KeyError("expected")

    with pytest.raises(KeyError, match="expected"):
        fail()
    assert inside == [before + 1]
    assert torch.get_num_threads() == before


def test_the_probe_decides_once_and_leaves_the_threads_alone():
    before = torch.get_num_threads()
    fast_bfloat16.cache_clear()
    assert fast_bfloat16() is fast_bfloat16()
    assert torch.get_num_threads() == before


def test_waiting_patiently_does_not_overrule_the_environment(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    wait_patiently()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    wait_patiently()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_kernels_are_bounded_unless_the_environment_says_otherwise(monkeypatch):
    for name in KERNELS:
        monkeypatch.setenv(name, "7")
    keep_few_kernels()
    assert {os.environ[name] for name in KERNELS} == {"7"}
    for name, most in KERNELS.items():
        monkeypatch.delenv(name)
        keep_few_kernels()
        assert os.environ[name] == most


def test_usable_cores_are_counted():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
