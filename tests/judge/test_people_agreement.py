"""κ, α, ρ and AUC by hand and by law; folds and calibration that never see what they are asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretaste.data.errors import InputError
from foretaste.judge.people.agree import folds_of
from foretaste.judge.people.agreement import (
    alpha,
    balanced_accuracy,
    calibration,
    confusion,
    kappa,
    roc_auc,
    spearman,
)
from foretaste.judge.people.calibration import best_cuts, fit_calibration

NO = np.nan
# Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", part C: four raters, twelve units.
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NO, NO, NO],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NO, 3],
        [NO, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NO],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NO],
    ]
).T


def test_kappa_by_hand() -> None:
    # 35 of 50 agree; by chance 25: (0.7 − 0.5) / 0.5
    assert kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    assert kappa(np.array([[5, 0], [0, 5]])) == 1
    assert kappa(np.array([[0, 5], [5, 0]])) == -1
    assert np.isnan(kappa(np.array([[10, 0], [0, 0]])))


def test_weighted_kappa_by_hand() -> None:
    table = np.array([[2, 1, 0], [0, 2, 0], [1, 0, 2]])  # rows 3, 2, 3; columns 3, 3, 2; n = 8
    # linear: observed 1 + 2 = 3; expected (1·9 + 2·6 + 1·6 + 1·4 + 2·9 + 1·9) / 8 = 58 / 8
    assert kappa(table, "linear") == pytest.approx(1 - 3 / (58 / 8))
    # squares: observed 1 + 4 = 5; expected (9 + 4·6 + 6 + 4 + 4·9 + 9) / 8 = 88 / 8
    assert kappa(table, "quadratic") == pytest.approx(1 - 5 / 11)
    apart = np.array([0.0, 1.0, 3.0])  # levels that are not one apart weigh by their values
    assert kappa(table, "quadratic", apart) != kappa(table, "quadratic")


def test_alpha_is_the_published_one() -> None:
    assert alpha(PUBLISHED, "nominal") == pytest.approx(0.743, abs=5e-4)
    assert alpha(PUBLISHED, "ordinal") == pytest.approx(0.815, abs=5e-4)
    assert alpha(PUBLISHED, "interval") == pytest.approx(0.849, abs=5e-4)


def test_alpha_of_two_raters_by_hand() -> None:
    # Krippendorff 2011, part A: binary, two raters, ten units, α = 0.095
    two = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]).T
    assert alpha(two.astype(float), "nominal") == pytest.approx(0.095, abs=5e-4)
    assert np.isnan(alpha(np.ones((4, 2))))


def test_ranks_and_accuracy_by_hand() -> None:
    assert spearman(np.array([1.0, 2, 3, 4]), np.array([10.0, 20, 40, 30])) == pytest.approx(0.8)
    assert np.isnan(spearman(np.ones(4), np.arange(4.0)))
    good = np.array([True, False, True, False])
    assert roc_auc(good, np.array([0.9, 0.1, 0.5, 0.5])) == pytest.approx(0.875)  # (1+1+1+½)/4
    assert balanced_accuracy(good, np.array([True, False, False, False])) == pytest.approx(0.75)
    found = calibration(good, np.array([0.95, 0.05, 0.95, 0.95]))
    assert found["ece"] == pytest.approx((0.05 + 3 * (0.95 - 2 / 3)) / 4, abs=1e-4)


def test_tables_of_scipy_and_scikit_learn_agree() -> None:
    from scipy.stats import spearmanr
    from sklearn.metrics import cohen_kappa_score, roc_auc_score

    draw = np.random.default_rng(0)
    one, other = draw.integers(4, size=200), draw.integers(4, size=200)
    table = confusion(one, other, 4)
    for weights, theirs in (("none", None), ("linear", "linear"), ("quadratic", "quadratic")):
        assert kappa(table, weights) == pytest.approx(cohen_kappa_score(one, other, weights=theirs))
    scores = np.round(draw.random(200), 1)
    assert spearman(scores, other.astype(float)) == pytest.approx(spearmanr(scores, other)[0])
    assert roc_auc(one > 1, scores) == pytest.approx(roc_auc_score(one > 1, scores))


_LEVELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=30)


@given(_LEVELS)
def test_kappa_does_not_care_who_is_who(pairs: list[tuple[int, int]]) -> None:
    one, other = np.array(pairs).T
    forth = kappa(confusion(one, other, 4), "quadratic")
    back = kappa(confusion(other, one, 4), "quadratic")
    assert forth == pytest.approx(back, nan_ok=True)
    assert np.isnan(forth) or -1 <= forth <= 1


@given(_LEVELS)
def test_kappa_is_one_only_for_the_same_levels(pairs: list[tuple[int, int]]) -> None:
    one, other = np.array(pairs).T
    found = kappa(confusion(one, other, 4), "quadratic")
    assert (found == 1) == (bool((one == other).all()) and not np.isnan(found))


@given(st.lists(st.integers(0, 9), min_size=4, max_size=60), st.integers(0, 5))
def test_folds_hold_whole_groups(numbers: list[int], seed: int) -> None:
    groups = np.unique(numbers, return_inverse=True)[1].astype(np.int64)
    count = int(groups.max()) + 1
    if count < 2:
        with pytest.raises(InputError, match="groups"):
            folds_of(groups, 2, seed)
        return
    parts = folds_of(groups, 2, seed)
    assert all(len(set(parts[groups == one].tolist())) == 1 for one in range(count))
    sizes = np.bincount([int(parts[groups == one][0]) for one in range(count)], minlength=2)
    assert abs(int(sizes[0]) - int(sizes[1])) <= 1


def test_calibration_tells_chances_and_levels() -> None:
    draw = np.random.default_rng(0)
    scores = draw.random(3000)
    levels = np.where(draw.random(3000) < scores**2, 3, 0)  # the chance of 3 is the square
    for kind in ("isotonic", "platt"):
        made = fit_calibration(
            scores, levels.astype(float), levels, levels == 3, np.arange(4.0), kind
        )
        at = np.array([0.2, 0.5, 0.9])
        assert made.chance(at) == pytest.approx(at**2, abs=0.08)
        assert made.expected_label(at) == pytest.approx(3 * at**2, abs=0.24)
        assert (np.diff(made.chances) >= 0).all()
        again = type(made).model_validate_json(made.model_dump_json())
        assert (again.level(scores) == made.level(scores)).all()


def test_thresholds_are_the_best_ones() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
    levels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    cuts = best_cuts(scores, levels, np.arange(3.0))
    assert (np.searchsorted(cuts, scores, side="right") == levels).all()


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2)), min_size=5, max_size=40),
)
def test_thresholds_rise_and_beat_one_level_for_all(rows: list[tuple[float, int]]) -> None:
    scores, levels = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    scale = np.arange(3.0)
    cuts = best_cuts(scores, levels, scale)
    assert (np.diff(cuts) >= 0).all()
    said = np.searchsorted(cuts, scores, side="right")
    found = kappa(confusion(levels, said, 3), "quadratic", scale)
    assert np.isnan(found) or found >= -1e-9
