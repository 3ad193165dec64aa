"""The guard of explanations: facts pass, whatever else a sentence says fails, in each language."""

from __future__ import annotations

import string
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents.explaining.facts import Facts
from foretaste.agents.explaining.languages import audience, audiences, language, languages, stem
from foretaste.agents.explaining.memory import Memory
from foretaste.agents.explaining.sentence_guard import Thing, check_sentence
from foretaste.agents.explaining.twin import sentences
from foretaste.agents.wording.asking import CheckFailed
from foretaste.data.errors import InputError

MOON = Thing("Moon Station (1984)", ("Sci-Fi", "Adventure", "Space Line"))
STAR = Thing("Star Voyage (1980)", ("Sci-Fi", "Adventure", "Musical"))
KINDS = ("shared", "tag", "people", "near", "wish", "popular", "fresh", "trending")


def _held(text: str, *, known: str = "", code: str = "en", item: Thing = MOON) -> str:
    return check_sentence(text, item, [STAR], language(code), known=known)


@pytest.mark.parametrize(
    "text",
    [
        "Like Star Voyage, it is a Sci-Fi adventure.",
        "Moon Station (1984) is an adventure for you.",
        "You chose star voyage; MOON STATION is Sci-Fi as well.",
        "Moon Station of Space Line is for you.",
        "After Star Voyage, a Musical, here is Moon Station.",
        "You chose Star Voyage (1980), and this is an adventure as well.",
        "Star Voyage is an adventure; Moon Station is an adventure too.",
    ],
)
def test_facts_pass(text: str) -> None:
    assert _held(text) == text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Moon Station won 7 prizes.", "'won'"),
        ("Moon Station is the best adventure.", "'best', a claim"),
        ("A best-selling Sci-Fi adventure for you.", "'best', a claim"),
        ("Moon Station is not a Sci-Fi adventure.", "'not', a claim"),
        ("Moon Station has more adventure than Star Voyage.", "'more', a claim"),
        ("You loved Star Voyage, and Moon Station is Sci-Fi.", "'loved'"),
        ("An adventure with Harrison Ford in it.", "'harrison'"),
        ("Moon Station is from 1985.", "'1985'"),
        ("Moon Station is from 198.", "'198'"),
        ("Moon Station is from 1980, an adventure.", None),
        ("A fine adventure for you, Moon Station.", "'fine'"),
        ("You will like this item as it suits", "names no fact"),
        ("adventure adventure adventure adventure", "repeats itself"),
        ("Your kind of Adventure, Adventure, Sci-Fi: Moon Station.", "'adventure' twice in a row"),
        ("Moon Station is Sci-Fi, as is Moon Station.", "explained item twice"),
        (
            "If Star Voyage was your kind of Adventure, Star Voyage may be as well.",
            "same title twice",
        ),
        ("", "empty"),
        ("Moon Station is a Musical.", "'musical' of an item that is not so filed"),
        ("Like Star Voyage, it is a Musical.", "'musical' of an item that is not so filed"),
        ("You chose Star Voyage and Moon Station is a Musical.", "'musical' of an item"),
        ("Star Station is a Sci-Fi adventure.", "joins parts of two titles"),
        ("You chose Moon Station, a Sci-Fi adventure.", "chosen before"),
    ],
)
def test_what_no_fact_bears_out_fails(text: str, fault: str | None) -> None:
    if fault is None:  # the year of the chosen item: known, though of another item
        assert _held(text)
        return
    with pytest.raises(CheckFailed, match=fault):
        _held(text)


def test_numbers_match_as_they_stand() -> None:
    cream = Thing("Cream 0.5 Ounce, 20% Zinc, SPF 30", ("Skin Care",))
    for text in ("Cream of 0.5 ounce for skin care.", "Skin care with 20% zinc: cream."):
        assert _held(text, item=cream)
    for number in ("5", "0", "0.50", "20", "3"):
        with pytest.raises(CheckFailed, match=f"'{number}'"):
            _held(f"Skin care cream with {number} ounce.", item=cream)


def test_a_claim_may_stand_in_its_title_and_nowhere_else() -> None:
    out = Thing("No Way Out (1987)", ("Thriller",))
    assert _held("No Way Out is a Thriller for you.", item=out)
    with pytest.raises(CheckFailed, match="'no', a claim"):
        _held("No Thriller is like No Way Out here.", item=out)


def test_what_is_known_beside_names_may_be_said() -> None:
    assert _held("It fits 'cold winter', as Star Voyage does.", known="cold winter")
    with pytest.raises(CheckFailed, match="'cold'"):
        _held("It fits 'cold winter', as Star Voyage does.")


