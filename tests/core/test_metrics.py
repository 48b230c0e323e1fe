"""Ranking and detection metrics against their definitions and against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as library

from core.errors import ConfigError
from core.metrics.audit import detection, precision_at
from core.metrics.ranking import auroc, average_precision, ranking_metrics
from tests.core.naive import metrics as naive


def test_the_hand_worked_ranking():
    truth, score = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1])
    assert average_precision(truth, score) == pytest.approx((1 + 2 / 3) / 2)
    assert auroc(truth, score) == pytest.approx(0.75)
    assert auroc(truth, np.full(4, 0.3)) == 0.5


@given(seed=st.integers(0, 10_000), n=st.integers(1, 25), levels=st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_average_precision_and_auroc_equal_their_definitions_ties_included(seed, n, levels):
    rng = np.random.default_rng(seed)
    truth, score = rng.integers(0, 2, n), rng.integers(0, levels, n) / 8
    np.testing.assert_allclose(average_precision(truth, score), naive.average_precision(truth, score), atol=1e-12)
    np.testing.assert_allclose(auroc(truth, score), naive.auroc(truth, score), atol=1e-12)


def test_all_metrics_equal_scikit_learns():
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 6)) < 0.3).astype(np.uint8)
    p = np.round(np.clip(0.3 + 0.3 * truth + rng.normal(0, 0.25, truth.shape), 0, 1), 2).astype(np.float32)
    got = ranking_metrics(truth, p)
    assert got.map == pytest.approx(library.average_precision_score(truth, p, average="macro"), abs=1e-9)
    assert got.auroc_macro == pytest.approx(library.roc_auc_score(truth, p, average="macro"), abs=1e-9)
    assert got.auroc_micro == pytest.approx(library.roc_auc_score(truth.ravel(), p.ravel()), abs=1e-9)
    assert got.f1_micro == pytest.approx(library.f1_score(truth.ravel(), p.ravel() > 0.5), abs=1e-9)
    assert got.f1_macro == pytest.approx(library.f1_score(truth, p > 0.5, average="macro"), abs=1e-9)
    assert got.chance == pytest.approx(truth.mean())
    assert (got.labels_without_positives, got.labels_without_negatives) == (0, 0)


def test_a_constant_predictor_has_the_prevalence_as_its_mean_average_precision():
    truth = (np.random.default_rng(1).random((300, 5)) < 0.2).astype(np.uint8)
    got = ranking_metrics(truth, np.full(truth.shape, 0.4, np.float32))
    assert got.map == pytest.approx(truth.mean())
    assert got.map == pytest.approx(got.chance)


def test_a_label_without_positives_is_counted_and_left_out_or_scores_zero():
    truth = np.array([[1, 0, 1], [0, 0, 1]], np.uint8)
    p = np.array([[0.9, 0.4, 0.6], [0.1, 0.6, 0.7]], np.float32)
    skipped, zeroed = ranking_metrics(truth, p), ranking_metrics(truth, p, empty="zero")
    assert (skipped.labels_without_positives, skipped.labels_without_negatives) == (1, 1)
    assert skipped.map == pytest.approx(1.0)
    assert zeroed.map == pytest.approx(2 / 3)
    assert zeroed.f1_macro == pytest.approx(2 / 3)
    assert skipped.auroc_macro == 1.0
    with pytest.raises(ConfigError, match="skip or zero"):
        ranking_metrics(truth, p, empty="drop")  # type: ignore[arg-type]


def test_pairs_that_are_not_stated_do_not_count():
    rng = np.random.default_rng(2)
    truth, p = rng.integers(0, 2, (60, 2)).astype(np.uint8), rng.random((60, 2), dtype=np.float32)
    stated = np.ones((60, 2), bool)
    stated[40:, 0] = False
    got = ranking_metrics(truth, p, stated)
    assert got.average_precision[0] == pytest.approx(average_precision(truth[:40, 0], p[:40, 0]))
    assert got.average_precision[1] == pytest.approx(average_precision(truth[:, 1], p[:, 1]))


def test_nothing_at_all_has_no_metric_and_no_warning():
    got = ranking_metrics(np.zeros((0, 3), np.uint8), np.zeros((0, 3), np.float32))
    assert np.isnan(got.map)
    assert np.isnan(got.auroc_micro)
    assert got.labels_without_positives == 3


def test_precision_at_k_averages_over_the_orders_of_tied_scores():
    wrong = np.array([True, False, True, False])
    score = np.array([0.9, 0.5, 0.5, 0.1])
    assert precision_at(wrong, score, 1) == 1
    assert precision_at(wrong, score, 2) == pytest.approx(0.75)
    assert precision_at(wrong, score, 3) == pytest.approx(2 / 3)
    assert np.isnan(precision_at(wrong, score, 5))


@given(seed=st.integers(0, 10_000), k=st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_precision_at_k_is_the_mean_over_shuffled_sorts(seed, k):
    rng = np.random.default_rng(seed)
    wrong, score = rng.random(12) < 0.4, rng.integers(0, 4, 12) / 4
    heads = []
    for _ in range(300):
        order = rng.permutation(12)
        heads.append(wrong[order][np.argsort(-score[order], kind="stable")[:k]].mean())
    assert precision_at(wrong, score, k) == pytest.approx(np.mean(heads), abs=0.12)


def test_detection_is_told_per_observed_class_and_macro_over_labels():
    rng = np.random.default_rng(3)
    truth = (rng.random((500, 4)) < 0.3).astype(np.uint8)
    flipped = rng.random(truth.shape) < 0.2
    flipped[:, 3] = False  # nothing wrong in this label: it has no AUROC
    observed = truth ^ flipped.view(np.uint8)
    score = (flipped + rng.normal(0, 1, truth.shape)).astype(np.float32)
    member = rng.random(truth.shape) < 0.9
    found = detection(score, observed, truth, member, ks=(10, 10_000))
    for name, c in (("positive", 1), ("negative", 0)):
        groups = [member[:, k] & (observed[:, k] == c) for k in range(3)]
        areas = [library.roc_auc_score(flipped[g, k], score[g, k]) for k, g in enumerate(groups)]
        assert found[name].auroc == pytest.approx(np.mean(areas))
        assert found[name].labels_scored == 3
        assert found[name].n == (member & (observed == c)).sum()
        assert found[name].n_wrong == (member & (observed == c) & flipped).sum()
        assert np.isnan(found[name].precision_at[10_000])
        assert 0 <= found[name].precision_at[10] <= 1
    assert found["pooled"].auroc == pytest.approx(library.roc_auc_score(flipped[member], score[member]))
    assert found["pooled"].n_wrong == found["positive"].n_wrong + found["negative"].n_wrong


def test_a_group_without_wrong_labels_has_no_detection_figures():
    labels = np.array([[1, 0], [0, 1]], np.uint8)
    found = detection(np.zeros((2, 2), np.float32), labels, labels, np.ones((2, 2), bool))
    assert np.isnan(found["positive"].auroc)
    assert found["positive"].labels_scored == found["pooled"].labels_scored == 0
