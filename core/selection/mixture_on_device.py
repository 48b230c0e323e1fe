"""The 2L mixtures on the run's device: the same arithmetic as `core.selection.mixture`, for all groups at once.

A group is a row of a padded table of distinct values and counts, so that every step is one operation over the table and
sums are the same each time. The host waits for the device once for the table's width, and now and then to see whether
all groups have converged. Figures are in double precision.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.hints import Bool, Float, Int
from core.selection.expectation import CERTAIN_ODDS, WEIGHT_SMOOTHING
from core.selection.mixture import (
    CLOSE,
    ENDLESS,
    FEW,
    MEAN_PARAMETERS,
    MIXTURE_PARAMETERS,
    ONE_BELL,
    OVERLAPPING,
    SAME,
    SMALL,
    UNFITTED,
    MixtureConfig,
    Mixtures,
    in_words,
)

STEPS_A_LOOK = 8
"""Iterations between two looks at whether all groups have converged; those that have stand still meanwhile."""


@dataclass(frozen=True)
class Table:
    """Distinct scores of the 2L groups, ascending, a row each, and how often each occurs; both 0 in the padding."""

    values: Float[Tensor, "groups width"]
    counts: Float[Tensor, "groups width"]

    @property
    def size(self) -> Float[Tensor, " groups"]:
        """Pairs of each group."""
        return self.counts.sum(1)

    @property
    def distinct(self) -> Int[Tensor, " groups"]:
        """Distinct values of each."""
        return (self.counts > 0).sum(1)

    @property
    def low(self) -> Float[Tensor, " groups"]:
        """Lowest value of each; NaN where it is empty."""
        return torch.where(self.size > 0, self.values[:, 0], torch.nan)

    @property
    def high(self) -> Float[Tensor, " groups"]:
        """Highest value of each; NaN where it is empty."""
        last = (self.distinct - 1).clamp(min=0).unsqueeze(1)
        return torch.where(self.size > 0, self.values.gather(1, last).squeeze(1), torch.nan)


@dataclass(frozen=True)
class Ranged:
    """Offset and factor of the min-max of each group, and the range they come from; factor 0 where it is empty."""

    low: Float[Tensor, " groups"]
    high: Float[Tensor, " groups"]
    offset: Float[Tensor, " groups"]
    factor: Float[Tensor, " groups"]

    @classmethod
    def of(cls, table: Table, epsilon: float) -> "Ranged":
        """Take the ranges of a table."""
        filled, low, high = table.size > 0, table.low, table.high
        offset = torch.where(filled, low, 0.0)
        span = torch.where(filled, high, 0.0) - offset
        return cls(low, high, offset, torch.where(filled, 1.0 / (span + epsilon), 0.0))

    def normalised(self, table: Table) -> Table:
        """Apply the min-max to distinct values."""
        moved = (table.values - self.offset.unsqueeze(1)) * self.factor.unsqueeze(1)
        return Table(torch.where(table.counts > 0, moved, 0.0), table.counts)


@dataclass(frozen=True)
class PlacedMixtures:
    """Fitted mixtures, as `core.selection.mixture.Mixtures`, in tensors of one entry a group.

    Parameters
    ----------
    figures
        float64 [6, groups]: means, deviations and weights, the lower component of each first.
    code
        int64 [groups], 0 or why the group is left alone.
    iterations, count
        Of the fit; pairs fitted on.
    ranged
        Raw ranges.
    """

    figures: Float[Tensor, "six groups"]
    code: Int[Tensor, " groups"]
    iterations: Int[Tensor, " groups"]
    count: Float[Tensor, " groups"]
    ranged: Ranged

    @property
    def degenerate(self) -> Bool[Tensor, " groups"]:
        """Groups that are left alone."""
        return self.code > 0

    def on_host(self, config: MixtureConfig) -> Mixtures:
        """Bring them to the host, with reasons in words."""

        def brought(values: Tensor) -> np.ndarray:
            found: np.ndarray = values.cpu().numpy()
            return found.reshape(-1, 2)

        mean_clean, mean_noisy, sd_clean, sd_noisy, weight_clean, weight_noisy = map(brought, self.figures)
        reasons = np.array([in_words(code, config) for code in self.code.tolist()], dtype=object).reshape(-1, 2)
        return Mixtures(
            n=brought(self.count).astype(np.int64),
            mean_clean=mean_clean,
            mean_noisy=mean_noisy,
            sd_clean=sd_clean,
            sd_noisy=sd_noisy,
            weight_clean=weight_clean,
            weight_noisy=weight_noisy,
            score_min=brought(self.ranged.low),
            score_max=brought(self.ranged.high),
            degenerate=brought(self.degenerate),
            reason=reasons,
            iterations=brought(self.iterations).astype(np.int32),
        )


def weigh_placed(
    score: Float[Tensor, "stays labels"], positive: Bool[Tensor, "stays labels"], member: Bool[Tensor, "stays labels"]
) -> Table:
    """Distinct scores of the 2L groups among the pairs that take part, label by label, class 0 before class 1.

    The table is as wide as the group with most distinct scores; the host waits for that number.
    """
    stays = score.shape[0]
    kinds = torch.stack((member & ~positive, member & positive), dim=2)
    of_group = kinds.permute(1, 2, 0).reshape(-1, stays)
    ordered = torch.where(of_group, score.T.repeat_interleave(2, dim=0), torch.inf).sort(dim=1).values
    size = of_group.sum(1, keepdim=True)
    position = torch.arange(stays, device=score.device)
    fresh = position < size
    fresh[:, 1:] &= ordered[:, 1:] != ordered[:, :-1]
    width = max(int(fresh.sum(1).max()), 1)
    # Where each distinct value begins; every other position writes the group's size into a column of its own.
    starts = size.expand(-1, width + 1).clone()
    starts.scatter_(1, torch.where(fresh, fresh.cumsum(1) - 1, width), torch.where(fresh, position, size))
    counts = starts.diff(dim=1).double()
    values = ordered.gather(1, starts[:, :-1].clamp(max=stays - 1)).double()
    return Table(torch.where(counts > 0, values, 0.0), counts)


def fit_placed(table: Table, ranged: Ranged, config: MixtureConfig) -> PlacedMixtures:
    """Fit groups given as distinct values of Z̃, each stopping when it has converged by itself.

    Parameters
    ----------
    table
        Z̃ of the pairs that are fitted on (`Ranged.normalised`).
    ranged
        Raw ranges of Z; only guards and the record use them.
    config
        See `MixtureConfig`.
    """
    code = _unfit(table, ranged, config)
    fitted = code == 0
    mean, variance, weight = starting_table(table, config)
    sums = _Sums.of(table)
    likelihood, iterations = torch.full_like(table.size, -torch.inf), torch.zeros_like(code)
    active = fitted
    for step in range(1, config.max_iterations + 1):
        noisy, mean_log = sums.expectation(mean, variance, weight)
        moved = sums.maximisation(noisy, config.variance_floor)
        mean, variance, weight = (
            torch.where(active, new, old) for new, old in zip(moved, (mean, variance, weight), strict=True)
        )
        done = (mean_log - likelihood).abs() < config.tolerance
        likelihood = torch.where(active, mean_log, likelihood)
        iterations = iterations + active
        active = active & ~done
        if step % STEPS_A_LOOK == 0 and not bool(active.any()):
            break
    order = mean.argsort(dim=0, stable=True)
    mean, variance, weight = (values.gather(0, order) for values in (mean, variance, weight))
    why = _degenerate(table, mean, variance, weight, likelihood, config)
    figures = torch.cat((mean, variance.sqrt(), weight))
    return PlacedMixtures(
        torch.where(fitted, figures, torch.nan), torch.where(fitted, why, code), iterations, table.size, ranged
    )


def starting_table(table: Table, config: MixtureConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Means, variances and weights [2, groups] to start from, as `core.selection.mixture.starting_point`.

    Where two cuts of `two_means` are equally good, rounding decides, as it does on the host.
    """
    x, n = table.values, table.counts
    reached = n.cumsum(1)
    total = reached[:, -1:]
    if config.init == "two_means":
        start = _two_means(x, n, table.distinct.unsqueeze(1))
    else:
        quantiles = (config.low_quantile, config.high_quantile)
        places = [torch.searchsorted(reached, q * total).clamp(max=x.shape[1] - 1) for q in quantiles]
        low, high = (x.gather(1, place) for place in places)
        alike = low == high  # nearly all scores are the same: start from the extremes
        low = torch.where(alike, x[:, :1], low)
        high = torch.where(alike, x.gather(1, (table.distinct - 1).clamp(min=0).unsqueeze(1)), high)
        mean = (n * x).sum(1, keepdim=True) / total
        variance = (n * (x - mean) ** 2).sum(1, keepdim=True) / total
        half = torch.full_like(variance, 0.5)
        start = [torch.cat(pair, 1).T for pair in ((low, high), (variance, variance), (half, half))]
    return start[0], start[1].clamp(min=config.variance_floor), start[2]


