"""Calibration errors against hand-worked bins and a loop over them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError
from core.metrics.calibration import brier, calibration, expected_calibration_error, reliability

EVENT = np.array([0, 1, 1, 0, 1], np.uint8)
P = np.array([0.05, 0.15, 0.15, 0.9, 0.95])


def test_the_error_of_equal_widths_by_hand():
    # [0, .1]: 1 pair, .05 against 0 · (.1, .2]: 2, .15 against 1 · (.8, .9]: .9 against 0 · (.9, 1]: .95 against 1
    assert expected_calibration_error(EVENT, P) == pytest.approx((0.05 + 2 * 0.85 + 0.9 + 0.05) / 5)
    assert brier(EVENT, P) == pytest.approx((0.05**2 + 2 * 0.85**2 + 0.9**2 + 0.05**2) / 5)


def test_the_error_of_equal_masses_by_hand():
    # two bins of three and two: means .11667 and .925, shares 2/3 and 1/2
    curve = reliability(EVENT, P, bins=2, kind="mass")
    np.testing.assert_array_equal(curve.n, [3, 2])
    np.testing.assert_allclose(curve.predicted, [0.35 / 3, 0.925])
    np.testing.assert_allclose(curve.observed, [2 / 3, 0.5])
    np.testing.assert_allclose([curve.low, curve.high], [[0.05, 0.9], [0.15, 0.95]])
    assert curve.error == pytest.approx(3 / 5 * (2 / 3 - 0.35 / 3) + 2 / 5 * 0.425)


def test_bins_are_closed_above_and_the_first_one_below_too_in_either_precision():
    for kind in (np.float32, np.float64):
        curve = reliability(np.zeros(5, np.uint8), np.array([0, 0.1, 0.3, 0.7, 1], kind))
        np.testing.assert_array_equal(np.flatnonzero(curve.n), [0, 2, 6, 9])
        np.testing.assert_array_equal(curve.n[[0, 2, 6, 9]], [2, 1, 1, 1])


@given(seed=st.integers(0, 10_000), n=st.integers(1, 60), bins=st.integers(1, 12), levels=st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_both_kinds_of_bins_equal_a_loop_over_them(seed, n, bins, levels):
    rng = np.random.default_rng(seed)
    p, event = rng.integers(0, levels + 1, n) / levels, rng.integers(0, 2, n)
    total = 0.0
    edges = np.linspace(0, 1, bins + 1)
    for k in range(bins):
        held = [i for i in range(n) if (edges[k] < p[i] <= edges[k + 1]) or (k == 0 and p[i] == 0)]
        if held:
            total += len(held) / n * abs(np.mean(event[held]) - np.mean(p[held]))
    assert expected_calibration_error(event, p, bins) == pytest.approx(total, abs=1e-12)
    order = sorted(range(n), key=lambda i: p[i])
    total = 0.0
    for k in range(bins):
        held = [i for place, i in enumerate(order) if place * bins // n == k]
        if held:
            total += len(held) / n * abs(np.mean(event[held]) - np.mean(p[held]))
    assert expected_calibration_error(event, p, bins, "mass") == pytest.approx(total, abs=1e-12)


def test_equal_masses_differ_by_one_at_most():
    n = reliability(np.zeros(23), np.random.default_rng(0).random(23), 10, "mass").n
    assert (n.sum(), n.max() - n.min()) == (23, 1)


def test_probabilities_that_are_true_have_next_to_no_error_and_a_constant_has_its_bias():
    rng = np.random.default_rng(1)
    p = rng.random(40_000)
    event = rng.random(40_000) < p
    assert expected_calibration_error(event, p) < 0.01
    assert expected_calibration_error(event, p, kind="mass") < 0.01
    assert expected_calibration_error(event, np.full(40_000, 0.3)) == pytest.approx(event.mean() - 0.3)


def test_each_observed_class_is_told_apart():
    rng = np.random.default_rng(2)
    observed = (rng.random((3000, 3)) < 0.3).astype(np.uint8)
    wrong_rate = np.where(observed == 1, 0.4, 0.05)
    truth = observed ^ (rng.random(observed.shape) < wrong_rate).astype(np.uint8)
    member = rng.random(observed.shape) < 0.9
    got = calibration(np.full(observed.shape, 0.05, np.float32), observed, truth, member)
    assert got["negative"].ece < 0.01
    assert got["positive"].ece == pytest.approx(got["positive"].wrong - 0.05)
    assert got["positive"].ece == pytest.approx(0.35, abs=0.03)
    assert got["positive"].n + got["negative"].n == got["pooled"].n == member.sum()
    for told in got.values():
        assert told.predicted == pytest.approx(0.05)
        assert told.curve.n.sum() == told.n


def test_pairs_without_a_probability_are_left_out_and_an_empty_class_has_no_answer():
    observed = np.zeros((4, 1), np.uint8)
    p = np.array([[0.2], [np.nan], [0.2], [0.2]], np.float32)
    truth = np.array([[0], [1], [0], [1]], np.uint8)
    got = calibration(p, observed, truth, np.ones((4, 1), bool))
    assert got["negative"].n == 3
    assert got["negative"].ece == pytest.approx(1 / 3 - 0.2, abs=1e-6)
    assert got["positive"].n == 0
    assert np.isnan([got["positive"].ece, got["positive"].ece_mass, got["positive"].brier]).all()
    nothing = calibration(p, observed, truth, np.zeros((4, 1), bool))
    assert np.isnan(nothing["pooled"].ece)


def test_a_score_that_is_no_probability_and_bins_that_are_none_are_refused():
    with pytest.raises(ConfigError, match=r"probabilities in \[0, 1\]"):
        expected_calibration_error(EVENT, P * 2)
    with pytest.raises(ConfigError, match="one bin or more"):
        reliability(EVENT, P, 0)
    with pytest.raises(ConfigError, match="width or mass"):
        reliability(EVENT, P, 10, "depth")  # type: ignore[arg-type]
