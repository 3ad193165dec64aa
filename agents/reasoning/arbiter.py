"""Decision arbiter: one joint choice of N tags over all personas (RecGPT-V2, `T = f(∪T_k, C)`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foretaste.agents.contexts.context import Reader
from foretaste.agents.objects import Persona, Step, Tag, Verdict
from foretaste.agents.reasoning import choosing, offered
from foretaste.agents.reasoning.checks import numbers_within
from foretaste.agents.reasoning.tastes import RECENCY
from foretaste.agents.retrieval import channels
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.agents.wording.asking import CheckFailed, ask_or_fall_back
from foretaste.agents.wording.schemas import ArbiterAnswer, with_room
from foretaste.serving.chat import Message
from foretaste.serving.index.base import Hits

TOKENS_EACH = 32  # that a model may write about one kept tag
BEST = 10  # finds of a tag that its validity is judged by
# Of relevance, consistency, specificity, validity and coverage. Other weights moved the recall of
# 400 validation users of two data sets by less than its noise, so they are equal.
WEIGHTS = (0.2, 0.2, 0.2, 0.2, 0.2)


def arbiter_messages(
    tools: Tools,
    reader: Reader,
    personas: list[Persona],
    proposed: list[Tag],
    beside: int = 0,
) -> tuple[Message, ...]:
    """The arbiter's prompt: a line a persona with the tags proposed for it, numbered throughout.

    The first `beside` tags are no expert's: they stand on a line of their own before the others.
    """
    places = [f"{place}. {prompting.clean(tag.text)}" for place, tag in enumerate(proposed, 1)]
    lines = [f"Chosen next by others: {', '.join(places[:beside])}"] if beside else []
    for number, persona in enumerate(personas):
        own = [
            place
            for place, tag in zip(places[beside:], proposed[beside:], strict=True)
            if tag.persona == number
        ]
        lines.append(f"{prompting.clean(persona.name)}: {', '.join(own) or '(none)'}")
    return prompting.messages(
        "arbiter",
        kept=min(tools.config.kept, len(proposed)),
        context=prompting.context_lines(reader.context),
        tags="\n".join(lines),
    )


async def decide(
    tools: Tools, reader: Reader, personas: list[Persona], proposed: list[Tag], seed: int
) -> tuple[list[Verdict], list[Step]]:
    """A verdict, with its reason, on every proposed tag."""
    beside = offered.tags(tools, reader, personas) if tools.model else []
    unique, repeats = without_repeats([*beside, *proposed])
    own, own_repeats = without_repeats(proposed)
    if not unique:
        return [], []
    verdicts, step = await ask_or_fall_back(
        tools.model,
        tools.config,
        node="arbiter",
        label="",
        messages=lambda: arbiter_messages(tools, reader, personas, unique, len(beside)),
        schema=with_room(ArbiterAnswer, tools.config.kept),
        max_tokens=TOKENS_EACH * tools.config.kept,
        check=lambda answer: checked(answer, tools, reader, unique),
        fallback=lambda: chosen(tools, reader, personas, own) if own else [],
        seed=seed,
        embeds=True,
        meanwhile=lambda: channels.tag_hits(tools, reader, [tag.text for tag in unique]),
    )
    return verdicts + (own_repeats if step.fallback else repeats), [step]


def checked(
    answer: ArbiterAnswer, tools: Tools, reader: Reader, proposed: list[Tag]
) -> list[Verdict]:
    """The answer's choice without tags that find what a tag before them finds.

    It must name at least half as many real tags as were wanted. The kept tags stand first, in the
    order in which the model named them.
    """
    places = numbers_within((one.tag for one in answer.keep), len(proposed))[: tools.config.kept]
    wanted = min(tools.config.kept, len(proposed))
    if 2 * len(places) < wanted:
        raise CheckFailed(f"the arbiter kept {len(places)} existing tags of {wanted} wanted")
    reasons = {one.tag - 1: prompting.clean(one.why, 120) for one in answer.keep}
    found = channels.tag_hits(tools, reader, [tag.text for tag in proposed])
    choice = choosing.Choice(proposed, compared(tools, reader, found), limits(tools))
    told: dict[int, str] = {}
    for place in places:
        reason = choice.against(place)
        if reason is None:
            choice.kept.append(place)
        told[place] = reason or reasons[place]
    order = [*choice.kept, *(n for n in range(len(proposed)) if n not in choice.kept)]
    return [
        Verdict(
            tag=proposed[place],
            kept=place in choice.kept,
            reason=told.get(place, "not among the arbiter's choice"),
            source="fallback" if place in told and place not in choice.kept else "model",
        )
        for place in order
    ]


def chosen(
    tools: Tools, reader: Reader, personas: list[Persona], proposed: list[Tag]
) -> list[Verdict]:
    """The fallback: the best tags by five scores, every persona heard in turn, none found twice."""
    sheet = scored(tools, reader, personas, proposed)
    return choosing.choose(proposed, sheet, tools.config.kept, limits(tools), WEIGHTS)


def scored(
    tools: Tools, reader: Reader, personas: list[Persona], proposed: list[Tag]
) -> choosing.Sheet:
    """The scores of all tags that do not depend on the choice; see `choosing.Sheet`."""
    vectors = tools.embedder.encode([tag.text for tag in proposed])  # (tags, d)
    found = channels.tag_hits(tools, reader, [tag.text for tag in proposed])
    sides = [_mean(tools, tools.dataset.rows(list(one.evidence))) for one in personas]
    own = np.stack([sides[tag.persona] for tag in proposed])  # (tags, d)
    matches = [len(tools.lexicon.matching(tag.text)) for tag in proposed]
    best = [[row for row in rows[:BEST].tolist() if row >= 0] for rows in found.rows]
    fits = [
        float((tools.vectors[rows] @ vector).mean()) if rows else 0.0
        for rows, vector in zip(best, vectors, strict=True)
    ]
    return choosing.Sheet(
        relevance=np.clip(vectors @ taste(tools, reader), 0, 1).astype(np.float64),
        consistency=np.clip((vectors * own).sum(axis=1), 0, 1).astype(np.float64),
        specificity=np.array([choosing.specificity(n, len(tools.vectors)) for n in matches]),
        validity=np.clip(np.array(fits), 0, 1),
        found=compared(tools, reader, found),
    )


def compared(tools: Tools, reader: Reader, found: Hits) -> list[frozenset[int]]:
    """Of each tag the finds that are compared with those of others.

    In a small catalogue that is fewer than what the channel takes, as there all tags together
    would find everything several times over.
    """
    room = int(reader.allowed.sum()) // (2 * tools.config.kept)
    depth = max(1, min(room, found.rows.shape[1]))
    return [frozenset(row for row in one if row >= 0) for one in found.rows[:, :depth].tolist()]


def limits(tools: Tools) -> choosing.Limits:
    """What two kept tags may find in common."""
    return choosing.Limits(tools.config.same_items, tools.config.persona_duplicates)


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
    return _mean(tools, reader.rows[::-1][: tools.config.history_items])


def _mean(tools: Tools, rows: NDArray[np.int32] | list[int]) -> NDArray[np.float32]:
    weights = (RECENCY ** np.arange(len(rows))).astype(np.float32)
    mean = weights @ tools.vectors[rows]  # (d,)
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length else mean, dtype=np.float32)
