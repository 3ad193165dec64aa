"""Adapters by name: what vLLM is told, what a name means, and what is refused before it is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from foretaste.data.errors import EngineError, InputError, ModelError
from foretaste.serving.adapters import Adapters, check_adapter


class Loader:
    """Notes what it is told to load and unload."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.told.append((self.path.rsplit("/", 1)[-1][:4], body["lora_name"]))
                self.send_response(outer.status)
                self.end_headers()
                self.wfile.write(b"the disk is wet")

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def loader() -> Iterator[Loader]:
    one = Loader()
    yield one
    one.http.shutdown()
    one.http.server_close()


def lora(folder: Path, number: float = 0, rank: Any = 4) -> Path:
    folder.mkdir()
    save_file({"a": np.full(3, number, dtype=np.float32)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": rank}))
    return folder


def test_versions_stand_side_by_side_and_a_plain_name_is_the_last(
    loader: Loader, tmp_path: Path
) -> None:
    async def go() -> Adapters:
        adapters = Adapters(lambda: loader.url)
        first = await adapters.load("films", lora(tmp_path / "1", 1))
        assert len(first.version) == 8, "of the weights"
        await adapters.load("films", lora(tmp_path / "2", 2), "b")
        assert adapters.resolve("films") == "films@b"
        assert adapters.resolve(first.served) == first.served
        assert adapters.resolve(None) is None
        await adapters.load("films", tmp_path / "1")
        assert adapters.resolve("films") == first.served, "asked for again, it is the last one"
        await adapters.unload(first.served)
        assert adapters.resolve("films") == "films@b", "the one that is left"
        await adapters.replace("films", lora(tmp_path / "3", 3), "c")
        assert adapters.names == ["films", "films@c"]
        loader.told.clear()
        await adapters.load_again(loader.url)
        assert loader.told == [("load", "films@c")]
        await adapters.unload("films")
        return adapters

    adapters = asyncio.run(go())
    assert loader.told[-1] == ("unlo", "films@c")
    assert adapters.names == []
    with pytest.raises(ModelError, match="No adapter 'films' is loaded; loaded are: none"):
        adapters.resolve("films")


def test_a_replacement_is_loaded_before_the_old_one_goes(loader: Loader, tmp_path: Path) -> None:
    async def go() -> None:
        adapters = Adapters(lambda: loader.url)
        await adapters.replace("f", lora(tmp_path / "1", 1), "1")
        await adapters.replace("f", lora(tmp_path / "2", 2), "2")

    asyncio.run(go())
    assert loader.told == [("load", "f@1"), ("load", "f@2"), ("unlo", "f@1")]


def test_what_is_wrong_is_said_before_anything_is_loaded(loader: Loader, tmp_path: Path) -> None:
    async def load(folder: Path, name: str = "f", version: str = "1") -> None:
        await adapters.load(name, folder, version)

    adapters = Adapters(lambda: loader.url, max_rank=8)
    with pytest.raises(ModelError, match="was expected in"):
        asyncio.run(load(tmp_path))
    pickled = lora(tmp_path / "pickled")
    (pickled / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="can run code"):
        asyncio.run(load(pickled))
    for number, rank in enumerate((16, 0, "x", None)):
        with pytest.raises(ModelError, match="at most 8 is accepted"):
            check_adapter(lora(tmp_path / f"rank{number}", rank=rank), 8)
    fine = lora(tmp_path / "fine")
    with pytest.raises(InputError, match="name of letters"):
        asyncio.run(load(fine, name="../x"))
    assert loader.told == []
    asyncio.run(load(fine))
    with pytest.raises(InputError, match="f@1 is loaded from"):
        asyncio.run(load(lora(tmp_path / "other", 2)))


def test_a_refusal_of_the_server_is_told_and_changes_nothing(
    loader: Loader, tmp_path: Path
) -> None:
    adapters = Adapters(lambda: loader.url)
    loader.status = 400
    with pytest.raises(EngineError, match="the disk is wet"):
        asyncio.run(adapters.load("f", lora(tmp_path / "1")))
    loader.status = 404
    with pytest.raises(EngineError, match="enable_lora=true"):
        asyncio.run(adapters.load("f", tmp_path / "1"))
    assert adapters.names == []
    gone = Adapters(lambda: "http://127.0.0.1:9/v1")
    with pytest.raises(EngineError, match="could not be asked"):
        asyncio.run(gone.load("f", tmp_path / "1"))
