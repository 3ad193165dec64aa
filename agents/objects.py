"""What the agents hand to each other: small frozen objects, each with where it came from.

Item ids in these objects always exist in the catalogue. `source` says who wrote a thing: the
language model, or the grounded fallback that uses none.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from foretaste.serving.index.filters import ItemFilter

Source = Literal["model", "fallback"]
Mode = Literal["hierarchical", "routes", "single"]


class Frozen(BaseModel):
    """Base of the objects: unchangeable, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(Frozen):
    """What a caller asks for.

    Attributes:
        user_id: a user of the data set, or None.
        history: item ids, oldest first, instead of a stored history.
        wish: free text such as "something lighter for tonight".
        n: items wanted.
        include_consumed: whether items of the history may be recommended again.
        filters: which items are allowed at all.
        environment: short texts about the day, instead of what is known of it; empty for none.
        explain: whether each item gets its sentence.
        seed: of everything that samples.
        draw: from which neighbours of the page change places by chance; None leaves the page as it
            was ranked.
        mode: how tags come about: planner, experts and arbiter (`hierarchical`, RecGPT-V2);
            independent routes that each read the whole history (`routes`, RecGPT-V1); or one
            prompt (`single`).
    """

    user_id: str | None = None
    history: tuple[str, ...] | None = None
    wish: str | None = Field(None, max_length=500)
    n: int = Field(10, ge=1, le=200)
    include_consumed: bool = False
    filters: ItemFilter = ItemFilter()
    environment: tuple[Annotated[str, Field(max_length=200)], ...] | None = Field(
        None, max_length=20
    )
    explain: bool = True
    seed: int = 0
    draw: int | None = Field(None, ge=0)
    mode: Mode = "hierarchical"


class HistoryEvent(Frozen):
    """One event of a user, ready to be read by people and models."""

    item_id: str
    title: str
    categories: tuple[str, ...] = ()
    event: str = "view"
    value: float | None = None
    timestamp: int | None = None


class Search(Frozen):
    """What a user searched for; `after` counts the events with items that came before it."""

    query: str
    after: int
    timestamp: int | None = None


class Statement(Frozen):
    """One sentence of a profile: which side of the user it is about, and the items behind it."""

    key: str
    text: str
    evidence: tuple[str, ...] = ()


class UserContext(Frozen):
    """`C = {B, U, E}` of RecGPT-V2, section 3: behaviours, user, environment; and a wish.

    Attributes:
        events: behaviours about items, oldest first.
        searches: what was searched for, oldest first.
        attributes: what is known about the user, name → value.
        profile: what the behaviours say about the user, the most telling first.
        environment: short texts about the day (season, holidays, weather, trends).
    """

    user_id: str | None
    events: tuple[HistoryEvent, ...]
    searches: tuple[Search, ...] = ()
    attributes: dict[str, str] = {}
    profile: tuple[Statement, ...] = ()
    environment: tuple[str, ...] = ()
    wish: str | None = None


class Persona(Frozen):
    """One side of a user's taste, with the history items it rests on.

    Attributes:
        name: in a few words.
        description: why it fits the person.
        evidence: item ids of the history, each once.
        source: who found it.
        why_now: what makes it timely: recent choices, the day, the wish; empty for nothing.
    """

    name: str
    description: str
    evidence: tuple[str, ...]
    source: Source
    why_now: str = ""


class Tag(Frozen):
    """What an expert would search the catalogue for: modifier + core word."""

    text: str
    persona: int
    reason: str
    source: Source


class Verdict(Frozen):
    """The arbiter's word on one tag."""

    tag: Tag
    kept: bool
    reason: str
    source: Source


class TagFind(Frozen):
    """One tag found one item.

    Attributes:
        tag: the tag's text.
        persona: number of the persona that it stands for.
        rank: the item's place among what the tag found, 1 the best.
        score: reciprocal-rank score of that place, by meaning and by word together.
    """

    tag: str
    persona: int
    rank: int
    score: float


class Candidate(Frozen):
    """One item that at least one channel found.

    Attributes:
        item_id: the item.
        ranks: channel → place in that channel's list, 1 the best.
        scores: channel → score in that channel's own unit.
        finds: every kept tag that found it, best first.
    """

    item_id: str
    ranks: dict[str, int]
    scores: dict[str, float] = {}
    finds: tuple[TagFind, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """The kept tags that found it, best first."""
        return tuple(find.tag for find in self.finds)

    @property
    def personas(self) -> tuple[int, ...]:
        """Numbers of the personas whose tags found it, best first, each once."""
        return tuple(dict.fromkeys(find.persona for find in self.finds))


class PassedOver(Frozen):
    """An item that would have stood at a place of the page, and why it does not."""

    item_id: str
    reason: str


class Placement(Frozen):
    """Why an item stands at its place of the page.

    Attributes:
        relevance: its share of the best relevance on offer, in [0, 1].
        ranks: channel → place in that channel's list.
        scores: channel → score in that channel's own unit.
        personas: numbers of the personas whose tags found it.
        explores: whether it is there as what the agents found and the other channels would not
            have shown.
        conversion: predicted chance that it is chosen.
        likeness: cosine with the item above it that is most like it; 0 for the first.
        nearest: id of that item.
        passed_over: better placed items that had to stand aside here, each with the reason.
        propensity: chance with which it was put here; 1 when nothing was left to chance.
        chances: item id → the chance of every item that might stand here; empty when one was certain.
    """

    relevance: float
    ranks: dict[str, int]
    scores: dict[str, float] = {}
    personas: tuple[int, ...] = ()
    explores: bool = False
    conversion: float = 0.0
    likeness: float = 0.0
    nearest: str | None = None
    passed_over: tuple[PassedOver, ...] = ()
    propensity: float = 1.0
    chances: dict[str, float] = {}


class Recommendation(Frozen):
    """One line of the page."""

    item_id: str
    title: str
    score: float
    channel: str
    explanation: str = ""
    explained_by: Source | None = None
    tags: tuple[str, ...] = ()
    placement: Placement | None = None


class Step(Frozen):
    """What one call of a node cost, and whether its answer had to be replaced.

    Attributes:
        node: planner, expert, arbiter, explainer, …
        label: which persona or item the call was about.
        ms: wall time in milliseconds.
        prompt, cached, completion: tokens read, read from the prefix cache, and written.
        fallback: why the model's answer was not used, or None.
        repaired: which parts of the model's answer were dropped or added to, or None.
        prompt_version: fingerprint of the words that this agent reads.
        adapter: the LoRA adapter that was asked, or None for the base model.
        asks: times the model was asked, more than once where an answer failed its checks.
        at: when it began, seconds since 1970.
        span: id of the span of the trace in which the call was made.
    """

    node: str
    label: str = ""
    ms: float = 0.0
    prompt: int = 0
    cached: int = 0
    completion: int = 0
    fallback: str | None = None
    repaired: str | None = None
    prompt_version: str = ""
    adapter: str | None = None
    asks: int = 1
    at: float = 0.0
    span: str = ""
