"""Who the patients are, when they come, and which phenotypes each stay truly has.

A phenotype is present where its liability, a unit normal, exceeds a threshold. Liabilities share latent factors (of
the patient: heart, metabolism, kidney, lung, liver, frailty; of the stay: severity, infection, ischaemia, bleeding,
surgery, airway), which is the comorbidity structure. A lifelong phenotype's liability belongs to the patient and only
rises with visits, so that it never leaves; an acute one's is mostly the stay's; a recurrent one's is part of each.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from core.cohort.labelset import PHENOTYPES
from core.cohort.sources.synthetic.config import PATIENT_FACTORS, STAY_FACTORS, SyntheticConfig, medicine
from core.hints import Bool, Float, Int

_KEYS = [label.key for label in PHENOTYPES]
_REFERENCE_STAYS = 60_000
_REFERENCE_SEED = 20_261_121


@dataclass(frozen=True)
class Patients:
    """Stays sorted by patient and visit, with their truth.

    Parameters
    ----------
    patient, visit
        Row of the patient, and 1-based visit, of each stay.
    truth
        Whether each phenotype is present, [stays, labels], in `label_id` order.
    severity
        How sick the stay is, about unit normal.
    los
        Hours.
    age
        Years at admission.
    female
        Sex.
    since
        Days from the patient's first admission.
    """

    patient: Int[np.ndarray, " stays"]
    visit: Int[np.ndarray, " stays"]
    truth: Bool[np.ndarray, "stays labels"]
    severity: Float[np.ndarray, " stays"]
    los: Float[np.ndarray, " stays"]
    age: Float[np.ndarray, " stays"]
    female: Bool[np.ndarray, " stays"]
    since: Float[np.ndarray, " stays"]


@dataclass(frozen=True)
class _Draw:
    patient: np.ndarray
    visit: np.ndarray
    patient_factors: np.ndarray
    stay_factors: np.ndarray
    liability: np.ndarray
    any_group: dict[str, np.ndarray]
    complicated: dict[str, np.ndarray]
    both: dict[str, np.ndarray]


def _loadings(rows: tuple[dict[str, float], ...], factors: tuple[str, ...]) -> np.ndarray:
    return np.array([[row.get(name, 0.0) for name in factors] for row in rows])


def _draw(stays: int, config: SyntheticConfig, rng: np.random.Generator) -> _Draw:
    """Latent factors and liabilities of `stays` stays; the last patient's later visits may be cut off."""
    model = medicine()
    shares = np.cumsum(config.visits) / np.sum(config.visits)
    factors = rng.standard_normal((stays, len(PATIENT_FACTORS)))
    frail = factors[:, PATIENT_FACTORS.index("frailty")]
    luck = rng.random(stays)
    visits = 1 + np.searchsorted(shares[:-1], np.clip(luck + 0.03 * frail, 0.0, 1.0), side="right")
    patient = np.repeat(np.arange(stays), visits)[:stays]
    first = np.concatenate([[0], np.flatnonzero(np.diff(patient)) + 1])
    visit = np.arange(stays) - np.repeat(first, np.diff(np.append(first, stays))) + 1

    by_patient = _loadings(model.patient, PATIENT_FACTORS)
    by_stay = _loadings(model.stay, STAY_FACTORS)
    stay_factors = rng.standard_normal((stays, len(STAY_FACTORS)))
    explained = (by_patient**2).sum(1) + (by_stay**2).sum(1)
    rest = np.sqrt(np.clip(1.0 - explained, 0.05, None))
    share = np.array(
        [
            {"lifelong": 0.0, "recurrent": config.recurrent_stay_share, "acute": 1.0 - config.acute_patient_share}[
                label.persistence
            ]
            for label in PHENOTYPES
        ]
    )
    own = rng.standard_normal((stays, len(_KEYS)))[patient] * np.sqrt(1 - share)
    own += rng.standard_normal((stays, len(_KEYS))) * np.sqrt(share)
    liability = factors[patient] @ by_patient.T + stay_factors @ by_stay.T + rest * own
    lifelong = np.array([label.persistence == "lifelong" for label in PHENOTYPES])
    liability += config.lifelong_drift * (visit - 1)[:, None] * lifelong

    any_group, complicated, both = {}, {}, {}
    for name, group in model.exclusive.items():
        any_group[name] = liability[:, _KEYS.index(group["plain"])]
        weights = np.array([group["patient"].get(f, 0.0) for f in PATIENT_FACTORS])
        noise = rng.standard_normal(stays) * np.sqrt(1.0 - float((weights**2).sum()))
        complicated[name] = (factors @ weights + noise)[patient]
        both[name] = rng.random(stays)[patient]
    return _Draw(patient, visit, factors, stay_factors, liability, any_group, complicated, both)


