"""Stage 1 of meta-prompting: a style guideline, `g = f_meta(U, I, S)` (RecGPT-V2, section 5).

U is the audience, I what the catalogue is about, S the language. None of the three is one person,
so one call serves all who read in that setting, until a prompt or the model changes.
"""

from __future__ import annotations

import asyncio
import json

import numpy as np

from foretaste.agents.explaining.dimensions import NAMES
from foretaste.agents.explaining.kept import Sentence, cache_key
from foretaste.agents.explaining.languages import Audience, Language
from foretaste.agents.objects import Source, Step
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording import prompting
from foretaste.agents.wording.asking import CheckFailed, ask_or_fall_back
from foretaste.agents.wording.schemas import StyleAnswer
from foretaste.serving.chat import Message

MAX_TOKENS = 120
ABOUT = 8  # categories that tell what the catalogue is about


def style_messages(tools: Tools, language: Language, audience: Audience) -> tuple[Message, ...]:
    """The prompt for a guideline: readers, language, what the catalogue holds."""
    return prompting.messages(
        "style",
        readers=audience.readers,
        language=language.name,
        about=", ".join(prompting.clean(name, 40) for name in _commonest(tools)) or "many things",
        dimensions=", ".join(NAMES),
    )


async def guideline(
    tools: Tools, language: Language, audience: Audience, seed: int
) -> tuple[str, list[Step]]:
    """The guideline of a setting, asked once and then cached.

    Returns:
        The guideline on one line, and the step of the call; no step when it was cached.
    """
    cache, model = tools.explanations.cache, tools.model
    key = cache_key(
        "style",
        [prompting.template("system"), prompting.template("style"), language.code],
        audience.model_dump(),
        _commonest(tools),
        model.name if model else None,
        tools.config.adapter_of("style"),
        tools.config.temperature,
        seed,
    )
    kept = await asyncio.to_thread(cache.get, [key])
    if key in kept:
        return kept[key].text, []
    (text, source), step = await ask_or_fall_back(
        model,
        tools.config,
        node="style",
        label=f"{language.name}, {audience.readers}",
        messages=lambda: style_messages(tools, language, audience),
        schema=StyleAnswer,
        max_tokens=MAX_TOKENS,
        check=_checked,
        fallback=lambda: (_line(audience.tone, audience.first, audience.avoid), "fallback"),
        seed=seed,
    )
    await asyncio.to_thread(cache.put, {key: Sentence(text, source)})
    return text, [step]


def _checked(answer: StyleAnswer) -> tuple[str, Source]:
    tone, avoid = prompting.clean(answer.tone), prompting.clean(answer.avoid, 120)
    if not any(map(str.isalpha, tone)) or not any(map(str.isalpha, avoid)):
        raise CheckFailed(f"the guideline has no words: {json.dumps([tone, avoid])}")
    return _line(tone, tuple(answer.first), avoid), "model"


def _line(tone: str, first: tuple[str, ...], avoid: str) -> str:
    return f"{tone}; first of all {' and '.join(dict.fromkeys(first))}; avoid {avoid}"


def _commonest(tools: Tools) -> list[str]:
    """The categories that most items carry, most first."""
    terms = tools.lexicon.categories
    return [terms.names[term] for term in np.argsort(terms.idf, kind="stable")[:ABOUT]]
