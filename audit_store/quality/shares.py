"""A share estimated from a sample: weighted, clustered by patient, with an interval that covers also where it is rare.

The point is Hájek's ratio Σ wᵢyᵢ / Σ wᵢ. Its variance is Taylor's linearisation over patients: zᵢ = wᵢ(yᵢ − p) / Σ w is
summed within each patient, and V = K/(K − 1) Σ over patients of (Σ z)². The interval is Korn and Graubard's (1998): the
exact binomial interval of Clopper and Pearson at the effective sample size n* = p(1 − p)/V · (z/t)², where z and t are
the normal's and Student's quantiles for K − 1 degrees of freedom. n* is never taken above Kish's (Σw)²/Σw². Where
nothing (or everything) was found wrong, V is 0 and says nothing; n* is then Kish's size of the patients' weights.

Notes
-----
No correction for a finite population: an audit of much of a stratum gets an interval that is somewhat too wide.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TOO_FEW = 10
Z = 1.959963984540054  # 97.5 % point of the normal
TAIL = 0.025

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Share:
    """A share with its 95 % interval; all parts 0–1.

    Parameters
    ----------
    n
        Answers it rests on, present or absent.
    clusters
        Patients they came from.
    found
        How many of them have what is counted.
    unsure
        Further answers that were "can't say".
    estimate, low, high
        The share among those who could say, and its interval; None where there are fewer than `TOO_FEW`.
    floor, ceiling
        The interval's ends if every "can't say" lacked what is counted, and if every one had it.
    """

    n: int
    clusters: int
    found: int
    unsure: int
    estimate: float | None
    low: float | None
    high: float | None
    floor: float | None
    ceiling: float | None

    @property
    def told(self) -> bool:
        """Whether there was enough to tell."""
        return self.estimate is not None


def exact_interval(share: float, size: float) -> tuple[float, float]:
    """Clopper and Pearson's 95 % interval of a share (0–1) of `size` answers; both need not be whole numbers."""
    from scipy.special import betaincinv  # takes its time to load: not before somebody asks

    found = share * size
    low = 0.0 if found <= 0 else float(betaincinv(found, size - found + 1, TAIL))
    high = 1.0 if found >= size else float(betaincinv(found + 1, size - found, 1 - TAIL))
    return low, high


def expected_width(n: int, share: float, per_patient: float = 1.0) -> float:
    """Half the width of the 95 % interval to expect from `n` readings: the figure after "±".

    Parameters
    ----------
    n
        Readings drawn at random.
    share
        Share of wrong labels that one expects, 0–1.
    per_patient
        Design effect: how many readings of one patient count as one; 1 where patients are read once.

    Raises
    ------
    ValueError
        When `n` is below 1, `share` is not within 0–1, or `per_patient` is below 1.
    """
    if n < 1 or not 0 <= share <= 1 or per_patient < 1:
        raise ValueError(f"expected n ≥ 1, share in 0–1, per_patient ≥ 1; got {n}, {share}, {per_patient}")
    low, high = exact_interval(share, n / per_patient)
    return (high - low) / 2


def weighted_share(
    wrong: Array, weight: Array | None = None, cluster: Array | None = None, unsure: Array | None = None
) -> Share:
    """Estimate a share from answers drawn with known weights.

    Parameters
    ----------
    wrong
        Whether each answer has what is counted, bool [answers]; what stands where `unsure` is ignored.
    weight
        Pairs that each answer stands for (1/π), above 0 [answers]; equal where None.
    cluster
        Patient of each answer [answers]; each its own where None.
    unsure
        Where the reader could not say, bool [answers].

    Returns
    -------
    Share
        Without figures where fewer than `TOO_FEW` could say.
    """
    y = np.asarray(wrong, dtype=float)
    w = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=float)
    patients = np.arange(len(y)) if cluster is None else np.asarray(cluster)
    open_ = np.zeros(len(y), dtype=bool) if unsure is None else np.asarray(unsure, dtype=bool)
    told = ~open_
    n, k = int(told.sum()), len(np.unique(patients[told]))
    found = int(y[told].sum())
    if n < TOO_FEW:
        return Share(n, k, found, int(open_.sum()), None, None, None, None, None)
    estimate, low, high = ratio_interval(y[told], w[told], patients[told])
    floor, ceiling = low, high
    if open_.any():
        floor = min(low, ratio_interval(np.where(open_, 0.0, y), w, patients)[1])
        ceiling = max(high, ratio_interval(np.where(open_, 1.0, y), w, patients)[2])
    return Share(n, k, found, int(open_.sum()), estimate, low, high, floor, ceiling)


def ratio_interval(y: Floats, w: Floats, patients: Array) -> tuple[float, float, float]:
    """Σ wy / Σ w of values `y` (0–1) with weights `w`, clustered by patient, and its interval; one value or more."""
    from scipy.special import stdtrit

    total = float(w.sum())
    share = float(np.clip(w @ y / total, 0.0, 1.0))
    _, place = np.unique(patients, return_inverse=True)
    k = int(place.max()) + 1
    if k < 2:
        return share, 0.0, 1.0
    kish = total**2 / float(w @ w)
    spread = np.bincount(place, w * (y - share) / total)
    variance = k / (k - 1) * float(spread @ spread)
    degrees = (Z / float(stdtrit(k - 1, 1 - TAIL))) ** 2
    if variance <= 0 or not 0 < share < 1:
        each = np.bincount(place, w)
        size = total**2 / float(each @ each)
    else:
        size = min(kish, share * (1 - share) / variance)
    return share, *exact_interval(share, size * degrees)


def difference(one: Share, other: Share) -> tuple[float, float, float] | None:
    """Give the difference of two shares of different answers with its 95 % interval (Newcombe's: MOVER), -1 to 1."""
    if None in (one.estimate, one.low, one.high, other.estimate, other.low, other.high):
        return None
    p, a, b = (float(x) for x in (one.estimate, one.low, one.high) if x is not None)
    q, c, d = (float(x) for x in (other.estimate, other.low, other.high) if x is not None)
    below = float(np.hypot(p - a, d - q))
    above = float(np.hypot(b - p, q - c))
    return p - q, max(-1.0, p - q - below), min(1.0, p - q + above)
