"""`foretaste index`: the item index of a data set, built once and kept."""

from __future__ import annotations

from typing import Annotated

import typer

from foretaste.app.console import DatasetOption, JsonOption, emit, say


def index(
    dataset: DatasetOption,
    embedder: Annotated[
        str, typer.Option(help="Model behind the items' vectors.")
    ] = "bundled:all-minilm-l6-v2",
    json_target: JsonOption = None,
) -> None:
    """Encode the items of a data set and build their index, unless a fitting one is there.

    Commands that search build it by themselves; this one does so beforehand.
    """
    import time

    from foretaste.data.store import load_dataset
    from foretaste.serving.embedder import load_embedder
    from foretaste.serving.index.opened import open_index

    start = time.perf_counter()
    about = open_index(load_dataset(dataset), load_embedder(embedder)).info
    say(f"{about.items:,} items, {about.dimension} numbers each, index {about.kind}.")
    seconds = round(time.perf_counter() - start, 2)
    emit({"dataset": dataset, **about.model_dump(), "seconds": seconds}, json_target)
