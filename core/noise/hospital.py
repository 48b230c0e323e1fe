"""Noise that looks like hospitals: flips that depend on the stay, the label, the patient or the coding system.

Beside the class-conditional kinds of `core.noise.injection`. None is the paper's; what each models, and at which
rates, stands in DECISIONS.md. All keep P(flip) of every pair, so that a benchmark can read what was true.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from core.errors import ConfigError
from core.hints import Bool, Float, UInt8
from core.noise.context import NoiseContext
from core.noise.injection import InjectedNoise
from core.options import check_options, sourced

HospitalKind = Literal["stay", "label", "patient", "source"]
HOSPITAL_KINDS: tuple[HospitalKind, ...] = ("stay", "label", "patient", "source")


@dataclass(frozen=True)
class HospitalNoise:
    """Which labels to flip, and how often.

    Parameters
    ----------
    kind
        `stay`: positives of mild stays are missed more often. `label`: acute complications are under-coded.
        `patient`: a lifelong label is lost at one of a patient's visits. `source`: from a day on, another coding
        system confuses labels that are decided together, and under-codes the others.
    rate
        `stay`: P(1→0) on average over positives. `label`: P(1→0) of acute labels. `patient`: share of a patient's
        lifelong labels, present at two visits or more, that are lost at one of them. `source`: P(confused) under the
        new system, of a positive that stands alone in its group.
    steepness
        Of `stay`: P(1→0) = rate·(1 + k)·(1 - u)ᵏ, u from 0 for the mildest positive to 1 for the sickest. 0 is the
        same for all; 1 falls in a straight line from 2·rate to 0.
    recurrent_share, lifelong_share
        Of `label`: P(1→0) of recurrent and lifelong labels, as shares of `rate`.
    label_rates
        Of `label`: P(1→0) of single labels by key, instead of their persistence's.
    other_share
        Of `source`: P(1→0) under the new system of labels in no group, as a share of `rate`.
    after
        Of `source`: the share of stays coded by the new system, the last ones.

    Raises
    ------
    ConfigError
        On a rate or share outside [0, 1], or a steepness at which P(1→0) would exceed 1.
    """

    kind: HospitalKind
    rate: float = sourced(0.3, "ours", 0, 1)
    steepness: float = sourced(1.0, "ours: a straight line from 2·rate to 0", 0, 100)
    recurrent_share: float = sourced(1 / 3, "ours", 0, 1)
    lifelong_share: float = sourced(0.0, "ours", 0, 1)
    label_rates: Mapping[str, float] = field(default_factory=dict)
    other_share: float = sourced(0.5, "ours", 0, 1)
    after: float = sourced(0.5, "ours: half-way", 0, 1)

    def __post_init__(self) -> None:
        """Refuse options outside their range."""
        check_options(self)
        if self.kind == "stay" and self.rate * (1 + self.steepness) > 1:
            raise ConfigError(
                "rate·(1 + steepness) of at most 1",
                f"{self.rate * (1 + self.steepness):.3g}",
                "lower the rate or the steepness",
            )
        for key, rate in self.label_rates.items():
            if not 0 <= rate <= 1:
                raise ConfigError(f"a rate from 0 to 1 for {key}", str(rate), "set it within that range")


@dataclass(frozen=True)
class HospitalInjection(InjectedNoise):
    """Labels after the flips; ρ₊, ρ₋ are the means of P(flip) over positives and negatives that take part.

    Parameters
    ----------
    flip_probability
        float32 [stays, labels], P(flip) of each pair given the labels before; 0 where it takes no part. Flips of
        different pairs are independent but for those of one (patient, label) in `patient`, of which at most one
        occurs, and of one group of labels in `source`, which occur together.
    """

    flip_probability: Float[np.ndarray, "stays labels"]


Flips = tuple[np.ndarray, np.ndarray]
"""Where labels flip, bool [stays, labels], and at what probability they do, float64 [stays, labels]."""


def inject_hospital(
    labels: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    config: HospitalNoise,
    context: NoiseContext,
    generator: np.random.Generator,
) -> HospitalInjection:
    """Flip stated training labels as a hospital might; every other label stays.

    Two numbers are drawn for every pair, taking part or not: leaving a stay out changes no other flip, but for the
    same patient's in `patient`, where one visit fewer can be the one that loses the label.

    Parameters
    ----------
    labels
        0 or 1.
    member
        Pairs that may be flipped: stated, of training stays.
    config, context, generator
        Kind and rates, what they depend on, and the random stream.

    Raises
    ------
    ConfigError
        When labels, members and context are of unlike shape, or `label_rates` names a label that isn't there.
    """
    shape = (len(context.patient), len(context.label_keys))
    if labels.shape != shape or member.shape != shape:
        raise ConfigError(
            f"labels and members of the context's shape {shape}", f"{labels.shape}, {member.shape}", "align them"
        )
    unknown = sorted(set(config.label_rates) - set(context.label_keys))
    if unknown:
        raise ConfigError("label_rates of the cohort's labels", ", ".join(unknown), "name labels by their keys")
    draw, second = generator.random(shape), generator.random(shape)
    if config.kind == "patient":
        hit, probability = _lost_once(labels != 0, member, config, context, draw, second)
    elif config.kind == "source":
        hit, probability = _recoded(labels != 0, member, config, context, draw, second)
    else:
        missed = _missed_when_mild if config.kind == "stay" else _missed_when_acute
        probability = missed(labels != 0, config, context) * (member & (labels != 0))
        hit = draw < probability
    observed = labels ^ hit.view(np.uint8)
    means = [float(probability[group].mean()) if group.any() else 0.0 for group in _classes(labels, member)]
    return HospitalInjection(observed, hit, means[0], means[1], probability.astype(np.float32))


def _classes(labels: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return member & (labels != 0), member & (labels == 0)


def missed_by_severity(
    severity: Float[np.ndarray, " stays"], positives: Float[np.ndarray, " stays"], rate: float, steepness: float
) -> Float[np.ndarray, " stays"]:
    """P(1→0) of a stay's positives: rate·(1 + k)·(1 - u)ᵏ, on average over the stay's span of u.

    Positives of all stays are laid side by side by severity, mildest first; u in [0, 1] runs along them. A stay (or
    several of equal severity) covers a span [a, b], over which the mean is rate·((1 - a)ᵏ⁺¹ - (1 - b)ᵏ⁺¹)/(b - a), so
    that the mean over all positives is `rate`, exactly.

    Parameters
    ----------
    severity
        Only its order counts; high is sicker.
    positives
        How many positives each stay has.
    rate, steepness
        The mean, and k ≥ 0.

    Returns
    -------
    numpy.ndarray
        float64 [stays], never rising with severity.
    """
    _, place = np.unique(severity, return_inverse=True)
    reached = np.concatenate([[0.0], np.cumsum(np.bincount(place, positives))])
    begin, end = (reached / max(float(reached[-1]), 1.0)).clip(0.0, 1.0)[np.stack([place, place + 1])]
    covers = end > begin
    width = np.where(covers, end - begin, 1.0)
    power = steepness + 1
    mean = np.where(covers, ((1 - begin) ** power - (1 - end) ** power) / width, power * (1 - begin) ** steepness)
    missed: np.ndarray = (rate * mean).clip(0.0, 1.0)
    return missed


def _missed_when_mild(positive: np.ndarray, config: HospitalNoise, context: NoiseContext) -> np.ndarray:
    """P(1→0) of each pair, were it a positive; severities are ranked over all stays, taking part or not."""
    missed = missed_by_severity(
        context.severity, positive.sum(axis=1).astype(np.float64), config.rate, config.steepness
    )
    return np.broadcast_to(missed[:, None], positive.shape)


def _missed_when_acute(positive: np.ndarray, config: HospitalNoise, context: NoiseContext) -> np.ndarray:
    share = {"acute": 1.0, "recurrent": config.recurrent_share, "lifelong": config.lifelong_share}
    missed = [
        config.label_rates.get(key, config.rate * share[persistence])
        for key, persistence in zip(context.label_keys, context.persistence, strict=True)
    ]
    return np.broadcast_to(np.array(missed)[None, :], positive.shape)


def _lost_once(
    positive: np.ndarray,
    member: np.ndarray,
    config: HospitalNoise,
    context: NoiseContext,
    draw: np.ndarray,
    second: np.ndarray,
) -> Flips:
    """Lose a lifelong label at the visit with the lowest draw, where the draw of the patient's first row says so."""
    has = positive & member & (np.array(context.persistence) == "lifelong")
    if not len(has):
        return has, np.zeros(has.shape)
    _, first, patient = np.unique(context.patient, return_index=True, return_inverse=True)
    by_patient = np.argsort(patient, kind="stable")
    starts = np.searchsorted(patient[by_patient], np.arange(len(first)))
    visits = np.add.reduceat(has[by_patient].astype(np.int64), starts, axis=0)[patient]
    lowest = np.minimum.reduceat(np.where(has, draw, np.inf)[by_patient], starts, axis=0)[patient]
    may = has & (visits > 1)
    hit = may & (draw == lowest) & (second[first] < config.rate)[patient]
    return hit, may * config.rate / np.maximum(visits, 1)


