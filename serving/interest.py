"""The trained next-interest model as it is served: a scorer, and an encoder that takes one event more.

`<home>/interest/<dataset>/<digest>/` holds `interest.safetensors` (weights that are not the base model's, and
the finished item vectors) and `interest.json` (what it was made from and how well it did). It is
left alone beside another catalogue, and refused beside another base model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from foretaste.data.dataset import Dataset
from foretaste.data.errors import ModelError
from foretaste.data.files import check_sums, new_folder, read_json, write_json, write_sums
from foretaste.data.histories import Histories
from foretaste.serving.arithmetic import fast_bfloat16, few_sizes
from foretaste.serving.interest_folder import KIND, folder_of, shipped
from foretaste.serving.interest_net import InterestNet, InterestShape
from foretaste.serving.interest_ranker import MixRecord
from foretaste.serving.interest_reading import Reading
from foretaste.serving.published import CURRENT, publish
from foretaste.serving.rules.base import Scores
from foretaste.serving.towers import catalogue_arrays, histories_fingerprint, unseen_vectors

WEIGHTS, RECORD = "interest.safetensors", "interest.json"
_SHORTEST = 4  # places to which the shortest histories are filled, the beginning included
_READ = 64  # histories of like length that are read at once
_ROWS = 4096  # items turned into input vectors at once
_ARRAYS = ("items", "seen", "inputs", "popular")
_SMALL = torch.bfloat16  # numbers of weights and input vectors on disk


class Record(BaseModel, frozen=True):
    """What a next-interest model was made from, and how well it did.

    Attributes:
        dataset, fingerprint, catalogue_fingerprint: of the data.
        split, fitted_on: the events that were learnt from.
        histories: sha256 of those events, 16 hex digits.
        embedder, embedder_fingerprint: of the sentence vectors.
        base, base_fingerprint: the language model whose layers read.
        shape: of the network.
        facts: the facts that have a learned vector, in their order.
        wishes: whether training had wishes after histories.
        rule: the untrained rule it was compared with.
        validation: name of the scorer → NDCG@10 on validation cases, history dropped.
        mix: the ranker beside the untrained rules, when there was somebody to fit it with.
    """

    dataset: str
    fingerprint: str
    catalogue_fingerprint: str
    split: str
    fitted_on: str
    histories: str
    embedder: str
    embedder_fingerprint: str
    base: str
    base_fingerprint: str
    shape: InterestShape
    facts: list[str]
    wishes: bool = False
    rule: str = ""
    validation: dict[str, float] = {}
    mix: MixRecord | None = None


class Interest:
    """The next-interest model, ready to score. Safe to use from threads.

    Args:
        net: the network, its weights set.
        record: of the model.
        catalogue: `items` and `seen` (items, dim), `inputs` (items, width), `popular` (items,).
    """

    name = "interest"

    def __init__(self, net: InterestNet, record: Record, catalogue: dict[str, Any]) -> None:
        self.net, self.record, self.catalogue = net.eval(), record, catalogue

    @property
    def item_vectors(self) -> Scores:
        """(items, dim) float32 of length 1, in row order."""
        return np.asarray(self.catalogue["items"].numpy(), dtype=np.float32)

    def user_vectors(self, histories: Histories, wishes: Scores | None = None) -> Scores:
        """(n, codes, dim) float32 of length 1; zeros for an empty history.

        Args:
            histories: n of them.
            wishes: (n, text) sentence vectors of what each person says they want; None for nothing.
                A model that was trained without wishes leaves them out.
        """
        return np.asarray(self._users(histories, wishes).numpy(), dtype=np.float32)

    def scores(self, histories: Histories, wishes: Scores | None = None) -> Scores:
        """(n, items) float32: sharpness · max_k h_k · v + popularity; an empty history gets the latter.

        Arguments as for `user_vectors`.
        """
        return self.scored(self._users(histories, wishes))

    def scored(self, users: Any) -> Scores:
        """(n, items) float32 of user vectors (n, codes, dim)."""
        with torch.inference_mode():
            items, popular = self.catalogue["items"], self.catalogue["popular"]
            return np.asarray(self.net.towers.scores(users, items, popular).numpy())

    def new_vectors(self, items: pl.DataFrame, text: Scores) -> Scores:
        """(n, dim) vectors of items that training did not see, from text and known facts alone.

        Args:
            items: rows of an items table.
            text: (n, text) their sentence vectors.
        """
        return unseen_vectors(self.net.towers, self.record.facts, items, text)

    def reader(
        self, rows: Sequence[int] = (), signals: Sequence[Sequence[int]] | None = None
    ) -> Reading:
        """A reading of one person's history that takes further events one at a time.

        Args:
            rows: item rows so far, oldest first.
            signals: two codes an event, or None where nothing is known.
        """
        return Reading(self, rows, signals)

    def warm_up(self) -> None:
        """Read one history of each length that histories are filled to: see `embedder.warm_up`."""
        most = self.record.shape.towers.newest
        size = 0
        while size < most:
            size = few_sizes(size + 2, _SHORTEST) - 1
            one = Histories.from_lists([[0] * min(size, most)])
            self.user_vectors(one)
            if self.record.wishes:
                self.user_vectors(one, np.ones((1, self.record.shape.towers.text), np.float32))

    def with_record(self, record: Record) -> Interest:
        """The same model with another record."""
        return Interest(self.net, record, self.catalogue)

    def save(self, folder: Path) -> None:
        """Write the model into a new folder."""
        from safetensors.torch import save_file

        with new_folder(folder) as part:
            arrays = {f"net.{name}": value for name, value in self.net.own_state().items()}
            arrays |= self.catalogue
            small = {k: v for k, v in arrays.items() if v.ndim == 2 and k not in ("items", "seen")}
            arrays |= {name: value.to(_SMALL) for name, value in small.items()}
            save_file({name: value.contiguous() for name, value in arrays.items()}, part / WEIGHTS)
            write_json(part / RECORD, self.record.model_dump())
            write_sums(part)

    def _users(self, histories: Histories, wishes: Scores | None = None) -> Any:
        """(n, codes, dim); histories of like length are read together, so little padding is."""
        shape = self.record.shape.towers
        cut = histories.newest(shape.newest)
        lengths = cut.lengths
        users = torch.zeros(len(cut), shape.codes, shape.dim)
        wishes = wishes if self.record.wishes else None
        order = np.argsort(lengths, kind="stable")
        order = order[lengths[order] > 0]
        with torch.inference_mode():
            for start in range(0, len(order), _READ):
                part = order[start : start + _READ]
                said = None if wishes is None else torch.as_tensor(wishes[part])
                users[torch.as_tensor(part)] = self._read(cut, part, said)
        return users

    def _read(self, histories: Histories, chosen: NDArray[np.int64], wishes: Any) -> Any:
        """(b, codes, dim) of some histories that are not empty."""
        lengths = histories.lengths[chosen]
        room = few_sizes(int(lengths.max()) + 1, _SHORTEST) - 1  # something stands before the first
        rows = np.zeros((len(chosen), room), dtype=np.int64)
        for line, number in zip(rows, chosen, strict=True):
            own = histories[int(number)]
            line[: len(own)] = own
        given = torch.as_tensor(rows)
        at = torch.as_tensor(lengths - 1)[:, None]  # (b, 1)
        inputs, ends = self.catalogue["inputs"][given], at
        inputs = self.net.told(inputs, _told(histories, chosen, rows.shape[1]))
        if wishes is not None:
            inputs, ends = self.net.with_wishes(inputs, at[:, 0], wishes), at + 1
        hidden = self.net.hidden(inputs)
        hidden = hidden.gather(1, ends[:, :, None].expand(-1, -1, hidden.shape[-1]))
        return self.net.towers.users(self.catalogue["seen"][given], at, self.net.added(hidden))[
            :, 0
        ]


def _told(histories: Histories, chosen: NDArray[np.int64], longest: int) -> Any:
    """(b, longest, 2) int64 codes of what the events of some histories tell, or None."""
    if histories.signals is None:
        return None
    told = np.zeros((len(chosen), longest, 2), dtype=np.int64)
    for line, number in zip(told, chosen, strict=True):
        own = histories.signals[histories.offsets[number] : histories.offsets[number + 1]]
        line[: len(own)] = own
    return torch.as_tensor(told)


def catalogue_of(
    net: InterestNet, text: Scores, facts: NDArray[np.int64], counts: NDArray[np.int64]
) -> dict[str, Any]:
    """What `Interest` needs of every item; arguments as for `catalogue_arrays`."""
    made = catalogue_arrays(net.towers, text, facts, counts)
    inputs = []
    net.eval()
    with torch.inference_mode():
        for start in range(0, len(counts), _ROWS):
            part = slice(start, start + _ROWS)
            inputs.append(net.inputs(torch.as_tensor(np.array(text[part])), made["seen"][part]))
    return made | {"inputs": torch.cat(inputs)}


def low_precision() -> torch.dtype:
    """bfloat16 where a probe finds it fast, else float32."""
    return torch.bfloat16 if fast_bfloat16() else torch.float32


def read_interest(folder: Path) -> Interest:
    """The model saved in `folder`; with LoRA the base model is read from the model store.

    Raises:
        ModelError: there is none, its files are damaged, or the base model is another one.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    record = read_record(folder)
    try:
        check_sums(folder)
        arrays = load_file(folder / WEIGHTS)
        net = InterestNet(record.shape, low=low_precision())
        if record.shape.lora:
            net.load_base(base_folder(record.base, record.base_fingerprint))
        prefix = "net."
        own = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        net.load_own(own)
        return Interest(net, record, {name: arrays[name].float() for name in _ARRAYS})
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise _damaged(folder, error) from error


