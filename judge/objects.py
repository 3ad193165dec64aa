"""What judges read and say: small frozen objects, from a rubric to the judgement of one case.

A `Judge` turns a `Case` into a `Judgement`, or a `Pair` into a `Preference`. What a judge could not
answer readably is a judgement without tier and score, with the reason: never a low score.
"""

from __future__ import annotations

import hashlib
from typing import Literal, Protocol, get_args

from pydantic import Field, model_validator

from foretaste.agents.objects import Frozen, Step

Mark = Literal["negative", "acceptable", "positive"]
Tier = Literal["S", "A", "B"]
Better = Literal["first", "tie", "second"]
Target = Literal["tag", "explanation", "item", "list", "page"]

MARKS: tuple[Mark, ...] = get_args(Mark)  # rising
TIERS: tuple[Tier, ...] = get_args(Tier)  # falling
POINTS: dict[Mark, float] = {"negative": 0.0, "acceptable": 0.5, "positive": 1.0}
PREFERENCE: dict[Better, float] = {"first": 1.0, "tie": 0.5, "second": 0.0}


class Example(Frozen):
    """An answer, its mark in one dimension, and why."""

    answer: str
    mark: Mark
    why: str


class Dimension(Frozen):
    """One side of quality: a question, and what each mark looks like."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)
    question: str = Field(min_length=3)
    negative: str = Field(min_length=3)
    acceptable: str = Field(min_length=3)
    positive: str = Field(min_length=3)
    examples: tuple[Example, ...] = ()


class Rubric(Frozen):
    """What is judged and by which dimensions; `judge/rubric.py` reads one from TOML.

    Attributes:
        name: of the rubric.
        target: what kind of thing one case is.
        about: one sentence that tells a judge what it reads.
        excellent: τ, the share of positive marks from which an answer without a negative one is
            tier S. Unpublished in RecGPT-V2 (arXiv 2512.14503).
        dimensions: judged one by one.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)
    target: Target
    about: str = Field(min_length=3)
    excellent: float = Field(0.7, gt=0, le=1)
    dimensions: tuple[Dimension, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _named_once(self) -> Rubric:
        names = self.names
        if len(set(names)) < len(names):
            raise ValueError("each dimension needs a name of its own")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the dimensions, in order."""
        return tuple(one.name for one in self.dimensions)

    @property
    def fingerprint(self) -> str:
        """16 hex digits over all that the rubric says."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class Known(Frozen):
    """What is known beside the answer; cases about one person or query share a `group`.

    Attributes:
        id: of the case, each once a run.
        group: user, query or conversation; cases of one group are not independent. Empty: alone.
        user_id: of the data set, when history and profile are to be looked up there.
        context: the query, the facts about the items, whatever else the answer must agree with; a
            line each.
        history: what the person chose, oldest first, a line each.
        chosen: ids of these items, when the data set is to tell history and profile.
        profile: statements about the person, a line each.
        segments: name → value, by which results are parted (country, length of history, …).
    """

    id: str = Field(min_length=1)
    group: str = ""
    user_id: str | None = None
    context: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    chosen: tuple[str, ...] = ()
    profile: tuple[str, ...] = ()
    segments: dict[str, str] = Field(default_factory=dict)


class Case(Known):
    """One answer to be judged.

    Attributes:
        answer: the tag, the sentence, the item, or the items of a list in their order; a line each.
        items: ids of the items that it is about, in order, when they are known.
    """

    answer: tuple[str, ...]
    items: tuple[str, ...] = ()


class Pair(Known):
    """Two answers to the same request, to be held against each other; lines and items as in `Case`."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    first_items: tuple[str, ...] = ()
    second_items: tuple[str, ...] = ()


class Quote(Frozen):
    """Words that a judge gave as evidence, and where they stand; None where they stand nowhere."""

    text: str
    found: Literal["answer", "context", "history", "profile"] | None


class Verdict(Frozen):
    """One mark in one dimension, with its reason, its evidence and the raw text of the judge."""

    dimension: str
    mark: Mark
    reason: str = ""
    evidence: tuple[Quote, ...] = ()
    text: str = ""

    @property
    def unsupported(self) -> int:
        """Quotes that stand neither in what was judged nor in what is known."""
        return sum(quote.found is None for quote in self.evidence)


class Fault(Frozen):
    """What could not be read: which part of the judgement, why, and the raw text."""

    dimension: str
    reason: str
    text: str = ""


class Vote(Frozen):
    """What one judge of a panel said: dimension → mark; no tier when it could not be read."""

    judge: str
    tier: Tier | None
    marks: dict[str, Mark] = Field(default_factory=dict)


class Judgement(Frozen):
    """All that a judge says of one case.

    Attributes:
        id, group, segments: of the case.
        tier: S, A or B; None when the judgement is unreadable or the judge gives scores alone.
        score: in [0, 1]; for a rubric the mean of the marks, negative 0, acceptable 0.5,
            positive 1. None when unreadable.
        verdicts: by dimension, those that were read.
        faults: what could not be read even when asked again; with one there is no tier and no score.
        review: what the senior reviewer adds, when a model was asked for it.
        votes: of a panel.
        disagreement: of a panel, the share of pairs of votes whose tiers differ.
        steps: the calls, tokens and milliseconds of each.
    """

    id: str
    group: str = ""
    segments: dict[str, str] = Field(default_factory=dict)
    tier: Tier | None = None
    score: float | None = None
    verdicts: tuple[Verdict, ...] = ()
    faults: tuple[Fault, ...] = ()
    review: str = ""
    votes: tuple[Vote, ...] = ()
    disagreement: float | None = None
    steps: tuple[Step, ...] = ()

    @model_validator(mode="after")
    def _unreadable_is_no_score(self) -> Judgement:
        if self.faults and (self.tier is not None or self.score is not None):
            raise ValueError("a judgement that could not be read has neither tier nor score")
        return self


class Look(Frozen):
    """One reading of a pair, in one order.

    Attributes:
        swapped: whether the second answer was shown first.
        better: in the pair's own order, whatever was shown first.
        points: dimension → the better one in it, in the pair's own order.
        reason: of the choice.
        text: of the judge, raw.
    """

    swapped: bool
    better: Better
    points: dict[str, Better] = Field(default_factory=dict)
    reason: str = ""
    text: str = ""


class Preference(Frozen):
    """Which of two answers is better.

    Attributes:
        id, group, segments: of the pair.
        better: by both orders together; a judge that contradicts itself says tie. None when
            unreadable.
        score: mean of the orders, 1 for the first, 0.5 for a tie, 0 for the second.
        consistent: whether both orders said the same; None when one of them is missing.
        looks: the readings of either order.
        faults, steps: as in `Judgement`.
    """

    id: str
    group: str = ""
    segments: dict[str, str] = Field(default_factory=dict)
    better: Better | None = None
    score: float | None = None
    consistent: bool | None = None
    looks: tuple[Look, ...] = ()
    faults: tuple[Fault, ...] = ()
    steps: tuple[Step, ...] = ()


class Judge(Protocol):
    """Whoever judges cases: agents, a trained head, a reward model, or several of them.

    What cannot be read is a judgement with faults. `EngineError` means that the judge is gone:
    nothing was said about the case.
    """

    @property
    def name(self) -> str:
        """Which judge, for records: method and model."""
        ...

    @property
    def made_of(self) -> dict[str, str]:
        """Whatever decides a judgement, name → value: judge, model, adapter, rubric, hashes of
        rubric, prompts or weights. A run is gone on with only when all of it is the same."""
        ...

    async def judge(self, case: Case) -> Judgement:
        """Judge one case; many may be under way at once."""
        ...
