"""Trained towers as they are served: a scorer, and vectors of users, items and tags.

`<home>/towers/<dataset>/current.json` names the towers that are served, `evaluated.json` those that learnt
from training events alone: evaluations take no others. A saved set of towers is `towers.safetensors`
(weights and the finished item vectors) beside `towers.json` (what it was made from and how well it did);
it is refused beside another catalogue or embedder.
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
from foretaste.serving.published import CURRENT, publish, published
from foretaste.serving.rules.base import Scorer, Scores
from foretaste.serving.rules.scorers import Blend
from foretaste.serving.rules.words import words
from foretaste.serving.towers_net import Shape, TowersNet

KIND = "towers"  # the folder below home
EVALUATED = "evaluated"  # the pointer to what evaluations take
WEIGHTS, RECORD = "towers.safetensors", "towers.json"
WORD = "word: "  # how a fact begins that is a word of the title
FACTS_EACH = 24  # facts of an item that are read
_ROWS = 4096  # items turned into vectors at once
_DATED = "known_at"  # an attribute that says when, not what


class Record(BaseModel, frozen=True):
    """What towers were made from, and how well they did.

    Attributes:
        dataset, fingerprint, catalogue_fingerprint: of the data.
        split, fitted_on: the events that were learnt from.
        histories: sha256 of those events, 16 hex digits.
        embedder, embedder_fingerprint: of the sentence vectors.
        shape: of the network.
        facts: the facts that have a learned vector, in their order.
        beta: weight of the user's vectors against the tags' when both are served.
        rule, weight: the untrained rule and the weight of the towers beside it (both z-scored).
        validation: name of the scorer → NDCG@10 on validation cases, history dropped.
    """

    dataset: str
    fingerprint: str
    catalogue_fingerprint: str
    split: str
    fitted_on: str
    histories: str
    embedder: str
    embedder_fingerprint: str
    shape: Shape
    facts: list[str]
    beta: float = 0.5
    rule: str = ""
    weight: float = 0.0
    validation: dict[str, float] = {}


class Towers:
    """User, item and tag tower, ready to score. Safe to use from threads.

    Args:
        net: the network, its weights set.
        record: of the towers.
        catalogue: item and behaviour vectors (items, dim), and log(1 + events) (items,).
    """

    name = "towers"

    def __init__(self, net: TowersNet, record: Record, catalogue: dict[str, Any]) -> None:
        self.net, self.record = net.eval(), record
        self._items, self._seen = catalogue["items"], catalogue["seen"]
        self._popular = catalogue["popular"]

    @property
    def item_vectors(self) -> Scores:
        """(items, dim) float32 of length 1, in row order."""
        return np.asarray(self._items.numpy(), dtype=np.float32)

    def user_vectors(self, histories: Histories) -> Scores:
        """(n, codes, dim) float32 of length 1; zeros for an empty history."""
        return np.asarray(self._users(histories).numpy(), dtype=np.float32)

    def tag_vectors(self, vectors: Scores) -> Scores:
        """(n, dim) float32 of length 1, from the sentence vectors of tags (n, text)."""
        with torch.inference_mode():
            return np.asarray(self.net.tags(torch.as_tensor(vectors)).numpy(), dtype=np.float32)

    def scores(self, histories: Histories) -> Scores:
        """y_col of every item: (n, items) float32; an empty history gets what is popular."""
        with torch.inference_mode():
            users = self._users(histories)
            return np.asarray(self.net.scores(users, self._items, self._popular).numpy())

    def tag_scores(self, tags: Scores) -> Scores:
        """y_sem of every item: (items,) float32, the best of the tags for each item.

        Args:
            tags: (n, text) sentence vectors of the tags; zeros come back without any.
        """
        if not len(tags):
            return np.zeros(len(self._items), dtype=np.float32)
        with torch.inference_mode():
            said = self.net.tags(torch.as_tensor(tags))[None]  # (1, n, dim)
            return np.asarray(self.net.scores(said, self._items, self._popular)[0].numpy())

    def mixed(self, history: NDArray[np.int32], tags: Scores, beta: float | None = None) -> Scores:
        """β y_col + (1 − β) y_sem of every item for one person: (items,) float32.

        Args:
            history: item rows, oldest first.
            tags: (n, text) sentence vectors of the tags; without any, y_col alone.
            beta: in place of the one that was chosen.
        """
        own: Scores = self.scores(Histories.from_lists([history.tolist()]))[0]
        if not len(tags):
            return own
        share = np.float32(self.record.beta if beta is None else beta)
        return np.asarray(share * own + (1 - share) * self.tag_scores(tags), dtype=np.float32)

    def new_vectors(self, items: pl.DataFrame, text: Scores) -> Scores:
        """(n, dim) vectors of items that training did not see, from text and known facts alone.

        Args:
            items: rows of an items table.
            text: (n, text) their sentence vectors.
        """
        return unseen_vectors(self.net, self.record.facts, items, text)

    def _users(self, histories: Histories) -> Any:
        cut = histories.newest(self.record.shape.newest)
        lengths = cut.lengths
        rows = np.zeros((len(cut), max(1, int(lengths.max(initial=0)))), dtype=np.int64)
        rows[cut.owners, np.arange(len(cut.rows)) - cut.offsets[cut.owners]] = cut.rows
        last = torch.as_tensor(np.maximum(lengths - 1, 0))[:, None]  # (n, 1)
        with torch.inference_mode():
            users = self.net.users(self._seen[torch.as_tensor(rows)], last)[:, 0]
            return users * torch.as_tensor(lengths > 0)[:, None, None]

    def with_record(self, record: Record) -> Towers:
        """The same towers with another record."""
        catalogue = {"items": self._items, "seen": self._seen, "popular": self._popular}
        return Towers(self.net, record, catalogue)

    def beside(self, rule: Scorer) -> Scorer:
        """`towers_mix`: a rule plus the towers by the weight that validation chose, both z-scored."""
        return Blend("towers_mix", (rule, self), (1.0, self.record.weight))

    def save(self, folder: Path) -> None:
        """Write the towers into a new folder."""
        from safetensors.torch import save_file

        with new_folder(folder) as part:
            arrays = {f"net.{name}": value for name, value in self.net.state_dict().items()}
            arrays |= {"items": self._items, "seen": self._seen, "popular": self._popular}
            save_file({name: value.contiguous() for name, value in arrays.items()}, part / WEIGHTS)
            write_json(part / RECORD, self.record.model_dump())
            write_sums(part)


def catalogue_arrays(
    net: TowersNet, text: Scores, facts: NDArray[np.int64], counts: NDArray[np.int64]
) -> dict[str, Any]:
    """What `Towers` needs of every item, made 4,096 items at a time.

    Args:
        net: the network.
        text: (items, text) sentence vectors, possibly memory-mapped.
        facts: (items, f) numbers of facts.
        counts: (items,) training events; an item without any goes by text and facts alone.
    """
    items, seen = [], []
    numbers = np.where(counts > 0, np.arange(1, len(counts) + 1), 0)
    net.eval()
    with torch.inference_mode():
        for start in range(0, len(counts), _ROWS):
            part = slice(start, start + _ROWS)
            given = [torch.as_tensor(np.array(one[part])) for one in (text, facts, numbers)]
            items.append(net.items(*given))
            seen.append(net.seen(*given))
    popular = torch.log1p(torch.as_tensor(counts, dtype=torch.float32))
    return {"items": torch.cat(items), "seen": torch.cat(seen), "popular": popular}


def unseen_vectors(
    net: TowersNet, facts: Sequence[str], items: pl.DataFrame, text: Scores
) -> Scores:
    """(n, dim) vectors of items without a learned id part.

    Args:
        net: with the item tower.
        facts: those that training knew, in their order.
        items: rows of an items table.
        text: (n, text) their sentence vectors.
    """
    known = {fact: place for place, fact in enumerate(facts, 1)}
    table = fact_table(item_facts(items), known)
    with torch.inference_mode():
        unknown = torch.zeros(len(table), dtype=torch.int64)
        made = net.items(torch.as_tensor(text), torch.as_tensor(table), unknown)
        return np.asarray(made.numpy(), dtype=np.float32)


def item_facts(items: pl.DataFrame) -> list[list[str]]:
    """Facts of each item: categories, `name: value` of attributes, `word: w` of the title's words."""
    found = []
    columns = items.select("categories", "attributes", "title")
    for categories, attributes, title in columns.iter_rows():
        said = [f"{one['name']}: {one['value']}" for one in attributes or ()]
        said = [fact for fact in said if not fact.startswith(f"{_DATED}: ")]
        titled = [f"{WORD}{word}" for word in words(title or "")]
        found.append([*dict.fromkeys([*(categories or ()), *said, *titled])])
    return found


