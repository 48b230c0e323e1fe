"""Which stays share a batch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.batching import in_order, plan_batches


def plan(n: int, size: int, sampler: str = "shuffle", seed: int = 0, epoch: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(n)
    rows = np.sort(rng.choice(2 * n, n, replace=False))
    lengths = rng.integers(0, 50, 2 * n)
    patients = rng.integers(0, max(n // 2, 1), 2 * n)
    return plan_batches(rows, lengths, lengths // 3, patients, size=size, seed=seed, epoch=epoch, sampler=sampler)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(1, 40), st.sampled_from(("shuffle", "patient_grouped")))
def test_every_stay_comes_once_and_no_batch_is_too_large(n: int, size: int, sampler: str) -> None:
    rng = np.random.default_rng(n)
    rows = np.sort(rng.choice(2 * n, n, replace=False))
    batches = plan(n, size, sampler)
    assert np.array_equal(np.sort(np.concatenate(batches)), rows)
    assert all(1 <= len(batch) <= size for batch in batches)
    if sampler == "shuffle":
        assert len(batches) == -(-n // size)
        assert sum(len(batch) < size for batch in batches) <= 1


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    one, again, other_epoch, other_seed = plan(100, 16), plan(100, 16), plan(100, 16, epoch=2), plan(100, 16, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other_epoch, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other_seed, strict=True))


def test_stays_of_like_length_share_a_batch() -> None:
    lengths = np.random.default_rng(0).integers(1, 512, 2000)
    args = {"size": 100, "seed": 0, "epoch": 1}
    batches = plan_batches(np.arange(2000), lengths, np.zeros(2000, int), np.arange(2000), **args)
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    assert padded < 1.1 * lengths.sum()
    spread = np.random.default_rng(1).permutation(2000).reshape(20, 100)
    assert sum(lengths[batch].max() * len(batch) for batch in spread) > 1.8 * lengths.sum()


def test_batches_do_not_come_by_length() -> None:
    lengths = np.arange(2000)
    batches = plan_batches(np.arange(2000), lengths, lengths * 0, lengths, size=100, seed=0, epoch=1)
    means = [lengths[batch].mean() for batch in batches]
    assert means != sorted(means)
    assert means != sorted(means, reverse=True)


def test_grouping_keeps_a_patient_together_up_to_four_stays() -> None:
    patients = np.repeat(np.arange(60), 3)
    patients[:9] = 0  # one patient with nine stays
    lengths = np.random.default_rng(0).integers(1, 48, 180)
    args = {"size": 32, "seed": 3, "epoch": 1, "sampler": "patient_grouped"}
    batches = plan_batches(np.arange(180), lengths, lengths, patients, **args)
    home = {int(row): i for i, batch in enumerate(batches) for row in batch}
    for patient in range(3, 60):
        assert len({home[row] for row in np.flatnonzero(patients == patient)}) == 1
    shuffled = plan_batches(np.arange(180), lengths, lengths, patients, size=32, seed=3, epoch=1)
    home = {int(row): i for i, batch in enumerate(shuffled) for row in batch}
    assert any(len({home[row] for row in np.flatnonzero(patients == p)}) > 1 for p in range(3, 60))


def test_no_stays_make_no_batches() -> None:
    none = np.array([], np.int64)
    assert plan_batches(none, none, none, none, size=4, seed=0, epoch=1) == []
    assert in_order(none, none, 4) == []


def test_a_pass_without_training_is_always_in_the_same_order() -> None:
    batches = in_order(np.array([4, 1, 3, 0]), np.array([5, 1, 9, 2, 5]), 3)
    assert [batch.tolist() for batch in batches] == [[1, 3, 4], [0]]


@pytest.mark.parametrize("size", [1, 2])
def test_grouping_never_makes_a_batch_larger_than_asked(size: int) -> None:
    same = np.zeros(7, int)
    batches = plan_batches(np.arange(7), same, same, same, size=size, seed=0, epoch=1, sampler="patient_grouped")
    assert all(len(batch) <= size for batch in batches)
