"""Label sources and their consensus: majority, mean, Dawid–Skene."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.cohort.store import open_cohort, write_cohort
from core.errors import ConfigError, RunError
from core.locks import Pairs
from core.methods.sources import LabelSources, decided, sources_for
from core.methods.voting import (
    ConsensusConfig,
    dawid_skene,
    majority,
    mean_vote,
    posterior_of,
    rates_of,
    vote_evidence,
)

from .conftest import invented_tables, manifest_fields

NO = np.nan


def votes(*columns: list[float]) -> LabelSources:
    """Sources of one label each vote of which is given; NaN is no vote."""
    values = np.array(columns, np.float32)[:, :, None]
    names = tuple("abcdefg"[: len(columns)])
    return LabelSources(np.nan_to_num(values), np.isfinite(values), names)


def drawn(seed: int, sources: int = 3, stays: int = 6, labels: int = 2, missing: float = 0.3) -> LabelSources:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2, (sources, stays, labels)).astype(np.float32)
    return LabelSources(values, rng.random(values.shape) >= missing, tuple("abcdefg"[:sources]))


def test_what_a_source_does_not_state_is_kept_as_nothing():
    values = np.array([[[1, np.nan]], [[np.nan, 0]]], np.float32)
    sources = LabelSources(values, np.isfinite(values), ("icd", "note"))
    assert sources.values.tolist() == [[[1, 0]], [[0, 0]]]
    assert sources.stated.all()
    assert sources.count == 2
    whole = LabelSources(np.ones((2, 3, 4), np.float32), np.array([[True] * 3, [False, True, False]]), ("a", "b"))
    assert whole.available.sum() == 16
    assert whole.take("b").available.sum() == 4


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: LabelSources(np.ones((1, 2)), np.ones((1, 2), bool), ("a",)), "sources×stays×labels"),
        (lambda: LabelSources(np.ones((0, 2, 2)), np.ones((0, 2, 2), bool), ()), "sources×stays×labels"),
        (lambda: LabelSources(np.ones((2, 2, 2)), np.ones((2, 2, 2), bool), ("a", "a")), "name of its own"),
        (lambda: LabelSources(np.full((1, 2, 2), 2), np.ones((1, 2, 2), bool), ("a",)), "4 other values"),
        (lambda: votes([1]).take("z"), "among a"),
        (lambda: votes([1]).take(), "among a"),
    ],
    ids=["two-axes", "none", "same-name", "range", "stranger", "none-taken"],
)
def test_sources_that_make_no_sense_are_refused(make, says):
    with pytest.raises(RunError, match=says):
        make()


def test_a_cohorts_sources_come_with_the_primary_one_first(tmp_path):
    tables, fields = invented_tables(4, 3), manifest_fields(3)
    icd = tables["labels"]
    note = icd.set_column(2, "source", pa.array(["a_note"] * icd.num_rows)).slice(0, 4)
    observed = pa.array([1, None, 0, 1], pa.uint8())
    note = note.set_column(3, "observed", observed)
    tables["labels"] = pa.concat_tables([icd, note])
    write_cohort(tmp_path / "two", tables, fields)
    found = LabelSources.of_cohort(open_cohort(tmp_path / "two"))
    assert found.names == ("icd", "a_note")
    np.testing.assert_array_equal(found.values[0].ravel(), icd["observed"].to_numpy())
    assert found.available[0].all()
    assert found.available[1].ravel().tolist() == [True, False, True, True] + [False] * 8
    assert found.values[1].ravel().tolist() == [1, 0, 0, 1] + [0] * 8


def test_a_cohort_with_one_source_gives_one(cohort_folder):
    cohort = open_cohort(cohort_folder(6, 4))
    found = LabelSources.of_cohort(cohort)
    assert found.names == ("icd",)
    np.testing.assert_array_equal(found.values[0], cohort.label_matrix()[0])


def pairs_of(observed: Any, base: Any = None, locked: Any = None) -> Pairs:
    observed = np.asarray(observed, np.uint8)
    stated = np.ones(observed.shape, np.bool_)
    locked = np.zeros_like(stated) if locked is None else np.asarray(locked)
    base = observed.astype(np.float32) if base is None else np.asarray(base, np.float32)
    return Pairs(observed, observed, base, stated, locked, stated.any(1), stated & ~locked)


def test_without_sources_the_record_is_the_only_one_and_decisions_are_known():
    pairs = pairs_of([[1, 0, 1]], base=[[1, 0.7, 1]], locked=[[True, False, False]])
    found = sources_for(None, pairs)
    assert found.names == ("record",)
    assert found.values.tolist() == [[[1, 0, 1]]]
    assert decided(pairs).tolist() == [[True, True, False]]
    with pytest.raises(RunError, match="1×3 pairs"):
        sources_for(votes([1, 0, 1]), pairs)


def test_mean_and_majority_are_worked_by_hand():
    given_votes = votes([1, 1, 0, NO, 1, NO], [1, 0, 0, 1, 0, NO], [0, NO, NO, NO, 0, NO])
    np.testing.assert_allclose(mean_vote(given_votes).ravel(), [2 / 3, 0.5, 0, 1, 1 / 3, 0])
    assert majority(given_votes).ravel().tolist() == [1, 1, 0, 1, 0, 0]
    assert majority(given_votes, "half").ravel().tolist() == [1, 0.5, 0, 1, 0, 0]
    assert majority(given_votes, "negative").ravel().tolist() == [1, 0, 0, 1, 0, 0]


def test_a_tie_goes_to_the_first_source_that_speaks():
    assert majority(votes([NO, 0], [1, 1], [0, NO])).ravel().tolist() == [1, 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["first", "half", "negative"]))
def test_a_majority_is_a_count_of_votes(seed, ties):
    sources = drawn(seed, sources=4)
    found = majority(sources, ties)
    for i in range(6):
        for label in range(2):
            cast = [v for v, a in zip(sources.values[:, i, label], sources.available[:, i, label], strict=True) if a]
            yes, no = cast.count(1), cast.count(0)
            tied = {"first": cast[0] if cast else 0, "half": 0.5 if cast else 0, "negative": 0}[ties]
            assert found[i, label] == (1 if yes > no else 0 if no > yes else tied)


LAPLACE = ConsensusConfig(prior_right=1, prior_wrong=1, prior_stays=1)
FOUR = votes([1, 1, 0, 0], [1, 0, 0, NO])


def test_one_m_step_is_worked_by_hand():
    # Start: q = 1, ½, 0, 0. Source a: Σq = 1.5, all of it said 1; Σ(1-q) = 2.5, of which 2 said 0. Source b is silent
    # on the last stay: ½ of its 1.5 said 0; Σ(1-q) = 1.5, all said 0. One pseudo-vote on either side.
    q = mean_vote(FOUR)
    assert q.ravel().tolist() == [1, 0.5, 0, 0]
    sensitivity, specificity, prevalence = rates_of(FOUR.values, FOUR.available, q, LAPLACE)
    np.testing.assert_allclose(sensitivity.ravel(), [2.5 / 3.5, 2 / 3.5])
    np.testing.assert_allclose(specificity.ravel(), [3 / 4.5, 2.5 / 3.5])
    np.testing.assert_allclose(prevalence, [2.5 / 6])


def test_one_e_step_is_worked_by_hand():
    sensitivity, specificity = np.array([[5 / 7], [4 / 7]]), np.array([[2 / 3], [5 / 7]])
    present, absent = vote_evidence(FOUR.values, FOUR.available, sensitivity, specificity)
    np.testing.assert_allclose(np.exp(present).ravel(), [20 / 49, 15 / 49, 6 / 49, 2 / 7])
    np.testing.assert_allclose(np.exp(absent).ravel(), [2 / 21, 5 / 21, 10 / 21, 2 / 3])
    found, evidence = posterior_of(present, absent, np.array([5 / 12]))
    by_hand = [
        (5 / 12 * a / (5 / 12 * a + 7 / 12 * b))
        for a, b in ((20 / 49, 2 / 21), (15 / 49, 5 / 21), (6 / 49, 10 / 21), (2 / 7, 2 / 3))
    ]
    np.testing.assert_allclose(found.ravel(), by_hand)
    np.testing.assert_allclose(found.ravel(), [0.753769, 0.478723, 0.155172, 0.234375], atol=1e-6)
    np.testing.assert_allclose(evidence[0], math.log(5 / 12 * 20 / 49 + 7 / 12 * 2 / 21))


def naive_em(sources: LabelSources, steps: int, right: float, wrong: float, stays: float) -> np.ndarray:
    """EM for every label by loops over pairs, in probabilities rather than logarithms."""
    m, n, count = sources.values.shape
    out = np.zeros((n, count))
    for label in range(count):
        said = [{k: sources.values[k, i, label] for k in range(m) if sources.available[k, i, label]} for i in range(n)]
        heard = [i for i in range(n) if said[i]]
        single = not any(len(said[i]) > 1 for i in range(n))
        q = {i: sum(said[i].values()) / len(said[i]) for i in heard}
        pi = (sum(q.values()) + stays) / (len(heard) + 2 * stays)
        for _ in range(0 if single else steps + 1):
            alpha, beta = [0.0] * m, [0.0] * m
            for k in range(m):
                of = [i for i in heard if k in said[i]]
                alpha[k] = (right + sum(q[i] for i in of if said[i][k] == 1)) / (right + wrong + sum(q[i] for i in of))
                beta[k] = (right + sum(1 - q[i] for i in of if said[i][k] == 0)) / (
                    right + wrong + sum(1 - q[i] for i in of)
                )
            pi = (sum(q.values()) + stays) / (len(heard) + 2 * stays)
            for i in heard:
                yes, no = pi, 1 - pi
                for k, v in said[i].items():
                    yes *= alpha[k] if v == 1 else 1 - alpha[k]
                    no *= 1 - beta[k] if v == 1 else beta[k]
                q[i] = yes / (yes + no)
        for i in range(n):
            mean = sum(said[i].values()) / len(said[i]) if said[i] else pi
            out[i, label] = mean if single else q.get(i, pi)
    return out


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0.1, 0.4, 0.8]))
def test_dawid_skene_is_em_by_loops(seed, steps, missing):
    sources = drawn(seed, missing=missing)
    config = ConsensusConfig(iterations=steps, tolerance=0)
    found = dawid_skene(sources, config)
    np.testing.assert_allclose(found.posterior, naive_em(sources, steps, 2, 1, 1), rtol=1e-6, atol=1e-9)
    if found.identified.any():
        assert found.iterations == steps


@pytest.fixture(scope="module")
def simulated() -> tuple[np.ndarray, LabelSources, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    sensitivity = np.array([[0.9, 0.6, 0.95], [0.7, 0.8, 0.85], [0.6, 0.9, 0.7], [0.8, 0.7, 0.5]])
    specificity = np.array([[0.95, 0.9, 0.8], [0.9, 0.8, 0.95], [0.8, 0.95, 0.9], [0.85, 0.9, 0.7]])
    truth = (rng.random((20_000, 3)) < [0.3, 0.5, 0.2]).astype(np.uint8)
    right = np.where(truth == 1, sensitivity[:, None], specificity[:, None])
    values = np.where(rng.random(right.shape) < right, truth, 1 - truth).astype(np.float32)
    available = rng.random(values.shape) < 0.8
    return truth, LabelSources(values, available, tuple("abcd")), sensitivity, specificity


def test_known_sensitivities_and_specificities_are_recovered(simulated):
    truth, sources, sensitivity, specificity = simulated
    found = dawid_skene(sources)
    np.testing.assert_allclose(found.sensitivity, sensitivity, atol=0.05)
    np.testing.assert_allclose(found.specificity, specificity, atol=0.05)
    np.testing.assert_allclose(found.prevalence, truth.mean(0), atol=0.03)
    wrong = ((found.posterior > 0.5) != truth).mean()
    assert wrong < ((majority(sources) > 0.5) != truth).mean() - 0.02
    assert found.identified.all()


def test_its_posterior_is_calibrated_where_its_assumptions_hold(simulated):
    truth, sources, _, _ = simulated
    posterior = dawid_skene(sources).posterior
    for low, high in ((0, 0.1), (0.1, 0.4), (0.4, 0.7), (0.7, 1)):
        inside = (posterior >= low) & (posterior < high)
        assert truth[inside].mean() == pytest.approx(posterior[inside].mean(), abs=0.04)


def test_the_objective_never_falls(simulated):
    for sources in (simulated[1], drawn(3, sources=5, stays=40)):
        objective = dawid_skene(sources, ConsensusConfig(tolerance=0, iterations=60)).objective
        assert (np.diff(objective) >= -1e-9 * np.abs(objective[:-1])).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_sources_may_change_places_and_the_two_classes_too(seed):
    sources = drawn(seed, sources=3, stays=30)
    config = ConsensusConfig(iterations=20)
    found = dawid_skene(sources, config)
    turned = LabelSources(sources.values[::-1], sources.available[::-1], ("c", "b", "a"))
    np.testing.assert_allclose(dawid_skene(turned, config).posterior, found.posterior, atol=1e-6)
    swapped = dawid_skene(LabelSources(1 - sources.values, sources.available, sources.names), config)
    np.testing.assert_allclose(swapped.posterior, 1 - found.posterior, atol=1e-5)
    np.testing.assert_allclose(swapped.sensitivity, found.specificity, atol=1e-5)


def test_rates_are_fitted_on_the_counted_pairs_alone():
    sources = drawn(7, sources=3, stays=40)
    counted = np.zeros((40, 2), np.bool_)
    counted[:20] = True
    first = LabelSources(sources.values[:, :20], sources.available[:, :20], sources.names)
    found, alone = dawid_skene(sources, None, counted), dawid_skene(first)
    np.testing.assert_allclose(found.sensitivity, alone.sensitivity)
    np.testing.assert_allclose(found.posterior[:20], alone.posterior)


def test_one_source_is_believed_as_it_stands_and_no_vote_gives_the_prevalence():
    alone = dawid_skene(votes([1, 0, 1, NO]))
    assert not alone.identified.any()
    assert alone.posterior.ravel()[:3].tolist() == [1, 0, 1]
    assert alone.posterior[3, 0] == alone.prevalence[0] == pytest.approx(3 / 5)
    apart = dawid_skene(votes([1, NO, 0, NO], [NO, 1, NO, 0]))  # no stay that both have read
    assert not apart.identified.any()
    assert apart.posterior.ravel().tolist() == [1, 1, 0, 0]


def test_unanimous_sources_leave_no_rate_at_one():
    found = dawid_skene(votes([1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]), ConsensusConfig(prior_right=0, prior_wrong=0))
    assert np.isfinite(found.posterior).all()
    assert found.posterior.ravel() == pytest.approx([1, 1, 0, 0], abs=1e-4)
    assert (found.sensitivity < 1).all()
    assert (found.specificity < 1).all()


def test_a_label_that_nobody_speaks_of_stays_at_one_half():
    nothing = LabelSources(np.zeros((2, 3, 1)), np.zeros((2, 3, 1), bool), ("a", "b"))
    found = dawid_skene(nothing)
    assert found.posterior.ravel().tolist() == [0.5] * 3
    assert found.iterations == 0
    assert dawid_skene(nothing, ConsensusConfig(prior_stays=0)).prevalence.tolist() == [0.5]


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="iterations"):
        ConsensusConfig(iterations=0)
    with pytest.raises(ConfigError, match="ties"):
        ConsensusConfig(ties="coin")  # type: ignore[arg-type]