def fact_table(lists: Sequence[Sequence[str]], known: dict[str, int]) -> NDArray[np.int64]:
    """(items, f) numbers of each item's known facts from 1 on, padded with 0.

    >>> fact_table([["Lips", "brand: OPI"], ["?"]], {"Lips": 1, "brand: OPI": 2}).tolist()
    [[1, 2], [0, 0]]
    """
    numbers = [[known[fact] for fact in own if fact in known][:FACTS_EACH] for own in lists]
    table = np.zeros((len(numbers), max([1, *map(len, numbers)])), dtype=np.int64)
    for line, own in zip(table, numbers, strict=True):
        line[: len(own)] = own
    return table


def histories_fingerprint(histories: Histories) -> str:
    """16 hex digits of sha256 over events and whose they are."""
    total = hashlib.sha256(np.ascontiguousarray(histories.rows).tobytes())
    total.update(np.ascontiguousarray(histories.offsets).tobytes())
    return total.hexdigest()[:16]


def read_towers(folder: Path) -> Towers:
    """The towers saved in `folder`.

    Raises:
        ModelError: there are none, or their files are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        check_sums(folder)
        record = Record.model_validate(read_json(folder / RECORD))
        arrays = load_file(folder / WEIGHTS)
        net = TowersNet(record.shape)
        prefix = "net."
        net.load_state_dict(
            {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        )
        return Towers(net, record, {name: arrays[name] for name in ("items", "seen", "popular")})
    except (OSError, SafetensorError, ValidationError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"Towers were expected in {folder} and cannot be read ({reason}); train them again "
            "with `foretaste finetune towers`."
        ) from error


def publish_towers(dataset: str, towers: Towers, pointer: str = CURRENT) -> Path:
    """Save towers below home and make them the ones that a data set's pointer names.

    Args:
        dataset: its name.
        towers: what is saved.
        pointer: `CURRENT` is served, `EVALUATED` is what evaluations take.

    Returns:
        The folder that they were written to.
    """
    digest = hashlib.sha256(towers.record.model_dump_json().encode())
    for value in towers.net.state_dict().values():
        digest.update(value.numpy().tobytes())
    return publish(KIND, dataset, digest.hexdigest()[:16], towers.save, pointer)


def load_towers(
    dataset: Dataset, embedder_fingerprint: str | None = None, fitted: Histories | None = None
) -> Towers | None:
    """The towers of this data set that are served, or that were evaluated; None when none fit.

    Args:
        dataset: its catalogue must be the one they were trained on.
        embedder_fingerprint: of the embedder that will encode tags, when any will be.
        fitted: an evaluation passes what its other methods were fitted on, and is given towers that
            were trained on these very events.
    """
    pointer = CURRENT if fitted is None else EVALUATED
    folder = published(KIND, dataset.name, pointer) or published(KIND, dataset.name)
    if folder is None:
        return None
    towers = read_towers(folder)
    record = towers.record
    wanted = [(record.catalogue_fingerprint, dataset.info.catalogue_fingerprint)]
    if embedder_fingerprint is not None:
        wanted.append((record.embedder_fingerprint, embedder_fingerprint))
    if fitted is not None:
        wanted.append((record.histories, histories_fingerprint(fitted)))
    return towers if all(one == other for one, other in wanted) else None
