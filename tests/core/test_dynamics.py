"""Learning dynamics: counters against whole histories."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError, RunError
from core.selection.dynamics import VARIANTS, LearningDynamics, correct_predictions, label_prevalence
from tests.core.naive import selection as naive

HAND = [0, 0, 1, 1, 1, 0, 1]


def counted(history: np.ndarray, lag: int = 0) -> LearningDynamics:
    dynamics = LearningDynamics(history.shape[1:], lag)
    for correct in history:
        dynamics.update(correct)
    return dynamics


@pytest.mark.parametrize(("variant", "D"), [("mean_seg", -0.5), ("total_seg", -1.0), ("events", 1.0)])
def test_the_hand_worked_history_has_the_difficulty_of_the_specification(variant, D):
    history = np.array(HAND, bool)[:, None, None]
    assert counted(history).difficulty(variant)[0, 0] == D


@given(
    epochs=st.integers(1, 9), seed=st.integers(0, 10_000), rate=st.floats(0.05, 0.95), variant=st.sampled_from(VARIANTS)
)
@settings(max_examples=40, deadline=None)
def test_counters_give_what_the_whole_history_gives(epochs, seed, rate, variant):
    history = np.random.default_rng(seed).random((epochs, 4, 3)) < rate
    D = counted(history).difficulty(variant)
    assert D.dtype == np.float32
    np.testing.assert_allclose(D, naive.difficulty(history, variant), atol=1e-5)


@given(history=st.lists(st.booleans(), min_size=1, max_size=30))
@settings(max_examples=40, deadline=None)
def test_event_counts_telescope_to_the_last_less_the_first_epoch(history):
    gained = sum(b - a for a, b in pairwise(history))
    assert naive.difficulty_of(history, "events") == gained == history[-1] - history[0]


def test_a_lag_of_one_leaves_out_the_newest_epoch():
    history = np.random.default_rng(3).random((7, 5, 4)) < 0.5
    lagged, earlier = counted(history, lag=1), counted(history[:-1])
    assert (lagged.epochs, lagged.counted, earlier.counted) == (7, 6, 6)
    for variant in VARIANTS:
        np.testing.assert_array_equal(lagged.difficulty(variant), earlier.difficulty(variant))


def test_difficulty_is_zero_before_an_epoch_is_counted():
    assert not LearningDynamics((2, 3)).difficulty().any()
    assert not counted(np.ones((1, 2, 3), bool), lag=1).difficulty("events").any()


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("stop", [0, 1, 4])
def test_a_resumed_count_goes_on_exactly(lag, stop):
    history = np.random.default_rng(4).random((8, 6, 3)) < 0.6
    whole = counted(history, lag)
    first = counted(history[:stop], lag) if stop else LearningDynamics((6, 3), lag)
    state = {key: value.copy() for key, value in first.state_dict().items()}
    second = LearningDynamics((6, 3), lag)
    second.load_state_dict(state)
    first.update(history[-1])  # what was handed out is not touched by going on
    for correct in history[stop:]:
        second.update(correct)
    for key, value in whole.state_dict().items():
        np.testing.assert_array_equal(second.state_dict()[key], value)


def test_a_state_of_another_cohort_or_lag_is_refused():
    state = LearningDynamics((4, 3)).state_dict()
    with pytest.raises(RunError, match=r"shape \(4, 3\)"):
        LearningDynamics((5, 3)).load_state_dict(state)
    with pytest.raises(RunError, match="lag 0"):
        LearningDynamics((4, 3), lag=1).load_state_dict(state)


def test_predictions_of_another_shape_and_unknown_options_are_refused():
    with pytest.raises(RunError, match="4 stays × 3 labels"):
        LearningDynamics((4, 3)).update(np.zeros((3, 3), bool))
    with pytest.raises(ConfigError, match="dynamics_lag"):
        LearningDynamics((4, 3), lag=2)
    with pytest.raises(ConfigError, match="mean_seg"):
        LearningDynamics((4, 3)).difficulty("median")  # type: ignore[arg-type]


def test_right_means_on_the_observed_side_of_the_threshold_and_a_half_is_not_positive():
    p = np.array([[0.5, 0.51, 0.2, 0.9]], np.float32)
    observed = np.array([[1, 1, 0, 0]], np.uint8)
    np.testing.assert_array_equal(correct_predictions(p, observed), [[False, True, True, False]])


def test_the_prevalence_threshold_is_each_labels_own_share_among_members():
    observed = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 0], [1, 1, 1]], np.uint8)
    member = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    threshold = label_prevalence(observed, member)
    np.testing.assert_allclose(threshold, [2 / 3, 1.0, 0.5], rtol=1e-6)
    p = np.array([[0.6, 0.6, 0.6]] * 4, np.float32)
    np.testing.assert_array_equal(correct_predictions(p, observed, threshold)[0], [False, False, False])
