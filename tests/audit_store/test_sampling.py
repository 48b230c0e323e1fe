"""The audit's and controls' samples: by hand, by counting over many seeds, and against one another as they grow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_store.database import Store
from audit_store.guidelines import load
from audit_store.people import operator
from audit_store.protocol import Terms, sign_protocol
from audit_store.round_reader import RoundFile
from audit_store.sampling import (
    Plan,
    _Frame,
    _sample,
    draw_order,
    items_to_read,
    lowest,
    plan,
    random_numbers,
    splitmix64,
    stream_seed,
)

from .conftest import Site

SIZES = st.lists(st.integers(0, 60), min_size=1, max_size=12)


def plan_of(store: Store, round_file: RoundFile, terms: Terms) -> Plan:
    return plan(store, round_file, sign_protocol(store, operator(), terms, load()))


def test_splitmix64_gives_the_published_numbers() -> None:
    """The generator's first outputs from the state 1234567 (Vigna's splitmix64.c)."""
    with np.errstate(over="ignore"):
        states = np.uint64(1234567) + np.arange(3, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    wanted = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert splitmix64(states).tolist() == wanted


def test_draws_go_to_strata_by_hand() -> None:
    """Weights 2 and 1: keys 1/4, 3/4, 5/4 against 1/2, 3/2; the first stratum has two members alone."""
    order = draw_order(np.array([2, 4]), np.array([2.0, 1.0]), 5)
    assert order.tolist() == [0, 1, 0, 1, 1]
    assert draw_order(np.array([2, 4]), np.array([2.0, 1.0]), 100).tolist() == [0, 1, 0, 1, 1, 1]
    assert draw_order(np.array([0, 0]), np.array([1.0, 1.0]), 3).tolist() == []


@settings(max_examples=60, deadline=None)
@given(SIZES, st.integers(0, 200), st.integers(0, 200))
def test_a_smaller_sample_lies_within_a_larger_one(sizes: list[int], one: int, other: int) -> None:
    counts = np.array(sizes)
    weight = np.sqrt(counts) + 0.5
    small, large = (draw_order(counts, weight, n) for n in sorted((one, other)))
    assert large[: len(small)].tolist() == small.tolist()
    assert len(large) == min(max(one, other), counts.sum())
    assert (np.bincount(large, minlength=len(counts)) <= counts).all()


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(0, 2**63), st.data())
def test_a_sample_is_the_lowest_random_numbers_of_each_stratum(
    sizes: list[int], seed: int, data: st.DataObject
) -> None:
    stratum = np.random.default_rng(seed % 1000).permutation(np.repeat(np.arange(len(sizes)), sizes))
    numbers = random_numbers(seed, np.arange(len(stratum)), stratum.astype(np.int16))
    wanted = [data.draw(st.integers(0, size)) for size in sizes]
    found = lowest(numbers, stratum, np.array(sizes), np.array(wanted))
    for number, (n, members) in enumerate(zip(wanted, found, strict=True)):
        mine = np.flatnonzero(stratum == number)
        assert members.tolist() == mine[np.argsort(numbers[mine])][:n].tolist()


def small_frame() -> _Frame:
    """Four hundred pairs of two labels, a tenth of them positive."""
    n = 200
    observed = np.tile(np.arange(n) % 10 == 0, 2).astype(np.uint8)
    labels = np.repeat(np.array([0, 1], dtype=np.int16), n)
    yes = np.ones(2 * n, dtype=bool)
    return _Frame(np.tile(np.arange(n, dtype=np.int64), 2), labels, labels, observed, yes, ~yes)


def test_pairs_are_drawn_as_often_as_their_inclusion_probability_says() -> None:
    """Over 3,000 seeds: every pair's frequency within 5 standard errors, and any prefix within its stratum's share."""
    frame, draws, n = small_frame(), 3000, 80
    weight = np.sqrt(np.bincount(frame.stratum))
    names = ["a|0", "a|1", "b|0", "b|1"]
    hits, early = np.zeros(400), np.zeros(400)
    row = {(int(s), int(k)): i for i, (s, k) in enumerate(zip(frame.stay_id, frame.label_id, strict=True))}
    for seed in range(draws):
        stream, strata = _sample(frame, np.ones(400, dtype=bool), weight, n, seed * 7919 + 1, names)
        places = [row[pair] for pair in zip(stream.stay_id.tolist(), stream.label_id.tolist(), strict=True)]
        hits[places] += 1
        early[places[: n // 2]] += 1
    share = strata["inclusion_probability"].to_numpy()[frame.stratum]
    assert (np.abs(hits / draws - share) < 5 * np.sqrt(share * (1 - share) / draws)).all()
    first = draw_order(np.bincount(frame.stratum), weight, n // 2)
    half = (np.bincount(first) / np.bincount(frame.stratum))[frame.stratum]
    assert (np.abs(early / draws - half) < 5 * np.sqrt(half * (1 - half) / draws)).all()


def test_two_seeds_draw_independently() -> None:
    frame = small_frame()
    one, other = (random_numbers(stream_seed(b"s" * 32, 1, name), frame.stay_id, frame.label_id) for name in "ab")
    assert len(set(one.tolist())) == 400
    assert abs(np.corrcoef(one.astype(float), other.astype(float))[0, 1]) < 0.2
    assert stream_seed(b"s" * 32, 1, "a") != stream_seed(b"t" * 32, 1, "a") != stream_seed(b"s" * 32, 2, "a")


def test_the_inclusion_probabilities_of_a_plan_add_up_to_its_size(site: Site) -> None:
    made = plan_of(site.store, site.round, Terms(budget=400, batch_size=10))
    strata = made.strata
    for stream, drawn in (("random_audit", made.audit), ("control", made.control)):
        mine = strata[strata["stream"] == stream]
        assert (mine["inclusion_probability"] * mine["pairs"]).sum() == pytest.approx(40)
        assert len(drawn.item) == len(drawn.sampled) == 40
        shares = {row.stratum: row.inclusion_probability for row in mine.itertuples()}
        assert all(share == shares[stratum] for stratum, share in drawn.sampled.values())
    audit = strata[strata["stream"] == "random_audit"]
    assert audit["pairs"].sum() == site.round.n_pairs
    stated = site.round.rows(
        "SELECT label_key || '|' || observed, count(*) FROM pair JOIN label USING (label_id) GROUP BY 1"
    )
    assert {row.stratum: row.pairs for row in audit.itertuples() if row.pairs} == dict(stated)


def test_positives_are_drawn_more_than_in_proportion(site: Site) -> None:
    made = plan_of(site.store, site.round, Terms(budget=1500, batch_size=10)).strata
    audit = made[made["stream"] == "random_audit"]
    share = audit.groupby("observed")["planned"].sum() / audit.groupby("observed")["pairs"].sum()
    assert share[1] > share[0]
    assert (audit["planned"] > 0).sum() == (audit["pairs"] > 0).sum()


def test_controls_are_train_pairs_of_items_without_a_flag_and_outside_the_audit(site: Site) -> None:
    made = plan_of(site.store, site.round, Terms(budget=1000, batch_size=10))
    key_of = {number: key for key, number in site.round.label_ids.items()}
    flagged = set(site.flags())
    with_flags = {key for _, key in flagged}
    together = {key: keys for keys in site.round.label_groups.values() for key in keys}
    train = {stay for (stay,) in site.round.rows("SELECT DISTINCT stay_id FROM pair WHERE split = 'train'")}
    assert len(made.control.item) == 100
    for (stay, number), item in zip(made.control.sampled, made.control.item, strict=True):
        key = key_of[number]
        assert stay in train
        assert key in with_flags
        assert not any((stay, other) in flagged for other in together.get(key, (key,)))
        assert item not in set(made.audit.item)
    assert not set(made.flags) & set(made.audit.item)


def test_a_larger_audit_begins_with_the_smaller_one(site: Site) -> None:
    small = plan_of(site.store, site.round, Terms(budget=200, batch_size=10)).audit.item
    large = plan_of(site.store, site.round, Terms(budget=900, batch_size=10)).audit.item
    assert large[: len(small)] == small
    assert len(large) == 90


def test_the_items_to_read_are_the_budget_or_what_the_flags_take() -> None:
    assert items_to_read(Terms(budget=500), 10) == 500
    assert items_to_read(Terms(), 700) == 1000
    assert items_to_read(Terms(), 0) == 60
