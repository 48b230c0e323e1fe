"""MultiT: a label's noise rates from how it occurs with the other labels (Li et al. 2022; methods.md C.6).

Per label i, T_i = [[1 - ρ₋, ρ₋], [ρ₊, 1 - ρ₊]], rows being the clean value. Estimated from observed labels and losses
alone, on the assumption that, given y_i, the other labels' noise and the selection of pairs know nothing of each other.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from core.errors import ConfigError
from core.hints import Bool, Float, Int, Shaped, UInt8
from core.options import check_options, sourced
from core.selection.groups import by_class, fit_ranges, normalise
from core.selection.mixture import MixtureConfig, fit_mixtures

_NORMALISE_EPSILON = 1e-9
_LEAST = 1e-12
"""Least probability that a weight divides by."""
PAIRS, DUAL, NONE = "pairs", "dual", "none"
"""Where a label's rates come from: co-occurrence, the fallback Dual-T, or nowhere (rates 0)."""


@dataclass(frozen=True)
class MultiTConfig:
    """When and how the rates are estimated, and how they are used.

    Parameters
    ----------
    warm_up
        Epochs of plain BCE; the rates are estimated at their end.
    sample_epoch, window
        Losses are averaged over the last `window` epochs ending at `sample_epoch`.
    iterations, tolerance, variance_floor
        Of the mixtures that part low losses from high ones.
    min_selected
        Least selected stays of each value.
    slack
        An estimate above -slack/L counts as 0.
    largest_weight
        Weights are held within [0, this].
    """

    warm_up: int = sourced(10, "C.6: 10 + 20 of 30 epochs, ours; official 20-30", 1, 10_000)
    sample_epoch: int = sourced(10, "C.6: official 10", 1, 10_000)
    window: int = sourced(5, "C.6: official", 1, 10_000)
    iterations: int = sourced(10, "C.6: official GMM max_iter", 1, 10_000)
    tolerance: float = sourced(1e-2, "C.6: official GMM tol", 1e-12, 1)
    variance_floor: float = sourced(5e-4, "C.6: official GMM reg_covar", 1e-12, 1)
    min_selected: int = sourced(50, "C.6: official", 1, 1_000_000)
    slack: float = sourced(0.3, "C.6: official", 0, 10)
    largest_weight: float = sourced(10.0, "C.6: ours", 1, 1000)

    def __post_init__(self) -> None:
        check_options(self)
        if self.sample_epoch > self.warm_up:
            came = f"{self.sample_epoch} after {self.warm_up}"
            raise ConfigError("MultiTConfig.sample_epoch within the warm-up", came, "lower it, or warm up for longer")


@dataclass(frozen=True)
class Counts:
    """How labels occur together; axes are label i, label k, value a of i, value b of k.

    Parameters
    ----------
    joint
        N_ab = P(ỹ_i = a, ỹ_k = b) over all pairs that take part.
    given
        q_a(b) = P(ỹ_k = b | selected, ỹ_i = a); NaN where nothing is selected.
    selected
        [i, k, a], how many stays each row of `given` rests on.
    """

    joint: Float[np.ndarray, "labels labels 2 2"]
    given: Float[np.ndarray, "labels labels 2 2"]
    selected: Float[np.ndarray, "labels labels 2"]


EXACT = 1e-9
"""A figure this near its limit lies on it: small counts give such figures exactly, and rounding must not decide."""


@dataclass(frozen=True)
class Candidates:
    """Solutions for label i by way of label k, [i, k] each; NaN where refused."""

    prior: Float[np.ndarray, "labels labels"]
    rho_plus: Float[np.ndarray, "labels labels"]
    rho_minus: Float[np.ndarray, "labels labels"]


