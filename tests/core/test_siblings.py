"""A patient's other visits as evidence: who counts as earlier and later, and what is read of them."""

import numpy as np
import pytest
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped

from core.calibrated import siblings

sibling_means = jaxtyped(siblings.sibling_means, typechecker=beartype)
standardised = jaxtyped(siblings.standardised, typechecker=beartype)
evidence_features = jaxtyped(siblings.evidence_features, typechecker=beartype)

Invented = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def column(*values: float) -> np.ndarray:
    return np.array(values, float)[:, None]


def test_earlier_and_later_means_are_those_worked_out_by_hand() -> None:
    """Patient 7 has visits 1, 2, 2, 4 (the second of them unstated), patient 3 one alone; rows are out of order."""
    patient, visit = np.array([7, 3, 7, 7, 7]), np.array([4, 1, 2, 1, 2], np.int32)
    values, counted = column(10, 99, 6, 2, 1000), column(1, 1, 1, 1, 0) > 0
    (earlier, later), (some_earlier, some_later) = sibling_means(values, patient, visit, counted)
    assert earlier[:, 0] == pytest.approx([4, 0, 2, 0, 2])  # (2 + 6) / 2 before the fourth; the tied visit is neither
    assert later[:, 0] == pytest.approx([0, 0, 10, 8, 10])
    assert some_earlier[:, 0].tolist() == [True, False, True, False, True]
    assert some_later[:, 0].tolist() == [False, False, True, True, True]


def invented(n: int, seed: int, labels: int = 3) -> Invented:
    """Few patients and few visit numbers, so that there are ties; a third of the pairs unstated."""
    rng = np.random.default_rng(seed)
    patient, visit = rng.integers(0, max(n // 3, 1), n), rng.integers(1, 4, n).astype(np.int32)
    return rng.normal(size=(n, labels)), patient * 1000 - 5, visit, rng.random((n, labels)) < 0.67


def naive_means(values: np.ndarray, patient: np.ndarray, visit: np.ndarray, counted: np.ndarray) -> np.ndarray:
    found = np.full((2, *values.shape), np.nan)
    for i in range(len(values)):
        for label in range(values.shape[1]):
            before, after = [], []
            for j in range(len(values)):
                if patient[j] == patient[i] and counted[j, label]:
                    if visit[j] < visit[i]:
                        before.append(values[j, label])
                    elif visit[j] > visit[i]:
                        after.append(values[j, label])
            for k, heard in enumerate((before, after)):
                if heard:
                    found[k, i, label] = sum(heard) / len(heard)
    return found


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 14), st.integers(0, 10_000))
def test_means_equal_loops_over_pairs_of_stays(n: int, seed: int) -> None:
    made = invented(n, seed)
    means, some = sibling_means(*made)
    naive = naive_means(*made)
    assert np.array_equal(some, ~np.isnan(naive))
    assert np.allclose(means, np.nan_to_num(naive))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 14), st.integers(0, 10_000))
def test_a_stay_s_own_value_and_unstated_ones_are_never_read(n: int, seed: int) -> None:
    values, patient, visit, counted = invented(n, seed)
    means, _ = sibling_means(values, patient, visit, counted)
    changed = values.copy()
    changed[0] += 100
    assert np.allclose(sibling_means(changed, patient, visit, counted)[0][:, 0], means[:, 0])
    unread = np.where(counted, values, np.nan)
    assert np.allclose(sibling_means(unread, patient, visit, counted)[0], means)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 14), st.integers(0, 10_000))
def test_the_order_of_rows_changes_nothing(n: int, seed: int) -> None:
    made = invented(n, seed)
    means, some = sibling_means(*made)
    order = np.random.default_rng(seed).permutation(n)
    shuffled, also = sibling_means(*(part[order] for part in made))
    assert np.allclose(shuffled, means[:, order])
    assert np.array_equal(also, some[:, order])


