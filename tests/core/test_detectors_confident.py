"""Confident learning: hand-worked, as loops over pairs, and against the package where it is installed."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.detectors.confident import (
    ConfidentConfig,
    confident_joint,
    confident_learning,
    confident_thresholds,
    pruned,
    wrong_counts,
)
from tests.core.planted_traces import blank_traces

P = np.array([0.9, 0.8, 0.7, 0.2, 0.1, 0.2, 0.1, 0.3, 0.4, 0.7])[:, None]
Y = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], np.uint8)[:, None]
ALL = np.ones((10, 1), np.bool_)


def drawn(seed: int, stays: int, labels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logit = rng.normal(size=(stays, labels)) * rng.uniform(0.3, 3) + rng.normal(size=labels)
    p = 1 / (1 + np.exp(-logit))
    truth = rng.random((stays, labels)) < p
    observed = truth ^ (rng.random((stays, labels)) < rng.uniform(0, 0.4))
    return np.clip(p + 0.1 * rng.normal(size=p.shape), 0.001, 0.999), observed.astype(np.uint8)


def naive_pruned(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One label, pair by pair; margins without ties."""
    thresholds = {}
    for c in (0, 1):
        own = [(p[i] if c else 1 - p[i]) for i in range(len(p)) if y[i] == c]
        thresholds[c] = sum(own) / len(own) if own else 2.0
    joint = [[0, 0], [0, 0]]
    for i in range(len(p)):
        sure = [j for j in (0, 1) if (p[i] if j else 1 - p[i]) >= thresholds[j] - 1e-6]
        if len(sure) == 1:
            joint[y[i]][sure[0]] += 1
        elif sure:
            joint[y[i]][int(p[i] > 0.5)] += 1
    found = np.zeros(len(p), bool)
    for c in (0, 1):
        rows = [i for i in range(len(p)) if y[i] == c]
        right, wrong = max(joint[c][c], 1), joint[c][1 - c]
        count = round(wrong / (right + wrong) * len(rows))
        count = max(count - max(1 - (len(rows) - count), 0), 0)
        suspects = sorted(rows, key=lambda i: p[i] if c else 1 - p[i])[:count] if len(rows) > 1 else []
        for i in suspects:
            found[i] = (p[i] > 0.5 + 1e-6) != bool(c) and abs(p[i] - 0.5) > 1e-6
    return found


def test_ten_records_by_hand():
    np.testing.assert_allclose(confident_thresholds(P, Y, ALL), [[0.7, 0.65]])
    np.testing.assert_array_equal(confident_joint(P, Y, ALL), [[[5, 1], [1, 3]]])
    np.testing.assert_array_equal(np.flatnonzero(pruned(P, Y, ALL)), [3, 9])


def test_pairs_called_wrong_come_before_all_others_and_each_part_by_self_confidence():
    traces = blank_traces(np.zeros((1, 10, 1)), Y, out_of_fold=P.astype(np.float32))
    told = confident_learning(traces, ConfidentConfig())[:, 0]
    np.testing.assert_allclose(told, [0.05, 0.1, 0.15, 0.9, 0.05, 0.1, 0.05, 0.15, 0.2, 0.85], atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 100_000), stays=st.integers(2, 40))
def test_pruning_is_its_definition_pair_by_pair(seed, stays):
    p, y = drawn(seed, stays, 2)
    told = pruned(p, y, np.ones_like(y, np.bool_))
    for label in range(2):
        wanted = naive_pruned(p[:, label], y[:, label])
        assert int((told[:, label] != wanted).sum()) <= 1  # a count of k + ½ may be rounded to either side
    even = (told == np.stack([naive_pruned(p[:, k], y[:, k]) for k in (0, 1)], axis=1)).all()
    assert even or stays > 2


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 100_000), stays=st.integers(1, 60))
def test_rows_of_the_joint_add_up_to_the_recorded_counts(seed, stays):
    p, y = drawn(seed, stays, 3)
    member = np.random.default_rng(seed).random(y.shape) < 0.8
    joint = confident_joint(p, y, member)
    assert (joint >= 0).all()
    for value in (0, 1):
        np.testing.assert_array_equal(joint[:, value].sum(1), (member & (y == value)).sum(0))


def test_pairs_that_take_no_part_change_nothing_for_the_others_and_are_held_against_the_same_cuts():
    p, y = drawn(5, 80, 2)
    member = np.arange(80)[:, None] < np.array([50, 60])
    other = np.where(member, y, 1 - y).astype(np.uint8)
    np.testing.assert_array_equal(pruned(p, y, member)[member], pruned(p, other, member)[member])
    both = np.concatenate((p, p)), np.concatenate((y, y))
    again = pruned(*both, np.concatenate((member, np.zeros_like(member))))
    np.testing.assert_array_equal(again[:80], again[80:])


def test_the_last_pair_of_a_class_is_never_called_wrong():
    p, y = np.array([[0.01], [0.9], [0.99]]), np.array([[1], [0], [0]], np.uint8)
    assert not pruned(p, y, np.ones_like(y, np.bool_))[0, 0]
    np.testing.assert_array_equal(wrong_counts(np.array([[[0, 4], [3, 2]]]), 1), [[3, 3]])


def test_equal_probabilities_are_called_wrong_together_or_not_at_all():
    p, y = np.full((6, 1), 0.8), np.array([[1], [1], [1], [0], [0], [0]], np.uint8)
    told = pruned(p, y, np.ones_like(y, np.bool_))[:, 0]
    assert len(set(told[:3])) == len(set(told[3:])) == 1


@pytest.mark.parametrize("seed", range(20))
def test_the_package_calls_the_same_pairs_wrong(seed):
    package = pytest.importorskip("cleanlab", reason="the cleanlab package is not installed; it is no dependency")
    from cleanlab.internal.multilabel_utils import onehot2int
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

    p, y = drawn(seed, 200, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = find_multilabel_issues_per_class(onehot2int(y), p, n_jobs=1)
    ours = pruned(p, y, np.ones_like(y, np.bool_))
    assert ours.any(), package.__version__
    assert ((theirs != ours).sum(0) <= 1).all()  # a count of k + ½ may be rounded to either side
