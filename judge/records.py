"""What a data set knows about a case: the person's history and profile, the facts of the items.

Profile first, then the judgement (arXiv 2508.08777): the profile is the one that the agents read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from foretaste.agents.contexts.context import user_context
from foretaste.agents.contexts.profile_store import Profiles
from foretaste.agents.explaining.facts import thing_of
from foretaste.agents.objects import Request
from foretaste.agents.wording.prompting import event_line
from foretaste.data.dataset import Dataset
from foretaste.judge.objects import Case, Known, Pair, Target

Some = TypeVar("Some", bound=Known)
_OF_ITEMS: tuple[Target, ...] = ("item", "list")  # whose answers are items and nothing else
FACTS = 20  # items of one case whose facts are told


class Records:
    """Looks cases up in a data set; nothing is kept of anybody.

    Args:
        dataset: the catalogue and its interactions.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._profiles = Profiles()

    def of_person(self, known: Some) -> Some:
        """The same with history and profile, where they are missing and can be told.

        The stored history of `user_id` comes first, then the items of `chosen`; a person whom the
        data set does not know is left as they are.
        """
        if known.user_id is not None and self.dataset.knows(known.user_id):
            request = Request(user_id=known.user_id, environment=())
        elif known.chosen and all(one in self.dataset.row_of for one in known.chosen):
            request = Request(history=known.chosen, environment=())
        else:
            return known
        context = user_context(self.dataset, request, profiles=self._profiles)
        history = known.history or tuple(event_line(event) for event in context.events)
        profile = known.profile or tuple(statement.text for statement in context.profile)
        return known.model_copy(update={"history": history, "profile": profile})

    def of_items(self, case: Case, target: Target) -> Case:
        """The same with the facts of its items: as the answer, where the items are the answer."""
        facts = self.facts(case.items)
        if not facts:
            return case
        if target in _OF_ITEMS and len(facts) == len(case.answer):
            return case.model_copy(update={"answer": facts})
        told = tuple(f"{fact}." for fact in facts[:FACTS])
        return case.model_copy(update={"context": (*case.context, *told)})

    def of_pair(self, pair: Pair, target: Target) -> Pair:
        """The same with the facts of the items, where items are the answers."""
        if target not in _OF_ITEMS:
            return pair
        first, second = self.facts(pair.first_items), self.facts(pair.second_items)
        return pair.model_copy(
            update={
                "first": first if len(first) == len(pair.first) else pair.first,
                "second": second if len(second) == len(pair.second) else pair.second,
            }
        )

    def facts(self, item_ids: Iterable[str]) -> tuple[str, ...]:
        """`title (categories, brand, …)` of every item that is in the catalogue."""
        rows = [self.dataset.row_of[one] for one in item_ids if one in self.dataset.row_of]
        things = [thing_of(self.dataset, row) for row in rows]
        return tuple(
            f"{thing.title} ({', '.join(thing.attributes)})" if thing.attributes else thing.title
            for thing in things
        )
