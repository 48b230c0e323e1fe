"""Does P(label wrong) mean what it says? Expected calibration error, Brier score and reliability curve.

Always told per observed class as well: negatives are many and seldom wrong, so that a pooled figure is nearly theirs
alone. The figure that is reported is that of ten bins of equal width, weighted by count; beside it stands the one of
bins that hold equally many pairs, which sees more where most probabilities lie close to 0.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import ConfigError
from core.hints import Bool, Float, Shaped, UInt8

BINS = 10
"""Bins of the reported calibration error, the usual number."""


@dataclass(frozen=True)
class ReliabilityCurve:
    """Per bin: its ends, how many pairs it holds, their mean probability and the share in which the event happened.

    Arrays of one length; `predicted` and `observed` are NaN in an empty bin. Bins of equal width are closed above and
    the first one below too; bins of equal mass run from their lowest member to their highest.
    """

    low: Float[np.ndarray, " bins"]
    high: Float[np.ndarray, " bins"]
    n: Shaped[np.ndarray, " bins"]
    predicted: Float[np.ndarray, " bins"]
    observed: Float[np.ndarray, " bins"]

    @property
    def error(self) -> float:
        """Σ_b (n_b/n)·|observed_b - predicted_b|; NaN without pairs."""
        total = int(self.n.sum())
        if total == 0:
            return float("nan")
        some = self.n > 0
        return float(np.sum(self.n[some] / total * np.abs(self.observed[some] - self.predicted[some])))


@dataclass(frozen=True)
class Calibration:
    """Calibration of P(label wrong) among the pairs of one observed class, or of both (`pooled`).

    Parameters
    ----------
    observed_class
        ``positive``, ``negative`` or ``pooled``.
    ece, ece_mass
        Expected calibration error, 0–1, of bins of equal width (the reported one) and of equal mass.
    brier
        Mean squared difference of probability and event, 0–1.
    predicted, wrong
        Mean probability, and the share of pairs that are wrong: their difference is the bias as a whole.
    n
        Pairs.
    curve
        Reliability curve of the bins of equal width.
    """

    observed_class: str
    ece: float
    ece_mass: float
    brier: float
    predicted: float
    wrong: float
    n: int
    curve: ReliabilityCurve


def reliability(
    event: Shaped[np.ndarray, " pairs"],
    probability: Float[np.ndarray, " pairs"],
    bins: int = BINS,
    kind: Literal["width", "mass"] = "width",
) -> ReliabilityCurve:
    """Sort pairs into bins by their probability and compare it with what happened.

    Parameters
    ----------
    event
        Whether it happened.
    probability
        In [0, 1]; pairs without one (NaN) are left out.
    bins
        How many.
    kind
        ``width``: bin b is (b/bins, (b+1)/bins], 0 itself in the first. ``mass``: equally many pairs in each, to within
        one; pairs of one probability may then part, by their place in the data, and the figure depends on it.

    Raises
    ------
    ConfigError
        When there is no bin, or a probability lies outside [0, 1].
    """
    if bins < 1 or kind not in ("width", "mass"):
        raise ConfigError("one bin or more, of equal width or mass", f"{bins} of {kind!r}", "give 10 and width")
    known = ~np.isnan(probability)
    p, happened = probability[known].astype(np.float64), np.asarray(event)[known] != 0
    if len(p) and not (p.min() >= 0 and p.max() <= 1):
        raise ConfigError("probabilities in [0, 1]", f"{p.min():.3g} to {p.max():.3g}", "give P, not a score")
    edges = np.linspace(0, 1, bins + 1)
    if kind == "width":
        # float32 values are held against float32 edges: .3 as float32 lies above .3 as float64
        limits = edges.astype(probability.dtype) if probability.dtype.kind == "f" else edges
        place = np.clip(np.searchsorted(limits, probability[known], side="left") - 1, 0, bins - 1)
        low, high = edges[:-1], edges[1:]
    else:
        place = np.empty(len(p), np.int64)
        place[np.argsort(p, kind="stable")] = np.arange(len(p)) * bins // max(len(p), 1)
        low, high = np.full(bins, np.nan), np.full(bins, np.nan)
        np.fmin.at(low, place, p)
        np.fmax.at(high, place, p)
    n = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        predicted, observed = (np.bincount(place, x, bins) / n for x in (p, happened.astype(np.float64)))
    return ReliabilityCurve(low, high, n, predicted, observed)


def expected_calibration_error(
    event: Shaped[np.ndarray, " pairs"],
    probability: Float[np.ndarray, " pairs"],
    bins: int = BINS,
    kind: Literal["width", "mass"] = "width",
) -> float:
    """Σ_b (n_b/n)·|share of events in bin b - mean probability in bin b|; 0 is perfect (see `reliability`)."""
    return reliability(event, probability, bins, kind).error


def brier(event: Shaped[np.ndarray, " pairs"], probability: Float[np.ndarray, " pairs"]) -> float:
    """Mean of (probability - event)²; pairs without a probability (NaN) are left out, NaN without any."""
    known = ~np.isnan(probability)
    gap = probability[known].astype(np.float64) - (np.asarray(event)[known] != 0)
    return float(np.mean(gap**2)) if len(gap) else float("nan")


def calibration(
    error_probability: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    truth: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    bins: int = BINS,
) -> dict[str, Calibration]:
    """Hold P(label wrong) against the truth, by observed class.

    Parameters
    ----------
    error_probability
        P(label wrong), 0–1; NaN where nothing is said.
    observed, truth
        Recorded and true labels, 0 or 1.
    member
        Pairs that count.

    Returns
    -------
    dict
        Keys ``positive``, ``negative``, ``pooled``.
    """
    wrong = observed != truth
    groups = {"positive": member & (observed != 0), "negative": member & (observed == 0), "pooled": member}
    told = {}
    for name, group in groups.items():
        rows = group & ~np.isnan(error_probability)
        p, event = error_probability[rows], wrong[rows]
        curve = reliability(event, p, bins)
        told[name] = Calibration(
            observed_class=name,
            ece=curve.error,
            ece_mass=expected_calibration_error(event, p, bins, "mass"),
            brier=brier(event, p),
            predicted=float(p.mean(dtype=np.float64)) if len(p) else float("nan"),
            wrong=float(event.mean()) if len(p) else float("nan"),
            n=len(p),
            curve=curve,
        )
    return told
