"""How many tokens a text takes: by the model's own tokenizer, or a bound that holds for any."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from pathlib import Path

from foretaste.data.errors import ModelError
from foretaste.data.files import subfolder
from foretaste.serving.bundled import BUNDLED, PREFIX, bundled, bundled_folder
from foretaste.serving.merged import parted

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
Count = Callable[[str], int]


def byte_count(text: str) -> int:
    """At least as many as any common tokenizer makes of `text`: its UTF-8 bytes, and one.

    A token of byte-level BPE, SentencePiece with byte fallback or WordPiece stands for one byte
    at least; normalising tokenizers (NFKC) may lengthen a text first, and SentencePiece may put
    one space before it. English takes about a quarter of this, so a budget held by bytes is
    kept but not filled: use `tokenizer_count` where the model's folder is known.

    >>> byte_count("Heat"), byte_count("é")
    (5, 3)
    """
    longest = text if text.isascii() else max(text, unicodedata.normalize("NFKC", text), key=_bytes)
    return _bytes(longest) + 1


@cache
def tokenizer_count(folder: Path) -> Count:
    """Counts by the `tokenizer.json` of a model's folder, special tokens not added.

    Raises:
        ModelError: the folder has no such file, or it cannot be read.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(
            f"{folder} has no tokenizer.json; name a model folder that has one, or count by bytes."
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ModelError(f"{path} cannot be read ({error}); fetch the model again.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def count_for(model: str | None) -> Count:
    """The count of a model's own tokenizer when it is on this machine, else `byte_count`.

    Nothing is fetched.

    Args:
        model: bundled:NAME, a folder or a hub id of the store, `+ADAPTER` behind it or not, or an endpoint's own name, of which
            nothing is known here; None when there is no model.
    """
    if model is None:
        return byte_count
    base, _ = parted(model)  # an adapter changes no tokens
    folders = [Path(model), Path(base)]
    if base.removeprefix(PREFIX) in BUNDLED:
        folders = [bundled_folder(bundled(base))]
    elif _HUB_ID.fullmatch(base):
        hub = subfolder("models", "hub") / f"models--{base.replace('/', '--')}"
        folders += sorted(hub.glob("snapshots/*"))
    for folder in folders:
        if (folder / "tokenizer.json").is_file():
            return tokenizer_count(folder.absolute())
    return byte_count


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
