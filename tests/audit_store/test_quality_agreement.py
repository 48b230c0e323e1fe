"""Agreement: hand-worked, against the reference package, and by simulated double readings."""

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_store.quality.agreement import alpha, kappa

READINGS, LEAST = 400, 0.93
_ = np.nan
# Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section C: four observers, twelve units, alpha 0.743
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
)


def counted(data: np.ndarray) -> np.ndarray:
    """How many readers gave each value to each unit."""
    values = np.unique(data[~np.isnan(data)])
    return np.stack([(data == value).sum(0) for value in values], axis=1)


def test_alpha_is_the_published_one_with_missing_answers() -> None:
    found = alpha(counted(PUBLISHED))
    assert found.value == pytest.approx(0.743, abs=5e-4)
    assert (found.n, found.agreed) == (11, 8)


def test_alpha_by_hand() -> None:
    """Ten pairs read twice, present/absent: 8 alike (4 and 4), 2 apart: D = 2·2/20, chance 2·10·10/(20·19)."""
    counts = np.array([[2, 0]] * 4 + [[0, 2]] * 4 + [[1, 1]] * 2)
    assert alpha(counts).value == pytest.approx(1 - (4 / 20) / (200 / 380))


def test_kappa_by_hand() -> None:
    """20 and 15 alike, 5 and 10 apart of 50: p = 0.70, chance 0.5·0.6 + 0.5·0.4 = 0.5; kappa 0.4."""
    first = np.repeat([1, 1, 0, 0], [20, 5, 10, 15])
    second = np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    assert kappa(first, second, 2).value == pytest.approx(0.4)


tables = st.integers(2, 5).flatmap(
    lambda readers: st.lists(
        st.lists(st.sampled_from([None, 0, 1, 2]), min_size=readers, max_size=readers), min_size=10, max_size=40
    )
)


@settings(max_examples=80, deadline=None)
@given(tables)
def test_alpha_is_the_reference_packages(rows: list[list[int | None]]) -> None:
    data = np.array([[np.nan if cell is None else float(cell) for cell in row] for row in rows]).T
    counts = np.stack([(data == value).sum(0) for value in range(3)], axis=1)
    found = alpha(counts, draws=20)
    shared = counts[counts.sum(1) >= 2]
    if len(shared) < 10:
        assert found.few
        assert found.value is None
    elif (shared.sum(0) > 0).sum() < 2:
        assert found.value is None
    else:
        reference = krippendorff.alpha(value_counts=shared, level_of_measurement="nominal")
        assert found.value == pytest.approx(float(reference))
        assert found.low is not None
        assert found.high is not None
        assert -1 <= found.low <= found.value + 1e-9
        assert found.value <= found.high + 1e-9 <= 1 + 1e-9


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=10, max_size=60))
def test_kappa_is_cohens(said: list[tuple[int, int]]) -> None:
    one, two = np.array(said).T
    found = kappa(one, two, 3, draws=20)
    table = np.zeros((3, 3))
    np.add.at(table, (one, two), 1 / len(one))
    chance = float(table.sum(0) @ table.sum(1))
    if chance > 1 - 1e-12:
        assert found.value is None
    else:
        assert found.value == pytest.approx((np.trace(table) - chance) / (1 - chance))


def test_nine_shared_pairs_are_too_few_and_ten_alike_tell_no_chance() -> None:
    assert alpha(np.array([[1, 1]] * 9)).few
    alike = alpha(np.array([[2, 0]] * 10))
    assert (alike.few, alike.value, alike.agreed) == (False, None, 10)
    assert alpha(np.zeros((0, 2))).n == 0


def test_perfect_agreement_of_few_is_not_certain() -> None:
    found = alpha(np.array([[2, 0]] * 8 + [[0, 2]] * 7))
    assert found.value == 1.0
    assert found.low is not None
    assert found.low < 0.7


def _said(rng: np.random.Generator, patients: int, slip: float, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Two readers' answers to one or two pairs of each patient; how easily they slip differs by patient."""
    patient = np.repeat(np.arange(patients), rng.integers(1, 3, patients))
    hard = rng.beta(2 * slip, 2 * (1 - slip), patients)[patient]
    truth = rng.random(len(patient)) < rng.beta(3 * share, 3 * (1 - share), patients)[patient]
    return truth[:, None] ^ (rng.random((len(patient), 2)) < hard[:, None]), patient


@pytest.mark.parametrize(
    ("which", "patients", "slip", "share"),
    [("alpha", 30, 0.05, 0.3), ("alpha", 40, 0.03, 0.1), ("alpha", 90, 0.1, 0.3), ("kappa", 30, 0.05, 0.3)],
)
def test_the_interval_covers_also_with_few_patients_and_few_disagreements(
    which: str, patients: int, slip: float, share: float
) -> None:
    rng = np.random.default_rng(41)

    def of(said: np.ndarray, patient: np.ndarray, draws: int) -> tuple[float | None, float | None, float | None]:
        if which == "kappa":
            found = kappa(said[:, 0].astype(int), said[:, 1].astype(int), 2, patient, draws=draws)
        else:
            found = alpha(np.stack([(~said).sum(1), said.sum(1)], axis=1), patient, draws=draws)
        return found.value, found.low, found.high

    many = _said(rng, 100_000, slip, share)
    true = of(many[0], np.arange(len(many[1])) % 20, 2)[0]
    assert true is not None
    inside = []
    for _turn in range(READINGS):
        _value, low, high = of(*_said(rng, patients, slip, share), 200)
        if low is not None and high is not None:
            inside.append(low <= true <= high)
    assert len(inside) > 0.9 * READINGS
    assert np.mean(inside) >= LEAST
