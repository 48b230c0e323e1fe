"""The baselines' losses against published numbers, naive restatements, and a worked batch."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped

from core.errors import ConfigError
from core.methods import pair_losses
from core.methods.pair_losses import AslConfig, FocalConfig, GceConfig, MllscConfig

focal, asl, gce, mllsc, splc = (
    jaxtyped(f, typechecker=beartype)
    for f in (pair_losses.focal, pair_losses.asl, pair_losses.gce, pair_losses.mllsc, pair_losses.splc)
)
mean_counted = jaxtyped(pair_losses.mean_counted, typechecker=beartype)
label_floors = jaxtyped(pair_losses.label_floors, typechecker=beartype)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def one(value: float) -> torch.Tensor:
    return torch.tensor([[value]])


ORACLES: list[tuple[Callable[..., torch.Tensor], tuple[float, ...], float, float, float]] = [
    (gce, (0.7,), 0.5, 1, 0.54918),
    (gce, (0.7,), 0.5, 0, 0.54918),
    (gce, (0.7,), 0.1, 1, 1.14353),
    (gce, (0.7,), 0.9, 0, 1.14353),
    (asl, (1.0, 4.0, 0.05), 0.3, 1, 0.84278),
    (asl, (1.0, 4.0, 0.05), 0.3, 0, 0.0011238),
    (focal, (2.0, 0.25), 0.3, 1, 0.14749),
    (focal, (2.0, 0.25), 0.3, 0, 0.024076),
]


@pytest.mark.parametrize(
    ("loss", "options", "p", "y", "expected"),
    ORACLES,
    ids=["gce-even", "gce-even-0", "gce-unsure", "gce-sure-0", "asl-1", "asl-0", "focal-1", "focal-0"],
)
def test_a_pair_costs_what_the_published_formula_says(
    loss: Callable[..., torch.Tensor], options: tuple[float, ...], p: float, y: float, expected: float
) -> None:
    assert loss(one(logit(p)), one(float(y)), *options).item() == pytest.approx(expected, rel=5e-5)


def naive_focal(p: float, y: int) -> float:
    return -0.6 * (1 - p) ** 1.5 * math.log(p) if y else -0.4 * p**1.5 * math.log(1 - p)


def naive_asl(p: float, y: int) -> float:
    shifted = max(p - 0.1, 0)
    return -((1 - p) ** 0.5) * math.log(p) if y else -(shifted**3) * math.log(1 - shifted)


def naive_gce(p: float, y: int) -> float:
    return float((1 - (p if y else 1 - p) ** 0.4) / 0.4)


def naive_truncated(p: float, y: int) -> float:
    seen = p if y else 1 - p
    return float((1 - max(seen, 0.5) ** 0.4) / 0.4)


def naive_mllsc(p: float, y: int) -> float:
    treated = (0 if p < 0.3 else 1) if y else (1 if p > 0.8 else 0)
    if treated == 0:
        return -(p**2.5) * math.log(1 - p)
    sure = sigmoid(logit(p) - 0.7) if y else p
    return -((1 - sure) ** 2.5) * math.log(sure)


@pytest.mark.parametrize(
    ("loss", "naive"),
    [
        pytest.param(lambda z, y: focal(z, y, 1.5, 0.6), naive_focal, id="focal"),
        pytest.param(lambda z, y: asl(z, y, 0.5, 3.0, 0.1), naive_asl, id="asl"),
        pytest.param(lambda z, y: gce(z, y, 0.4), naive_gce, id="gce"),
        pytest.param(lambda z, y: gce(z, y, 0.4, 0.5), naive_truncated, id="gce-truncated"),
        pytest.param(lambda z, y: mllsc(z, y, 0.3, 0.8, 0.7, 2.5), naive_mllsc, id="mllsc"),
    ],
)
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.booleans(), st.integers(0, 10_000))
def test_each_loss_equals_its_naive_restatement_for_hard_and_soft_targets(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    naive: Callable[[float, int], float],
    stays: int,
    labels: int,
    soft: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    z, y = rng.normal(0, 2.5, (stays, labels)), rng.random((stays, labels))
    y = y if soft else np.rint(y)
    expected = [[y[i, k] * naive(sigmoid(z[i, k]), 1) + (1 - y[i, k]) * naive(sigmoid(z[i, k]), 0)
                 for k in range(labels)] for i in range(stays)]  # fmt: skip
    found = loss(torch.tensor(z), torch.tensor(y))
    assert found.numpy() == pytest.approx(np.array(expected), rel=1e-6, abs=1e-9)


def test_focal_without_focus_is_half_of_cross_entropy_and_gce_tends_to_it() -> None:
    z, y = torch.tensor([[0.3, -2.0]]), torch.tensor([[1.0, 0.0]])
    bce = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
    torch.testing.assert_close(focal(z, y, 0.0, 0.5), bce / 2)
    torch.testing.assert_close(asl(z, y, 0.0, 0.0, 0.0), bce)
    torch.testing.assert_close(gce(z, y, 0.01), bce, rtol=0.02, atol=0.0)


def test_no_gradient_flows_through_the_asymmetric_loss_s_weight_unless_it_is_asked_for() -> None:
    for detach in (True, False):
        z = one(logit(0.3)).requires_grad_()
        asl(z, one(1.0), 1.0, 4.0, 0.05, detach).sum().backward()
        # d/dz of -(1-p)·log p: (1-p)·(-(1-p)), and without detaching + p(1-p)·log p more.
        through = 0.0 if detach else 0.3 * 0.7 * math.log(0.3)
        assert z.grad is not None
        assert z.grad.item() == pytest.approx(-0.7 * 0.7 + through, rel=1e-5)


def test_gce_s_gradient_is_that_of_cross_entropy_times_p_to_the_q() -> None:
    z = torch.tensor([[1.2, -0.4, 40.0, -40.0]], requires_grad=True)
    y = torch.tensor([[1.0, 0.0, 0.0, 1.0]])
    gce(z, y, 0.7).sum().backward()
    p = torch.sigmoid(z.detach())
    seen = torch.where(y == 1, p, 1 - p)
    torch.testing.assert_close(z.grad, seen**0.7 * (p - y), rtol=1e-4, atol=1e-6)


def test_a_truncated_pair_has_no_gradient() -> None:
    z = one(-1.0).requires_grad_()
    loss = gce(z, one(1.0), 0.7, 0.5)
    loss.sum().backward()
    assert loss.item() == pytest.approx((1 - 0.5**0.7) / 0.7)
    assert z.grad is not None
    assert z.grad.item() == 0.0


def test_extreme_logits_give_finite_losses_and_gradients() -> None:
    for loss in (
        lambda z, y: focal(z, y, 2.0, 0.25),
        lambda z, y: asl(z, y, 0.5, 0.5, 0.0, False),
        lambda z, y: gce(z, y, 0.7),
        lambda z, y: gce(z, y, 0.7, 0.5),
        lambda z, y: mllsc(z, y, 0.45, 0.6, 1.0, 2.0),
    ):
        z = torch.tensor([[1e4, -1e4, 1e4, -1e4]], requires_grad=True)
        found = loss(z, torch.tensor([[0.0, 1.0, 1.0, 0.0]]))
        found.sum().backward()
        assert torch.isfinite(found).all()
        assert z.grad is not None
        assert torch.isfinite(z.grad).all()


def test_mllsc_by_hand_keeps_believed_pairs_and_switches_the_others() -> None:
    z = torch.tensor([[logit(0.7), logit(0.4), logit(0.5), logit(0.65)]])
    y = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    kept_positive = 1 - sigmoid(logit(0.7) - 1)
    expected = [
        kept_positive**2 * -math.log(1 - kept_positive),  # believed: with its margin
        0.4**2 * -math.log(0.6),  # 1 - p = .6 > .55: as a negative
        0.5**2 * -math.log(0.5),  # p ≤ .6: stays
        0.35**2 * -math.log(0.65),  # p > .6: as a positive
    ]
    found = mllsc(z, y, MllscConfig().positive_floor, 0.6, 1.0, 2.0)
    assert found[0].tolist() == pytest.approx(expected, rel=1e-5)
    only_missing = splc(z, y, 0.6, 1.0, 2.0)[0].tolist()
    disbelieved = 1 - sigmoid(logit(0.4) - 1)
    assert only_missing == pytest.approx(
        [expected[0], disbelieved**2 * -math.log(1 - disbelieved), *expected[2:]], rel=1e-5
    )


def test_a_decided_pair_is_never_switched() -> None:
    z, y = torch.tensor([[-3.0, 3.0]]), torch.tensor([[1.0, 0.0]])
    fixed = torch.ones(1, 2, dtype=torch.bool)
    torch.testing.assert_close(mllsc(z, y, 0.45, 0.6, 1.0, 2.0, fixed), mllsc(z, y, 0.0, 1.0, 1.0, 2.0))
    assert not torch.equal(mllsc(z, y, 0.45, 0.6, 1.0, 2.0), mllsc(z, y, 0.0, 1.0, 1.0, 2.0))


@pytest.mark.parametrize(
    ("rule", "floor"), [("disbelief", 0.45), ("below", 0.55), ("never", 0.0), ("quantile", math.nan)]
)
def test_each_rule_has_its_floor(rule: str, floor: float) -> None:
    assert MllscConfig(pos_rule=rule).positive_floor == pytest.approx(floor, nan_ok=True)


def test_a_label_s_floor_is_its_own_positives_quantile_and_0_without_any() -> None:
    p = torch.tensor([[0.1, 0.9], [0.2, 0.9], [0.3, 0.9], [0.9, 0.9]])
    positive = torch.tensor([[True, False]] * 3 + [[False, False]])
    assert label_floors(p, positive, 0.5).tolist() == pytest.approx([0.2, 0.0])
    with pytest.raises(ConfigError, match="quantile"):
        label_floors(p, positive, 1.5)


def test_the_mean_leaves_out_what_is_not_counted_whatever_it_holds() -> None:
    losses = torch.tensor([[1.0, math.nan], [3.0, math.inf]])
    counted = torch.tensor([[True, False], [True, False]])
    assert mean_counted(losses, counted).item() == 2.0
    assert mean_counted(losses, torch.zeros_like(counted)).item() == 0.0


def test_each_loss_differs_from_cross_entropy_by_a_worked_amount_on_one_batch() -> None:
    """Two stays, two labels, p = .3 and .9, one pair not stated: BCE is (-log .3 - log .1 - log .9)/3."""
    z = torch.tensor([[logit(0.3), logit(0.9)], [logit(0.9), 5.0]])
    y = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    counted = torch.tensor([[True, True], [True, False]])
    bce = (-math.log(0.3) - math.log(0.1) - math.log(0.9)) / 3

    by_hand = {
        "focal": (0.25 * 0.49 * -math.log(0.3) + 0.75 * 0.81 * -math.log(0.1) + 0.25 * 0.01 * -math.log(0.9)) / 3,
        "asl": (0.7 * -math.log(0.3) + 0.85**4 * -math.log(0.15) + 0.1 * -math.log(0.9)) / 3,
        "gce": ((1 - 0.3**0.7) + (1 - 0.1**0.7) + (1 - 0.9**0.7)) / 0.7 / 3,
    }
    found = {
        "focal": pair_losses.focal_loss(z, y, counted, FocalConfig()).item(),
        "asl": pair_losses.asl_loss(z, y, counted, AslConfig()).item(),
        "gce": pair_losses.gce_loss(z, y, counted, GceConfig()).item(),
    }
    assert found == pytest.approx(by_hand, rel=1e-5)
    assert {name: bce - loss for name, loss in found.items()} == pytest.approx(
        {"focal": 0.68845, "asl": 0.58943, "gce": 0.51775}, abs=1e-5
    )


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(lambda: FocalConfig(alpha=1.5), id="focal"),
        pytest.param(lambda: AslConfig(margin=1.0), id="asl"),
        pytest.param(lambda: GceConfig(q=0.0), id="gce"),
        pytest.param(lambda: MllscConfig(start_epoch=0), id="mllsc"),
    ],
)
def test_options_out_of_range_are_refused(options: Callable[[], object]) -> None:
    with pytest.raises(ConfigError):
        options()
