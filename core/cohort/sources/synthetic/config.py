"""Sizes, shares and effect strengths of the synthetic cohort, and the tables of its invented medicine.

`SyntheticConfig` holds every number that sets how large, how incomplete and how hard the cohort is. What each
phenotype does (its prevalence, its factors, its effect on channels) stands in ``model.toml``, how it is written about
in ``phrases.toml``, and what a reader finds for it in ``evidence.toml``.
"""

import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from core.cohort.labelset import PHENOTYPES
from core.errors import ConfigError
from core.noise.hospital import HOSPITAL_KINDS, HospitalNoise
from core.noise.injection import KINDS, Kind, NoiseConfig

NOISE_KINDS: tuple[str, ...] = (*KINDS, *HOSPITAL_KINDS)
PATIENT_FACTORS = ("cardiac", "metabolic", "renal", "pulmonary", "hepatic", "frailty")
STAY_FACTORS = ("severity", "infection", "ischaemia", "bleeding", "surgical", "airway")
MIN_STAYS = 50
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class NoiseSpec:
    """Label noise planted into the training stays (methods.md A.1, `core.noise`).

    Parameters
    ----------
    kind
        ``none``, ``symmetric`` (ρ₊ = ρ₋), ``asymmetric`` (any pair), ``balanced`` (ρ₋ follows from ρ₊ so that as
        many labels appear as vanish) or ``ccn`` (a label taken for another), or noise that looks like hospitals:
        ``stay`` (by the generator's own severity), ``label``, ``patient``, ``source``.
    rho_plus
        P(recorded 0 | present), in [0, 1); the rate of kinds that take one alone.
    rho_minus
        P(recorded 1 | absent), in [0, 1); 0 but for ``symmetric`` and ``asymmetric``.
    """

    kind: str = "none"
    rho_plus: float = 0.0
    rho_minus: float = 0.0

    def check(self) -> None:
        """Raise ConfigError unless the kind is known and the rates fit it."""
        if self.kind not in NOISE_KINDS:
            raise ConfigError(f"a noise kind among {', '.join(NOISE_KINDS)}", repr(self.kind), "name one of them")
        for name, rate in (("rho_plus", self.rho_plus), ("rho_minus", self.rho_minus)):
            if not 0.0 <= rate < 1.0:
                raise ConfigError(f"{name} in [0, 1)", f"{rate}", "give a share below 1")
        if self.kind == "symmetric" and self.rho_plus != self.rho_minus:
            raise ConfigError(
                "equal rates for symmetric noise",
                f"({self.rho_plus}, {self.rho_minus})",
                "make them equal, or choose asymmetric",
            )
        if self.kind == "none" and (self.rho_plus or self.rho_minus):
            raise ConfigError(
                "no rates without noise", f"({self.rho_plus}, {self.rho_minus})", "choose a noise kind, or drop them"
            )
        if self.kind not in ("none", "symmetric", "asymmetric") and self.rho_minus:
            raise ConfigError(
                f"{self.kind} noise by rho_plus alone", f"rho_minus {self.rho_minus}", "leave rho_minus out"
            )
        self.noise()

    def noise(self) -> NoiseConfig | HospitalNoise:
        """Give the injector's own options."""
        if self.kind in HOSPITAL_KINDS:
            return HospitalNoise(self.kind, rate=self.rho_plus)
        if self.kind == "asymmetric":
            return NoiseConfig("asymmetric", rho_plus=self.rho_plus, rho_minus=self.rho_minus)
        return NoiseConfig(cast("Kind", self.kind), rate=self.rho_plus)


