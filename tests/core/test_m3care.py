"""M3Care against hand-worked kernels and a walk over pairs, and what a missing modality may not do."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped
from torch import Tensor

from core.errors import ConfigError
from core.models.losses import masked_bce
from core.models.m3care import (
    M3Care,
    PresentNorm,
    above_threshold,
    gated_kernel,
    neighbours,
    rbf_kernel,
    shared_similarity,
)
from core.models.miracl import Batch
from core.models.network_options import M3CareConfig

from .tiny_batches import LABELS, NOTES, SERIES, SMALL, batch, planted, poisoned, rows, seen, shaken, silent

EASY = M3CareConfig(threshold_start=-2.0, heads=(2, 1))  # θ = .12: neighbours abound


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(options: M3CareConfig = EASY, seed: int = 0) -> M3Care:
    torch.manual_seed(seed)
    made = shaken(M3Care(SERIES, NOTES, LABELS, SMALL, options)).eval()
    assert isinstance(made, M3Care)
    return made


def everyone(stays: int) -> Tensor:
    return torch.ones(stays, dtype=torch.bool)


def test_the_kernel_by_hand() -> None:
    # Squared distances 1, 9, 4: b = 14/3, and k(0, 1) = (e^(-3/7) + e^(-3/14) + e^(-3/28)) / 3.
    kernel = rbf_kernel(torch.tensor([[0.0], [1.0], [3.0]]), everyone(3))
    assert kernel[0, 1].item() == pytest.approx(0.78565, abs=1e-4)
    assert kernel[0, 2].item() == pytest.approx(sum(math.exp(-27 / (14 * c)) for c in (0.5, 1, 2)) / 3, abs=1e-5)
    assert torch.equal(kernel, kernel.T)
    assert kernel.diagonal().tolist() == [1.0, 1.0, 1.0]


def test_the_bandwidth_leaves_absent_stays_out() -> None:
    kernel = rbf_kernel(torch.tensor([[0.0], [1.0], [100.0]]), torch.tensor([True, True, False]))
    assert kernel[0, 1].item() == pytest.approx((math.exp(-2) + math.exp(-1) + math.exp(-0.5)) / 3, abs=1e-6)


def test_coinciding_stays_and_a_lone_one_are_alike() -> None:
    assert rbf_kernel(torch.ones(3, 2), everyone(3)).tolist() == [[1.0] * 3] * 3
    assert rbf_kernel(torch.ones(1, 2), everyone(1)).tolist() == [[1.0]]
    assert torch.isfinite(rbf_kernel(torch.randn(3, 2), ~everyone(3))).all()


def test_the_gate_by_hand() -> None:
    k = gated_kernel(torch.tensor([[0.2]]), torch.tensor([[0.8]]), torch.tensor(0.5))
    assert k.item() == pytest.approx((0.5 * 0.2 + 0.5) * 0.8)
    assert gated_kernel(torch.tensor([[0.2]]), torch.tensor([[0.8]]), torch.tensor(1.0)).item() == pytest.approx(0.8)


def test_similarity_is_the_mean_over_shared_modalities_and_zero_without_one() -> None:
    kernels = torch.stack((torch.full((3, 3), 0.4), torch.full((3, 3), 0.8)))
    present = torch.tensor([[True, True], [True, False], [False, True]])
    found = shared_similarity(kernels, present)
    expected = [[0.6, 0.4, 0.8], [0.4, 0.4, 0.0], [0.8, 0.0, 0.8]]
    assert torch.allclose(found, torch.tensor(expected))


def test_the_threshold_keeps_what_is_above_it_whole_and_learns_from_each_survivor() -> None:
    similarity = torch.tensor([[1.0, 0.9, 0.5, 0.88]], requires_grad=True)
    threshold = torch.tensor(0.88, requires_grad=True)
    kept = above_threshold(similarity, threshold)
    assert torch.allclose(kept, torch.tensor([[1.0, 0.9, 0.0, 0.0]]))
    torch.autograd.backward(kept.sum())
    assert threshold.grad is not None
    assert similarity.grad is not None
    assert threshold.grad.item() == -2.0
    assert similarity.grad.tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_only_stays_with_the_modality_lend_it_and_a_mean_s_weights_sum_to_one() -> None:
    similarity = torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    has = torch.tensor([True, False, False])
    assert torch.allclose(neighbours(similarity, has, "sum")[:, 0], torch.tensor([1.0, 0.9, 0.0]))
    assert not neighbours(similarity, has, "sum")[:, 1:].any()
    assert neighbours(similarity, has, "mean").sum(1).tolist() == [1.0, 1.0, 0.0]


def test_an_absent_stay_gets_its_neighbours_mix_and_a_lonely_one_the_constant() -> None:
    model, relation = network(), network().note_relation
    h = torch.rand(3, SMALL.hidden)
    has = torch.tensor([True, False, False])
    similarity = torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
    first, second = relation.graph
    with torch.no_grad():
        found = relation.impute(h, has, similarity)
        once = torch.relu(h[0] @ first.weight + first.bias)  # the only lender's own first layer
        assert torch.allclose(found[1], torch.relu(0.9 * once @ second.weight + second.bias), atol=1e-6)
        assert torch.allclose(found[2], torch.relu(second.bias), atol=1e-6)
        other = h.clone()
        other[1:] = 7.0
        assert torch.equal(relation.impute(other, has, similarity), found)
    assert model.threshold.item() == pytest.approx(-2.0, abs=0.5)


def naive_kernel(x: Tensor, has: Tensor) -> list[list[float]]:
    stays = range(len(x))
    squared = [[float(((x[i] - x[j]) ** 2).sum()) for j in stays] for i in stays]
    counted = [squared[i][j] for i in stays for j in stays if i != j and has[i] and has[j]]
    b = sum(counted) / len(counted) if counted else 0.0
    b = b if b >= 1e-3 else 1.0
    return [[sum(math.exp(-squared[i][j] / (c * b)) for c in (0.5, 1.0, 2.0)) / 3 for j in stays] for i in stays]


def naive_relation(model: M3Care, h: list[Tensor], has: Tensor) -> tuple[list[Tensor], float]:
    """C.8 in loops over pairs, in evaluation mode, where running statistics are still 0 and 1."""
    stays, spread, theta = range(len(has)), math.sqrt(1 + 1e-5), float(model.threshold.sigmoid())
    relations = (model.series_relation, model.note_relation)
    kernels, regulariser = [], 0.0
    for m, relation in enumerate(relations):
        projected = relation.project(h[m])
        far = naive_kernel(projected * relation.norm_projected.norm.weight / spread, has[:, m])
        near = naive_kernel(h[m] * relation.norm_plain.norm.weight / spread, has[:, m])
        gate = float(relation.gate.sigmoid())
        kernels.append([[((1 - gate) * far[i][j] + gate) * near[i][j] for j in stays] for i in stays])
        apart = [abs(float(projected[i].norm()) - float(h[m][i].norm())) for i in stays if has[i, m]]
        regulariser += sum(apart) / len(apart) if apart else 0.0
    similarity = torch.zeros(len(has), len(has))
    for i in stays:
        for j in stays:
            shared = [kernels[m][i][j] for m in range(2) if has[i, m] and has[j, m]]
            mean = sum(shared) / len(shared) if shared else 0.0
            similarity[i, j] = mean if mean > theta else 0.0
    whole = []
    for m, relation in enumerate(relations):
        found = h[m]
        for layer in relation.graph:
            mixed = torch.zeros_like(found)
            for i in stays:
                for j in stays:
                    if has[j, m]:
                        mixed[i] += similarity[i, j] * found[j]
            found = torch.relu(mixed @ layer.weight + layer.bias)
        out = found.clone()
        for i in stays:
            if has[i, m]:
                one, two = relation.weigh_imputed(found[i]).sigmoid(), relation.weigh_own(h[m][i]).sigmoid()
                out[i] = (one * found[i] + two * h[m][i]) / (one + two)
        whole.append(out)
    return whole, regulariser


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 5), st.integers(0, 1000))
def test_imputation_equals_a_walk_over_pairs(stays: int, seed: int) -> None:
    model = network(seed=seed % 7)
    g = torch.Generator().manual_seed(seed)
    h = [torch.rand(stays, SMALL.hidden, generator=g) for _ in range(2)]
    has = torch.rand(stays, 2, generator=g) < 0.7
    h = [torch.where(has[:, m, None], x, torch.zeros(())) for m, x in enumerate(h)]
    with torch.no_grad():
        found, regulariser = model.relate(h, has)
        expected, terms = naive_relation(model, h, has)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
    assert regulariser.item() == pytest.approx(terms, abs=1e-4)


def test_normalisation_is_over_the_present_and_needs_two_of_them() -> None:
    norm, x = PresentNorm(1).train(), torch.tensor([[1.0], [3.0], [100.0]])
    normed = norm(x, torch.tensor([True, True, False]))
    assert torch.allclose(normed.flatten(), torch.tensor([-1.0, 1.0, 0.0]), atol=1e-4)
    assert norm.norm.running_mean.item() == pytest.approx(0.2)
    for present in (torch.tensor([True, False, False]), torch.zeros(3, dtype=torch.bool)):
        before = norm.norm.running_mean.clone()
        assert torch.isfinite(norm(x, present)).all()
        assert torch.equal(norm.norm.running_mean, before)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", ["one stay", "one empty stay", "no notes", "no series", "nothing"])
def test_small_and_one_sided_batches_are_finite(kind: str, training: bool) -> None:
    b = batch(6)
    if kind == "one stay":
        b = rows(b, torch.tensor([4]))
    if kind == "one empty stay":
        b = rows(b, torch.tensor([2]))
    if kind in ("no notes", "nothing"):
        b.note_lengths[:] = 0
    if kind in ("no series", "nothing"):
        b.series_lengths[:] = 0
    model = network().train(training)
    output = model(b)
    torch.autograd.backward(output.logits.sum() + output.regulariser)
    assert torch.isfinite(output.logits).all()
    assert torch.isfinite(output.regulariser)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_what_stands_in_an_absent_modality_or_padding_is_never_read() -> None:
    results = []
    for b in (batch(12), poisoned(batch(12))):
        model = network().train()
        torch.manual_seed(0)
        output = model(b)
        torch.autograd.backward(output.logits.square().sum() + output.regulariser)
        results.append([output.logits.detach(), *(p.grad for p in model.parameters())])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_permuting_a_batch_permutes_the_outputs() -> None:
    model, b = network(), batch(12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert torch.allclose(model(b).logits[order], model(rows(b, order)).logits, atol=1e-5)


def test_a_stay_without_a_note_is_told_by_its_companions_and_the_same_batch_says_the_same() -> None:
    model, b = network(), batch(12)
    with torch.no_grad():
        whole, again, fewer = model(b).logits, model(b).logits, model(rows(b, torch.arange(6))).logits
    assert torch.equal(whole, again)
    assert not torch.allclose(whole[1], fewer[1], atol=1e-5)


def test_every_parameter_learns() -> None:
    model = network().train()
    torch.autograd.backward(model(batch(16)).logits.square().mean())
    assert silent(model) == []


def test_shapes_are_as_annotated() -> None:
    model = network()
    for module in (model, model.series_relation, model.note_relation):
        for name in ("forward", "relate", "kernel", "impute"):
            if name in vars(type(module)):
                setattr(module, name, jaxtyped(getattr(module, name), typechecker=beartype))
    output = model(batch())
    assert output.logits.shape == (6, LABELS)
    assert output.features.shape == (6, 2 * SMALL.hidden)
    assert output.regulariser.shape == ()
    assert not output.has_series[0]


def test_the_regulariser_is_the_distance_of_norms_over_those_who_have_the_modality() -> None:
    relation = network().note_relation
    h, has = torch.rand(3, SMALL.hidden), torch.tensor([True, True, False])
    with torch.no_grad():
        _, found = relation.kernel(h, has)
        expected = (relation.project(h).norm(dim=1) - h.norm(dim=1)).abs()[:2].mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "named"), [({"bandwidths": ()}, "bandwidths"), ({"bandwidths": (0.0,)}, "bandwidths"),
                           ({"heads": ()}, "heads"), ({"rows": "max"}, "rows")],
)  # fmt: skip
def test_senseless_options_are_refused(options: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=rf"M3CareConfig\.{named}"):
        M3CareConfig(**options)  # type: ignore[arg-type]


def learnt(b: Batch, truth: Tensor, options: M3CareConfig) -> Tensor:
    torch.manual_seed(0)
    model = M3Care(SERIES, NOTES, LABELS, replace(SMALL, hidden=16), options)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(50):
        optimiser.zero_grad()
        torch.autograd.backward(masked_bce(model(b).logits, truth, torch.ones_like(truth, dtype=torch.bool)))
        optimiser.step()
    with torch.no_grad():
        return (model.eval()(b).logits > 0) == (truth > 0.5)


@pytest.mark.parametrize("options", [M3CareConfig(), M3CareConfig(rows="mean", threshold_start=-1.0)])
def test_it_learns_planted_labels(options: M3CareConfig) -> None:
    b, truth = planted()
    assert learnt(b, truth, options)[seen(b)].float().mean() > 0.95
