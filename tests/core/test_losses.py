"""The loss terms against worked cases and naive restatements."""

import math

import numpy as np
import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped

from core.models.losses import contrastive, masked_bce

bce = jaxtyped(masked_bce, typechecker=beartype)
contrast = jaxtyped(contrastive, typechecker=beartype)


def test_cross_entropy_of_a_worked_case() -> None:
    logits = torch.tensor([[0.0, 2.0], [-1.0, 50.0]])
    targets = torch.tensor([[1.0, 0.5], [0.0, 0.0]])
    counted = torch.tensor([[True, True], [True, False]])
    soft = 0.5 * math.log(1 + math.exp(-2)) + 0.5 * math.log(1 + math.exp(2))
    assert bce(logits, targets, counted).item() == pytest.approx((math.log(2) + soft + math.log(1 + math.exp(-1))) / 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 10_000))
def test_cross_entropy_equals_its_naive_restatement(stays: int, labels: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, y, counted = rng.normal(0, 3, (stays, labels)), rng.random((stays, labels)), rng.random((stays, labels)) < 0.7
    losses = []
    for i in range(stays):
        for k in range(labels):
            if counted[i, k]:
                p = 1 / (1 + math.exp(-z[i, k]))
                losses.append(-(y[i, k] * math.log(p) + (1 - y[i, k]) * math.log(1 - p)))
    found = bce(torch.tensor(z).float(), torch.tensor(y).float(), torch.tensor(counted))
    assert found.item() == pytest.approx(np.mean(losses) if losses else 0.0, rel=1e-4, abs=1e-6)


def test_extreme_logits_give_a_finite_loss_and_gradient() -> None:
    z = torch.tensor([[1e4, -1e4]], requires_grad=True)
    loss = bce(z, torch.tensor([[0.0, 1.0]]), torch.ones(1, 2, dtype=torch.bool))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx(1e4)
    assert z.grad is not None
    assert torch.isfinite(z.grad).all()


def all_of(n: int) -> torch.Tensor:
    return torch.ones(n, dtype=torch.bool)


@pytest.mark.parametrize("positives", ["patient", "visit"])
def test_two_patients_at_right_angles_give_the_published_value(positives: str) -> None:
    h = torch.eye(2)
    loss, share = contrast(h, h, all_of(2), all_of(2), torch.tensor([7, 8]), 0.5, positives)
    assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-2)), abs=1e-6)
    assert loss.item() == pytest.approx(0.23954, abs=5e-6)
    assert share.item() == 0.0


def naive(h: np.ndarray, present: np.ndarray, patient: np.ndarray, stay: np.ndarray, tau: float, visit: bool) -> float:
    rows = [a for a in range(len(h)) if present[a]]
    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    losses = []
    for a in rows:
        others = [b for b in rows if b != a]
        wanted = [b for b in others if (stay[b] == stay[a] if visit else patient[b] == patient[a])]
        if wanted:
            below = sum(math.exp(unit[a] @ unit[k] / tau) for k in others)
            losses.append(-sum(math.log(math.exp(unit[a] @ unit[b] / tau) / below) for b in wanted) / len(wanted))
    return float(np.mean(losses)) if losses else 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(0, 10_000), st.booleans())
def test_the_contrastive_loss_equals_its_naive_restatement(stays: int, seed: int, visit: bool) -> None:
    rng = np.random.default_rng(seed)
    e, n = rng.normal(size=(2, stays, 4)).astype(np.float32)
    has_e, has_n = rng.random((2, stays)) < 0.7
    patient = rng.integers(0, 3, stays)
    expected = naive(
        np.concatenate((e, n)).astype(float), np.concatenate((has_e, has_n)), np.tile(patient, 2),
        np.tile(np.arange(stays), 2), 0.3, visit,
    )  # fmt: skip
    found, _ = contrast(
        torch.tensor(e), torch.tensor(n), torch.tensor(has_e), torch.tensor(has_n), torch.tensor(patient), 0.3,
        "visit" if visit else "patient",
    )  # fmt: skip
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_rows_of_absent_modalities_change_nothing_whatever_they_hold() -> None:
    torch.manual_seed(0)
    e, n = torch.randn(2, 4, 3)
    has_n = torch.tensor([True, False, True, True])
    patient = torch.tensor([1, 1, 2, 3])
    one, share = contrast(e, n, all_of(4), has_n, patient, 0.1)
    n[1] = 1e3
    other, _ = contrast(e, n, all_of(4), has_n, patient, 0.1)
    assert one.item() == other.item()
    assert share.item() == pytest.approx(3 / 7)  # anchors with another stay's row: both series of patient 1, one note


def test_large_patient_ids_stay_apart() -> None:
    near = torch.tensor([16_777_217, 16_777_216])  # one number in float32
    h = torch.eye(2)
    _, share = contrast(h, h, all_of(2), all_of(2), near, 0.5)
    assert share.item() == 0.0


def test_without_positives_the_loss_is_0_with_a_zero_gradient() -> None:
    h = torch.randn(3, 4, requires_grad=True)
    loss, share = contrast(h, h, all_of(3), ~all_of(3), torch.tensor([1, 2, 3]), 0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == share.item() == 0.0
    assert h.grad is not None
    assert torch.equal(h.grad, torch.zeros_like(h))


def test_a_batch_without_any_modality_gives_0() -> None:
    h = torch.zeros(2, 4, requires_grad=True)
    loss, _ = contrast(h, h, ~all_of(2), ~all_of(2), torch.tensor([1, 1]), 0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    assert h.grad is not None
    assert torch.isfinite(h.grad).all()
