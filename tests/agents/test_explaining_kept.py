"""What explanations are made with: the seven dimensions, diversity by hand, memory and cache."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.agents.explaining.dimensions import DIMENSIONS, NAMES
from foretaste.agents.explaining.diversity import diversity, document_counts, r_div, rouge_l, tokens
from foretaste.agents.explaining.kept import Explanations, Sentence, SentenceCache
from foretaste.agents.explaining.memory import Memory

WORDS = st.lists(st.sampled_from(["red", "blue", "old", "shoe"]), max_size=6).map(" ".join)


def test_the_seven_dimensions_have_one_name_each() -> None:
    assert tuple(one.name for one in DIMENSIONS) == NAMES
    assert len(set(NAMES)) == 7
    assert all(one.asks.endswith("?") for one in DIMENSIONS)


def test_r_div_by_hand() -> None:
    memory = ["a b", "a c", "a d", "e"]
    # a stands in three of four, b in one, x in none
    expected = (math.log(4 / 4) + math.log(4 / 2) + math.log(4 / 1)) / 3
    assert r_div("a b x", memory) == pytest.approx(expected)
    assert r_div("A, B; X!", memory) == pytest.approx(expected), "case and marks say nothing"
    assert r_div("a b x", []) == r_div("", memory) == 0
    assert r_div("a", ["a"] * 160) == pytest.approx(math.log(160 / 161)), "worn out: below zero"


@given(st.lists(WORDS, max_size=12), WORDS, st.integers(1, 6))
def test_a_memory_is_the_newest_texts(texts: list[str], text: str, size: int) -> None:
    memory = Memory(size=size)
    for one in texts:
        memory.add([one])
    assert memory.texts() == texts[-size:]
    assert len(memory) == min(len(texts), size)
    assert memory.novelties([text]) == pytest.approx([r_div(text, texts[-size:])])


@given(WORDS, WORDS)
def test_rouge_l_is_a_likeness(one: str, other: str) -> None:
    assert 0 <= rouge_l(one, other) <= 1
    assert rouge_l(one, other) == rouge_l(other, one)
    assert rouge_l(one, one) == (1 if one else 0)


def test_diversity_by_hand() -> None:
    # the cat sat | the cat ran: two of three words in order; a | b: nothing
    assert rouge_l("the cat sat", "the cat ran") == pytest.approx(2 / 3)
    assert rouge_l("a b c d", "d c b a") == pytest.approx(1 / 4)
    assert diversity(["a b", "a b", "c d"]) == pytest.approx(1 - (1 + 0 + 0) / 3)
    assert diversity(["alone"]) == 1


def test_a_memory_is_shared_by_threads() -> None:
    memory = Memory()

    def work(number: int) -> None:
        for i in range(200):
            memory.add([f"thread {number} says {i}"])
            memory.novelties(["thread says"])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(memory) == 160
    text = "thread 1 says 199"
    counts = document_counts(memory.texts())
    expected = sum(math.log(160 / (counts[word] + 1)) for word in tokens(text)) / 4
    assert memory.novelties([text]) == pytest.approx([expected])


def test_a_cache_is_read_by_the_next_process_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "films.sqlite"
    cache = SentenceCache(path, bound=3)
    cache.put({"a": Sentence("one", "model"), "b": Sentence("two", "fallback")})
    other = SentenceCache(path, bound=3)
    assert other.get(["a", "b", "c"]) == {"a": ("one", "model"), "b": ("two", "fallback")}
    for number in range(10):
        other.put({f"n{number}": Sentence("x", "model")})
    other.trim()
    assert len(other) == 3
    assert set(other.get(["a", "n8", "n9"])) == {"n8", "n9"}


def test_a_damaged_cache_is_no_reason_to_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "films.sqlite"
    path.write_bytes(b"this is no database, and it is long enough to be looked at" * 40)
    cache = SentenceCache(path)
    assert cache.get(["a"]) == {}
    cache.put({"a": Sentence("one", "model")})
    assert cache.get(["a"]) == {"a": ("one", "model")}
    assert "delete it" in capsys.readouterr().err


def test_the_memory_outlives_the_process_when_asked(home: Path) -> None:
    Explanations.of("films", keep=True).remember([f"text {n}" for n in range(200)])
    assert Explanations.of("films", keep=True).memory.texts() == [
        f"text {n}" for n in range(40, 200)
    ]
    assert len(Explanations.of("films").memory) == 0
