"""Label noise on purpose: flips of stated training labels, drawn by a generator of their own (methods.md A.1)."""

from dataclasses import dataclass
from threading import Thread
from typing import Literal, NamedTuple

import numpy as np

from core.errors import ConfigError
from core.hints import Bool, Float, Int, UInt8

Kind = Literal["none", "symmetric", "asymmetric", "balanced", "ccn"]
KINDS: tuple[Kind, ...] = ("none", "symmetric", "asymmetric", "balanced", "ccn")

_PART = 1 << 16
"""Numbers drawn at once: half a megabyte."""
_ALONE = 1 << 18
"""Pairs from which two threads draw: below, to start one costs what it saves."""


@dataclass(frozen=True)
class NoiseConfig:
    """Which labels to flip, and how often.

    Parameters
    ----------
    kind
        `symmetric`: both directions at `rate`. `asymmetric`: 1→0 at `rho_plus`, 0→1 at `rho_minus`. `balanced`: 1→0 at
        `rate`, 0→1 at rate·L_avg/(L - L_avg), so that the number of positives stays the same [paper]. `ccn`: each
        positive is, at `rate`, removed and another label of the stay switched on in proportion to how common that label
        is [released code only].
    rate, rho_plus, rho_minus
        Probabilities, 0–1.
    mean_positives
        L_avg of `balanced`, labels per stay; if not given, from the data, as the released code does (the paper's
        figures use the whole dataset's: 4.575, 4.126, 2.246).
    seed_policy, seed
        `fixed`: the same mask for every model seed, 123 [released]. `tie_to_model_seed`: another mask for each (A.11
        row 27).
    """

    kind: Kind = "none"
    rate: float = 0.0
    rho_plus: float = 0.0
    rho_minus: float = 0.0
    mean_positives: float | None = None
    seed_policy: Literal["fixed", "tie_to_model_seed"] = "fixed"
    seed: int = 123

    def __post_init__(self) -> None:
        """Refuse options outside their range."""
        if self.kind not in KINDS:
            raise ConfigError(f"a kind of noise out of {', '.join(KINDS)}", repr(self.kind), "choose one of them")
        if self.seed_policy not in ("fixed", "tie_to_model_seed"):
            raise ConfigError("seed_policy fixed or tie_to_model_seed", repr(self.seed_policy), "choose one of them")
        for name, rate in (("rate", self.rate), ("rho_plus", self.rho_plus), ("rho_minus", self.rho_minus)):
            if not 0 <= rate <= 1:
                raise ConfigError(f"{name} from 0 to 1", str(rate), f"set {name} within that range")

    def generator(self, model_seed: int) -> np.random.Generator:
        """Give the noise's own random stream."""
        return np.random.default_rng(self.seed if self.seed_policy == "fixed" else model_seed)


@dataclass(frozen=True)
class InjectedNoise:
    """Labels after the flips, where they were flipped, and the rates ρ₊ = P(1→0), ρ₋ = P(0→1) drawn at."""

    observed: UInt8[np.ndarray, "stays labels"]
    flipped: Bool[np.ndarray, "stays labels"]
    rho_plus: float
    rho_minus: float


def balanced_rate(rate: float, mean_positives: float, labels: int) -> float:
    """ρ₋ = ρ·L_avg/(L - L_avg): as many labels switched on as are switched off, on average."""
    if not 0 <= mean_positives < labels:
        raise ConfigError(
            f"mean positives per stay from 0 to below {labels}", str(mean_positives), "check the labels or the setting"
        )
    switched_on = rate * mean_positives / (labels - mean_positives)
    if switched_on > 1:
        raise ConfigError(
            "a balanced rate at which 0→1 stays a probability", f"{switched_on:.3f}", "lower the rate of the noise"
        )
    return switched_on


def noise_rates(
    config: NoiseConfig, labels: UInt8[np.ndarray, "stays labels"], member: Bool[np.ndarray, "stays labels"]
) -> tuple[float, float]:
    """(ρ₊, ρ₋) of a kind of noise on these labels.

    For `ccn` ρ₋ is the expected share of negatives switched on, on average over labels.
    """
    if config.kind == "none":
        return 0.0, 0.0
    if config.kind == "symmetric":
        return config.rate, config.rate
    if config.kind == "asymmetric":
        return config.rho_plus, config.rho_minus
    if config.kind == "balanced" and config.mean_positives is not None:
        return config.rate, balanced_rate(config.rate, config.mean_positives, labels.shape[1])
    stated = int(member.sum())
    positives = int((member & (labels != 0)).sum())
    mean_positives = labels.shape[1] * positives / stated if stated else 0.0
    return config.rate, balanced_rate(config.rate, mean_positives, labels.shape[1])


def inject(
    labels: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    config: NoiseConfig,
    generator: np.random.Generator,
) -> InjectedNoise:
    """Flip stated training labels at random; every other label stays.

    One number is drawn for every pair, in order, taking part or not: whether one stay is left out does not change
    another's flips.

    Parameters
    ----------
    labels
        0 or 1.
    member
        Pairs that may be flipped: stated, of training stays.
    config, generator
        The kind and rates, and the random stream (`NoiseConfig.generator`).
    """
    rho_plus, rho_minus = noise_rates(config, labels, member)
    if config.kind == "ccn":
        observed = _mislabel(labels, member, generator.random(labels.shape), rho_plus, generator)
        return InjectedNoise(observed, observed != labels, rho_plus, rho_minus)
    observed, flipped = np.empty(labels.shape, np.uint8), np.empty(labels.shape, np.bool_)
    pairs = _Pairs(*(part.reshape(-1) for part in (labels, member, observed, flipped)))
    _flip(pairs, rho_plus, rho_minus, generator)
    return InjectedNoise(observed, flipped, rho_plus, rho_minus)


