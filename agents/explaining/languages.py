"""In which languages and for which readers explanations can be written: one small file each.

`words/<code>.toml` holds a language: its linking words, the words that make a claim, and the
sentences of the grounded twin. `audiences/<name>.toml` holds whom one writes for.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel

from foretaste.agents.explaining.dimensions import DimensionName
from foretaste.agents.explaining.diversity import tokens
from foretaste.data.errors import InputError

GENERAL = "general"
_FIELD = re.compile(r"\{\w+\}")
_KINDS = ("shared", "tag", "people", "near", "wish", "popular", "fresh", "trending")


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes:
        code: of ISO 639-1.
        name: in English, for prompts.
        conjunction: the word for "and".
        glue: stems of words that link facts and state none.
        claims: stems of negations, comparisons and praise.
        it: words that stand for the explained item.
        you_chose: how a sentence says what the person chose, before its title; each as its words.
        was_chosen: the same, behind its title.
        split_apostrophes: whether words are parted at apostrophes.
        sentences: kind of reason → audience → patterns.
        moments: sentences about the time of year.
        fingerprint: of the file, 16 hex digits.
    """

    code: str
    name: str
    conjunction: str
    glue: frozenset[str]
    claims: frozenset[str]
    it: frozenset[str]
    you_chose: tuple[tuple[str, ...], ...]
    was_chosen: tuple[tuple[str, ...], ...]
    split_apostrophes: bool
    sentences: Mapping[str, Mapping[str, tuple[str, ...]]]
    moments: tuple[str, ...]
    fingerprint: str

    def tokens(self, text: str) -> list[str]:
        """The words of a text as this language parts them."""
        return tokens(text, split_apostrophes=self.split_apostrophes)

    def stems(self, text: str) -> list[str]:
        """The same without endings of possessive and plural."""
        return [stem(word) for word in self.tokens(text)]

    def patterns(self, kind: str, audience: str) -> tuple[str, ...]:
        """The sentences for one kind of reason, for this audience or else for anyone."""
        by_audience = self.sentences[kind]
        return by_audience.get(audience) or by_audience[GENERAL]

    def joined(self, names: tuple[str, ...]) -> str:
        """Names with "and" before the last."""
        return f" {self.conjunction} ".join(names)


class Audience(BaseModel, frozen=True, extra="forbid"):
    """Whom an explanation is written for.

    Attributes:
        readers: who they are, for the prompt.
        tone: of the sentences.
        first: the dimensions that matter most.
        avoid: what to leave out.
    """

    readers: str
    tone: str
    first: tuple[DimensionName, ...]
    avoid: str


def stem(word: str) -> str:
    """A word without the endings of possessive and plural.

    >>> [stem(word) for word in ("children's", "comedies", "films", "bus")]
    ['children', 'comedy', 'film', 'bus']
    """
    word = word.removesuffix("'s").removesuffix("'")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] not in "su" else word


def languages() -> tuple[str, ...]:
    """Codes of the languages that there are files for."""
    return _names("words")


def audiences() -> tuple[str, ...]:
    """Names of the audiences that there are files for."""
    return _names("audiences")


@cache
def language(code: str) -> Language:
    """The language of a code.

    Raises:
        InputError: there is no file for it.
    """
    text = _text("language", "words", code)
    values = tomllib.loads(text)
    split = bool(values["split_apostrophes"])
    sentences = {
        kind: {audience: tuple(patterns) for audience, patterns in values[kind].items()}
        for kind in _KINDS
    }
    moments = tuple(values["moment"])
    own = [pattern for kind in sentences.values() for some in kind.values() for pattern in some]
    said = _FIELD.sub(" ", " ".join([*own, *moments, values["glue"], values["and"]]))

    def stems(text: str) -> frozenset[str]:
        return frozenset(stem(word) for word in tokens(text, split_apostrophes=split))

    def phrases(name: str) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(map(stem, phrase.split())) for phrase in values[name])

    return Language(
        code=code,
        name=values["name"],
        conjunction=values["and"],
        glue=stems(said),
        claims=stems(values["claims"]) - stems(_FIELD.sub(" ", " ".join([*own, *moments]))),
        it=stems(values["it"]),
        you_chose=phrases("you_chose"),
        was_chosen=phrases("was_chosen"),
        split_apostrophes=split,
        sentences=sentences,
        moments=moments,
        fingerprint=hashlib.sha256(text.encode()).hexdigest()[:16],
    )


@cache
def audience(name: str) -> Audience:
    """The audience of a name.

    Raises:
        InputError: there is no file for it.
    """
    values = tomllib.loads(_text("audience", "audiences", name))
    return Audience.model_validate(_lists_as_tuples(values))


def _lists_as_tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _text(setting: str, folder: str, name: str) -> str:
    """What the file of this name in a folder says, for a setting of the agents."""
    if name not in (known := _names(folder)):
        raise InputError(
            f"agents.{setting} expects one of {', '.join(known)}, not {name!r}; choose one."
        )
    return files("foretaste.agents").joinpath(folder, f"{name}.toml").read_text("utf-8")


@cache
def _names(folder: str) -> tuple[str, ...]:
    found = files("foretaste.agents").joinpath(folder).iterdir()
    return tuple(
        sorted(one.name.removesuffix(".toml") for one in found if one.name.endswith(".toml"))
    )
