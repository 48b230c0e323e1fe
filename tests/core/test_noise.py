"""Noise on purpose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ConfigError
from core.noise import injection
from core.noise.injection import NoiseConfig, balanced_rate, inject, noise_rates, resolve_uncertain

RNG = np.random.default_rng(0)
LABELS = (RNG.random((4000, 25)) < 0.18).astype(np.uint8)
MEMBER = np.repeat(RNG.random((4000, 1)) < 0.8, 25, axis=1)


def flips(config: NoiseConfig, seed: int = 123):
    return inject(LABELS, MEMBER, config, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("mean_positives", "labels", "rho_minus"), [(4.575, 25, 0.0448), (4.126, 25, 0.0395), (2.246, 14, 0.0382)]
)
def test_the_balanced_rates_are_the_papers(mean_positives, labels, rho_minus):
    assert balanced_rate(0.2, mean_positives, labels) == pytest.approx(rho_minus, abs=5e-5)
    assert balanced_rate(0.4, mean_positives, labels) == pytest.approx(2 * rho_minus, abs=1e-4)


@pytest.mark.parametrize(
    ("config", "rates"),
    [
        (NoiseConfig(), (0, 0)),
        (NoiseConfig("symmetric", rate=0.2), (0.2, 0.2)),
        (NoiseConfig("asymmetric", rho_plus=0.0, rho_minus=0.4), (0.0, 0.4)),
        (NoiseConfig("asymmetric", rho_plus=0.4), (0.4, 0.0)),
        (NoiseConfig("balanced", rate=0.2, mean_positives=4.575), (0.2, 0.04480)),
    ],
)
def test_flips_occur_at_the_rates_that_are_told(config, rates):
    noise = flips(config)
    assert (noise.rho_plus, noise.rho_minus) == pytest.approx(rates, abs=1e-5)
    for c, rate in ((1, rates[0]), (0, rates[1])):
        group = MEMBER & (c == LABELS)
        assert noise.flipped[group].mean() == pytest.approx(rate, abs=0.01)
    np.testing.assert_array_equal(noise.flipped, noise.observed != LABELS)
    assert noise.observed.dtype == np.uint8


@pytest.mark.parametrize("kind", ["symmetric", "balanced", "ccn"])
def test_pairs_that_take_no_part_are_never_touched(kind):
    noise = flips(NoiseConfig(kind, rate=0.4))
    np.testing.assert_array_equal(noise.observed[~MEMBER], LABELS[~MEMBER])
    assert noise.flipped[MEMBER].any()


def test_balanced_noise_from_the_data_leaves_the_number_of_positives_about_as_it_was():
    noise = flips(NoiseConfig("balanced", rate=0.4))
    assert noise.observed.sum() == pytest.approx(LABELS.sum(), rel=0.02)
    positives, stated = (LABELS * MEMBER).sum(), MEMBER.sum()
    assert noise.rho_minus == pytest.approx(0.4 * positives / (stated - positives))


def test_mislabelling_moves_positives_to_common_labels():
    common = (np.random.default_rng(1).random((4000, 6)) < np.array([0.5, 0.3, 0.1, 0.02, 0.02, 0.02])).astype(np.uint8)
    noise = inject(common, np.ones(common.shape, bool), NoiseConfig("ccn", rate=0.3), np.random.default_rng(5))
    removed = (common == 1) & (noise.observed == 0)
    assert removed.sum() / common.sum() == pytest.approx(0.3, abs=0.05)
    gained = ((common == 0) & (noise.observed == 1)).sum(axis=0)
    assert gained[0] > gained[2] > gained[3]
    alone = np.zeros((50, 3), np.uint8)
    alone[:, 1] = 1  # no other label has positives: the draw is even
    moved = inject(alone, np.ones(alone.shape, bool), NoiseConfig("ccn", rate=1.0), np.random.default_rng(5)).observed
    assert moved[:, 1].sum() == 0
    assert (moved.sum(axis=1) == 1).all()


@given(seed=st.integers(0, 10_000), row=st.integers(0, 39))
@settings(max_examples=20, deadline=None)
def test_leaving_one_stay_out_does_not_change_anothers_flips(seed, row):
    labels, member = LABELS[:40], np.ones((40, 25), bool)
    config = NoiseConfig("symmetric", rate=0.3)
    whole = inject(labels, member, config, np.random.default_rng(seed)).flipped
    member[row] = False
    without = inject(labels, member, config, np.random.default_rng(seed)).flipped
    assert not without[row].any()
    np.testing.assert_array_equal(np.delete(without, row, 0), np.delete(whole, row, 0))


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.Philox])
@pytest.mark.parametrize("alone", [0, 1 << 18])
@pytest.mark.parametrize("part", [7, 750, 1 << 16])
def test_a_draw_equals_the_plain_loop_on_the_same_stream(part, alone, kind, monkeypatch):
    """In parts that end within a stay, at the last pair, or beyond it; and the stream goes on where the loop's does.

    By one thread or by two, of which the second begins half-way; half a number that a stream has kept stays its.
    """
    monkeypatch.setattr(injection, "_PART", part)
    monkeypatch.setattr(injection, "_ALONE", alone)
    labels, member = LABELS[:30], MEMBER[:30]
    generator, stream = (np.random.Generator(kind(9)) for _ in range(2))
    assert generator.random(dtype=np.float32) == stream.random(dtype=np.float32)  # of 64 bits the other half is kept
    got = inject(labels, member, NoiseConfig("asymmetric", rho_plus=0.3, rho_minus=0.1), generator)
    for i in range(30):
        for label in range(25):
            flip = stream.random() < (0.3 if labels[i, label] else 0.1) and member[i, label]
            assert got.observed[i, label] == (1 - labels[i, label] if flip else labels[i, label])
            assert got.flipped[i, label] == flip
    assert generator.random(dtype=np.float32) == stream.random(dtype=np.float32)
    assert generator.random() == stream.random()


def test_many_pairs_drawn_by_two_threads_are_those_drawn_by_one(monkeypatch):
    labels = np.tile(LABELS, (300_000 // LABELS.size + 1, 1))
    member, config = np.ones(labels.shape, bool), NoiseConfig("balanced", rate=0.2)
    two = inject(labels, member, config, np.random.default_rng(4))
    assert labels.size > injection._ALONE
    monkeypatch.setattr(injection, "_ALONE", labels.size + 1)
    one = inject(labels, member, config, np.random.default_rng(4))
    np.testing.assert_array_equal(two.flipped, one.flipped)
    assert two.flipped.any()


def test_what_goes_wrong_in_the_second_half_is_not_lost(monkeypatch):
    monkeypatch.setattr(injection, "_ALONE", 0)
    drawn = injection._draw
    generator = np.random.default_rng(2)

    def failing(pairs, rho_plus, rho_minus, stream):
        if stream is not generator:
            raise MemoryError("no room for numbers")
        drawn(pairs, rho_plus, rho_minus, stream)

    monkeypatch.setattr(injection, "_draw", failing)
    with pytest.raises(MemoryError, match="no room"):
        inject(LABELS, MEMBER, NoiseConfig("symmetric", rate=0.2), generator)


def test_the_mask_is_fixed_unless_tied_to_the_models_seed():
    fixed, tied = (
        NoiseConfig("symmetric", rate=0.2),
        NoiseConfig("symmetric", rate=0.2, seed_policy="tie_to_model_seed"),
    )
    masks = [inject(LABELS, MEMBER, c, c.generator(s)).flipped for c in (fixed, tied) for s in (30, 40)]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[2] != masks[3]).any()


def test_labels_below_zero_become_zero_or_are_not_stated():
    labels = np.array([[1, 0, -1, -2]], np.int8)
    zero, stated = resolve_uncertain(labels)
    assert zero.tolist() == [[1, 0, 0, 0]]
    assert stated.all()
    assert resolve_uncertain(labels, "mask")[1].tolist() == [[True, True, False, False]]
    with pytest.raises(ConfigError, match="labels of 0, 1"):
        resolve_uncertain(np.array([[2]], np.int8))
    with pytest.raises(ConfigError, match="zero or mask"):
        resolve_uncertain(labels, "drop")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"kind": "pink"}, "kind of noise"),
        ({"rate": 1.5}, "rate"),
        ({"rho_plus": -0.1}, "rho_plus"),
        ({"seed_policy": "any"}, "seed_policy"),
    ],
)
def test_an_option_out_of_range_is_refused(options, word):
    with pytest.raises(ConfigError, match=word):
        NoiseConfig(**options)


def test_a_balanced_rate_needs_labels_that_allow_it():
    with pytest.raises(ConfigError, match="mean positives"):
        balanced_rate(0.2, 25.0, 25)
    with pytest.raises(ConfigError, match="probability"):
        balanced_rate(1.0, 20.0, 25)
    assert noise_rates(NoiseConfig("balanced", rate=0.2), np.zeros((0, 3), np.uint8), np.zeros((0, 3), bool)) == (
        0.2,
        0,
    )
