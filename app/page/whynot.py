"""Why an item is not on a page: where on its way it fell out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foretaste.agents.objects import Candidate, Request
from foretaste.data.dataset import Dataset


def why_not(
    dataset: Dataset,
    request: Request,
    result: Mapping[str, Any],
    candidates: list[Candidate],
    item_id: str,
) -> str:
    """One or two sentences about one item.

    Args:
        dataset: the catalogue.
        request: what was asked for.
        result: of `agents.recommend.result`.
        candidates: what all channels found in that run.
        item_id: the item that is missed.
    """
    row = dataset.row_of.get(item_id)
    if row is None:
        return f"There is no item {item_id} in the catalogue."
    title = dataset.titles[row]
    page = [one["item_id"] for one in result["recommendations"]]
    if item_id in page:
        return f"{title} is on the page, at place {page.index(item_id) + 1}."
    if not request.include_consumed and any(e["item_id"] == item_id for e in result["history"]):
        return f"{title} is in the history, and items of the history are not recommended again."
    if row in dataset.withdrawn:
        return f"{title} was taken out of the catalogue."
    if not request.filters.mask(dataset.items)[row]:
        return f"{title} does not pass the filters."
    found = next((one for one in candidates if one.item_id == item_id), None)
    if found is None:
        return (
            f"No channel found {title}: it is not among the best of the rule, and none of the kept "
            f"tags leads to it."
        )
    ranks = ", ".join(f"{name} at place {rank}" for name, rank in found.ranks.items())
    return f"{title} was found ({ranks}). {_stood_aside(result, item_id)}"


def _stood_aside(result: Mapping[str, Any], item_id: str) -> str:
    for place, one in enumerate(result["recommendations"], 1):
        for passed in (one["placement"] or {}).get("passed_over", ()):
            if passed["item_id"] == item_id:
                return f"At place {place} it had to stand aside: {passed['reason']}."
    return "The items of the page are more relevant, all channels taken together."
