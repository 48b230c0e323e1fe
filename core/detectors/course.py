"""The course of a pair's prediction: means over epochs of functions of the signed margin m = s·z, s = 2ỹ - 1.

Nearly every detector of learning dynamics depends on logit and label by the signed margin alone: p_y = σ(m), the
probability of the observed value. Logits are kept in half precision, of which there are 65,536 numbers; each function
is worked out once for all of them and looked up, so that a detector costs a look-up per pair and epoch whatever its
formula.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from core.errors import ConfigError, RunError
from core.hints import Float, UInt8
from core.options import check_options, sourced
from core.traces import LOGIT_LIMIT, Traces

Margins = Float[np.ndarray, " numbers"]
HALF_NUMBERS = 1 << 16
SIGN_BIT = 15


@dataclass(frozen=True)
class CourseConfig:
    """Epochs that detectors of the course look at, 1-based, both ends included; fewer where fewer were trained.

    Parameters
    ----------
    first, last
        Of the detectors that average over training; all of it where `last` is None, as AUM's and DataMaps' authors do.
        A network that learns wrong labels by heart wants an earlier end (methods.md G.2: 12).
    early_last
        Last epoch of EL2N, which its authors take from the beginning of training alone.
    """

    first: int = sourced(1, "methods.md C.13", 1, 100_000)
    last: int | None = sourced(None, "methods.md C.13; better than G.2's 12 here, see DECISIONS.md", 1, 100_000)
    early_last: int = sourced(10, "ours: the first third of 30 epochs, as T of C.13's figures", 1, 100_000)

    def __post_init__(self) -> None:
        check_options(self)
        if self.first > min(self.early_last if self.last is None else self.last, self.early_last):
            raise ConfigError(
                "CourseConfig.first at or before last and early_last",
                f"{self.first}, {self.last} and {self.early_last}",
                "give an earlier first epoch",
            )


def window(epochs: int, first: int, last: int | None) -> range:
    """Places (0-based) of epochs first..last (1-based) among those trained; the newest one where none of them was.

    None as `last` is the newest.

    Raises
    ------
    RunError
        If no epoch was trained.
    """
    if epochs < 1:
        raise RunError("a course of at least one epoch", "none", "train for an epoch before asking for detectors")
    return range(min(first, epochs) - 1, epochs if last is None else min(last, epochs))


def half_table(function: Callable[[Margins], Margins]) -> Float[np.ndarray, " numbers"]:
    """Work a function out for every half-precision number, in the order of their bits; float32.

    Numbers beyond ±`LOGIT_LIMIT` get that limit's value; NaN stays NaN.
    """
    with np.errstate(invalid="ignore"):
        numbers = np.arange(HALF_NUMBERS, dtype=np.uint16).view(np.float16).astype(np.float64)
        return np.asarray(function(np.clip(numbers, -LOGIT_LIMIT, LOGIT_LIMIT)), np.float32)


def sign_of(observed: UInt8[np.ndarray, "stays labels"]) -> np.ndarray:
    """uint16 [stays, labels]: the bit that turns z into s·z, set where ỹ = 0."""
    bit: np.ndarray = (observed == 0).astype(np.uint16) << np.uint16(SIGN_BIT)
    return bit


def margin_bits(traces: Traces, epochs: range) -> Iterator[np.ndarray]:
    """Bits of the signed margins of each epoch, uint16 [stays, labels]."""
    flip = sign_of(traces.observed)
    for epoch in epochs:
        logits = np.ascontiguousarray(traces.logits[epoch], dtype=np.float16)
        yield logits.view(np.uint16) ^ flip


def sum_over(
    traces: Traces,
    function: Callable[[Margins], Margins],
    epochs: range,
    weight: Float[np.ndarray, "epochs stays"] | None = None,
) -> Float[np.ndarray, "stays labels"]:
    """Σ over `epochs` of function(m), float32.

    Parameters
    ----------
    traces
        Logits and observed labels.
    function
        Elementwise, of the signed margin.
    epochs
        Places of the epochs, see `window`.
    weight
        A factor for each epoch and stay, indexed as the traces are.
    """
    table = half_table(function)
    total = np.zeros(traces.observed.shape, np.float32)
    for epoch, bits in zip(epochs, margin_bits(traces, epochs), strict=True):
        value = table.take(bits)
        if weight is not None:
            value *= np.asarray(weight[epoch], np.float32)[:, None]
        total += value
    return total


def mean_over(
    traces: Traces,
    function: Callable[[Margins], Margins],
    epochs: range,
    weight: Float[np.ndarray, "epochs stays"] | None = None,
) -> Float[np.ndarray, "stays labels"]:
    """Mean over `epochs` of function(m), float32; see `sum_over`."""
    total = sum_over(traces, function, epochs, weight)
    total /= np.float32(len(epochs))
    return total


def doubt(margin: Margins) -> Margins:
    """1 - p_y = σ(-m) = |p - ỹ|: the probability that the network gives to the other value."""
    return np.asarray(expit(-margin))


def surprise(margin: Margins) -> Margins:
    """ℓ = -ln p_y = ln(1 + e^-m), the pair's cross-entropy in nats."""
    return np.asarray(np.logaddexp(0.0, -margin))
