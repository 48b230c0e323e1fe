"""What a correction does and is expected to do, against hand-worked groups and loops over pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.correction.harm import expected_harm, harmful_groups, leave_alone
from core.errors import ConfigError
from core.metrics.harm import label_accuracy

OBSERVED = np.array([[1], [1], [1], [0], [0]], np.uint8)
W = np.array([[0.9], [0.2], [0.1], [0.6], [0.1]], np.float32)
CORRECTED = np.array([[0.1], [0.4], [1.0], [0.0], [0.0]], np.float32)
ALL = np.ones((5, 1), bool)


def test_the_hand_worked_group():
    present, absent = expected_harm(OBSERVED, CORRECTED, W, ALL).to_pylist()
    assert (present["label_id"], present["direction"], absent["direction"]) == (0, "false_positive", "false_negative")
    # moved by .9 and .6: both turned round, one rightly (.9), one wrongly (.8 against .2)
    assert (present["pairs"], present["changed"]) == (3, 2)
    assert present["expected_better"] == pytest.approx(1.1)
    assert present["expected_worse"] == pytest.approx(0.9)
    assert present["expected_error_before"] == pytest.approx(1.2)
    # .9 + .9(.9 - 1.8) + .2 + .6(.6 - .4) + .1
    assert present["expected_error_after"] == pytest.approx(0.09 + 0.32 + 0.1, abs=1e-6)
    assert present["reason"] == "more good than harm expected"
    assert not present["left_alone"]
    assert (absent["pairs"], absent["changed"], absent["left_alone"]) == (2, 0, True)
    assert absent["expected_error_before"] == absent["expected_error_after"] == pytest.approx(0.7)
    assert absent["reason"] == "no noise found"


@given(seed=st.integers(0, 10_000), n=st.integers(0, 30))
@settings(max_examples=50, deadline=None)
def test_the_table_equals_a_loop_over_pairs(seed, n):
    rng = np.random.default_rng(seed)
    observed = rng.integers(0, 2, (n, 2)).astype(np.uint8)
    corrected, w = (rng.random((n, 2)).astype(np.float32) for _ in range(2))
    member = rng.random((n, 2)) < 0.7
    for row in expected_harm(observed, corrected, w, member).to_pylist():
        k, c = row["label_id"], int(row["direction"] == "false_positive")
        held = [i for i in range(n) if member[i, k] and observed[i, k] == c]
        turned = [i for i in held if abs(float(corrected[i, k]) - c) > 0.5]
        assert (row["pairs"], row["changed"]) == (len(held), len(turned))
        assert row["expected_better"] == pytest.approx(sum(float(w[i, k]) for i in turned))
        assert row["expected_worse"] == pytest.approx(sum(1 - float(w[i, k]) for i in turned))
        before = after = 0.0
        for i in held:
            p = float(w[i, k])
            before += p
            for truth, chance in ((c, 1 - p), (1 - c, p)):
                after += chance * (float(corrected[i, k]) - truth) ** 2
        assert row["expected_error_before"] == pytest.approx(before)
        assert row["expected_error_after"] == pytest.approx(after)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_softening_by_the_probability_itself_is_never_expected_to_harm(seed):
    rng = np.random.default_rng(seed)
    observed = rng.integers(0, 2, (40, 3)).astype(np.uint8)
    w = rng.random((40, 3)).astype(np.float32)
    corrected = np.where(observed == 1, 1 - w, w)
    member = np.ones(observed.shape, bool)
    assert not harmful_groups(observed, corrected, w, member).any()
    table = expected_harm(observed, corrected, w, member)
    assert (table["expected_better"].to_numpy() >= table["expected_worse"].to_numpy()).all()


def test_a_group_that_is_corrected_against_the_evidence_gets_its_records_back():
    observed = np.array([[1, 1], [1, 1], [0, 0], [0, 0]], np.uint8)
    w = np.array([[0.1, 0.9], [0.1, 0.9], [0.0, 0.0], [0.0, 0.0]], np.float32)
    corrected = np.array([[0.2, 0.1], [1.0, 0.1], [0.0, 0.4], [0.0, 0.0]], np.float32)
    member = np.ones((4, 2), bool)
    groups = harmful_groups(observed, corrected, w, member)
    np.testing.assert_array_equal(groups, [[False, True], [True, False]])
    mended = leave_alone(observed, corrected, groups, member)
    np.testing.assert_allclose(mended, [[1, 0.1], [1, 0.1], [0, 0], [0, 0]])
    assert mended.dtype == np.float32
    reasons = {(r["label_id"], r["direction"]): r for r in expected_harm(observed, mended, w, member).to_pylist()}
    assert reasons[0, "false_positive"]["left_alone"]
    assert reasons[1, "false_positive"]["reason"] == "more good than harm expected"


def test_pairs_that_are_no_members_are_neither_counted_nor_given_back():
    member = ALL.copy()
    member[0] = False
    assert expected_harm(OBSERVED, CORRECTED, W, member)["changed"].to_pylist() == [1, 0]
    mended = leave_alone(OBSERVED, CORRECTED, np.ones((1, 2), bool), member)
    np.testing.assert_allclose(mended[:, 0], [0.1, 1, 1, 0, 0])


def test_the_reason_says_whether_noise_was_found():
    found = np.array([[False, False]])
    present, absent = expected_harm(OBSERVED, CORRECTED, W, ALL, found).to_pylist()
    assert present["reason"] == "corrected although no noise was found"
    assert absent["reason"] == "no noise found"
    still = OBSERVED.astype(np.float32)
    assert expected_harm(OBSERVED, still, W, ALL, ~found)["reason"].to_pylist() == ["no label moved"] * 2
    assert expected_harm(OBSERVED, still, W, ~ALL)["reason"].to_pylist() == ["no pairs"] * 2
    against = expected_harm(OBSERVED, 1 - still, W, ALL)["reason"].to_pylist()
    assert against == ["more harm than good expected"] * 2
    soft = np.where(OBSERVED == 1, 1 - W / 4, W / 4).astype(np.float32)
    assert expected_harm(OBSERVED, soft, W, ALL)["reason"].to_pylist() == ["labels softened, none turned round"] * 2


def test_accuracy_by_hand():
    truth = np.array([[0], [1], [1], [1], [0]], np.uint8)
    got = label_accuracy(OBSERVED, CORRECTED, truth, ALL)
    present, absent, pooled = got["positive"], got["negative"], got["pooled"]
    assert (present.pairs, present.changed, present.better, present.worse) == (3, 2, 1, 1)
    assert (present.before, present.after) == pytest.approx((2 / 3, 2 / 3))
    assert (absent.before, absent.after, absent.changed) == (0.5, 0.5, 0)
    assert (pooled.before, pooled.after) == pytest.approx((0.6, 0.6))
    assert present.soft_before == pytest.approx(1 / 3)
    assert present.soft_after == pytest.approx((0.01 + 0.36) / 3, abs=1e-6)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_accuracy_after_equals_counting_the_rounded_labels(seed):
    rng = np.random.default_rng(seed)
    observed, truth = (rng.integers(0, 2, (30, 3)).astype(np.uint8) for _ in range(2))
    corrected = rng.random((30, 3)).astype(np.float32)
    member = rng.random((30, 3)) < 0.8
    hard = corrected > 0.5
    for name, group in (("positive", observed == 1), ("negative", observed == 0), ("pooled", observed >= 0)):
        rows, got = member & group, label_accuracy(observed, corrected, truth, member)[name]
        assert got.pairs == rows.sum()
        if got.pairs:
            assert got.before == pytest.approx((observed == truth)[rows].mean())
            assert got.after == pytest.approx((hard == truth)[rows].mean())


def test_a_label_moved_half_way_keeps_its_record_and_an_empty_class_has_no_accuracy():
    observed = np.ones((2, 1), np.uint8)
    half = np.full((2, 1), 0.5, np.float32)
    got = label_accuracy(observed, half, observed, np.ones((2, 1), bool))
    assert (got["positive"].changed, got["positive"].after) == (0, 1)
    assert np.isnan([got["negative"].before, got["negative"].after, got["negative"].soft_after]).all()


def test_shapes_that_differ_and_scores_that_are_no_probabilities_are_refused():
    with pytest.raises(ConfigError, match=r"P\(label wrong\) in \[0, 1\]"):
        expected_harm(OBSERVED, CORRECTED, W * 3, ALL)
    with pytest.raises(ConfigError, match=r"P\(label wrong\) in \[0, 1\]"):
        expected_harm(OBSERVED, CORRECTED, np.full_like(W, np.nan), ALL)
    with pytest.raises(ConfigError, match="of one shape"):
        expected_harm(OBSERVED, CORRECTED, W, ALL[:4])
    nothing = np.full_like(W, np.nan)
    assert expected_harm(OBSERVED, CORRECTED, nothing, ~ALL)["pairs"].to_pylist() == [0, 0]
