"""Noise that looks like hospitals, and the benchmark's settings."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from beartype import beartype
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped

from core.cohort.discretise import SeriesConfig
from core.cohort.store import open_cohort
from core.cohort.tensors import PackedCohort, TensorConfig, pack_cohort
from core.errors import ConfigError
from core.noise import context as context_module
from core.noise.context import NoiseContext, hashed_place, place_in_time, severity_of
from core.noise.hospital import HOSPITAL_KINDS, HospitalNoise, inject_hospital, missed_by_severity
from core.noise.settings import HOSPITAL, SETTINGS, SEVEN, plant

from .tiny_cohort import learnable_cohort

KEYS = ("sepsis", "arrhythmia", "plain", "complicated", "copd")
PERSISTENCE = ("acute", "recurrent", "lifelong", "lifelong", "lifelong")
STAYS = 4000


def made(severity, patient=None, order=None, labels=5, groups=((2, 3),)) -> NoiseContext:
    n = len(severity)
    patient = np.arange(n) if patient is None else np.asarray(patient)
    return NoiseContext(
        severity=np.asarray(severity, np.float64),
        patient=patient,
        visit=np.ones(n, np.int32),
        order=np.arange(n) / n if order is None else np.asarray(order, np.float64),
        label_keys=KEYS[:labels],
        persistence=PERSISTENCE[:labels],
        groups=groups,
    )


def many(seed: int = 0) -> tuple[np.ndarray, np.ndarray, NoiseContext]:
    """4,000 stays of 2,000 patients with two or three visits each; the sick have more labels."""
    rng = np.random.default_rng(seed)
    patient = np.sort(rng.integers(0, STAYS // 2, STAYS))
    severity = rng.standard_normal(STAYS)
    chronic = rng.random((STAYS, 5))[patient] < 0.3
    labels = rng.random((STAYS, 5)) < (0.1 + 0.25 * (severity[:, None] > 0))
    labels[:, 2:] = chronic[:, 2:]
    labels[:, 3] &= ~labels[:, 2]
    member = np.repeat(rng.random((STAYS, 1)) < 0.8, 5, axis=1)
    return labels.astype(np.uint8), member, made(severity, patient, rng.permutation(STAYS) / STAYS)


LABELS, MEMBER, CONTEXT = many()
CONFIGS = [HospitalNoise(kind, rate=0.4) for kind in HOSPITAL_KINDS]
each_kind = pytest.mark.parametrize("config", CONFIGS, ids=HOSPITAL_KINDS)


def flips(config: HospitalNoise, seed: int = 123, member: np.ndarray = MEMBER):
    return inject_hospital(LABELS, member, config, CONTEXT, np.random.default_rng(seed))


# every kind


@each_kind
def test_flips_come_as_often_as_the_probabilities_that_are_kept(config):
    noise = flips(config)
    assert noise.flip_probability.dtype == np.float32
    for c, told in ((1, noise.rho_plus), (0, noise.rho_minus)):
        group = MEMBER & (c == LABELS)
        p = noise.flip_probability[group].astype(np.float64)
        assert told == pytest.approx(p.mean(), abs=1e-6)
        # swaps and losses of one group or patient hang together: twice the binomial spread
        assert abs(int(noise.flipped[group].sum()) - p.sum()) <= 4 * 2 * np.sqrt((p * (1 - p)).sum()) + 1e-9
    np.testing.assert_array_equal(noise.flipped, noise.observed != LABELS)
    assert not noise.flipped[noise.flip_probability == 0].any()


@each_kind
def test_p_flip_is_what_many_draws_show(config):
    rng = np.random.default_rng(4)
    labels = (rng.random((12, 5)) < 0.5).astype(np.uint8)
    member = rng.random((12, 5)) < 0.9
    context = made(rng.random(12), [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 4])
    draws = [inject_hospital(labels, member, config, context, rng).flipped for _ in range(3000)]
    told = inject_hospital(labels, member, config, context, rng).flip_probability
    np.testing.assert_allclose(np.mean(draws, axis=0), told, atol=4 * np.sqrt(0.25 / 3000))


@each_kind
def test_test_stays_and_unstated_pairs_are_never_touched(config):
    noise = flips(config)
    np.testing.assert_array_equal(noise.observed[~MEMBER], LABELS[~MEMBER])
    assert not noise.flip_probability[~MEMBER].any()
    assert noise.flipped[MEMBER].any()


@each_kind
def test_the_same_seed_gives_the_same_flips_and_another_does_not(config):
    np.testing.assert_array_equal(flips(config, 1).flipped, flips(config, 1).flipped)
    assert (flips(config, 1).flipped != flips(config, 2).flipped).any()


@each_kind
@given(seed=st.integers(0, 10_000), row=st.integers(0, STAYS - 1))
@settings(max_examples=8, deadline=None)
def test_leaving_one_stay_out_changes_no_other_patients_flips(config, seed, row):
    member = MEMBER.copy()
    member[row] = False
    whole, without = flips(config, seed).flipped, flips(config, seed, member).flipped
    others = CONTEXT.patient != CONTEXT.patient[row]
    if config.kind != "patient":
        others = np.arange(STAYS) != row
    assert not without[row].any()
    np.testing.assert_array_equal(without[others], whole[others])


@each_kind
def test_only_a_coding_change_invents_labels(config):
    noise = flips(config)
    assert (noise.rho_minus > 0) == (config.kind == "source") == bool(noise.flipped[LABELS == 0].any())


@each_kind
def test_no_stays_and_no_rate_mean_no_flips(config):
    nobody, none = made([]), np.zeros((0, 5), np.uint8)
    noise = inject_hospital(none, none.astype(bool), config, nobody, np.random.default_rng(0))
    assert noise.observed.shape == (0, 5)
    assert (noise.rho_plus, noise.rho_minus) == (0, 0)
    assert not flips(replace(config, rate=0.0)).flipped.any()


@each_kind
def test_shapes_and_types_are_what_the_signatures_say(config):
    checked = jaxtyped(inject_hospital, typechecker=beartype)
    noise = checked(LABELS, MEMBER, config, CONTEXT, np.random.default_rng(0))
    assert (noise.observed.dtype, noise.flipped.dtype, noise.observed.shape) == (np.uint8, bool, LABELS.shape)


# by stay


def test_a_stays_positives_are_missed_by_hand():
    # severities 1 < 2 < 3 with 1, 2 and 1 positives: spans [0, .25], [.25, .75], [.75, 1]; 2·rate·(1 - middle)
    missed = missed_by_severity(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0]), 0.4, 1.0)
    np.testing.assert_allclose(missed, [0.8 * 0.125, 0.8 * 0.875, 0.8 * 0.5])
    # k = 2: rate·((1 - a)³ - (1 - b)³)/(b - a), for the mildest .3·(1 - .421875)/.25
    steep = missed_by_severity(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0]), 0.3, 2.0)
    np.testing.assert_allclose(steep, [0.3 * 0.015625 / 0.25, 0.3 * 0.578125 / 0.25, 0.3 * 0.40625 / 0.5])


@given(
    severity=st.lists(st.integers(0, 6), min_size=1, max_size=20),
    rate=st.floats(0.0, 0.3),
    steepness=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50, deadline=None)
def test_missing_falls_with_severity_and_is_the_rate_on_average(severity, rate, steepness, seed):
    severity = np.array(severity, np.float64)
    positives = np.random.default_rng(seed).integers(0, 5, len(severity)).astype(np.float64)
    missed = missed_by_severity(severity, positives, rate, steepness)
    if positives.sum():
        assert (missed * positives).sum() / positives.sum() == pytest.approx(rate)
    assert (np.diff(missed[np.argsort(severity, kind="stable")]) <= 1e-12).all()
    # plainly: the mean of rate·(1 + k)·(1 - u)ᵏ on a fine grid of u under the stay's positives
    fine = 2000
    for i in np.flatnonzero(positives):
        before, upto = (positives[compare(severity, severity[i])].sum() for compare in (np.less, np.less_equal))
        u = (before + (np.arange(fine) + 0.5) / fine * (upto - before)) / positives.sum()
        assert missed[i] == pytest.approx((rate * (1 + steepness) * (1 - u) ** steepness).mean(), abs=2e-5)


def test_the_mildest_tenth_is_missed_about_twice_the_rate_and_the_sickest_hardly():
    noise = flips(HospitalNoise("stay", rate=0.4))
    missed = noise.flip_probability.max(axis=1)
    order = np.argsort(CONTEXT.severity)
    ill = order[(MEMBER & (LABELS != 0))[order].any(axis=1)]
    assert missed[ill[:100]].mean() == pytest.approx(0.8, abs=0.03)
    assert missed[ill[-100:]].mean() == pytest.approx(0.0, abs=0.03)
    assert noise.rho_plus == pytest.approx(0.4, rel=0.03)
    even = flips(HospitalNoise("stay", rate=0.4, steepness=0.0)).flip_probability
    np.testing.assert_allclose(even[MEMBER & (LABELS != 0)], 0.4, rtol=1e-6)


def test_equal_severities_and_a_single_stay_are_missed_at_the_rate():
    np.testing.assert_allclose(missed_by_severity(np.zeros(3), np.array([1.0, 0.0, 4.0]), 0.3, 1.0), 0.3)
    np.testing.assert_allclose(missed_by_severity(np.array([5.0]), np.array([2.0]), 0.3, 2.0), 0.3)
    assert (missed_by_severity(np.arange(3.0), np.zeros(3), 0.3, 1.0) <= 0.6).all()


# by label


def test_acute_labels_are_lost_at_the_rate_recurrent_ones_less_lifelong_ones_not():
    labels, member, context = np.ones((1, 5), np.uint8), np.ones((1, 5), bool), made([0.0])
    rng = np.random.default_rng
    plain = inject_hospital(labels, member, HospitalNoise("label", rate=0.6), context, rng(0))
    np.testing.assert_allclose(plain.flip_probability, [[0.6, 0.2, 0, 0, 0]], rtol=1e-6)
    assert plain.rho_plus == pytest.approx(0.8 / 5)
    config = HospitalNoise("label", rate=0.6, lifelong_share=0.5, label_rates={"sepsis": 0.1, "copd": 1.0})
    named = inject_hospital(labels, member, config, context, rng(0))
    np.testing.assert_allclose(named.flip_probability, [[0.1, 0.2, 0.3, 0.3, 1.0]], rtol=1e-6)
    assert named.observed[0, 4] == 0
    stream = rng(0).random((1, 5))  # the first draw decides, pair by pair
    np.testing.assert_array_equal(named.flipped, stream < [[0.1, 0.2, 0.3, 0.3, 1.0]])


# by patient


def test_a_chronic_label_is_lost_at_exactly_one_visit_of_those_who_have_it_twice():
    noise = flips(HospitalNoise("patient", rate=1.0))
    for label in range(5):
        has = MEMBER[:, label] & (LABELS[:, label] != 0)
        visits = np.bincount(CONTEXT.patient[has], minlength=STAYS)
        lost = np.bincount(CONTEXT.patient[noise.flipped[:, label]], minlength=STAYS)
        np.testing.assert_array_equal(lost, (visits >= 2) & (label >= 2))
    half = flips(HospitalNoise("patient", rate=0.5))
    assert half.flipped.sum() == pytest.approx(noise.flipped.sum() / 2, abs=4 * np.sqrt(noise.flipped.sum() / 4))
    assert (half.flipped <= noise.flipped).all()


def test_the_lost_visit_and_its_odds_by_hand():
    # patient 7 has copd at rows 0, 2, 3, of which row 3 takes no part; patient 8 at one visit; patient 9 acute alone
    labels = np.zeros((6, 5), np.uint8)
    labels[[0, 2, 3, 4], 4] = 1
    labels[[1, 5], 0] = 1
    member = np.ones((6, 5), bool)
    member[3] = False
    context = made(np.zeros(6), [7, 9, 7, 7, 8, 9])
    noise = inject_hospital(labels, member, HospitalNoise("patient", rate=0.8), context, np.random.default_rng(3))
    told = np.zeros((6, 5), np.float32)
    told[[0, 2], 4] = 0.4
    np.testing.assert_allclose(noise.flip_probability, told)
    stream = np.random.default_rng(3)
    draw, second = stream.random((6, 5)), stream.random((6, 5))
    expected = np.zeros((6, 5), bool)
    expected[0 if draw[0, 4] < draw[2, 4] else 2, 4] = second[0, 4] < 0.8
    np.testing.assert_array_equal(noise.flipped, expected)
    assert noise.rho_plus == pytest.approx(0.8 / 5)


def test_each_visit_is_as_likely_to_lose_the_label():
    labels, context = np.ones((900, 5), np.uint8), made(np.zeros(900), np.repeat(np.arange(300), 3))
    config = HospitalNoise("patient", rate=1.0)
    noise = inject_hospital(labels, np.ones((900, 5), bool), config, context, np.random.default_rng(0))
    counts = noise.flipped[:, 2:].reshape(300, 3, 3).sum(axis=(0, 2))
    assert counts.sum() == 900
    assert np.abs(counts - 300).max() < 4 * np.sqrt(300)


# by source


def test_a_coding_change_swaps_pairs_and_loses_others_in_the_later_half_alone():
    # one row a case: plain alone, complicated alone, both, neither; the first four before the change
    labels = np.tile(np.array([[1, 1, 1, 0, 1], [0, 0, 0, 1, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 1]], np.uint8), (2, 1))
    context = made(np.zeros(8))
    member = np.ones((8, 5), bool)
    noise = inject_hospital(labels, member, HospitalNoise("source", rate=0.4), context, np.random.default_rng(1))
    told = np.zeros((8, 5))
    told[4] = [0.2, 0.2, 0.4, 0.4, 0.2]
    told[5] = [0.0, 0.0, 0.4, 0.4, 0.0]
    told[7] = [0.0, 0.0, 0.0, 0.0, 0.2]
    np.testing.assert_allclose(noise.flip_probability, told, rtol=1e-6)
    sure = inject_hospital(
        labels, member, HospitalNoise("source", rate=1.0, other_share=1.0), context, np.random.default_rng(1)
    )
    assert sure.observed[:4].tolist() == labels[:4].tolist()
    assert sure.observed[4:].tolist() == [[0, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0, 0]]
    assert (noise.rho_plus, noise.rho_minus) == pytest.approx((1.6 / 16, 0.8 / 24))


def test_a_swap_leaves_one_label_of_the_group_and_needs_a_partner_that_takes_part():
    noise = flips(HospitalNoise("source", rate=0.4))
    pair = np.array([2, 3])
    np.testing.assert_array_equal(noise.observed[:, pair].sum(axis=1), LABELS[:, pair].sum(axis=1))
    np.testing.assert_array_equal(noise.flipped[:, 2], noise.flipped[:, 3])
    old = CONTEXT.order < 0.5
    assert not noise.flipped[old].any()
    alone = ~old & MEMBER[:, 0] & (LABELS[:, pair].sum(axis=1) == 1)
    assert noise.flipped[alone, 2].mean() == pytest.approx(0.4, abs=4 * np.sqrt(0.24 / alone.sum()))
    others = ~old[:, None] & MEMBER & (LABELS != 0) & np.isin(np.arange(5), [0, 1, 4])
    assert noise.flipped[others].mean() == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / others.sum()))
    member = MEMBER.copy()
    member[:, 3] = False
    np.testing.assert_array_equal(flips(HospitalNoise("source", rate=1.0), member=member).flipped[:, pair], False)


def test_a_group_of_three_goes_to_each_partner_evenly():
    labels = np.zeros((3000, 5), np.uint8)
    labels[:, 3] = 1
    context = made(np.zeros(3000), order=np.full(3000, 0.9), groups=((2, 3, 4),))
    member = np.ones((3000, 5), bool)
    noise = inject_hospital(labels, member, HospitalNoise("source", rate=1.0), context, np.random.default_rng(0))
    np.testing.assert_array_equal(noise.observed.sum(axis=1), 1)
    assert noise.observed[:, 3].sum() == 0
    assert noise.observed[:, 2].mean() == pytest.approx(0.5, abs=0.04)
    np.testing.assert_allclose(noise.flip_probability[0], [0, 0, 0.5, 1, 0.5])


# options


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "pink"}, "HospitalNoise.kind among"),
        ({"kind": "label", "rate": 1.5}, "HospitalNoise.rate in"),
        ({"kind": "label", "rate": float("nan")}, "HospitalNoise.rate in"),
        ({"kind": "stay", "rate": 0.6}, r"rate·\(1 \+ steepness\) of at most 1"),
        ({"kind": "stay", "rate": 0.1, "steepness": -1.0}, "steepness in"),
        ({"kind": "label", "recurrent_share": 2.0}, "recurrent_share in"),
        ({"kind": "source", "after": -0.1}, "after in"),
        ({"kind": "label", "label_rates": {"copd": 1.2}}, "a rate from 0 to 1 for copd"),
    ],
)
def test_an_option_out_of_range_is_refused_in_one_line(options, words):
    with pytest.raises(ConfigError, match=words) as caught:
        HospitalNoise(**options)
    assert "\n" not in str(caught.value)


def test_labels_and_context_must_fit():
    ones = np.ones((3, 5), np.uint8)
    with pytest.raises(ConfigError, match="context's shape"):
        inject_hospital(ones, ones > 0, HospitalNoise("label"), made(np.zeros(4)), np.random.default_rng(0))
    named = HospitalNoise("label", label_rates={"gout": 0.1})
    with pytest.raises(ConfigError, match="got gout"):
        inject_hospital(ones, ones > 0, named, made(np.zeros(3)), np.random.default_rng(0))
    with pytest.raises(ConfigError, match="unlike lengths"):
        made(np.zeros(3), patient=[1, 2])
    with pytest.raises(ConfigError, match="a finite severity"):
        made([0.0, np.nan])
    with pytest.raises(ConfigError, match="persistence among"):
        replace(made([0.0]), persistence=("acute", "brief", "lifelong", "lifelong", "lifelong"))


# what the noise depends on


def stays_table(began: list[datetime | None]) -> pa.Table:
    return pa.table(
        {"stay_id": pa.array(range(len(began)), pa.int64()), "admitted_at": pa.array(began, pa.timestamp("us"))}
    )


def test_the_place_in_time_is_the_share_of_stays_before():
    times = [datetime(2150, 1, 3), None, datetime(2150, 1, 1), datetime(2150, 1, 2), datetime(2151, 1, 1)]  # noqa: DTZ001
    place = place_in_time(stays_table(times))
    np.testing.assert_allclose(place[[0, 2, 3, 4]], [0.5, 0.0, 0.25, 0.75])
    assert place[1] == hashed_place(np.array([1]), 0)[0]


def test_without_times_half_of_the_stays_come_later_whichever_others_there_are():
    ids = np.arange(10_000) * 7 + 3
    place = hashed_place(ids, 0)
    assert ((place >= 0) & (place < 1)).all()
    np.testing.assert_allclose(np.histogram(place, 10, (0, 1))[0], 1000, atol=4 * 30)
    np.testing.assert_array_equal(hashed_place(ids[::3], 0), place[::3])
    assert abs(np.corrcoef(place, hashed_place(ids, 1))[0, 1]) < 0.05
    assert abs(np.corrcoef(place[:-1], place[1:])[0, 1]) < 0.05


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> PackedCohort:
    folder: Path = tmp_path_factory.mktemp("cohort") / "cohort"
    learnable_cohort(folder, n_stays=200)
    return pack_cohort(open_cohort(folder), TensorConfig(series=SeriesConfig(step_hours=2.0)))


@pytest.fixture(scope="module")
def cohort_context(packed, tmp_path_factory) -> NoiseContext:
    folder: Path = tmp_path_factory.mktemp("again") / "cohort"
    cohort = learnable_cohort(folder, n_stays=200)
    return NoiseContext.of(packed, cohort.manifest, cohort.stays)


def test_severity_is_the_mean_distance_of_what_was_measured(packed, monkeypatch):
    severity = severity_of(packed)
    names = packed.series.feature_names
    measured = [(names.index(n), names.index(f"measured:{n}")) for n in names if f"measured:{n}" in names]
    plain = np.full(len(severity), np.nan)
    for i in range(len(severity)):
        cells = [
            abs(step[value])
            for step in packed.series.values[packed.series.offsets[i] : packed.series.offsets[i + 1]]
            for value, mask in measured
            if step[mask]
        ]
        if cells:
            plain[i] = np.mean(cells)
    assert np.isnan(plain).any()
    np.testing.assert_allclose(severity, np.where(np.isnan(plain), np.nanmedian(plain), plain), rtol=1e-5)
    monkeypatch.setattr(context_module, "_STEPS_AT_ONCE", 5)  # shorter than the longest stay
    np.testing.assert_allclose(severity_of(packed), severity, rtol=1e-12)


def test_severity_without_any_series_is_the_same_for_all(packed):
    empty = replace(
        packed.series, values=packed.series.values[:0], offsets=np.zeros_like(np.asarray(packed.series.offsets))
    )
    np.testing.assert_array_equal(severity_of(replace(packed, series=empty)), 0.0)


def test_the_context_is_the_cohorts_own(packed, cohort_context, tmp_path):
    assert cohort_context.label_keys == packed.label_keys
    assert set(cohort_context.persistence) == {"acute", "recurrent", "lifelong"}
    np.testing.assert_array_equal(cohort_context.patient, packed.patient_ids)
    assert cohort_context.groups == ()
    other = learnable_cohort(tmp_path / "other", n_stays=100)
    with pytest.raises(ConfigError, match="the cohort that was packed"):
        NoiseContext.of(packed, other.manifest, other.stays)


# settings


def test_the_settings_are_the_benchmarks():
    assert next(iter(SETTINGS)) == "clean"
    assert set(SETTINGS) == {"clean", *SEVEN, "bal40", *HOSPITAL}
    assert len(SEVEN) == 7
    assert [SETTINGS[name].title for name in SEVEN] == [
        *("symmetric .2", "symmetric .4", "(0, .2)", "(0, .4)", "(.2, 0)", "(.4, 0)", "balanced .2"),
    ]


@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_planted_setting_keeps_truth_and_test_stays(packed, cohort_context, name):
    before = packed.observed.copy()
    planted = plant(packed, name, cohort_context, noise_seed=5)
    np.testing.assert_array_equal(packed.observed, before)
    np.testing.assert_array_equal(planted.truth, before)
    np.testing.assert_array_equal(planted.flipped, planted.observed != before)
    assert not planted.flipped[packed.is_test].any()
    assert not planted.flip_probability[packed.is_test | ~packed.stated.all(1)].any()
    again = plant(packed, name, cohort_context, noise_seed=5)
    np.testing.assert_array_equal(again.observed, planted.observed)
    member = packed.stated & ~packed.is_test[:, None]
    for c, rho in ((1, planted.rho_plus), (0, planted.rho_minus)):
        assert planted.flip_probability[member & (c == before)].mean() == pytest.approx(rho, abs=1e-6)
    assert planted.flipped.any() == (name != "clean")


@pytest.mark.parametrize(
    ("name", "rates"), [("sym20", (0.2, 0.2)), ("fp40", (0.0, 0.4)), ("fn20", (0.2, 0.0)), ("clean", (0.0, 0.0))]
)
def test_class_conditional_settings_need_no_context(packed, name, rates):
    planted = plant(packed, name, None, noise_seed=0)
    assert (planted.rho_plus, planted.rho_minus) == rates


def test_an_unknown_setting_a_negative_seed_and_a_missing_context_are_refused(packed):
    for arguments, words in (
        (("sym30", None, 0), "a setting among clean, sym20"),
        (("sym20", None, -1), "noise seed of 0 or more"),
        (("stay", None, 0), "context for noise 'stay'"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            plant(packed, *arguments)
        assert "\n" not in str(caught.value)