class _Pairs(NamedTuple):
    """Pairs in a row: what is stated, whether it may be flipped, and room for what is said of each."""

    labels: np.ndarray
    member: np.ndarray
    observed: np.ndarray
    flipped: np.ndarray

    def of(self, here: slice) -> "_Pairs":
        """Give some of the pairs, as views."""
        return _Pairs(*(part[here] for part in self))


def _flip(pairs: _Pairs, rho_plus: float, rho_minus: float, generator: np.random.Generator) -> None:
    """Draw for every pair whether it flips; of many pairs a second thread draws the second half of the same stream.

    Afterwards the generator stands where it would had one thread drawn all.
    """
    half = pairs.labels.size // 2
    ahead = _ahead(generator, half) if pairs.labels.size >= _ALONE else None
    if ahead is None:
        _draw(pairs, rho_plus, rho_minus, generator)
        return
    failed: list[Exception] = []

    def rest() -> None:
        try:
            _draw(pairs.of(slice(half, None)), rho_plus, rho_minus, ahead)
        except Exception as error:
            failed.append(error)

    second = Thread(target=rest)  # a pool takes .6 ms longer to start and stop, a fifth of what is drawn meanwhile
    second.start()
    _draw(pairs.of(slice(half)), rho_plus, rho_minus, generator)
    second.join()
    if failed:
        raise failed[0]
    kept, ended = generator.bit_generator.state, ahead.bit_generator.state
    generator.bit_generator.state = {**kept, "state": ended["state"]}


def _ahead(generator: np.random.Generator, numbers: int) -> np.random.Generator | None:
    """Give a generator that stands so many numbers further in the same stream; None where its kind can't be moved."""
    if not isinstance(generator.bit_generator, np.random.PCG64):
        return None
    moved = np.random.PCG64(0)
    moved.state = generator.bit_generator.state
    return np.random.Generator(moved.advance(numbers))


def _draw(pairs: _Pairs, rho_plus: float, rho_minus: float, generator: np.random.Generator) -> None:
    """Say of each pair whether it flips, a part at a time: the numbers are read where the processor still has them.

    A stream gives the same numbers in one call or in many, so parts change no flip.
    """
    numbers = np.empty(min(_PART, pairs.labels.size))
    for first in range(0, pairs.labels.size, _PART):
        labels, member, observed, flipped = pairs.of(slice(first, first + _PART))
        drawn = numbers[: labels.size]
        generator.random(out=drawn)
        rate = rho_plus if rho_plus == rho_minus else np.where(labels != 0, rho_plus, rho_minus)
        np.less(drawn, rate, out=flipped)
        np.logical_and(flipped, member, out=flipped)
        np.bitwise_xor(labels, flipped.view(np.uint8), out=observed)


def _mislabel(
    labels: np.ndarray, member: np.ndarray, draw: np.ndarray, rate: float, generator: np.random.Generator
) -> np.ndarray:
    """Remove each positive at the rate and switch on another label of the stay, drawn by how common labels are.

    A label that is switched on stays on, even where it was itself removed.
    """
    removed = member & (labels != 0) & (draw < rate)
    rows, from_label = np.nonzero(removed)
    common = (member & (labels != 0)).sum(axis=0).astype(np.float64)
    to_label = _other_label(from_label, _shares(common), generator.random(len(rows)))
    observed = labels.copy()
    observed[rows, from_label] = 0
    stays = member[rows, to_label]
    observed[rows[stays], to_label[stays]] = 1
    return observed


def _shares(common: Float[np.ndarray, " labels"]) -> np.ndarray:
    """P(to | from) ∝ frequency, zero on the diagonal; evenly where no other label has positives."""
    weights = np.repeat(common[None, :], len(common), axis=0)
    np.fill_diagonal(weights, 0.0)
    lonely = weights.sum(axis=1) == 0
    weights[lonely] = 1.0 - np.eye(len(common))[lonely]
    shares: np.ndarray = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
    return shares


def _other_label(from_label: Int[np.ndarray, " hits"], shares: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Draw the other label by inverting the cumulated shares of each row; the label itself where there is no other."""
    reached = np.cumsum(shares, axis=1)
    if shares.shape[1] == 1:
        return from_label
    drawn: np.ndarray = (draw[:, None] * reached[from_label, -1:] >= reached[from_label]).sum(axis=1)
    return drawn.clip(max=shares.shape[1] - 1)


def resolve_uncertain(
    labels: Int[np.ndarray, "stays labels"], policy: Literal["zero", "mask"] = "zero"
) -> tuple[UInt8[np.ndarray, "stays labels"], Bool[np.ndarray, "stays labels"]]:
    """Turn labels -1 (uncertain) and -2 (missing) into 0, stated (`zero`, released) or not stated (`mask`, FlexCare).

    Returns
    -------
    tuple
        Labels 0 or 1, and which pairs are stated (A.11 row 37).
    """
    if policy not in ("zero", "mask"):
        raise ConfigError("a policy for uncertain labels, zero or mask", repr(policy), "choose one of them")
    known = labels >= 0
    if np.any(labels > 1):
        raise ConfigError("labels of 0, 1, or below 0 where uncertain", f"{int(labels.max())}", "check the label file")
    stated = known if policy == "mask" else np.ones(labels.shape, np.bool_)
    return np.where(known, labels, 0).astype(np.uint8), stated
