"""The network against its formulas: sizes, masks, missing modalities, experts."""

from dataclasses import replace

import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped
from torch import Tensor, nn

from core.config import ModelConfig
from core.models import fusion
from core.models.encoders import SeriesEncoder, masked_mean, reverse_within
from core.models.experts import Experts, Readout, squared_variation
from core.models.fusion import Fusion, FusionLayer, attention, attention_bias, token_groups
from core.models.miracl import Batch, MiraclModel, decorrelation

SMALL = ModelConfig(hidden=8, heads=2, ffn=16, fusion_layers=2, experts=4, max_positions=20)
LABELS = 5


def batch(stays: int = 6, steps: int = 7, passages: int = 4, seed: int = 0, empty: bool = True) -> Batch:
    """Stay 0 has no series, stay 1 no note, stay 2 neither."""
    g = torch.Generator().manual_seed(seed)
    series_lengths = torch.randint(1, steps + 1, (stays,), generator=g)
    note_lengths = torch.randint(1, passages + 1, (stays,), generator=g)
    if empty:
        series_lengths[[0, 2]], note_lengths[[1, 2]] = 0, 0
    series = torch.randn(stays, steps, 3, generator=g)
    notes = torch.randn(stays, passages, 6, generator=g)
    return Batch(torch.arange(stays), torch.arange(stays) // 2, series, series_lengths, notes, note_lengths)


def network(config: ModelConfig = SMALL, seed: int = 0) -> MiraclModel:
    """With every parameter away from its zero start, so that nothing is hidden by it."""
    torch.manual_seed(seed)
    model = MiraclModel(3, 6, LABELS, config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return model


def size(module: nn.Module | nn.Parameter) -> int:
    return module.numel() if isinstance(module, nn.Parameter) else sum(p.numel() for p in module.parameters())


def test_at_the_benchmark_sizes_each_part_has_the_published_number_of_parameters() -> None:
    model = MiraclModel(76, 768, 25, ModelConfig())
    assert size(model.series_encoder) == 639_104
    assert size(model.note_encoder) == 98_432
    assert size(model.fusion.layers) == 793_088
    assert size(model.experts) == 334_080
    assert size(model.readout.mix) + size(model.readout.score) == 32_896
    assert size(model.readout.norm) == 256
    assert size(model.readout.head) == 6_425
    assert size(model.series_head) + size(model.note_head) == 6_450
    assert size(model.fusion.series_positions) + size(model.fusion.note_positions) == 153_600
    assert size(model.fusion.special) == 512
    assert size(model) == 2_064_843
    assert all(p.requires_grad for p in model.parameters())


def test_one_lstm_layer_and_fourteen_labels_have_the_published_numbers() -> None:
    one_layer = replace(ModelConfig(), lstm_layers=1)
    assert size(SeriesEncoder(76, one_layer)) == 243_840
    assert size(Readout(14, ModelConfig()).head) == 3_598


def test_shapes_are_as_annotated() -> None:
    model, b = network(), batch()
    for module in (model.series_encoder, model.note_encoder, model.fusion, model.experts, model.readout):
        module.forward = jaxtyped(module.forward, typechecker=beartype)  # type: ignore[method-assign]
    output = model(b)
    assert output.logits.shape == output.logits_series.shape == output.logits_note.shape == (6, LABELS)
    assert output.h_series.shape == output.h_note.shape == (6, SMALL.hidden)
    assert output.ortho.shape == output.balance.shape == ()


@pytest.mark.parametrize("packed", [True, False])
def test_the_series_encoder_is_a_bidirectional_lstm_over_packed_sequences(packed: bool) -> None:
    torch.manual_seed(1)
    config = replace(SMALL, packed=packed)
    ours = SeriesEncoder(3, config).eval()
    theirs = nn.LSTM(3, config.hidden, config.lstm_layers, bidirectional=True, batch_first=True)
    with torch.no_grad():
        for layer, (ahead, back) in enumerate(zip(ours.forwards, ours.backwards, strict=True)):
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(theirs, f"{name}_l{layer}").copy_(getattr(ahead, f"{name}_l0"))
                getattr(theirs, f"{name}_l{layer}_reverse").copy_(getattr(back, f"{name}_l0"))
    series, lengths = torch.randn(4, 6, 3), torch.tensor([6, 2, 1, 4])
    valid = torch.arange(6) < lengths[:, None]
    series = series * valid[:, :, None]
    if packed:
        bundle = nn.utils.rnn.pack_padded_sequence(series, lengths, batch_first=True, enforce_sorted=False)
        expected, _ = nn.utils.rnn.pad_packed_sequence(theirs(bundle)[0], batch_first=True)
    else:
        expected, _ = theirs(series)
    expected = ours.project(expected)
    assert torch.allclose(ours(series, lengths)[valid], expected[valid], atol=1e-6)


def test_reversing_is_its_own_inverse_and_its_gradient_is_right() -> None:
    steps, lengths = torch.randn(5, 3, 2, dtype=torch.float64, requires_grad=True), torch.tensor([5, 2, 0])
    turned = reverse_within(steps, lengths)
    assert torch.equal(turned[:, 1], steps[[1, 0, 2, 3, 4], 1])
    assert torch.equal(turned[:, 2], steps[:, 2])
    assert torch.equal(reverse_within(turned, lengths), steps)
    assert torch.autograd.gradcheck(lambda x: reverse_within(x, lengths), (steps,))


def test_the_mean_is_over_valid_positions() -> None:
    x = torch.tensor([[[2.0], [4.0], [9.0]], [[5.0], [5.0], [5.0]]])
    valid = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(x, valid).tolist() == [[3.0], [0.0]]


def test_tokens_see_what_the_pattern_allows_and_nothing_else() -> None:
    # 0 task, 1 combo, 2 EHR-CLS, 3-4 EHR, 5 NOTE-CLS, 6 NOTE, 7 NOTE (padding)
    groups = token_groups(2, 2, torch.device("cpu"))
    present = torch.tensor([[True] * 7 + [False]])
    sees = attention_bias(groups, present, "bool")[0, 0] == 0
    expected = {0: {0, 1, 2, 3, 4, 5, 6}, 1: {1, 3, 4, 6}, 2: {2, 3, 4}, 3: {3, 4}, 4: {3, 4}, 5: {5, 6}, 6: {6}}
    for row, columns in expected.items():
        assert set(torch.nonzero(sees[row]).flatten().tolist()) == columns
    assert sees[7].nonzero().flatten().tolist() == [6, 7]  # padding: its own row only has to be finite


def test_the_released_mask_favours_blocked_places_by_one_and_blocks_padding_alone() -> None:
    groups = token_groups(1, 2, torch.device("cpu"))
    present = torch.tensor([[True] * 6 + [False]])
    bias = attention_bias(groups, present, "additive_plus1")[0, 0]
    assert bias[2].tolist() == [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, float("-inf")]
    assert attention_bias(groups, present, "none")[0, 0][2].tolist() == [0.0] * 6 + [float("-inf")]
    kept, favoured = torch.zeros(7).softmax(0), bias[2].softmax(0)
    assert favoured[0] / favoured[2] == pytest.approx(torch.e * kept[0] / kept[2])


def test_a_fusion_layer_is_the_post_norm_encoder_layer() -> None:
    torch.manual_seed(0)
    ours = FusionLayer(SMALL).eval()
    theirs = nn.TransformerEncoderLayer(8, 2, 16, 0.1, "relu", batch_first=True, norm_first=False).eval()
    with torch.no_grad():
        theirs.self_attn.in_proj_weight.copy_(ours.qkv.weight)
        theirs.self_attn.in_proj_bias.copy_(ours.qkv.bias)
        for mine, other in (
            (ours.out, theirs.self_attn.out_proj), (ours.inner, theirs.linear1), (ours.outer, theirs.linear2),
            (ours.norm_attention, theirs.norm1), (ours.norm_network, theirs.norm2),
        ):  # fmt: skip
            other.load_state_dict(mine.state_dict())
    tokens = torch.randn(3, 5, 8)
    present = torch.tensor([[True] * 5, [True] * 4 + [False], [True] * 2 + [False] * 3])
    bias = torch.zeros(3, 1, 5, 5).masked_fill(~present[:, None, None], float("-inf"))
    mask = bias.expand(3, 2, 5, 5).flatten(0, 1)
    with torch.no_grad():
        found, expected = ours(tokens, bias), theirs(tokens, src_mask=mask)
        assert torch.allclose(found, expected, atol=1e-5)
        some = torch.tensor([0, 3])
        assert torch.allclose(ours(tokens, bias, some), found[:, some], atol=1e-6)


def test_without_a_note_the_note_s_tokens_reach_no_other_token() -> None:
    torch.manual_seed(0)
    fusion = Fusion(replace(SMALL, attention_mask="none")).eval()
    with torch.no_grad():
        fusion.special.normal_()
        series, notes = torch.randn(2, 3, 8), torch.randn(2, 4, 8)
        valid, none = torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, 4, dtype=torch.bool)
        one = fusion(series, valid, notes, none)
        fusion.special[3] = 9.0
        other = fusion(series, valid, notes * 7, none)
    assert torch.equal(one[:, [0, 2]], other[:, [0, 2]])


def naive_gates(experts: Experts, token: torch.Tensor, task: torch.Tensor) -> torch.Tensor:
    logits = token @ experts.gate + task @ experts.gate_task
    best = logits.argsort(descending=True)[: experts.top_k]
    out = torch.zeros(len(token))
    weights = torch.exp(logits[best]) / torch.exp(logits[best]).sum()
    for e, weight in zip(best, weights, strict=True):
        inner = torch.relu(token @ experts.weight_in[e] + experts.bias_in[e])
        out += weight * (inner @ experts.weight_out[e] + experts.bias_out[e])
    return out


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), st.integers(0, 1000))
def test_the_experts_equal_a_loop_over_tokens(stays: int, seed: int) -> None:
    torch.manual_seed(seed)
    experts = Experts(SMALL).eval()
    with torch.no_grad():
        experts.gate.normal_()
        experts.gate_task.normal_()
        tokens, task, present = torch.randn(stays, 3, 8), torch.randn(stays, 8), torch.rand(stays, 3) < 0.7
        mixed, given, load = experts(tokens, task, present)
        balance = squared_variation(given) + squared_variation(load)
        counts, importance = torch.zeros(4), torch.zeros(4)
        for i in range(stays):
            for m in range(3):
                if not present[i, m]:
                    assert torch.equal(mixed[i, m], tokens[i, m])
                    continue
                assert torch.allclose(mixed[i, m], naive_gates(experts, tokens[i, m], task[i]), atol=1e-5)
                logits = tokens[i, m] @ experts.gate + task[i] @ experts.gate_task
                best = logits.argsort(descending=True)[:2]
                counts[best] += 1
                importance[best] += logits[best].softmax(0)
        expected = sum(x.var() / x.mean() ** 2 if x.sum() else torch.zeros(()) for x in (counts, importance))
    assert balance.item() == pytest.approx(float(expected), rel=1e-4, abs=1e-6)


