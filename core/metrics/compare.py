"""Is one method better than another? t tests over seeds, Holm's correction, bootstrap over test patients.

Seeds and patients are two kinds of chance. The t tests see how a figure varies with seed, noise draw and cohort; the
bootstrap sees how it varies with the patients one happened to test on. p values are given as they are, never as stars.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from core.errors import ConfigError
from core.hints import Bool, Float, Int, Shaped
from core.metrics.ranking import ranking_metrics

REPLICATES = 200
"""Resamplings of the test patients kept with each run of a benchmark."""

LEVEL = 0.95
"""Coverage of an interval (benchmarks.md)."""

BLOCK = 128
"""Replicates worked on at once, so that memory is stays x BLOCK whatever their number."""

NO_SPREAD = 1e-12
"""Standard deviations below this share of the figures themselves are rounding."""


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation (ddof 1; NaN for a single run) of `n` runs."""

    mean: float
    sd: float
    n: int


@dataclass(frozen=True)
class TTest:
    """A one-sided t test of "the first is greater": difference of means, t, degrees of freedom, p.

    All but `difference` are NaN where there is nothing to test with: fewer than two runs, or no spread at all.
    """

    difference: float
    statistic: float
    degrees: float
    p: float


@dataclass(frozen=True)
class Difference:
    """mAP(a) - mAP(b) on the same test patients, with its percentile interval.

    Parameters
    ----------
    difference, low, high
        On all patients, and the interval's ends over resampled ones.
    share_above
        Share of replicates in which a is ahead, ties counting half.
    a, b
        The two figures.
    patients, replicates, level
        Patients resampled, how often, and the interval's coverage.
    """

    difference: float
    low: float
    high: float
    share_above: float
    a: float
    b: float
    patients: int
    replicates: int
    level: float


def mean_sd(values: Sequence[float] | np.ndarray) -> Summary:
    """Summarise runs; those without an answer (NaN) are left out."""
    known = _known(values)
    n = len(known)
    return Summary(
        mean=float(known.mean()) if n else float("nan"), sd=float(known.std(ddof=1)) if n > 1 else float("nan"), n=n
    )


def welch_test(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> TTest:
    """Welch's t test that the mean of `a` is greater: t = (ā - b̄)/√(s_a²/n_a + s_b²/n_b), Satterthwaite's degrees."""
    x, y = _known(a), _known(b)
    if not (len(x) and len(y)):
        return TTest(*[float("nan")] * 4)
    difference = float(x.mean() - y.mean())
    if len(x) < 2 or len(y) < 2:
        return _untested(difference)
    u, v = float(x.var(ddof=1)) / len(x), float(y.var(ddof=1)) / len(y)
    if np.sqrt(u + v) <= NO_SPREAD * max(float(np.abs(x).max()), float(np.abs(y).max())):
        return _untested(difference)
    degrees = (u + v) ** 2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1))
    return _tested(difference, difference / np.sqrt(u + v), degrees)


