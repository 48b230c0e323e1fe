"""Detectors of the course of predictions: hand-worked, and as loops over pairs and epochs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.detectors.course import CourseConfig, half_table, mean_over, window
from core.detectors.losses import CnlcuConfig, cnlcu_bonus
from core.detectors.margins import trust_gradient
from core.detectors.registry import DETECTORS, PARTS, DetectorConfig, scores
from core.errors import ConfigError, RunError
from core.selection.dynamics import LearningDynamics
from tests.core.planted_traces import blank_traces

COURSE = [name for name, detector in (DETECTORS | PARTS).items() if detector.family == "course"]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def cross_entropy(z: float, y: int) -> float:
    return math.log(1 + math.exp(-z)) if y else math.log(1 + math.exp(z))


def naive(name: str, z: list[float], norm: list[float], y: int) -> float:
    """One pair's score from its logits, by the letter of methods.md C.13 (epochs 2..12, EL2N 2..6, LiNC 1..10)."""
    own = [sigmoid(v) if y else 1 - sigmoid(v) for v in z]
    first = min(2, len(z)) - 1
    mid = range(first, min(12, len(z)))
    early = range(first, min(6, len(z)))
    if name == "loss":
        return sum(cross_entropy(z[t], y) for t in mid) / len(mid)
    if name == "loss_last":
        return cross_entropy(z[-1], y)
    if name == "cnlcu_s":
        losses = [cross_entropy(z[t], y) for t in mid]
        n, s = len(mid), 1e-4
        return sum(math.log(1 + v + v * v / 2) for v in losses) / n - s * (n + s * math.log(2 * n) / n**2) / (n - s)
    if name == "aum":
        return -sum((2 * y - 1) * z[t] for t in mid) / len(mid)
    if name == "linc":
        return sum((sigmoid(v) - y) * v for v in z[:10])
    if name == "mild":
        wrong = sum((v > 0) != (y == 1) for v in z)
        return wrong - (len(z) - wrong)
    if name == "el2n":
        return sum(abs(sigmoid(z[t]) - y) for t in early) / len(early)
    if name == "grand":
        return sum(abs(sigmoid(z[t]) - y) * norm[t] for t in mid) / len(mid)
    mean = sum(own[t] for t in mid) / len(mid)
    ambiguity = sum(own[t] * (1 - own[t]) for t in mid) / len(mid)
    return {
        "data_maps": 1 - mean,
        "data_iq": (1 - mean) - ambiguity,
        "data_iq_aleatoric": ambiguity,
        "data_maps_variability": math.sqrt(sum((own[t] - mean) ** 2 for t in mid) / len(mid)),
    }[name]


HAND = {
    "loss": 0.720095,
    "loss_last": 1.313262,
    "cnlcu_s": 0.640956,
    "aum": -0.5,
    "linc": 0.492653,
    "mild": 0.0,
    "el2n": 0.425131,
    "grand": 1.215791,
    "data_maps": 0.425131,
    "data_iq": 0.274328,
    "data_iq_aleatoric": 0.150803,
    "data_maps_variability": 0.305928,
}


@pytest.mark.parametrize("name", COURSE)
@pytest.mark.parametrize("y", [1, 0])
def test_a_pair_with_logits_2_and_minus_1_against_its_record_scores_as_by_hand(name, y):
    z = np.array([2.0, -1.0]) * (1 if y else -1)
    traces = blank_traces(z.reshape(2, 1, 1), np.array([[y]]), feature_norm=np.array([[2.0], [3.0]], np.float32))
    assert scores(traces, [name])[name][0, 0] == pytest.approx(HAND[name], abs=2e-6)


@pytest.mark.parametrize("name", COURSE)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_course_detector_is_its_formula_pair_by_pair(name, data):
    epochs, stays, labels = (data.draw(st.integers(1, high)) for high in (15, 3, 2))
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    logits = (rng.normal(size=(epochs, stays, labels)) * data.draw(st.sampled_from((0.3, 3.0, 12.0)))).clip(-30, 30)
    logits = logits.astype(np.float16)
    logits[rng.random(logits.shape) < 0.1] = 0.0
    observed = rng.integers(0, 2, (stays, labels)).astype(np.uint8)
    norm = rng.uniform(1, 9, (epochs, stays)).astype(np.float32)
    config = DetectorConfig(course=CourseConfig(2, 12, 6))
    told = scores(blank_traces(logits, observed, feature_norm=norm), [name], config)[name]
    for i in range(stays):
        for label in range(labels):
            z = [float(v) for v in logits[:, i, label]]
            wanted = naive(name, z, [float(v) for v in norm[:, i]], int(observed[i, label]))
            assert told[i, label] == pytest.approx(wanted, rel=2e-4, abs=2e-4)