def test_the_load_is_the_probability_of_staying_among_the_best_two() -> None:
    torch.manual_seed(0)
    experts = Experts(SMALL).train()
    with torch.no_grad():
        experts.gate.normal_(std=0.5)
        token, task, present = torch.randn(1, 1, 8), torch.zeros(1, 8), torch.ones(1, 1, dtype=torch.bool)
        many = token.expand(20_000, 1, 8)
        gates, load = experts.gates(many, task.expand(20_000, 8), present.expand(20_000, 1))
    # Each expert's chance given the others' draws, averaged over draws, is how often it is really chosen.
    assert torch.allclose(load / 20_000, (gates > 0).float().mean((0, 1)), atol=0.015)
    assert torch.allclose(gates.sum(-1), torch.ones(20_000, 1), atol=1e-5)


def test_no_present_token_costs_nothing() -> None:
    for mode in (True, False):
        experts = Experts(SMALL).train(mode)
        none = torch.zeros(2, 3, dtype=torch.bool)
        _, given, load = experts(torch.randn(2, 3, 8), torch.randn(2, 8), none)
        assert squared_variation(given).item() == squared_variation(load).item() == 0.0
    assert squared_variation(torch.tensor([1.0, 3.0])).item() == pytest.approx(2 / 4)


def test_decorrelation_equals_its_naive_restatement_and_leaves_absent_tokens_out() -> None:
    torch.manual_seed(0)
    tokens = torch.randn(3, 3, 8)
    present = torch.tensor([[True] * 3, [False, True, False], [True, False, True]])
    total = 0.0
    for b in range(3):
        for j in range(3):
            for k in range(3):
                if j != k and present[b, j] and present[b, k]:
                    x, y = tokens[b, j] - tokens[b, j].mean(), tokens[b, k] - tokens[b, k].mean()
                    total += float((x @ y / 7) ** 2)
    found = jaxtyped(decorrelation, typechecker=beartype)(tokens, present)
    assert found.mean().item() == pytest.approx(total / (3 * 2**2), rel=1e-5)
    assert found[1] == 0.0  # one token alone has nothing to be apart from
    assert decorrelation(tokens, torch.ones_like(present)).mean() > found.mean()


