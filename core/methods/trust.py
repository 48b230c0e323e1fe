"""LiNC for pairs: a trust in each observed label, moved by gradient, and Otsu's threshold on it (methods.md C.9).

While warming up, a pair's target is t = α·ỹ + (1 - α)·p with its trust α ∈ [0, 1] starting at 1. The loss's slope in α,
p in t held fixed, is g = (p - ỹ)·z: above 0, hence trust falls, where the prediction at .5 disagrees with ỹ.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from core.hints import Bool, Float, Shaped, UInt8
from core.options import check_options, sourced


@dataclass(frozen=True)
class LincConfig:
    """Trust, its steps, and the threshold.

    Parameters
    ----------
    warm_up
        Epochs in which trust moves; at their end labels that are not trusted are replaced, once.
    reduction
        κ, what the slope is multiplied by: ``batch`` is 1/B, LiNC's mean over a batch of samples; ``one`` is 1. A
        mean over the B·L pairs would leave α at 1.
    rate
        η; ``auto``: 1 with ``batch``, .05 with ``one``.
    decay
        Of α, per step.
    detach
        Whether p in t is held fixed for the network too. If not, its gradient is (p - t) - (1 - α) p (1 - p) z.
    bins
        Of Otsu's histogram on [0, 1].
    min_count, min_range, min_separation, min_weight
        Guards of A.7: pairs, range, distance of the two sides' means, share of the smaller side.
    """

    warm_up: int = sourced(10, "LiNC 4.1", 1, 10_000)
    reduction: Literal["batch", "one"] = sourced("batch", "C.9: ours, nearest to LiNC's mean over samples")
    rate: float | Literal["auto"] = sourced("auto", "LiNC 4.1: 1; .05 with reduction one, C.9", 0, 100)
    decay: float = sourced(1e-3, "LiNC 4.1", 0, 1)
    detach: bool = sourced(True, "C.9: ours")
    bins: int = sourced(256, "C.9", 2, 65_536)
    min_count: int = sourced(10, "A.7", 1, 1_000_000)
    min_range: float = sourced(1e-6, "A.7", 0, 1)
    min_separation: float = sourced(1e-3, "A.7", 0, 1)
    min_weight: float = sourced(0.005, "A.7", 0, 0.5)

    def __post_init__(self) -> None:
        check_options(self)

    def step_size(self, batch: int) -> tuple[float, float]:
        """κ and η where a batch has that many stays."""
        kappa, usual = (1 / batch, 1.0) if self.reduction == "batch" else (1.0, 0.05)
        return kappa, usual if self.rate == "auto" else self.rate


@dataclass(frozen=True)
class Thresholds:
    """Otsu's threshold per label × observed class; pairs below it are not trusted.

    Where a group is left alone, `value` is 0, which nothing lies below, and `reason` says why; elsewhere it is None.
    """

    value: Float[np.ndarray, "labels 2"]
    reason: Shaped[np.ndarray, "labels 2"]


def trust_gradient(
    logits: Float[Tensor, "stays labels"], targets: Float[Tensor, "stays labels"]
) -> Float[Tensor, "stays labels"]:
    """Slope of the loss in α, g = (p - ỹ)·z, without gradient; high means suspect.

    Notes
    -----
    The label's base rate is not taken off z, which makes detection worse (methods.md C.9).
    """
    z = logits.detach().float()
    return (torch.sigmoid(z) - targets) * z


def trust_step(
    alpha: Float[Tensor, "stays labels"],
    gradient: Float[Tensor, "stays labels"],
    kappa: float,
    rate: float,
    decay: float,
) -> Float[Tensor, "stays labels"]:
    """One step down: clip(α - η (κ g + decay α), 0, 1)."""
    return (alpha - rate * (kappa * gradient + decay * alpha)).clamp(0.0, 1.0)


def trusted_targets(
    logits: Float[Tensor, "stays labels"],
    targets: Float[Tensor, "stays labels"],
    alpha: Float[Tensor, "stays labels"],
    detach: bool = True,
) -> Float[Tensor, "stays labels"]:
    """Mix label and prediction: t = α·ỹ + (1 - α)·p."""
    p = torch.sigmoid(logits)
    return alpha * targets + (1 - alpha) * (p.detach() if detach else p)


def otsu(
    alpha: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    config: LincConfig,
) -> Thresholds:
    """Part each (label, observed class) where the variance between its two sides is largest.

    Pooled over groups, the threshold would mostly part positives from negatives.

    Parameters
    ----------
    alpha
        Trust, in [0, 1].
    observed, member
        ỹ, and which pairs take part.
    config
        Bins and guards.

    Notes
    -----
    The cuts tried are the bins' inner edges, the lowest of equally good ones; w₀ w₁ (μ₀ - μ₁)² is of the values
    themselves, which the bins only group.
    """
    labels, bins = observed.shape[1], config.bins
    rows, columns = np.nonzero(member)
    values = alpha[rows, columns].astype(np.float64)
    finite = np.isfinite(values)
    place = np.where(finite, values * bins, 0).astype(np.int64).clip(0, bins - 1)
    group = 2 * columns + (observed[rows, columns] == 1)
    cell, cells = group * bins + place, 2 * labels * bins
    count = np.bincount(cell, minlength=cells).reshape(-1, bins)
    total = np.bincount(cell, np.where(finite, values, np.nan), minlength=cells).reshape(-1, bins)

    n0, s0 = count.cumsum(1)[:, :-1], total.cumsum(1)[:, :-1]
    n, s = count.sum(1, keepdims=True), total.sum(1, keepdims=True)
    apart = (n0 > 0) & (n0 < n)
    gap = s0 / np.maximum(n0, 1) - (s - s0) / np.maximum(n - n0, 1)
    between = np.where(apart, n0 * (n - n0) * gap**2, -1.0)
    best = between.argmax(1)
    chosen = np.arange(2 * labels)
    smaller = np.minimum(n0, n - n0)[chosen, best] / np.maximum(n[:, 0], 1)

    low, high = np.full(2 * labels, np.inf), np.full(2 * labels, -np.inf)
    np.minimum.at(low, group[finite], values[finite])
    np.maximum.at(high, group[finite], values[finite])
    reason = np.full(2 * labels, None, dtype=object)
    for failed, text in (
        (smaller < config.min_weight, f"a side below {config.min_weight:.1%} of the pairs"),
        (np.abs(gap[chosen, best]) < config.min_separation, f"means within {config.min_separation:g}"),
        (~apart.any(1) | (high - low < config.min_range), "all trusted alike"),
        (np.isnan(s[:, 0]), "trust that is not finite"),
        (n[:, 0] < config.min_count, f"fewer than {config.min_count} pairs"),
    ):  # the last that holds is told
        reason[failed] = text
    alone = np.array([text is not None for text in reason])
    value = np.where(alone, 0.0, (best + 1) / bins)
    return Thresholds(value.reshape(labels, 2), reason.reshape(labels, 2))
