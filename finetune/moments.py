"""Moments of training histories: a persona as it was seen then, and what the person chose next.

Only events of the training part of the leave-one-out split are read, so neither validation nor test is
in what is learnt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.contexts.context import Reader
from foretaste.agents.objects import Persona
from foretaste.agents.offline import Grounded
from foretaste.agents.reasoning.planner import clustered
from foretaste.agents.retrieval.tools import Tools
from foretaste.data.errors import InputError
from foretaste.data.splits import leave_one_out

_LEAST = 3  # events that must be known before the future begins


@dataclass(frozen=True)
class Moment:
    """One persona of one person at one time.

    Attributes:
        owner: the person's id.
        reader: what was known then.
        persona: one side of their taste, found without a model.
        future: rows of the items chosen next that fit this persona best, newest first.
        next_rows: rows of all items chosen next, newest first.
    """

    owner: str
    reader: Reader
    persona: Persona
    future: tuple[int, ...]
    next_rows: tuple[int, ...]


def moments(tools: Tools, future: int, seed: int) -> Iterator[Moment]:
    """One moment a person, in a seeded order; of the personas that the future confirms, the one
    with most of it.

    Args:
        tools: of the agents, without a model.
        future: newest training events of a person that are the future then.
        seed: of the order.

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
    grounded = Grounded(tools, keep=False)
    for user in np.random.default_rng(seed).permutation(asked):
        rows = histories[int(user)]
        reader = grounded.reader(rows[:-future])
        known = set(reader.rows.tolist())
        fresh = dict.fromkeys(int(row) for row in rows[-future:][::-1] if int(row) not in known)
        personas = clustered(tools, reader)
        if not fresh or not personas:
            continue
        owners = _nearest(tools, personas, list(fresh))
        best = int(np.bincount(owners, minlength=len(personas)).argmax())
        fitting = tuple(row for row, owner in zip(fresh, owners, strict=True) if owner == best)
        owner = tools.dataset.user_ids[int(user)]
        yield Moment(owner, reader, personas[best], fitting, tuple(fresh))


def _nearest(tools: Tools, personas: list[Persona], rows: list[int]) -> NDArray[np.int64]:
    """(rows,) number of the persona whose evidence is most like each item, by mean cosine."""
    evidence = [tools.dataset.rows(list(persona.evidence)) for persona in personas]
    likeness = [
        (tools.vectors[rows] @ tools.vectors[own].T).mean(axis=1) for own in evidence
    ]  # personas × (rows,)
    return np.asarray(np.stack(likeness).argmax(axis=0), dtype=np.int64)
