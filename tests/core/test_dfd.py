"""DFD's two streams: the bound by hand and on Gaussians, and what each option lets through."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped

from core.errors import ConfigError
from core.methods.pair_losses import gce
from core.models.dfd import ClubEstimator, DfdModel, club_bound, cross_covariance, gaussian_log_likelihood
from core.models.losses import masked_bce
from core.models.network_options import DfdConfig

from .tiny_batches import LABELS, NOTES, SERIES, SMALL, batch, planted, poisoned, rows, seen, shaken, silent


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(options: DfdConfig | None = None, seed: int = 0) -> DfdModel:
    torch.manual_seed(seed)
    made = shaken(DfdModel(SERIES, NOTES, LABELS, SMALL, options or DfdConfig())).eval()
    assert isinstance(made, DfdModel)
    return made


def test_the_bound_by_hand() -> None:
    # z_b = 0, 2; μ = 0, 1; σ² = 1, 1. Own squares 0 and 1; over all j, 2 for the first stay and 1 for the second:
    # half of the mean of (2 - 0) and (1 - 1).
    mean, biased = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    assert club_bound(mean, torch.zeros(2, 1), biased).item() == pytest.approx(0.5)
    # With σ² = 4 for the first stay, its share falls to a quarter.
    assert club_bound(mean, torch.tensor([[math.log(4.0)], [0.0]]), biased).item() == pytest.approx(0.125)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 1000))
def test_the_bound_equals_its_walk_over_pairs_of_stays(stays: int, width: int, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    mean, log_variance, biased = (torch.randn(stays, width, generator=g) for _ in range(3))
    q = [torch.distributions.Normal(mean[i], (0.5 * log_variance[i]).exp()) for i in range(stays)]
    own = sum(float(q[i].log_prob(biased[i]).sum()) for i in range(stays)) / stays
    pairs = sum(float(q[i].log_prob(biased[j]).sum()) for i in range(stays) for j in range(stays)) / stays**2
    assert club_bound(mean, log_variance, biased).item() == pytest.approx(own - pairs, rel=1e-4, abs=1e-4)
    assert gaussian_log_likelihood(mean, log_variance, biased).item() == pytest.approx(own, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.8])
def test_on_a_gaussian_the_bound_is_what_theory_says_and_above_the_mutual_information(rho: float) -> None:
    # With the true conditional N(ρ z_c, 1 - ρ²): ρ² / (1 - ρ²), while I = -½ ln(1 - ρ²).
    g = torch.Generator().manual_seed(0)
    causal = torch.randn(40_000, 1, generator=g)
    biased = rho * causal + math.sqrt(1 - rho**2) * torch.randn(40_000, 1, generator=g)
    found = club_bound(rho * causal, torch.full_like(causal, math.log(1 - rho**2)), biased).item()
    assert found == pytest.approx(rho**2 / (1 - rho**2), abs=0.03)
    assert found >= -0.5 * math.log(1 - rho**2) - 0.01


def test_a_fitted_estimator_finds_what_the_streams_share() -> None:
    g = torch.Generator().manual_seed(0)
    causal = torch.randn(512, 2, generator=g)
    noise = torch.randn(512, 2, generator=g)
    found = []
    for rho in (0.0, 0.6):
        biased = rho * causal + math.sqrt(1 - rho**2) * noise
        torch.manual_seed(0)
        estimator = ClubEstimator(2)
        optimiser = torch.optim.Adam(estimator.parameters(), lr=0.02)
        for _ in range(150):
            optimiser.zero_grad()
            mean, log_variance = estimator(causal)
            torch.autograd.backward(-gaussian_log_likelihood(mean, log_variance, biased))
            optimiser.step()
        with torch.no_grad():
            mean, log_variance = estimator(causal)
            found.append(club_bound(mean, log_variance, biased).item())
    assert found[0] == pytest.approx(0.0, abs=0.1)
    assert found[1] == pytest.approx(2 * 0.36 / 0.64, abs=0.25)


def test_one_stay_shares_nothing() -> None:
    one = torch.randn(1, 3)
    assert club_bound(torch.randn(1, 3), torch.randn(1, 3), one).item() == pytest.approx(0.0, abs=1e-6)
    assert cross_covariance(one, one).item() == 0.0


def test_the_cross_covariance_by_hand() -> None:
    # z_c = (1, 0), (-1, 0); z_b = (2, 1), (-2, 1): the one covariance that isn't 0 is (1·2 + 1·2) / 1 = 4; 16 / 4.
    causal, biased = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([[2.0, 1.0], [-2.0, 1.0]])
    assert cross_covariance(causal, biased).item() == pytest.approx(4.0)
    assert cross_covariance(causal + 5.0, biased - 3.0).item() == pytest.approx(4.0)


def test_the_causal_stream_alone_predicts() -> None:
    model, b = network(), batch()
    with torch.no_grad():
        before = model(b)
        for p in (*model.bias.parameters(), *model.bias_head.parameters()):
            p.mul_(3.0)
        after = model(b)
    assert torch.equal(before.logits, after.logits)
    assert torch.equal(before.features, after.features)
    assert not torch.allclose(before.logits_biased, after.logits_biased)
    assert torch.equal(after.logits, model.causal_head(after.features))


@pytest.mark.parametrize("gradient", ["shared", "stopped"])
def test_the_biased_stream_shapes_the_backbone_only_where_it_may(gradient: str) -> None:
    model = network(DfdConfig(biased_gradient=gradient)).train()  # type: ignore[arg-type]
    torch.autograd.backward(model(batch(16)).logits_biased.square().mean())
    reached = any(p.grad is not None and bool(p.grad.any()) for p in model.backbone.parameters())
    assert reached == (gradient == "shared")
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.bias.parameters())
    assert all(p.grad is None for p in model.causal.parameters())


def test_every_parameter_learns() -> None:
    model = network().train()
    output = model(batch(16, empty=False))
    heads = output.logits_series.square().mean() + output.logits_note.square().mean()
    torch.autograd.backward(output.logits.square().mean() + output.logits_biased.square().mean() + heads)
    assert silent(model) == []


def test_what_stands_in_an_absent_modality_or_padding_is_never_read() -> None:
    model = network()
    with torch.no_grad():
        one, other = model(batch()), model(poisoned(batch()))
    assert torch.equal(one.logits, other.logits)
    assert torch.equal(one.biased, other.biased)
    assert torch.isfinite(one.logits).all()


def test_permuting_a_batch_permutes_both_streams() -> None:
    model, b = network(), batch(12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        one, other = model(b), model(rows(b, order))
    assert torch.allclose(one.logits[order], other.logits, atol=1e-6)
    assert torch.allclose(one.logits_biased[order], other.logits_biased, atol=1e-6)


def test_shapes_are_as_annotated() -> None:
    model, estimator = network(), ClubEstimator(SMALL.hidden)
    model.forward = jaxtyped(model.forward, typechecker=beartype)  # type: ignore[method-assign]
    estimator.forward = jaxtyped(estimator.forward, typechecker=beartype)  # type: ignore[method-assign]
    output = model(batch())
    mean, log_variance = estimator(output.features)
    assert output.logits.shape == output.logits_biased.shape == (6, LABELS)
    assert output.features.shape == output.biased.shape == mean.shape == log_variance.shape == (6, SMALL.hidden)
    assert log_variance.abs().max() < 1


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"DfdConfig\.independence among vclub"):
        DfdConfig(independence="hsic")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"DfdConfig\.biased_q"):
        DfdConfig(biased_q=0.0)


def test_it_learns_planted_labels_with_its_streams_apart() -> None:
    b, truth = planted()
    counted = torch.ones_like(truth, dtype=torch.bool)
    torch.manual_seed(0)
    model = DfdModel(SERIES, NOTES, LABELS, replace(SMALL, hidden=16, fusion_layers=1), DfdConfig())
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        output = model(b)
        loss = masked_bce(output.logits, truth, counted) + gce(output.logits_biased, truth, 0.7).mean()
        torch.autograd.backward(loss + 0.1 * cross_covariance(output.features, output.biased))
        optimiser.step()
    with torch.no_grad():
        right = (model.eval()(b).logits > 0) == (truth > 0.5)
    assert right[seen(b)].float().mean() > 0.95
