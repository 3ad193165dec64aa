"""No name that a caller gives becomes a path: every command that takes one, with names that try."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

NAMES = (
    "../outside",
    "/outside",
    "a/../../outside",
    "..",
    "a\\..\\outside",
    "~/outside",
    ".hidden",
)
CALLS: dict[str, list[str]] = {
    "data import": ["data", "import", "--data-dir", "SHOP", "--name", "NAME"],
    "data describe": ["data", "describe", "NAME"],
    "data export": ["data", "export", "NAME", "--out", "OUT"],
    "data fetch": ["data", "fetch", "NAME"],
    "recommend": ["recommend", "--dataset", "NAME", "--user", "1", "--engine", "none"],
    "serve": ["serve", "--dataset", "NAME", "--engine", "none"],
    "serve keys": ["serve", "keys", "add", "NAME"],
    "judge head": ["judge", "run", "--in", "ANSWERS", "--out", "LINES", "--judge", "head:NAME"],
    "rubric": ["judge", "run", "--in", "ANSWERS", "--out", "LINES", "--rubric", "NAME"],
}


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_no_name_leaves_the_home(
    call: str, home: Path, tmp_path: Path, refused: Callable[..., tuple[object, str]]
) -> None:
    home.mkdir()
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "items.csv").write_text("item_id,title\na,Red lipstick\n")
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"id": "1", "answer": "a lamp"}\n')
    places = {
        "SHOP": str(shop),
        "OUT": str(tmp_path / "made"),
        "ANSWERS": str(answers),
        "LINES": str(tmp_path / "lines.jsonl"),
    }
    before = _all(tmp_path, home)
    for name in NAMES:
        words = [places.get(word, word).replace("NAME", name) for word in CALLS[call]]
        if call in ("judge head", "judge reward", "rubric"):
            words += [] if call == "rubric" else ["--rubric", "tag"]
        code, said = refused(*words)
        assert code in (1, 2), (name, said)
        assert "Traceback" not in said, (name, said)
        assert "outside" not in "".join(_all(tmp_path, home)), name
    assert _all(tmp_path, home) - {"lines.jsonl"} == before


def _all(folder: Path, home: Path) -> set[str]:
    """Everything below a folder but what stands in the home."""
    paths = [path for path in folder.rglob("*") if home not in path.parents]
    return {str(path.relative_to(folder)) for path in paths}
