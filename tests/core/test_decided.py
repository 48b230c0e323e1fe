"""What decisions teach P(label wrong), and what it has to agree with the peer's on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from core.calibrated.config import CalibratedConfig
from core.calibrated.decided import recalibrated
from core.calibrated.posterior import matched, with_chosen_ridge
from core.peer.regression import patient_folds


def invented(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw P(wrong), whether wrong, and observed labels of n stays and one label of either class."""
    rng = np.random.default_rng(seed)
    truth = expit(rng.normal(-1.0, 1.5, (n, 1)))
    return truth, rng.random((n, 1)) < truth, (rng.random((n, 1)) < 0.5).astype(np.uint8)


def test_without_decisions_nothing_changes() -> None:
    wrong, _, observed = invented(50)
    same = recalibrated(wrong, observed, observed, np.zeros(wrong.shape, bool), 1.0, 1.0)
    assert (same == wrong).all()


def test_decisions_of_one_class_leave_the_other_as_it_was() -> None:
    wrong, error, observed = invented(400)
    locked = observed == 1
    found = recalibrated(wrong, observed ^ error, observed, locked, 1.0, 1.0)
    assert (found[observed == 0] == wrong[observed == 0]).all()
    assert (found[observed == 1] != wrong[observed == 1]).any()


def test_a_w_that_is_too_sure_is_brought_back_by_many_decisions() -> None:
    truth, error, observed = invented()
    sure = expit(2.0 * logit(truth) + 1.0)
    found = recalibrated(sure, observed ^ error, observed, np.ones(sure.shape, bool), 3.0, 1.0)
    assert np.abs(found - truth).mean() < 0.03 < 0.1 < np.abs(sure - truth).mean()


def test_one_decision_moves_w_a_little_and_towards_it() -> None:
    wrong = np.array([[0.5], [0.5], [0.2]])
    observed = np.ones((3, 1), np.uint8)
    locked = np.array([[True], [False], [False]])
    up = recalibrated(wrong, np.array([[0], [1], [1]], np.uint8), observed, locked, 1.0, 1.0)
    down = recalibrated(wrong, np.array([[1], [1], [1]], np.uint8), observed, locked, 1.0, 1.0)
    assert down[1, 0] < 0.5 < up[1, 0] < 0.7
    # By hand at logit 0, a knot: shift s and knot k are pulled by the same σ(-m), m = s + k, so s = .04·σ(-m) and
    # k = σ(-m): m = 1.04·σ(-m), .41390; logit -1.4 lies beyond the next knot and has the shift alone, .04·σ(-m).
    assert up[1, 0] == pytest.approx(expit(0.413897), abs=1e-4)
    assert logit(up[2, 0]) == pytest.approx(logit(0.2) + 0.413897 * 0.04 / 1.04, abs=1e-4)


def test_what_was_read_among_the_surest_says_little_of_the_others() -> None:
    """500 pairs of W .987 were read and 96.6 % were wrong: those are brought back; W of .5 moves by the shift alone."""
    wrong = np.concatenate((np.full(500, 0.987), np.full(300, 0.987), np.linspace(0.01, 0.8, 400)))[:, None]
    observed = np.ones(wrong.shape, np.uint8)
    locked = (np.arange(len(wrong)) < 500)[:, None]
    error = (np.arange(len(wrong)) < 483)[:, None]
    found = recalibrated(wrong, observed ^ error, observed, locked, 1.0, 1.0)
    assert found[500, 0] == pytest.approx(483 / 500, abs=0.006)
    moved = logit(found[800:, 0]) - logit(wrong[800:, 0])
    assert np.ptp(moved) < 1e-6
    assert -0.1 < moved[0] < 0


def test_a_class_whose_rate_was_read_a_little_too_high_is_brought_down_where_nobody_read() -> None:
    """All log-odds .3 too high; half of those above 0 were read, none below."""
    truth, error, observed = invented(8000)
    high = expit(logit(truth) + 0.3)
    locked = (high > 0.5) & (np.arange(len(high)) % 2 == 0)[:, None]
    found = recalibrated(high, observed ^ error, observed, locked, 1.0, 1.0)
    unread = high < 0.2
    assert np.abs(found - truth)[unread].mean() < 0.9 * np.abs(high - truth)[unread].mean()