@pytest.mark.parametrize(
    ("code", "good", "bad", "fault"),
    [
        (
            "nl",
            "Je koos Star Voyage; Moon Station is ook Sci-Fi.",
            "Moon Station won prijzen.",
            "won",
        ),
        ("nl", "Net als Star Voyage is dit een Sci-Fi Adventure.", "Geen Sci-Fi is beter.", "geen"),
        ("de", "Sie haben Star Voyage gewählt; auch Sci-Fi.", "Moon Station ist besser.", "besser"),
        ("de", "Moon Station passt zu Star Voyage.", "Moon Station hat 3 Preise.", "3"),
        ("fr", "Comme Star Voyage, c'est aussi Sci-Fi.", "Moon Station n'est pas Sci-Fi.", "pas"),
        ("fr", "Moon Station est proche de Star Voyage.", "Le meilleur est Moon Station.", "meill"),
        ("es", "Elegiste Star Voyage; Moon Station también.", "Moon Station es mejor.", "mejor"),
        ("es", "Moon Station es Sci-Fi, como Star Voyage.", "Moon Station ganó un premio.", "ganó"),
    ],
)
def test_it_works_in_every_language(code: str, good: str, bad: str, fault: str) -> None:
    assert _held(good, code=code) == good
    with pytest.raises(CheckFailed, match=fault):
        _held(bad, code=code)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("nl", "Je koos Moon Station, dat is Sci-Fi."),
        ("de", "Sie haben Moon Station gewählt, es ist Sci-Fi."),
        ("fr", "Vous avez choisi Moon Station, c'est Sci-Fi."),
        ("es", "Elegiste Moon Station, que es Sci-Fi."),
        ("en", "Star Voyage is Sci-Fi, as is Moon Station, which you chose."),
        (
            "en",
            "Sci-Fi: that is what Star Voyage shares with Moon Station (1984) from your history.",
        ),
        ("en", "Your choice of Moon Station points to Sci-Fi; Star Voyage belongs there too."),
        ("en", "If Moon Station was your kind of Sci-Fi, Star Voyage may be as well."),
        ("nl", "Star Voyage is Sci-Fi, net als Moon Station, dat je koos."),
        ("de", "Star Voyage ist Sci-Fi, genau wie Moon Station aus Ihrer Auswahl."),
        ("fr", "Star Voyage relève du genre Sci-Fi, comme Moon Station que vous avez choisi."),
        ("es", "Star Voyage es Sci-Fi, igual que Moon Station, que elegiste."),
    ],
)
def test_nobody_is_told_to_have_chosen_what_is_new_to_them(code: str, text: str) -> None:
    with pytest.raises(CheckFailed, match="chosen before"):
        _held(text, code=code)


def _facts(kind: str, moment: str | None) -> Facts:
    return Facts(
        item_id="moon",
        item=MOON,
        kind=kind,
        categories=("Sci-Fi", "Adventure"),
        evidence=STAR if kind in ("shared", "tag") else None,
        shared=("Sci-Fi", "Adventure") if kind == "shared" else (),
        tag="lonely moon walks" if kind == "tag" else None,
        moment=moment,
    )


@pytest.mark.parametrize("code", languages())
@pytest.mark.parametrize("readers", audiences())
@pytest.mark.parametrize("kind", KINDS)
def test_every_sentence_of_the_twin_passes_the_guard(code: str, readers: str, kind: str) -> None:
    spoken = language(code)
    patterns = spoken.patterns(kind, readers)
    assert len(patterns) == len(set(patterns)) >= 2
    for moment in (None, "winter"):
        seen = set()
        for seed in range(60):
            facts = _facts(kind, moment)
            (text,) = sentences([facts], spoken, readers, Memory(), seed)
            assert check_sentence(text, MOON, facts.chosen, spoken, known=facts.known) == text
            assert "{" not in text
            assert moment is None or moment in text
            seen.add(text)
        assert len(seen) >= len(patterns) - 1


def test_languages_and_audiences_are_complete() -> None:
    assert set(languages()) == {"de", "en", "es", "fr", "nl"}
    assert set(audiences()) == {"child", "expert", "general"}
    for code in languages():
        spoken = language(code)
        assert set(spoken.sentences) == set(KINDS)
        assert all("general" in of_kind for of_kind in spoken.sentences.values())
        assert spoken.moments
    assert all(audience(name).first for name in audiences())


@pytest.mark.parametrize(("call", "known"), [(language, "de, en, es"), (audience, "child, expert")])
@pytest.mark.parametrize("name", ["xx", "", "../en", "en.toml"])
def test_an_unknown_language_is_one_sentence_that_lists_the_known(
    call: object, known: str, name: str
) -> None:
    with pytest.raises(InputError, match=f"expects one of {known}.*{name!r}"):
        call(name)  # type: ignore[operator]


@given(st.text(max_size=120))
def test_no_text_brings_the_guard_down(text: str) -> None:
    with suppress(CheckFailed):
        assert _held(text) == " ".join(text.split())


@given(st.text(alphabet=string.ascii_lowercase, min_size=4, max_size=12))
def test_a_strange_word_never_passes(word: str) -> None:
    spoken = language("en")
    names = {
        w
        for thing in (MOON, STAR)
        for w in spoken.stems(" ".join((thing.title, *thing.attributes)))
    }
    if stem(word) in names | spoken.glue:
        return
    with pytest.raises(CheckFailed):
        _held(f"Moon Station is a {word} adventure.")
