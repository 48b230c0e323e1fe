"""Irregular series of bedside and laboratory channels, driven by the phenotypes of each stay.

A channel's level is its patient's own, plus what each phenotype does to it in its course (onset, rise, waning), plus
what phenotypes and treatments do together, plus circadian swing, slowly drifting noise and the noise of a measurement.
When a channel is charted depends on how sick the stay is and on what was suspected, so that missingness informs.
"""

from dataclasses import dataclass, fields

import numpy as np

from core.cohort.channels import BY_NAME
from core.cohort.labelset import PHENOTYPES
from core.cohort.sources.synthetic.config import Group, SyntheticConfig, Term, medicine
from core.cohort.sources.synthetic.patients import Patients

_KEYS = {label.key: i for i, label in enumerate(PHENOTYPES)}
_CHUNK = 4_000
_GOLDEN = 0.618034  # spreads one draw evenly over channels
_OFF_CHART = {"bedside": 0.10}
_FIRST_DRAW = ("bedside", "temperature", "gcs", "chemistry", "count")
_GCS_PARTS = ("gcs_eye", "gcs_verbal", "gcs_motor", "gcs_total")


@dataclass(frozen=True)
class Course:
    """How strongly, and when, each phenotype acts in each stay; arrays [stays, labels].

    Parameters
    ----------
    truth
        Whether the phenotype is present.
    strength
        0 where it leaves no trace; above 0 for a present one, or for an absent one that another cause mimics.
    onset, wane
        Hours at which it begins, and at which it starts to fall; lifelong ones never wane.
    fall
        Hours to fall by 1/e.
    lone
        Where an absent phenotype is mimicked: a uniform draw, by which some of its channels move and others don't;
        NaN elsewhere.
    flags
        Treatments and subtypes, [stays] each.
    """

    truth: np.ndarray
    strength: np.ndarray
    onset: np.ndarray
    wane: np.ndarray
    fall: np.ndarray
    lone: np.ndarray
    flags: dict[str, np.ndarray]


@dataclass(frozen=True)
class Rows:
    """Observations as columns: row of the stay, hour, index into `names`, value, index of the category or -1."""

    stay: np.ndarray
    hour: np.ndarray
    channel: np.ndarray
    value: np.ndarray
    category: np.ndarray
    names: tuple[str, ...]


def draw_course(patients: Patients, config: SyntheticConfig, rng: np.random.Generator) -> Course:
    """Draw strengths, times and treatments of every phenotype in every stay."""
    truth = patients.truth
    n, k = truth.shape
    strength = np.exp(config.strength_sd * rng.standard_normal((n, k)))
    strength *= rng.random((n, k)) >= config.silent
    mimicked = (~truth) & (rng.random((n, k)) < config.mimic)
    lifelong = np.array([label.persistence != "acute" for label in PHENOTYPES])
    mimic = config.mimic_strength * np.exp(config.strength_sd * rng.standard_normal((n, k)))
    strength = np.where(truth, strength, np.where(mimicked, mimic, 0.0)).astype(np.float32)
    lone = np.where(mimicked, rng.random((n, k)), np.nan).astype(np.float32)
    before = rng.random((n, k)) < config.present_at_admission
    latest = np.minimum(config.onset_limit, 0.7 * patients.los)[:, None]
    onset = np.where(before, -12.0 * rng.random((n, k)), latest * rng.random((n, k)))
    hold = np.exp(np.log(18.0) + 0.5 * rng.standard_normal((n, k)))
    fall = config.recovery * np.exp(0.5 * rng.standard_normal((n, k)))
    onset = np.where(lifelong, -1e6, onset)
    wane = np.where(lifelong, 1e9, onset + hold)
    flags = {}
    for name, flag in medicine().flags.items():
        absent = np.full(n, 1.0 - flag["base"])
        for key, share in flag["given"].items():
            absent = absent * np.where(truth[:, _KEYS[key]], 1.0 - share, 1.0)
        flags[name] = rng.random(n) > absent
    return Course(
        truth=truth,
        strength=strength,
        onset=onset.astype(np.float32),
        wane=wane.astype(np.float32),
        fall=fall.astype(np.float32),
        lone=lone,
        flags=flags,
    )


def _factor(course: Course, name: str, *, first: bool) -> np.ndarray:
    """One factor of a term for all stays: strength if it leads, presence otherwise."""
    negated, bare = name.startswith("!"), name.removeprefix("!")
    if bare in course.flags:
        value = course.flags[bare].astype(np.float32)
    elif first:
        value = course.strength[:, _KEYS[bare]]
    else:
        value = course.truth[:, _KEYS[bare]].astype(np.float32)
    return 1.0 - value if negated else value