def test_the_order_within_a_class_stays() -> None:
    wrong, error, observed = invented(300)
    found = recalibrated(wrong, observed ^ error, observed, np.ones(wrong.shape, bool), 1.0, 1.0)
    for value in (0, 1):
        rows = observed[:, 0] == value
        assert (np.diff(found[rows, 0][np.argsort(wrong[rows, 0])]) >= -1e-12).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(-2, 2), steepness=st.floats(1.0, 3.0))
def test_matching_agrees_on_both_moments_with_the_reference(seed: int, shift: float, steepness: float) -> None:
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1.0, 1.0, (600, 3))
    reference = expit(odds)
    observed = (rng.random(odds.shape) < 0.4).astype(np.uint8)
    member = rng.random(odds.shape) < 0.9
    found = matched(expit(steepness * (odds + rng.normal(0, 0.5, odds.shape)) + shift), reference, observed, member)
    for value in (0, 1):
        rows = member & (observed == value)
        w, r = found[rows], reference[rows]
        assert w.mean() == pytest.approx(r.mean(), abs=1e-4)
        assert np.mean((w - r) * (r - r.mean())) < 1e-3  # never surer of itself than the reference allows


def test_a_w_that_already_agrees_is_left_alone() -> None:
    rng = np.random.default_rng(1)
    reference = expit(rng.normal(-1.0, 1.0, (500, 2)))
    observed = (rng.random(reference.shape) < 0.5).astype(np.uint8)
    found = matched(reference, reference, observed, np.ones(reference.shape, bool))
    assert np.allclose(found, reference, atol=1e-4)


def test_only_shifting_keeps_the_distance_of_log_odds() -> None:
    rng = np.random.default_rng(2)
    wrong = expit(rng.normal(0.0, 2.0, (200, 1)))
    observed = np.ones(wrong.shape, np.uint8)
    found = matched(wrong, np.full(wrong.shape, 0.2), observed, np.ones(wrong.shape, bool), slope=False)
    moved = logit(found) - logit(wrong)
    assert np.ptp(moved) < 1e-6
    assert found.mean() == pytest.approx(0.2, abs=1e-6)


def test_a_class_in_which_the_reference_sees_nothing_is_left_as_it_is() -> None:
    wrong = np.array([[0.1], [0.3]])
    observed = np.array([[0], [0]], np.uint8)
    assert (matched(wrong, np.zeros((2, 1)), observed, np.ones((2, 1), bool)) == wrong).all()


def test_the_ridge_is_chosen_by_what_it_foretells_out_of_fold() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(1, 300, 8)).astype(np.float32)
    fold = patient_folds(np.arange(300), 5, 0)
    member = np.ones((300, 8), bool)
    alike = (rng.random((300, 8)) < expit(features[0])).astype(np.uint8)
    apart = (rng.random((300, 8)) < expit(features[0] * np.linspace(-4, 4, 8))).astype(np.uint8)
    options = CalibratedConfig(ridges=(0.1, 1000.0))
    assert with_chosen_ridge(options, features, alike, member, fold).ridge == 1000.0
    assert with_chosen_ridge(options, features, apart, member, fold).ridge == 0.1
    assert with_chosen_ridge(CalibratedConfig(ridges=()), features, alike, member, fold).ridge == 1.0


def test_kinds_of_labels_are_drawn_to_their_own_mean() -> None:
    rng = np.random.default_rng(4)
    features = rng.normal(size=(1, 400, 6)).astype(np.float32)
    weights = np.array([3.0, 3.0, 3.0, 0.0, 0.0, 0.0])
    observed = (rng.random((400, 6)) < expit(features[0] * weights)).astype(np.uint8)
    from core.calibrated.posterior import Rates, fit_through_noise

    member, none = np.ones((400, 6), bool), Rates.none(6)
    kinds = ("lifelong",) * 3 + ("acute",) * 3
    one = fit_through_noise(features, observed, member, none, 1e4)[0]
    two = fit_through_noise(features, observed, member, none, 1e4, None, kinds)[0]
    assert np.ptp(one) < 0.3
    assert two[:3].mean() > 2.0
    assert abs(two[3:].mean()) < 0.3
