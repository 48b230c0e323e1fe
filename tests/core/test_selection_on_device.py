"""Selection and correction in tensors say what numpy says: same partitions, figures and labels within 1e-6."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.cohort.tensors import PackedCohort, pack_cohort
from core.config import make_config
from core.correction.cooccurrence import FilterConfig, cooccurrence, negative_filter
from core.correction.on_device import (
    Correctable,
    cooccurrence_placed,
    corrected_placed,
    negative_filter_placed,
    predicted_placed,
)
from core.correction.relabel import CorrectionConfig, corrected_labels, predicted_labels
from core.errors import ConfigError, RunError
from core.execution import Execution
from core.fit import Fitted, fit
from core.locks import Pairs, lay_on_pairs
from core.selecting import eligible_pairs, eligible_placed
from core.selection.difficulty import SelectionConfig, rank_within_stay
from core.selection.dynamics import VARIANTS, LearningDynamics, correct_predictions
from core.selection.groups import Weighted, normalise_groups, ranges_of, weigh_groups
from core.selection.mixture import MixtureConfig, fit_weighted
from core.selection.mixture_on_device import Ranged, Table, fit_placed, starting_table, weigh_placed
from core.selection.on_device import PlacedDynamics, PlacedPairs, rank_placed, select_placed
from core.selection.partition import LOCKED, PARTITIONS, Selection, select

from .naive.planted import Planted, planted
from .test_mixture import library, two_bumps
from .tiny_cohort import learnable_cohort

CPU = torch.device("cpu")
PLACES = [CPU, *([torch.device("cuda")] if torch.cuda.is_available() else [])]
FIGURES = ("mean_clean", "mean_noisy", "sd_clean", "sd_noisy", "weight_clean", "weight_noisy", "score_min", "score_max")
SCORES = {
    "miracl": SelectionConfig(),
    "released": SelectionConfig.preset("released"),
    "paper": SelectionConfig.preset("paper"),
    "loss": SelectionConfig(metric="loss"),
    "positives": SelectionConfig(rank_mode="pos_only", variant="total_seg", alpha=0.3),
    "global": SelectionConfig(scale="global", variant="mean_seg", dynamics_lag=1),
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tensor(array: np.ndarray, place: torch.device = CPU) -> torch.Tensor:
    return torch.from_numpy(np.array(array)).to(place)


def both(
    data: Planted,
    config: SelectionConfig,
    mixture: MixtureConfig,
    locked: np.ndarray,
    place: torch.device,
    **options: Any,
) -> tuple[Selection, Selection]:
    """One selection after all epochs, on the host and in tensors."""
    host = LearningDynamics(data.observed.shape, config.dynamics_lag)
    there = PlacedDynamics(PlacedPairs.of(data.observed, data.member, locked, place), config.dynamics_lag)
    for p in data.probability:
        host.update(correct_predictions(p, data.observed))
        there.update(tensor(p, place))
    last = data.probability[-1]
    said = select(last, data.observed, data.member, host, config, mixture, locked=locked, **options)
    if "eligible" in options:
        options["eligible"] = tensor(options["eligible"], place)
    placed = select_placed(tensor(last, place), there, config, mixture, **options)
    assert placed.counts() == said.counts(data.member)
    return said, placed.on_host(mixture)


def same(one: Selection, other: Selection) -> None:
    np.testing.assert_array_equal(one.rank, other.rank)
    np.testing.assert_array_equal(one.difficulty, other.difficulty)
    np.testing.assert_array_equal(one.partition, other.partition)
    np.testing.assert_allclose(one.score, other.score, rtol=0, atol=1e-6)
    np.testing.assert_allclose(one.uncertainty, other.uncertainty, rtol=0, atol=1e-6)
    for name in ("n", "degenerate", "reason", "iterations"):
        np.testing.assert_array_equal(getattr(one.mixtures, name), getattr(other.mixtures, name), err_msg=name)
    for name in FIGURES:
        np.testing.assert_allclose(
            getattr(one.mixtures, name), getattr(other.mixtures, name), rtol=1e-6, atol=1e-6, err_msg=name
        )
    assert one.alpha == other.alpha
    for name in ("rank", "difficulty", "score", "uncertainty", "partition"):
        assert getattr(one, name).dtype == getattr(other, name).dtype, name


def drawn(seed: int, stays: int, labels: int, epochs: int, levels: int | None) -> tuple[Planted, np.ndarray]:
    """Pairs of which some are not stated, some decided, one label has no positives and one no negatives."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.05, 0.7, labels)
    share[: labels // 3] = rng.integers(0, 2)
    observed = (rng.random((stays, labels)) < share).astype(np.uint8)
    lean = 1.5 * (2.0 * observed - 1) * (rng.random(observed.shape) < 0.8)
    p = 1 / (1 + np.exp(-lean - rng.normal(0, 1.2, (epochs, *observed.shape))))
    if levels is not None:
        p = np.round(p * levels) / levels  # ties in rank, probabilities of exactly one half, identical scores
    locked = rng.random(observed.shape) < 0.05
    member = (rng.random(observed.shape) < 0.85) & ~locked
    return Planted(observed, observed, p.astype(np.float32), member), locked


def cuts_tie(groups: list[Weighted]) -> bool:
    """Whether the best cut of a group into two clusters is no better than another, so that rounding decides."""
    for group in groups:
        n, s = np.cumsum(group.counts), np.cumsum(group.counts * group.values)
        if len(n) > 2:
            between = np.sort((s[:-1] * n[-1] - n[:-1] * s[-1]) ** 2 / (n[:-1] * (n[-1] - n[:-1])))
            if between[-1] - between[-2] <= 1e-9 * between[-1]:
                return True
    return False


@given(
    seed=st.integers(0, 10_000),
    stays=st.integers(3, 150),
    labels=st.integers(1, 7),
    epochs=st.integers(1, 6),
    levels=st.sampled_from([None, 4, 20]),
    score=st.sampled_from(sorted(SCORES)),
    gate=st.sampled_from(["off", "bic", "ashman"]),
    source=st.sampled_from(["means", "posterior"]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_selection_in_tensors_is_the_hosts(seed, stays, labels, epochs, levels, score, gate, source):
    data, locked = drawn(seed, stays, labels, epochs, levels)
    eligible = (np.random.default_rng(seed + 1).random(data.observed.shape) < 0.7) | (data.observed == 1)
    before = bool(seed % 2)
    same(
        *both(
            data, SCORES[score], MixtureConfig(gate=gate), locked, CPU,
            eligible=eligible, fit_on_eligible=before, uncertainty_source=source, alpha=0.4,
        )
    )  # fmt: skip


@pytest.mark.parametrize("place", PLACES, ids=str)
@pytest.mark.parametrize("score", sorted(SCORES))
@pytest.mark.parametrize("init", ["quantile", "two_means"])
def test_on_planted_noise_every_score_and_start_gives_the_hosts_selection(place, score, init):
    data = planted(stays=600, labels=6)
    locked = np.random.default_rng(2).random(data.observed.shape) < 0.03
    data = replace(data, member=data.member & ~locked)
    mixture = MixtureConfig(init=init, variance_floor=1e-6, tolerance=1e-6)
    said, placed = both(data, SCORES[score], mixture, locked, place)
    same(said, placed)
    assert (placed.partition[locked] == LOCKED).all()
    assert len(np.unique(placed.partition)) == 4
    assert placed.mixtures.iterations.max() > 8  # beyond the first look at who has converged


@given(seed=st.integers(0, 10_000), levels=st.integers(5, 60))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_groups_of_any_size_are_weighed_and_fitted_as_on_the_host(seed, levels):
    rng = np.random.default_rng(seed)
    raw = np.stack([two_bumps(seed + k, n=200, levels=levels) for k in range(4)], 1).astype(np.float32)
    raw[:, 3] = 0.5  # all the same
    observed = (rng.random(raw.shape) < [0.4, 0.02, 0.0, 0.5]).astype(np.uint8)  # few positives, then none
    member = rng.random(raw.shape) < 0.9
    groups = weigh_groups(raw, observed, member)
    table = weigh_placed(tensor(raw), tensor(observed == 1), tensor(member))
    for group, values, counts in zip(groups, table.values, table.counts, strict=True):
        there = counts > 0
        np.testing.assert_array_equal(values[there].numpy(), group.values)
        np.testing.assert_array_equal(counts[there].numpy(), group.counts)
        assert not values[~there].any()
    config = MixtureConfig(init="two_means" if seed % 2 else "quantile", max_iterations=5 + seed % 60)
    ranges, ranged = ranges_of(groups), Ranged.of(table, 1e-6)
    scaled = normalise_groups(groups, ranges, 1e-6)
    assume(seed % 2 == 0 or not cuts_tie(scaled))
    said, placed = fit_weighted(scaled, ranges, config), fit_placed(ranged.normalised(table), ranged, config)
    found = placed.on_host(config)
    for name in ("n", "degenerate", "reason", "iterations"):
        np.testing.assert_array_equal(getattr(said, name), getattr(found, name), err_msg=name)
    for name in FIGURES:
        np.testing.assert_allclose(getattr(said, name), getattr(found, name), rtol=0, atol=1e-9, err_msg=name)
    assert placed.figures.dtype == torch.float64


def test_a_fit_in_tensors_equals_scikit_learns_from_the_same_start():
    config = MixtureConfig(max_iterations=500)
    samples = [two_bumps(k, n=100 + 150 * k, levels=None) for k in range(3)]
    width = max(map(len, samples))
    values, counts = (np.zeros((4, width)) for _ in range(2))
    for row, x in enumerate(samples):
        values[row, : len(x)], counts[row, : len(x)] = np.sort(x), 1
    table = Table(tensor(values), tensor(counts))  # the last group is empty
    mean, variance, weight = (part.numpy() for part in starting_table(table, config))
    found = fit_placed(table, Ranged.of(table, 1e-6), config)
    assert found.code.tolist() == [0, 0, 0, 1]
    for k, x in enumerate(samples):
        model = library(x, mean[:, k], variance[:, k], weight[:, k], config)
        order = np.argsort(model.means_.ravel())
        said = (model.means_.ravel(), np.sqrt(model.covariances_.ravel()), model.weights_)
        for at, figure in enumerate(said):
            np.testing.assert_allclose(found.figures[2 * at : 2 * at + 2, k].numpy(), figure[order], rtol=0, atol=1e-6)
        assert found.iterations[k] == model.n_iter_


@pytest.mark.parametrize(
    ("scores", "config"),
    [
        (np.linspace(0, 1, 9), MixtureConfig()),
        (np.full(50, 0.5), MixtureConfig()),
        (np.full(50, 0.5) + np.linspace(0, 2e-7, 50), MixtureConfig()),
        (np.concatenate([np.linspace(0, 0.01, 2000), [1.0]]), MixtureConfig()),
        (np.random.default_rng(0).normal(size=900), MixtureConfig(min_separation=0.9)),
        (np.random.default_rng(0).normal(size=900), MixtureConfig(gate="bic")),
        (np.random.default_rng(0).normal(size=900), MixtureConfig(gate="ashman")),
    ],
)
def test_a_group_that_is_left_alone_says_why_in_the_hosts_words(scores, config):
    raw = scores.astype(np.float32)[:, None]
    every = np.ones(raw.shape, np.bool_)
    groups, table = (
        weigh_groups(raw, every.astype(np.uint8), every),
        weigh_placed(tensor(raw), *map(tensor, (every, every))),
    )
    ranges, ranged = ranges_of(groups), Ranged.of(table, 1e-6)
    said = fit_weighted(normalise_groups(groups, ranges, 1e-6), ranges, config).reason.tolist()
    assert said[0][1] is not None
    assert fit_placed(ranged.normalised(table), ranged, config).on_host(config).reason.tolist() == said


def test_a_group_whose_scores_are_all_the_same_once_it_is_filtered_is_left_alone():
    raw = np.repeat(np.float32([0, 1]), 20)[:, None]
    positive, member = torch.ones(raw.shape, dtype=torch.bool), tensor(raw == 0)
    ranged = Ranged.of(weigh_placed(tensor(raw), positive, positive), 1e-6)
    found = fit_placed(ranged.normalised(weigh_placed(tensor(raw), positive, member)), ranged, MixtureConfig())
    assert found.on_host(MixtureConfig()).reason[0, 1] == "all scores the same"


def test_scores_that_are_not_finite_are_said_so():
    raw = two_bumps(1, n=60).astype(np.float32)[:, None].repeat(2, 1)
    raw[3, 0] = np.nan
    positive = torch.ones(raw.shape, dtype=torch.bool)
    table = weigh_placed(tensor(raw), positive, positive)
    ranged = Ranged.of(table, 1e-6)
    found = fit_placed(ranged.normalised(table), ranged, MixtureConfig()).on_host(MixtureConfig())
    assert found.reason.tolist() == [
        ["fewer than 10 pairs", "scores that are not finite"], ["fewer than 10 pairs", None]
    ]  # fmt: skip


def test_rank_ties_go_to_the_lower_label_and_what_is_not_finite_is_refused():
    p = np.random.default_rng(0).integers(0, 4, (300, 70)).astype(np.float32) / 4
    np.testing.assert_array_equal(rank_placed(tensor(p)).numpy(), rank_within_stay(p))
    np.testing.assert_array_equal(rank_placed(tensor(p[:, :9])).numpy(), rank_within_stay(p[:, :9]))
    p[7, 3] = np.nan
    with pytest.raises(RunError, match="finite probabilities"):
        rank_placed(tensor(p))


@pytest.mark.parametrize("lag", [0, 1])
def test_counters_in_tensors_are_the_hosts_and_either_goes_on_from_the_others_checkpoint(lag):
    data, locked = drawn(3, 40, 5, 9, 20)
    limit = np.linspace(0.2, 0.8, 5).astype(np.float32)
    pairs = PlacedPairs.of(data.observed, data.member, locked, CPU)
    host, there = LearningDynamics(data.observed.shape, lag), PlacedDynamics(pairs, lag)
    for p in data.probability:
        host.update(correct_predictions(p, data.observed, limit))
        there.update(tensor(p), tensor(limit))
        for variant in VARIANTS:
            np.testing.assert_array_equal(there.difficulty(variant).numpy(), host.difficulty(variant))
        for name, value in host.state_dict().items():
            np.testing.assert_array_equal(there.state_dict()[name], value, err_msg=name)
            assert there.state_dict()[name].dtype == value.dtype
        resumed = PlacedDynamics(pairs, lag)
        resumed.load_state_dict(host.state_dict())
        host.load_state_dict(there.state_dict())
        there = resumed
    with pytest.raises(RunError, match="resume with the cohort"):
        there.load_state_dict(LearningDynamics((41, 5), lag).state_dict())


@pytest.mark.parametrize("config", [CorrectionConfig.preset(name) for name in ("miracl", "paper", "released")], ids=str)
@pytest.mark.parametrize("cumulative", [False, True])
def test_correction_in_tensors_is_the_hosts(config, cumulative):
    config, rng = replace(config, cumulative=cumulative), np.random.default_rng(5)
    shape = (200, 4)
    p = rng.random((3, *shape), dtype=np.float32)
    has = rng.random((2, shape[0])) < 0.6
    if config.renormalise:
        for head, present in zip(p[1:], has, strict=True):
            head[~present] = np.nan
    observed = rng.integers(0, 2, shape).astype(np.uint8)
    base = np.where(rng.random(shape) < 0.1, np.float32(0.5), observed).astype(np.float32)
    member, eligible, still = (rng.random(shape) < share for share in (0.8, 0.6, 0.2))
    grade, previous = (rng.random(shape, dtype=np.float32) for _ in range(2))
    predicted = predicted_labels(*p, *has, config)
    said = corrected_labels(base, predicted, grade, observed, eligible, member, config=config, previous=previous)
    given = Correctable(*map(tensor, (base, member, member & (eligible | (observed == 1)), still, *has)))
    there = predicted_placed(tensor(p), given, config)
    np.testing.assert_allclose(there.numpy(), predicted, rtol=0, atol=1e-6)
    options: dict[str, Any] = {"config": config, "previous": tensor(previous)}
    corrected = corrected_placed(given, there, tensor(grade), **options)
    np.testing.assert_allclose(corrected.numpy(), np.where(still, base, said), rtol=0, atol=1e-6)
    anywhere = corrected_placed(replace(given, still=None), there, tensor(grade), **options)
    np.testing.assert_allclose(anywhere.numpy(), said, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "config", [FilterConfig(), FilterConfig(tau=0.3), FilterConfig("per_label_quantile", 0.0, 0.37)]
)
def test_the_filter_in_tensors_is_the_hosts(config):
    data, locked = drawn(11, 150, 6, 1, None)
    stated = data.member | locked
    member = data.member & (
        np.random.default_rng(1).random(stated.shape) < 0.2
    )  # others lie between two of its negatives
    said = cooccurrence(data.observed, stated)
    C = cooccurrence_placed(tensor(data.observed == 1), tensor(stated))
    np.testing.assert_array_equal(C.numpy(), said)
    passing = negative_filter_placed(*map(tensor, (data.observed == 1, stated, member)), C, config)
    np.testing.assert_array_equal(passing.numpy(), negative_filter(data.observed, stated, member, said, config))
    assert config == FilterConfig() or not passing.all()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PackedCohort:
    folder: Path = tmp_path_factory.mktemp("selection")
    return pack_cohort(learnable_cohort(folder / "cohort", n_stays=150), quick("miracl").tensors, folder / "cache")


def quick(preset: str, **more: Any) -> Any:
    sizes = {"optim.epochs": 5, "optim.warm_up": 2, "model.hidden": 16, "model.ffn": 32, "tensors.notes.dim": 8}
    leave = {"correction.leave_alone": False}  # whatever the peer makes of 150 stays
    return make_config(preset, "compact", **{**sizes, **leave, **more})


def decided(packed: PackedCohort) -> Pairs:
    """Ten pairs that people decided, against the record, and two they were unsure of."""
    stated = np.argwhere(np.asarray(packed.stated) & ~np.asarray(packed.is_test)[:, None])[::17][:12]
    record = np.asarray(packed.observed)[stated[:, 0], stated[:, 1]]
    table = {
        "stay_id": np.asarray(packed.stay_ids)[stated[:, 0]],
        "label_key": [packed.label_keys[k] for k in stated[:, 1]],
        "value": np.where(np.arange(12) < 10, 1 - record, 0.5).astype(np.float32),
        "locked": np.arange(12) < 10,
    }
    return lay_on_pairs(packed, pa.table(table))


@pytest.mark.parametrize(
    ("preset", "more"),
    [
        ("miracl", {}),
        ("miracl", {"correction.leave_alone": True, "peer.folds": 2}),
        ("paper", {"filter.place": "before_fit", "filter.tau": 0.3, "correction.uncertainty_source": "posterior"}),
        ("released", {"correction.cumulative": True, "selection.correct_threshold": "label_prevalence"}),
        ("bce", {}),
    ],
)
def test_a_run_that_selects_in_tensors_is_the_run_that_selects_on_the_host(packed, preset, more, monkeypatch):
    found = np.arange(10).reshape(5, 2) % 3 == 0  # the groups in which noise is found, of which the peer knows nothing
    monkeypatch.setattr("core.methods.miracl.noisy_groups", lambda rates: found)
    pairs, config, made = decided(packed), quick(preset, **more), list[Fitted]()
    for where in ("host", "device"):
        fitted = fit(packed, pairs, config, seed=3, place=CPU, execution=Execution(selection=where))  # type: ignore[arg-type]
        assert fitted is not None
        made.append(fitted)
    host, there = made
    same(host.selection, there.selection)
    np.testing.assert_array_equal(host.eligible, there.eligible)
    np.testing.assert_allclose(host.corrected, there.corrected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(host.probability, there.probability, rtol=0, atol=1e-6)
    counts = [f"n_{name}" for name in PARTITIONS]
    assert [[row[name] for name in counts] for row in host.rows] == [
        [row[name] for name in counts] for row in there.rows
    ]
    moved = there.corrected != pairs.base
    assert moved.any() == (preset != "bce")
    if config.correction.leave_alone:
        assert not moved[~found[np.arange(5), pairs.observed]].any()
    assert (there.corrected[pairs.locked] == pairs.base[pairs.locked]).all()
    np.testing.assert_array_equal(eligible_placed(pairs, config, CPU).numpy(), eligible_pairs(pairs, config))


def test_the_cpu_selects_on_the_host_unless_told_otherwise():
    assert not Execution().selects_on_device(CPU)
    assert Execution().selects_on_device(torch.device("cuda"))
    assert Execution(selection="device").selects_on_device(CPU)
    assert not Execution(selection="host").selects_on_device(torch.device("cuda"))
    with pytest.raises(ConfigError, match="selection"):
        Execution(selection="somewhere")  # type: ignore[arg-type]
