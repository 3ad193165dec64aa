"""Adaptors by name, below home: `entity-adaptors/<name>/<fingerprint>/` and a pointer to the served one."""

from __future__ import annotations

import shutil
from pathlib import Path

from foretaste.data.errors import ModelError
from foretaste.data.files import home, locked, read_json, safe_name, subfolder, write_json
from foretaste.serving.embedder import fingerprint_of, load_embedder
from foretaste.serving.hybrid_adaptor import RECORD, Adaptor, load_adaptor
from foretaste.serving.merged import parted
from foretaste.serving.store import model_folder

POINTER = "served.json"
STORE = "entity-adaptors"  # `adapters/` holds LoRA adapters


def publish(name: str, adaptor: Adaptor) -> Path:
    """Save an adaptor and make it the one that `name` means; what it meant before is removed.

    Args:
        name: what the engine is told, a data set's name for instance.
        adaptor: trained.
    """
    folder = subfolder(STORE, name)
    with locked(folder):
        made = folder / adaptor.fingerprint
        shutil.rmtree(made, ignore_errors=True)
        adaptor.save(made)
        write_json(folder / POINTER, {"folder": made.name})
        for path in folder.iterdir():
            if path.is_dir() and path != made:
                shutil.rmtree(path, ignore_errors=True)
    return made


def adaptor_folder(name: str) -> Path:
    """The folder of an adaptor: `name` itself when it is one, else what it means in the store.

    Raises:
        ModelError: there is none.
        InputError: neither a folder nor a plain name.
    """
    path = Path(name).expanduser()
    if (path / RECORD).is_file():
        return path
    pointer = home() / STORE / safe_name(name) / POINTER
    if not pointer.exists():
        raise ModelError(
            f"There is no adaptor {name!r}; name a folder that holds one, or train it with "
            f"`foretaste finetune adaptor --dataset {name}`."
        )
    return pointer.parent / safe_name(str(read_json(pointer)["folder"]))


def fitting_adaptor(name: str, model: str) -> Path:
    """The folder of an adaptor that was trained for this language model.

    A merged model (`BASE+ADAPTER`) has the input vectors of its base, so an adaptor of the base fits.

    Raises:
        ModelError: there is none, or it was trained for another language model.
    """
    folder = adaptor_folder(name)
    adaptor = load_adaptor(folder)
    embedder = load_embedder(adaptor.belongs.embedder)
    adaptor.check(embedder.fingerprint, fingerprint_of(model_folder(parted(model)[0])))
    return folder