def paired_test(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> TTest:
    """Student's t test that a - b is greater than 0, pair by pair: t = d̄/(s_d/√n) with n - 1 degrees.

    Parameters
    ----------
    a, b
        Runs of the same seeds in the same order; a pair with a NaN is left out.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape:
        raise ConfigError("as many runs on both sides of a paired test", f"{len(x)} and {len(y)}", "pair them by seed")
    gap = (x - y)[~(np.isnan(x) | np.isnan(y))]
    if len(gap) == 0:
        return TTest(*[float("nan")] * 4)
    difference = float(gap.mean())
    spread = float(gap.std(ddof=1)) if len(gap) > 1 else 0.0
    if spread <= NO_SPREAD * max(float(np.nanmax(np.abs(x))), float(np.nanmax(np.abs(y)))):
        return _untested(difference)
    return _tested(difference, difference / (spread / np.sqrt(len(gap))), len(gap) - 1)


def holm(p: Sequence[float] | np.ndarray) -> Float[np.ndarray, " tests"]:
    """Holm's step-down correction: sorted upwards, p̃_(k) = max_{j≤k} min(1, (m - j + 1)·p_(j)).

    m counts the tests that were made; a NaN stays NaN.
    """
    values = np.asarray(p, np.float64)
    made = np.flatnonzero(~np.isnan(values))
    order = made[np.argsort(values[made], kind="stable")]
    adjusted = np.full(len(values), np.nan)
    adjusted[order] = np.maximum.accumulate(np.minimum(1, np.arange(len(order), 0, -1) * values[order]))
    return adjusted


def patient_weights(
    patient: Int[np.ndarray, " stays"], replicates: int = REPLICATES, seed: int = 0
) -> Shaped[np.ndarray, "replicates stays"]:
    """Draw patients with replacement, as many as there are: how often each stay is in each replicate, uint16.

    The draws follow from the patients and the seed alone, so that replicates of two methods pair up.
    """
    known, place = np.unique(patient, return_inverse=True)
    if len(known) == 0 or replicates < 1:
        raise ConfigError("patients and replicates to draw", f"{len(known)} and {replicates}", "give at least one each")
    drawn = np.random.default_rng(seed).multinomial(len(known), np.full(len(known), 1 / len(known)), replicates)
    return np.asarray(drawn.astype(np.uint16)[:, place])


def bootstrap_map(
    truth: Shaped[np.ndarray, "stays labels"],
    probability: Float[np.ndarray, "stays labels"],
    patient: Int[np.ndarray, " stays"],
    *,
    stated: Bool[np.ndarray, "stays labels"] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Float[np.ndarray, " replicates"]:
    """Resample the test patients and score the predictions on them, once per replicate.

    A replicate's mAP is the mean over labels of average precision in which a stay drawn twice counts twice; labels
    left without positives in it are left out (`core.metrics.ranking.ranking_metrics`, ``empty="skip"``).

    Parameters
    ----------
    truth, probability, stated
        Labels to score against (0 or 1), predictions, pairs that count (all if not given).
    patient
        Whose stay each row is; all stays of a patient come and go together.
    replicates, seed
        How many, and of which draws (`patient_weights`).

    Returns
    -------
    float32 [replicates]; NaN where no label has a positive.
    """
    weights = patient_weights(patient, replicates, seed)
    positive = np.asarray(truth) != 0
    known = np.ones(positive.shape, np.bool_) if stated is None else stated
    sorted_labels = [
        _sorted(positive[known[:, k], k], probability[known[:, k], k], np.flatnonzero(known[:, k]))
        for k in range(positive.shape[1])
    ]
    made = []
    for start in range(0, replicates, BLOCK):
        columns = np.ascontiguousarray(weights[start : start + BLOCK].T, dtype=np.int32)
        each = np.array([_weighted_precision(columns, *parts) for parts in sorted_labels])
        counted = (~np.isnan(each)).sum(0)
        made.append(np.where(counted, np.nansum(each, 0) / np.maximum(counted, 1), np.nan))
    return np.concatenate(made).astype(np.float32)


def percentile_interval(
    replicates: Sequence[float] | Shaped[np.ndarray, " replicates"], level: float = LEVEL
) -> tuple[float, float]:
    """Give the ends of the middle `level` of the replicates; NaN where there are none."""
    if not 0 < level < 1:
        raise ConfigError("a level between 0 and 1", str(level), "give 0.95, for example")
    known = _known(replicates)
    if len(known) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def difference_interval(
    a: Float[np.ndarray, "stays labels"],
    b: Float[np.ndarray, "stays labels"],
    patient: Int[np.ndarray, " stays"],
    truth: Shaped[np.ndarray, "stays labels"],
    stated: Bool[np.ndarray, "stays labels"] | None = None,
    *,
    replicates: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
) -> Difference:
    """Tell by how much predictions `a` beat predictions `b`, both scored on the same resampled patients.

    The interval covers the choice of test patients, not the chance of another training run; for that, compare over
    seeds (`paired_test`).
    """
    draws = [
        bootstrap_map(truth, p, patient, stated=stated, replicates=replicates, seed=seed).astype(np.float64)
        for p in (a, b)
    ]
    whole = [ranking_metrics(truth, p, stated).map for p in (a, b)]
    gap = draws[0] - draws[1]
    low, high = percentile_interval(gap, level)
    known = gap[~np.isnan(gap)]
    above = float(((known > 0) + (known == 0) / 2).mean()) if len(known) else float("nan")
    patients = len(np.unique(patient))
    return Difference(whole[0] - whole[1], low, high, above, whole[0], whole[1], patients, replicates, level)


def _known(values: Sequence[float] | np.ndarray) -> np.ndarray:
    numbers = np.asarray(values, np.float64)
    return np.asarray(numbers[~np.isnan(numbers)])


def _tested(difference: float, statistic: float, degrees: float) -> TTest:
    return TTest(difference, float(statistic), float(degrees), float(stdtr(degrees, -statistic)))


def _untested(difference: float) -> TTest:
    return TTest(difference, float("nan"), float("nan"), float("nan"))


def _sorted(positive: np.ndarray, score: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows from the highest score down, which of them are positive, and where each run of equal scores ends."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last = np.flatnonzero(np.concatenate((ordered[1:] != ordered[:-1], np.ones(min(1, len(ordered)), np.bool_))))
    return rows[order], positive[order], last


def _weighted_precision(weights: np.ndarray, rows: np.ndarray, positive: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Average precision of one label in each replicate; `weights` [stays, replicates] counts each stay."""
    drawn = weights[rows]
    seen = np.cumsum(drawn, axis=0, dtype=np.int32)[last]
    drawn[~positive] = 0
    found = np.cumsum(drawn, axis=0, dtype=np.int32)[last]
    total = found[-1] if len(found) else np.zeros(weights.shape[1], np.int32)
    gained = np.diff(found, axis=0, prepend=0)
    area = (gained * (found / np.maximum(seen, 1))).sum(0)
    return np.asarray(np.where(total, area / np.maximum(total, 1), np.nan))
