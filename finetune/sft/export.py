"""Adapters out of the store: copied as vLLM reads them, or merged into their model's weights."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from foretaste.data.errors import InputError
from foretaste.data.files import new_folder, read_json, replacing
from foretaste.finetune.sft.card import card_text
from foretaste.serving.adapters import check_adapter
from foretaste.serving.merged import JOINT, merge
from foretaste.serving.shipped import adapter_folder, record_of
from foretaste.serving.store import model_folder

_MAX_RANK = 256
CARD = "card.md"


def export_to(adapter: str, out: Path, figures: Sequence[Path] = ()) -> dict[str, Any]:
    """Copy an adapter's files into a folder, checked, each written beside and renamed, with its card.

    Args:
        adapter: name in the store, name of a shipped one, or a folder.
        out: made when missing; the card is called after it.
        figures: files of `evaluate intent --json` that the card shows.

    Returns:
        bytes, sha256 and the record.
    """
    folder = adapter_folder(adapter)
    digest = check_adapter(folder, _MAX_RANK)
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    for path in files:
        with replacing(out / path.name) as part:
            shutil.copyfile(path, part)
    record = record_of(folder)
    with replacing(out / CARD) as part:
        part.write_text(card_text(out.name, record, [read_json(path) for path in figures]), "utf-8")
    return {
        "adapter": adapter,
        "bytes": sum(path.stat().st_size for path in files),
        "sha256": digest,
        "record": record,
    }


def merge_adapter(adapter: str, out: Path) -> dict[str, Any]:
    """Write the adapter's model with the adapter added into its weights.

    Args:
        adapter: name in the store, name of a shipped one, or a folder.
        out: a new folder.

    Raises:
        InputError: `out` exists, or the adapter does not say which model it is of.
        ModelError: it cannot be merged; see `serving.merged.merge`.
    """
    if out.exists():
        raise InputError(f"{out} exists already; name a new folder.")
    folder = adapter_folder(adapter)
    check_adapter(folder, _MAX_RANK)
    base = record_of(folder).get("base")
    if not base:
        raise InputError(f"The adapter in {folder} does not say which model it was trained on.")
    with new_folder(out.absolute()) as part:
        about = {"name": f"{base}{JOINT}{adapter}", "sources": [base, adapter]}
        merge(model_folder(base), folder, part, about)
    total = sum(path.stat().st_size for path in out.iterdir() if path.is_file())
    return {"adapter": adapter, "base": base, "bytes": total, "folder": str(out)}
