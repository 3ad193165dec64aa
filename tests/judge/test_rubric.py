"""Rubrics: the shipped ones hold, a user's own is read, a wrong one is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from foretaste.agents.explaining.dimensions import DIMENSIONS
from foretaste.data.errors import InputError
from foretaste.judge.rubric import SHIPPED, load_rubric

OWN = """
name = "tone"
target = "explanation"
about = "The answer is a sentence."
[[dimensions]]
name = "warmth"
question = "Is it warm?"
negative = "It is cold."
acceptable = "It is neutral."
positive = "It is warm."
"""


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_rubric_holds(name: str) -> None:
    rubric = load_rubric(name)
    assert rubric.name == rubric.target == name
    assert load_rubric(name).fingerprint == rubric.fingerprint


def test_the_dimensions_are_those_of_the_papers() -> None:
    tags = ("relevance", "consistency", "specificity", "validity")
    assert load_rubric("tag").names == tags
    assert load_rubric("list").names == ("fit", "diversity", "novelty", "redundancy")


def test_explanations_are_judged_by_what_writers_are_told() -> None:
    asked = {one.name: one.question for one in load_rubric("explanation").dimensions}
    assert asked == {one.name: one.asks for one in DIMENSIONS}


def test_a_users_own_rubric(tmp_path: Path) -> None:
    path = tmp_path / "tone.toml"
    path.write_text(OWN)
    rubric = load_rubric(str(path))
    assert rubric.names == ("warmth",)
    path.write_text(OWN.replace("It is warm.", "It is very warm."))
    assert load_rubric(str(path)).fingerprint != rubric.fingerprint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OWN.replace('"explanation"', '"poem"'), "target"),
        (
            OWN + OWN.partition("[[dimensions]]")[2].join(["[[dimensions]]", ""]),
            "a name of its own",
        ),
        ("name = ", "not valid TOML"),
        (OWN.replace('question = "Is it warm?"\n', ""), "dimensions.0.question"),
        (OWN + "colour = 1", "dimensions.0.colour"),
    ],
)
def test_a_wrong_rubric_is_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        load_rubric(str(path))


def test_an_unknown_rubric_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="tag, explanation, item, list, page"):
        load_rubric("vibes")
    with pytest.raises(InputError, match="cannot be read"):
        load_rubric("nowhere.toml")
