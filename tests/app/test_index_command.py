"""`foretaste index`: built once, then found."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from foretaste.app.cli import cli
from foretaste.data.importing import Files, ImportOptions, import_dataset


@pytest.mark.usefixtures("home")
def test_an_index_is_built_and_told(
    embedder: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = tmp_path / "items.csv"
    pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["Cup", "Mug", "Pan"]}).write_csv(items)
    import_dataset("shop", Files(items), ImportOptions())
    monkeypatch.setattr("foretaste.serving.embedder.load_embedder", lambda name: embedder)
    for _ in range(2):
        done = CliRunner().invoke(cli, ["index", "--dataset", "shop", "--json", "-"])
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert (told["items"], told["dimension"], told["kind"]) == (3, embedder.dimension, "exact")
