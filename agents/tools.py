"""Everything a run needs, loaded once: catalogue, vocabulary, vectors, index, rule, model."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.config import AgentsConfig
from foretaste.agents.lexicon import Lexicon
from foretaste.agents.profile_store import Profiles
from foretaste.agents.surroundings import Surroundings
from foretaste.data.dataset import Dataset
from foretaste.serving.chat import ChatModel
from foretaste.serving.embedder import Embedder, load_embedder
from foretaste.serving.index.base import ItemIndex
from foretaste.serving.index.live import LiveIndex
from foretaste.serving.index.opened import open_index
from foretaste.serving.rules.base import Scorer
from foretaste.serving.rules.select import best_untrained


@dataclass(frozen=True)
class Tools:
    """The parts that the nodes of the graph use; shared by all requests, never changed by one.

    Attributes:
        dataset: the catalogue and its interactions.
        config: how many personas, tags and candidates.
        lexicon: the catalogue's words and categories.
        embedder: texts → (n, d) float32 unit vectors.
        vectors: (items, d) float32, one unit vector an item.
        index: finds items by vector, under a mask.
        rule: the best untrained rule of this data set, the collaborative channel.
        model: the language model, or None to run on the grounded fallbacks alone.
        surroundings: tells what holds today; None for the data set's own environment alone.
        profiles: brings profiles of users up to date; None for no profiles.
    """

    dataset: Dataset
    config: AgentsConfig
    lexicon: Lexicon
    embedder: Embedder
    vectors: NDArray[np.float32]
    index: ItemIndex | LiveIndex
    rule: Scorer
    model: ChatModel | None = None
    surroundings: Surroundings | None = None
    profiles: Profiles | None = None

    def with_model(self, model: ChatModel | None) -> Tools:
        """The same parts behind another language model."""
        return replace(self, model=model)


def load_tools(
    dataset: Dataset,
    config: AgentsConfig | None = None,
    embedder_name: str = "bundled:all-minilm-l6-v2",
    rule: Scorer | None = None,
    surroundings: Surroundings | None = None,
    profiles: Profiles | None = None,
) -> Tools:
    """Load what needs no language model; vectors, index and rule come from their caches if there.

    Args:
        dataset: the catalogue and its interactions.
        config: of the agents.
        embedder_name: of the model store.
        rule: the collaborative channel; the best untrained rule, fitted on everything, when None.
            An evaluation gives one that was fitted on its training events.
        surroundings: what the agents are told of the day.
        profiles: what they are told of the user.
    """
    embedder = load_embedder(embedder_name)
    index = open_index(dataset, embedder)
    return Tools(
        dataset=dataset,
        config=config or AgentsConfig(),
        lexicon=Lexicon(dataset.items),
        embedder=embedder,
        vectors=index.vectors_of(range(len(dataset.item_ids))),
        index=index,
        rule=rule or best_untrained(dataset),
        surroundings=surroundings,
        profiles=profiles,
    )