def _shape(
    term: Term, course: Course, config: SyntheticConfig, phase: np.ndarray, stay: np.ndarray, hour: np.ndarray
) -> np.ndarray:
    """Course in time of a term at (stay, hour), in about [-1, 1]."""
    if term.course == "constant":
        return np.ones(len(stay), dtype=np.float32)
    if term.course == "paroxysm":
        period = 9.0 + 14.0 * phase[stay, 0]
        return np.asarray(np.sin(2 * np.pi * (hour / period + phase[stay, 1])) > 0.25, dtype=np.float32)
    if term.course == "swing":
        period = 5.0 + 8.0 * phase[stay, 2]
        return np.asarray(np.sin(2 * np.pi * (hour / period + phase[stay, 3])), dtype=np.float32)
    lead = _KEYS[term.when[0]]
    onset = course.onset[stay, lead] + np.float32(term.delay)
    since = hour - onset
    risen = np.where(since > 0, -np.expm1(-np.clip(since, 0, 60) / config.ramp), 0.0)
    past = np.clip(hour - course.wane[stay, lead], 0.0, None)
    shape: np.ndarray = risen * np.exp(-past / course.fall[stay, lead])
    return shape.astype(np.float32)


def _charted(
    group: Group, name: str, patients: Patients, course: Course, config: SyntheticConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of stays and hours at which a group of channels is charted."""
    n = len(patients.los)
    urge, missed = np.zeros(n), np.ones(n)
    for key, weight in group.suspected_by.items():
        present = course.flags[key] if key in course.flags else course.truth[:, _KEYS[key]]
        suspected = np.where(present, rng.random(n) < 0.85, rng.random(n) < 0.08)
        urge += weight * suspected
        missed *= 1.0 - 0.8 * min(weight, 1.0) * suspected
    had = rng.random(n) > (1.0 - group.share) * missed
    if group.once:
        stay = np.flatnonzero(had)
        hour = np.minimum(patients.los[stay] * 0.9, 0.5 + 10.0 * rng.random(len(stay)))
        return stay, hour
    hours = int(min(np.ceil(patients.los.max()), config.charted_hours))
    rate = np.minimum(group.rate * np.exp(group.sicker * patients.severity + urge), 0.97) * had
    scale = np.where(np.arange(hours) < config.cutoff_hours, 1.0, config.later_rate)
    grid = rng.random((n, hours), dtype=np.float32) < (rate[:, None] * scale).astype(np.float32)
    if name in _FIRST_DRAW:
        grid[:, 0] = True
    stay, whole = np.nonzero(grid)
    hour = np.round((whole + rng.random(len(stay))) * 60.0) / 60.0
    inside = hour < patients.los[stay]
    if name in _FIRST_DRAW:
        hour = np.where(whole == 0, np.minimum(hour, 0.9 * patients.los[stay]), hour)
        inside |= whole == 0
    return stay[inside], hour[inside]


def _chunk(
    patients: Patients, course: Course, own: dict[str, np.ndarray], config: SyntheticConfig, rng: np.random.Generator
) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    model = medicine()
    n = len(patients.los)
    hours = int(min(np.ceil(patients.los.max()), config.charted_hours)) + 1
    phase = rng.random((n, 4)).astype(np.float32)
    peak = 15.0 + 3.0 * rng.standard_normal(n)
    drifting = [name for name, channel in model.channels.items() if channel.slow > 0]
    slow = np.empty((hours, n, len(drifting)), dtype=np.float32)
    rho = np.float32(config.slow_correlation)
    slow[0] = rng.standard_normal((n, len(drifting)), dtype=np.float32)
    for t in range(1, hours):
        fresh = rng.standard_normal((n, len(drifting)), dtype=np.float32)
        slow[t] = rho * slow[t - 1] + np.sqrt(1 - rho * rho) * fresh

    fold = {name: i * _GOLDEN % 1.0 for i, name in enumerate(model.channels)}
    out = []
    for group_name, group in model.groups.items():
        stay, hour = _charted(group, group_name, patients, course, config, rng)
        members = [name for name, channel in model.channels.items() if channel.group == group_name]
        clock = ((hour + 24.0 * phase[stay, 0]) % 24.0).astype(np.float32)
        level = {}
        for name in members:
            channel = model.channels[name]
            start = np.log(channel.base) if channel.scale == "log" else channel.base
            value = start + channel.sd * own[name][stay]
            if channel.circadian:
                value = value + channel.circadian * np.cos(2 * np.pi * (clock - peak[stay]) / 24.0)
            if channel.slow:
                value = value + channel.slow * slow[hour.astype(int), stay, drifting.index(name)]
            level[name] = value + channel.noise * rng.standard_normal(len(stay), dtype=np.float32)
        for term in model.terms:
            touched = [name for name in members if name in term.effects]
            if not touched:
                continue
            weight = np.ones(n, dtype=np.float32)
            for i, factor in enumerate(term.when):
                weight = weight * _factor(course, factor, first=i == 0)
            active = np.flatnonzero(weight[stay] != 0)
            at, when = stay[active], hour[active].astype(np.float32)
            pull = weight[at] * _shape(term, course, config, phase, at, when)
            lead = _KEYS.get(term.when[0])
            for name in touched:
                moved = pull
                if lead is not None:
                    draw = (course.lone[at, lead] + fold[name]) % 1.0
                    moved = pull * ~(draw >= config.mimic_channels)
                read = name not in BY_NAME or BY_NAME[name].model  # hidden scales become model channels
                level[name][active] += term.effects[name] * (config.effect_scale if read else 1.0) * moved
        for name in members:
            channel = model.channels[name]
            value = np.exp(np.clip(level[name], -8, 12)) if channel.scale == "log" else level[name]
            level[name] = np.round(np.clip(value, *channel.limits), channel.digits)
        out += _recorded(group_name, stay, hour, level, course, rng)
    return out


def _recorded(
    group: str,
    stay: np.ndarray,
    hour: np.ndarray,
    level: dict[str, np.ndarray],
    course: Course,
    rng: np.random.Generator,
) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Write down a group's levels a group's levels: (channel, stay, hour, value, category)."""
    none = np.full(len(stay), -1, dtype=np.int8)
    if group == "gcs":
        score = level["alertness"]
        tube = course.flags["ventilated"][stay]
        eye = np.clip(np.ceil(4 - (15 - score) / 2.6), 1, 4)
        motor = np.clip(np.ceil(6 - (15 - score) / 2.4), 1, 6)
        verbal = np.where(tube, 1, np.clip(np.ceil(5 - (15 - score) / 2.2), 1, 5))
        parts = dict(zip(_GCS_PARTS, (eye, verbal, motor, eye + verbal + motor), strict=True))
        return [(name, stay, hour, v, (v - BY_NAME[name].plausible[0]).astype(np.int8)) for name, v in parts.items()]
    if group == "capillary":
        delayed = (level["perfusion"] < 0).astype(float)
        return [("capillary_refill", stay, hour, delayed, delayed.astype(np.int8))]
    if group == "bedside":
        level["dbp"] = np.minimum(level["dbp"], level["sbp"] - 8)
        level["map"] = np.clip(
            np.round((level["sbp"] + 2 * level["dbp"]) / 3 + rng.standard_normal(len(stay)) * 2), 20, 180
        )
        cuff = rng.random(len(stay)) > _OFF_CHART["bedside"]
        kept = []
        for name, value in level.items():
            seen = cuff if name in ("sbp", "dbp", "map") else rng.random(len(stay)) > _OFF_CHART["bedside"]
            kept.append((name, stay[seen], hour[seen], value[seen], none[seen]))
        return kept
    return [(name, stay, hour, value, none) for name, value in level.items()]


def draw_series(patients: Patients, course: Course, config: SyntheticConfig, rng: np.random.Generator) -> Rows:
    """Draw every observation of every stay, in chunks of stays."""
    n = len(patients.los)
    names = tuple(BY_NAME)
    place = {name: i for i, name in enumerate(names)}
    owners = int(patients.patient[-1]) + 1
    own = {}
    for name in medicine().channels:
        lasting = 1.0 if name == "height" else 0.6
        mine = rng.standard_normal(owners)[patients.patient] * np.sqrt(lasting)
        own[name] = (mine + rng.standard_normal(n) * np.sqrt(1 - lasting)).astype(np.float32)
    columns: list[list[np.ndarray]] = [[], [], [], [], []]
    for start in range(0, n, _CHUNK):
        part = slice(start, min(start + _CHUNK, n))
        some = Patients(**{f.name: getattr(patients, f.name)[part] for f in fields(Patients)})
        some_course = Course(
            truth=course.truth[part],
            strength=course.strength[part],
            onset=course.onset[part],
            wane=course.wane[part],
            fall=course.fall[part],
            lone=course.lone[part],
            flags={name: flag[part] for name, flag in course.flags.items()},
        )
        for name, stay, hour, value, category in _chunk(
            some, some_course, {name: v[part] for name, v in own.items()}, config, rng
        ):
            columns[0].append((stay + start).astype(np.int32))
            columns[1].append(hour.astype(np.float32))
            columns[2].append(np.full(len(stay), place[name], dtype=np.int8))
            columns[3].append(value.astype(np.float32))
            columns[4].append(category)
    joined = [np.concatenate(parts) for parts in columns]
    return Rows(joined[0], joined[1], joined[2], joined[3], joined[4], names)
