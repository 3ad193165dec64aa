"""Everything a run needs, loaded once: catalogue, vocabulary, vectors, index, rule, model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.config import AgentsConfig
from foretaste.agents.contexts.profile_store import Profiles
from foretaste.agents.contexts.surroundings import Surroundings
from foretaste.agents.explaining.kept import Explanations
from foretaste.agents.reasoning.tastes import catalogue_variance
from foretaste.agents.retrieval.pulse import Pulse
from foretaste.agents.running.once import ReadOnce
from foretaste.agents.wording.lexicon import Lexicon
from foretaste.data.dataset import Dataset
from foretaste.data.files import home, safe_name
from foretaste.data.histories import Histories
from foretaste.data.text import item_texts
from foretaste.serving.chat import ChatModel
from foretaste.serving.embedder import Embedder, load_embedder
from foretaste.serving.index.base import Hits, ItemIndex
from foretaste.serving.index.live import LiveIndex
from foretaste.serving.index.opened import open_index
from foretaste.serving.index.text import TextIndex
from foretaste.serving.interest_folder import available
from foretaste.serving.rules.base import FittedRule, Scorer
from foretaste.serving.rules.select import best_untrained

if TYPE_CHECKING:
    from foretaste.serving.interest import Interest
    from foretaste.serving.interest_mix import Mix
    from foretaste.serving.towers import Towers


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
        pulse: what is new and what rises; None for data without times.
        towers: trained towers, or None.
        interest: a trained next-interest model, or None.
        mix: its ranker beside the rule, which then orders the collaborative channel; or None.
        model: the language model, or None to run on the grounded fallbacks alone.
        explanations: what was said lately, and the cache of explanations.
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
    pulse: Pulse | None = None
    towers: Towers | None = None
    interest: Interest | None = None
    mix: Mix | None = None
    model: ChatModel | None = None
    surroundings: Surroundings | None = None
    profiles: Profiles | None = None
    explanations: Explanations = field(default_factory=Explanations)
    _made: _Made = field(default_factory=lambda: _Made(), repr=False)

    def with_model(self, model: ChatModel | None) -> Tools:
        """The same parts behind another language model."""
        return replace(self, model=model)

    def for_a_run(self) -> Tools:
        """The same parts, with an embedder that reads no text twice."""
        return replace(self, embedder=ReadOnce(self.embedder))

    def by_word(self, texts: Sequence[str], k: int, allowed: NDArray[np.bool_]) -> Hits:
        """The k items whose words fit each text best (BM25), of those that are allowed."""
        if isinstance(self.index, LiveIndex):
            return self.index.search_text(texts, k, allowed)
        if self._made.words is None:
            self._made.words = TextIndex.build(item_texts(self.dataset.items))
        return self._made.words.search(texts, k, allowed)

    def variance(self) -> float:
        """How far items of the catalogue lie apart; see `tastes.catalogue_variance`."""
        if self._made.variance is None:
            self._made.variance = catalogue_variance(self.vectors, self.lexicon.categories)
        return self._made.variance


@dataclass
class _Made:
    """What is worked out from the imported catalogue when it is first wanted, and then shared."""

    words: TextIndex | None = None
    variance: float | None = None


def load_tools(
    dataset: Dataset,
    config: AgentsConfig | None = None,
    embedder_name: str = "bundled:all-minilm-l6-v2",
    rule: Scorer | None = None,
    surroundings: Surroundings | None = None,
    profiles: Profiles | None = None,
    fitted: Histories | None = None,
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
        fitted: beside `rule`, the events that it was fitted on: towers and next-interest model come with
            it when they learnt from exactly these. Without, a given rule comes alone.
    """
    embedder = load_embedder(embedder_name)
    index, settings = open_index(dataset, embedder), config or AgentsConfig()
    vectors = index.vectors_of(range(len(dataset.item_ids)))
    served = rule or best_untrained(dataset)
    learnt = rule is None or fitted is not None
    interest, mix = _interest(dataset, served, vectors, fitted) if learnt else (None, None)
    return Tools(
        dataset=dataset,
        config=settings,
        lexicon=Lexicon(dataset.items),
        embedder=embedder,
        vectors=vectors,
        index=index,
        rule=served,
        pulse=Pulse.of(dataset, settings.trend_days),
        towers=_towers(dataset, embedder, fitted) if learnt else None,
        interest=interest,
        mix=mix,
        surroundings=surroundings,
        profiles=profiles,
        explanations=Explanations.of(dataset.name, keep=settings.keep_memory),
    )


def _towers(dataset: Dataset, embedder: Embedder, fitted: Histories | None) -> Towers | None:
    """The towers that `foretaste finetune towers` made for this data set, if they fit."""
    if not (home() / "towers" / safe_name(dataset.name)).exists():
        return None
    from foretaste.serving.towers import load_towers

    return load_towers(dataset, embedder.fingerprint, fitted)


def _interest(
    dataset: Dataset, rule: Scorer, vectors: NDArray[np.float32], fitted: Histories | None
) -> tuple[Interest | None, Mix | None]:
    """What `foretaste finetune interest` made for this data set: the model, and its mix with the rule."""
    if not available(dataset.name):
        return None, None
    from foretaste.serving.interest import load_interest
    from foretaste.serving.interest_mix import mix_of

    model = load_interest(dataset, fitted)
    if model is None or not isinstance(rule, FittedRule) or rule.material is None:
        return model, None
    material = replace(rule.material, vectors=vectors)
    return model, mix_of(model, material, dataset.items)
