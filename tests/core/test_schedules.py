"""Schedules over the epochs, against the values of the sources."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.schedules import beta, learning_rate, weight_decay

NAMES = ("cosine10", "cosine30", "warm_restart10", "constant")


def test_cosine_over_ten_epochs_gives_the_published_rates() -> None:
    rates = [learning_rate(t, 1e-3, "cosine10", 30) for t in range(1, 31)]
    first = [1e-3, 9.76e-4, 9.05e-4, 7.94e-4, 6.55e-4, 5e-4, 3.45e-4, 2.06e-4, 9.55e-5, 2.45e-5]
    assert rates[:10] == pytest.approx(first, rel=5e-3)
    assert rates[10] == 0.0  # epoch 11 trains nothing
    assert rates[11] == pytest.approx(2.45e-5, rel=5e-3)
    assert rates[20] == pytest.approx(1e-3)
    assert rates[29] == pytest.approx(2.45e-5, rel=5e-3)


def test_the_other_schedules_begin_at_the_base_rate_and_go_where_their_names_say() -> None:
    assert all(learning_rate(1, 1e-3, name, 30) == pytest.approx(1e-3) for name in NAMES)
    falling = [learning_rate(t, 1.0, "cosine30", 30) for t in range(1, 31)]
    assert falling == sorted(falling, reverse=True)
    assert falling[15] == pytest.approx(0.5)
    assert learning_rate(11, 1.0, "warm_restart10", 30) == learning_rate(21, 1.0, "warm_restart10", 30) == 1.0
    assert learning_rate(17, 1.0, "constant", 30) == 1.0


@given(st.integers(1, 60), st.sampled_from(NAMES), st.integers(1, 60))
def test_a_rate_lies_between_0_and_the_base(epoch: int, name: str, epochs: int) -> None:
    assert 0.0 <= learning_rate(epoch, 1e-3, name, epochs) <= 1e-3


def test_beta_gives_the_published_values() -> None:
    assert beta(6, "global", 0.5, 5, 30) == pytest.approx(0.90323, abs=5e-6)
    assert beta(30, "global", 0.5, 5, 30) == pytest.approx(0.51613, abs=5e-6)
    assert beta(6, "correction_start", 0.5, 5, 30) == 1.0
    assert beta(18, "correction_start", 0.5, 5, 30) == pytest.approx(0.75)
    assert beta(30, "correction_start", 0.5, 5, 30) == 0.5
    assert beta(2, "correction_start", 0.5, 1, 2) == 1.0  # a single correction epoch


@given(st.sampled_from(("global", "correction_start")), st.floats(0, 1), st.integers(1, 10), st.integers(1, 40))
def test_beta_falls_from_at_most_1_to_at_least_its_final_value(origin: str, final: float, warm: int, more: int) -> None:
    values = [beta(t, origin, final, warm, warm + more) for t in range(warm + 1, warm + more + 1)]
    assert values == sorted(values, reverse=True)
    assert all(final - 1e-12 <= b <= 1 for b in values)


def test_weight_decay_begins_with_correction() -> None:
    assert [weight_decay(t, 5, 1e-5) for t in (1, 5, 6, 30)] == [0.0, 0.0, 1e-5, 1e-5]
