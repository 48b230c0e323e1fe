"""Predicted and corrected labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.correction.relabel import CorrectionConfig, corrected_labels, predicted_labels
from core.errors import ConfigError
from tests.core.naive import selection as naive

OURS = CorrectionConfig()


def invented(seed: int, stays: int = 10, labels: int = 4):
    rng = np.random.default_rng(seed)
    observed = rng.integers(0, 2, (stays, labels)).astype(np.uint8)
    predicted = rng.random((stays, labels), dtype=np.float32)
    U = np.clip(rng.uniform(-0.5, 1.5, (stays, labels)), 0, 1).astype(np.float32)
    eligible, member = rng.random((stays, labels)) < 0.7, rng.random((stays, labels)) < 0.7
    return observed, predicted, U, eligible, member


def test_the_mix_of_three_heads_is_renormalised_over_what_the_stay_has():
    p, e, n = (np.full((4, 1), v, np.float32) for v in (0.5, 1.0, 0.0))
    n[1] = e[2] = e[3] = n[3] = np.nan
    series, note = np.array([True, True, False, False]), np.array([True, False, True, False])
    mixed = predicted_labels(p, e, n, series, note, OURS)
    np.testing.assert_allclose(mixed.ravel(), [0.5, 0.5 / 0.8, 0.3 / 0.8, 0.5], atol=1e-6)


def test_the_released_mix_takes_the_head_of_an_absent_modality_too():
    p, e, n = (np.full((2, 1), v, np.float32) for v in (0.5, 1.0, 0.25))
    here = np.array([True, False])
    mixed = predicted_labels(p, e, n, here, here, CorrectionConfig.preset("released"))
    np.testing.assert_allclose(mixed.ravel(), [0.55, 0.55], atol=1e-6)


def test_without_heads_or_with_the_papers_mix_the_prediction_is_the_fused_probability():
    p = np.random.default_rng(0).random((5, 3), dtype=np.float32)
    here = np.ones(5, bool)
    np.testing.assert_allclose(predicted_labels(p, None, None, here, here, OURS), p, atol=1e-6)
    np.testing.assert_array_equal(predicted_labels(p, 1 - p, 1 - p, here, here, CorrectionConfig.preset("paper")), p)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_corrected_labels_equal_the_case_by_case_restatement(seed):
    observed, predicted, U, eligible, member = invented(seed)
    got = corrected_labels(observed.astype(np.float32), predicted, U, observed, eligible, member, config=OURS)
    np.testing.assert_allclose(got, naive.corrected(observed, predicted, U, eligible, member), atol=1e-6)
    assert got.dtype == np.float32


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_corrected_label_lies_between_the_given_and_the_predicted_one(seed):
    observed, predicted, U, eligible, member = invented(seed)
    base = observed.astype(np.float32)
    got = corrected_labels(base, predicted, U, observed, eligible, member, config=OURS)
    assert (got >= np.minimum(base, predicted) - 1e-6).all()
    assert (got <= np.maximum(base, predicted) + 1e-6).all()
    untouched = (U == 0) | ~member | ((observed == 0) & ~eligible)
    np.testing.assert_array_equal(got[untouched], base[untouched])
    whole = (U == 1) & member & ((observed == 1) | eligible)
    np.testing.assert_array_equal(got[whole], predicted[whole])


def test_a_soft_answer_is_corrected_from_its_own_base():
    one = np.ones((1, 1))
    got = corrected_labels(
        one.astype(np.float32) * 0.5, one.astype(np.float32) * 0.9, one.astype(np.float32) * 0.5,
        one.astype(np.uint8), one.astype(bool), one.astype(bool), config=OURS,
    )  # fmt: skip
    assert got[0, 0] == pytest.approx(0.7)


def test_cumulative_correction_starts_from_the_last_epoch_but_never_on_pairs_that_take_no_part():
    observed, predicted, U, eligible, member = invented(5)
    base, before = observed.astype(np.float32), np.full(observed.shape, 0.25, np.float32)
    config = CorrectionConfig(cumulative=True)
    got = corrected_labels(base, predicted, U, observed, eligible, member, config=config, previous=before)
    may = member & (eligible | (observed == 1))
    np.testing.assert_allclose(got[may], (U * predicted + (1 - U) * 0.25)[may], atol=1e-6)
    np.testing.assert_array_equal(got[~member], base[~member])
    off = corrected_labels(base, predicted, U, observed, eligible, member, config=OURS, previous=before)
    np.testing.assert_array_equal(off, corrected_labels(base, predicted, U, observed, eligible, member, config=OURS))


@pytest.mark.parametrize("mix", [(0.5, 0.2, 0.2), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5), (1.0, 0.0)])
def test_weights_that_are_no_mix_are_refused(mix):
    with pytest.raises(ConfigError, match="target mix"):
        CorrectionConfig(target_mix=mix)


def test_unknown_options_are_refused():
    with pytest.raises(ConfigError, match="uncertainty_source"):
        CorrectionConfig(uncertainty_source="entropy")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="preset"):
        CorrectionConfig.preset("best")
