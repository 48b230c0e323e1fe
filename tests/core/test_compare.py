"""Tests and intervals between methods, against hand-worked cases, scipy, and loops over resampled patients."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.errors import ConfigError
from core.metrics.compare import (
    bootstrap_map,
    difference_interval,
    holm,
    mean_sd,
    paired_test,
    patient_weights,
    percentile_interval,
    welch_test,
)
from core.metrics.ranking import ranking_metrics


def test_the_standard_deviation_divides_by_n_minus_one_and_a_single_run_has_none():
    got = mean_sd([1.0, 2.0, float("nan"), 6.0])
    assert (got.mean, got.n) == (3.0, 3)
    assert got.sd == pytest.approx(np.sqrt((4 + 1 + 9) / 2))
    alone = mean_sd([0.4])
    assert (alone.mean, alone.n) == (0.4, 1)
    assert np.isnan(alone.sd)
    assert np.isnan(mean_sd([]).mean)


def test_welch_by_hand():
    # ā 3, b̄ 2; s_a² = 1, s_b² = 4; t = 1/√(1/3 + 4/3) = .7746; degrees (5/3)²/((1/3)²/2 + (4/3)²/2) = 2.9412
    got = welch_test([2, 3, 4], [0, 2, 4])
    assert got.difference == 1
    assert got.statistic == pytest.approx(0.774597, abs=1e-6)
    assert got.degrees == pytest.approx(50 / 17)
    assert got.p == pytest.approx(stats.ttest_ind([2, 3, 4], [0, 2, 4], equal_var=False, alternative="greater").pvalue)


def test_a_paired_test_by_hand():
    # differences 1, 2, 3: mean 2, s 1, t = 2√3 = 3.4641 with 2 degrees; P(T > t) = ½(1 - t/√(2 + t²)) = .0371
    got = paired_test([2, 4, 6], [1, 2, 3])
    assert (got.difference, got.degrees) == (2, 2)
    assert got.statistic == pytest.approx(2 * np.sqrt(3))
    assert got.p == pytest.approx(0.5 * (1 - np.sqrt(12 / 14)))


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 8),
    m=st.integers(2, 8),
    shift=st.floats(-2, 2),
    spread=st.floats(0.1, 3),
)
@settings(max_examples=50, deadline=None)
def test_both_t_tests_equal_scipys(seed, n, m, shift, spread):
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(shift, 1, n), rng.normal(0, spread, m), rng.normal(0, spread, n)
    welch = stats.ttest_ind(a, b, equal_var=False, alternative="greater")
    got = welch_test(a, b)
    assert (got.statistic, got.p, got.degrees) == pytest.approx((welch.statistic, welch.pvalue, welch.df))
    paired = stats.ttest_rel(a, c, alternative="greater")
    got = paired_test(a, c)
    assert (got.statistic, got.p, got.degrees) == pytest.approx((paired.statistic, paired.pvalue, paired.df))


def test_two_seeds_are_enough_and_one_is_not():
    assert welch_test([0.5, 0.52], [0.4, 0.43]).p == pytest.approx(
        stats.ttest_ind([0.5, 0.52], [0.4, 0.43], equal_var=False, alternative="greater").pvalue
    )
    for got in (welch_test([0.5], [0.4, 0.41]), paired_test([0.5], [0.4])):
        assert got.difference > 0
        assert np.isnan(got.p)
    assert np.isnan(welch_test([], [1.0]).difference)
    assert np.isnan(paired_test([np.nan], [1.0]).difference)


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_without_spread_there_is_no_p_value_however_large_the_gap(gap):
    same = [0.3 + gap] * 4
    assert np.isnan(welch_test(same, [0.3] * 4).p)
    rising = np.array([0.1, 0.2, 0.3, 0.7])
    assert np.isnan(paired_test(rising + gap, rising).p)  # differences of rounding alone are no spread
    assert paired_test(rising + gap, rising).difference == pytest.approx(gap)


def test_a_paired_test_needs_pairs_and_leaves_out_the_incomplete():
    with pytest.raises(ConfigError, match="as many runs on both sides"):
        paired_test([1, 2], [1, 2, 3])
    assert paired_test([2, 4, np.nan, 6], [1, 2, 9, 3]) == paired_test([2, 4, 6], [1, 2, 3])


def test_holm_by_hand():
    # sorted .01 .02 .03 .04, times 4 3 2 1 = .04 .06 .06 .04, never falling: .04 .06 .06 .06
    np.testing.assert_allclose(holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1, 1])
    assert len(holm([])) == 0


def test_a_setting_without_a_test_does_not_count_for_holm():
    got = holm([0.02, float("nan"), 0.03])
    np.testing.assert_allclose(got[[0, 2]], [0.04, 0.04])
    assert np.isnan(got[1])


@given(p=st.lists(st.floats(0, 1), min_size=1, max_size=10), level=st.floats(0.001, 0.5))
@settings(max_examples=50, deadline=None)
def test_holm_rejects_what_the_step_down_rule_rejects(p, level):
    rejected = set()
    for rank, k in enumerate(sorted(range(len(p)), key=lambda k: p[k])):
        if p[k] * (len(p) - rank) > level:
            break
        rejected.add(k)
    assert set(np.flatnonzero(holm(p) <= level)) == rejected


def test_patients_are_drawn_whole_and_as_many_as_there_are():
    patient = np.array([7, 7, 3, 9, 3, 7])
    drawn = patient_weights(patient, 500, seed=4)
    assert drawn.shape == (500, 6)
    for who in (3, 7, 9):
        assert (drawn[:, patient == who] == drawn[:, patient == who][:, :1]).all()
    firsts = drawn[:, [2, 0, 3]]
    assert (firsts.sum(1) == 3).all()
    assert firsts.mean() == pytest.approx(1, abs=1e-12)
    np.testing.assert_array_equal(drawn, patient_weights(patient, 500, seed=4))
    assert (drawn != patient_weights(patient, 500, seed=5)).any()


@given(seed=st.integers(0, 10_000), levels=st.integers(2, 9))
@settings(max_examples=30, deadline=None)
def test_the_bootstrap_equals_scoring_copied_rows(seed, levels):
    rng = np.random.default_rng(seed)
    n = 30
    truth = (rng.random((n, 3)) < 0.3).astype(np.uint8)
    p = (rng.integers(0, levels, (n, 3)) / levels).astype(np.float32)
    stated = rng.random((n, 3)) < 0.8
    patient = rng.integers(0, 12, n)
    got = bootstrap_map(truth, p, patient, stated=stated, replicates=5, seed=seed)
    for weights, value in zip(patient_weights(patient, 5, seed), got, strict=True):
        rows = np.repeat(np.arange(n), weights)
        expected = ranking_metrics(truth[rows], p[rows], stated[rows]).map
        np.testing.assert_allclose(value, expected, atol=1e-6)


def test_replicates_do_not_depend_on_how_many_are_worked_on_at_once():
    rng = np.random.default_rng(0)
    truth, p, patient = rng.random((40, 2)) < 0.4, rng.random((40, 2)), rng.integers(0, 20, 40)
    whole = bootstrap_map(truth, p, patient, replicates=300, seed=1)
    assert whole.dtype == np.float32
    weights = patient_weights(patient, 300, 1)[290]
    rows = np.repeat(np.arange(40), weights)
    assert whole[290] == pytest.approx(ranking_metrics(truth[rows], p[rows]).map, abs=1e-6)


def test_labels_without_positives_leave_no_replicate_and_no_warning():
    p, patient = np.full((4, 2), 0.5), np.arange(4)
    assert np.isnan(bootstrap_map(np.zeros((4, 2), np.uint8), p, patient, replicates=3)).all()
    one = np.zeros((4, 2), np.uint8)
    one[:, 1] = 1
    np.testing.assert_array_equal(bootstrap_map(one, p, patient, replicates=3), 1)
    assert all(map(np.isnan, percentile_interval(np.array([np.nan]))))
    with pytest.raises(ConfigError, match="patients and replicates"):
        bootstrap_map(np.zeros((0, 2), np.uint8), np.zeros((0, 2)), np.zeros(0, np.int64))
    with pytest.raises(ConfigError, match="level between 0 and 1"):
        percentile_interval([0.1, 0.2], 95)


def test_two_hundred_replicates_of_800_stays_and_25_labels_take_less_than_a_second():
    rng = np.random.default_rng(0)
    truth, p, patient = rng.random((800, 25)) < 0.2, rng.random((800, 25)), rng.integers(0, 500, 800)
    began = time.process_time()
    bootstrap_map(truth, p, patient)
    assert time.process_time() - began < 1


def test_equal_predictions_differ_by_nothing_and_exchanged_ones_by_the_opposite():
    rng = np.random.default_rng(2)
    truth, patient = rng.random((120, 4)) < 0.3, rng.integers(0, 60, 120)
    a, b = rng.random((120, 4)) + 0.3 * truth, rng.random((120, 4))
    same = difference_interval(a, a, patient, truth, replicates=50)
    assert (same.difference, same.low, same.high, same.share_above) == (0, 0, 0, 0.5)
    there, back = (difference_interval(*pair, patient, truth, replicates=50) for pair in ((a, b), (b, a)))
    assert (there.difference, there.low, there.high) == pytest.approx((-back.difference, -back.high, -back.low))
    assert there.share_above == 1 - back.share_above == 1
    assert there.difference == pytest.approx(ranking_metrics(truth, a).map - ranking_metrics(truth, b).map)
    assert (there.patients, there.replicates, there.level) == (len(np.unique(patient)), 50, 0.95)


def test_the_interval_covers_the_difference_about_as_often_as_it_says():
    """Two noisy views of one signal on many drawn test sets; what they differ by on a very large one is the truth."""
    rng = np.random.default_rng(3)

    def draw(patients):
        patient = np.repeat(np.arange(patients), 2)
        signal = np.repeat(rng.normal(size=(patients, 4)), 2, 0) + rng.normal(size=(2 * patients, 4))
        truth = signal + rng.normal(size=signal.shape) > 1
        a, b = signal + rng.normal(0, 0.7, signal.shape), signal + rng.normal(0, 1.1, signal.shape)
        return a, b, patient, truth

    a, b, _, truth = draw(60_000)
    expected = ranking_metrics(truth, a).map - ranking_metrics(truth, b).map
    covered = [
        found.low <= expected <= found.high
        for found in (difference_interval(*draw(120), replicates=150, seed=k) for k in range(120))
    ]
    assert 0.88 <= np.mean(covered) <= 0.995