def _recoded(
    positive: np.ndarray,
    member: np.ndarray,
    config: HospitalNoise,
    context: NoiseContext,
    draw: np.ndarray,
    second: np.ndarray,
) -> Flips:
    """Under the new system, swap the one positive of a group for another of it, and lose positives of no group.

    A positive beside another of its group is left alone, and so is one whose partners take no part. Where a group has
    several partners to go to, `second` chooses evenly.
    """
    new = context.order >= 1 - config.after
    probability = config.rate * config.other_share * (positive & member & new[:, None])
    hit = draw < probability
    for group in context.groups:
        columns = np.array(group)
        probability[:, columns], hit[:, columns] = 0.0, False
        alone = positive[:, columns].sum(axis=1) == 1
        partner = member[:, columns] & ~positive[:, columns]
        partners = partner.sum(axis=1)
        own = columns[positive[:, columns].argmax(axis=1)]
        rows = np.flatnonzero(new & alone & (partners > 0) & member[np.arange(len(own)), own])
        own, partner, partners = own[rows], partner[rows], partners[rows]
        probability[rows, own] = config.rate
        probability[rows[:, None], columns] += partner * (config.rate / partners)[:, None]
        confused = draw[rows, own] < config.rate
        chosen = np.floor(second[rows, own] * partners).astype(np.int64)
        target = columns[(partner.cumsum(axis=1) > chosen[:, None]).argmax(axis=1)]
        hit[rows[confused], own[confused]] = True
        hit[rows[confused], target[confused]] = True
    return hit, probability
