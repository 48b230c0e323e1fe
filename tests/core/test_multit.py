"""MultiT's estimate on populations whose noise is known, against naive restatements, and its weights by hand."""

import math

import numpy as np
import pytest
import torch
from beartype import beartype
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped

from core.errors import ConfigError
from core.methods import transition
from core.methods.transition import EXACT, Counts, MultiTConfig, Transition

mean_losses, select_clean, count_pairs, candidates, residuals, dual_t, estimate, importance, reweighted_bce = (
    jaxtyped(getattr(transition, name), typechecker=beartype)
    for name in (
        "mean_losses", "select_clean", "count_pairs", "candidates", "residuals", "dual_t", "estimate", "importance",
        "reweighted_bce",
    )
)  # fmt: skip
RHO_PLUS = np.array([0.3, 0.0, 0.2, 0.1, 0.4])
RHO_MINUS = np.array([0.1, 0.2, 0.0, 0.05, 0.15])


def population(stays: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels that share a cause, and their noisy record: each label's flips are its own."""
    rng = np.random.default_rng(seed)
    cause = rng.random((stays, 1)) < 0.5
    truth = rng.random((stays, 5)) < np.where(cause, [0.7, 0.6, 0.5, 0.8, 0.6], [0.1, 0.2, 0.1, 0.3, 0.15])
    u = rng.random((stays, 5))
    return truth, np.where(truth, u >= RHO_PLUS, u < RHO_MINUS).astype(np.uint8)


def exact_counts() -> Counts:
    """What an endless population gives: the cause is known, so every probability is."""
    rates = np.stack([[0.1, 0.2, 0.1, 0.3, 0.15], [0.7, 0.6, 0.5, 0.8, 0.6]])  # [cause, label]
    seen = rates * (1 - RHO_PLUS) + (1 - rates) * RHO_MINUS
    joint, given_truth = np.zeros((2, 5, 5, 2, 2))
    for i in range(5):
        for k in range(5):
            for a in (0, 1):
                for b in (0, 1):
                    p_k = seen[:, k] if b else 1 - seen[:, k]
                    joint[i, k, a, b] = np.mean((seen[:, i] if a else 1 - seen[:, i]) * p_k)
                    p_i = rates[:, i] if a else 1 - rates[:, i]
                    given_truth[i, k, a, b] = np.mean(p_i * p_k) / np.mean(p_i)
    return Counts(joint, given_truth, np.full((5, 5, 2), 1000.0))


def test_the_equations_give_the_rates_back_where_the_probabilities_are_exact() -> None:
    counts = exact_counts()
    found = candidates(counts, MultiTConfig())
    others = ~np.eye(5, dtype=bool)
    assert np.isnan(found.prior[~others]).all()
    assert found.rho_plus[others] == pytest.approx(np.repeat(RHO_PLUS, 4), abs=1e-9)
    assert found.rho_minus[others] == pytest.approx(np.repeat(RHO_MINUS, 4), abs=1e-9)
    assert found.prior[0, 1] == pytest.approx(0.4)
    assert residuals(counts, found)[others] == pytest.approx(0.0, abs=1e-9)


def test_known_rates_are_recovered_from_a_population_whose_clean_pairs_are_selected() -> None:
    truth, observed = population(200_000)
    member = np.ones(observed.shape, bool)
    counts = count_pairs(observed, member, truth == observed)
    found = candidates(counts, MultiTConfig())
    best = residuals(counts, found).argmin(1)
    rows = np.arange(5)
    assert found.rho_plus[rows, best] == pytest.approx(RHO_PLUS, abs=0.03)
    assert found.rho_minus[rows, best] == pytest.approx(RHO_MINUS, abs=0.03)


def test_the_whole_estimate_recovers_them_from_logits_that_know_the_truth_roughly() -> None:
    truth, observed = population(40_000, seed=1)
    rng = np.random.default_rng(2)
    logits = (np.where(truth, 3.0, -3.0) + rng.normal(0, 1, (6, *truth.shape))).astype(np.float16)
    member = rng.random(observed.shape) < 0.95
    found = estimate(logits, observed, member, MultiTConfig(warm_up=6, sample_epoch=6))
    assert found.origin.tolist() == ["pairs"] * 5
    assert found.rho_plus == pytest.approx(RHO_PLUS, abs=0.06)
    assert found.rho_minus == pytest.approx(RHO_MINUS, abs=0.06)
    assert (found.chosen != np.arange(5)).all()
    assert found.matrix().sum(-1) == pytest.approx(1.0)
    assert found.matrix()[0] == pytest.approx(np.array([[0.9, 0.1], [0.3, 0.7]]), abs=0.06)


def test_epochs_after_the_sample_epoch_are_not_read() -> None:
    truth, observed = population(2000)
    logits = np.where(truth, 3.0, -3.0) + np.random.default_rng(0).normal(0, 1, (4, 2000, 5))
    spoilt = logits.copy()
    spoilt[3] = 20.0
    config = MultiTConfig(warm_up=4, sample_epoch=3, window=2)
    one, other = (estimate(z.astype(np.float32), observed, observed < 2, config) for z in (logits, spoilt))
    assert (one.rho_plus == other.rho_plus).all()
    assert (one.rho_minus == other.rho_minus).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 10_000))
