"""The rules behind `judge probe`: what is wrong with a page, each finding with its place and reason.

Facts are held against the catalogue by the guard of the product's own explanations
(`agents/explaining/sentence_guard.py`), so a page from elsewhere is judged by the same measure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Literal, get_args

from foretaste.agents.explaining.facts import CALENDAR, thing_of
from foretaste.agents.explaining.languages import Language, language
from foretaste.agents.explaining.sentence_guard import Thing, check_facts
from foretaste.agents.wording.asking import CheckFailed
from foretaste.agents.wording.lexicon import words
from foretaste.data.dataset import Dataset
from foretaste.judge.probes.pages import Page

Kind = Literal["factual", "foreign", "repeated", "empty", "unsafe", "shuffled", "out_of_season"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_MARKUP = re.compile(
    r"<\s*/?\s*[a-z!]|javascript:|https?://|www\.|\S+@\S+\.\w{2,}|\{\{", re.IGNORECASE
)
_FEWEST = 2  # words of a text that says something
#: Words of the calendar that mean the same time.
_SAME = (
    frozenset({"autumn", "fall"}),
    frozenset({"christmas", "xmas", "advent"}),
    frozenset({"valentine", "valentine's"}),
)
#: What is only said of another time of year in this sense; "spring" and "fall" mean much else.
DOUBTFUL = frozenset({"fall", "spring", "easter", "carnival", "eid"})


@dataclass(frozen=True)
class Finding:
    """One defect: its kind, the place of the page (None for all of it), and why."""

    kind: Kind
    place: int | None
    reason: str


class Detectors:
    """All rules over one data set, and the head that tells foreign items when there is one.

    Args:
        dataset: the catalogue.
        foreign: tells whether a page's items suit its person hardly, as `fit.py` does; without it
            foreign items are not looked for.
        code: language of the sentences.
    """

    def __init__(
        self,
        dataset: Dataset,
        foreign: Callable[[Page], bool] | None = None,
        code: str = "en",
    ) -> None:
        self._dataset, self._suits_hardly = dataset, foreign
        self._language: Language = language(code)
        self._things: dict[int, Thing] = {}

    def findings(self, page: Page) -> list[Finding]:
        """Everything that is wrong with a page."""
        return [
            *self._empty(page),
            *self._repeated(page),
            *self._unsafe(page),
            *self._sentences(page),
            *self._seasons(page),
            *self._foreign(page),
        ]

    def _empty(self, page: Page) -> Iterator[Finding]:
        if not page.places:
            yield Finding("empty", None, "the page holds no item")
        for number, place in enumerate(page.places):
            if len(words(place.text)) < _FEWEST:
                yield Finding("empty", number, "the explanation says nothing")

    def _repeated(self, page: Page) -> Iterator[Finding]:
        count, chosen = Counter(page.item_ids), set(page.history)
        for number, item_id in enumerate(page.item_ids):
            if count[item_id] > 1:
                yield Finding("repeated", number, "the item stands on the page twice")
            elif item_id in chosen:
                yield Finding("repeated", number, "the item was chosen before")

    def _unsafe(self, page: Page) -> Iterator[Finding]:
        for number, place in enumerate(page.places):
            if _MARKUP.search(place.text):
                yield Finding("unsafe", number, "the explanation holds markup or an address")
                continue
            said = self._without_titles(page, number)
            wrong = next((one for one in self._forbidden if f" {one} " in said), None)
            if wrong:
                yield Finding("unsafe", number, f"the explanation says {wrong!r}")

    def _sentences(self, page: Page) -> Iterator[Finding]:
        """Sentences that say what is not so, or that belong to another item of the page."""
        for number, place in enumerate(page.places):
            row = self._dataset.row_of.get(place.item_id)
            if row is None:
                yield Finding("factual", number, "the item is not in the catalogue")
                continue
            if len(words(place.text)) < _FEWEST:
                continue
            other = self._belongs(page, number)
            if other is not None:
                yield Finding("shuffled", number, f"the explanation is about place {other + 1}")
                continue
            try:
                chosen = self._named(page, place.text)
                known = f"{place.known} {' '.join(self._moments(page))}"
                check_facts(place.text, self._thing(row), chosen, self._language, known=known)
            except CheckFailed as problem:
                yield Finding("factual", number, str(problem))

    def _seasons(self, page: Page) -> Iterator[Finding]:
        named = self._moments(page)
        if not named:
            return
        for number, place in enumerate(page.places):
            row = self._dataset.row_of.get(place.item_id)
            said = set(words(self._dataset.titles[row])) if row is not None else set()
            times = (said & CALENDAR) - DOUBTFUL
            if times and not times & named:
                yield Finding("out_of_season", number, f"the item is for {min(times)}")

    def _foreign(self, page: Page) -> Iterator[Finding]:
        if self._suits_hardly is None or not page.places or not page.history:
            return
        if self._suits_hardly(page):
            yield Finding("foreign", None, "the items hardly suit what this person chose")

    def _moments(self, page: Page) -> set[str]:
        """Seasons and holidays that a page may name."""
        today = set(words(" ".join(page.environment))) & CALENDAR
        return {one for same in _SAME if same & today for one in same} | today

    def _belongs(self, page: Page, number: int) -> int | None:
        """The place whose item this sentence names while it does not name its own."""
        text = page.places[number].text
        titles = [self._title(place.item_id) for place in page.places]
        if not titles[number] or titles[number] in text:
            return None
        return next((i for i, title in enumerate(titles) if title and title in text), None)

    def _named(self, page: Page, text: str) -> list[Thing]:
        """Items of the history that a sentence names: all content words of a title, in its order.

        So "Assignment (1997)" names "Assignment, The (1997)".
        """
        rows = {self._dataset.row_of.get(one) for one in page.history}
        things = [self._thing(row) for row in rows if row is not None]
        said = _phrase(text)
        return [one for one in things if _phrase(one.title) in said and words(one.title)]

    def _without_titles(self, page: Page, number: int) -> str:
        """A sentence without the titles that it may name: those are the catalogue's words."""
        text = page.places[number].text
        own = self._title(page.places[number].item_id)
        titles = [own, *(one.title for one in self._named(page, text))]
        said = _phrase(text)
        for title in sorted(filter(words, titles), key=len, reverse=True):
            said = said.replace(_phrase(title), "  ")
        return said

    def _title(self, item_id: str) -> str:
        row = self._dataset.row_of.get(item_id)
        return "" if row is None else self._thing(row).title

    def _thing(self, row: int) -> Thing:
        if row not in self._things:
            self._things[row] = thing_of(self._dataset, row)
        return self._things[row]

    @cached_property
    def _forbidden(self) -> tuple[str, ...]:
        """Phrases that no explanation holds."""
        text = files("foretaste.judge.probes").joinpath("words", "unsafe.txt").read_text("utf-8")
        return tuple(" ".join(words(line)) for line in text.splitlines() if line.strip())


def _phrase(text: str) -> str:
    """The content words of a text, with a space before, between and behind."""
    return f" {' '.join(words(text))} "
