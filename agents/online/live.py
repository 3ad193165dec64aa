"""A data set while it is served: items and people change, and the next request knows.

The imported tables stay as they are. What came later is written to the ledger first, then shown:
items through a new `Tools` that replaces the old one whole (a run under way keeps the one it
started with), interactions through a table in memory that the data set asks beside its own. When
the process starts again the ledger is read back.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foretaste.agents.online.learning import Learner
from foretaste.agents.online.live_dataset import LiveDataset, People, user_hash
from foretaste.agents.online.newcomers import Newcomers
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.running import checkpoints
from foretaste.data.changes import Interaction, Item, items_frame
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.ledger import EVENT_COLUMNS, Changes
from foretaste.data.text import item_texts
from foretaste.serving.index.growing import GrowingRows
from foretaste.serving.index.live import LiveIndex
from foretaste.serving.recent_vectors import RecentVectors

VECTORS = 8_192  # of tags and personas, kept in memory: 12 MB at 384 numbers each


class Live:
    """One served data set.

    Args:
        tools: as loaded for the imported tables.
        ledger: where changes are kept; what it holds is taken in here.
        vectors: texts of requests whose vectors are kept, in memory only.

    Raises:
        ForetasteError: the ledger cannot be read.
    """

    def __init__(self, tools: Tools, ledger: Changes, vectors: int = VECTORS) -> None:
        known = tools.index
        if isinstance(known, LiveIndex):
            raise InputError("The index of the imported catalogue was expected, not a live one.")
        self.ledger, self.people = ledger, People()
        self._vectors = GrowingRows(tools.vectors)
        self._imported = tools = replace(tools, vectors=self._vectors.all)
        self._known, index = known, LiveIndex(known, item_texts(tools.dataset.items), None)
        dataset = LiveDataset.over(tools.dataset, self.people)
        self._dataset, self.index = dataset, index
        self.learner = Learner(tools.rule, tools.pulse, tools.dataset)
        self._rule = Newcomers.of(self.learner.rule, len(tools.dataset.items))
        read = RecentVectors(tools.embedder, vectors)
        self._tools = replace(tools, dataset=dataset, index=index, rule=self._rule, embedder=read)
        self._changing = asyncio.Lock()
        self._replay_items()
        self._replay_people()

    @property
    def tools(self) -> Tools:
        """The parts of a run that begins now."""
        return self._tools

    async def upsert_items(self, items: Sequence[Item]) -> int:
        """Add items or change known ones; kept and visible to the next run on return.

        Returns:
            How many of them are new.

        Raises:
            ForetasteError: the disk would not take them; nothing changed.
        """
        latest = list({item.item_id: item for item in items}.values())
        rows = [[*self._stamp(), item.item_id, item.model_dump_json()] for item in latest]
        async with self._changing:
            frame = items_frame(latest)
            texts = item_texts(frame)
            vectors = await asyncio.to_thread(self._imported.embedder.encode, texts)  # (n, d)
            await asyncio.wrap_future(self.ledger.write((_ADD_ITEM, rows)))
            before = len(self._dataset.items)
            await asyncio.to_thread(self._put, frame, texts, vectors)
            self._arrived(range(before, len(self._dataset.items)), time.time())
        return len(self._dataset.items) - before

    async def delete_items(self, item_ids: Sequence[str]) -> None:
        """Recommend these items no more; histories that hold them stay readable.

        Raises:
            InputError: one of them is not in the catalogue; nothing changed.
        """
        async with self._changing:
            dataset = self._dataset
            rows = dataset.rows(list(item_ids))
            missing = set(rows) & set(dataset.gone.tolist())
            if missing:
                raise InputError(
                    f"Item {dataset.item_ids[missing.pop()]!r} was deleted before; "
                    "leave it out and send the others again."
                )
            kept = [[*self._stamp(), item_id, None] for item_id in item_ids]
            await asyncio.wrap_future(self.ledger.write((_ADD_ITEM, kept)))
            await asyncio.to_thread(self._withdraw, rows)

    async def add_interactions(self, events: Sequence[Interaction]) -> int:
        """Append what people did; kept and known to the next run on return.

        Returns:
            How many were new: an `event_id` that came before is passed over.

        Raises:
            InputError: an item is not in the catalogue; nothing was kept.
        """
        self._dataset.rows([event.item_id for event in events if event.item_id is not None])
        now = time.time()
        writes = [
            self.ledger.write((_ADD_EVENT, [[now, *_event_values(event)]])) for event in events
        ]
        changed = await asyncio.gather(*(asyncio.wrap_future(write) for write in writes))
        fresh = [event for event, new in zip(events, changed, strict=True) if new]
        self._learn([_event_row(event) for event in fresh])
        self._keep_up()
        return len(fresh)

    async def about(self, user_id: str) -> dict[str, Any]:
        """Everything that is kept about a user, by kind: for them to read, or before it goes.

        Keys: attributes, profile, interactions, feedback, answers (pages that they were shown).
        """
        said, shown = await asyncio.gather(
            asyncio.to_thread(self.ledger.read, _FEEDBACK_OF, [user_id]),
            asyncio.to_thread(self.ledger.read, _SHOWN_TO, [user_id]),
        )
        names = ("request_id", "item_id", "at", "thumb", "reason")
        return {
            "attributes": self._dataset.attributes_of(user_id) or {},
            "profile": self._profile_of(user_id),
            "interactions": [
                {name: row[name] for name in EVENT_COLUMNS[1:]}
                for row in self._dataset.events_of(user_id)
            ],
            "feedback": [dict(zip(names, row, strict=True)) for row in said],
            "answers": [
                {"request_id": request_id, "at": at, "page": json.loads(page)}
                for request_id, at, page in shown
            ],
        }

    async def forget(self, user_id: str) -> None:
        """Delete all that was kept about a user since the import, and hide what came with it."""
        await asyncio.wrap_future(self.ledger.write(*forgetting(user_id), erases=True))
        self.people.forget(user_id)
        self.learner.forgot()
        self._keep_up()
        if self._tools.profiles is not None:
            await asyncio.to_thread(self._tools.profiles.forget, user_id)
        await checkpoints.forget(self._dataset.name, user_id)

    async def follow(self) -> None:
        """Take in what other servers of this data set changed since the last look.

        Raises:
            ForetasteError: the database that they share does not answer.
        """
        missed = await asyncio.to_thread(self.ledger.missed)
        if missed.items:
            last = {item_id: item for _, item_id, item in missed.items}
            imported = self._imported.dataset.row_of
            came = {item_id: at for at, item_id, _ in missed.items if item_id not in imported}
            async with self._changing:
                await asyncio.to_thread(self._take_in, last, came)
        if missed.forgotten:
            self.people.forget_hashed({one for (one,) in missed.forgotten})
            self.learner.forgot()
        self._learn(self._news(missed.interactions, self._dataset))
        if missed.forgotten or missed.interactions:
            self._keep_up()

    def _profile_of(self, user_id: str) -> list[dict[str, Any]]:
        """What is kept of a user's profile."""
        profiles, dataset = self._tools.profiles, self._dataset
        if profiles is None:
            return []
        said = profiles.said(dataset, profiles.kept(dataset, user_id))
        return [statement.model_dump() for statement in said]

    def _stamp(self) -> tuple[float, str]:
        """When, and over which import of the catalogue, a change was made."""
        return time.time(), self._imported.dataset.info.catalogue_fingerprint

    def _put(self, frame: pl.DataFrame, texts: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Put tools in place in which these items are new or changed."""
        ids, tools = frame["item_id"].to_list(), self._tools
        dataset = self._dataset.with_items(frame)
        rows = [dataset.row_of[one] for one in ids]
        self.index.upsert(ids, texts, vectors)
        self._rule = self._rule.grown(rows, vectors, self._known)
        self._dataset = dataset
        self._tools = replace(
            tools,
            dataset=dataset,
            vectors=self._vectors.put(rows, vectors),
            lexicon=tools.lexicon.with_items(rows, frame),
            rule=self._rule,
        )

    def _arrived(self, rows: Sequence[int], at: float) -> None:
        """Items that were not imported came at this time (seconds)."""
        if self._tools.pulse is not None:
            self._tools.pulse.arrived(rows, int(at))

    def _withdraw(self, rows: Sequence[int]) -> None:
        """Put tools in place that do not recommend these rows."""
        self._dataset = self._dataset.without(rows)
        self._tools = replace(self._tools, dataset=self._dataset)

    def _replay_items(self) -> None:
        """Take in the last word about each item.

        A newer import of the catalogue has its own say about the items it holds.
        """
        base = self._imported.dataset
        last: dict[str, str | None] = {}
        came: dict[str, float] = {}
        for at, catalogue, item_id, item in self.ledger.read(
            "SELECT at, catalogue, item_id, item FROM items ORDER BY at, item_id"
        ):
            if catalogue == base.info.catalogue_fingerprint or item_id not in base.row_of:
                last[item_id] = item
            if item_id not in base.row_of:
                came.setdefault(item_id, at)
        self._take_in(last, came)

    def _take_in(self, last: dict[str, str | None], came: dict[str, float]) -> None:
        """The last word about items, as JSON or None for those that were deleted; and when those that
        were not imported came."""
        kept = [Item.model_validate(json.loads(item)) for item in last.values() if item]
        if kept:
            frame = items_frame(kept)
            texts = item_texts(frame)
            self._put(frame, texts, self._imported.embedder.encode(texts))
        row_of = self._dataset.row_of
        for item_id, at in came.items():
            self._arrived([row_of[item_id]] if item_id in row_of else [], at)
        gone = [item_id for item_id, item in last.items() if item is None]
        self._withdraw([self._dataset.row_of[one] for one in gone if one in self._dataset.row_of])

    def _replay_people(self) -> None:
        """Take in live events, but those that a newer import brought and those about no item."""
        base = self._imported.dataset
        self.people.forgotten.update(
            one for (one,) in self.ledger.read("SELECT user_hash FROM forgotten")
        )
        sql = f"SELECT {', '.join(EVENT_COLUMNS)} FROM interactions ORDER BY seq"  # noqa: S608
        self._learn(self._news(self.ledger.read(sql), base))

    def _news(self, events: Sequence[tuple[Any, ...]], known: Dataset) -> list[dict[str, Any]]:
        """Events about items of the catalogue, as rows, but for those that a data set holds."""
        held: dict[str, set[tuple[Any, ...]]] = {}
        rows = []
        for values in events:
            row = dict(zip(EVENT_COLUMNS, values, strict=True))
            user_id = row["user_id"]
            if user_id not in held:
                held[user_id] = {_key(one) for one in known.events_of(user_id)}
            about = row["item_id"] is None or row["item_id"] in self._dataset.row_of
            if about and _key(row) not in held[user_id]:
                rows.append(row)
        return rows

    def _learn(self, rows: Sequence[dict[str, Any]]) -> None:
        """Show these interactions, and teach them to the rule one after the other."""
        for row in rows:
            self.people.add([row])
            if row["item_id"] is not None:
                own = self._dataset.events_of(row["user_id"])
                self.learner.saw(row, own, self._dataset.row_of[row["item_id"]])

    def _keep_up(self) -> None:
        """Fit the rule anew in the background when that is due, on the people of this moment."""
        if self.learner.due:
            base, people = self._imported.dataset, self.people
            changed = {*people.events, *(one for one in base.user_ids if people.forgot(one))}
            self.learner.keep_up(LiveDataset.over(base, people.copy()), changed)


def forgetting(user_id: str) -> list[tuple[str, list[list[Any]]]]:
    """What a ledger is told to delete all about a user and to remember that they were deleted."""
    hidden = (
        "INSERT INTO forgotten (user_hash, at) VALUES (?, ?) "
        "ON CONFLICT (user_hash) DO UPDATE SET at = excluded.at"
    )
    return [
        (hidden, [[user_hash(user_id), time.time()]]),
        *((sql, [[user_id]]) for sql in _FORGET),
    ]


_FEEDBACK_OF = (
    "SELECT request_id, item_id, at, thumb, reason FROM feedback WHERE user_id = ? ORDER BY at"
)
_SHOWN_TO = "SELECT request_id, at, page FROM exposures WHERE user_id = ? ORDER BY at"
_FORGET = (
    "DELETE FROM interactions WHERE user_id = ?",
    "DELETE FROM feedback WHERE user_id = ?",
    "DELETE FROM exposures WHERE user_id = ?",
)
_ADD_ITEM = (
    "INSERT INTO items (at, catalogue, item_id, item) VALUES (?, ?, ?, ?) ON CONFLICT (item_id) "
    "DO UPDATE SET at = excluded.at, catalogue = excluded.catalogue, item = excluded.item"
)
_ADD_EVENT = (
    "INSERT INTO interactions (at, event_id, user_id, item_id, timestamp, event, value, query) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)


def _event_values(event: Interaction) -> list[Any]:
    return [event.event_id, *_event_row(event).values()]


def _event_row(event: Interaction) -> dict[str, Any]:
    return {name: getattr(event, name) for name in EVENT_COLUMNS}


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["item_id"], row["timestamp"], row["event"]
