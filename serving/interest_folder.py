"""Where next-interest models lie; reading this loads no torch."""

from __future__ import annotations

from pathlib import Path

from foretaste.data.files import home, safe_name
from foretaste.serving.published import CURRENT, published
from foretaste.serving.shipped import shipped_folder

KIND = "interest"  # the folder below home
MODEL = "model"  # the model of a finished training, in the folder of its run


def available(dataset: str) -> bool:
    """Whether anything was trained or is shipped for a data set of this name."""
    return (home() / KIND / safe_name(dataset)).exists() or shipped(dataset) is not None


def folder_of(dataset: str, pointer: str = CURRENT) -> Path | None:
    """The folder of the model that was trained here; else, for what is served, the shipped one."""
    found = published(KIND, dataset, pointer)
    return found if found is not None or pointer != CURRENT else shipped(dataset)


def run_model(run: str) -> Path:
    """The folder of the model that the training of this name made; it need not be there."""
    return home() / "runs" / KIND / safe_name(run) / MODEL


def shipped(dataset: str) -> Path | None:
    """The folder of weights that come with the package for a public data set, or None."""
    folder = shipped_folder() / f"{KIND}-{safe_name(dataset)}"
    return folder if folder.is_dir() else None
