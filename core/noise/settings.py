"""The benchmark's noise by name: clean, the paper's class-conditional settings, and four that look like hospitals."""

from dataclasses import dataclass

import numpy as np

from core.cohort.tensors import PackedCohort
from core.errors import ConfigError
from core.hints import Bool, Float, UInt8
from core.noise.context import NoiseContext
from core.noise.hospital import HospitalNoise, inject_hospital
from core.noise.injection import InjectedNoise, NoiseConfig, inject


@dataclass(frozen=True)
class NoiseSetting:
    """A row of a table: its title, and the noise."""

    title: str
    noise: NoiseConfig | HospitalNoise


SETTINGS: dict[str, NoiseSetting] = {
    "clean": NoiseSetting("clean", NoiseConfig("none")),
    "sym20": NoiseSetting("symmetric .2", NoiseConfig("symmetric", rate=0.2)),
    "sym40": NoiseSetting("symmetric .4", NoiseConfig("symmetric", rate=0.4)),
    "fp20": NoiseSetting("(0, .2)", NoiseConfig("asymmetric", rho_minus=0.2)),
    "fp40": NoiseSetting("(0, .4)", NoiseConfig("asymmetric", rho_minus=0.4)),
    "fn20": NoiseSetting("(.2, 0)", NoiseConfig("asymmetric", rho_plus=0.2)),
    "fn40": NoiseSetting("(.4, 0)", NoiseConfig("asymmetric", rho_plus=0.4)),
    "bal20": NoiseSetting("balanced .2", NoiseConfig("balanced", rate=0.2)),
    "bal40": NoiseSetting("balanced .4", NoiseConfig("balanced", rate=0.4)),
    "stay": NoiseSetting("mild cases missed", HospitalNoise("stay", rate=0.3)),
    "label": NoiseSetting("acute under-coded", HospitalNoise("label", rate=0.3)),
    "patient": NoiseSetting("chronic lost once", HospitalNoise("patient", rate=0.5)),
    "source": NoiseSetting("coding change", HospitalNoise("source", rate=0.4)),
}
SEVEN = ("sym20", "sym40", "fp20", "fp40", "fn20", "fn40", "bal20")
HOSPITAL = ("stay", "label", "patient", "source")


@dataclass(frozen=True)
class Planted:
    """A cohort's labels with noise planted, and what only a benchmark may know.

    Parameters
    ----------
    observed
        uint8 [stays, labels], what a method is given.
    truth
        uint8 [stays, labels], the labels before.
    flipped
        bool [stays, labels].
    rho_plus, rho_minus
        ρ₊ = P(1→0), ρ₋ = P(0→1): mean probabilities over the pairs that take part.
    flip_probability
        float32 [stays, labels], P(flip) of each pair given the truth; 0 where it takes no part. For none of the
        settings but the four hospital-like ones does it differ within a class.
    """

    observed: UInt8[np.ndarray, "stays labels"]
    truth: UInt8[np.ndarray, "stays labels"]
    flipped: Bool[np.ndarray, "stays labels"]
    rho_plus: float
    rho_minus: float
    flip_probability: Float[np.ndarray, "stays labels"]


def plant(packed: PackedCohort, name: str, context: NoiseContext | None, noise_seed: int) -> Planted:
    """Plant a setting's noise into a cohort whose recorded labels are taken for the truth.

    Parameters
    ----------
    packed
        The cohort; stated labels of its training stays may flip, no other.
    name
        A key of `SETTINGS`.
    context
        What hospital-like noise depends on (`NoiseContext.of`); the other settings do without.
    noise_seed
        Of the flips alone, 0 or more.

    Raises
    ------
    ConfigError
        On an unknown name, a negative seed, or a hospital-like setting without its context.
    """
    if name not in SETTINGS:
        raise ConfigError(f"a setting among {', '.join(SETTINGS)}", repr(name), "choose one of them")
    if noise_seed < 0:
        raise ConfigError("a noise seed of 0 or more", str(noise_seed), "give another")
    truth = np.array(packed.observed, dtype=np.uint8)
    member = np.asarray(packed.stated) & ~np.asarray(packed.is_test)[:, None]
    noise, generator = SETTINGS[name].noise, np.random.default_rng(noise_seed)
    if isinstance(noise, HospitalNoise):
        if context is None:
            raise ConfigError(f"the cohort's context for noise {name!r}", "none", "make it with NoiseContext.of")
        hospital = inject_hospital(truth, member, noise, context, generator)
        return _planted(truth, hospital, hospital.flip_probability)
    injected = inject(truth, member, noise, generator)
    probability = member * np.where(truth != 0, injected.rho_plus, injected.rho_minus)
    return _planted(truth, injected, probability.astype(np.float32))


def _planted(truth: np.ndarray, injected: InjectedNoise, probability: np.ndarray) -> Planted:
    return Planted(injected.observed, truth, injected.flipped, injected.rho_plus, injected.rho_minus, probability)