def test_pairs_are_counted_as_a_naive_loop_counts_them(stays: int, labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    observed = (rng.random((stays, labels)) < 0.5).astype(np.uint8)
    member, selected = rng.random((2, stays, labels)) < 0.7
    found = count_pairs(observed, member, selected)
    for i in range(labels):
        for k in range(labels):
            both = [n for n in range(stays) if member[n, i] and member[n, k]]
            for a in (0, 1):
                kept = [n for n in both if selected[n, i] and observed[n, i] == a]
                assert found.selected[i, k, a] == len(kept)
                for b in (0, 1):
                    share = np.nan if not both else sum(
                        observed[n, i] == a and observed[n, k] == b for n in both) / len(both)  # fmt: skip
                    of_kept = sum(observed[n, k] == b for n in kept) / len(kept) if kept else np.nan
                    assert found.joint[i, k, a, b] == pytest.approx(share, nan_ok=True)
                    assert found.given[i, k, a, b] == pytest.approx(of_kept, nan_ok=True)


def naive_candidate(N: np.ndarray, q: np.ndarray, labels: int) -> tuple[float, float, float] | None:
    """Solve two linear systems instead of writing the solution down."""
    if abs(q[1, 0] - q[0, 0]) < 1e-12:
        return None
    pi = (N[0, 0] + N[1, 0] - q[0, 0]) / (q[1, 0] - q[0, 0])
    c = np.array([q[0] * (1 - pi), q[1] * pi])  # [clean value, b]
    if abs(np.linalg.det(c)) < 1e-12:
        return None
    minus, kept = np.linalg.solve(c.T, N[1])  # N_1b = ρ₋ c_0b + (1 - ρ₊) c_1b
    plus = 1 - kept
    plus, minus = (0.0 if EXACT - 0.3 / labels < r < 0 else r for r in (plus, minus))
    fits = -EXACT <= pi <= 1 + EXACT and 0 <= plus <= 1 and 0 <= minus <= 1 and plus + minus < 1 - EXACT
    return (pi, plus, minus) if fits else None


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4), st.integers(60, 400), st.integers(0, 10_000))
@example(labels=2, stays=60, seed=201)  # rates that sum to exactly 1
def test_candidates_and_residuals_equal_their_naive_restatement(labels: int, stays: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=(stays, 1))
    truth = rng.normal(size=(stays, labels)) + 1.5 * cause > rng.normal(0, 0.5, labels)
    observed = (truth ^ (rng.random(truth.shape) < 0.15)).astype(np.uint8)
    member = rng.random(truth.shape) < 0.95
    counts = count_pairs(observed, member, (truth == observed) & (rng.random(truth.shape) < 0.9))
    config = MultiTConfig(min_selected=5)
    found = candidates(counts, config)
    total = residuals(counts, found)
    for i in range(labels):
        for k in range(labels):
            expected = None
            if k != i and counts.selected[i, k].min() >= 5:
                expected = naive_candidate(counts.joint[i, k], counts.given[i, k], labels)
            if expected is None:
                assert np.isnan(found.prior[i, k])
                assert total[i, k] == math.inf
                continue
            pi, plus, minus = expected
            assert (found.prior[i, k], found.rho_plus[i, k], found.rho_minus[i, k]) == pytest.approx(
                expected, rel=1e-6, abs=1e-8
            )
            T = np.array([[1 - minus, minus], [plus, 1 - plus]])
            gap = 0.0
            for j in range(labels):
                if j != i:
                    c = np.array([counts.given[i, j, 0] * (1 - pi), counts.given[i, j, 1] * pi])
                    gap += np.nansum(np.abs(T.T @ c - counts.joint[i, j]))
            assert total[i, k] == pytest.approx(gap, rel=1e-6, abs=1e-8)


