"""What our sources may not do, by their syntax trees; and what a lock and a log may not hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("data", "serving", "agents", "judge", "finetune", "app", "benchmarks")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
MODULES = {
    *("pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"),
    *("telnetlib", "ftplib", "commands", "pty", "xmlrpc", "imp"),
}
CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "pandas.read_pickle", "yaml.load"),
    *("torch.load", "torch.save", "shutil.unpack_archive"),
    *("asyncio.create_subprocess_shell",),
}
KEYWORDS = {("shell", True), ("allow_pickle", True), ("trust_remote_code", True), ("verify", False)}
# vLLM wants prompt vectors as torch writes them; it reads them with weights alone allowed.
ALLOWED = {("serving/hybrid_chat.py", "torch.save")}


def _name(node: ast.expr) -> str:
    """`a.b.c` of an expression; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _name(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def offences(text: str) -> Iterator[tuple[int, str]]:
    """(line, what) of everything in a source that is not allowed."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imported(node)
        elif isinstance(node, ast.Call):
            yield from _called(node)


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[int, str]]:
    alone = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    for name in alone or [getattr(node, "module", None) or ""]:
        if name.split(".")[0] in MODULES:
            yield node.lineno, f"import {name}"


def _called(node: ast.Call) -> Iterator[tuple[int, str]]:
    called = _name(node.func)
    if called in CALLS:
        yield node.lineno, called
    for keyword in node.keywords:
        held = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
        if (keyword.arg, held) in KEYWORDS:
            yield node.lineno, f"{keyword.arg}={held}"
    if called.startswith("subprocess.") and node.args and _text(node.args[0]):
        yield node.lineno, "a command as one string"


def _text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import dump",
        "eval('1')",
        "exec(text)",
        "import os\nos.system('ls')",
        "subprocess.run('ls', check=True)",
        "subprocess.run(f'ls {x}')",
        "subprocess.run(['ls'], shell=True)",
        "np.load(path, allow_pickle=True)",
        "torch.load(path)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
        "httpx.get(url, verify=False)",
    ],
)
def test_the_watchman_sees(text: str) -> None:
    assert list(offences(text))


def test_the_watchman_lets_pass() -> None:
    text = "import re\nre.compile('a')\nsubprocess.run([a, b], check=True)\nmodel.eval()\n"
    assert list(offences(text)) == []


def test_no_source_opens_a_door() -> None:
    assert len(SOURCES) > 300
    found = [
        (str(path.relative_to(ROOT)), line, what)
        for path in SOURCES
        for line, what in offences(path.read_text("utf-8"))
    ]
    assert [one for one in found if (one[0], one[2]) not in ALLOWED] == []


def test_every_pin_of_the_lock_is_exact() -> None:
    lines = (ROOT / "requirements" / "cpu.lock").read_text().splitlines()
    pins = [line.split(";")[0].strip() for line in lines if line and line[0] not in "#- "]
    assert len(pins) > 100
    assert [pin for pin in pins if "==" not in pin or "*" in pin] == []
