"""Terms of a catalogue while single items change: always what counting it afresh would give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretaste.agents.wording import terms as module
from foretaste.agents.wording.terms import Terms


def test_by_hand_a_changed_row_leaves_its_old_terms() -> None:
    before = Terms.of([["red", "shoe"], ["red"], ["hat"]])
    after = before.with_rows([1, 3], [["hat", "wool"], ["shoe"]])
    assert after.items == 4
    assert {name: after.carriers(name).tolist() for name in ("red", "shoe", "hat", "wool")} == {
        "red": [0],
        "shoe": [0, 3],
        "hat": [1, 2],
        "wool": [1],
    }
    assert after.held.tolist() == [1, 2, 2, 1]
    assert after.idf[after.number["red"]] == pytest.approx(np.log(4))
    assert after.names_of(1) == {"hat", "wool"}
    assert after.names_of(9) == set()


def test_what_it_came_from_stays_as_it_was() -> None:
    before = Terms.of([["red"], ["hat"]])
    before.with_rows([0, 2], [["wool"], ["wool"]])
    assert before.carriers("wool").tolist() == []
    assert before.carriers("red").tolist() == [0]
    assert before.counts([0, 1]).tolist() == [1, 1]
    assert before.matrix_of([0]).toarray().tolist() == [[1, 0]]


ROW = st.tuples(st.integers(0, 7), st.lists(st.sampled_from("abcdefg"), max_size=4))


@pytest.mark.parametrize("beside", [0, 2, 1000], ids=["folded", "both", "beside"])
@given(
    start=st.lists(st.lists(st.sampled_from("abcd"), max_size=4), max_size=5), changes=st.lists(ROW)
)
@settings(max_examples=60, deadline=None)
def test_after_any_changes_they_equal_terms_made_at_once(
    beside: int, start: list[list[str]], changes: list[tuple[int, list[str]]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BESIDE", beside)
        grown, whole = Terms.of(start), [*start]
        for row, names in changes:
            place = min(row, len(whole))
            whole[place : place + 1] = [names]
            grown = grown.with_rows([place], [names])
    fresh, rows = Terms.of(whole), range(len(whole))
    order = [grown.number[name] for name in fresh.names]
    assert grown.items == fresh.items
    for name in "abcdefg":
        assert grown.carriers(name).tolist() == fresh.carriers(name).tolist()
    np.testing.assert_array_equal(grown.held[order], fresh.held)
    np.testing.assert_array_equal(grown.idf[order], fresh.idf)
    np.testing.assert_array_equal(grown.counts(rows)[order], fresh.counts(rows))
    np.testing.assert_array_equal(grown.present.toarray()[:, order], fresh.present.toarray())
    np.testing.assert_array_equal(grown.by_term.toarray()[:, order], fresh.by_term.toarray())
    share = np.linspace(1, 2, len(whole))
    np.testing.assert_allclose(grown.weights(rows, share)[order], fresh.weights(rows, share))
    np.testing.assert_allclose(
        grown.dense(rows) @ grown.dense(rows).T, fresh.dense(rows) @ fresh.dense(rows).T
    )