def read_record(folder: Path) -> Record:
    """What the model saved in `folder` was made from.

    Raises:
        ModelError: there is none, or its file is damaged.
    """
    try:
        return Record.model_validate(read_json(folder / RECORD))
    except (OSError, ValidationError, ValueError) as error:
        raise _damaged(folder, error) from error


def _damaged(folder: Path, error: Exception) -> ModelError:
    reason = " ".join(str(error).split())[:200]
    return ModelError(
        f"A next-interest model was expected in {folder} and cannot be read ({reason}); train "
        "it again with `foretaste finetune interest`."
    )


def base_folder(name: str, fingerprint: str | None = None) -> Path:
    """The folder of a language model in the model store.

    Raises:
        ModelError: there is none, or its fingerprint is another one.
    """
    from foretaste.serving.store import model_folder

    folder = model_folder(name)
    if fingerprint is not None and base_fingerprint(folder) != fingerprint:
        raise ModelError(
            f"The next-interest model was trained on another version of {name}; train it again with "
            "`foretaste finetune interest`."
        )
    return folder


def base_fingerprint(folder: Path) -> str:
    """16 hex digits of sha256 over a language model's configuration and weights."""
    total = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                total.update(block)
    return total.hexdigest()[:16]


def pointer_of(split: str, fitted_on: str) -> str:
    """The pointer of models that learnt from these events; leave-one-out on train is served."""
    served = (split, fitted_on) == ("leave-one-out", "train")
    return CURRENT if served else f"{split}-{fitted_on.replace('+', '-')}"


