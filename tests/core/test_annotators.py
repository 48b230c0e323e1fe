"""Simulated label sources: their confusions, their rates, and what they leave out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cohort.labelset import PHENOTYPES
from core.errors import ConfigError
from core.noise.annotators import (
    EASILY_CONFUSED,
    PAPER_SOURCES,
    AnnotatorConfig,
    AnnotatorsConfig,
    annotate,
    confusion,
    simulate_sources,
)

KEYS = tuple(label.key for label in PHENOTYPES)
RNG = np.random.default_rng(0)
TRUTH = (RNG.random((4000, 25)) < 0.18).astype(np.uint8)
MEMBER = np.repeat(RNG.random((4000, 1)) < 0.8, 25, axis=1)
EVERYWHERE = np.ones_like(MEMBER)
MATRIX_KINDS = ("hammer_spammer", "structured_flips", "ordered_confusion", "adversarial", "average")


def simulated(*sources: AnnotatorConfig, truth=TRUTH, member=MEMBER, seed: int = 1, keys=KEYS):
    return simulate_sources(truth, member, AnnotatorsConfig(sources), np.random.default_rng(seed), keys)


@pytest.mark.parametrize("kind", MATRIX_KINDS)
def test_each_row_of_a_confusion_matrix_is_a_distribution_with_the_noise_off_its_diagonal(kind):
    level = None if kind == "adversarial" else np.linspace(0.1, 0.6, 25)
    matrix = confusion(kind, level, KEYS)
    np.testing.assert_allclose(matrix.sum(1), 1)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(1 - np.diag(matrix), np.ones(25) if level is None else level)


def test_the_four_kinds_confuse_as_worked_by_hand():
    keys, half = ("septicemia", "other", "shock", "another"), np.full(4, 0.6)
    np.testing.assert_allclose(confusion("hammer_spammer", half, keys)[1], [0.2, 0.4, 0.2, 0.2])
    flips = confusion("structured_flips", half, keys)
    np.testing.assert_allclose(flips[0], [0.4, 0, 0.6, 0])  # septicemia for shock
    np.testing.assert_allclose(flips[3], [0.6, 0, 0, 0.4])  # no partner: the next, counted round
    ordered = confusion("ordered_confusion", half, keys)
    np.testing.assert_allclose(ordered[0], [0.4, 0.6, 0, 0])
    np.testing.assert_allclose(ordered[2], [0, 0.3, 0.4, 0.3])
    np.testing.assert_allclose(confusion("adversarial", None, keys), np.eye(4)[[2, 3, 0, 1]])


def test_the_average_annotator_is_the_mean_of_the_four_and_right_45_times_in_100():
    matrices = [
        confusion(source.kind, None if source.noise is None else np.full(25, source.noise), KEYS)
        for source in PAPER_SOURCES.sources[:4]
    ]
    average = confusion("average", None, KEYS)
    np.testing.assert_allclose(average, sum(matrices) / 4)
    np.testing.assert_allclose(np.diag(average), 0.45)


def test_every_phenotype_has_another_phenotype_that_it_is_taken_for():
    assert set(EASILY_CONFUSED) == set(KEYS) >= set(EASILY_CONFUSED.values())
    assert all(key != other for key, other in EASILY_CONFUSED.items())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(MATRIX_KINDS))
def test_annotating_is_writing_each_members_positive_down_by_its_row(seed, kind):
    rng = np.random.default_rng(seed)
    truth = (rng.random((7, 5)) < 0.4).astype(np.uint8)
    member = rng.random((7, 5)) < 0.7
    keys = tuple("abcde")
    matrix = confusion(kind, None if kind == "adversarial" else np.full(5, 0.5), keys)
    found = annotate(truth, member, matrix, np.random.default_rng(seed))
    draw = np.random.default_rng(seed).random((7, 5))
    expected = np.where(member, 0, truth)
    for i in range(7):
        for label in range(5):
            if member[i, label] and truth[i, label]:
                total, written = 0.0, 4
                for other in range(5):
                    total += matrix[label, other]
                    if draw[i, label] * matrix[label].sum() < total:
                        written = other
                        break
                if member[i, written]:
                    expected[i, written] = 1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("source", PAPER_SOURCES.sources, ids=lambda source: source.kind)
def test_the_papers_annotators_move_positives_at_their_noise_level(source):
    single = np.eye(25, dtype=np.uint8)[RNG.integers(0, 25, 20_000)]  # the paper's case: one class each
    found = simulated(source, truth=single, member=np.ones(single.shape, bool)).values[0]
    kept = found[single == 1].mean()
    level = {"adversarial": 1.0, "average": 0.55}.get(source.kind, source.noise)
    assert 1 - kept == pytest.approx(level, abs=0.012)
    assert (found.sum(1) == 1).all()  # nothing is invented, nothing lost


def test_a_source_of_flips_misses_and_over_calls_at_its_two_rates():
    values = simulated(AnnotatorConfig("flips", 0.4, false_alarms=0.1)).values[0]
    assert (values == 0)[MEMBER & (TRUTH == 1)].mean() == pytest.approx(0.4, abs=0.01)
    assert values[MEMBER & (TRUTH == 0)].mean() == pytest.approx(0.1, abs=0.005)


@pytest.mark.parametrize("kind", [*MATRIX_KINDS, "flips"])
def test_pairs_that_are_no_members_keep_the_truth_and_are_always_stated(kind):
    source = AnnotatorConfig(kind, None if kind in ("adversarial", "average") else 0.5, coverage=0.3)
    sources = simulated(source)
    np.testing.assert_array_equal(sources.values[0][~MEMBER], TRUTH[~MEMBER])
    assert sources.available[0][~MEMBER].all()


def test_coverage_leaves_out_whole_stays_or_single_pairs():
    stays = simulated(AnnotatorConfig("flips", 0.1, coverage=0.6), member=EVERYWHERE).available[0]
    pairs = simulated(AnnotatorConfig("flips", 0.1, coverage=0.6, per="pair"), member=EVERYWHERE).available[0]
    assert stays.mean() == pytest.approx(0.6, abs=0.03)
    assert pairs.mean() == pytest.approx(0.6, abs=0.01)
    assert (stays.all(1) | ~stays.any(1)).all()
    assert not (pairs.all(1) | ~pairs.any(1)).all()


@pytest.mark.parametrize(
    "source",
    [AnnotatorConfig("hammer_spammer", 0.6), AnnotatorConfig("adversarial"), AnnotatorConfig("flips", 0.6)],
    ids=["hammer_spammer", "adversarial", "flips"],
)
def test_a_source_may_be_weak_on_every_other_label_alone(source):
    truth = np.ones((2000, 6), np.uint8)
    rows = np.eye(6, dtype=np.uint8)[RNG.integers(0, 6, 2000)] if source.kind != "flips" else truth
    values = simulated(
        replace(source, weak="odd", weak_factor=0.0), truth=rows, member=np.ones(rows.shape, bool), keys=tuple("abcdef")
    ).values[0]
    kept = np.array([values[rows[:, k] == 1, k].mean() for k in range(6)])
    np.testing.assert_array_equal(kept[::2], 1)
    assert (kept[1::2] < 0.5).all()


def test_a_source_added_at_the_end_leaves_the_others_as_they_were():
    two = simulated(*PAPER_SOURCES.sources[:2])
    five = simulated(*PAPER_SOURCES.sources)
    assert five.names == ("hammer_spammer", "structured_flips", "ordered_confusion", "adversarial", "average")
    np.testing.assert_array_equal(two.values, five.values[:2])
    np.testing.assert_array_equal(simulated(*PAPER_SOURCES.sources).values, five.values)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: AnnotatorConfig("hammer_spammer"), "a noise level"),
        (lambda: AnnotatorConfig("adversarial", 0.5), "no noise level"),
        (lambda: AnnotatorConfig("average", false_alarms=0.1), "false alarms"),
        (lambda: AnnotatorConfig("flips", 1.5), "noise in"),
        (lambda: simulated(*[AnnotatorConfig("flips", 0.1)] * 2), "name of its own"),
        (lambda: simulated(), "name of its own"),
        (lambda: confusion("adversarial", None, ("a", "b")), "three labels"),
    ],
    ids=["no-noise", "adversarial-noise", "false-alarms", "range", "twice", "none", "two-labels"],
)
def test_a_scenario_that_makes_no_sense_is_refused(make, says):
    with pytest.raises(ConfigError, match=says):
        make()
