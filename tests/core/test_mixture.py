"""Mixtures over distinct values against scikit-learn and against the iteration pair by pair."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from core.errors import ConfigError
from core.selection.expectation import Fit, fit_batch
from core.selection.groups import Ranges, fit_ranges, normalise, weigh
from core.selection.mixture import MixtureConfig, fit_mixtures, starting_point
from tests.core.naive import selection as naive

TIGHT = MixtureConfig(tolerance=1e-9, max_iterations=2000)


def two_bumps(seed: int, n: int = 400, levels: int | None = 40) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noisy = rng.random(n) < rng.uniform(0.15, 0.5)
    x = np.clip(np.where(noisy, rng.normal(0.72, 0.12, n), rng.normal(0.25, 0.09, n)), 0, 1)
    return x if levels is None else np.round(x * levels) / levels


def fitted(groups, start, config: MixtureConfig) -> Fit:
    options = {name: getattr(config, name) for name in ("tolerance", "max_iterations", "variance_floor")}
    return fit_batch(groups, *start, **options)


def library(x: np.ndarray, mean, variance, weight, config: MixtureConfig) -> GaussianMixture:
    model = GaussianMixture(
        2,
        reg_covar=0.0,
        tol=config.tolerance,
        max_iter=config.max_iterations,
        means_init=mean.reshape(2, 1),
        weights_init=weight,
        precisions_init=(1 / variance).reshape(2, 1, 1),
        random_state=0,
    )
    return model.fit(x.reshape(-1, 1))


def same_as_library(fit, model, place: int = 0) -> None:
    order = np.argsort(model.means_.ravel())
    np.testing.assert_allclose(fit.mean[:, place], model.means_.ravel()[order], atol=1e-6)
    np.testing.assert_allclose(fit.variance[:, place], model.covariances_.ravel()[order], atol=1e-6)
    np.testing.assert_allclose(fit.weight[:, place], model.weights_[order], atol=1e-6)


@pytest.mark.parametrize("levels", [12, 60, None])
@pytest.mark.parametrize("init", ["quantile", "two_means"])
def test_a_fit_equals_scikit_learns_from_the_same_start(levels, init):
    config = MixtureConfig(init=init)
    x = two_bumps(7, levels=levels)
    group = weigh(x)
    start = starting_point([group], config)
    fit = fitted([group], start, config)
    model = library(x, *(a[:, 0] for a in start), config)
    assert fit.iterations[0] == model.n_iter_
    same_as_library(fit, model)


def test_the_likelihood_of_far_apart_components_is_scikit_learns_too():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0.1, 0.01, 300), rng.normal(0.9, 0.01, 200)])  # log odds in the thousands
    config = MixtureConfig(init="two_means", tolerance=1e-6)
    group = weigh(x)
    start = starting_point([group], config)
    fit = fitted([group], start, config)
    model = library(x, *(a[:, 0] for a in start), config)
    same_as_library(fit, model)
    assert fit.log_likelihood[0] == pytest.approx(model.lower_bound_, abs=1e-9)


@given(seed=st.integers(0, 10_000), levels=st.integers(8, 200))
@settings(max_examples=25, deadline=None)
def test_a_batch_of_groups_equals_each_fitted_alone_by_scikit_learn(seed, levels):
    config = MixtureConfig(max_iterations=500)
    samples = [two_bumps(seed + k, n=60 + 90 * k, levels=levels) for k in range(3)]
    groups = [weigh(x) for x in samples]
    start = starting_point(groups, config)
    fit = fitted(groups, start, config)
    assume((fit.variance > 1e-4).all())  # the floor, which scikit-learn adds instead of holding, plays no part
    for k, x in enumerate(samples):
        same_as_library(fit, library(x, *(a[:, k] for a in start), config), k)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_distinct_values_give_what_the_textbook_iteration_gives_value_by_value(seed):
    config = MixtureConfig(tolerance=1e-4, max_iterations=40)
    x = two_bumps(seed, n=80, levels=20)
    group = weigh(x)
    start = starting_point([group], config)
    fit = fitted([group], start, config)
    assume((fit.variance > 1e-4).all())
    mean, variance, weight = naive.expectation_maximisation(
        x.tolist(), *(a[:, 0].tolist() for a in start), config.tolerance, config.max_iterations
    )
    order = np.argsort(mean)
    for got, said in ((fit.mean, mean), (fit.variance, variance), (fit.weight, weight)):
        np.testing.assert_allclose(got[:, 0], np.array(said)[order], atol=1e-8)


def test_the_two_means_start_is_where_k_means_ends():
    x = two_bumps(3, n=500, levels=None)
    mean, _, weight = starting_point([weigh(x)], MixtureConfig(init="two_means"))
    best = min(
        (((x[x <= c] - x[x <= c].mean()) ** 2).sum() + ((x[x > c] - x[x > c].mean()) ** 2).sum(), c)
        for c in np.unique(x)[:-1]
    )[1]
    np.testing.assert_allclose(mean[:, 0], [x[x <= best].mean(), x[x > best].mean()], atol=1e-12)
    np.testing.assert_allclose(weight[:, 0], [(x <= best).mean(), (x > best).mean()], atol=1e-12)


def one_label(x: np.ndarray, config: MixtureConfig | None = None, c: int = 1):
    """Mixtures of a cohort of one label whose class-c scores are x."""
    score = np.asarray(x, np.float32)[:, None]
    observed = np.full(score.shape, c, np.uint8)
    member = np.ones(score.shape, bool)
    ranges = fit_ranges(score, observed, member)
    return fit_mixtures(normalise(score, observed, ranges, 1e-6), observed, member, ranges, config)


def test_a_planted_mixture_is_found_with_its_parameters():
    x = two_bumps(11, n=6000, levels=None)
    found = one_label(x)
    span, low = x.max() - x.min(), x.min()
    assert not found.degenerate[0, 1]
    assert found.reason[0, 1] is None
    assert found.mean_clean[0, 1] * span + low == pytest.approx(0.25, abs=0.02)
    assert found.mean_noisy[0, 1] * span + low == pytest.approx(0.72, abs=0.02)
    assert found.sd_clean[0, 1] * span == pytest.approx(0.09, abs=0.02)
    assert found.weight_clean[0, 1] + found.weight_noisy[0, 1] == pytest.approx(1)
    assert found.n[0, 1] == 6000
    assert (found.score_min[0, 1], found.score_max[0, 1]) == pytest.approx((x.min(), x.max()))


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (np.linspace(0, 1, 9), "fewer than 10 pairs"),
        ([], "fewer than 10 pairs"),
        ([0.5], "fewer than 10 pairs"),
        (np.full(50, 0.5), "all scores the same"),
        (np.full(50, 0.5) + np.linspace(0, 2e-7, 50), "all scores the same"),
        (np.concatenate([np.linspace(0, 0.01, 2000), [1.0]]), "a component below 0.5% of the pairs"),
    ],
)
def test_a_degenerate_group_is_left_alone_and_says_why(scores, reason):
    found = one_label(np.asarray(scores))
    assert found.degenerate[0, 1]
    assert found.reason[0, 1] == reason
    assert found.degenerate[0, 0]  # the other class has no pairs at all
    assert found.n[0, 0] == 0


def test_scores_that_are_not_finite_and_means_that_coincide_are_said_so():
    x = two_bumps(1)
    x[3] = np.nan
    score, observed, member = x[:, None], np.ones((len(x), 1), np.uint8), np.ones((len(x), 1), bool)
    ranges = Ranges(np.zeros((1, 2)), np.ones((1, 2)), np.full((1, 2), len(x)))
    assert fit_mixtures(score, observed, member, ranges).reason[0, 1] == "scores that are not finite"
    bell = np.random.default_rng(0).normal(size=3000)
    assert one_label(bell, MixtureConfig(min_separation=0.9)).reason[0, 1] == "means within 0.9"


def test_the_bic_gate_holds_back_one_bell_and_lets_two_pass():
    bell, bumps = np.random.default_rng(0).normal(size=3000), two_bumps(5, n=3000, levels=None)
    assert "BIC" in one_label(bell, MixtureConfig(gate="bic")).reason[0, 1]
    assert not one_label(bell).degenerate[0, 1]  # a two-component mixture always splits
    assert not one_label(bumps, MixtureConfig(gate="bic")).degenerate[0, 1]
    # fitted to the end, two components are likelier than one even here, but not by what three parameters cost
    exact = MixtureConfig(gate="bic", tolerance=1e-7, max_iterations=2000)
    fit = fitted([weigh(bell)], starting_point([weigh(bell)], exact), exact)
    single = -0.5 * (np.log(2 * np.pi * bell.var()) + 1)
    assert 0 < fit.log_likelihood[0] - single < 1.5 * np.log(3000) / 3000
    assert "BIC" in one_label(bell, exact).reason[0, 1]


def test_the_ashman_gate_asks_for_components_two_deviations_apart():
    bell, bumps = np.random.default_rng(0).normal(size=3000), two_bumps(5, n=3000, levels=None)
    assert "Ashman" in one_label(bell, MixtureConfig(gate="ashman")).reason[0, 1]
    found = one_label(bumps, MixtureConfig(gate="ashman"))
    D = np.sqrt(2) * (found.mean_noisy - found.mean_clean) / np.sqrt(found.sd_clean**2 + found.sd_noisy**2)
    assert D[0, 1] > 2
    assert not found.degenerate[0, 1]


def test_no_variance_falls_below_the_floor():
    x = np.concatenate([np.zeros(300), np.full(200, 0.5), np.linspace(0.4, 1, 100)])
    found = one_label(x, TIGHT)
    assert np.nanmin(found.sd_clean) >= np.sqrt(1e-5) - 1e-12


def test_a_fit_does_not_depend_on_the_order_of_stays_nor_on_the_other_groups():
    rng = np.random.default_rng(2)
    score = np.stack([two_bumps(k, n=500) for k in range(6)], axis=1).astype(np.float32)
    observed = (rng.random(score.shape) < 0.4).astype(np.uint8)
    member = rng.random(score.shape) < 0.9
    ranges = fit_ranges(score, observed, member)
    whole = fit_mixtures(score, observed, member, ranges)
    order = rng.permutation(500)
    moved = fit_mixtures(score[order], observed[order], member[order], ranges)
    alone = fit_mixtures(
        score[:, 2:3], observed[:, 2:3], member[:, 2:3], fit_ranges(score[:, 2:3], observed[:, 2:3], member[:, 2:3])
    )
    np.testing.assert_array_equal(whole.mean_noisy, moved.mean_noisy)
    np.testing.assert_allclose(whole.mean_noisy[2], alone.mean_noisy[0], atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [{"init": "random"}, {"gate": "aic"}, {"tolerance": 0.0}, {"variance_floor": -1.0}, {"max_iterations": 0}],
)
def test_an_option_out_of_range_is_refused_by_name(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        MixtureConfig(**options)


def test_the_released_preset_starts_where_k_means_would():
    assert MixtureConfig.preset("released").init == "two_means"
    assert MixtureConfig.preset("miracl") == MixtureConfig()
    with pytest.raises(ConfigError, match="preset"):
        MixtureConfig.preset("best")
