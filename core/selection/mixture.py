"""Two-component Gaussian mixtures of one dimension, one per (label, observed class), fitted together (methods.md A.7).

Scores take few distinct values (ranks × run lengths), so expectation and maximisation run over distinct values,
weighted by how often they occur, which gives exactly what running over the pairs gives (methods.md G.3). Where all
values differ, the same code is the ordinary dense iteration. Groups lie end to end in one array, summed by segments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import ConfigError
from core.hints import Bool, Float, Int, Shaped, UInt8
from core.selection.groups import Ranges, Weighted, weigh_groups

BATCH_VALUES = 16_384
"""Distinct values iterated together: few enough for the cache, enough to spread the cost of a call."""
WEIGHT_SMOOTHING = 10 * float(np.finfo(np.float64).eps)
"""Added to a component's total responsibility, as scikit-learn does, so that an empty one divides."""
CERTAIN_ODDS = 200.0
"""Log odds are held within ±200: e^-200 is nothing beside 1, yet no subnormal number, which would be slow."""
MEAN_PARAMETERS = 2
MIXTURE_PARAMETERS = 5
"""Free parameters of one Gaussian and of two with a weight, for BIC."""


@dataclass(frozen=True)
class MixtureConfig:
    """How the mixtures are fitted and when a group is left alone.

    Parameters
    ----------
    tolerance
        Stop when the mean log-likelihood of a value changes by less, in nats; 1e-3 [scikit-learn's default, released].
    max_iterations
        At most this many; 100 [released].
    variance_floor
        Least variance of a component on the 0–1 scale; 1e-5 (methods.md A.7).
    init
        `quantile`: means at the 10 % and 90 % quantiles, both variances the group's, weights a half. `two_means`: the
        best split into two clusters, which is what scikit-learn's k-means start finds [released].
    gate
        `off`; `bic`: leave a group alone unless BIC(2) < BIC(1); `ashman`: unless D > 2 (A.11 row 19).
    min_count, min_range, min_separation, min_weight
        Guards of A.7: pairs, raw score range, distance of the means (0–1 scale), share of the smaller component.
    """

    tolerance: float = 1e-3
    max_iterations: int = 100
    variance_floor: float = 1e-5
    init: Literal["quantile", "two_means"] = "quantile"
    gate: Literal["off", "bic", "ashman"] = "off"
    min_count: int = 10
    min_range: float = 1e-6
    min_separation: float = 1e-3
    min_weight: float = 0.005
    low_quantile: float = 0.1
    high_quantile: float = 0.9
    ashman_least: float = 2.0

    def __post_init__(self) -> None:
        """Refuse options outside their range."""
        for name, value, allowed in (
            ("init", self.init, ("quantile", "two_means")),
            ("gate", self.gate, ("off", "bic", "ashman")),
        ):
            if value not in allowed:
                raise ConfigError(f"{name} out of {', '.join(allowed)}", repr(value), f"set {name} to one of them")
        for name, number in (("tolerance", self.tolerance), ("variance_floor", self.variance_floor)):
            if not number > 0:
                raise ConfigError(f"{name} above 0", str(number), f"set {name} to a small positive number")
        if self.max_iterations < 1:
            raise ConfigError("max_iterations of 1 or more", str(self.max_iterations), "set at least 1")

    @classmethod
    def preset(cls, name: str) -> "MixtureConfig":
        """Options of the `released` code (k-means start, floor 1e-6), of the `paper` (same), or ours (`miracl`)."""
        if name in ("released", "paper"):
            return cls(init="two_means", variance_floor=1e-6)
        if name == "miracl":
            return cls()
        raise ConfigError("a preset out of released, paper, miracl", repr(name), "choose one of them")


@dataclass(frozen=True)
class Mixtures:
    """Fitted mixtures; arrays of labels × 2, the second axis being the observed class.

    Means, deviations and weights are on the 0–1 scale of Z̃; `score_min` and `score_max` are the raw range of Z. Where
    `degenerate`, `reason` says why in words, nothing of the group is corrected, and figures may be NaN.
    """

    n: Int[np.ndarray, "labels 2"]
    mean_clean: Float[np.ndarray, "labels 2"]
    mean_noisy: Float[np.ndarray, "labels 2"]
    sd_clean: Float[np.ndarray, "labels 2"]
    sd_noisy: Float[np.ndarray, "labels 2"]
    weight_clean: Float[np.ndarray, "labels 2"]
    weight_noisy: Float[np.ndarray, "labels 2"]
    score_min: Float[np.ndarray, "labels 2"]
    score_max: Float[np.ndarray, "labels 2"]
    degenerate: Bool[np.ndarray, "labels 2"]
    reason: Shaped[np.ndarray, "labels 2"]
    iterations: Int[np.ndarray, "labels 2"]