@pytest.mark.parametrize("same", [True, False], ids=["one visit number", "one stay a patient"])
def test_without_another_visit_there_are_no_siblings(same: bool) -> None:
    patient = np.full(4, 9) if same else np.arange(4)
    means, some = sibling_means(np.ones((4, 2)), patient, np.ones(4, np.int32), np.ones((4, 2), bool))
    assert not means.any()
    assert not some.any()


def test_standardised_evidence_has_mean_0_and_deviation_1_over_the_pairs_that_take_part() -> None:
    evidence = np.array([[1, 5], [3, 5], [5, 5], [100, 7]], float)
    member = np.array([[1, 1], [1, 1], [1, 1], [0, 0]], bool)
    made = standardised(evidence, member)
    assert made[:3, 0] == pytest.approx([-np.sqrt(1.5), 0, np.sqrt(1.5)])
    assert made[3, 0] == pytest.approx(97 / np.sqrt(8 / 3))
    assert (made[:, 1] == 0).all()  # constant among those that take part


def test_evidence_of_a_label_without_members_becomes_0() -> None:
    made = standardised(column(1, 2, 3), np.zeros((3, 1), bool))
    assert (made == 0).all()


def test_the_seven_features_are_those_worked_out_by_hand() -> None:
    """Two visits of one patient and two lone stays; one label, recorded 1, 0, 1, 0: prevalence .5."""
    evidence, known = column(2, -2, 2, -2), column(1, 0, 1, 0)
    patient, visit = np.array([5, 5, 6, 7]), np.array([1, 2, 1, 1], np.int32)
    everything = np.ones((4, 1), bool)
    made = evidence_features(evidence, known, patient, visit, everything, everything)
    assert made.dtype == np.float32
    own, some_earlier, evidence_earlier, label_earlier, some_later, evidence_later, label_later = made[..., 0]
    assert own == pytest.approx([1, -1, 1, -1])
    assert some_earlier.tolist() == [0, 1, 0, 0]
    assert evidence_earlier == pytest.approx([0, 1, 0, 0])
    assert label_earlier == pytest.approx([0, 0.5, 0, 0])
    assert some_later.tolist() == [1, 0, 0, 0]
    assert evidence_later == pytest.approx([-1, 0, 0, 0])
    assert label_later == pytest.approx([-0.5, 0, 0, 0])


def test_without_siblings_the_own_evidence_alone_is_given() -> None:
    values, patient, visit, counted = invented(12, 3)
    known = (values > 0).astype(np.uint8)
    alone = evidence_features(values, known, patient, visit, counted, counted, siblings=False)
    assert alone.shape == (1, 12, 3)
    assert np.array_equal(alone[0], evidence_features(values, known, patient, visit, counted, counted)[0])


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 14), st.integers(0, 10_000))
def test_features_equal_naive_sums(n: int, seed: int) -> None:
    evidence, patient, visit, stated = invented(n, seed)
    rng = np.random.default_rng(seed + 1)
    known, member = (rng.random(evidence.shape) < 0.4).astype(np.uint8), stated & (rng.random((n, 1)) < 0.8)
    made = evidence_features(evidence, known, patient, visit, member, stated)
    own, surplus = np.zeros_like(evidence), np.zeros_like(evidence)
    for label in range(evidence.shape[1]):
        rows = member[:, label]
        heard = evidence[rows, label]
        if len(heard) and heard.std() > 1e-9:
            own[:, label] = (evidence[:, label] - heard.mean()) / heard.std()
        surplus[:, label] = known[:, label] - (known[rows, label].mean() if rows.any() else 0.0)
    of_evidence, of_label = (naive_means(values, patient, visit, stated) for values in (own, surplus))
    expected = [own]
    for k in range(2):
        expected += [~np.isnan(of_evidence[k]), np.nan_to_num(of_evidence[k]), np.nan_to_num(of_label[k])]
    assert np.allclose(made, np.stack(expected), atol=1e-5)
