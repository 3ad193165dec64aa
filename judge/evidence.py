"""Whether a judge's quotes stand in what it was shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from foretaste.agents.wording.prompting import clean
from foretaste.judge.objects import Case, Quote

QUOTE_CHARACTERS = 160
_SHORTEST = 3  # letters and digits of a quote that can show anything
_NO_WORD = re.compile(r"[^\w]+")


def quoted(quotes: Iterable[str], case: Case) -> tuple[Quote, ...]:
    """Each quote with the place where it stands: word for word, whatever the case and punctuation.

    A quote of fewer than three letters or digits shows nothing and counts as standing nowhere. The
    answer is looked through first, then context, history and profile.

    >>> case = Case(id="1", answer=("Ronin is a crime thriller.",), history=("Heat (Crime)",))
    >>> [one.found for one in quoted(["CRIME thriller", "heat", "a prize", "is"], case)]
    ['answer', 'history', None, None]
    """
    texts = _texts(case)
    return tuple(
        Quote(text=clean(text, QUOTE_CHARACTERS), found=_place(text, texts)) for text in quotes
    )


Place = Literal["answer", "context", "history", "profile"]


def _texts(case: Case) -> dict[Place, str]:
    """Where → its words, with a space at both ends."""
    return {
        "answer": _words("\n".join(case.answer)),
        "context": _words("\n".join(case.context)),
        "history": _words("\n".join(case.history)),
        "profile": _words("\n".join(case.profile)),
    }


def _place(quote: str, texts: dict[Place, str]) -> Place | None:
    words = _words(quote)
    if len(words.replace(" ", "")) < _SHORTEST:
        return None
    return next((place for place, text in texts.items() if words in text), None)


def _words(text: str) -> str:
    return f" {' '.join(_NO_WORD.sub(' ', text.casefold()).split())} "
