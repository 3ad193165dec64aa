"""LoRA adapters of a running vLLM: loaded, replaced and unloaded by name, while it serves.

An adapter is asked for as `name` or as `name@version`; a plain name means the version that was put
last. vLLM itself only ever sees `name@version`, so a replacement is a new name to it: requests under
way finish with the weights that they began with, and nothing cached for the old ones is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from foretaste.data.errors import EngineError, InputError, ModelError
from foretaste.data.files import read_json, safe_name, sha256

WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
_CODE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")  # opening one can run any program
_LOAD_S = 120.0


@dataclass(frozen=True)
class Adapter:
    """One version of one adapter.

    Attributes:
        name: what callers ask for.
        version: tells versions of one name apart.
        folder: its files.
    """

    name: str
    version: str
    folder: Path

    @property
    def served(self) -> str:
        """The name that vLLM knows it by."""
        return f"{self.name}@{self.version}"


@dataclass
class Adapters:
    """The adapters of one vLLM that was opened with `enable_lora`.

    Attributes:
        url: gives the server's address, up to and including `/v1`; asked for each call, because a
            server that was started again listens elsewhere.
        max_rank: largest rank that it accepts (`EngineConfig.max_lora_rank`).
    """

    url: Callable[[], str]
    max_rank: int = 16
    _loaded: dict[str, Adapter] = field(default_factory=dict)  # by served name
    _newest: dict[str, str] = field(default_factory=dict)  # name → served name
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def names(self) -> list[str]:
        """What can be asked for: plain names and names with versions."""
        return sorted([*self._newest, *self._loaded])

    def resolve(self, asked: str | None) -> str | None:
        """The name that vLLM knows `asked` by; None stays None, the base model.

        Raises:
            ModelError: no such adapter is loaded; the sentence lists those that are.
        """
        if asked is None:
            return None
        served = self._newest.get(asked, asked)
        if served not in self._loaded:
            known = ", ".join(self.names) or "none"
            raise ModelError(f"No adapter {asked!r} is loaded; loaded are: {known}.")
        return served

    async def load(self, name: str, folder: Path, version: str | None = None) -> Adapter:
        """Load a version beside those that are there; `name` alone means it from now on.

        Args:
            name: what callers ask for.
            folder: an adapter as peft saves it, with safetensors weights.
            version: None takes the first 8 hex digits of the weights' sha256.

        Raises:
            ModelError: no adapter there, pickled weights, or too large a rank.
            InputError: a bad name, or other weights under a version that is loaded.
            EngineError: vLLM refused it or is not there.
        """
        safe_name(name)
        digest = await asyncio.to_thread(check_adapter, folder, self.max_rank)
        adapter = Adapter(name, safe_name(version or digest[:8]), folder.resolve())
        async with self._turn:
            there = self._loaded.get(adapter.served)
            if there is not None and there.folder != adapter.folder:
                raise InputError(
                    f"{adapter.served} is loaded from {there.folder} already; "
                    "give this one another version."
                )
            if there is None:
                await self._post("load_lora_adapter", adapter.served, adapter.folder)
            self._loaded[adapter.served] = adapter
            self._newest[name] = adapter.served
        return adapter

    async def replace(self, name: str, folder: Path, version: str | None = None) -> Adapter:
        """Load a version, send `name` to it, and unload what `name` meant before."""
        before = self._newest.get(name)
        adapter = await self.load(name, folder, version)
        if before is not None and before != adapter.served:
            await self._unload(before)
        return adapter

    async def unload(self, asked: str) -> None:
        """Unload one version (`name@version`), or every version of a plain name."""
        self.resolve(asked)
        gone = [one.served for one in self._loaded.values() if asked in (one.name, one.served)]
        for served in gone:
            await self._unload(served)

    async def load_again(self, url: str) -> None:
        """Load everything into the server at `url`, which was started anew and knows nothing."""
        async with self._turn:
            for adapter in self._loaded.values():
                await self._post("load_lora_adapter", adapter.served, adapter.folder, url)

    async def _unload(self, served: str) -> None:
        async with self._turn:
            adapter = self._loaded.pop(served, None)
            if adapter is None:
                return
            if self._newest.get(adapter.name) == served:
                del self._newest[adapter.name]
                others = [one for one in self._loaded.values() if one.name == adapter.name]
                if others:
                    self._newest[adapter.name] = others[-1].served
            await self._post("unload_lora_adapter", served, None)

    async def _post(
        self, what: str, served: str, folder: Path | None, url: str | None = None
    ) -> None:
        body: dict[str, Any] = {"lora_name": served}
        if folder is not None:
            body["lora_path"] = str(folder)
        try:
            async with httpx.AsyncClient(timeout=_LOAD_S, trust_env=False) as client:
                response = await client.post(f"{url or self.url()}/{what}", json=body)
        except httpx.HTTPError as error:
            raise EngineError(
                f"vLLM could not be asked to change its adapters ({type(error).__name__}); "
                "check that it runs."
            ) from error
        if response.status_code == 404 and folder is not None and "lora" not in response.text:
            raise EngineError(
                "This vLLM takes no adapters while it runs; start it with engine.enable_lora=true."
            )
        if not response.is_success:
            said = " ".join(response.text.split())[:300]
            raise EngineError(f"vLLM refused {what} of {served}: {said}")


def listed(text: str) -> list[tuple[str, str | None, Path]]:
    """Name, version and folder of each adapter in `EngineConfig.adapters`.

    >>> listed("films=/a, books@2=/b")
    [('films', None, PosixPath('/a')), ('books', '2', PosixPath('/b'))]

    Raises:
        InputError: an entry is not NAME=FOLDER or NAME@VERSION=FOLDER.
    """
    found = []
    for entry in text.split(","):
        asked, equals, folder = entry.strip().partition("=")
        name, _, version = asked.partition("@")
        if not equals or not name or not folder:
            raise InputError(f"engine.adapters expects NAME=FOLDER, not {entry.strip()!r}.")
        found.append((name, version or None, Path(folder).expanduser()))
    return found


def check_adapter(folder: Path, max_rank: int) -> str:
    """The sha256 of an adapter's weights, 64 hex digits, after a look at its files.

    Raises:
        ModelError: no adapter there, pickled weights, or a rank above `max_rank`.
    """
    pickled = sorted(path.name for path in folder.glob("*") if path.suffix in _CODE)
    if pickled:
        raise ModelError(
            f"The adapter in {folder} holds {pickled[0]}, which can run code when it is opened; "
            "save it as safetensors and remove that file."
        )
    if not (folder / WEIGHTS).is_file() or not (folder / SETTINGS).is_file():
        raise ModelError(
            f"An adapter ({WEIGHTS} and {SETTINGS}) was expected in {folder} and is not there; "
            "name a folder that peft saved."
        )
    settings = read_json(folder / SETTINGS)
    rank = settings.get("r") if isinstance(settings, dict) else None
    if not isinstance(rank, int) or not 1 <= rank <= max_rank:
        raise ModelError(
            f"The adapter in {folder} has rank {rank}, and at most {max_rank} is accepted; "
            "set engine.max_lora_rank higher, or train with a lower rank."
        )
    return sha256(folder / WEIGHTS)