def _two_means(x: Tensor, n: Tensor, distinct: Tensor) -> list[Tensor]:
    """Best split of each group into two clusters, by the squares between them; each side's moments."""
    n0, s0 = n.cumsum(1), (n * x).cumsum(1)
    total, weighted = n.sum(1, keepdim=True), (n * x).sum(1, keepdim=True)
    between = (s0 * total - n0 * weighted) ** 2 / (n0 * (total - n0))
    position = torch.arange(x.shape[1], device=x.device)
    cut = torch.where(position < distinct - 1, between, -1.0).argmax(1, keepdim=True)
    parts = []
    for side in (n * (position <= cut), n * (position > cut)):
        share = side.sum(1)
        mean = (side * x).sum(1) / share
        spread = (side * (x - mean.unsqueeze(1)) ** 2).sum(1) / share
        parts.append((mean, spread, share / total.squeeze(1)))
    return [torch.stack(pair) for pair in zip(*parts, strict=True)]


@dataclass(frozen=True)
class _Sums:
    """The table about each group's mean, with what doesn't change between iterations."""

    x: Tensor
    centre: Tensor
    powers: Tensor  # 3 × groups × width: n, n·x, n·x²
    totals: Tensor  # 3 × groups

    @classmethod
    def of(cls, table: Table) -> "_Sums":
        n = table.counts
        centre = (n * table.values).sum(1) / n.sum(1)
        x = torch.where(n > 0, table.values - centre.unsqueeze(1), 0.0)
        n_x = n * x
        powers = torch.stack((n, n_x, n_x * x))
        return cls(x, centre, powers, powers.sum(2))

    def expectation(self, mean: Tensor, variance: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Responsibility of the second component for each value, and the mean log-likelihood of each group.

        As `core.selection.expectation`: log densities are parabolas in x, of which only the odds are formed value by
        value.
        """
        m = mean - self.centre
        bend, slope = -0.5 / variance, m / variance
        level = weight.log() - 0.5 * (2 * torch.pi * variance).log() - 0.5 * m * m / variance
        b, s, a = ((part[1] - part[0]).unsqueeze(1) for part in (bend, slope, level))
        odds = (b * self.x + s) * self.x + a
        gained = odds.clamp(min=0)
        odds = odds.clamp(-CERTAIN_ODDS, CERTAIN_ODDS)
        rest = 1 / (1 + odds.abs().neg().exp())
        noisy = odds.clamp(max=0).exp() * rest
        gained = gained - rest.log()  # ln(w0 f0 + w1 f1) = ln w0 f0 + ln(1 + e^odds)
        first = bend[0] * self.totals[2] + slope[0] * self.totals[1] + level[0] * self.totals[0]
        return noisy, (first + (self.powers[0] * gained).sum(1)) / self.totals[0]

    def maximisation(self, noisy: Tensor, floor: float) -> tuple[Tensor, Tensor, Tensor]:
        """Means, variances (held at the floor) and weights from the responsibilities."""
        second = (noisy * self.powers).sum(2)
        moments = torch.stack((self.totals - second, second))
        size = moments[:, 0].clamp(min=0) + WEIGHT_SMOOTHING
        mean = moments[:, 1] / size
        variance = (moments[:, 2] / size - mean * mean).clamp(min=floor)
        return mean + self.centre, variance, size / size.sum(0)


def _first_of(reasons: list[tuple[Tensor, int]]) -> Tensor:
    """Code of the first reason that holds for each group, or 0."""
    code = torch.zeros_like(reasons[0][0], dtype=torch.int64)
    for holds, number in reversed(reasons):
        code = torch.where(holds, number, code)
    return code


def _unfit(table: Table, ranged: Ranged, config: MixtureConfig) -> Tensor:
    """Why a group isn't fitted at all, or 0."""
    span = ranged.high - ranged.low
    finite = span.isfinite() & (table.values.isfinite() | (table.counts == 0)).all(1)
    alike = (span < config.min_range) | (table.distinct == 1)
    return _first_of([(table.size < config.min_count, FEW), (~finite, ENDLESS), (alike, SAME)])


def _degenerate(
    table: Table, mean: Tensor, variance: Tensor, weight: Tensor, likelihood: Tensor, config: MixtureConfig
) -> Tensor:
    """Why a fitted group is left alone, or 0 (A.7; gates of A.11 row 19)."""
    figures = torch.cat((mean, variance, weight))
    gap = (mean[1] - mean[0]).abs()
    reasons = [
        (~figures.isfinite().all(0), UNFITTED),
        (gap < config.min_separation, CLOSE),
        (weight.amin(0) < config.min_weight, SMALL),
    ]
    if config.gate == "bic":
        reasons.append((~_two_fit_better(table, likelihood, config.variance_floor), ONE_BELL))
    if config.gate == "ashman":
        distance = 2**0.5 * gap / variance.sum(0).sqrt()
        reasons.append((~(distance > config.ashman_least), OVERLAPPING))
    return _first_of(reasons)


def _two_fit_better(table: Table, mean_log: Tensor, floor: float) -> Tensor:
    """BIC(2) < BIC(1), BIC = k·ln n - 2·ln L."""
    total, n, x = table.size, table.counts, table.values
    mean = (n * x).sum(1, keepdim=True) / total.unsqueeze(1)
    spread = (n * (x - mean) ** 2).sum(1) / total
    variance = spread.clamp(min=floor)
    single = -0.5 * ((2 * torch.pi * variance).log() + spread / variance)
    return mean_log - single > 0.5 * (MIXTURE_PARAMETERS - MEAN_PARAMETERS) * total.log() / total