@dataclass(frozen=True)
class SyntheticConfig:
    """How the synthetic cohort is made; the defaults are the published difficulty, measured by the benchmark script.

    Parameters
    ----------
    labels_per_stay
        Mean positives per stay; 4.575 in the MIRACL paper's MIMIC-IV cohort.
    visits
        Share of patients with 1, 2, … visits; mean 1.45, as MIMIC-IV has about 1.45 ICU stays a patient.
    median_los, los_sd, los_by_severity
        Length of stay: median in hours, sd of its logarithm beside severity, and the logarithm's slope on severity;
        together a mean of about 85 h.
    los_limits
        Hours, closed.
    cutoff_hours
        A model reads what is charted in [0, cutoff) hours.
    charted_hours
        Bedside charting is generated up to this hour, at full rate before the cut-off.
    later_rate
        Charting rate after the cut-off, relative to the rate before.
    no_note, no_series
        Shares of stays without notes, without bedside series; disjoint.
    lifelong_drift
        Rise of a lifelong phenotype's liability per later visit (sd), by which it can newly appear.
    recurrent_stay_share, acute_patient_share
        Variance of the unexplained liability that is drawn anew at each stay (recurrent), or belongs to the patient
        (acute).
    both_of_group
        Share of grouped pairs (diabetes, hypertension) in which both phenotypes are stated.
    effect_scale
        Multiplies every effect of a phenotype on a channel that a model reads; laboratory values stay as they are.
    strength_sd
        Sd of the logarithm of a phenotype's strength in one stay.
    silent
        Share of present phenotypes that leave no trace in the series.
    mimic, mimic_strength, mimic_channels
        Share of absent phenotypes that leave a trace all the same (pain, drugs, other causes), how strong, and on
        what share of the phenotype's channels: a lone fever, a lone fast pulse.
    present_at_admission
        Share of acute phenotypes that began before admission.
    onset_limit
        Hours within which the others begin (or the stay's end).
    ramp, recovery
        Hours to full effect, and median hours to fall by 1/e once it wanes.
    slow_correlation
        Hourly correlation of a channel's slow noise.
    mention_scale, symptom_scale, false_mention_scale
        Multiply the probabilities of naming a present phenotype, hinting at it, and naming an absent one.
    named_at_most
        Chance at most that a note names a present phenotype; the rest is left out, however outspoken its author.
    checklist, checklist_depth
        Share of notes whose author goes through a list of conditions and denies the absent ones in one sentence, and
        how many times likelier each is denied then.
    typos
        Typing errors per hundred words.
    copy_forward
        Share of later visits whose past history is the last visit's, unchanged.
    """

    labels_per_stay: float = 4.575
    visits: tuple[float, ...] = (0.72, 0.16, 0.07, 0.03, 0.02)
    median_los: float = 50.0
    los_sd: float = 0.95
    los_by_severity: float = 0.40
    los_limits: tuple[float, float] = (6.0, 1440.0)
    cutoff_hours: float = 48.0
    charted_hours: float = 240.0
    later_rate: float = 0.35
    no_note: float = 0.08
    no_series: float = 0.06
    lifelong_drift: float = 0.10
    recurrent_stay_share: float = 0.45
    acute_patient_share: float = 0.15
    both_of_group: float = 0.02
    effect_scale: float = 2.1
    strength_sd: float = 0.30
    silent: float = 0.04
    mimic: float = 0.06
    mimic_strength: float = 1.2
    mimic_channels: float = 0.4
    present_at_admission: float = 0.72
    onset_limit: float = 36.0
    ramp: float = 4.0
    recovery: float = 55.0
    slow_correlation: float = 0.85
    mention_scale: float = 2.4
    symptom_scale: float = 1.2
    false_mention_scale: float = 1.8
    named_at_most: float = 0.85
    checklist: float = 0.6
    checklist_depth: float = 5.0
    typos: float = 0.8
    copy_forward: float = 0.45


@dataclass(frozen=True)
class Channel:
    """How a channel behaves without disease; `model.toml` explains the fields."""

    base: float
    sd: float
    limits: tuple[float, float]
    digits: int
    group: str
    scale: Literal["linear", "log"] = "linear"
    slow: float = 0.0
    noise: float = 0.0
    circadian: float = 0.0


@dataclass(frozen=True)
class Group:
    """How often channels charted together are charted; rate per hour, `share` of stays that have them unprompted."""

    rate: float
    sicker: float = 0.0
    share: float = 1.0
    once: bool = False
    suspected_by: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Term:
    """What a product of phenotypes and flags does to channels, and by which course in time."""

    when: tuple[str, ...]
    effects: dict[str, float]
    course: str = "own"
    delay: float = 0.0


@dataclass(frozen=True)
class Medicine:
    """The parsed ``model.toml``: phenotypes in `label_id` order, and everything that depends on them."""

    prevalence: tuple[float, ...]
    patient: tuple[dict[str, float], ...]
    stay: tuple[dict[str, float], ...]
    exclusive: dict[str, dict[str, Any]]
    flags: dict[str, dict[str, Any]]
    channels: dict[str, Channel]
    groups: dict[str, Group]
    terms: tuple[Term, ...]


def read_toml(name: str) -> dict[str, Any]:
    """Read one of the package's tables."""
    return tomllib.loads((_HERE / name).read_text(encoding="utf-8"))


@cache
def medicine() -> Medicine:
    """Parse ``model.toml`` once; its phenotypes must be the label set's."""
    raw = read_toml("model.toml")
    ordered = [raw["phenotype"][label.key] for label in PHENOTYPES]
    return Medicine(
        prevalence=tuple(p["prevalence"] for p in ordered),
        patient=tuple(p["patient"] for p in ordered),
        stay=tuple(p["stay"] for p in ordered),
        exclusive=raw["exclusive"],
        flags=raw["flag"],
        channels={k: Channel(**{**v, "limits": tuple(v["limits"])}) for k, v in raw["channel"].items()},
        groups={k: Group(**v) for k, v in raw["group"].items()},
        terms=tuple(Term(**{**t, "when": tuple(t["when"].split("*"))}) for t in raw["term"]),
    )
