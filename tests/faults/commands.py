"""The long commands that are killed: what is called, what must come of it, and how to look at that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import forks
import shop

Found = dict[str, list[str]]  # name of a result → digests of all that stands under that name
_TIMES = {
    "ms",
    "wall_s",
    "train_s",
    "at",
    "seconds",
    "peak_mb",
    "flops_fraction",
    "id",
    "request_id",
}


@dataclass(frozen=True)
class Command:
    """One long command over the shop.

    Attributes:
        name: in the report.
        words: the command line, for a home.
        found: reads what the command is for; `ForetasteError` when it is not there or refused.
        whole: whether what is found must be all of the old or all of the new at any moment;
            otherwise results come one by one.
        before: commands that make the home that it begins with.
        resumes: whether a run that was begun goes on with `--resume`.
        endpoint: whether it asks a model.
        unready: whether what is being replaced may be refused with a sentence meanwhile.
        plain: whether lines of its results have no checksum.
        limit_s: seconds after which a run counts as hanging.
    """

    name: str
    words: Callable[[Path], list[str]]
    found: Callable[[Path], Found]
    whole: bool = True
    before: tuple[Callable[[Path], list[str]], ...] = field(default=())
    resumes: bool = False
    endpoint: bool = False
    unready: bool = False
    plain: bool = False
    limit_s: float = forks.LIMIT_S


def digest(value: Any) -> str:
    """A few hex digits of a JSON value, what differs from run to run left out."""
    return hashlib.sha256(json.dumps(_lasting(value), sort_keys=True).encode()).hexdigest()[:12]


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(one) for key, one in value.items() if key not in _TIMES}
    return [_lasting(one) for one in value] if isinstance(value, list) else value


def place(home: Path) -> Path:
    """The folder beside a home that holds what the commands read and write elsewhere."""
    return home.parent


def _import(tables: str) -> Callable[[Path], list[str]]:
    return lambda home: [
        *("data", "import", "--data-dir", str(place(home) / tables), "--name", shop.NAME)
    ]


def found_import(home: Path) -> Found:
    """The data set as it is read, by its fingerprint and its rows."""
    from foretaste.data.store import load_dataset, load_quarantine

    dataset = load_dataset(shop.NAME)
    rows = [dataset.items.height, dataset.interactions.height, load_quarantine(shop.NAME).height]
    return {"data set": [digest([dataset.info.fingerprint, rows])]}


def _examples(home: Path, rows: int = 20) -> list[str]:
    model = str(place(home) / "model")
    return [
        *("finetune", "examples", "--dataset", shop.NAME, "--preset", "smoke", "--base", model),
        *("--set", f"examples.rows={rows}", "--out", str(place(home) / "rows")),
    ]


def few_examples(home: Path) -> list[str]:
    """The command that makes rows for `finetune sft`."""
    return _examples(home, 8)


def _found_examples(home: Path) -> Found:
    from foretaste.data.errors import InputError
    from foretaste.data.files import read_json
    from foretaste.finetune.examples.rows import CARD, LINES, load

    folder = place(home) / "rows"
    rows = [row.model_dump() for row in load(folder)]
    card = read_json(folder / CARD)
    try:
        _as_written(folder / LINES, card["sha256"][LINES])
        told = [card["data_fingerprint"], card["counts"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{CARD} is altered.") from error
    lines = [json.loads(line) for line in (folder / LINES).read_text("utf-8").splitlines()]
    return {"rows": [digest([rows, lines, *told])]}


def _as_written(path: Path, wanted: str) -> None:
    """What others read (`datasets`, a warehouse) can be held to the digest that stands beside it."""
    from foretaste.data.errors import InputError
    from foretaste.data.files import sha256

    if sha256(path) != wanted:
        raise InputError(f"{path.name} is altered.")


def _towers(home: Path) -> list[str]:
    return ["finetune", "towers", "--dataset", shop.NAME, "--preset", "smoke"]


def _interest(home: Path) -> list[str]:
    base = f"interest.base={place(home) / 'model'}"
    return ["finetune", "interest", "--dataset", shop.NAME, "--preset", "smoke", "--set", base]


def _weights_below(name: str) -> Callable[[Path], Found]:
    """Reads the weights that a training serves, as whole files."""

    def found(home: Path) -> Found:
        from foretaste.data.errors import InputError
        from foretaste.data.store import load_dataset
        from foretaste.serving.interest import load_interest
        from foretaste.serving.towers import load_towers

        dataset = load_dataset(shop.NAME)
        model: Any = (
            load_towers(dataset, shop.Words().fingerprint)
            if name == "towers"
            else load_interest(dataset)
        )
        if model is None:
            raise InputError(f"There are no {name} yet.")
        return {name: [_state_digest(model.net)]}

    return found


def _state_digest(net: Any) -> str:
    total = hashlib.sha256()
    for key, value in sorted(net.state_dict().items()):
        total.update(key.encode())
        total.update(value.detach().cpu().numpy().tobytes())
    return total.hexdigest()[:12]


def _sft(home: Path) -> list[str]:
    model = f"sft.model={place(home) / 'model'}"
    return [
        *("finetune", "sft", "--rows", str(place(home) / "rows"), "--name", "tiny"),
        *("--preset", "smoke", "--set", model, "--set", "sft.tokens=4096"),
        *("--set", "sft.kind=float32", "--set", "sft.save_s=0.1", "--set", "sft.epochs=1"),
    ]


def found_adapter(name: str) -> Callable[[Path], Found]:
    """Reads an adapter in the store as it would be served."""

    def found(home: Path) -> Found:
        from foretaste.serving.adapters import WEIGHTS, check_adapter
        from foretaste.serving.shipped import adapter_folder

        folder = adapter_folder(name)
        check_adapter(folder, 64)
        return {"adapter": [hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()[:12]]}

    return found


def _reward(home: Path) -> list[str]:
    model = f"reward.base={place(home) / 'model'}"
    return [
        *("finetune", "reward", "--dataset", shop.NAME, "--preset", "smoke", "--set", model),
        *("--set", "reward.future=2"),
    ]


def _found_reward(home: Path) -> Found:
    from foretaste.serving.reward import HEAD, RewardModel, reward_folder

    folder = reward_folder(shop.NAME)
    RewardModel.load(folder)
    files = [folder / "adapter_model.safetensors", folder / HEAD]
    return {"reward": [hashlib.sha256(one.read_bytes()).hexdigest()[:12] for one in files]}


def _grpo(home: Path) -> list[str]:
    return [
        *("finetune", "grpo", "--dataset", shop.NAME, "--adapter", "tiny", "--out", "better"),
        *("--preset", "smoke", "--set", "grpo.steps=2", "--set", "grpo.max_tokens=30"),
        *("--set", "grpo.rate=0.01", "--set", "grpo.combine=sum"),
    ]


def _judge(home: Path) -> list[str]:
    out = str(place(home) / "judged.jsonl")
    return [
        *("judge", "run", "--in", str(place(home) / "answers.jsonl"), "--out", out),
        *("--rubric", "tag", "--concurrency", "4", "--model", "scripted"),
    ]


def _batch(home: Path) -> list[str]:
    files = [str(place(home) / name) for name in ("requests.jsonl", "results.jsonl")]
    return ["serve", "batch", *files, "--concurrency", "4", "--model", "scripted"]


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    from foretaste.data.appended import read_line
    from foretaste.data.errors import InputError

    held = path.read_bytes() if path.exists() else b""
    try:
        return [dict(read_line(line)) for line in held[: held.rfind(b"\n") + 1].splitlines()]
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{path.name} holds a line that is no JSON, or altered ({error})."
        ) from error


def _found_results(home: Path) -> Found:
    """The results of a batch by their names; a last line without an end is none yet."""
    made: Found = {}
    for one in _whole_lines(place(home) / "results.jsonl"):
        made.setdefault(str(one.get("custom_id")), []).append(digest(one))
    return made


def _found_judgements(home: Path) -> Found:
    """The judgements as they are read by whatever reads them; a last line without an end is none yet."""
    from pydantic import ValidationError

    from foretaste.data.errors import InputError
    from foretaste.judge.batch.saved import Record

    made: Found = {}
    for one in _whole_lines(place(home) / "judged.jsonl"):
        try:
            record = Record.model_validate(one)
        except ValidationError as error:
            raise InputError("judged.jsonl holds a line that is no judgement.") from error
        made.setdefault(record.id, []).append(digest(record.model_dump(mode="json")))
    return made


def _all(home: Path) -> list[str]:
    return [
        *("recommend", "--dataset", shop.NAME, "--all", "--engine", "none", "--n", "3"),
        *("--partitions", "4", "--out", str(place(home) / "pages")),
    ]


def _found_all(home: Path) -> Found:
    """The rows of every partition that the manifest names."""
    import pyarrow.parquet as pq

    made: Found = {}
    folder = place(home) / "pages"
    for part in _whole_lines(folder / "manifest.jsonl"):
        _as_written(folder / str(part["file"]), str(part["sha256"]))
        for row in pq.read_table(folder / str(part["file"])).to_pylist():
            made.setdefault(row["user_id"], []).append(digest(row))
    return made


def _index(home: Path) -> list[str]:
    return ["recommend", "--dataset", shop.NAME, "--user", "u1", "--engine", "none", "--n", "5"]


def _found_index(home: Path) -> Found:
    """The vectors and the order of the index that was saved, without building one."""
    from foretaste.data.store import load_dataset
    from foretaste.serving.index.opened import load_index

    dataset, words = load_dataset(shop.NAME), shop.Words()
    folder = home / "indexes" / shop.NAME / words.fingerprint
    index = load_index(folder, dataset.info.catalogue_fingerprint, words.fingerprint)
    vectors = index.vectors_of(range(len(index.item_ids)))
    return {"index": [hashlib.sha256(vectors.tobytes()).hexdigest()[:12]]}


IMPORTED = (_import("tables"),)
COMMANDS = (
    Command("import", _import("other"), found_import, before=IMPORTED),
    Command(
        "examples",
        _examples,
        _found_examples,
        before=(*IMPORTED, few_examples),
        unready=True,
    ),
    Command("towers", _towers, _weights_below("towers"), before=IMPORTED, resumes=True),
    Command("interest", _interest, _weights_below("interest"), before=IMPORTED, resumes=True),
    Command("sft", _sft, found_adapter("tiny"), before=(*IMPORTED, few_examples), resumes=True),
    Command("reward", _reward, _found_reward, before=IMPORTED, resumes=True),
    Command(
        "grpo",
        _grpo,
        found_adapter("better"),
        before=(*IMPORTED, few_examples, _sft, _reward),
        resumes=True,
    ),
    Command("judge", _judge, _found_judgements, whole=False, endpoint=True),
    Command(
        "batch",
        _batch,
        _found_results,
        whole=False,
        endpoint=True,
        plain=True,
    ),
    Command("recommend --all", _all, _found_all, whole=False, before=IMPORTED),
    Command("index build", _index, _found_index, before=IMPORTED),
)
TRAINING = {
    "examples",
    "towers",
    "interest",
    "sft",
    "reward",
    "grpo",
    "run",
}  # names of those that need torch
