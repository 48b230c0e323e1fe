"""Two-component Gaussian mixtures of one dimension, one per (label, observed class), fitted together (methods.md A.7).

Scores take few distinct values (ranks × run lengths), so expectation and maximisation run over distinct values,
weighted by how often they occur, which gives exactly what running over the pairs gives (methods.md G.3). Where all
values differ, the same code is the ordinary dense iteration (`core.selection.expectation`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import ConfigError
from core.hints import Bool, Float, Int, Shaped, UInt8
from core.selection.expectation import Fit, fit_batch
from core.selection.groups import Ranges, Weighted, weigh_groups

BATCH_VALUES = 16_384
"""Distinct values iterated together: few enough for the cache, enough to spread the cost of a call."""
MEAN_PARAMETERS = 2
MIXTURE_PARAMETERS = 5
"""Free parameters of one Gaussian and of two with a weight, for BIC."""
FEW, ENDLESS, SAME, UNFITTED, CLOSE, SMALL, ONE_BELL, OVERLAPPING = range(1, 9)
"""Why a group is left alone, as codes; 0 where it is not. `in_words` tells them."""


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
        fit = fit_batch(
            chosen,
            *starting_point(chosen, config),
            tolerance=config.tolerance,
            max_iterations=config.max_iterations,
            variance_floor=config.variance_floor,
        )
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


def in_words(code: int, config: MixtureConfig) -> str | None:
    """Tell why a group is left alone; None for code 0."""
    return {
        FEW: f"fewer than {config.min_count} pairs",
        ENDLESS: "scores that are not finite",
        SAME: "all scores the same",
        UNFITTED: "figures that are not finite",
        CLOSE: f"means within {config.min_separation:g}",
        SMALL: f"a component below {config.min_weight:.1%} of the pairs",
        ONE_BELL: "one Gaussian fits as well (BIC)",
        OVERLAPPING: f"components overlap (Ashman's D at most {config.ashman_least:g})",
    }.get(code)


def _unfit(group: Weighted, size: float, span: float, config: MixtureConfig) -> str | None:
    """Why a group isn't fitted at all, or None."""
    if size < config.min_count:
        return in_words(FEW, config)
    if not (np.isfinite(span) and np.isfinite(group.values).all()):
        return in_words(ENDLESS, config)
    if span < config.min_range or len(group.values) == 1:
        return in_words(SAME, config)
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


def _degenerate(group: Weighted, fit: Fit, place: int, config: MixtureConfig) -> str | None:
    """Why a fitted group is left alone, or None (A.7; gates of A.11 row 19)."""
    mean, variance, weight = fit.mean[:, place], fit.variance[:, place], fit.weight[:, place]
    if not (np.isfinite(mean).all() and np.isfinite(variance).all() and np.isfinite(weight).all()):
        return in_words(UNFITTED, config)
    if abs(mean[1] - mean[0]) < config.min_separation:
        return in_words(CLOSE, config)
    if weight.min() < config.min_weight:
        return in_words(SMALL, config)
    if config.gate == "bic" and not _two_fit_better(group, fit.log_likelihood[place], config.variance_floor):
        return in_words(ONE_BELL, config)
    distance = np.sqrt(2) * abs(mean[1] - mean[0]) / np.sqrt(variance.sum())
    if config.gate == "ashman" and not distance > config.ashman_least:
        return in_words(OVERLAPPING, config)
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