@dataclass(frozen=True)
class Transition:
    """Estimated rates per label, and where they come from.

    Parameters
    ----------
    rho_plus, rho_minus
        P(ỹ = 0 | y = 1) and P(ỹ = 1 | y = 0).
    chosen
        The label by way of which they were found; -1 for none.
    origin
        `PAIRS`, `DUAL` or `NONE`, per label.
    """

    rho_plus: Float[np.ndarray, " labels"]
    rho_minus: Float[np.ndarray, " labels"]
    chosen: Int[np.ndarray, " labels"]
    origin: Shaped[np.ndarray, " labels"]

    def matrix(self) -> Float[np.ndarray, "labels 2 2"]:
        """T, [labels, clean value, observed value]; rows sum to 1."""
        up, down = self.rho_minus, self.rho_plus
        return np.stack((np.stack((1 - up, up), -1), np.stack((down, 1 - down), -1)), axis=1)


def mean_losses(
    logits: Float[np.ndarray, "epochs stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
) -> Float[np.ndarray, "stays labels"]:
    """Mean over epochs of the loss, brought to 0–1 within each (label, observed class) and epoch.

    Parameters
    ----------
    logits
        z of the epochs to average over.
    observed, member
        ỹ, and which pairs take part.
    """
    sign = np.where(observed == 1, np.float32(-1), np.float32(1))
    total = np.zeros(observed.shape, np.float32)
    for z in logits:
        losses = np.logaddexp(np.float32(0), sign * z.astype(np.float32))
        total += normalise(losses, observed, fit_ranges(losses, observed, member), _NORMALISE_EPSILON)
    return total / np.float32(len(logits))


def select_clean(
    losses: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    config: MultiTConfig,
) -> Bool[np.ndarray, "stays labels"]:
    """Pairs whose loss more likely comes from the lower of a group's two components.

    A degenerate group (`core.selection.mixture`) is selected whole: no noise was found in it.
    """
    options = MixtureConfig(
        tolerance=config.tolerance, max_iterations=config.iterations, variance_floor=config.variance_floor,
        init="two_means",
    )  # fmt: skip
    fit = fit_mixtures(losses, observed, member, fit_ranges(losses, observed, member), options)

    def log_density(mean: np.ndarray, sd: np.ndarray, weight: np.ndarray) -> np.ndarray:
        usable = ~fit.degenerate
        mean, sd, weight = (np.where(usable, figure, 1.0) for figure in (mean, sd, weight))
        distance = (losses - by_class(observed, mean)) / by_class(observed, sd)
        density: np.ndarray = by_class(observed, np.log(weight / sd)) - 0.5 * distance**2
        return density

    low = log_density(fit.mean_clean, fit.sd_clean, fit.weight_clean)
    high = log_density(fit.mean_noisy, fit.sd_noisy, fit.weight_noisy)
    return np.asarray(member & ((low > high) | by_class(observed, fit.degenerate)))


def count_pairs(
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    selected: Bool[np.ndarray, "stays labels"],
) -> Counts:
    """Count how labels occur together, over all pairs and given a selected one; pairs not stated take no part."""
    taking_part = member.astype(np.float64)
    positive = observed == 1
    values = [(member & (positive == bool(b))).astype(np.float64) for b in (0, 1)]
    kept = [(selected & member & (positive == bool(a))).astype(np.float64) for a in (0, 1)]
    both = taking_part.T @ taking_part
    size = np.stack([rows.T @ taking_part for rows in kept], axis=-1)
    joint = np.stack([np.stack([a.T @ b for b in values], -1) for a in values], axis=-2)
    given = np.stack([np.stack([a.T @ b for b in values], -1) for a in kept], axis=-2)
    with np.errstate(invalid="ignore"):
        return Counts(joint / both[..., None, None], given / size[..., None], size)


def candidates(counts: Counts, config: MultiTConfig) -> Candidates:
    """Solve for label i's rates by way of each other label k, and refuse what cannot be.

    π₁ = (P(ỹ_k=0) - q_0(0)) / (q_1(0) - q_0(0)); c_1b = q_1(b) π₁, c_0b = q_0(b) (1 - π₁); Δ = c_00 c_11 - c_01 c_10;
    ρ₋ = (c_11 N_10 - c_10 N_11)/Δ; ρ₊ = (c_00 N_01 - c_01 N_00)/Δ. Refused: π₁ or a rate outside [0, 1], rates that
    sum to 1 or more, too few selected stays.
    """
    N, q = counts.joint, counts.given
    labels = len(N)
    with np.errstate(divide="ignore", invalid="ignore"):
        prior = (N[..., 0, 0] + N[..., 1, 0] - q[..., 0, 0]) / (q[..., 1, 0] - q[..., 0, 0])
        c0, c1 = q[..., 0, :] * (1 - prior)[..., None], q[..., 1, :] * prior[..., None]
        determinant = c0[..., 0] * c1[..., 1] - c0[..., 1] * c1[..., 0]
        rho_minus = (c1[..., 1] * N[..., 1, 0] - c1[..., 0] * N[..., 1, 1]) / determinant
        rho_plus = (c0[..., 0] * N[..., 0, 1] - c0[..., 1] * N[..., 0, 0]) / determinant
    fits = (
        (prior >= -EXACT)
        & (prior <= 1 + EXACT)
        & (counts.selected >= config.min_selected).all(-1)
        & ~np.eye(labels, dtype=bool)
    )
    rates = []
    for rate in (rho_plus, rho_minus):
        held = np.where((rate < 0) & (rate > EXACT - config.slack / labels), 0.0, rate)
        fits &= (held >= 0) & (held <= 1)
        rates.append(held)
    fits &= rates[0] + rates[1] < 1 - EXACT
    return Candidates(*(np.where(fits, figure, np.nan) for figure in (prior, *rates)))


def residuals(counts: Counts, found: Candidates) -> Float[np.ndarray, "labels labels"]:
    """Sum over the other labels j and all four cells of |N̂_ab - N_ab|, [i, k]; ∞ where the candidate was refused.

    N̂_1b = (1 - ρ₊) q_1(b) π₁ + ρ₋ q_0(b) (1 - π₁), N̂_0b the rest of q's mass, with q of (i, j) and the rest of (i, k).
    """
    prior, up, down = (f[:, :, None, None] for f in (found.prior, found.rho_minus, found.rho_plus))
    q0, q1 = counts.given[:, None, :, 0, :], counts.given[:, None, :, 1, :]
    c0, c1 = (1 - prior) * q0, prior * q1
    N0, N1 = counts.joint[:, None, :, 0, :], counts.joint[:, None, :, 1, :]
    gap = np.abs((1 - down) * c1 + up * c0 - N1) + np.abs(down * c1 + (1 - up) * c0 - N0)
    others = ~np.eye(len(q0), dtype=bool)[:, None, :, None] & np.isfinite(q0 + q1 + N0)
    total = np.where(others, gap, 0.0).sum(axis=(2, 3))
    return np.where(np.isnan(found.prior), np.inf, total)


def dual_t(
    probability: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
) -> tuple[Float[np.ndarray, " labels"], Float[np.ndarray, " labels"]]:
    """ρ₊ and ρ₋ by Dual-T (Yao et al. 2020): T = A·K.

    A's rows are the network's posterior at the anchors, the stays of lowest and of highest p; K_ab = P(ỹ = b | p says
    a), its row the identity's where p never says a. NaN for a label without pairs.
    """
    taken = member.any(0)
    lowest = np.where(taken, np.where(member, probability, np.inf).min(0), np.nan)
    highest = np.where(taken, np.where(member, probability, -np.inf).max(0), np.nan)
    says = probability > 0.5
    positive = (observed == 1) & member
    share = []
    for a, none in ((False, 0.0), (True, 1.0)):
        size = ((says == a) & member).sum(0)
        share.append(np.where(size > 0, ((says == a) & positive).sum(0) / np.maximum(size, 1), none))
    rho_minus = (1 - lowest) * share[0] + lowest * share[1]
    rho_plus = (1 - highest) * (1 - share[0]) + highest * (1 - share[1])
    return rho_plus, rho_minus


def estimate(
    logits: Float[np.ndarray, "epochs stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    config: MultiTConfig,
) -> Transition:
    """Estimate every label's rates from the warm-up's logits.

    Parameters
    ----------
    logits
        z of epochs 1, 2, …; those after `sample_epoch` are not read.
    observed, member
        ỹ, and which pairs take part (stated, training, not locked).
    config
        See `MultiTConfig`.

    Notes
    -----
    The official code sets a rate to zero where the *true* one is, which nobody knows, and picks models on a validation
    split; neither is done here. Where no other label gives a solution, Dual-T answers; where its rates sum to 1 or
    more, they are taken as 0, so that the label is trained on as it stands.
    """
    upto = logits[: config.sample_epoch]
    selected = select_clean(mean_losses(upto[-config.window :], observed, member), observed, member, config)
    counts = count_pairs(observed, member, selected)
    found = candidates(counts, config)
    total = residuals(counts, found)
    best = total.argmin(1)
    rows = np.arange(len(best))
    solved = np.isfinite(total[rows, best])

    plus, minus = dual_t(1 / (1 + np.exp(-upto[-1].astype(np.float64))), observed, member)
    dual = ~solved & (plus + minus < 1)
    rho_plus = np.where(solved, found.rho_plus[rows, best], np.where(dual, plus, 0.0))
    rho_minus = np.where(solved, found.rho_minus[rows, best], np.where(dual, minus, 0.0))
    origin = np.where(solved, PAIRS, np.where(dual, DUAL, NONE))
    return Transition(rho_plus, rho_minus, np.where(solved, best, -1), origin)


def importance(
    logits: Float[Tensor, "stays labels"],
    rho_plus: Float[Tensor, " labels"],
    rho_minus: Float[Tensor, " labels"],
    largest: float,
) -> tuple[Float[Tensor, "stays labels"], Float[Tensor, "stays labels"]]:
    """Weights of an observed 1 and of an observed 0: w = p(ỹ)/(Tᵀp)(ỹ), held within [0, largest], without gradient.

    Notes
    -----
    w_1 = p/((1 - ρ₊) p + ρ₋ (1 - p)) and w_0 = (1 - p)/(ρ₊ p + (1 - ρ₋)(1 - p)); both are 1 where both rates are 0.
    """
    p, not_p = (torch.sigmoid(z.detach()).clamp_min(_LEAST) for z in (logits, -logits))
    positive = p / ((1 - rho_plus) * p + rho_minus * not_p)
    negative = not_p / (rho_plus * p + (1 - rho_minus) * not_p)
    return positive.clamp(0.0, largest), negative.clamp(0.0, largest)


def reweighted_bce(
    logits: Float[Tensor, "stays labels"],
    targets: Float[Tensor, "stays labels"],
    rho_plus: Float[Tensor, " labels"],
    rho_minus: Float[Tensor, " labels"],
    largest: float,
    fixed: Bool[Tensor, "stays labels"] | None = None,
) -> Float[Tensor, "stays labels"]:
    """Binary cross-entropy of each pair times its weight; the weight of `fixed` pairs, which aren't noisy, is 1.

    A soft target y weighs both sides: y·w_1·(-log p) + (1 - y)·w_0·(-log(1 - p)).
    """
    positive, negative = importance(logits, rho_plus, rho_minus, largest)
    if fixed is not None:
        positive, negative = positive.masked_fill(fixed, 1.0), negative.masked_fill(fixed, 1.0)
    return -(targets * positive * logsigmoid(logits) + (1 - targets) * negative * logsigmoid(-logits))
