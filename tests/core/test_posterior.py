"""The posterior: a logistic model seen through noise, Bayes' rule, and noise rates read from anchors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from core.calibrated import posterior
from core.calibrated.config import CalibratedConfig
from core.calibrated.posterior import Rates
from core.peer.regression import patient_folds

fit_through_noise = jaxtyped(posterior.fit_through_noise, typechecker=beartype)
clean_logit = jaxtyped(posterior.clean_logit, typechecker=beartype)
cross_fitted_logit = jaxtyped(posterior.cross_fitted_logit, typechecker=beartype)
wrong_probability = jaxtyped(posterior.wrong_probability, typechecker=beartype)
anchor_rates = jaxtyped(posterior.anchor_rates, typechecker=beartype)
estimated_rates = jaxtyped(posterior.estimated_rates, typechecker=beartype)


def rates(plus: float, minus: float, labels: int = 1) -> Rates:
    return Rates(np.full(labels, plus), np.full(labels, minus))


# Bayes' rule


def test_bayes_rule_gives_the_numbers_worked_out_by_hand() -> None:
    """q = .3, ρ₊ = .2, ρ₋ = .1. Recorded 1: .07 / (.07 + .24). Recorded 0: .06 / (.06 + .63)."""
    q, observed = np.array([[0.3, 0.3]]), np.array([[1, 0]], np.uint8)
    found = wrong_probability(q, observed, rates(0.2, 0.1, 2), 0.002)
    assert found[0] == pytest.approx([7 / 31, 2 / 23])


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 0.99), st.floats(0, 0.49), st.floats(0, 0.49))
def test_wrong_probability_counts_as_an_enumeration_of_truth_and_record_does(
    q: float, plus: float, minus: float
) -> None:
    joint = {(1, 1): q * (1 - plus), (1, 0): q * plus, (0, 1): (1 - q) * minus, (0, 0): (1 - q) * (1 - minus)}
    for observed in (0, 1):
        naive = joint[1 - observed, observed] / (joint[0, observed] + joint[1, observed])
        found = wrong_probability(np.array([[q]]), np.array([[observed]], np.uint8), rates(plus, minus), 0.002)
        assert found.item() == pytest.approx(naive, abs=1e-6)


def test_a_class_without_noise_is_never_wrong() -> None:
    q = np.array([[0.0, 1e-9, 0.5, 1.0]]).T.repeat(2, 1)
    observed = np.array([[1, 0]] * 4, np.uint8)
    assert (wrong_probability(q, observed, rates(0.3, 0.0, 2), 0.002)[:, 0] == 0).all()
    assert (wrong_probability(q, observed, rates(0.0, 0.3, 2), 0.002)[:, 1] == 0).all()
    assert (wrong_probability(q, observed, Rates.none(2), 0.0) == 0).all()


def test_no_evidence_is_certain_beyond_the_least_doubt() -> None:
    """q = 0 is held at .1: recorded 1 by ρ₋ = .5: .45 / (.45 + .1). q = 1 at .9: recorded 0 by ρ₊ = .5: likewise."""
    found = wrong_probability(np.array([[0.0], [1.0]]), np.array([[1], [0]], np.uint8), rates(0.5, 0.5), 0.1)
    assert found[:, 0] == pytest.approx([0.9, 0.9])
    with_extra = wrong_probability(np.array([[0.0]]), np.array([[1]], np.uint8), rates(0.0, 0.5), 0.1)
    assert with_extra.item() == pytest.approx(0.45 / 0.55)


# The fit


def population(
    stays: int,
    labels: int,
    plus: float,
    minus: float,
    seed: int,
    weights: tuple[float, ...] = (2.0, -1.0),
    at: float = -0.5,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, recorded labels and true ones, of which P(present) = σ(at + w·F)."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(len(weights), stays, labels)).astype(np.float32)
    truth = rng.random((stays, labels)) < expit(at + np.tensordot(np.array(weights), features, 1))
    flips = rng.random((stays, labels)) < np.where(truth, plus, minus)
    return features, (truth ^ flips).astype(np.uint8), truth


@pytest.mark.parametrize(("plus", "minus"), [(0.2, 0.1), (0.0, 0.3), (0.4, 0.0), (0.0, 0.0)])
def test_the_fit_through_known_noise_recovers_the_clean_model(plus: float, minus: float) -> None:
    features, observed, _ = population(12_000, 2, plus, minus, 1)
    everything = np.ones(observed.shape, bool)
    found = fit_through_noise(features, observed, everything, rates(plus, minus, 2), 1.0)
    assert found == pytest.approx(np.array([[2.0] * 2, [-1.0] * 2, [-0.5] * 2]), abs=0.2)
    if plus + minus > 0.2:
        blind = fit_through_noise(features, observed, everything, Rates.none(2), 1.0)
        assert np.abs(blind[0] - 2.0).min() > 0.4


def test_at_rates_of_zero_the_fit_is_a_logistic_regression() -> None:
    features, observed, _ = population(600, 3, 0.0, 0.0, 2)
    member = np.random.default_rng(0).random(observed.shape) < 0.8
    found = fit_through_noise(features, observed, member, Rates.none(3), 0.0)
    for label in range(3):
        rows = member[:, label]
        plain = LogisticRegression(C=1e8, tol=1e-10, max_iter=5000).fit(
            features[:, rows, label].T, observed[rows, label]
        )
        assert found[:2, label] == pytest.approx(plain.coef_[0], abs=5e-3)
        assert found[2, label] == pytest.approx(plain.intercept_[0], abs=5e-3)
    expected = features[0] * found[0] + features[1] * found[1] + found[2]
    assert np.allclose(clean_logit(features, found), expected, atol=1e-5)


def naive_cost(
    w: np.ndarray, features: np.ndarray, observed: np.ndarray, member: np.ndarray, noise: Rates, ridge: float
) -> float:
    """Negative log-likelihood and ridge by loops, a mean over the pairs that are fitted on."""
    k, stays, labels = features.shape
    total, n = 0.0, 0
    for i in range(stays):
        for label in range(labels):
            if member[i, label]:
                present = expit(w[k, label] + sum(w[j, label] * features[j, i, label] for j in range(k)))
                recorded = present * (1 - noise.rho_plus[label]) + (1 - present) * noise.rho_minus[label]
                total -= np.log(recorded if observed[i, label] else 1 - recorded)
                n += 1
    for j in range(k):
        total += 0.5 * ridge * sum((w[j, label] - w[j].mean()) ** 2 for label in range(labels))
    return float(total / max(n, 1))


def captured(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The cost that the fit minimises."""
    held: dict[str, Any] = {}

    class Found:
        x = np.zeros((len(arguments[0]) + 1) * arguments[0].shape[2])

    monkeypatch.setattr(posterior, "minimize", lambda cost, *_, **__: held.setdefault("cost", cost) and Found)
    posterior.fit_through_noise(*arguments)
    cost: Callable[[np.ndarray], tuple[float, np.ndarray]] = held["cost"]
    return cost


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.integers(1, 3), st.floats(0, 0.45), st.floats(0, 0.45), st.integers(0, 10_000))
def test_the_cost_is_the_naive_one_and_its_slope_that_of_finite_differences(
    stays: int, labels: int, plus: float, minus: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    features, observed, _ = population(stays, labels, plus, minus, seed)
    noise = Rates(plus * rng.random(labels), minus * rng.random(labels))
    parts = (features, observed, rng.random(observed.shape) < 0.8, noise, 2.0)
    at, step = rng.normal(size=3 * labels), 1e-4
    with pytest.MonkeyPatch.context() as patch:
        value, gradient = captured(patch, *parts)(at)
    assert value == pytest.approx(naive_cost(at.reshape(3, labels), *parts), abs=1e-5)
    for k, unit in enumerate(np.eye(len(at)) * step):
        ahead, behind = (naive_cost((at + s * unit).reshape(3, labels), *parts) for s in (1, -1))
        assert gradient[k] == pytest.approx((ahead - behind) / (2 * step), abs=1e-4)


def test_no_other_weights_are_likelier_than_those_found() -> None:
    features, observed, _ = population(60, 2, 0.2, 0.1, 4)
    parts = (features, observed, np.ones(observed.shape, bool), rates(0.2, 0.1, 2), 3.0)
    found = fit_through_noise(*parts)
    least = naive_cost(found, *parts)
    for direction in np.random.default_rng(0).normal(size=(40, *found.shape)):
        for step in (0.3, 0.03):
            assert naive_cost(found + step * direction, *parts) > least - 1e-6


def test_the_ridge_draws_rare_labels_to_the_others_weights() -> None:
    features, observed, _ = population(400, 3, 0.0, 0.0, 5)
    member = np.ones(observed.shape, bool)
    member[6:, 2] = False  # six pairs of the third label
    free, drawn, tied = (fit_through_noise(features, observed, member, Rates.none(3), r)[:2] for r in (0.0, 10.0, 1e6))
    assert np.ptp(tied, axis=1).max() < 0.02
    assert np.ptp(drawn, axis=1).max() < np.ptp(free, axis=1).max()
    assert tied.mean(1) == pytest.approx([2, -1], abs=0.5)  # towards their mean, not towards 0


def test_a_label_without_members_or_of_one_class_alone_gives_finite_weights() -> None:
    features, observed, _ = population(200, 3, 0.0, 0.0, 6)
    member = np.ones(observed.shape, bool)
    member[:, 0], observed[:, 1] = False, 0
    for noise in (Rates.none(3), rates(0.2, 0.2, 3)):
        found = fit_through_noise(features, observed, member, noise, 1.0)
        assert np.isfinite(found).all()
        q = expit(clean_logit(features, found))
        assert q[:, 1].mean() < 0.2


def test_a_start_changes_the_way_and_not_the_end() -> None:
    features, observed, _ = population(400, 2, 0.2, 0.1, 7)
    parts = (features, observed, np.ones(observed.shape, bool), rates(0.2, 0.1, 2), 1.0)
    one, other = fit_through_noise(*parts), fit_through_noise(*parts, np.array([[1.5, 2.5], [0.0, -0.5], [0.5, 0.0]]))
    assert one == pytest.approx(other, abs=0.02)


# Out of fold, and the rates


def test_cross_fitted_logits_leave_the_fold_out() -> None:
    features, observed, _ = population(300, 2, 0.0, 0.0, 8)
    member = np.random.default_rng(1).random(observed.shape) < 0.9
    fold = np.arange(300) % 4
    found = cross_fitted_logit(features, observed, member, fold, 1.0)
    for k in range(4):
        others = fold != k
        naive = fit_through_noise(features[:, others], observed[others], member[others], Rates.none(2), 1.0)
        assert np.allclose(found[~others], clean_logit(features[:, ~others], naive), atol=0.02)
    turned = np.where((fold == 2)[:, None], 1 - observed, observed).astype(np.uint8)
    after = cross_fitted_logit(features, turned, member, fold, 1.0)
    assert np.allclose(after[fold == 2], found[fold == 2], atol=0.02)
    assert np.abs(after[fold != 2] - found[fold != 2]).max() > 0.5


def test_anchors_are_the_ends_of_the_logits_of_the_pairs_that_take_part() -> None:
    """Ten members: the lowest two are recorded 1 and 0, the highest one 0. A stranger lies beyond both ends."""
    z = np.array([-99.0, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 99.0])[:, None]
    y = np.array([0, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 1], np.uint8)[:, None]
    member = (np.abs(z) < 50) & np.ones((12, 1), bool)
    assert anchor_rates(z, y, member, 0.2, 0.1) == (1.0, 0.5)
    assert anchor_rates(z, y, member, 0.3, 0.3) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert anchor_rates(z, y, member, 0.0, 0.0) == (1.0, 1.0)  # one pair at least


def naive_anchors(z: np.ndarray, y: np.ndarray, member: np.ndarray, low: float, high: float) -> tuple[float, float]:
    pairs = sorted((z[i, j], i, j) for i in range(z.shape[0]) for j in range(z.shape[1]) if member[i, j])
    bottom, top = max(1, round(low * len(pairs))), max(1, round(high * len(pairs)))
    highest, lowest = pairs[len(pairs) - top :], pairs[:bottom]
    return sum(1 - int(y[i, j]) for _, i, j in highest) / top, sum(int(y[i, j]) for _, i, j in lowest) / bottom


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.floats(0, 0.5), st.floats(0, 0.5), st.integers(0, 10_000))
def test_anchor_rates_equal_a_walk_from_both_ends(stays: int, low: float, high: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, y = rng.integers(-9, 9, (stays, 3)) / 2, rng.integers(0, 2, (stays, 3)).astype(np.uint8)
    member = rng.random(z.shape) < 0.7
    member[0, 0] = True
    assert anchor_rates(z, y, member, low, high) == pytest.approx(naive_anchors(z, y, member, low, high))


@pytest.mark.parametrize(("plus", "minus"), [(0.2, 0.1), (0.0, 0.3)])
def test_sure_anchors_read_the_planted_rates(plus: float, minus: float) -> None:
    features, observed, _ = population(20_000, 2, plus, minus, 9, weights=(8.0,), at=-3.0)
    z = clean_logit(features, np.array([[8.0, 8.0], [-3.0, -3.0]]))
    found = anchor_rates(z, observed, np.ones(observed.shape, bool), 0.1, 0.02)
    assert found == (pytest.approx(plus, abs=0.03), pytest.approx(minus, abs=0.03))


def estimate(plus: float, minus: float) -> tuple[float, float]:
    features, observed, _ = population(6_000, 6, plus, minus, 10, weights=(6.0,), at=-4.0)
    member = np.random.default_rng(2).random(observed.shape) < 0.95
    fold = patient_folds(np.arange(6_000) // 2, 5, 0)
    return estimated_rates(features, observed, member, fold, CalibratedConfig())


@pytest.mark.parametrize(("plus", "minus"), [(0.2, 0.2), (0.2, 0.0), (0.0, 0.2), (0.0, 0.0)])
def test_estimated_rates_are_within_a_twentieth_of_the_truth_and_zero_where_it_is(plus: float, minus: float) -> None:
    found = estimate(plus, minus)
    assert found == (pytest.approx(plus, abs=0.05), pytest.approx(minus, abs=0.05))
    assert [rate == 0 for rate in found] == [plus == 0, minus == 0]


def test_a_rate_below_its_least_is_taken_for_none() -> None:
    features, observed, _ = population(2_000, 2, 0.2, 0.2, 11, weights=(6.0,), at=-1.0)
    parts = (features, observed, np.ones(observed.shape, bool), np.arange(2_000) % 3)
    plus, minus = estimated_rates(*parts, CalibratedConfig())
    assert plus > 0.1
    assert minus > 0.1
    least = CalibratedConfig(least_plus=plus + 0.01, least_minus=minus - 0.01)
    assert estimated_rates(*parts, least) == (0.0, minus)
    assert estimated_rates(*parts, CalibratedConfig(least_plus=1.0, least_minus=1.0)) == (0.0, 0.0)


def test_the_whole_chain_is_calibrated_where_its_model_holds() -> None:
    """Among pairs said to be wrong with probability w, a share w is wrong, in both classes."""
    plus, minus = 0.25, 0.1
    features, observed, truth = population(12_000, 3, plus, minus, 12)
    noise = rates(plus, minus, 3)
    weights = fit_through_noise(features, observed, np.ones(observed.shape, bool), noise, 1.0)
    found = wrong_probability(expit(clean_logit(features, weights)), observed, noise, 0.002)
    wrong = truth != observed
    for value in (0, 1):
        said, was = found[observed == value], wrong[observed == value]
        for part in np.array_split(np.argsort(said), 8):
            assert said[part].mean() == pytest.approx(was[part].mean(), abs=0.04)
    assert logit(found.clip(1e-6, 1 - 1e-6))[wrong].mean() > logit(found.clip(1e-6, 1 - 1e-6))[~wrong].mean() + 1
