"""LiNC's trust: its slope against autograd, its steps by hand, and Otsu's threshold against a naive restatement."""

import numpy as np
import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped
from torch.nn.functional import binary_cross_entropy_with_logits

from core.errors import ConfigError
from core.methods import trust
from core.methods.trust import LincConfig

gradient = jaxtyped(trust.trust_gradient, typechecker=beartype)
step = jaxtyped(trust.trust_step, typechecker=beartype)
mixed = jaxtyped(trust.trusted_targets, typechecker=beartype)
otsu = jaxtyped(trust.otsu, typechecker=beartype)


def test_the_slope_has_the_published_values() -> None:
    z, y = torch.tensor([[-2.0, 2.0, 2.0, -2.0]]), torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    assert gradient(z, y)[0].tolist() == pytest.approx([1.7616, -0.2384, 1.7616, -0.2384], abs=5e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 10_000))
def test_the_slope_is_what_autograd_finds_with_p_held_fixed(stays: int, labels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = 3 * torch.randn(stays, labels, generator=generator)
    y = torch.rand(stays, labels, generator=generator).round()
    alpha = torch.rand(stays, labels, generator=generator).requires_grad_()
    binary_cross_entropy_with_logits(z, mixed(z, y, alpha), reduction="sum").backward()
    torch.testing.assert_close(alpha.grad, gradient(z, y), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("detach", [True, False])
def test_the_network_s_gradient_is_p_minus_t_and_one_more_term_if_p_in_t_moves(detach: bool) -> None:
    z = torch.tensor([[1.3, -0.7, 2.1]], requires_grad=True)
    y, alpha = torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([[0.4, 0.9, 0.0]])
    binary_cross_entropy_with_logits(z, mixed(z, y, alpha, detach), reduction="sum").backward()
    p = torch.sigmoid(z.detach())
    expected = p - (alpha * y + (1 - alpha) * p)
    if not detach:
        expected -= (1 - alpha) * p * (1 - p) * z.detach()
    torch.testing.assert_close(z.grad, expected)


def test_a_step_goes_down_the_slope_and_stays_within_0_and_1() -> None:
    alpha, g = torch.tensor([[1.0, 1.0, 0.01, 0.5]]), torch.tensor([[1.7616, -0.2384, 1.7616, 0.0]])
    moved = step(alpha, g, 1 / 32, 1.0, 1e-3)[0].tolist()
    assert moved == pytest.approx([1 - 1.7616 / 32 - 0.001, 1.0, 0.0, 0.4995], rel=1e-6)


def test_trust_falls_exactly_where_the_prediction_disagrees() -> None:
    z = torch.linspace(-4, 4, 9).reshape(1, -1)
    assert torch.equal(gradient(z, torch.ones_like(z)) > 0, z < 0)
    assert torch.equal(gradient(z, torch.zeros_like(z)) > 0, z > 0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, (1 / 64, 1.0)), ({"reduction": "one"}, (1.0, 0.05)), ({"reduction": "one", "rate": 0.2}, (1.0, 0.2))],
    ids=["batch", "one", "given"],
)
def test_the_reduction_brings_its_own_rate(options: dict[str, object], expected: tuple[float, float]) -> None:
    assert LincConfig(**options).step_size(64) == pytest.approx(expected)


def test_an_option_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="decay"):
        LincConfig(decay=2.0)


def criterion(values: np.ndarray, cut: float) -> float:
    low, high = values[values < cut], values[values >= cut]
    return len(low) * len(high) * (low.mean() - high.mean()) ** 2 if len(low) and len(high) else -1.0


