"""Shares with intervals: hand-worked, by property, and by simulated audits."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_store.quality.noise import after
from audit_store.quality.shares import TOO_FEW, Share, difference, exact_interval, expected_width, weighted_share

AUDITS = 400
LEAST = 0.93


def test_the_exact_interval_is_clopper_and_pearsons() -> None:
    """2 of 20: 0.0123 to 0.3170 (tables of the exact binomial limits); 0 of n: 1 − 0.025^(1/n)."""
    low, high = exact_interval(0.1, 20)
    assert low == pytest.approx(0.012349, abs=1e-6)
    assert high == pytest.approx(0.316983, abs=1e-6)
    assert exact_interval(0.0, 30) == (0.0, pytest.approx(1 - 0.025 ** (1 / 30)))
    assert exact_interval(1.0, 30) == (pytest.approx(0.025 ** (1 / 30)), 1.0)


def test_the_estimate_is_the_weighted_count_over_the_weights() -> None:
    """Two strata of 100 and 900 pairs, five read of each: 2 wrong and 1 wrong are (100·2/5 + 900·1/5)/1000 = 0.22."""
    wrong = np.array([1, 1, 0, 0, 0, 1, 0, 0, 0, 0], dtype=bool)
    weight = np.repeat([100 / 5, 900 / 5], 5)
    assert weighted_share(wrong, weight).estimate == pytest.approx(0.22)


def test_the_variance_is_taylors_over_patients() -> None:
    """Five patients of two alike answers, four wrong: V = 5/4 · (2·0.12² + 3·0.08²) = 0.06; n* = 0.24/0.06 · (z/t)²."""
    wrong = np.repeat([1, 1, 0, 0, 0], 2).astype(bool)
    share = weighted_share(wrong, cluster=np.repeat(np.arange(5), 2))
    size = 0.24 / 0.06 * (1.959963984540054 / 2.7764451051977987) ** 2
    assert (share.low, share.high) == pytest.approx(exact_interval(0.4, size))


def test_under_ten_answers_is_too_few_and_cannot_say_is_no_answer() -> None:
    wrong = np.zeros(12, dtype=bool)
    unsure = np.arange(12) < 3
    share = weighted_share(wrong, unsure=unsure)
    assert (share.n, share.unsure, share.told) == (12 - 3, 3, False)
    assert share.low is share.high is share.estimate is share.floor is None
    assert weighted_share(wrong, unsure=np.arange(12) < 2).told


def test_one_patient_alone_tells_nothing_of_the_others() -> None:
    share = weighted_share(np.ones(20, dtype=bool), cluster=np.zeros(20))
    assert (share.low, share.high) == (0.0, 1.0)


answers = st.integers(TOO_FEW, 60).flatmap(
    lambda n: st.tuples(
        st.lists(st.booleans(), min_size=n, max_size=n),
        st.lists(st.floats(0.5, 500), min_size=n, max_size=n),
        st.lists(st.integers(0, 12), min_size=n, max_size=n),
        st.lists(st.booleans(), min_size=n, max_size=n),
    )
)


@settings(max_examples=150, deadline=None)
@given(answers)
def test_bounds_stand_in_order_and_scaling_the_weights_changes_nothing(
    drawn: tuple[list[bool], list[float], list[int], list[bool]],
) -> None:
    wrong, weight, cluster, unsure = (np.array(part) for part in drawn)
    share = weighted_share(wrong, weight, cluster, unsure)
    if not share.told:
        assert share.n < TOO_FEW
        return
    ends = (share.floor, share.low, share.estimate, share.high, share.ceiling)
    numbers = [float(end) for end in ends if end is not None]
    assert len(numbers) == 5
    assert all(a <= b + 1e-9 for a, b in pairwise(numbers))
    assert numbers[0] >= 0
    assert numbers[-1] <= 1
    scaled = weighted_share(wrong, 7.5 * weight, cluster, unsure)
    assert scaled.estimate == pytest.approx(share.estimate)
    assert (scaled.low, scaled.high) == pytest.approx((share.low, share.high))


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0, 1))
def test_more_readings_are_expected_to_be_narrower(n: int, m: int, share: float) -> None:
    few, many = sorted((n, m))
    assert expected_width(many, share) <= expected_width(few, share) + 1e-9
    assert 0 < expected_width(n, share) <= 0.5


@pytest.mark.parametrize("wrong", [(0, 0.1), (10, -0.1), (10, 1.1), (10, math.nan)])
def test_a_width_of_nothing_is_refused(wrong: tuple[int, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        expected_width(*wrong)


def test_the_expected_width_is_that_of_simulated_audits() -> None:
    rng = np.random.default_rng(3)
    for n, share in ((100, 0.05), (400, 0.2)):
        found = [weighted_share(rng.random(n) < share) for _ in range(200)]
        widths = [(one.high - one.low) / 2 for one in found if one.high is not None and one.low is not None]
        assert np.mean(widths) == pytest.approx(expected_width(n, share), rel=0.12)


def test_noise_handed_out_counts_labels() -> None:
    """1,000 recorded absent, 5 % of them wrong: 50; 20 settled otherwise, 10 came in: 30 of 990 are left."""
    share = Share(200, 180, 10, 4, 0.05, 0.02, 0.09, 0.01, 0.12)
    left = after(share, 1000, 20, 10)
    assert left.estimate == pytest.approx(30 / 990)
    assert (left.low, left.high) == pytest.approx((0.0, 70 / 990))
    assert (left.floor, left.ceiling) == pytest.approx((0.0, 100 / 990))
    assert after(Share(3, 3, 0, 0, *[None] * 5), 1000, 20, 10).estimate is None


# -- simulated audits: does the interval cover? ------------------------------------------------------------------


def _audits(
    rng: np.random.Generator, rate: float, alike: float, per_stratum: int, uneven: bool
) -> list[tuple[Share, float]]:
    """Stratified random audits of invented cohorts: five labels, patients of one to three stays with like errors.

    `alike` is the intra-patient correlation of errors; `uneven`: they strike the commonest stratum alone.
    """
    prevalence = np.array([0.05, 0.1, 0.2, 0.3, 0.5])
    found = []
    for _ in range(AUDITS):
        patient = np.repeat(np.arange(400), rng.integers(1, 4, 400))
        n = len(patient)
        present = rng.random((n, 5)) < prevalence
        spread = (1 - alike) / alike if alike else math.inf
        propensity = rng.beta(rate * spread, (1 - rate) * spread, 400)[patient] if alike else np.full(n, rate)
        wrong = rng.random((n, 5)) < propensity[:, None]
        if uneven:
            wrong[:, :4] = False
        parts = []
        for label in range(5):
            stratum = np.flatnonzero(present[:, label])
            drawn = rng.choice(stratum, min(per_stratum, len(stratum)), replace=False)
            weight = np.full(len(drawn), len(stratum) / len(drawn))
            parts.append((wrong[drawn, label], weight, patient[drawn]))
        y, w, c = (np.concatenate(column) for column in zip(*parts, strict=True))
        found.append((weighted_share(y, w, c), float(wrong[present].mean())))
    return found


@pytest.mark.parametrize(
    ("rate", "alike", "per_stratum", "uneven"),
    [
        (0.1, 0.0, 20, False),
        (0.1, 0.5, 20, False),
        (0.02, 0.3, 20, False),
        (0.005, 0.5, 30, False),
        (0.3, 0.8, 12, False),
        (0.05, 0.3, 20, True),
    ],
)
def test_the_audits_interval_covers_with_clusters_rare_errors_and_uneven_strata(
    rate: float, alike: float, per_stratum: int, uneven: bool
) -> None:
    found = _audits(np.random.default_rng(17), rate, alike, per_stratum, uneven)
    inside = [one.low <= true <= one.high for one, true in found if one.low is not None and one.high is not None]
    assert len(inside) == AUDITS
    assert np.mean(inside) >= LEAST


def test_the_interval_of_a_handed_out_label_covers_what_is_left() -> None:
    found = _audits(np.random.default_rng(5), 0.1, 0.3, 20, False)
    inside = []
    for share, true in found:
        left = after(share, 1000, 40, 0)
        assert left.low is not None
        assert left.high is not None
        inside.append(left.low <= (true * 1000 - 40) / 960 <= left.high)
    assert np.mean(inside) >= LEAST


def test_the_bounds_cover_where_cannot_say_hides_more_of_the_wrong_ones() -> None:
    rng = np.random.default_rng(23)
    inside, plain = [], []
    for _ in range(AUDITS):
        wrong = rng.random(120) < 0.15
        unsure = rng.random(120) < np.where(wrong, 0.6, 0.02)
        share = weighted_share(wrong, unsure=unsure)
        assert share.floor is not None
        assert share.ceiling is not None
        assert share.high is not None
        inside.append(share.floor <= 0.15 <= share.ceiling)
        plain.append(share.high < 0.15)
    assert np.mean(inside) >= LEAST
    assert np.mean(plain) > 0.1  # those who could say are no fair sample: the bounds are needed


@pytest.mark.parametrize(("p", "q", "n", "m"), [(0.12, 0.02, 80, 150), (0.5, 0.4, 60, 40), (0.03, 0.03, 50, 300)])
def test_the_interval_of_a_difference_covers(p: float, q: float, n: int, m: int) -> None:
    rng = np.random.default_rng(29)
    inside = []
    for _ in range(AUDITS):
        told = difference(weighted_share(rng.random(n) < p), weighted_share(rng.random(m) < q))
        assert told is not None
        inside.append(told[1] <= p - q <= told[2])
    assert np.mean(inside) >= LEAST


def test_a_difference_with_too_few_is_not_told() -> None:
    few, many = weighted_share(np.zeros(5, dtype=bool)), weighted_share(np.zeros(50, dtype=bool))
    assert difference(few, many) is None
    assert difference(many, many) is not None