@pytest.mark.parametrize("kind", ["bool", "additive_plus1", "none"])
def test_what_stands_in_an_absent_modality_or_padding_changes_nothing(kind: str) -> None:
    model = network(replace(SMALL, attention_mask=kind))  # type: ignore[arg-type]
    one, other = batch(), batch()
    series_valid = torch.arange(7) < other.series_lengths[:, None]
    notes_valid = torch.arange(4) < other.note_lengths[:, None]
    other.series[~series_valid], other.notes[~notes_valid] = float("nan"), 1e9
    with torch.no_grad():
        a, b = model(one), model(other)
    assert torch.equal(a.logits, b.logits)
    assert torch.isfinite(a.logits).all()
    assert torch.equal(a.logits_series[one.series_lengths > 0], b.logits_series[one.series_lengths > 0])
    assert torch.equal(a.logits_note[one.note_lengths > 0], b.logits_note[one.note_lengths > 0])
    assert a.ortho.item() == b.ortho.item()


def test_a_stay_with_neither_modality_gets_the_bias_and_the_task_token() -> None:
    model = network()
    with torch.no_grad():
        logits = model(batch()).logits[2]
        lonely = batch(stays=3)
        assert torch.allclose(model(lonely).logits[2], logits, atol=1e-6)
        task_only = nn.functional.linear(torch.zeros(1, 8), model.readout.head.weight[:, 8:]) + model.readout.head.bias
        assert not torch.allclose(task_only[0], logits)  # the task token speaks too
        model.readout.head.weight[:, :8] = 0
        assert torch.allclose(model(batch()).logits[2], model.readout.head.bias, atol=1e-6)


