"""One persona of a person at one time, and what they chose next that fits it: what rewards are made of.

Only events of the training part of the leave-one-out split are read, so neither validation nor test is
in what is learnt. Personas and the day are told as in the rows of `finetune examples`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from foretaste.agents.contexts.context import Reader
from foretaste.agents.contexts.seasons import day_text
from foretaste.agents.objects import Persona
from foretaste.agents.offline import Grounded
from foretaste.agents.retrieval.tools import Tools
from foretaste.data.errors import InputError
from foretaste.data.splits import leave_one_out
from foretaste.finetune.examples import hindsight

_LEAST = 3  # events that must be known before the future begins
_FIRST_DAY = dt.date(2020, 1, 1)
_DAYS = 365 * 5


@dataclass(frozen=True)
class Side:
    """One persona of one person at one time.

    Attributes:
        owner: the person's id.
        reader: what was known then.
        persona: the side of their taste that the future confirms most.
        future: rows of the items chosen next that fit it, soonest first.
        next_rows: rows of all items chosen next, soonest first.
    """

    owner: str
    reader: Reader
    persona: Persona
    future: tuple[int, ...]
    next_rows: tuple[int, ...]


def moments(tools: Tools, future: int, seed: int) -> Iterator[Side]:
    """One side a person, in a seeded order.

    Args:
        tools: of the agents, without a model.
        future: newest training events of a person that are the future then.
        seed: of the order and the days.

    Raises:
        InputError: nobody has enough training events.
    """
    histories = leave_one_out(tools.dataset).train
    asked = np.flatnonzero(histories.lengths >= future + _LEAST)
    if not len(asked):
        raise InputError(
            f"Nobody in {tools.dataset.name} has {future + _LEAST} training events, the last {future} "
            "of which would confirm tags; make `future` smaller or import more interactions."
        )
    grounded, draw = Grounded(tools, keep=False), np.random.default_rng(seed)
    for user in draw.permutation(asked).tolist():
        day = _FIRST_DAY + dt.timedelta(days=int(draw.integers(_DAYS)))
        rows, owner = histories[user], tools.dataset.user_ids[user]
        bare = grounded.reader(rows[:-future])
        context = bare.context.model_copy(update={"environment": (day_text(day),)})
        reader = Reader(context, bare.rows, bare.allowed)
        known = set(bare.rows.tolist())
        fresh = tuple(dict.fromkeys(row for row in rows[-future:].tolist() if row not in known))
        personas = hindsight.sides(hindsight.Moment(owner, tools, reader, fresh, frozenset()))
        owners = hindsight.confirmed(tools, personas, fresh)
        if owners:
            best = int(np.bincount(owners).argmax())
            fitting = tuple(row for row, own in zip(fresh, owners, strict=True) if own == best)
            yield Side(owner, reader, personas[best], fitting, fresh)
