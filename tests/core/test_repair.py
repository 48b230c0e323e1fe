"""Curves of simulated review against hand-worked lists and readers drawn at random."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError
from core.metrics.repair import chain, first_pairs, random_removed, random_removed_sd, repair_curve


def a_list(wrong, score):
    """One label: a pair a row."""
    observed = np.zeros((len(wrong), 1), np.uint8)
    truth = np.array(wrong, np.uint8)[:, None]
    return np.array(score, np.float32)[:, None], observed, truth, np.ones((len(wrong), 1), bool)


def test_the_hand_worked_list():
    got = repair_curve(*a_list([1, 0, 1, 0, 0], [0.9, 0.8, 0.7, 0.2, 0.1]), reviews=[1, 2, 3, 5])
    np.testing.assert_array_equal(got.reviews, [0, 1, 2, 3, 5])
    np.testing.assert_array_equal(got.removed, [0, 1, 1, 2, 2])
    np.testing.assert_allclose(got.per_100[1:], [100, 50, 200 / 3, 40])
    np.testing.assert_allclose(got.random, [0, 0.4, 0.8, 1.2, 2])
    np.testing.assert_allclose(got.ratio_to_random[1:], [2.5, 1.25, 5 / 3, 1])
    assert np.isnan([got.per_100[0], got.ratio_to_random[0]]).all()
    # shares 0 .5 .5 1 1 at 0 1 2 3 5: .25 + .5 + .75 + 2 = 3.5 of 5
    assert got.area == pytest.approx(0.7)
    assert got.at(4) == 2
    assert (got.n_wrong, got.pairs) == (2, 5)


def test_tied_pairs_count_their_mean_over_orders():
    got = repair_curve(*a_list([1, 0, 0, 1], [0.9, 0.5, 0.5, 0.5]), reviews=[1, 2, 3, 4])
    np.testing.assert_allclose(got.removed, [0, 1, 4 / 3, 5 / 3, 2])
    flat = repair_curve(*a_list([1, 0, 0, 1], [0.5] * 4), reviews=[1, 2, 3, 4])
    np.testing.assert_allclose(flat.removed, flat.random)
    np.testing.assert_allclose(flat.ratio_to_random[1:], 1)
    assert flat.area == pytest.approx(0.5)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 40), levels=st.integers(1, 60))
@settings(max_examples=50, deadline=None)
def test_the_curve_equals_a_reader_who_goes_down_the_list(seed, n, levels):
    rng = np.random.default_rng(seed)
    observed, truth = (rng.integers(0, 2, (n, 2)).astype(np.uint8) for _ in range(2))
    score = rng.integers(0, levels, (n, 2)).astype(np.float32)
    member = rng.random((n, 2)) < 0.8
    got = repair_curve(score, observed, truth, member, reviews=range(int(member.sum()) + 1))
    pairs = sorted(((-score[i, k], observed[i, k] != truth[i, k]) for i, k in zip(*np.nonzero(member), strict=True)))
    read = 0
    for level in sorted({s for s, _ in pairs}):
        tied = [bool(w) for s, w in pairs if s == level]
        for k in range(len(tied) + 1):
            expected = sum(w for s, w in pairs if s < level) + k * np.mean(tied)
            assert got.removed[read + k] == pytest.approx(expected)
        read += len(tied)
    assert (np.diff(got.removed) >= 0).all()


def test_the_head_that_is_read_removes_what_the_curve_says():
    rng = np.random.default_rng(5)
    observed = rng.integers(0, 2, (60, 4)).astype(np.uint8)
    truth = observed ^ (rng.random((60, 4)) < 0.2).astype(np.uint8)
    score, member = rng.random((60, 4)).astype(np.float32), rng.random((60, 4)) < 0.7
    rows, columns = first_pairs(score, member, 50)
    assert member[rows, columns].all()
    assert (np.diff(score[rows, columns]) <= 0).all()
    found = (observed != truth)[rows, columns].sum()
    assert repair_curve(score, observed, truth, member, [50]).removed[-1] == found
    assert len(first_pairs(score, member, 10_000)[0]) == member.sum()


def test_a_perfect_order_removes_them_all_first_and_the_worst_last():
    wrong = [1] * 20 + [0] * 80
    best = repair_curve(*a_list(wrong, wrong), reviews=[20, 100])
    worst = repair_curve(*a_list(wrong, [-w for w in wrong]), reviews=[80, 100])
    np.testing.assert_array_equal(best.removed, [0, 20, 20])
    np.testing.assert_array_equal(worst.removed, [0, 0, 20])
    assert best.ratio_to_random[1] == 5
    assert best.area == pytest.approx(0.9)
    assert worst.area == pytest.approx(0.1)


def test_random_order_has_the_mean_and_spread_of_drawn_readers():
    rng = np.random.default_rng(6)
    wrong = np.arange(50) < 12
    drawn = np.array([rng.permutation(wrong)[:20].sum() for _ in range(4000)])
    assert random_removed(20, 12, 50) == pytest.approx(4.8)
    assert drawn.mean() == pytest.approx(4.8, abs=0.1)
    assert drawn.std() == pytest.approx(float(random_removed_sd(20, 12, 50)), abs=0.06)
    np.testing.assert_allclose(random_removed_sd(np.array([0, 50]), 12, 50), 0)
    assert random_removed_sd(1, 1, 1) == 0


def test_points_are_every_hundred_reviews_and_the_end():
    rng = np.random.default_rng(7)
    got = repair_curve(*a_list(rng.integers(0, 2, 250), rng.random(250)))
    np.testing.assert_array_equal(got.reviews, [0, 100, 200, 250])
    assert got.removed[-1] == got.n_wrong


def test_rounds_join_into_one_curve():
    rng = np.random.default_rng(8)
    observed = np.zeros((40, 1), np.uint8)
    truth = (rng.random((40, 1)) < 0.3).astype(np.uint8)
    score, member = rng.random((40, 1)).astype(np.float32), np.ones((40, 1), bool)
    first = repair_curve(score, observed, truth, member, [5, 10])
    rows, columns = first_pairs(score, member, 10)
    left = member.copy()
    left[rows, columns] = False
    second = repair_curve(score, observed, truth, left, [5, 15])
    joined, whole = chain([first, second]), repair_curve(score, observed, truth, member, [5, 10, 15, 25])
    np.testing.assert_array_equal(joined.reviews, whole.reviews)
    np.testing.assert_array_equal(joined.removed, whole.removed)
    assert (joined.n_wrong, joined.pairs) == (whole.n_wrong, 40)
    with pytest.raises(ConfigError, match="on the 30 pairs left"):
        chain([first, first])
    with pytest.raises(ConfigError, match="a curve for each round"):
        chain([])


def test_nothing_wrong_and_nothing_to_read_have_no_ratio_and_no_warning():
    right = repair_curve(*a_list([0, 0], [0.3, 0.2]))
    assert np.isnan(right.ratio_to_random).all()
    assert np.isnan(right.area)
    nothing = repair_curve(*a_list([], []))
    np.testing.assert_array_equal(nothing.reviews, [0])
    assert np.isnan(nothing.random).all()
    assert np.isnan(nothing.area)


def test_points_beyond_the_pairs_and_scores_that_are_none_are_refused():
    with pytest.raises(ConfigError, match="0 to 2 reviews"):
        repair_curve(*a_list([0, 1], [0.1, 0.2]), reviews=[3])
    with pytest.raises(ConfigError, match="a score for every pair"):
        repair_curve(*a_list([0, 1], [0.1, float("nan")]))
    with pytest.raises(ConfigError, match="0 to 2 reviews"):
        repair_curve(*a_list([0, 1], [0.1, 0.2])).at(3)
