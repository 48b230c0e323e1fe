"""Attention-on-label: its parts by hand, its step against plain torch, and what it learns of planted sources."""

import copy
import dataclasses
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped
from torch.nn import functional

from core.batching import load
from core.cohort.tensors import PackedCohort, pack_cohort
from core.config import TrainConfig, make_config
from core.errors import ConfigError, RunError
from core.fit import Checkpoints, fit
from core.locks import Pairs, lay_on_pairs
from core.methods import attention_on_label, label_attention
from core.methods.attention_on_label import AttentionOnLabel
from core.methods.base import Setting
from core.methods.consensus import DawidSkene, Majority, MeanOfSources
from core.methods.label_attention import AttentionOnLabelConfig
from core.methods.sources import LabelSources
from core.models.miracl import MiraclModel
from core.noise.annotators import AnnotatorConfig, AnnotatorsConfig, simulate_sources

from .tiny_batches import LABELS, NOTES, SERIES, SMALL, batch, shaken
from .tiny_cohort import learnable_cohort

attended, binarised, weights_of = (
    jaxtyped(f, typechecker=beartype)
    for f in (label_attention.attended_label, label_attention.binarised, label_attention.source_weights)
)
meta_features = jaxtyped(attention_on_label.meta_features, typechecker=beartype)
cheap_feedback = jaxtyped(attention_on_label.cheap_feedback, typechecker=beartype)
CPU = torch.device("cpu")


def test_the_attended_label_is_worked_by_hand():
    w = torch.tensor([[[0.5], [0.3], [0.2]]])
    assert attended(w, torch.tensor([[[1.0], [0.0], [1.0]]])).item() == pytest.approx(0.7)
    assert attended(w, torch.tensor([[[1.0], [0.0], [1.0]]]), "mean").item() == pytest.approx(0.7 / 3)


@pytest.mark.parametrize(
    ("mixed", "sharpness", "threshold", "label"),
    [
        (0.5, 50.0, 0.5, 0.5),
        (0.6, 50.0, 0.5, 0.9933071),
        (0.4, 50.0, 0.5, 0.0066929),
        (0.0, 50.0, 0.5, 1.389e-11),
        (1.0, 50.0, 0.5, 1.0),
        (0.1, 50.0, 0.1, 0.5),
        (0.25, 50.0, 0.1, 0.9994472),
    ],
)
def test_the_binarised_label_is_worked_by_hand(mixed: float, sharpness: float, threshold: float, label: float):
    assert binarised(torch.tensor([[mixed]]), sharpness, threshold).item() == pytest.approx(label, rel=1e-3)


def test_the_listings_mean_and_threshold_ask_for_four_tenths_of_four_sources():
    w = torch.full((1, 4, 1), 0.25)
    two = attended(w, torch.tensor([[[1.0], [1.0], [0.0], [0.0]]]), "mean")
    one = attended(w, torch.tensor([[[1.0], [0.0], [0.0], [0.0]]]), "mean")
    assert binarised(two, 50.0, 0.1).item() > 0.7
    assert binarised(one, 50.0, 0.1).item() < 0.3