@dataclass(frozen=True)
class Fit:
    """Parameters of a batch of mixtures; row 0 is the component with the lower mean. Arrays 2 × groups."""

    mean: Float[np.ndarray, "2 groups"]
    variance: Float[np.ndarray, "2 groups"]
    weight: Float[np.ndarray, "2 groups"]
    log_likelihood: Float[np.ndarray, " groups"]
    iterations: Int[np.ndarray, " groups"]


def fit_mixtures(
    score: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    ranges: Ranges,
    config: MixtureConfig | None = None,
) -> Mixtures:
    """Fit the 2L mixtures to Z̃ of the pairs that take part.

    Parameters
    ----------
    score
        Z̃ (`groups.normalise`), 0–1.
    observed, member
        ỹ, and which pairs take part.
    ranges
        Raw ranges of Z; only guards and the record use them.
    config
        See `MixtureConfig`.
    """
    return fit_weighted(weigh_groups(score, observed, member), ranges, config or MixtureConfig())


def fit_weighted(groups: Sequence[Weighted], ranges: Ranges, config: MixtureConfig) -> Mixtures:
    """Fit groups given as distinct values of Z̃, label by label, class 0 before class 1; see `fit_mixtures`."""
    sizes = np.array([g.counts.sum() for g in groups])
    spans = (ranges.high - ranges.low).ravel()
    reasons: list[str | None] = [_unfit(g, n, r, config) for g, n, r in zip(groups, sizes, spans, strict=True)]
    fitted = [i for i, reason in enumerate(reasons) if reason is None]
    figures = np.full((6, len(groups)), np.nan)
    iterations = np.zeros(len(groups), np.int32)
    for batch in _batches(groups, fitted):
        chosen = [groups[i] for i in batch]
        fit = fit_batch(chosen, *starting_point(chosen, config), config)
        figures[:, batch] = np.concatenate([fit.mean, np.sqrt(fit.variance), fit.weight])
        iterations[batch] = fit.iterations
        for place, i in enumerate(batch):
            reasons[i] = _degenerate(groups[i], fit, place, config)
    shape = ranges.count.shape
    mean_clean, mean_noisy, sd_clean, sd_noisy, weight_clean, weight_noisy = (f.reshape(shape) for f in figures)
    reason = np.array(reasons, dtype=object).reshape(shape)
    degenerate = np.array([text is not None for text in reasons]).reshape(shape)
    return Mixtures(
        n=sizes.astype(np.int64).reshape(shape),
        mean_clean=mean_clean,
        mean_noisy=mean_noisy,
        sd_clean=sd_clean,
        sd_noisy=sd_noisy,
        weight_clean=weight_clean,
        weight_noisy=weight_noisy,
        score_min=ranges.low.copy(),
        score_max=ranges.high.copy(),
        degenerate=degenerate,
        reason=reason,
        iterations=iterations.reshape(shape),
    )


def _unfit(group: Weighted, size: float, span: float, config: MixtureConfig) -> str | None:
    """Why a group isn't fitted at all, or None."""
    if size < config.min_count:
        return f"fewer than {config.min_count} pairs"
    if not (np.isfinite(span) and np.isfinite(group.values).all()):
        return "scores that are not finite"
    if span < config.min_range or len(group.values) == 1:
        return "all scores the same"
    return None


def _batches(groups: Sequence[Weighted], fitted: Sequence[int]) -> list[list[int]]:
    """Put groups of similar size together, at most BATCH_VALUES distinct values a batch (or one group alone)."""
    batches: list[list[int]] = []
    filled = BATCH_VALUES
    for i in sorted(fitted, key=lambda i: (len(groups[i].values), i)):
        size = len(groups[i].values)
        if filled + size > BATCH_VALUES:
            batches.append([])
            filled = 0
        batches[-1].append(i)
        filled += size
    return batches


def starting_point(
    groups: Sequence[Weighted], config: MixtureConfig
) -> tuple[Float[np.ndarray, "2 groups"], Float[np.ndarray, "2 groups"], Float[np.ndarray, "2 groups"]]:
    """Means, variances and weights to start from; depends on the values alone, never on chance."""
    start = np.array([_start(g, config) for g in groups], dtype=np.float64).reshape(len(groups), 3, 2)
    mean, variance, weight = np.moveaxis(start, 0, -1)
    return mean, np.maximum(variance, config.variance_floor), weight


