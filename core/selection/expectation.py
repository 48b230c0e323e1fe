"""Expectation and maximisation of two-component Gaussian mixtures of one dimension, many groups at a time.

Groups lie end to end in one array of distinct values with counts, and are summed by segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.hints import Float, Int
from core.selection.groups import Weighted

WEIGHT_SMOOTHING = 10 * float(np.finfo(np.float64).eps)
"""Added to a component's total responsibility, as scikit-learn does, so that an empty one divides."""
CERTAIN_ODDS = 200.0
"""Log odds are held within ±200: e^-200 is nothing beside 1, yet no subnormal number, which would be slow."""


@dataclass(frozen=True)
class Fit:
    """Parameters of a batch of mixtures; row 0 is the component with the lower mean. Arrays 2 × groups."""

    mean: Float[np.ndarray, "2 groups"]
    variance: Float[np.ndarray, "2 groups"]
    weight: Float[np.ndarray, "2 groups"]
    log_likelihood: Float[np.ndarray, " groups"]
    iterations: Int[np.ndarray, " groups"]


def fit_batch(
    groups: Sequence[Weighted],
    mean: Float[np.ndarray, "2 groups"],
    variance: Float[np.ndarray, "2 groups"],
    weight: Float[np.ndarray, "2 groups"],
    *,
    tolerance: float,
    max_iterations: int,
    variance_floor: float,
) -> Fit:
    """Run expectation and maximisation for several groups at once, each stopping when it has converged by itself.

    Equal to scikit-learn's GaussianMixture(2, reg_covar=0) from the same start on the repeated values, as long as no
    variance reaches the floor. Moments are summed about the group's mean.

    Parameters
    ----------
    groups
        Distinct values and counts; at least two distinct values each.
    mean, variance, weight
        Where to start, components × groups.
    tolerance
        Stop a group when its mean log-likelihood changes by less, in nats.
    max_iterations
        At most this many.
    variance_floor
        Least variance of a component.
    """
    count = len(groups)
    mean, variance, weight = mean.copy(), variance.copy(), weight.copy()
    likelihood = np.full(count, -np.inf)
    iterations = np.zeros(count, np.int32)
    active = np.arange(count)
    flat = _Flat.of(groups, active)
    for step in range(1, max_iterations + 1):
        m, v, w = mean[:, active], variance[:, active], weight[:, active]
        noisy, mean_log = flat.expectation(m, v, w)
        mean[:, active], variance[:, active], weight[:, active] = flat.maximisation(noisy, variance_floor)
        done = np.abs(mean_log - likelihood[active]) < tolerance
        likelihood[active] = mean_log
        iterations[active] = step
        if done.all():
            break
        if done.any():
            active = active[~done]
            flat = _Flat.of(groups, active)
    order = np.argsort(mean, axis=0, kind="stable")
    mean, variance, weight = (np.take_along_axis(a, order, axis=0) for a in (mean, variance, weight))
    return Fit(mean, variance, weight, likelihood, iterations)


@dataclass(frozen=True)
class _Flat:
    """Several groups' distinct values end to end, with the sums that don't change between iterations."""

    x: np.ndarray
    n: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    centre: np.ndarray
    totals: np.ndarray  # 3 × groups: Σn, Σn·x, Σn·x² about the centre
    n_x: np.ndarray
    n_xx: np.ndarray

    @classmethod
    def of(cls, groups: Sequence[Weighted], chosen: np.ndarray) -> "_Flat":
        lengths = np.array([len(groups[i].values) for i in chosen])
        starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
        values = np.concatenate([groups[i].values for i in chosen])
        n = np.concatenate([groups[i].counts for i in chosen])
        size = np.add.reduceat(n, starts)
        centre = np.add.reduceat(n * values, starts) / size
        x = values - np.repeat(centre, lengths)
        n_x = n * x
        n_xx = n_x * x
        totals = np.stack([size, np.add.reduceat(n_x, starts), np.add.reduceat(n_xx, starts)])
        return cls(x, n, starts, lengths, centre, totals, n_x, n_xx)

    def expectation(self, mean: np.ndarray, variance: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Responsibility of the second component for each value, and the mean log-likelihood of each group.

        Both log densities are parabolas in x, so that their sums over a group follow from its moments, and only the
        odds have to be formed value by value. Sums avoid BLAS, whose threads would make them vary and wait.
        """
        m = mean - self.centre
        bend = -0.5 / variance
        slope = m / variance
        level = np.log(weight) - 0.5 * np.log(2 * np.pi * variance) - 0.5 * m * m / variance
        odds = self._parabola(bend[1] - bend[0], slope[1] - slope[0], level[1] - level[0])
        gained = np.maximum(odds, 0)
        np.clip(odds, -CERTAIN_ODDS, CERTAIN_ODDS, out=odds)
        rest = 1 / (1 + np.exp(-np.abs(odds)))
        noisy = np.exp(np.minimum(odds, 0)) * rest
        gained -= np.log(rest)  # ln(w0 f0 + w1 f1) = ln w0 f0 + ln(1 + e^odds)
        first = bend[0] * self.totals[2] + slope[0] * self.totals[1] + level[0] * self.totals[0]
        return noisy, (first + np.add.reduceat(self.n * gained, self.starts)) / self.totals[0]

    def _parabola(self, bend: np.ndarray, slope: np.ndarray, level: np.ndarray) -> np.ndarray:
        """bend·x² + slope·x + level, with one set of coefficients per group."""
        lengths = self.lengths
        curve = np.repeat(bend, lengths)
        curve *= self.x
        curve += np.repeat(slope, lengths)
        curve *= self.x
        curve += np.repeat(level, lengths)
        return curve

    def maximisation(self, noisy: np.ndarray, floor: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means, variances (held at the floor) and weights from the responsibilities."""
        second = np.stack([np.add.reduceat(noisy * a, self.starts) for a in (self.n, self.n_x, self.n_xx)])
        moments = np.stack([self.totals - second, second])
        size = np.maximum(moments[:, 0], 0) + WEIGHT_SMOOTHING
        mean = moments[:, 1] / size
        variance = np.maximum(moments[:, 2] / size - mean * mean, floor)
        weight = size / size.sum(axis=0)
        return mean + self.centre, variance, weight