def test_weights_are_a_softmax_over_the_sources_that_speak_of_the_pair():
    scores = torch.tensor([[[math.log(2.0)], [0.0], [5.0]]])
    available = torch.tensor([[[True, True, False, False], [True, False, True, False], [False, False, True, False]]])
    found = weights_of(scores, available)[0]
    e5 = math.exp(5)
    expected = [[2 / 3, 1, 0, 0], [1 / 3, 0, 1 / (1 + e5), 0], [0, 0, e5 / (1 + e5), 0]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_a_weight_per_label_has_its_own_scores():
    scores = torch.tensor([[[0.0, math.log(3.0)], [0.0, 0.0]]])
    found = weights_of(scores, torch.ones(1, 2, 2, dtype=torch.bool))
    torch.testing.assert_close(found[0], torch.tensor([[0.5, 0.75], [0.5, 0.25]]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_weights_and_label_are_their_formulas_pair_by_pair(seed: int, per_label: bool):
    g = torch.Generator().manual_seed(seed)
    scores = torch.randn(4, 3, 2 if per_label else 1, generator=g)
    available = torch.rand(4, 3, 2, generator=g) < 0.6
    values = (torch.rand(4, 3, 2, generator=g) < 0.5).float()
    w = weights_of(scores, available)
    label = binarised(attended(w, values), 50.0, 0.5)
    for i in range(4):
        for k in range(2):
            speaking = [m for m in range(3) if available[i, m, k]]
            e = {m: math.exp(scores[i, m, k if per_label else 0]) for m in speaking}
            mixed = sum(e[m] / sum(e.values()) * values[i, m, k].item() for m in speaking)
            assert label[i, k].item() == pytest.approx(1 / (1 + math.exp(-50 * (mixed - 0.5))), rel=1e-4, abs=1e-9)
            assert w[i, :, k].sum().item() == pytest.approx(1 if speaking else 0)


def test_no_gradient_is_lost_to_a_pair_that_no_source_speaks_of():
    scores = torch.zeros(1, 2, 1, requires_grad=True)
    available = torch.tensor([[[True, False], [True, False]]])
    values = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    label = binarised(attended(weights_of(scores, available), values), 50.0, 0.5)
    label.sum().backward()
    torch.testing.assert_close(scores.grad, torch.tensor([[[50 / 16], [-50 / 16]]]))  # k·¼·w₁·w₂


def test_the_loss_falls_towards_the_label_by_minus_the_logit():
    z = torch.tensor([[1.5, -2.0]])
    label = torch.tensor([[0.3, 0.9]], requires_grad=True)
    functional.binary_cross_entropy_with_logits(z, label, reduction="sum").backward()
    torch.testing.assert_close(label.grad, -z)


def test_averaging_labels_is_averaging_losses_before_they_are_binarised_and_not_after():
    g = torch.Generator().manual_seed(0)
    z, scores = torch.randn(5, 3, generator=g), torch.randn(5, 2, 1, generator=g)
    values = (torch.rand(5, 2, 3, generator=g) < 0.5).float()
    w = weights_of(scores, torch.ones(5, 2, 3, dtype=torch.bool))
    mixed = attended(w, values)
    each = functional.binary_cross_entropy_with_logits(z.unsqueeze(1).expand(-1, 2, -1), values, reduction="none")
    weighted = (w * each).sum(1)
    torch.testing.assert_close(functional.binary_cross_entropy_with_logits(z, mixed, reduction="none"), weighted)
    sharp = functional.binary_cross_entropy_with_logits(z, binarised(mixed, 50.0, 0.5), reduction="none")
    assert not torch.allclose(sharp, weighted, atol=1e-2)


@pytest.fixture(scope="module")
def network() -> MiraclModel:
    torch.manual_seed(0)
    model = shaken(MiraclModel(SERIES, NOTES, LABELS, SMALL))
    assert isinstance(model, MiraclModel)
    return model


def test_meta_features_are_those_of_the_network_after_one_plain_step_on_each_source(network: MiraclModel):
    stays = batch()
    g = torch.Generator().manual_seed(1)
    values = (torch.rand(6, 3, LABELS, generator=g) < 0.5).float()
    available = torch.rand(6, 3, LABELS, generator=g) < 0.7
    available[:, 2] = False
    network.train()
    torch.manual_seed(3)
    output = network(stays)
    before = {name: p.clone() for name, p in network.state_dict().items()}
    found = meta_features(network, stays, output, values, available, 0.05)
    assert network.training
    assert not found.requires_grad
    for name, p in network.state_dict().items():
        torch.testing.assert_close(p, before[name], rtol=0, atol=0)
    for m in range(3):
        twin = copy.deepcopy(network)
        torch.manual_seed(3)
        logits = twin(stays).logits
        losses = functional.binary_cross_entropy_with_logits(logits, values[:, m], reduction="none")
        loss = losses[available[:, m]].sum() / max(int(available[:, m].sum()), 1)
        loss.backward()
        torch.optim.SGD(twin.parameters(), lr=0.05).step()
        with torch.no_grad():
            torch.testing.assert_close(found[:, m], twin.eval()(stays).features)
    with torch.no_grad():
        torch.testing.assert_close(found[:, 2], copy.deepcopy(network).eval()(stays).features)
    assert not torch.allclose(found[:, 0], found[:, 1], atol=1e-4)


def test_cheap_feedback_is_features_and_each_sources_gradient_by_the_logits(network: MiraclModel):
    output = network.eval()(batch())
    values = torch.ones(6, 2, LABELS)
    values[:, 1] = 0
    available = torch.ones(6, 2, LABELS, dtype=torch.bool)
    available[0, 1, 2] = False
    found = cheap_feedback(output, values, available)
    p, width = output.logits.sigmoid().detach(), output.features.shape[1]
    torch.testing.assert_close(found[:, :width], output.features.detach())
    torch.testing.assert_close(found[:, width : width + LABELS], p - 1)
    expected = p.clone()
    expected[0, 2] = 0
    torch.testing.assert_close(found[:, width + LABELS :], expected)
    assert not found.requires_grad


def options(name: str, **overrides: Any) -> TrainConfig:
    small = {
        "method.name": name, "model.hidden": 16, "model.ffn": 16, "model.fusion_layers": 1, "model.experts": 4,
        "optim.epochs": 3, "optim.warm_up": 1, "optim.batch": 16, "optim.learning_rate": 5e-3,
    }  # fmt: skip
    return make_config("miracl", "compact", **{**small, **overrides})


ATTENTION = "method.attention_on_label."


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedCohort:
    cohort = learnable_cohort(tmp_path_factory.mktemp("sources") / "cohort", 160)
    return pack_cohort(cohort, options("bce").tensors, None)


def recorded(packed: PackedCohort, sources: LabelSources) -> tuple[PackedCohort, Pairs]:
    """The cohort with the first source's word as its record."""
    noisy = dataclasses.replace(packed, observed=sources.values[0].astype(np.uint8), stated=sources.available[0])
    return noisy, lay_on_pairs(noisy, None)


def simulated(packed: PackedCohort, *annotators: AnnotatorConfig, seed: int = 7) -> LabelSources:
    member = lay_on_pairs(packed, None).member
    return simulate_sources(packed.observed, member, AnnotatorsConfig(annotators), np.random.default_rng(seed))


GOOD = AnnotatorConfig("flips", 0.05, false_alarms=0.02, name="good")
NOISE = AnnotatorConfig("flips", 0.5, false_alarms=0.5, name="noise")
NOISE_TOO = AnnotatorConfig("flips", 0.5, false_alarms=0.5, name="noise too")


@pytest.mark.parametrize("name", ["attention_on_label", "majority", "mean_of_sources", "dawid_skene"])
def test_with_one_source_every_method_is_bce(packed: PackedCohort, name: str):
    noisy, pairs = recorded(packed, simulated(packed, NOISE))
    plain = fit(noisy, pairs, options("bce"), seed=4, place=CPU)
    for sources in (None, LabelSources.single(noisy.observed, noisy.stated)):
        found = fit(noisy, pairs, options(name), seed=4, place=CPU, sources=sources)
        assert plain is not None
        assert found is not None
        np.testing.assert_allclose(found.probability, plain.probability, rtol=0, atol=2e-6)
        assert [row["loss_total"] for row in found.rows] == pytest.approx([row["loss_total"] for row in plain.rows])
        np.testing.assert_allclose(found.corrected, pairs.base, atol=1e-6)


def method_of(name: str, packed: PackedCohort, pairs: Pairs, sources: LabelSources | None, **overrides: Any) -> Any:
    made = {
        "attention_on_label": AttentionOnLabel, "majority": Majority, "mean_of_sources": MeanOfSources,
        "dawid_skene": DawidSkene,
    }[name]  # fmt: skip
    return made(Setting(options(name, **overrides), packed, pairs, CPU, 4, sources))


@pytest.mark.parametrize("mode", ["full", "cheap"])
@pytest.mark.parametrize("scope", ["stay", "stay_label"])
def test_a_step_moves_the_attention_by_its_rate_times_the_gradient_through_the_label(packed, mode: str, scope: str):
    sources = simulated(packed, GOOD, NOISE, dataclasses.replace(NOISE_TOO, coverage=0.5))
    noisy, pairs = recorded(packed, sources)
    changed = {f"{ATTENTION}mode": mode, f"{ATTENTION}weight_scope": scope, f"{ATTENTION}attention_rate": 0.7}
    method = method_of("attention_on_label", noisy, pairs, sources, **changed)
    torch.manual_seed(0)
    model = method.network()
    model.train()
    stays = next(load(noisy, [np.flatnonzero(pairs.training)[:16]], CPU))
    torch.manual_seed(1)
    output = copy.deepcopy(model)(stays)
    rows, z = stays.rows, output.logits
    values = torch.from_numpy(sources.values).swapaxes(0, 1)[rows]
    available = torch.from_numpy(sources.available).swapaxes(0, 1)[rows]

    torch.manual_seed(1)
    _, terms = method.step(model, method.optimiser(model), stays)
    assert method.share[rows].sum(1).allclose(available.any(1).float())

    twin = method_of("attention_on_label", noisy, pairs, sources, **changed)
    torch.manual_seed(0)
    fresh = twin.network()
    fresh.train()
    torch.manual_seed(1)
    forward = fresh(stays)
    if mode == "full":
        feedback = meta_features(fresh, stays, forward, values, available, 0.01).flatten(1)
    else:
        feedback = cheap_feedback(forward, values, available)
    w, b = twin.first(3 * (5 if scope == "stay_label" else 1), feedback)
    scores = (feedback @ w.T + b).reshape(16, 3, -1)
    mixed = torch.zeros(16, 5)
    for m in range(3):
        e = [scores[:, k].exp() * available[:, k] for k in range(3)]
        mixed = mixed + e[m] / sum(e) * values[:, m]
    label = 1 / (1 + (-50 * (mixed - 0.5)).exp())
    loss = functional.binary_cross_entropy_with_logits(z.detach(), label)
    torch.testing.assert_close(terms[1], loss.detach(), rtol=1e-4, atol=1e-5)
    loss.backward()
    torch.testing.assert_close(method.weight, (w - 0.7 * w.grad).detach(), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(method.bias, (b - 0.7 * b.grad).detach(), rtol=1e-3, atol=1e-5)


def test_pairs_of_which_no_source_speaks_are_not_trained_on(packed: PackedCohort):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, (2, *packed.observed.shape)).astype(np.float32)
    available = rng.random(values.shape) < 0.5
    sources = LabelSources(values, available, ("a", "b"))
    pairs = lay_on_pairs(packed, None)
    stays = next(load(packed, [np.flatnonzero(pairs.training)[:16]], CPU))
    rows = stays.rows.numpy()
    for name in ("attention_on_label", "majority", "mean_of_sources", "dawid_skene"):
        method = method_of(name, packed, pairs, sources)
        np.testing.assert_array_equal(method.stated.numpy(), available.any(0))
        model = method.network().eval()
        output = model(stays)
        output.logits.retain_grad()
        method.pair_loss(output, stays).backward()
        assert output.logits.grad is not None
        np.testing.assert_array_equal(output.logits.grad.numpy()[~available.any(0)[rows]], 0)
        np.testing.assert_array_equal(method.corrected[~available.any(0)], pairs.base[~available.any(0)])


def test_decided_pairs_are_trained_on_as_decided(packed: PackedCohort):
    plain = lay_on_pairs(packed, None)
    row = int(np.flatnonzero(plain.training)[0])
    said = int(packed.observed[row, 1])
    locks = pa.table(
        {
            "stay_id": [int(packed.stay_ids[row])] * 2,
            "label_key": [packed.label_keys[1], packed.label_keys[2]],
            "value": pa.array([1.0 - said, 0.7], pa.float32()),
            "locked": [True, False],
        }
    )
    pairs = lay_on_pairs(packed, locks)
    sources = LabelSources(np.stack([packed.observed] * 2), np.stack([packed.stated] * 2), ("a", "b"))
    stays = next(load(packed, [np.array([row, row + 1])], CPU))
    for name in ("attention_on_label", "majority", "mean_of_sources", "dawid_skene"):
        method = method_of(name, packed, pairs, sources)
        if isinstance(method, AttentionOnLabel):
            model = method.network()
            model.train()
            method.step(model, method.optimiser(model), stays)
            method.hand_out()
            assert method.label[row, 1] == 1 - said
            assert method.label[row, 2] == pytest.approx(0.7)
        else:
            assert method.base[row, 1] == 1 - said
        assert method.corrected[row, 1] == 1 - said
        assert method.corrected[row, 2] == pytest.approx(0.7)


def test_sources_of_another_cohort_are_refused(packed: PackedCohort):
    with pytest.raises(RunError, match="label sources of the run's 160×5 pairs"):
        method_of("majority", packed, lay_on_pairs(packed, None), LabelSources.single(np.ones((3, 5)), np.ones((3, 5))))


@pytest.mark.parametrize("mode", ["full", "cheap"])
def test_a_good_source_is_told_from_one_that_is_noise(packed: PackedCohort, mode: str):
    noisy, pairs = recorded(packed, sources := simulated(packed, NOISE, GOOD))
    planted = {"optim.epochs": 8, f"{ATTENTION}attention_rate": 0.03, f"{ATTENTION}start": 0.0}
    config = options("attention_on_label", **planted, **{f"{ATTENTION}mode": mode})
    found = fit(noisy, pairs, config, seed=2, place=CPU, sources=sources)
    assert found is not None
    method = found.method
    assert isinstance(method, AttentionOnLabel)
    assert method.reliability.shape == (2, 5)
    assert method.weights.shape == sources.values.shape
    np.testing.assert_allclose(method.reliability.sum(0), 1, atol=1e-5)
    assert (method.reliability[1] > 0.55).all()
    right = (np.round(found.corrected) == packed.observed)[pairs.member].mean()
    voted = method_of("majority", noisy, pairs, sources)  # with two sources, the first one's word
    assert right > 0.9 > (voted.corrected == packed.observed)[pairs.member].mean() + 0.3
    assert method.counts["noisy"] > 0.3 * pairs.member.sum()


def test_weights_per_label_find_which_source_to_believe_on_which_label(packed: PackedCohort):
    alternating = (
        AnnotatorConfig("flips", 0.5, false_alarms=0.5, weak="even", name="odd is good"),
        AnnotatorConfig("flips", 0.5, false_alarms=0.5, weak="odd", name="even is good"),
    )
    noisy, pairs = recorded(packed, sources := simulated(packed, *alternating))
    planted = {"optim.epochs": 8, f"{ATTENTION}attention_rate": 0.15, f"{ATTENTION}start": 0.0}
    config = options("attention_on_label", **planted, **{f"{ATTENTION}weight_scope": "stay_label"})
    found = fit(noisy, pairs, config, seed=1, place=CPU, sources=sources)
    assert found is not None
    assert isinstance(found.method, AttentionOnLabel)
    believed = found.method.reliability[0]
    assert believed[1::2].mean() > 0.5 > believed[::2].mean()


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(packed: PackedCohort, tmp_path):
    noisy, pairs = recorded(packed, sources := simulated(packed, GOOD, NOISE))
    config = options("attention_on_label")
    whole = fit(noisy, pairs, config, seed=2, place=CPU, sources=sources)
    asked, kept = 0, Checkpoints(tmp_path, "run")

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 14  # in the second epoch

    arguments: dict[str, Any] = {"seed": 2, "place": CPU, "sources": sources, "checkpoints": kept}
    assert fit(noisy, pairs, config, should_stop=stop, **arguments) is None
    resumed = fit(noisy, pairs, config, **arguments)
    assert whole is not None
    assert resumed is not None
    np.testing.assert_array_equal(resumed.probability, whole.probability)
    np.testing.assert_array_equal(resumed.corrected, whole.corrected)
    assert isinstance(resumed.method, AttentionOnLabel)
    assert isinstance(whole.method, AttentionOnLabel)
    np.testing.assert_array_equal(resumed.method.weights, whole.method.weights)
    again = method_of("attention_on_label", noisy, pairs, sources)
    again.restore(whole.method.state())
    np.testing.assert_array_equal(again.corrected, whole.corrected)


def test_the_controls_train_on_their_consensus_and_say_how_often_the_record_is_wrong(packed: PackedCohort):
    noisy, pairs = recorded(
        packed, sources := simulated(packed, NOISE, GOOD, dataclasses.replace(GOOD, name="good too"))
    )
    truth, member = packed.observed, pairs.member
    mean = method_of("mean_of_sources", noisy, pairs, sources)
    np.testing.assert_allclose(mean.base.numpy()[member], sources.values.mean(0)[member], atol=1e-6)
    majority = method_of("majority", noisy, pairs, sources)
    voted = (sources.values.sum(0) > 1.5).astype(np.float32)
    np.testing.assert_array_equal(majority.base.numpy()[member], voted[member])
    assert majority.counts["noisy"] == (voted != noisy.observed)[member].sum()
    assert majority.error_probability is None
    skene = method_of("dawid_skene", noisy, pairs, sources)
    assert skene.error_probability is not None
    expected = np.abs(skene.corrected - noisy.observed)[member]
    np.testing.assert_allclose(skene.error_probability[member], expected, atol=1e-6)
    assert (skene.error_probability[~member] == 0).all()
    flipped = (noisy.observed != truth)[member]
    assert skene.error_probability[member][flipped].mean() > 0.8
    assert skene.error_probability[member][~flipped].mean() < 0.2


@pytest.mark.parametrize("ties", ["first", "half", "negative"])
def test_a_tie_between_two_sources_falls_as_the_options_say(packed: PackedCohort, ties: str):
    noisy, pairs = recorded(packed, sources := simulated(packed, NOISE, GOOD))
    found = method_of("majority", noisy, pairs, sources, **{"method.consensus.ties": ties}).base.numpy()
    tied = pairs.member & (sources.values[0] != sources.values[1])
    expected = {"first": sources.values[0][tied], "half": 0.5, "negative": 0}[ties]
    np.testing.assert_array_equal(found[tied], np.broadcast_to(expected, tied.sum()))


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="weight_scope"):
        AttentionOnLabelConfig(weight_scope="label")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="meta_rate"):
        AttentionOnLabelConfig(meta_rate=-1)