def targets(config: SyntheticConfig) -> Float[np.ndarray, " labels"]:
    """Prevalence of each phenotype: the published shares, scaled to `labels_per_stay`."""
    published = np.array(medicine().prevalence)
    scaled: np.ndarray = published * (config.labels_per_stay / published.sum())
    return scaled


@lru_cache(maxsize=8)
def _thresholds(config: SyntheticConfig) -> tuple[np.ndarray, dict[str, tuple[float, float]]]:
    """Thresholds at which a large reference draw has the target prevalences; the same for every cohort."""
    reference = _draw(_REFERENCE_STAYS, config, np.random.default_rng(_REFERENCE_SEED))
    wanted = targets(config)
    single = np.array([np.quantile(reference.liability[:, i], 1.0 - wanted[i]) for i in range(len(wanted))])
    grouped: dict[str, tuple[float, float]] = {}
    for name, group in medicine().exclusive.items():
        plain, hard = wanted[_KEYS.index(group["plain"])], wanted[_KEYS.index(group["complicated"])]
        share_any = (plain + hard) / (1.0 + config.both_of_group)
        cut = float(np.quantile(reference.any_group[name], 1.0 - share_any))
        chosen = reference.complicated[name][(reference.any_group[name] > cut)]
        share_hard = (hard / share_any - config.both_of_group) / (1.0 - config.both_of_group)
        grouped[name] = (cut, float(np.quantile(chosen, 1.0 - share_hard)))
    return single, grouped


def draw_patients(stays: int, config: SyntheticConfig, rng: np.random.Generator) -> Patients:
    """Draw `stays` stays of patients with one to five visits, with the truth of each phenotype."""
    drawn = _draw(stays, config, rng)
    single, grouped = _thresholds(config)
    truth = drawn.liability > single
    for name, (cut, hard_cut) in grouped.items():
        group = medicine().exclusive[name]
        present = drawn.any_group[name] > cut
        hard = drawn.complicated[name] > hard_cut
        both = drawn.both[name] < config.both_of_group
        truth[:, _KEYS.index(group["plain"])] = present & (~hard | both)
        truth[:, _KEYS.index(group["complicated"])] = present & (hard | both)

    count = int(drawn.patient[-1]) + 1
    burden = (truth[:, [i for i, v in enumerate(PHENOTYPES) if v.persistence == "acute"]]).sum(1)
    severity = 0.75 * drawn.stay_factors[:, STAY_FACTORS.index("severity")] + 0.35 * (burden - burden.mean())
    severity += 0.4 * rng.standard_normal(stays)
    spread = (severity - severity.mean()) / max(float(severity.std()), 1e-9)
    log_los = np.log(config.median_los) + config.los_by_severity * spread + config.los_sd * rng.standard_normal(stays)
    los = np.clip(np.exp(log_los), *config.los_limits)

    frail = drawn.patient_factors[:, PATIENT_FACTORS.index("frailty")]
    heart = drawn.patient_factors[:, PATIENT_FACTORS.index("cardiac")]
    first_age = np.clip(63.0 + 10.0 * frail + 4.0 * heart + 9.0 * rng.standard_normal(stays), 18.0, 96.0)
    female = rng.random(stays) < 0.44
    gap = np.exp(np.log(140.0) + 1.1 * rng.standard_normal(stays)) + 3.0
    gap[drawn.visit == 1] = 0.0
    running = np.cumsum(gap + los / 24.0) - los / 24.0
    start = running[np.flatnonzero(drawn.visit == 1)]
    since = running - start[drawn.patient]
    return Patients(
        patient=drawn.patient,
        visit=drawn.visit,
        truth=truth,
        severity=spread,
        los=np.round(los, 2),
        age=np.clip(np.floor(first_age[drawn.patient] + since / 365.25), 18, 90),
        female=female[:count][drawn.patient],
        since=since,
    )
