"""A model with an adapter added into its weights: asked for as `BASE+ADAPTER`, made once and kept.

On a processor vLLM computes an adapter's products apart from the model's, for every layer and every
token, which costs several times the model itself (docs/finetuning.md has the figures). Merged, an adapter
costs nothing, and every engine can serve it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from foretaste.data.errors import ForetasteError, ModelError
from foretaste.data.files import locked, new_folder, read_json, subfolder, write_json
from foretaste.data.progress import note
from foretaste.serving.adapters import SETTINGS, WEIGHTS, check_adapter
from foretaste.serving.bundled import RECORD, checksums, fault_of
from foretaste.serving.engine_config import EngineConfig
from foretaste.serving.shipped import adapter_folder

JOINT = "+"  # between a model's name and its adapter's
FOLDERS = "merged-"  # how the folders of the store begin
_MAX_RANK = 256
_UNUSED = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".gguf")
_PEFT = "base_model.model."  # before the names of the model's own weights
_PLAIN = ("use_dora", "use_rslora", "fan_in_fan_out", "modules_to_save", "rank_pattern")


def parted(name: str) -> tuple[str, str]:
    """Model and adapter of a name; no adapter is an empty text.

    >>> parted("bundled:smollm2-135m-instruct+films"), parted("org/model")
    (('bundled:smollm2-135m-instruct', 'films'), ('org/model', ''))
    """
    base, _, adapter = name.partition(JOINT)
    return base, adapter


def merges(engine: EngineConfig) -> bool:
    """Whether an adapter is best merged for this engine: on a processor, and where it takes none."""
    from foretaste.serving.vllm_server import is_cpu_build

    return engine.endpoint is None and (engine.engine == "transformers" or is_cpu_build())


def merged_folder(name: str, base: Path, adapter: str) -> Path:
    """The store's folder of a merged model; made when it is not there, made again when damaged.

    A copy of the same name with other weights is removed.

    Args:
        name: `BASE+ADAPTER`, for the record.
        base: the model's folder.
        adapter: name in the store, name of a shipped one, or a folder.

    Raises:
        ModelError: no such adapter, or one that does not fit or cannot be merged.
    """
    source = adapter_folder(adapter)
    digest = check_adapter(source, _MAX_RANK)
    key = hashlib.sha256(json.dumps([digest, _identity(base)]).encode()).hexdigest()[:12]
    folder = subfolder("models") / f"{FOLDERS}{key}"
    with locked(folder.parent):
        if folder.exists():
            if fault_of(folder) is None:
                return folder
            shutil.rmtree(folder)
        _remove_old(name)
        note(f"{name} is made: the adapter is added into the model's weights.")
        with new_folder(folder) as part:
            merge(base, source, part, {"name": name, "sources": [str(base), digest]})
    return folder


def merge(base: Path, adapter: Path, out: Path, about: dict[str, Any]) -> None:
    """Write a model whose every changed weight is W + alpha / rank · B · A (LoRA, arXiv 2106.09685).

    Weights are read file by file, computed in float32 and written in the model's own format.

    Args:
        base: folder of the model, safetensors.
        adapter: folder of the adapter, as peft saves it.
        out: an empty folder.
        about: for the record that is written beside the weights.

    Raises:
        ModelError: the adapter is no plain LoRA, or not of this model.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    changes = _changes(adapter)
    for path in sorted(base.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            made = {key: _added(key, file.get_tensor(key), changes) for key in file.keys()}  # noqa: SIM118
            save_file(made, out / path.name, metadata=file.metadata() or {"format": "pt"})
    if changes:
        raise ModelError(
            f"The adapter in {adapter} changes {next(iter(changes))}, which the model in {base} does "
            "not have; name the model that it was trained on."
        )
    for path in base.iterdir():
        if path.is_file() and path.name != RECORD and path.suffix not in _UNUSED:
            shutil.copyfile(path, out / path.name)
    write_json(out / RECORD, about | {"files": checksums(out)})


def _changes(adapter: Path) -> dict[str, tuple[Any, Any]]:
    """Name of each changed weight → A (rank, in) and B (out, rank), B scaled, in float32."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    settings = read_json(adapter / SETTINGS)
    unusual = [key for key in _PLAIN if settings.get(key)]
    try:
        tensors = load_file(adapter / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The adapter in {adapter} is damaged ({error}); make it again."
        ) from error
    found: dict[str, tuple[Any, Any]] = {}
    scale = settings.get("lora_alpha", 1) / settings["r"]
    for key, value in tensors.items():
        layer, lora_a, _ = key.removeprefix(_PEFT).partition(".lora_A.")
        pair = tensors.get(key.replace(".lora_A.", ".lora_B."))
        if lora_a and pair is not None:
            found[f"{layer}.weight"] = value.float(), pair.float() * scale
    if unusual or 2 * len(found) != len(tensors):
        told = ", ".join(unusual) or "weights beside the two factors"
        raise ModelError(
            f"The adapter in {adapter} has {told}, and only a plain LoRA can be merged; serve it "
            "with engine.adapters instead."
        )
    return found


def _added(key: str, weight: Any, changes: dict[str, tuple[Any, Any]]) -> Any:
    """A weight with its change, taken out of `changes`; itself without one."""
    if key not in changes:
        return weight
    down, up = changes.pop(key)
    if weight.shape != (up.shape[0], down.shape[1]):
        raise ModelError(
            f"The adapter's change of {key} has the shape {(up.shape[0], down.shape[1])}, and the "
            f"model's weight {tuple(weight.shape)}; name the model that it was trained on."
        )
    return (weight.float() + up @ down).to(weight.dtype)


def _identity(base: Path) -> list[tuple[str, int, int]]:
    """What changes when the model's files do: name, size and time of each."""
    files = [path for path in sorted(base.iterdir()) if path.is_file()]
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def _remove_old(name: str) -> None:
    """Remove copies that this name had before, and what a killed run left."""
    for old in subfolder("models").glob(f"{FOLDERS}*"):
        try:
            same = read_json(old / RECORD).get("name") == name
        except (OSError, ForetasteError):
            same = True  # damaged
        if same:
            shutil.rmtree(old)
    for part in subfolder("models").glob(f".{FOLDERS}*.part"):
        shutil.rmtree(part)