def publish_interest(dataset: str, model: Interest) -> Path:
    """Save a model below home and let its pointer name it.

    Returns:
        The folder that it was written to.
    """
    record = model.record
    digest = hashlib.sha256(record.model_dump_json().encode())
    for value in model.net.own_state().values():
        digest.update(value.numpy().tobytes())
    pointer = pointer_of(record.split, record.fitted_on)
    return publish(KIND, dataset, digest.hexdigest()[:16], model.save, pointer)


def load_interest(
    dataset: Dataset, fitted: Histories | None = None, pointer: str = CURRENT
) -> Interest | None:
    """The model that was trained for this data set, or None when there is none that fits.

    Args:
        dataset: its catalogue must be the one it was trained on.
        fitted: a model that was trained on other events is left alone: an evaluation passes what
            its other methods were fitted on.
        pointer: of the events it learnt from, `pointer_of`.
    """
    folder = folder_of(dataset.name, pointer)
    if folder is None:
        return None
    record = read_record(folder)
    wanted = [(record.catalogue_fingerprint, dataset.info.catalogue_fingerprint)]
    if fitted is not None:
        wanted.append((record.histories, histories_fingerprint(fitted)))
    if any(one != other for one, other in wanted):
        return None
    if folder == shipped(dataset.name) and not _fetched(record.base):
        return None  # serving without a language model fetches none
    return read_interest(folder)


def _fetched(base: str) -> bool:
    """Whether a bundled language model is on this machine already."""
    from foretaste.serving.bundled import PREFIX, bundled, bundled_folder

    return not base.startswith(PREFIX) or bundled_folder(bundled(base)).exists()