def _start(group: Weighted, config: MixtureConfig) -> tuple[tuple[float, float], ...]:
    x, n = group.values, group.counts
    reached = np.cumsum(n)
    total = float(reached[-1])
    if config.init == "two_means":
        return _two_means(x, n)
    low, high = (float(x[np.searchsorted(reached, q * total)]) for q in (config.low_quantile, config.high_quantile))
    if low == high:  # nearly all scores are the same: start from the extremes
        low, high = float(x[0]), float(x[-1])
    mean = float((n * x).sum()) / total
    variance = float((n * (x - mean) ** 2).sum()) / total
    return (low, high), (variance, variance), (0.5, 0.5)


def _two_means(x: np.ndarray, n: np.ndarray) -> tuple[tuple[float, float], ...]:
    """Best split of sorted values into two clusters, by the squares between them; each side's moments."""
    n0, s0 = np.cumsum(n)[:-1], np.cumsum(n * x)[:-1]
    total, weighted = float(n.sum()), float((n * x).sum())
    between = (s0 * total - n0 * weighted) ** 2 / (n0 * (total - n0))
    cut = int(np.argmax(between)) + 1
    parts = []
    for side in (slice(None, cut), slice(cut, None)):
        share = float(n[side].sum())
        mean = float((n[side] * x[side]).sum()) / share
        parts.append((mean, float((n[side] * (x[side] - mean) ** 2).sum()) / share, share / total))
    (m0, v0, w0), (m1, v1, w1) = parts
    return (m0, m1), (v0, v1), (w0, w1)


def fit_batch(
    groups: Sequence[Weighted],
    mean: Float[np.ndarray, "2 groups"],
    variance: Float[np.ndarray, "2 groups"],
    weight: Float[np.ndarray, "2 groups"],
    config: MixtureConfig,
) -> Fit:
    """Run expectation and maximisation for several groups at once, each stopping when it has converged by itself.

    Equal to scikit-learn's GaussianMixture(2, reg_covar=0) from the same start on the repeated values, as long as no
    variance reaches the floor. Moments are summed about the group's mean.
    """
    count = len(groups)
    mean, variance, weight = mean.copy(), variance.copy(), weight.copy()
    likelihood = np.full(count, -np.inf)
    iterations = np.zeros(count, np.int32)
    active = np.arange(count)
    flat = _Flat.of(groups, active)
    for step in range(1, config.max_iterations + 1):
        m, v, w = mean[:, active], variance[:, active], weight[:, active]
        noisy, mean_log = flat.expectation(m, v, w)
        mean[:, active], variance[:, active], weight[:, active] = flat.maximisation(noisy, config.variance_floor)
        done = np.abs(mean_log - likelihood[active]) < config.tolerance
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

        Both log densities are parabolas in x, so that their sums over a group follow from its moments, and only the odds
        have to be formed value by value. Sums avoid BLAS, whose threads would make them vary and wait.
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


def _degenerate(group: Weighted, fit: Fit, place: int, config: MixtureConfig) -> str | None:
    """Why a fitted group is left alone, or None (A.7; gates of A.11 row 19)."""
    mean, variance, weight = fit.mean[:, place], fit.variance[:, place], fit.weight[:, place]
    if not (np.isfinite(mean).all() and np.isfinite(variance).all() and np.isfinite(weight).all()):
        return "figures that are not finite"
    if abs(mean[1] - mean[0]) < config.min_separation:
        return f"means within {config.min_separation:g}"
    if weight.min() < config.min_weight:
        return f"a component below {config.min_weight:.1%} of the pairs"
    if config.gate == "bic" and not _two_fit_better(group, fit.log_likelihood[place], config.variance_floor):
        return "one Gaussian fits as well (BIC)"
    distance = np.sqrt(2) * abs(mean[1] - mean[0]) / np.sqrt(variance.sum())
    if config.gate == "ashman" and not distance > config.ashman_least:
        return f"components overlap (Ashman's D at most {config.ashman_least:g})"
    return None


def _two_fit_better(group: Weighted, mean_log: float, floor: float) -> bool:
    """BIC(2) < BIC(1), BIC = k·ln n - 2·ln L."""
    total = group.counts.sum()
    mean = (group.counts * group.values).sum() / total
    spread = (group.counts * (group.values - mean) ** 2).sum() / total
    variance = max(spread, floor)
    single = -0.5 * (np.log(2 * np.pi * variance) + spread / variance)
    penalty = 0.5 * (MIXTURE_PARAMETERS - MEAN_PARAMETERS) * np.log(total) / total
    return bool(mean_log - single > penalty)
