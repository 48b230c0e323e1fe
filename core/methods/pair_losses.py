"""Losses of the baselines, pair by pair, and their means over the counted pairs (methods.md C.2 to C.5).

All take logits z; p = σ(z), and p_y is the probability of the observed value. With a soft target y each is its
expectation, y·L⁺ + (1 - y)·L⁻. A mean over counted pairs is what "summed over labels, averaged over the batch, divided
by L" comes to where every pair is stated, so that the backbone's auxiliary terms keep their relative weight.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from core.errors import ConfigError
from core.hints import Bool, Float
from core.options import check_options, sourced

REGULARISED: dict[str, float | str] = {
    "model.dropout": 0.5,
    "optim.weight_decay": 1e-4,
    "optim.decay_from": "first",
}
"""What a regularised BCE changes of a plain one (methods.md G.1, point 4; DECISIONS.md 2026-11-21)."""
LEAST = 1e-8
"""Least argument of a logarithm [ASL's official code], and of a power, whose slope at 0 may be infinite."""


@dataclass(frozen=True)
class FocalConfig:
    """Focal loss.

    Parameters
    ----------
    gamma
        γ, how fast easy pairs lose weight.
    alpha
        α, weight of positives; negatives have 1 - α. The paper's .25 weighs the rarer class *down*.
    """

    gamma: float = sourced(2.0, "paper A.5.2", 0, 20)
    alpha: float = sourced(0.25, "paper A.5.2; C.2 suggests .5 and .75 too", 0, 1)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class AslConfig:
    """Asymmetric loss.

    Parameters
    ----------
    gamma_positive, gamma_negative
        γ₊, γ₋. The official training script has γ₊ = 0, its class and the paper 1.
    margin
        m, taken off the probability of a negative.
    detach_weight
        No gradient through the focusing weight, as in the official script.
    """

    gamma_positive: float = sourced(1.0, "paper A.5.2; official script 0", 0, 20)
    gamma_negative: float = sourced(4.0, "paper A.5.2", 0, 20)
    margin: float = sourced(0.05, "paper A.5.2", 0, 0.99)
    detach_weight: bool = sourced(True, "C.3: official disable_torch_grad_focal_loss=True")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class GceConfig:
    """Generalised cross-entropy.

    Parameters
    ----------
    q
        Between cross-entropy (q → 0) and absolute error (1).
    truncation
        k: where p_y ≤ k the loss is the constant (1 - k^q)/q; 0 for the untruncated form.
    """

    q: float = sourced(0.7, "paper A.5.2: default parameters", 0.01, 1)
    truncation: float = sourced(0.0, "C.4: ours untruncated; official .5", 0, 0.99)

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class MllscConfig:
    """MLLSC, and SPLC, which is its half for missing labels.

    Parameters
    ----------
    positive_threshold, negative_threshold
        τ_pos, τ_neg.
    margin
        m, taken off the logit of an observed positive.
    gamma
        γ of the margin-focal loss.
    pos_rule
        When an observed positive is disbelieved: ``disbelief`` if 1 - p > τ_pos; ``below`` if p < τ_pos, the other
        reading, which collapses; ``quantile`` if p lies in the lowest share `quantile` of the label's observed
        positives an epoch ago; ``never`` is SPLC.
    quantile
        That share.
    start_epoch
        First epoch (1-based) in which pairs are switched.
    """

    positive_threshold: float = sourced(0.55, "paper A.5.2", 0, 1)
    negative_threshold: float = sourced(0.6, "paper A.5.2", 0, 1)
    margin: float = sourced(1.0, "paper A.5.2", 0, 20)
    gamma: float = sourced(2.0, "paper A.5.2", 0, 20)
    pos_rule: Literal["disbelief", "below", "quantile", "never"] = sourced("disbelief", "C.5: our reading")
    quantile: float = sourced(0.1, "C.5: ours", 0, 1)
    start_epoch: int = sourced(6, "C.5: ours; SPLC from its second epoch", 1, 10_000)

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def positive_floor(self) -> float:
        """Probability below which an observed positive is disbelieved; NaN with ``quantile``, which asks the data."""
        floors = {"disbelief": 1 - self.positive_threshold, "below": self.positive_threshold, "never": 0.0}
        return floors.get(self.pos_rule, math.nan)


def mean_counted(losses: Float[Tensor, "stays labels"], counted: Bool[Tensor, "stays labels"]) -> Float[Tensor, ""]:
    """Mean over the counted pairs; 0 where there is none."""
    return losses.masked_fill(~counted, 0.0).sum() / counted.sum().clamp_min(1)


def focal(
    logits: Float[Tensor, "stays labels"], targets: Float[Tensor, "stays labels"], gamma: float, alpha: float
) -> Float[Tensor, "stays labels"]:
    """Focal loss, -α_y (1 - p_y)^γ log p_y with α_1 = α and α_0 = 1 - α (Lin et al. 2017; methods.md C.2).

    Parameters
    ----------
    logits, targets
        z, any real; y in [0, 1].
    gamma, alpha
        See `FocalConfig`.

    Notes
    -----
    The paper's row for it lies at chance: a sigmoid of a probability will do that. This one takes logits.
    """
    log_p, log_not = logsigmoid(logits), logsigmoid(-logits)
    positive = -alpha * (gamma * log_not).exp() * log_p
    negative = -(1 - alpha) * (gamma * log_p).exp() * log_not
    return targets * positive + (1 - targets) * negative


def asl(
    logits: Float[Tensor, "stays labels"],
    targets: Float[Tensor, "stays labels"],
    gamma_positive: float,
    gamma_negative: float,
    margin: float,
    detach_weight: bool = True,
) -> Float[Tensor, "stays labels"]:
    """Asymmetric loss (Ridnik et al. 2021; methods.md C.3).

    L⁺ = -(1 - p)^γ₊ log p; L⁻ = -p_m^γ₋ log(1 - p_m) with p_m = max(p - m, 0).

    Parameters
    ----------
    logits, targets
        z, any real; y in [0, 1].
    gamma_positive, gamma_negative, margin, detach_weight
        See `AslConfig`.
    """
    p, not_p = torch.sigmoid(logits), torch.sigmoid(-logits)
    shifted = (p - margin).clamp_min(LEAST)
    weight_positive, weight_negative = (gamma_positive * logsigmoid(-logits)).exp(), shifted**gamma_negative
    if detach_weight:
        weight_positive, weight_negative = weight_positive.detach(), weight_negative.detach()
    positive = -weight_positive * logsigmoid(logits)
    negative = -weight_negative * (not_p + margin).clamp(LEAST, 1.0).log()
    return targets * positive + (1 - targets) * negative


def gce(
    logits: Float[Tensor, "stays labels"], targets: Float[Tensor, "stays labels"], q: float, truncation: float = 0.0
) -> Float[Tensor, "stays labels"]:
    """Generalised cross-entropy, (1 - p_y^q)/q (Zhang and Sabuncu 2018; methods.md C.4).

    Parameters
    ----------
    logits, targets
        z, any real; y in [0, 1].
    q, truncation
        See `GceConfig`.

    Notes
    -----
    Untruncated by default: with rare positives p_y < .5 is normal, and the truncated form drops most of them. p_y^q is
    taken as exp(q log p_y), whose gradient in z is -p_y^q (1 - p_y), so that no clamp on p_y is needed.
    """

    def of(log_p: Tensor) -> Tensor:
        return (1 - (q * log_p.clamp_min(math.log(truncation)) if truncation else q * log_p).exp()) / q

    return targets * of(logsigmoid(logits)) + (1 - targets) * of(logsigmoid(-logits))


def mllsc(
    logits: Float[Tensor, "stays labels"],
    targets: Float[Tensor, "stays labels"],
    positive_floor: Float[Tensor, " labels"] | float,
    negative_ceiling: float,
    margin: float,
    gamma: float,
    fixed: Bool[Tensor, "stays labels"] | None = None,
) -> Float[Tensor, "stays labels"]:
    """Margin-focal loss that believes a sure network rather than the label (Ghiassi et al. 2023; methods.md C.5).

    A positive with p < `positive_floor` is treated as a negative, a negative with p > `negative_ceiling` as a positive.

    Parameters
    ----------
    logits, targets
        z, any real; y in [0, 1]: each side of a soft target is switched by its own rule.
    positive_floor
        Per label, or one for all; 0: no positive is switched.
    negative_ceiling
        1: no negative is switched.
    margin, gamma
        m and γ: L⁺ = (1 - p_m)^γ (-log p_m) with p_m = σ(z - m), L⁻ = p^γ (-log(1 - p)).
    fixed
        Pairs that are never switched, such as a reviewer's decision.

    Notes
    -----
    No code of MLLSC is public; this is our reading of its abstract. As in SPLC's code, the margin belongs to an
    *observed* positive: a switched pair is judged by p, without margin.
    """
    p = torch.sigmoid(logits).detach()
    doubted, missed = p < positive_floor, p > negative_ceiling
    if fixed is not None:
        doubted, missed = doubted & ~fixed, missed & ~fixed
    as_positive = _margin_focal(logits, gamma)
    as_negative = _margin_focal(-logits, gamma)
    positive = torch.where(doubted, as_negative, _margin_focal(logits - margin, gamma))
    negative = torch.where(missed, as_positive, as_negative)
    return targets * positive + (1 - targets) * negative


def _margin_focal(logits: Tensor, gamma: float) -> Tensor:
    return -(gamma * logsigmoid(-logits)).exp() * logsigmoid(logits)


def splc(
    logits: Float[Tensor, "stays labels"],
    targets: Float[Tensor, "stays labels"],
    negative_ceiling: float,
    margin: float,
    gamma: float,
) -> Float[Tensor, "stays labels"]:
    """SPLC (Zhang et al. 2021; methods.md C.5): `mllsc` that doubts no positive."""
    return mllsc(logits, targets, 0.0, negative_ceiling, margin, gamma)


def label_floors(
    probability: Float[Tensor, "stays labels"], positive: Bool[Tensor, "stays labels"], quantile: float
) -> Float[Tensor, " labels"]:
    """Quantile of the probability among each label's observed positives; 0 for a label without any.

    Raises
    ------
    ConfigError
        When the quantile is not in [0, 1].
    """
    if not 0 <= quantile <= 1:
        raise ConfigError("a quantile in [0, 1]", str(quantile), "give a share")
    masked = probability.float().masked_fill(~positive, math.nan)
    return torch.nanquantile(masked, quantile, dim=0).nan_to_num(0.0)


def focal_loss(
    logits: Float[Tensor, "stays labels"],
    targets: Float[Tensor, "stays labels"],
    counted: Bool[Tensor, "stays labels"],
    config: FocalConfig,
) -> Float[Tensor, ""]:
    """Mean of `focal` over the counted pairs."""
    return mean_counted(focal(logits, targets, config.gamma, config.alpha), counted)


def asl_loss(
    logits: Float[Tensor, "stays labels"],
    targets: Float[Tensor, "stays labels"],
    counted: Bool[Tensor, "stays labels"],
    config: AslConfig,
) -> Float[Tensor, ""]:
    """Mean of `asl` over the counted pairs."""
    c = config
    losses = asl(logits, targets, c.gamma_positive, c.gamma_negative, c.margin, c.detach_weight)
    return mean_counted(losses, counted)


def gce_loss(
    logits: Float[Tensor, "stays labels"],
    targets: Float[Tensor, "stays labels"],
    counted: Bool[Tensor, "stays labels"],
    config: GceConfig,
) -> Float[Tensor, ""]:
    """Mean of `gce` over the counted pairs."""
    return mean_counted(gce(logits, targets, config.q, config.truncation), counted)
