"""Traffic allocation: cases by hand, the conditions of optimality, and a general solver."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, minimize

from foretaste.agents.ranking.allocation import allocate
from foretaste.data.errors import InputError

NUMBERS = st.integers(-20, 20).map(lambda tenths: tenths / 10)
ITEMS = st.lists(st.tuples(NUMBERS, st.integers(0, 20)), min_size=1, max_size=12)


def test_without_limits_that_bind_an_item_is_shown_by_its_value() -> None:
    found = allocate(np.array([2.0, 0.5, -1.0]), np.array([0.3, 0.3, 0.3]), 0.1, strength=1.0)
    assert found.exposure.tolist() == [1.0, 0.5, 0.0]
    assert (found.floor_price, found.count_price) == (0.0, 0.0)
    assert found.shown.tolist() == [True, False, False]


def test_the_count_binds_from_above_and_below() -> None:
    even = np.zeros(2)
    found = allocate(np.array([1.0, 0.5]), even, 0.0, most=1.0, strength=1.0)
    assert found.exposure == pytest.approx([0.75, 0.25])
    assert found.count_price == pytest.approx(-0.25)
    found = allocate(np.array([-1.0, -3.0]), even, 0.0, least=1.0, strength=1.0)
    assert found.exposure == pytest.approx([1.0, 0.0])


def test_the_floor_takes_the_worst_converter_out() -> None:
    found = allocate(np.array([1.0, 1.0]), np.array([0.0, 0.2]), 0.2, strength=1.0)
    assert found.exposure == pytest.approx([0.0, 1.0], abs=1e-9)
    none = allocate(np.array([1.0, 1.0]), np.array([0.1, 0.1]), 0.2, strength=1.0)
    assert none.exposure == pytest.approx([0.0, 0.0], abs=1e-9)


def test_what_nobody_can_keep_is_one_sentence() -> None:
    with pytest.raises(InputError, match="lower the floor or the least count"):
        allocate(np.ones(2), np.full(2, 0.1), 0.2, least=1.0)
    with pytest.raises(InputError, match="count range"):
        allocate(np.ones(2), np.ones(2), 0.0, least=3.0)
    with pytest.raises(InputError, match="strength"):
        allocate(np.ones(2), np.ones(2), 0.0, strength=0.0)
    with pytest.raises(InputError, match="finite"):
        allocate(np.array([np.nan]), np.ones(1), 0.0)
    with pytest.raises(InputError, match="shape"):
        allocate(np.ones(2), np.ones(3), 0.0)


@settings(deadline=None, max_examples=150)
@given(ITEMS, st.integers(0, 20), st.data(), st.sampled_from([0.05, 0.3, 1.0, 4.0]))
def test_equal_to_a_general_solver(
    items: list[tuple[float, int]], floor: int, data: st.DataObject, strength: float
) -> None:
    value = np.array([one for one, _ in items])
    conversion = np.array([one / 20 for _, one in items])
    least = data.draw(st.floats(0, len(items)).map(lambda x: round(x, 1)))
    most = data.draw(st.floats(least, len(items)).map(lambda x: round(x, 1)))
    assume(least <= most)
    surplus = conversion - floor / 20
    try:
        found = allocate(value, conversion, floor / 20, least, most, strength)
    except InputError:
        # Then even the items with the largest surplus miss the floor.
        assert _objective_of_the_best(surplus, least, most) < 0
        return
    x = found.exposure
    assert surplus @ x >= -1e-9
    assert least - 1e-9 <= x.sum() <= most + 1e-9
    assert found.floor_price >= 0
    assert found.floor_price * (surplus @ x) == pytest.approx(0, abs=1e-6), "slackness"
    solved = minimize(
        lambda y: -(value @ y) + strength / 2 * (y @ y),
        x0=np.full(len(value), (least + most) / 2 / len(value)),
        jac=lambda y: strength * y - value,
        bounds=[(0, 1)] * len(value),
        constraints=[
            LinearConstraint(surplus[None], 0, np.inf),
            LinearConstraint(np.ones((1, len(value))), least, most),
        ],
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    if solved.success:
        ours = value @ x - strength / 2 * (x @ x)
        assert ours == pytest.approx(-solved.fun, abs=1e-5)


def _objective_of_the_best(surplus: np.ndarray, least: float, most: float) -> float:
    """The largest surplus by linear programming."""
    from scipy.optimize import linprog

    ones = np.ones((1, len(surplus)))
    solved = linprog(
        -surplus,
        A_ub=np.vstack([ones, -ones]),
        b_ub=[most, -least],
        bounds=(0, 1),
    )
    return float(-solved.fun)


@settings(deadline=None, max_examples=60)
@given(ITEMS, st.integers(0, 20))
def test_a_higher_floor_is_never_worth_more(items: list[tuple[float, int]], floor: int) -> None:
    value = np.array([one for one, _ in items])
    conversion = np.array([one / 20 for _, one in items])

    def best(limit: float) -> float:
        x = allocate(value, conversion, limit, strength=1.0).exposure
        return float(value @ x - x @ x / 2)

    assert best((floor + 1) / 20) <= best(floor / 20) + 1e-9