def test_permuting_a_batch_permutes_the_outputs() -> None:
    model, b = network(), batch(12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    turned = Batch(*(getattr(b, f)[order] for f in b.__dataclass_fields__))
    with torch.no_grad():
        one, other = model(b), model(turned)
    for name in ("logits", "logits_series", "logits_note", "h_series", "h_note"):
        assert torch.allclose(getattr(one, name)[order], getattr(other, name), atol=1e-6)
    assert one.ortho.item() == pytest.approx(other.ortho.item(), rel=1e-5)


def test_stays_do_not_see_one_another_nor_their_batch_s_padding() -> None:
    model, b = network(), batch(6)
    with torch.no_grad():
        together = model(b).logits
        alone = torch.cat([model(Batch(*(getattr(b, f)[i : i + 1] for f in b.__dataclass_fields__))).logits
                           for i in range(6)])  # fmt: skip
    assert torch.allclose(together, alone, atol=1e-6)


def test_every_parameter_learns() -> None:
    model = network().train()
    output = model(batch(16, empty=False))
    total = sum(x.square().mean() for x in (output.logits, output.logits_series, output.logits_note))
    torch.autograd.backward(total + output.ortho + output.balance)  # type: ignore[arg-type]
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_a_contrastive_projection_is_an_option() -> None:
    plain, projected = network(), network(replace(SMALL, contrast_projection=True))
    assert size(projected) - size(plain) == 2 * (8 * 8 + 8)


def test_heads_apart_learn_without_a_word_in_how_the_encoders_do() -> None:
    torch.manual_seed(0)
    config = ModelConfig(hidden=8, heads=2, ffn=16, fusion_layers=1, lstm_layers=1, experts=4)
    for apart in (False, True):
        model = MiraclModel(5, 6, 3, config, apart)
        batch = Batch(
            torch.arange(2), torch.arange(2), torch.randn(2, 4, 5), torch.tensor([4, 3]), torch.randn(2, 2, 6),
            torch.tensor([2, 1]),
        )  # fmt: skip
        output = model(batch)
        (output.logits_series.sum() + output.logits_note.sum()).backward()
        reached = any(
            p.grad is not None and bool(p.grad.any())
            for part in (model.series_encoder, model.note_encoder)
            for p in part.parameters()
        )
        assert reached is not apart
        assert model.series_head.weight.grad is not None
        assert model.note_head.weight.grad is not None


def asked(stays: int = 7, tokens: int = 9) -> tuple[Tensor, ...]:
    """Queries, keys, values and a bias that hides some tokens, the same at each call."""
    g = torch.Generator().manual_seed(3)
    qkv = [torch.randn(stays, 2, tokens, 4, generator=g).requires_grad_() for _ in range(3)]
    hidden = (torch.rand(stays, 1, tokens, tokens, generator=g) < 0.3) & ~torch.eye(tokens, dtype=torch.bool)
    return *qkv, torch.zeros(hidden.shape).masked_fill(hidden, float("-inf"))


def answer(rate: float, seed: int = 5) -> tuple[list[Tensor], int]:
    """What attention gives and its gradients, and how many bytes it kept for them."""
    q, k, v, bias = asked()
    kept: list[int] = []

    def note(x: Tensor) -> Tensor:
        kept.append(x.nbytes)
        return x

    torch.manual_seed(seed)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        mixed = attention(q, k, v, bias, rate)
    kept_bytes = sum(kept)
    torch.rand(11)  # what runs before the way back must not change the numbers drawn again
    mixed.square().sum().backward()
    return [mixed.detach(), *(x.grad for x in (q, k, v) if x.grad is not None)], kept_bytes


def test_attention_in_parts_is_attention_of_each_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three stays at a time, with dropout: as three calls in turn, gradients too, whose weights are drawn once."""
    _, whole = answer(0.4)
    monkeypatch.setattr(fusion, "WHOLE_BYTES", 0)
    monkeypatch.setattr(fusion, "PART_BYTES", 3 * 2 * 9 * 9 * 4)
    found, parts = answer(0.4)
    q, k, v, bias = asked()
    torch.manual_seed(5)
    mixed = torch.cat(
        [
            nn.functional.scaled_dot_product_attention(*(x[i : i + 3] for x in (q, k, v, bias)), dropout_p=0.4)
            for i in range(0, len(q), 3)
        ]
    )
    mixed.square().sum().backward()
    for one, other in zip(found, (mixed, q.grad, k.grad, v.grad), strict=True):
        assert other is not None
        torch.testing.assert_close(one, other.detach(), rtol=0, atol=0)
    assert parts < whole
    again, _ = answer(0.4)
    assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))
    other_draw, _ = answer(0.4, seed=6)
    assert not torch.equal(found[0], other_draw[0])


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_attention_is_whole_where_it_fits_or_drops_nothing(monkeypatch: pytest.MonkeyPatch, rate: float) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed in parts")

    monkeypatch.setattr(fusion, "checkpoint", refuse)
    if rate == 0:
        monkeypatch.setattr(fusion, "WHOLE_BYTES", 0)
    found, _ = answer(rate)
    assert len(found) == 4


def test_a_network_in_training_gives_one_result_in_parts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion, "WHOLE_BYTES", 0)
    monkeypatch.setattr(fusion, "PART_BYTES", 2000)
    grads = []
    for _ in range(2):
        model = network(replace(SMALL, dropout=0.3)).train()
        torch.manual_seed(1)
        model(batch()).logits.square().sum().backward()
        grads.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert len(grads[0]) > 10
    assert all(torch.equal(one, other) for one, other in zip(*grads, strict=True))