def test_a_slightly_negative_rate_counts_as_0_and_a_clearly_negative_one_is_refused() -> None:
    for rate, held in ((-0.05, 0.0), (-0.07, np.nan)):
        c = np.array([[0.56, 0.14], [0.06, 0.24]])  # π = .3; with five labels the slack is .06
        T = np.array([[0.9, 0.1], [rate, 1 - rate]])
        counts = Counts(np.tile(T.T @ c, (5, 5, 1, 1)), np.tile(c / c.sum(1, keepdims=True), (5, 5, 1, 1)),
                        np.full((5, 5, 2), 99.0))  # fmt: skip
        found = candidates(counts, MultiTConfig())
        assert found.rho_plus[0, 1] == pytest.approx(held, nan_ok=True)


def test_losses_are_brought_to_0_and_1_in_each_group_and_epoch_before_they_are_averaged() -> None:
    z = np.array([[[0.0], [1.0], [2.0], [0.0]], [[2.0], [0.0], [1.0], [0.0]]], np.float32)
    observed = np.array([[1], [1], [1], [0]], np.uint8)
    losses = np.log1p(np.exp(-z[:, :3, 0]))
    scaled = (losses - losses.min(1, keepdims=True)) / np.ptp(losses, axis=1)[:, None]
    found = mean_losses(z, observed, np.ones((4, 1), bool))
    assert found[:3, 0] == pytest.approx(scaled.mean(0), abs=1e-6)
    assert found[3, 0] == 0.0  # alone in its group


def test_low_losses_are_selected_per_group_and_a_group_without_two_heaps_whole() -> None:
    rng = np.random.default_rng(0)
    losses = np.where(rng.random((500, 2)) < 0.3, 0.8, 0.1) + rng.normal(0, 0.03, (500, 2))
    losses[:, 1] = 0.5
    observed = (rng.random((500, 2)) < 0.5).astype(np.uint8)
    member = np.ones((500, 2), bool)
    member[:5] = False
    found = select_clean(losses.astype(np.float32), observed, member, MultiTConfig())
    assert (found[:, 0] == ((losses[:, 0] < 0.45) & member[:, 0])).all()
    assert (found[:, 1] == member[:, 1]).all()


def test_dual_t_by_hand() -> None:
    """p from .1 to .9; of three below one half one is observed 1, of two above one half one is observed 0."""
    p = np.array([[0.1], [0.2], [0.3], [0.8], [0.9], [0.99]])
    observed = np.array([[0], [0], [1], [0], [1], [0]], np.uint8)
    member = np.array([[True]] * 5 + [[False]])
    plus, minus = dual_t(p, observed, member)
    assert minus[0] == pytest.approx(0.9 * 1 / 3 + 0.1 * 1 / 2)
    assert plus[0] == pytest.approx(0.1 * 2 / 3 + 0.9 * 1 / 2)


def test_a_lone_label_falls_back_to_dual_t_and_one_without_pairs_to_no_noise() -> None:
    truth, observed = population(3000)
    logits = np.where(truth, 6.0, -6.0)[None].astype(np.float32)
    config = MultiTConfig(warm_up=1, sample_epoch=1)
    lone = estimate(logits[:, :, :1], observed[:, :1], np.ones((3000, 1), bool), config)
    assert (lone.origin.tolist(), lone.chosen.tolist()) == (["dual"], [-1])
    assert lone.rho_plus == pytest.approx(RHO_PLUS[:1], abs=0.03)
    assert lone.rho_minus == pytest.approx(RHO_MINUS[:1], abs=0.03)
    nothing = estimate(logits, observed, np.zeros((3000, 5), bool), config)
    assert nothing.origin.tolist() == ["none"] * 5
    assert (nothing.matrix() == np.eye(2)).all()


