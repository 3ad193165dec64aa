"""EASE^R against its closed form by hand, SASRec on sequences that can be learnt."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foretaste.data.errors import InputError
from foretaste.data.histories import Histories
from foretaste.data.splits import Cases
from foretaste.judge.ranking.baselines import ease, sasrec
from foretaste.judge.ranking.baselines.ease import LAMBDAS, MOST, choose_ease, fit_ease
from foretaste.judge.ranking.baselines.sasrec import SasrecConfig, fit_sasrec

SMALL = SasrecConfig(dim=16, heads=1, dropout=0.0, negatives=8, batch=64, rate=0.02, epochs=6)


def test_ease_is_its_closed_form() -> None:
    lists = [[0, 1], [0, 1, 2], [2], [1, 1]]
    held = np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1], [0, 1, 0]], dtype=np.float64)
    inverse = np.linalg.inv(held.T @ held + 2 * np.eye(3))
    wanted = -inverse / np.diag(inverse)
    np.fill_diagonal(wanted, 0)
    found = fit_ease(Histories.from_lists(lists), 3, weight=2.0)
    assert found.weights == pytest.approx(wanted, abs=1e-5)
    scores = found.scores(Histories.from_lists([[0], []]))
    assert scores[0] == pytest.approx(wanted[0], abs=1e-5)
    assert not scores[1].any()


def test_ease_refuses_a_catalogue_that_no_inverse_fits() -> None:
    with pytest.raises(InputError, match="EASE"):
        fit_ease(Histories.from_lists([[0]]), MOST + 1, 1.0)
    with pytest.raises(InputError, match="above 0"):
        fit_ease(Histories.from_lists([[0]]), 1, 0.0)


def test_ease_leaves_the_order_of_histories_alone() -> None:
    lists = [[2, 0, 1, 2], [1, 0]]
    histories = Histories.from_lists(lists)
    fit_ease(histories, 3, 1.0).scores(histories)
    assert [one.tolist() for one in histories] == lists


@pytest.mark.parametrize("best", LAMBDAS)
def test_validation_chooses_the_weight_of_ease(
    best: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def far(model: ease.Ease, cases: Cases, items: int) -> float:
        return -abs(LAMBDAS.index(model.weight) - LAMBDAS.index(best))

    monkeypatch.setattr(ease, "ndcg", far)
    lists = Histories.from_lists([[0, 1], [1, 2]])
    cases = Cases(np.arange(2), lists, np.array([2, 0], dtype=np.int32))
    assert choose_ease(lists, 3, cases).weight == best
    assert choose_ease(lists, 3, cases.take(np.arange(0))).weight == LAMBDAS[2]


@given(st.integers(1, 40), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_the_inverse_is_one_whatever_the_stretches(size: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(size, size)).astype(np.float32)
    matrix = x.T @ x + np.eye(size, dtype=np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ease, "_STRETCH", 7)
        found = ease._inverse(matrix.copy())
    assert matrix @ found == pytest.approx(np.eye(size), abs=1e-3)


def test_sasrec_learns_what_follows_and_is_trained_once(
    home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = [[(start + step) % 12 for step in range(6)] for start in range(12)] * 8
    cases = Cases(
        np.arange(12),
        Histories.from_lists([[one] for one in range(12)]),
        np.array([(one + 1) % 12 for one in range(12)], dtype=np.int32),
    )
    model = fit_sasrec(Histories.from_lists(lists), 12, cases, SMALL)
    asked = Histories.from_lists([[3], [7, 8], []])
    scores = model.scores(asked)
    assert scores[:2].argmax(axis=1).tolist() == [4, 9]
    assert not scores[2].any()
    monkeypatch.setattr(sasrec, "_train", None)
    again = fit_sasrec(Histories.from_lists(lists), 12, cases, SMALL)
    assert np.array_equal(again.scores(asked), scores)
    assert again.epochs == model.epochs


def test_a_history_is_read_alike_alone_and_beside_longer_ones() -> None:
    net = sasrec._network(9, SMALL).eval()
    model = sasrec.Sasrec(net, 50, 1)
    lists = [[1, 2, 3], [4], [5, 6, 7, 8, 0]]
    together = model.scores(Histories.from_lists(lists))
    alone = [model.scores(Histories.from_lists([one]))[0] for one in lists]
    assert np.allclose(together, np.stack(alone), atol=1e-5)
    changed = net(torch.tensor([[1, 2, 3]]), torch.tensor([[2, 1, 0]]))
    other = net(torch.tensor([[1, 2, 8]]), torch.tensor([[2, 1, 0]]))
    assert torch.allclose(changed[:, :2], other[:, :2], atol=1e-6)
