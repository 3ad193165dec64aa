"""`judge agree --judge agent`: a scripted language model held against people, row by row."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from foretaste.app import agreement
from foretaste.app.cli import cli
from foretaste.serving.chat import Ask
from foretaste.serving.scripted_chat import ScriptedChat


@pytest.fixture
def asks(home: Path, embedder: Any, monkeypatch: pytest.MonkeyPatch) -> ScriptedChat:
    """A model that likes red hats."""

    def script(ask: Ask[Any]) -> dict[str, Any]:
        shown = ask.messages[1].text
        mark = "positive" if "red hat" in shown.partition("</data>")[0] else "negative"
        return {"evidence": ["hat"], "reason": "it is a hat", "mark": mark}

    chat = ScriptedChat(script)

    @asynccontextmanager
    async def opened(config: Any) -> AsyncIterator[ScriptedChat]:
        yield chat

    monkeypatch.setattr("foretaste.app.judging.open_chat", opened)
    monkeypatch.setattr(agreement, "load_embedder", lambda _: embedder)
    return chat


def test_a_model_is_held_against_people(asks: ScriptedChat, tmp_path: Path) -> None:
    rows = [
        {"c": f"want {number % 6}", "t": "red hat" if number % 2 else "old lamp", "l": number % 2}
        for number in range(24)
    ]
    rows[0]["l"] = 1 - rows[0]["l"]  # one person disagrees
    path = tmp_path / "people.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    words = ["judge", "agree", "--labels", str(path), "--context", "c", "--answer", "t"]
    words += ["--label", "l", "--judge", "agent", "--folds", "3", "--resamples", "100"]
    for _ in range(2):  # the second time nothing is asked again
        result = CliRunner().invoke(cli, [*words, "--json", "-"])
        assert result.exit_code == 0, result.output
        report = json.loads(result.stdout)
        assert report["accuracy"] == pytest.approx(23 / 24)
        assert (report["unreadable"], report["pairs_per_second"]) == (0, None)
        assert len(asks.asks) == 24
