"""Whom `evaluate intent` asks about, and the agents' tools as they were before those people chose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.config import AgentsConfig
from foretaste.agents.contexts.profile_store import Profiles
from foretaste.agents.retrieval.tools import Tools, load_tools
from foretaste.data.errors import InputError
from foretaste.data.histories import Histories
from foretaste.data.splits import Cases, leave_one_out, until
from foretaste.data.store import load_dataset
from foretaste.judge.intent.leaves import leaves
from foretaste.serving.embedder import DEFAULT_EMBEDDER
from foretaste.serving.rules.recipes import Material
from foretaste.serving.rules.select import chosen
from foretaste.serving.rules.words import item_words

Which = Literal["test", "validation"]


@dataclass(frozen=True)
class Asked:
    """People, the leaf category of what each chose next, and what may be known before that.

    Attributes:
        tools: of the agents, without a model; histories of the people end before the target, the
            rule was fitted on training events.
        users: ids.
        cases: of these people.
        names: leaf categories of the catalogue.
        leaf: (items,) place of each item's own among them, -1 for none.
        targets: (users,) leaf category of the item chosen next.
        train: training histories of everybody, which popularity is counted from.
        rule: one sentence on the split.
    """

    tools: Tools
    users: list[str]
    cases: Cases
    names: list[str]
    leaf: NDArray[np.int64]
    targets: NDArray[np.int64]
    train: Histories
    rule: str


def asked_about(
    name: str,
    count: int,
    seed: int,
    config: AgentsConfig,
    which: Which = "test",
    embedder: str = DEFAULT_EMBEDDER,
    least: int = 0,
) -> Asked:
    """Choose people whose next item has a leaf category, and cut the data set before it.

    Args:
        name: of an imported data set.
        count: people, at most; all of them when fewer can be asked about.
        seed: of the choice.
        config: of the agents.
        which: cases of the leave-one-out split.
        embedder: behind the tags' meaning.
        least: events that a person has, at least, the next item among them.

    Raises:
        InputError: nobody can be asked about.
    """
    dataset = load_dataset(name)
    split, (names, leaf) = leave_one_out(dataset), leaves(dataset)
    every = split.test if which == "test" else split.validation
    enough = dataset.histories.lengths[every.users] >= least
    able = np.flatnonzero(enough & (leaf[every.targets] >= 0)) if len(names) else np.zeros(0, int)
    if not len(able):
        raise InputError(
            f"What is asked for is the category of what comes next, and {name} has nobody with "
            f"{max(least, 3)} interactions and a next item with a category; import categories, or "
            "ask for fewer interactions."
        )
    drawn = np.sort(np.random.default_rng(seed).permutation(len(able))[:count])
    cases = every.take(able[drawn])
    known = split.train.lengths.copy()  # (all users,) events that may be known
    known[cases.users] = cases.histories.lengths
    material = Material(split.train, item_words(dataset.items), None)
    choice = chosen(dataset, split, material)
    tools = load_tools(
        until(dataset, known),
        config,
        embedder,
        rule=choice.fit(choice.best, material),
        profiles=Profiles() if config.profile else None,
    )
    users = [dataset.user_ids[place] for place in cases.users]
    targets = leaf[cases.targets]
    return Asked(tools, users, cases, names, leaf, targets, split.train, split.rule)