@pytest.mark.parametrize(("z", "y", "g"), [(-2, 1, 1.7616), (2, 1, -0.2384), (2, 0, 1.7616), (-2, 0, -0.2384)])
def test_the_gradient_of_the_trust_is_the_one_that_autograd_finds_with_p_held_fixed(z, y, g):
    alpha = torch.tensor(1.0, requires_grad=True, dtype=torch.float64)
    logit = torch.tensor(float(z), dtype=torch.float64)
    p = torch.sigmoid(logit)
    target = alpha * y + (1 - alpha) * p.detach()
    torch.nn.functional.binary_cross_entropy_with_logits(logit, target).backward()
    own = float(trust_gradient(np.array([z * (2 * y - 1.0)]))[0])
    assert own == pytest.approx(g, abs=5e-5)
    assert own == pytest.approx(float(alpha.grad))


def test_mild_is_the_difficulty_by_total_epochs():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(7, 20, 3)).astype(np.float16)
    logits[rng.random(logits.shape) < 0.1] = -0.0
    observed = rng.integers(0, 2, (20, 3)).astype(np.uint8)
    dynamics = LearningDynamics((20, 3))
    for z in logits:
        dynamics.update((z > 0) == (observed == 1))
    told = scores(blank_traces(logits, observed), ["mild"])["mild"]
    np.testing.assert_array_equal(told, dynamics.difficulty("total_seg"))


def test_linc_keeps_the_order_of_records_that_the_model_agrees_with():
    logits = np.array([0.5, 1.0, 2.0, 6.0]).reshape(1, 4, 1).repeat(10, axis=0)
    told = scores(blank_traces(-logits, np.zeros((4, 1))), ["linc"])["linc"][:, 0]
    assert len(set(told)) == 4


def test_the_table_holds_every_half_precision_number_and_stops_at_the_limit():
    table = half_table(lambda m: m)
    numbers = np.array([0.0, 1.5, -7.25, 30.0, 31.0, -np.inf, 6e-8], np.float16)
    np.testing.assert_array_equal(table[numbers.view(np.uint16)], np.clip(numbers, -30, 30).astype(np.float32))
    assert np.isnan(table[np.array(np.nan, np.float16).view(np.uint16)])


def test_a_window_is_cut_to_the_epochs_there_are():
    assert list(window(30, 2, 12)) == list(range(1, 12))
    assert list(window(5, 2, 12)) == [1, 2, 3, 4]
    assert list(window(1, 2, 12)) == [0]
    assert list(window(3, 9, 12)) == [2]
    assert list(window(4, 2, None)) == [1, 2, 3]
    with pytest.raises(RunError, match="at least one epoch"):
        window(0, 1, 12)


def test_logits_in_single_precision_and_views_give_the_same_mean():
    rng = np.random.default_rng(0)
    half = rng.normal(size=(3, 8, 2)).astype(np.float16)
    traces = blank_traces(half, np.ones((8, 2)))
    object.__setattr__(traces, "logits", np.asfortranarray(half.astype(np.float32)))
    np.testing.assert_allclose(mean_over(traces, np.negative, range(3)), -half.astype(np.float32).mean(0), atol=1e-6)


def test_the_bonus_of_cnlcu_grows_where_a_pair_was_seldom_selected():
    assert cnlcu_bonus(10, 2, 1e-4) > cnlcu_bonus(10, 10, 1e-4) > 0
    assert CnlcuConfig().variance == 1e-4


@pytest.mark.parametrize("bad", [{"first": 0}, {"first": 13}, {"first": 7, "last": 6}])
def test_windows_that_end_before_they_begin_are_refused(bad):
    with pytest.raises(ConfigError):
        CourseConfig(**bad)
