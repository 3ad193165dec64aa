"""Decision arbiter: one joint choice of N tags over all personas (RecGPT-V2, `T = f(∪T_k, C)`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foretaste.agents import grounded, prompting
from foretaste.agents.asking import CheckFailed, ask_or_fall_back
from foretaste.agents.checks import numbers_within
from foretaste.agents.context import Reader
from foretaste.agents.objects import Persona, Step, Tag, Verdict
from foretaste.agents.schemas import ArbiterAnswer
from foretaste.agents.tools import Tools
from foretaste.serving.chat import Message

MAX_TOKENS = 256


def arbiter_messages(
    tools: Tools, reader: Reader, personas: list[Persona], proposed: list[Tag]
) -> tuple[Message, ...]:
    """The arbiter's prompt: personas and all proposed tags with their numbers."""
    return prompting.messages(
        "arbiter",
        context=prompting.context_lines(reader.context),
        personas=prompting.numbered([prompting.clean(persona.name) for persona in personas]),
        tags=prompting.numbered(
            [f"{prompting.clean(tag.text)} (persona {tag.persona + 1})" for tag in proposed]
        ),
        kept=tools.config.kept,
    )


async def decide(
    tools: Tools, reader: Reader, personas: list[Persona], proposed: list[Tag], seed: int
) -> tuple[list[Verdict], list[Step]]:
    """A verdict, with its reason, on every proposed tag."""
    unique, repeats = without_repeats(proposed)
    if not unique:
        return [], []
    verdicts, step = await ask_or_fall_back(
        tools.model,
        tools.config,
        node="arbiter",
        label="",
        messages=lambda: arbiter_messages(tools, reader, personas, unique),
        schema=ArbiterAnswer,
        max_tokens=MAX_TOKENS,
        check=lambda answer: checked(answer, tools, unique),
        fallback=lambda: chosen(tools, reader, unique),
        seed=seed,
        embeds=True,
    )
    return verdicts + repeats, [step]


def checked(answer: ArbiterAnswer, tools: Tools, proposed: list[Tag]) -> list[Verdict]:
    """The answer's choice; it must name at least half as many real tags as were wanted."""
    places = numbers_within((one.tag for one in answer.keep), len(proposed))[: tools.config.kept]
    wanted = min(tools.config.kept, len(proposed))
    if 2 * len(places) < wanted:
        raise CheckFailed(f"the arbiter kept {len(places)} existing tags of {wanted} wanted")
    reasons = {one.tag - 1: prompting.clean(one.why, 120) for one in answer.keep}
    return [
        Verdict(
            tag=tag,
            kept=place in places,
            reason=reasons[place] if place in places else "not among the arbiter's choice",
            source="model",
        )
        for place, tag in enumerate(proposed)
    ]


def chosen(tools: Tools, reader: Reader, proposed: list[Tag]) -> list[Verdict]:
    """The fallback: marginal relevance to the history's taste, every persona heard in turn."""
    vectors = tools.embedder.encode([tag.text for tag in proposed])  # (tags, d)
    return grounded.choose(proposed, vectors, taste(tools, reader), tools.config.kept)


def without_repeats(proposed: list[Tag]) -> tuple[list[Tag], list[Verdict]]:
    """Tags said once, and a verdict against each word-for-word repeat."""
    first: dict[str, Tag] = {}
    repeats = []
    for tag in proposed:
        other = first.setdefault(tag.text.casefold(), tag)
        if other is not tag:
            reason = f"persona {other.persona + 1} proposed the same"
            repeats.append(Verdict(tag=tag, kept=False, reason=reason, source="fallback"))
    return list(first.values()), repeats


def taste(tools: Tools, reader: Reader) -> NDArray[np.float32]:
    """(d,) recency-weighted mean of the history's vectors, of unit length; zeros for none."""
    newest = reader.rows[::-1][: tools.config.history_items]
    weights = (grounded.RECENCY ** np.arange(len(newest))).astype(np.float32)
    mean = weights @ tools.vectors[newest]  # (d,)
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length else mean, dtype=np.float32)
