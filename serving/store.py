"""The model store: a name in, a folder with safe weights out.

A name is `bundled:NAME`, a local folder, a `.gguf` file, or a hub id such as `org/model`; with
`+ADAPTER` behind it, that model with an adapter added into its weights (`serving/merged.py`).
Safetensors and GGUF only: a pickled checkpoint can run any program when it is opened, so it is
refused, and a model's own Python code is never run (`trust_remote_code` is never set).
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from foretaste.data.errors import ModelError
from foretaste.data.files import locked, new_folder, read_json, subfolder, write_json
from foretaste.serving.bundled import (
    BUNDLED,
    PREFIX,
    RECORD,
    bundled,
    bundled_folder,
    checksums,
    fault_of,
    fetch_bundled,
)
from foretaste.serving.merged import FOLDERS, JOINT, merged_folder, parted

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_HUB_TIMEOUT_S = 15.0
_HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "LICENSE*"]


def model_folder(name: str) -> Path:
    """The folder of a model; bundled ones and hub ids are fetched when they are not here yet.

    Every bundled model is held to its checksums each time (0.3 s), and made again when damaged.

    Raises:
        ModelError: no such model, no weights in it, or only pickled weights.
        ForetasteError: it had to be fetched and no index or hub could be reached.
    """
    path = Path(name).expanduser()
    if JOINT in name and not path.exists():
        base, adapter = parted(name)
        return merged_folder(name, model_folder(base), adapter)
    if name.startswith(PREFIX):
        model = bundled(name)
        fetch_bundled(model)
        return bundled_folder(model)
    if path.is_dir():
        return _local_folder(path.resolve())
    if path.is_file():
        return _converted(path.resolve())
    if _HUB_ID.fullmatch(name):
        return _local_folder(_from_hub(name))
    raise ModelError(
        f"A model was expected as bundled:NAME, a folder, a .gguf file or a hub id, and {name!r} "
        f"is none of these here; bundled are {', '.join(BUNDLED)}."
    )


def model_list() -> list[dict[str, Any]]:
    """What `foretaste models list` shows: the bundled models, then everything else in the store."""
    rows = [_bundled_row(name) for name in BUNDLED]
    folders = [path for path in sorted(subfolder("models").iterdir()) if (path / RECORD).exists()]
    for folder in folders:
        if folder.name not in BUNDLED:
            merged = folder.name.startswith(FOLDERS)
            name = str(read_json(folder / RECORD)["name"]) if merged else str(folder)
            rows.append({"name": name, "fetched": True, "bytes": _size(folder)})
    for folder in sorted(subfolder("models", "hub").glob("models--*")):
        hub_id = folder.name.removeprefix("models--").replace("--", "/")
        rows.append({"name": hub_id, "fetched": True, "bytes": _size(folder)})
    return rows


def model_facts(name: str) -> dict[str, Any]:
    """What `foretaste models show` shows: where it is, its size, and whether it is intact."""
    if not name.startswith(PREFIX) and name in BUNDLED:
        name = PREFIX + name
    if name.startswith(PREFIX) and JOINT not in name:
        model = bundled(name)
        folder = bundled_folder(model)
        row = _bundled_row(model.name)
        if row["fetched"]:
            fault = fault_of(folder)
            row |= {"intact": fault is None, "fault": fault, "files": checksums(folder)}
        return row | {"sources": [source.requirement for source in model.sources]}
    folder = model_folder(name)
    return {
        "name": name,
        "fetched": True,
        "folder": str(folder),
        "bytes": _size(folder),
        "files": checksums(folder),
    }


def _bundled_row(name: str) -> dict[str, Any]:
    model = BUNDLED[name]
    folder = bundled_folder(model)
    return {
        "name": PREFIX + name,
        "purpose": model.purpose,
        "licence": model.licence,
        "note": model.note,
        "fetched": folder.exists(),
        "folder": str(folder),
        "bytes": _size(folder) if folder.exists() else 0,
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _local_folder(folder: Path) -> Path:
    """The folder itself when it holds safetensors; its GGUF converted; or a refusal."""
    if any(folder.glob("*.safetensors")):
        if not (folder / "config.json").is_file():
            raise ModelError(f"{folder} holds safetensors but no config.json; add the model's own.")
        return folder
    ggufs = sorted(folder.glob("*.gguf"))
    if len(ggufs) == 1:
        return _converted(ggufs[0])
    if ggufs:
        names = ", ".join(path.name for path in ggufs)
        raise ModelError(f"{folder} holds several GGUF files ({names}); name one of them.")
    pickled = [path.name for path in sorted(folder.iterdir()) if path.suffix in PICKLED]
    if pickled:
        raise ModelError(
            f"{folder} holds only pickled weights ({pickled[0]}), which are refused because opening "
            "a pickle can run any program; convert them to safetensors where you trust them."
        )
    raise ModelError(f"{folder} holds no weights; safetensors or one GGUF file were expected.")


def _converted(gguf: Path) -> Path:
    """The folder that a GGUF file was converted into; converted now when it is not there."""
    if gguf.suffix != ".gguf":
        raise ModelError(
            f"{gguf} is a file but not .gguf; name the model's folder, or a GGUF file."
        )
    status = gguf.stat()
    identity = f"{gguf}|{status.st_size}|{status.st_mtime_ns}"
    key = hashlib.sha256(identity.encode()).hexdigest()[:12]
    folder = subfolder("models") / f"gguf-{key}"
    with locked(folder.parent):
        if not folder.exists():
            from foretaste.serving.convert_gguf import convert_gguf

            with new_folder(folder) as part:
                convert_gguf(gguf, part)
                about = {"name": gguf.stem, "note": "dequantised GGUF", "sources": [gguf.name]}
                write_json(part / RECORD, about | {"files": checksums(part)})
    return folder


def _from_hub(hub_id: str) -> Path:
    """A hub model's snapshot, weights as safetensors or one GGUF file only."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HTTPError,  # of the httpx that the hub uses
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    cache = subfolder("models", "hub")
    try:
        return Path(snapshot_download(hub_id, cache_dir=cache, local_files_only=True))
    except LocalEntryNotFoundError:
        pass  # not here yet
    try:
        about = HfApi().model_info(hub_id, timeout=_HUB_TIMEOUT_S)
        files = [sibling.rfilename for sibling in about.siblings or []]
        patterns = _HUB_FILES if _has(files, ".safetensors") else [*_HUB_FILES, _one_gguf(files)]
        return Path(snapshot_download(hub_id, cache_dir=cache, allow_patterns=patterns))
    except HfHubHTTPError as error:
        raise ModelError(
            f"The hub does not give out {hub_id!r} ({str(error).splitlines()[0]}); check the name, "
            "and for a gated model set HF_TOKEN."
        ) from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError, HTTPError, OSError) as error:
        raise ModelError(
            f"{hub_id!r} is not in the store and the hub cannot be reached; go online once, or name "
            "a local folder or a bundled model."
        ) from error


def _has(files: list[str], ending: str) -> bool:
    return any(name.endswith(ending) for name in files)


def _one_gguf(files: list[str]) -> str:
    ggufs = [name for name in files if name.endswith(".gguf")]
    if len(ggufs) == 1:
        return ggufs[0]
    if ggufs:
        raise ModelError(
            f"That repository holds {len(ggufs)} GGUF files; download the one you want and name it."
        )
    raise ModelError(
        "That repository holds no safetensors and no GGUF; other weights are refused because "
        "opening a pickle can run any program."
    )
