"""A shop of forty things for the fault suite: its files, its words as vectors, a model that writes noise.

Everything is small, so that a command takes a fraction of a second and can be killed fifty times.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARED = runpy.run_path(str(Path(__file__).parent.parent / "conftest.py"))

from foretaste.data.files import subfolder
from foretaste.serving import embedder as seam
from foretaste.serving.vector_cache import VectorCache

NAME = "shop"
ITEMS, USERS, EVENTS = 40, 24, 8
CASES = 16  # answers to judge
REQUESTS = 40  # of a batch
_KINDS = ("lipstick", "shampoo", "razor", "perfume")
_LOOKS = ("Matte", "Glossy", "Satin")


class Words(seam.SentenceEmbedder):
    """The embedder of this suite: words for weights, and the product's own cache on disk."""

    def __init__(self) -> None:
        self._name, self._fingerprint, self._dimension = "words", "0" * 16, 32
        self._cache = VectorCache(subfolder("vectors", self._fingerprint), self._dimension)
        self._model, self._guard = None, threading.Lock()

    def _forward(self, texts: list[str]) -> NDArray[np.float32]:
        made: NDArray[np.float32] = SHARED["WordEmbedder"]().encode([text or "-" for text in texts])
        return made


def words_for_weights() -> None:
    """Put `Words` behind the seam; before any other module takes `load_embedder` by name."""
    seam.load_embedder = lambda name="": Words()  # type: ignore[assignment]


def write_tables(folder: Path, *, events: int = EVENTS, extra: str = "") -> Path:
    """The shop's CSV files."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["item_id,title,description,category,brand"]
    for row in range(ITEMS):
        kind, look = _KINDS[row % len(_KINDS)], _LOOKS[row % len(_LOOKS)]
        kinds = f"Beauty|{kind}|{look}"
        lines.append(f"i{row},{kind} number{row} {extra},for the {kind},{kinds},b{row % 5}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    draw = np.random.default_rng(0)
    lines = ["user_id,item_id,timestamp,event"]
    for user in range(USERS):
        own = [row for row in range(ITEMS) if row % len(_KINDS) == user % len(_KINDS)]
        for time, row in enumerate(draw.permutation(own)[:events]):
            lines.append(f"u{user},i{row},{1_600_000_000 + 86_400 * time},purchase")
    (folder / "interactions.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_answers(path: Path) -> Path:
    """Answers to judge, one JSON line each."""
    rows = [{"id": f"case{n}", "answer": f"a {_KINDS[n % 4]} number{n}"} for n in range(CASES)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_requests(path: Path) -> Path:
    """A batch of requests in OpenAI's form."""
    rows: list[dict[str, Any]] = [
        {
            "custom_id": f"r{n}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"messages": [{"role": "user", "content": f"question {n}"}]},
        }
        for n in range(REQUESTS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def furnish(folder: Path) -> None:
    """Files that commands read, and the shared model, in the folder beside a home."""
    write_tables(folder / "tables")
    write_tables(folder / "other", events=EVENTS - 2, extra="again")
    write_answers(folder / "answers.jsonl")
    write_requests(folder / "requests.jsonl")
    (folder / "model").symlink_to(MODEL[0])


MODEL: list[Path] = []  # the folder of the model that all homes share


def write_model(folder: Path) -> None:
    """A language model of two layers, with its tokenizer."""

    class _There:
        @staticmethod
        def mktemp(name: str) -> Path:
            folder.mkdir(parents=True, exist_ok=True)
            return folder

    SHARED["tiny_llama"].__wrapped__(_There())


def use_home(home: Path) -> None:
    """Make `home` the home of this process."""
    os.environ["FORETASTE_HOME"] = str(home)


def foretaste(home: Path, *words: str) -> None:
    """The command `foretaste` on a home, in this process; ends it as the command would."""
    from foretaste.app.cli import main

    use_home(home)
    sys.argv = ["foretaste", *words]
    main()


#: Imported before anything is forked, so that a run is the work alone: for all, for what reads a data
#: set, and for trainings.
WARM = (
    "sqlite3",
    "typer._adapters",
    "typer._click.decorators",
    "foretaste.app.cli",
    "foretaste.app.batching",
)
READING = (
    "hypothesis",
    "holidays.countries",
    "pandera.polars",
    "foretaste.app.api.server",
    "foretaste.app.fleet.many",
    "foretaste.app.judging",
    "foretaste.app.recommending",
    "foretaste.data.importing",
)
TRAININGS = (
    "trl",
    "torch.profiler._cupti_monitor",
    "transformers.models.llama.modeling_llama",
    "peft.utils.transformers_weight_conversion",
    "foretaste.finetune.examples.make",
    "foretaste.finetune.grpo.train",
    "foretaste.finetune.interest.train",
    "foretaste.finetune.reward.train",
    "foretaste.finetune.sft.train",
    "foretaste.finetune.towers.train",
)
