"""The co-occurrence matrix and the filter of correctable negatives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.correction.cooccurrence import FilterConfig, cooccurrence, cooccurrence_support, negative_filter
from core.errors import ConfigError
from tests.core.naive import selection as naive


def invented(seed: int, stays: int = 15, labels: int = 5):
    return (np.random.default_rng(seed).random((stays, labels)) < 0.3).astype(np.uint8)


def test_the_hand_worked_matrix():
    observed = np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1], [0, 0, 0]], np.uint8)
    C = cooccurrence(observed, np.ones(observed.shape, bool))
    np.testing.assert_allclose(C, [[0, 2 / 3, 1 / 3], [1, 0, 0], [1, 0, 0]], atol=1e-7)
    S = cooccurrence_support(observed, np.ones(observed.shape, bool), C)
    np.testing.assert_allclose(S[2], [1, 2 / 3, 1 / 3], atol=1e-6)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_matrix_and_support_equal_their_plain_restatement(seed):
    observed = invented(seed)
    everything = np.ones(observed.shape, bool)
    C = cooccurrence(observed, everything)
    np.testing.assert_allclose(C, naive.cooccurrence(observed), atol=1e-6)
    np.testing.assert_allclose(cooccurrence_support(observed, everything, C), naive.support(observed, C), atol=1e-5)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_rows_sum_to_one_or_nothing_and_the_diagonal_is_zero(seed):
    observed = invented(seed, stays=6)
    C = cooccurrence(observed, np.ones(observed.shape, bool))
    sums = C.sum(axis=1)
    assert np.all(np.isclose(sums, 1, atol=1e-6) | (sums == 0))
    assert not C.diagonal().any()


def test_pairs_that_are_not_stated_count_as_absent():
    observed = invented(1)
    stated = np.random.default_rng(2).random(observed.shape) < 0.7
    np.testing.assert_array_equal(
        cooccurrence(observed, stated), cooccurrence(observed * stated, np.ones(observed.shape, bool))
    )


def test_a_lonely_label_leaves_a_row_of_zeros():
    observed = np.array([[1, 0], [0, 1]], np.uint8)
    assert not cooccurrence(observed, np.ones(observed.shape, bool)).any()


@pytest.mark.parametrize("tau", [0.0, 0.02, 0.2])
def test_a_negative_is_eligible_iff_its_support_exceeds_tau_and_positives_always_are(tau):
    observed = invented(3, stays=40)
    everything = np.ones(observed.shape, bool)
    C = cooccurrence(observed, everything)
    eligible = negative_filter(observed, everything, everything, C, FilterConfig(tau=tau))
    S = naive.support(observed, C)
    np.testing.assert_array_equal(eligible, (observed == 1) | (tau < S))
    assert not eligible[observed.sum(axis=1) == 0].any()  # a stay without labels supports nothing


def test_the_quantile_filter_passes_the_upper_share_of_each_labels_negatives():
    rng = np.random.default_rng(4)
    observed = (rng.random((600, 8)) < 0.3).astype(np.uint8)
    everything, member = np.ones(observed.shape, bool), rng.random(observed.shape) < 0.8
    C = cooccurrence(observed, everything)
    config = FilterConfig(kind="per_label_quantile", quantile=0.75)
    eligible = negative_filter(observed, everything, member, C, config)
    S = cooccurrence_support(observed, everything, C)
    for label in range(8):
        negatives = member[:, label] & (observed[:, label] == 0)
        limit = np.quantile(S[negatives, label], 0.75)
        np.testing.assert_array_equal(eligible[negatives, label], S[negatives, label] > np.float32(limit))
    assert eligible[observed == 1].all()


@pytest.mark.parametrize("options", [{"kind": "top"}, {"tau": -1.0}, {"quantile": 1.5}, {"place": "never"}])
def test_an_option_out_of_range_is_refused(options):
    with pytest.raises(ConfigError, match="filter"):
        FilterConfig(**options)
