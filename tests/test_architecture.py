"""The house holds: arrows run one way, rooms are named in full, no forbidden construct is used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ORDER = ["data", "serving", "agents", "judge", "finetune", "app"]
FILES = [path for room in ORDER for path in sorted((ROOT / room).rglob("*.py"))]


def _imports(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def _rooms_used(source: str) -> set[str]:
    names = _imports(ast.parse(source))
    return {
        name.split(".")[1] for name in names if name.startswith("foretaste.") and "." in name
    } & set(ORDER)


def test_the_arrow_check_sees_a_wrong_arrow() -> None:
    assert _rooms_used("from foretaste.app.cli import main\nimport foretaste.judge.x") == {
        "app",
        "judge",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_rooms_to_its_left(path: Path) -> None:
    room = ORDER.index(path.relative_to(ROOT).parts[0])
    right = {used for used in _rooms_used(path.read_text()) if ORDER.index(used) > room}
    assert not right, f"{path.relative_to(ROOT)} imports {sorted(right)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_pickle_no_eval_no_bare_except_and_files_stay_small(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= 400, "a file is at most 400 lines"
    assert not {"pickle", "dill", "joblib"} & {name.split(".")[0] for name in _imports(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec"}
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 80, f"{node.name} is longer than 80 lines"
        assert not isinstance(node, ast.Assert), "a caller's input is never held by assert"
