"""Partition, uncertainty, and one epoch's whole selection on planted noise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError
from core.metrics.audit import detection
from core.selection.difficulty import SelectionConfig
from core.selection.dynamics import LearningDynamics, correct_predictions
from core.selection.groups import fit_ranges, normalise
from core.selection.mixture import MixtureConfig, Mixtures, fit_mixtures
from core.selection.partition import (
    CLEAN,
    LOCKED,
    NOISY,
    PARTITIONS,
    UNCERTAIN,
    Selection,
    partition,
    select,
    uncertainty,
)
from tests.core.naive import selection as naive
from tests.core.naive.planted import Planted, planted


def mixtures_of(clean, noisy, degenerate=None) -> Mixtures:
    clean, noisy = np.asarray(clean, float), np.asarray(noisy, float)
    shape = clean.shape
    half, sd = np.full(shape, 0.5), np.full(shape, 0.1)
    bad = np.zeros(shape, bool) if degenerate is None else np.asarray(degenerate)
    reason = np.where(bad, "all scores the same", None)
    n, zero, one = np.full(shape, 50), np.zeros(shape), np.ones(shape)
    return Mixtures(n, clean, noisy, sd, sd, half, half, zero, one, bad, reason, n.astype(np.int32))


SIMPLE = mixtures_of([[0.2, 0.3]], [[0.6, 0.8]])


def test_the_hand_worked_partition_and_uncertainty():
    score = np.array([[0.1], [0.2], [0.4], [0.6], [0.9], [0.3], [0.55], [0.8]], np.float32)
    observed = np.array([[0], [0], [0], [0], [0], [1], [1], [1]], np.uint8)
    code = partition(score, observed, SIMPLE)
    assert [PARTITIONS[c] for c in code.ravel()] == [
        "clean", "clean", "uncertain", "noisy", "noisy", "clean", "uncertain", "noisy",
    ]  # fmt: skip
    U = uncertainty(score, observed, SIMPLE)
    np.testing.assert_allclose(U.ravel(), [0, 0, 0.5, 1, 1, 0, 0.5, 1], atol=1e-5)
    assert U.dtype == np.float32


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_partition_and_uncertainty_equal_their_plain_restatement(seed):
    rng = np.random.default_rng(seed)
    clean = rng.uniform(0, 0.5, (4, 2))
    mixtures = mixtures_of(clean, clean + rng.uniform(0.05, 0.5, (4, 2)))
    score = rng.random((9, 4), dtype=np.float32)
    observed = rng.integers(0, 2, (9, 4)).astype(np.uint8)
    code, U = partition(score, observed, mixtures), uncertainty(score, observed, mixtures)
    for (i, label), z in np.ndenumerate(score):
        c = observed[i, label]
        name, grade = naive.grade(float(z), mixtures.mean_clean[label, c], mixtures.mean_noisy[label, c])
        assert PARTITIONS[code[i, label]] == name
        assert U[i, label] == pytest.approx(grade, abs=2e-5)


@given(seed=st.integers(0, 10_000), source=st.sampled_from(["means", "posterior"]))
@settings(max_examples=20, deadline=None)
def test_uncertainty_is_zero_on_clean_and_one_on_noisy_pairs_whatever_its_source(seed, source):
    rng = np.random.default_rng(seed)
    score = np.concatenate([rng.random((40, 1)), [[0.2], [0.6]]]).astype(np.float32)
    observed = np.zeros(score.shape, np.uint8)
    code, U = partition(score, observed, SIMPLE), uncertainty(score, observed, SIMPLE, source)
    assert (U[code == CLEAN] == 0).all()
    assert (U[code == NOISY] == 1).all()
    assert ((U >= 0) & (U <= 1)).all()


def test_the_posterior_is_that_of_the_two_weighted_bells():
    mixtures = replace(
        SIMPLE,
        weight_clean=np.array([[0.9, 0.5]]),
        weight_noisy=np.array([[0.1, 0.5]]),
        sd_noisy=np.array([[0.2, 0.1]]),
    )
    density = [w / s * np.exp(-((0.5 - m) ** 2) / (2 * s**2)) for w, m, s in ((0.9, 0.2, 0.1), (0.1, 0.6, 0.2))]
    U = uncertainty(np.array([[0.5]], np.float32), np.array([[0]], np.uint8), mixtures, "posterior")
    assert U[0, 0] == pytest.approx(density[1] / sum(density), abs=1e-5)


def test_a_degenerate_group_is_all_clean_with_no_uncertainty():
    broken = mixtures_of([[np.nan, 0.3]], [[np.nan, 0.8]], [[True, False]])
    score = np.array([[0.0], [1.0], [1.0]], np.float32)
    observed = np.array([[0], [0], [1]], np.uint8)
    assert partition(score, observed, broken).ravel().tolist() == [CLEAN, CLEAN, NOISY]
    for source in ("means", "posterior"):
        assert uncertainty(score, observed, broken, source).ravel().tolist() == [0, 0, 1]


def test_a_score_on_a_mean_lies_on_it_whatever_the_rounding():
    third = np.float32(1 / 3)
    mixtures = mixtures_of([[1 / 3 - 2e-7, 0]], [[2 / 3 + 2e-7, 1]])
    score = np.array([[third], [np.float32(2 / 3)], [0.5]], np.float32)
    assert partition(score, np.zeros((3, 1), np.uint8), mixtures).ravel().tolist() == [CLEAN, NOISY, UNCERTAIN]


def test_an_unknown_source_of_uncertainty_is_refused():
    with pytest.raises(ConfigError, match="means or posterior"):
        uncertainty(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.uint8), SIMPLE, "entropy")  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("factor", "offset"), [(4.0, 0.0), (0.25, -3.0), (64.0, 8.0)])
def test_an_affine_change_of_z_leaves_the_partition_as_it_is(seed, factor, offset):
    rng = np.random.default_rng(seed)
    observed = rng.integers(0, 2, (300, 3)).astype(np.uint8)
    Z = (rng.integers(0, 40, (300, 3)) + 24 * (rng.random((300, 3)) < 0.3)).astype(np.float32) / 64
    member = np.ones(Z.shape, bool)

    def code(raw):
        ranges = fit_ranges(raw, observed, member)
        score = normalise(raw, observed, ranges, 1e-6)
        return partition(score, observed, fit_mixtures(score, observed, member, ranges))

    np.testing.assert_array_equal(code(Z), code(np.float32(factor) * Z + np.float32(offset)))


def selected(data: Planted, config: SelectionConfig, **options) -> Selection:
    dynamics = LearningDynamics(data.observed.shape, config.dynamics_lag)
    for p in data.probability:
        dynamics.update(correct_predictions(p, data.observed))
    member = options.pop("member", data.member)
    return select(data.probability[-1], data.observed, member, dynamics, config, MixtureConfig(), **options)


@pytest.fixture(scope="module")
def data() -> Planted:
    return planted()


def test_z_finds_planted_noise_among_observed_positives_and_among_observed_negatives(data):
    found = detection(selected(data, SelectionConfig()).score, data.observed, data.truth, data.member)
    assert found["positive"].auroc > 0.7
    assert found["negative"].auroc > 0.7


@pytest.mark.parametrize("preset", ["released", "paper"])
def test_the_raw_rank_is_reversed_among_observed_negatives(data, preset):
    found = detection(selected(data, SelectionConfig.preset(preset)).score, data.observed, data.truth, data.member)
    assert found["positive"].auroc > 0.7
    assert found["negative"].auroc < 0.5


def test_rank_for_positives_alone_and_the_loss_find_both_kinds_too(data):
    for config in (SelectionConfig(rank_mode="pos_only"), SelectionConfig(metric="loss")):
        found = detection(selected(data, config).score, data.observed, data.truth, data.member)
        assert min(found["positive"].auroc, found["negative"].auroc) > 0.6


@pytest.mark.parametrize("preset", ["released", "paper", "miracl"])
def test_permuting_stays_permutes_the_selection(data, preset):
    config = SelectionConfig.preset(preset)
    order = np.random.default_rng(1).permutation(len(data.observed))
    moved = Planted(data.truth[order], data.observed[order], data.probability[:, order], data.member[order])
    one, other = selected(data, config), selected(moved, config)
    for name in ("rank", "difficulty", "score", "uncertainty", "partition"):
        np.testing.assert_array_equal(getattr(one, name)[order], getattr(other, name))


def test_pairs_that_take_no_part_are_scored_but_shape_nothing(data):
    member = data.member.copy()
    member[1000:] = False
    whole = selected(data, SelectionConfig(), member=member)
    first = Planted(data.truth[:1000], data.observed[:1000], data.probability[:, :1000], data.member[:1000])
    alone = selected(first, SelectionConfig())
    np.testing.assert_array_equal(whole.mixtures.mean_noisy, alone.mixtures.mean_noisy)
    np.testing.assert_array_equal(whole.partition[:1000], alone.partition)
    assert whole.score[1000:].std() > 0
    assert sum(whole.counts(member).values()) == 1000 * data.observed.shape[1]


def test_locked_pairs_are_locked_with_no_uncertainty_and_shape_nothing(data):
    locked = np.random.default_rng(2).random(data.observed.shape) < 0.05
    found = selected(data, SelectionConfig(), member=data.member & ~locked, locked=locked)
    assert (found.partition[locked] == LOCKED).all()
    assert not (found.partition[~locked] == LOCKED).any()
    assert not found.uncertainty[locked].any()
    assert found.counts(data.member & ~locked)["locked"] == locked.sum()
    assert found.mixtures.n.sum() == (~locked).sum()


def test_the_filter_before_the_fit_leaves_ineligible_negatives_out_of_the_mixtures(data):
    eligible = (np.random.default_rng(3).random(data.observed.shape) < 0.5) | (data.observed == 1)
    after = selected(data, SelectionConfig(), eligible=eligible)
    before = selected(data, SelectionConfig(), eligible=eligible, fit_on_eligible=True)
    assert after.mixtures.n.sum() == data.observed.size
    assert before.mixtures.n.sum() == eligible.sum()
    np.testing.assert_array_equal(after.score, before.score)  # the ranges are of all members


def test_a_moving_alpha_is_used_and_kept(data):
    found = selected(data, SelectionConfig(alpha=0.2, alpha_final=0.8), alpha=0.8)
    assert found.alpha == 0.8
    np.testing.assert_array_equal(found.score, selected(data, SelectionConfig(alpha=0.8)).score)


def test_the_alpha_that_is_kept_is_the_one_used_while_difficulty_has_too_few_epochs(data):
    first = Planted(data.truth, data.observed, data.probability[:1], data.member)
    assert selected(first, SelectionConfig()).alpha == 1.0