def test_a_network_that_says_the_opposite_of_the_labels_gives_no_rates() -> None:
    observed = np.tile(np.array([[0], [1]], np.uint8), (50, 1))
    logits = np.where(observed == 1, -4.0, 4.0)[None].astype(np.float32)
    found = estimate(logits, observed, observed < 2, MultiTConfig(warm_up=1, sample_epoch=1))
    assert (found.origin[0], found.rho_plus[0], found.rho_minus[0]) == ("none", 0.0, 0.0)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(1, 4), st.integers(0, 10_000))
def test_whatever_comes_in_the_matrix_has_rows_of_shares(stays: int, labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    observed = (rng.random((stays, labels)) < rng.random()).astype(np.uint8)
    logits = rng.normal(0, 4, (3, stays, labels)).astype(np.float32)
    member = rng.random((stays, labels)) < rng.random()
    config = MultiTConfig(warm_up=3, sample_epoch=3, min_selected=3)
    found = estimate(logits, observed, member, config)
    T = found.matrix()
    assert ((T >= 0) & (T <= 1)).all()
    assert T.sum(-1) == pytest.approx(1.0)
    assert (found.rho_plus + found.rho_minus < 1).all()


def test_rows_of_the_matrix_are_clean_values() -> None:
    made = Transition(np.array([0.3]), np.array([0.1]), np.array([-1]), np.array(["dual"]))
    assert made.matrix()[0] == pytest.approx(np.array([[0.9, 0.1], [0.3, 0.7]]))


def test_weights_by_hand() -> None:
    z = torch.tensor([[math.log(0.8 / 0.2)]])
    positive, negative = importance(z, torch.tensor([0.3]), torch.tensor([0.1]), 10.0)
    assert positive.item() == pytest.approx(0.8 / (0.7 * 0.8 + 0.1 * 0.2))  # 1.37931
    assert negative.item() == pytest.approx(0.2 / (0.3 * 0.8 + 0.9 * 0.2))  # 0.47619
    assert importance(z, torch.tensor([0.99]), torch.tensor([0.0]), 10.0)[0].item() == 10.0


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 10_000))
def test_a_weight_is_the_ratio_of_clean_to_noisy_probability(stays: int, labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, plus, minus = rng.normal(0, 3, (stays, labels)), rng.random(labels) * 0.45, rng.random(labels) * 0.45
    observed = (rng.random((stays, labels)) < 0.5).astype(float)
    found = reweighted_bce(*(torch.from_numpy(a) for a in (z, observed, plus, minus)), 10.0)
    for i in range(stays):
        for k in range(labels):
            p = np.array([1 / (1 + math.exp(z[i, k])), 1 / (1 + math.exp(-z[i, k]))])
            T = np.array([[1 - minus[k], minus[k]], [plus[k], 1 - plus[k]]])
            seen = int(observed[i, k])
            expected = min(p[seen] / (T.T @ p)[seen], 10.0) * -math.log(p[seen])
            assert found[i, k].item() == pytest.approx(expected, rel=1e-6)


def test_the_weight_has_no_gradient_and_differs_from_cross_entropy_by_a_worked_amount() -> None:
    z = torch.tensor([[math.log(0.8 / 0.2)]], requires_grad=True)
    loss = reweighted_bce(z, torch.ones(1, 1), torch.tensor([0.3]), torch.tensor([0.1]), 10.0)
    loss.sum().backward()
    assert z.grad is not None
    assert z.grad.item() == pytest.approx(-0.2 * 0.8 / 0.58)
    assert loss.item() + math.log(0.8) == pytest.approx(0.084640, abs=1e-6)  # (.8/.58 - 1)·(-log .8)


def test_without_noise_and_for_decided_pairs_it_is_cross_entropy() -> None:
    z, y = torch.tensor([[2.0, -30.0, 30.0, -0.3]]), torch.tensor([[1.0, 1.0, 0.25, 0.0]])
    bce = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
    none, some = torch.zeros(4), torch.full((4,), 0.2)
    torch.testing.assert_close(reweighted_bce(z, y, none, none, 10.0), bce)
    torch.testing.assert_close(reweighted_bce(z, y, some, some, 10.0, torch.ones(1, 4, dtype=torch.bool)), bce)


def test_a_sample_epoch_after_the_warm_up_is_refused() -> None:
    with pytest.raises(ConfigError, match="sample_epoch"):
        MultiTConfig(warm_up=5)
