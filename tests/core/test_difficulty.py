"""Rank, selection metric and normalisation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError, RunError
from core.selection.difficulty import SelectionConfig, pair_loss, rank_within_stay, selection_metric
from core.selection.dynamics import LearningDynamics
from core.selection.groups import by_class, fit_ranges, normalise, weigh_groups
from tests.core.naive import selection as naive

seeds = st.integers(0, 10_000)


def invented(seed: int, stays: int = 12, labels: int = 5):
    rng = np.random.default_rng(seed)
    p = rng.random((stays, labels), dtype=np.float32)
    observed = (rng.random((stays, labels)) < 0.4).astype(np.uint8)
    member = rng.random((stays, labels)) < 0.8
    D = rng.integers(-4, 5, (stays, labels)).astype(np.float32)
    return p, observed, member, D


def test_ranks_of_a_hand_worked_stay():
    p = np.array([[0.2, 0.9, 0.2, 0.5]], np.float32)
    rank = rank_within_stay(p)
    assert rank.dtype == np.int16
    np.testing.assert_array_equal(rank, [[3, 1, 4, 2]])  # the tie goes to the lower label


@given(seed=seeds, stays=st.integers(1, 9), labels=st.integers(1, 70), levels=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_ranks_equal_a_stable_sort_of_each_stay_ties_included(seed, stays, labels, levels):
    p = (np.random.default_rng(seed).integers(0, levels, (stays, labels)) / levels).astype(np.float32)
    np.testing.assert_array_equal(rank_within_stay(p), naive.ranks(p))


def test_ranks_do_not_depend_on_how_many_stays_are_ranked_at_a_time():
    p = np.random.default_rng(0).random((4097 + 3, 7), dtype=np.float32)
    np.testing.assert_array_equal(rank_within_stay(p), naive.ranks(p))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_probability_that_is_not_finite_is_refused(bad):
    p = np.full((3, 2), 0.5, np.float32)
    p[1, 1] = bad
    with pytest.raises(RunError, match="finite"):
        rank_within_stay(p)


def test_z_of_a_hand_worked_stay():
    rank = np.array([[1, 3, 1, 3, 2]], np.int16)
    observed = np.array([[1, 1, 0, 0, 0]], np.uint8)
    D = np.array([[-2, 4, 0, -4, 2]], np.float32)
    member = np.ones_like(observed, bool)
    # L = 5, t = 4: r = 0 .5 0 .5 .25; oriented 0 .5 1 .5 .75; D = .25 1 .5 0 .75
    z = selection_metric(rank, D, observed, member, 4, SelectionConfig())
    np.testing.assert_allclose(z, [[0.125, 0.75, 0.75, 0.25, 0.75]], atol=1e-7)
    raw = selection_metric(rank, D, observed, member, 4, SelectionConfig.preset("paper"))
    np.testing.assert_allclose(raw, [[-0.5, 3.5, 0.5, -0.5, 2.0]], atol=1e-7)  # .5·R + .5·D, as printed in the paper


@given(
    seed=seeds,
    alpha=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    mode=st.sampled_from(["class_oriented", "raw", "pos_only"]),
)
@settings(max_examples=30, deadline=None)
def test_z_equals_its_plain_restatement(seed, alpha, mode):
    p, observed, member, D = invented(seed)
    R = rank_within_stay(p)
    z = selection_metric(R, D, observed, member, 4, SelectionConfig(alpha=alpha, rank_mode=mode))
    np.testing.assert_allclose(z, naive.metric(R, D, observed, alpha, 4, mode), atol=1e-6)
    assert z.min() >= 0
    assert z.max() <= 1 + 1e-6


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_swapping_labels_and_probabilities_leaves_the_class_oriented_rank_as_it_is(seed):
    p, observed, member, D = invented(seed)
    config = SelectionConfig(alpha=1.0)
    one = selection_metric(rank_within_stay(p), D, observed, member, 4, config)
    other = selection_metric(rank_within_stay(-p), D, 1 - observed, member, 4, config)
    np.testing.assert_array_equal(one, other)


@given(seed=seeds, mode=st.sampled_from(["class_oriented", "raw", "pos_only"]))
@settings(max_examples=20, deadline=None)
def test_global_scaling_is_a_min_max_over_the_members(seed, mode):
    p, observed, member, D = invented(seed)
    member[0, 0] = True
    R = rank_within_stay(p)
    r = (R - R[member].min()) / (R[member].max() - R[member].min() + 1e-9)
    d = (D - D[member].min()) / (D[member].max() - D[member].min() + 1e-9)
    s = np.where(observed == 1, r, 1 - r) if mode == "class_oriented" else r
    z = 0.3 * s + 0.7 * d
    expected = np.where(observed == 0, d, z) if mode == "pos_only" else z
    got = selection_metric(R, D, observed, member, 4, SelectionConfig(alpha=0.3, scale="global", rank_mode=mode))
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_with_a_single_epoch_only_the_rank_counts():
    p, observed, member, D = invented(1)
    R = rank_within_stay(p)
    once = selection_metric(R, D, observed, member, 1, SelectionConfig(alpha=0.2))
    np.testing.assert_array_equal(once, selection_metric(R, D, observed, member, 4, SelectionConfig(alpha=1.0)))
    only = selection_metric(R, D, observed, member, 1, SelectionConfig(rank_mode="pos_only"))
    assert not only[observed == 0].any()  # nothing is known of the negatives yet


@pytest.mark.parametrize("mode", ["class_oriented", "raw"])
def test_with_a_single_label_the_rank_says_nothing(mode):
    one = np.ones((3, 1), np.int16)
    observed = np.array([[0], [1], [1]], np.uint8)
    config = SelectionConfig(alpha=1.0, rank_mode=mode)
    assert not selection_metric(one, one.astype(np.float32), observed, observed == 1, 4, config).any()


def test_without_members_a_global_scale_still_gives_numbers():
    p, observed, member, D = invented(4)
    config = SelectionConfig(scale="global")
    assert np.isfinite(selection_metric(rank_within_stay(p), D, observed, np.zeros_like(member), 4, config)).all()


def test_events_are_scaled_by_their_own_bound():
    p, observed, member, _ = invented(2)
    D = np.random.default_rng(2).integers(-1, 2, p.shape).astype(np.float32)
    R = rank_within_stay(p)
    z = selection_metric(R, D, observed, member, 9, SelectionConfig(variant="events"))
    np.testing.assert_allclose(z, naive.metric(R, D, observed, 0.5, 9, "class_oriented", bound=1.0), atol=1e-6)


def test_the_mean_run_difficulty_stays_within_the_fixed_scale():
    dynamics = LearningDynamics((2, 1))
    for _ in range(6):
        dynamics.update(np.array([[True], [False]]))
    np.testing.assert_array_equal(dynamics.difficulty().ravel(), [-6, 6])


def test_alpha_moves_from_difficulty_to_rank_when_asked():
    config = SelectionConfig(alpha=0.2, alpha_final=0.8)
    assert [config.alpha_at(t, 5, 29) for t in (1, 5, 17, 29, 30)] == pytest.approx([0.2, 0.2, 0.5, 0.8, 0.8])
    assert SelectionConfig().alpha_at(17, 5, 29) == 0.5
    p, observed, member, D = invented(3)
    R = rank_within_stay(p)
    np.testing.assert_array_equal(
        selection_metric(R, D, observed, member, 4, config, alpha=0.5),
        selection_metric(R, D, observed, member, 4, SelectionConfig()),
    )


def test_the_pair_loss_is_the_cross_entropy_of_what_was_observed():
    p = np.array([[0.25, 0.25, 0.0, 1.0]], np.float32)
    observed = np.array([[1, 0, 1, 1]], np.uint8)
    loss = pair_loss(p, observed)
    np.testing.assert_allclose(loss[0, :2], [-np.log(0.25), -np.log(0.75)], rtol=1e-6)
    assert np.isfinite(loss).all()
    assert loss[0, 3] == 0


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_normalisation_equals_its_plain_restatement_and_uses_the_members_ranges_for_all(seed):
    p, observed, member, _ = invented(seed, labels=3)
    ranges = fit_ranges(p, observed, member)
    got = normalise(p, observed, ranges, 1e-6)
    np.testing.assert_allclose(got, naive.min_max(p, observed, member), atol=1e-6)
    assert got.min() >= 0
    assert got.max() <= 1


def test_a_group_without_members_has_no_range_and_scores_zero():
    p, observed, member, _ = invented(5)
    member[observed[:, 0] == 1, 0] = False
    ranges = fit_ranges(p, observed, member)
    assert ranges.count[0, 1] == 0
    assert np.isnan(ranges.low[0, 1])
    assert not normalise(p, observed, ranges, 1e-6)[observed[:, 0] == 1, 0].any()


def test_distinct_values_and_counts_are_those_of_the_group():
    _, observed, member, D = invented(6, stays=60)
    groups = weigh_groups(D, observed, member)
    assert len(groups) == 10
    for label in range(5):
        for c in (0, 1):
            values, counts = np.unique(D[member[:, label] & (observed[:, label] == c), label], return_counts=True)
            np.testing.assert_array_equal(groups[2 * label + c].values, values)
            np.testing.assert_array_equal(groups[2 * label + c].counts, counts)


def test_each_pair_gets_its_own_groups_entry():
    table = np.arange(10.0).reshape(5, 2)
    _, observed, _, _ = invented(7)
    got = by_class(observed, table)
    for label in range(5):
        np.testing.assert_array_equal(got[:, label], table[label][observed[:, label]])


@pytest.mark.parametrize(
    "options",
    [
        {"metric": "gini"},
        {"alpha": 1.2},
        {"alpha_final": -0.1},
        {"rank_mode": "reversed"},
        {"scale": "log"},
        {"variant": "median"},
        {"dynamics_lag": 3},
        {"correct_threshold": "mean"},
        {"range_epsilon": 0.0},
    ],
)
def test_an_option_out_of_range_is_refused_by_name(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        SelectionConfig(**options)


def test_presets_are_those_of_the_ambiguity_table():
    released, paper, ours = (SelectionConfig.preset(name) for name in ("released", "paper", "miracl"))
    assert (released.rank_mode, released.alpha, released.scale, released.dynamics_lag) == ("raw", 1.0, "global", 1)
    assert (paper.rank_mode, paper.alpha, paper.scale, paper.variant) == ("raw", 0.5, "raw", "events")
    assert (ours.rank_mode, ours.scale, ours.variant, ours.dynamics_lag) == ("class_oriented", "fixed", "mean_seg", 0)
    with pytest.raises(ConfigError, match="preset"):
        SelectionConfig.preset("best")
