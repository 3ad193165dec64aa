"""Whom `foretaste bench agents` asks about, and the data set as it was before they chose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.config import AgentsConfig
from foretaste.agents.contexts.profile_store import Profiles
from foretaste.agents.contexts.surroundings import Surroundings
from foretaste.agents.retrieval.pulse import Pulse
from foretaste.agents.retrieval.tools import Tools, load_tools
from foretaste.data.dataset import Dataset
from foretaste.data.errors import InputError
from foretaste.data.splits import Cases, leave_one_out, until
from foretaste.data.store import load_dataset
from foretaste.serving.rules.recipes import Material
from foretaste.serving.rules.select import chosen
from foretaste.serving.rules.words import item_words

HISTORY = 20  # events that a user needs to be asked about, unless told otherwise
Which = Literal["test", "validation"]


@dataclass(frozen=True)
class Asked:
    """People, what each of them chose next, and everything that may be known before that.

    Attributes:
        tools: of the graph, without a model. Histories of the people end before the target;
            everybody else's, the rule, the pulse, towers and next interest know training events alone.
        users: user ids.
        targets: (users,) int32, the item row that each of them really chose next.
        enough: users of the data set with as many events as were wanted.
        rule: one sentence on the split.
    """

    tools: Tools
    users: list[str]
    targets: NDArray[np.int32]
    enough: int
    rule: str

    @property
    def repeats(self) -> int:
        """Targets that are in their own history, which no mode may recommend."""
        dataset = self.tools.dataset
        places = {user: place for place, user in enumerate(dataset.user_ids)}
        pairs = zip(self.users, self.targets, strict=True)
        return sum(int(row) in dataset.histories[places[user]] for user, row in pairs)

    def target_ids(self) -> list[str]:
        """Item ids of the targets."""
        ids = self.tools.dataset.item_ids
        return [ids[row] for row in self.targets]


def asked_about(
    name: str, which: Which, count: int, seed: int, config: AgentsConfig, least: int = HISTORY
) -> Asked:
    """Choose people, cut the data set before their targets and load the graph's tools.

    Args:
        name: of the data set.
        which: cases of the leave-one-out split.
        count: people.
        seed: of the choice of people.
        config: of the agents.
        least: events that a person has, at least, the target among them.

    Raises:
        InputError: too few people have enough events.
    """
    dataset = load_dataset(name)
    split = leave_one_out(dataset)
    cases, enough = some_cases(
        dataset, split.test if which == "test" else split.validation, count, seed, least
    )
    known = split.train.lengths.copy()  # (all users,) events that may be known
    learnt = until(dataset, known)
    known[cases.users] = cases.histories.lengths
    material = Material(split.train, item_words(dataset.items), None)
    choice = chosen(dataset, split, material)
    tools = load_tools(
        until(dataset, known),
        config,
        rule=choice.fit(choice.best, material),
        surroundings=Surroundings(),
        profiles=Profiles(),
        fitted=split.train,
    )
    tools = replace(tools, pulse=Pulse.of(learnt, config.trend_days))
    users = [dataset.user_ids[place] for place in cases.users]
    return Asked(tools, users, cases.targets, enough, split.rule)


def some_cases(
    dataset: Dataset, cases: Cases, count: int, seed: int, least: int = HISTORY
) -> tuple[Cases, int]:
    """Cases of `count` users with at least `least` events in all, and how many such users are.

    Raises:
        InputError: there are fewer.
    """
    enough = np.flatnonzero(dataset.histories.lengths[cases.users] >= least)
    if len(enough) < count:
        raise InputError(
            f"{dataset.name} has {len(enough)} users with {least} events or more and {count} "
            "were expected; ask for fewer with --users."
        )
    drawn = np.random.default_rng(seed).permutation(len(enough))[:count]
    return cases.take(enough[drawn]), len(enough)
