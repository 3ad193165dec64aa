"""What people do reaches the rule and the pulse at once; a refit beside them does the rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from foretaste.agents.retrieval.pulse import Pulse
from foretaste.data.dataset import Dataset
from foretaste.data.histories import Histories
from foretaste.serving.rules.base import FittedRule, Scorer
from foretaste.serving.rules.live import LiveRule

REFIT_AFTER = 1_000  # events learnt, after which the rule is fitted anew in the background
log = logging.getLogger("foretaste.agents")


class Learner:
    """Teaches the rule of one data set.

    The rule knows the items it was fitted on; events about later ones are left out of it, and of the
    order that it sees, until the catalogue is imported again.

    Args:
        rule: learns when it can be fitted again (`FittedRule`); another one stays as it is.
        pulse: of the data set, or None.
        base: as it was imported.
    """

    def __init__(self, rule: Scorer, pulse: Pulse | None, base: Dataset) -> None:
        known = isinstance(rule, FittedRule) and rule.material is not None
        self._live = LiveRule(rule, rule.material) if known else None  # type: ignore[arg-type,attr-defined]
        self.rule: Scorer = self._live or rule
        self._pulse, self._base = pulse, base
        self._must_refit = False
        self._refitting: asyncio.Task[None] | None = None

    def saw(self, event: Mapping[str, Any], own: Sequence[Mapping[str, Any]], row: int) -> None:
        """Take in one new interaction.

        Args:
            event: a row of the interactions table.
            own: all of the user's interactions as of now, oldest first, this one among them.
            row: of its item.
        """
        if self._pulse is not None:
            self._pulse.add([row], [int(event["timestamp"])])
        if self._live is None or row >= len(self._base.item_ids):
            return
        place = next(i for i in range(len(own) - 1, -1, -1) if own[i] == event)
        before = self._rows(reversed(own[:place]), self._live.window)[::-1]
        after = self._rows(own[place + 1 :], self._live.window)
        self._live.learn([*before, row, *after], len(before))

    def forgot(self) -> None:
        """Somebody's events are gone; the rule is fitted anew without them."""
        self._must_refit = True

    def keep_up(self, people: Dataset, changed: Collection[str]) -> None:
        """Begin a refit in the background when one is due; call it from the event loop.

        Args:
            people: the data set with everything that was learnt; it must not change any more.
            changed: users whose events are not those of the import.
        """
        if not self.due or self._live is None or not self._live.begin_refit():
            return
        self._must_refit = False
        self._refitting = asyncio.create_task(self._refit(people, changed))

    @property
    def due(self) -> bool:
        """Whether so much was learnt, or somebody forgotten, that a refit is worth it."""
        if self._live is None:
            return False
        return self._must_refit or self._live.learnt >= REFIT_AFTER

    async def settled(self) -> None:
        """Wait for the refit under way, if there is one."""
        if self._refitting is not None:
            await self._refitting

    async def _refit(self, people: Dataset, changed: Collection[str]) -> None:
        live = self._live
        if live is None:
            return
        try:
            await asyncio.to_thread(live.refit, lambda: self._histories(people, changed))
        except Exception:
            log.exception("the rule could not be fitted anew; the one before goes on serving")

    def _histories(self, people: Dataset, changed: Collection[str]) -> Histories:
        """Every user's rows of known items; those of the import where nothing changed."""
        base, lists = self._base, []
        for number, user_id in enumerate(base.user_ids):
            if user_id not in changed:
                lists.append(base.histories[number])
        for user_id in changed:
            lists.append(np.asarray(self._rows(people.events_of(user_id)), dtype=np.int32))
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
        rows = np.concatenate(lists) if lists else np.zeros(0, dtype=np.int32)
        return Histories(rows.astype(np.int32), offsets)

    def _rows(self, events: Any, most: int | None = None) -> list[int]:
        """Item rows of these events that the rule knows, at most so many from the beginning."""
        found: list[int] = []
        for event in events:
            if most is not None and len(found) >= most:
                break
            row = self._base.row_of.get(event["item_id"])
            if row is not None:
                found.append(row)
        return found
