"""Which of a person's events may show a taste: all but what they rated low."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.contexts.context import Reader
from foretaste.agents.objects import HistoryEvent, Search
from foretaste.data.dataset import Dataset


def shows_taste(dataset: Dataset, events: Sequence[HistoryEvent]) -> NDArray[np.int64]:
    """Places of the events that a persona may rest on; of all when everything was rated low.

    A rating in the lowest third of those that the data set has says what somebody does not want:
    1 and 2 of 5.
    """
    low = np.array(
        [
            event.event == "rating" and event.value is not None and event.value < dataset.low_rating
            for event in events
        ],
        dtype=bool,
    )  # (events,)
    return np.flatnonzero(~low | low.all())


def tastes_of(dataset: Dataset, reader: Reader) -> Reader:
    """The reader with these events alone; what may be shown to them stays the same."""
    events = reader.context.events
    places = shows_taste(dataset, events)
    if len(places) == len(events) or len(events) != len(reader.rows):  # rows alone have no ratings
        return reader
    searches = tuple(
        Search(query=one.query, after=int((places < one.after).sum()), timestamp=one.timestamp)
        for one in reader.context.searches
    )
    kept = {"events": tuple(events[place] for place in places), "searches": searches}
    context = reader.context.model_copy(update=kept)
    return Reader(context, reader.rows[places], reader.allowed, reader.found)
