"""MedFuse against hand-worked sequences, and what a missing modality may not do."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped

from core.errors import ConfigError
from core.models.losses import masked_bce
from core.models.medfuse import MedFuse, last_state, modality_sequence
from core.models.network_options import MedFuseConfig

from .tiny_batches import LABELS, NOTES, SERIES, SMALL, batch, planted, poisoned, rows, seen, shaken, silent


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(options: MedFuseConfig | None = None, seed: int = 0) -> MedFuse:
    torch.manual_seed(seed)
    made = shaken(MedFuse(SERIES, NOTES, LABELS, SMALL, options or MedFuseConfig())).eval()
    assert isinstance(made, MedFuse)
    return made


def test_the_sequence_is_series_then_note_or_the_one_there_is() -> None:
    series, note = torch.tensor([[1.0], [2.0], [3.0], [4.0]]), torch.tensor([[-1.0], [-2.0], [-3.0], [-4.0]])
    has_series, has_note = torch.tensor([True, False, True, False]), torch.tensor([True, True, False, False])
    sequence, lengths = modality_sequence(series, note, has_series, has_note)
    assert lengths.tolist() == [2, 1, 1, 0]
    assert sequence[0].flatten().tolist() == [1.0, -1.0]
    assert sequence[1, 0].item() == -2.0
    assert sequence[2, 0].item() == 3.0


def test_the_last_state_is_at_the_last_step_and_zero_without_steps() -> None:
    states = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]], [[7.0], [8.0], [9.0]]])
    assert last_state(states, torch.tensor([3, 1, 0])).flatten().tolist() == [3.0, 4.0, 0.0]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.integers(0, 1000))
def test_the_output_equals_a_walk_over_each_stay_s_own_steps(stays: int, seed: int) -> None:
    model, b = network(seed=seed), batch(stays, seed=seed, empty=False)
    g = torch.Generator().manual_seed(seed)
    b.series_lengths *= torch.rand(stays, generator=g) < 0.6
    b.note_lengths *= torch.rand(stays, generator=g) < 0.6
    with torch.no_grad():
        output = model(b)
        for i in range(stays):
            steps, passages = int(b.series_lengths[i]), int(b.note_lengths[i])
            sequence = []
            if steps:
                hidden = b.series[i, :steps]
                for layer in model.series_layers:
                    hidden, _ = layer(hidden)
                sequence.append(hidden[-1])
            if passages:
                sequence.append(model.project(b.notes[i, :passages].mean(0)))
            state = torch.zeros(SMALL.hidden)
            if sequence:
                _, (hidden_state, _) = model.fuse(torch.stack(sequence))
                state = hidden_state[-1]
            assert torch.allclose(output.features[i], state, atol=1e-6)
            assert torch.allclose(output.logits[i], model.head(state), atol=1e-6)


def test_a_stay_with_neither_modality_gets_the_head_s_offsets() -> None:
    model = network()
    with torch.no_grad():
        output = model(batch())
    assert torch.equal(output.logits[2], model.head.bias)
    assert not output.has_series[2]
    assert not output.has_note[2]
    assert output.logits_series.isnan().all()
    assert output.ortho.item() == output.balance.item() == 0.0


def test_what_stands_in_an_absent_modality_or_padding_is_never_read() -> None:
    model = network().train()
    results = []
    for b in (batch(), poisoned(batch())):
        torch.manual_seed(0)
        output = model(b)
        model.zero_grad()
        torch.autograd.backward(output.logits.square().sum())
        results.append([output.logits.detach(), *(p.grad for p in model.parameters())])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_permuting_a_batch_permutes_the_outputs() -> None:
    model, b = network(), batch(12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert torch.allclose(model(b).logits[order], model(rows(b, order)).logits, atol=1e-6)


def test_stays_do_not_see_one_another() -> None:
    model, b = network(), batch(6)
    with torch.no_grad():
        alone = torch.cat([model(rows(b, torch.tensor([i]))).logits for i in range(6)])
        assert torch.allclose(model(b).logits, alone, atol=1e-6)


def test_every_parameter_learns() -> None:
    model = network().train()
    torch.autograd.backward(model(batch(16)).logits.square().mean())
    assert silent(model) == []


def test_shapes_are_as_annotated_and_follow_the_layers() -> None:
    for layers in (1, 3):
        model = network(MedFuseConfig(layers=layers))
        model.forward = jaxtyped(model.forward, typechecker=beartype)  # type: ignore[method-assign]
        output = model(batch())
        assert output.logits.shape == (6, LABELS)
        assert output.features.shape == (6, SMALL.hidden)
        assert len(model.series_layers) == layers


def test_recurrent_weights_start_orthogonal_and_offsets_at_zero() -> None:
    torch.manual_seed(0)
    model = MedFuse(SERIES, NOTES, LABELS, SMALL, MedFuseConfig())
    for layer in (*model.series_layers, model.fuse):
        weight = layer.weight_hh_l0
        assert torch.allclose(weight.T @ weight, torch.eye(SMALL.hidden), atol=1e-5)
        assert not layer.bias_hh_l0.any()
        assert not layer.bias_ih_l0.any()
    plain = MedFuse(SERIES, NOTES, LABELS, SMALL, MedFuseConfig(start="torch"))
    assert plain.fuse.bias_ih_l0.any()


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"MedFuseConfig\.start"):
        MedFuseConfig(start="zeros")  # type: ignore[arg-type]


def test_it_learns_planted_labels() -> None:
    b, truth = planted()
    torch.manual_seed(0)
    model = MedFuse(SERIES, NOTES, LABELS, replace(SMALL, hidden=16), MedFuseConfig())
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(40):
        optimiser.zero_grad()
        torch.autograd.backward(masked_bce(model(b).logits, truth, torch.ones_like(truth, dtype=torch.bool)))
        optimiser.step()
    with torch.no_grad():
        right = (model.eval()(b).logits > 0) == (truth > 0.5)
    assert right[seen(b)].float().mean() > 0.95
