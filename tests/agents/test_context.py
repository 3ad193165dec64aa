"""Who is asking: histories, masks, and one sentence for what is not there."""

from __future__ import annotations

import pytest

from foretaste.agents.contexts.context import read
from foretaste.agents.contexts.surroundings import holding
from foretaste.agents.objects import Request
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.serving.index.filters import ItemFilter


def test_a_stored_history_is_read_oldest_first_and_masked(dataset: Dataset) -> None:
    reader = read(dataset, Request(user_id="ann"))
    assert [event.item_id for event in reader.context.events] == ["space-1", "space-3", "love-1"]
    assert reader.context.attributes == {"age": "24"}
    assert reader.rows.tolist() == [0, 2, 4]
    assert not reader.allowed[[0, 2, 4]].any()
    assert reader.allowed.sum() == 9


def test_consumed_items_come_back_only_when_asked_for(dataset: Dataset) -> None:
    assert read(dataset, Request(user_id="ann", include_consumed=True)).allowed.all()


def test_an_inline_history_needs_no_user(dataset: Dataset) -> None:
    reader = read(dataset, Request(history=("fear-1", "love-2")))
    assert reader.rows.tolist() == [8, 5]
    assert reader.context.user_id is None


def test_a_known_user_without_events_is_a_cold_start(dataset: Dataset) -> None:
    assert read(dataset, Request(user_id="new")).context.events == ()


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (Request(user_id="nobody"), "User 'nobody' is not in films"),
        (Request(history=("space-1", "lost")), "Item 'lost' is not in the catalogue"),
        (Request(user_id="ann", filters=ItemFilter(categories=("Opera",))), "passes the filters"),
        (Request(user_id="ann", filters=ItemFilter(allow=("space-1",))), "passes the filters"),
    ],
)
def test_what_is_not_there_is_one_sentence(
    dataset: Dataset, request_: Request, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        read(dataset, request_)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (ItemFilter(categories=("horror",)), {"fear-1", "fear-2", "fear-3"}),
        (ItemFilter(categories=("Drama", "Thriller")), {"love-3", "love-4", "fear-2", "fear-3"}),
        (ItemFilter(categories=("Horror",), deny=("fear-2",)), {"fear-1", "fear-3"}),
        (ItemFilter(price_min=1.0), set()),
    ],
)
def test_filters_by_hand(dataset: Dataset, filters: ItemFilter, expected: set[str]) -> None:
    mask = filters.mask(dataset.items)
    assert {item for item, passes in zip(dataset.item_ids, mask, strict=True) if passes} == expected


def test_surroundings_hold_only_in_their_time(dataset: Dataset) -> None:
    assert holding(dataset, now=1000.0) == ["A long winter"]
    assert holding(dataset, now=0.5) == ["A long winter", "Long past"]
