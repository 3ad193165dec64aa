"""The fallbacks that need no language model: numbers by hand, then laws."""

from __future__ import annotations

import numpy as np

from foretaste.agents.reasoning import grounded
from foretaste.agents.retrieval.tools import Tools
from foretaste.agents.wording.lexicon import Lexicon, words
from foretaste.data.dataset import Dataset


def test_distinctive_categories_are_those_that_few_items_carry(dataset: Dataset) -> None:
    lexicon = Lexicon(dataset.items)
    rows = dataset.rows(["space-1", "space-2"])
    assert grounded.distinctive(lexicon.categories, rows, 2) == ["Adventure", "Sci-Fi"]


def test_tags_match_items_that_may_still_be_recommended(dataset: Dataset) -> None:
    lexicon = Lexicon(dataset.items)
    rows = dataset.rows(["space-1"])
    allowed = np.ones(len(dataset.item_ids), dtype=bool)
    allowed[rows] = False
    tags = grounded.tags(rows, lexicon, allowed, 6, 0)
    assert tags[0].text in {"Sci-Fi Adventure", "Adventure Sci-Fi"}
    for tag in tags:
        assert allowed[lexicon.matching(tag.text)].any(), tag.text
    keys = [" ".join(sorted(words(tag.text))) for tag in tags]
    assert len(keys) == len(set(keys))


def test_a_tagless_catalogue_still_gives_tags_of_its_words(tools: Tools) -> None:
    import polars as pl

    items = tools.dataset.items.with_columns(
        categories=pl.Series([[] for _ in range(12)], dtype=pl.List(pl.String)),
        title=pl.Series(["red shoe", "red boot", "blue shoe"] + ["thing"] * 9),
    )
    allowed = np.ones(12, dtype=bool)
    allowed[0] = False
    texts = [tag.text for tag in grounded.tags([0], Lexicon(items), allowed, 4, 0)]
    assert texts, "words stand in for categories"
    assert all(set(text.split()) <= {"red", "shoe"} for text in texts)
