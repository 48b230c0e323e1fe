"""Detectors across stays: nearest patients, and a patient's own other visits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.detectors.neighbours import NeighbourConfig, directions, neighbour_vote, neighbours
from core.detectors.visits import VisitConfig, inconsistency, visits
from tests.core.planted_traces import blank_traces


def naive_vote(embedding, observed, member, patient, k, prior):
    reference = [i for i in range(len(embedding)) if member[i].any()]
    centre = sum(embedding[i] for i in reference) / len(reference)
    vote = np.zeros(observed.shape)
    for i in range(len(embedding)):
        near = []
        for j in reference:
            if patient[j] != patient[i]:
                a, b = embedding[i] - centre, embedding[j] - centre
                long = np.linalg.norm(a) * np.linalg.norm(b)
                near.append((float(a @ b / long) if long > 0 else 0.0, j))
        near = sorted(near, reverse=True)[:k]
        for label in range(observed.shape[1]):
            own = [observed[j, label] for j in range(len(embedding)) if member[j, label]]
            prevalence = sum(own) / len(own) if own else 0.5
            told = sum(max(c, 0) for c, j in near if member[j, label])
            agreed = sum(max(c, 0) * observed[j, label] for c, j in near if member[j, label])
            vote[i, label] = (agreed + prior * prevalence) / (told + prior)
    return vote


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 100_000), stays=st.integers(2, 14), k=st.integers(1, 6), block=st.integers(1, 5))
def test_the_vote_is_its_definition_whatever_the_block(seed, stays, k, block):
    rng = np.random.default_rng(seed)
    embedding = rng.normal(size=(stays, 5)).astype(np.float32)
    observed = rng.integers(0, 2, (stays, 3)).astype(np.uint8)
    member = rng.random((stays, 3)) < 0.7
    member[0, 0] = True
    patient = rng.integers(0, max(stays // 2, 1), stays)
    told = neighbour_vote(embedding, observed, member, patient, NeighbourConfig(k, 0.7, block))
    wanted = naive_vote(embedding.astype(np.float64), observed, member, patient, k, 0.7)
    np.testing.assert_allclose(told, wanted, atol=2e-5)


def test_the_nearest_of_another_patient_is_asked_and_ones_own_stays_are_not():
    embedding = np.array([[1, 0], [1, 0], [1, 0.1], [-1, 0], [-1, -0.1]], np.float32)
    observed = np.array([[1], [1], [0], [0], [0]], np.uint8)
    patient = np.array([7, 7, 8, 9, 9])
    everyone = np.ones((5, 1), np.bool_)
    told = neighbour_vote(embedding, observed, everyone, patient, NeighbourConfig(1, 1e-6))
    assert told[0, 0] == pytest.approx(0, abs=1e-5)
    assert told[2, 0] == pytest.approx(1, abs=1e-5)


def test_where_nobody_else_can_be_asked_the_prevalence_answers():
    embedding = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    observed = np.array([[1, 0], [1, 0], [0, 0], [1, 0]], np.uint8)
    member = np.ones((4, 2), np.bool_)
    member[:, 1] = False
    one_patient = np.zeros(4, np.int64)
    np.testing.assert_allclose(neighbour_vote(embedding, observed, member, one_patient), [[0.75, 0.5]] * 4)
    nobody = np.zeros_like(member)
    np.testing.assert_allclose(neighbour_vote(embedding, observed, nobody, np.arange(4)), np.full((4, 2), 0.5))


def test_parts_of_the_embedding_that_all_stays_share_make_no_difference():
    rng = np.random.default_rng(2)
    embedding = rng.normal(size=(20, 4)).astype(np.float32)
    shared = np.concatenate((np.full((20, 6), 50.0, np.float32), embedding), axis=1)
    reference = np.ones(20, np.bool_)
    np.testing.assert_allclose(directions(shared, reference), directions(embedding, reference), atol=1e-6)
    assert not directions(np.ones((3, 2), np.float32), reference[:3]).any()


def test_a_record_unlike_its_neighbours_is_suspect_in_either_direction():
    side = np.repeat([1.0, -1.0], 10)
    embedding = np.stack((side, np.linspace(-0.1, 0.1, 20)), axis=1).astype(np.float32)
    observed = (side > 0).astype(np.uint8)[:, None]
    observed[0], observed[19] = 0, 1
    traces = blank_traces(np.zeros((1, 20, 1)), observed, embedding=embedding)
    told = neighbours(traces, NeighbourConfig(5))[:, 0]
    assert set(np.argsort(told)[-2:]) == {0, 19}
    assert (told >= 0).all()
    assert (told <= 1).all()


def naive_inconsistency(observed, counted, patient, visit, onset, prior):
    score = np.zeros(observed.shape)
    for i in range(len(observed)):
        for label in range(observed.shape[1]):
            against = told = 0.0
            for j in range(len(observed)):
                if j == i or patient[j] != patient[i] or not counted[j, label]:
                    continue
                contradicts = visit[j] > visit[i] if observed[i, label] else visit[j] < visit[i]
                weight = 1.0 if contradicts else onset
                told += weight
                against += weight * (observed[j, label] != observed[i, label])
            score[i, label] = against / (told + prior)
    return score


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 100_000), stays=st.integers(1, 14), onset=st.sampled_from((0.0, 0.5, 1.0)))
def test_inconsistency_is_its_definition_also_where_visits_share_a_number(seed, stays, onset):
    rng = np.random.default_rng(seed)
    observed = rng.integers(0, 2, (stays, 3)).astype(np.uint8)
    counted = rng.random((stays, 3)) < 0.8
    patient, visit = rng.integers(0, 4, stays) * 1_000_000_007, rng.integers(1, 5, stays).astype(np.int32)
    told = inconsistency(observed, counted, patient, visit, VisitConfig(onset, 1.0))
    wanted = naive_inconsistency(observed, counted, patient, visit, onset, 1.0)
    np.testing.assert_allclose(told, wanted, atol=1e-6)


def test_three_visits_of_a_lifelong_illness_by_hand():
    observed = np.array([[1], [0], [1]], np.uint8)
    visit, config = np.array([1, 2, 3], np.int32), VisitConfig(onset=0.5)
    told = inconsistency(observed, np.ones((3, 1), np.bool_), np.zeros(3, np.int64), visit, config)
    # first: later visits say 0 and 1 → 1/(2 + 1); second: one before says 1, one after says 1 (½) → 1.5/(1.5 + 1);
    # third: nothing later, earlier ones say 1 and 0 (½ each) → .5/(1 + 1)
    np.testing.assert_allclose(told[:, 0], [1 / 3, 0.6, 0.25])


def test_gone_after_it_was_there_weighs_more_than_there_after_it_was_not():
    visit, patient = np.array([1, 2], np.int32), np.zeros(2, np.int64)
    everyone = np.ones((2, 1), np.bool_)
    gone = inconsistency(np.array([[1], [0]], np.uint8), everyone, patient, visit)
    begun = inconsistency(np.array([[0], [1]], np.uint8), everyone, patient, visit)
    assert (gone > begun).all()
    assert (begun > 0).all()


def test_one_visit_and_labels_that_come_and_go_score_nothing():
    observed = np.array([[1, 1], [0, 0], [1, 0]], np.uint8)
    traces = blank_traces(
        np.zeros((1, 3, 2)), observed, patient=np.array([4, 4, 5]), visit=np.array([1, 2, 1], np.int32),
        persistence=("lifelong", "acute"),
    )  # fmt: skip
    told = visits(traces, VisitConfig())
    assert not told[:, 1].any()
    assert told[2, 0] == 0
    assert (told[:2, 0] > 0).all()
    acute = blank_traces(np.zeros((1, 3, 2)), observed, persistence=("acute", "recurrent"))
    assert not visits(acute, VisitConfig()).any()


def test_decided_records_do_not_speak_and_test_patients_speak_by_what_is_stated():
    observed = np.array([[1], [0], [1], [0]], np.uint8)
    stated = np.ones((4, 1), np.bool_)
    member = np.array([[False], [True], [False], [False]])
    traces = blank_traces(
        np.zeros((1, 4, 1)), observed, stated=stated, member=member,
        patient=np.array([1, 1, 2, 2]), visit=np.array([1, 2, 1, 2], np.int32),
    )  # fmt: skip
    told = visits(traces, VisitConfig())[:, 0]
    assert told[1] == 0
    assert told[0] > 0
    assert (told[2:] > 0).all()