@settings(max_examples=50, deadline=None)
@given(st.integers(4, 60), st.integers(1, 3), st.integers(2, 40), st.integers(0, 10_000))
def test_the_threshold_parts_each_group_as_a_naive_search_does(stays: int, labels: int, bins: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    alpha = np.clip(rng.choice([0.2, 0.9], (stays, labels)) + rng.normal(0, 0.15, (stays, labels)), 0, 1)
    alpha = alpha.astype(np.float32)
    observed = (rng.random((stays, labels)) < 0.4).astype(np.uint8)
    member = rng.random((stays, labels)) < 0.9
    config = LincConfig(bins=bins, min_count=3, min_weight=0.0)
    found = otsu(alpha, observed, member, config)
    for label in range(labels):
        for c in (0, 1):
            values = alpha[:, label][member[:, label] & (observed[:, label] == c)].astype(float)
            best = max((criterion(values, k / bins) for k in range(1, bins)), default=-1.0)
            if found.reason[label, c] is None:
                assert criterion(values, found.value[label, c]) == pytest.approx(best, rel=1e-9)
            else:
                assert found.value[label, c] == 0.0
                assert len(values) < 3 or best < 0 or np.ptp(values) < 1e-2


def test_two_heaps_are_parted_between_them_and_the_groups_don_t_mix() -> None:
    alpha = np.array([[0.2, 0.5]] * 20 + [[0.9, 0.6]] * 30, np.float32)
    observed = np.array([[1, 0]] * 50, np.uint8)
    found = otsu(alpha, observed, np.ones((50, 2), bool), LincConfig())
    assert 0.2 < found.value[0, 1] <= 0.9
    assert 0.5 < found.value[1, 0] <= 0.6
    assert found.reason[0, 0] == found.reason[1, 1] == "fewer than 10 pairs"


def test_a_value_on_the_threshold_is_trusted_and_none_at_1_is_lost() -> None:
    alpha = np.array([[0.5]] * 20 + [[1.0]] * 20, np.float32)
    found = otsu(alpha, np.zeros((40, 1), np.uint8), np.ones((40, 1), bool), LincConfig())
    assert ((alpha < found.value[0, 0])[:, 0] == (np.arange(40) < 20)).all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full(9, 0.5), "fewer than 10 pairs"),
        (np.full(50, 1.0), "all trusted alike"),
        (np.r_[np.full(50, 0.5), 0.5 + 1e-4], "all trusted alike"),
        (np.r_[np.full(50, 0.5 - 1e-4), np.full(50, 0.5 + 1e-4)], "means within 0.001"),
        (np.r_[0.1, np.full(999, 1.0)], "a side below 0.5% of the pairs"),
        (np.r_[np.nan, np.full(20, 1.0), np.full(20, 0.2)], "trust that is not finite"),
    ],
    ids=["few", "same", "one-bin", "near", "lonely", "nan"],
)
def test_a_group_that_cannot_be_parted_is_left_alone(values: np.ndarray, reason: str) -> None:
    alpha = values.astype(np.float32)[:, None]
    found = otsu(alpha, np.ones(alpha.shape, np.uint8), np.ones(alpha.shape, bool), LincConfig())
    assert found.reason[0, 1] == reason
    assert not (alpha < found.value[0, 1]).any()


def test_a_label_without_members_is_left_alone() -> None:
    found = otsu(np.ones((5, 2), np.float32), np.zeros((5, 2), np.uint8), np.zeros((5, 2), bool), LincConfig())
    assert (found.value == 0).all()
    assert (found.reason == "fewer than 10 pairs").all()


def test_trust_tells_planted_flips_apart_in_both_classes() -> None:
    """A network that is right at p = .9: after ten epochs flipped labels lie below the threshold, the others above."""
    rng = np.random.default_rng(0)
    truth = rng.random((400, 3)) < 0.4
    flipped = rng.random((400, 3)) < 0.2
    observed = (truth ^ flipped).astype(np.uint8)
    z = torch.from_numpy(np.where(truth, 2.2, -2.2) + rng.normal(0, 0.3, (400, 3))).float()
    alpha, total = torch.ones(400, 3), torch.zeros(400, 3)
    for _ in range(10):
        g = gradient(z, torch.from_numpy(observed).float())
        alpha, total = step(alpha, g, 1 / 32, 1.0, 1e-3), total + g
    found = otsu(alpha.numpy(), observed, np.ones((400, 3), bool), LincConfig())
    for c in (0, 1):
        below = (alpha.numpy() < found.value[:, c]) & (observed == c)
        assert (below == (flipped & (observed == c))).all()
    assert total.numpy()[flipped].min() > total.numpy()[~flipped].max()
