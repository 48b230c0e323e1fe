"""Options of the calibrated preset."""

from dataclasses import dataclass
from typing import Literal

from core.options import check_options, sourced


@dataclass(frozen=True)
class CalibratedConfig:
    """How P(label wrong) is estimated, and what is trained on.

    Parameters
    ----------
    window_first, window_last
        Epochs whose logits are averaged into the network's evidence: before the first it knows nothing, after the last
        it has learned labels by heart.
    network_weight
        Weight of the network's evidence beside the peer's, 0–1.
    trusted_span
        Where labels say little, 1 - ρ₊ - ρ₋ being below this, what the network has learned by heart drowns what it
        knows: its weight is multiplied by ((1 - ρ₊ - ρ₋) / trusted_span)⁴.
    siblings
        Whether the patient's other visits speak for ``flags`` alone, for ``both`` flags and training targets, or not
        (``off``).
    anchor_low, anchor_high
        Shares of all pairs taken for surely absent and surely present ones, from which the noise rates are read.
    least_plus, least_minus
        A rate read below this is taken for none, and its class of labels is left alone: anchors are never quite
        certain.
    trace
        Rate that orders the pairs of a class in which no noise was found, for readers; it changes no label.
    ridge, ridges
        Penalty on the weights of the evidence, per label, towards the labels' mean; of `ridges`, where there are any,
        the one that foretells observed labels best out of fold.
    match
        W is changed in each observed class until its mean is that of the peer's W (``mean``), and its covariance with
        it too (``moments``).
    doubt_shift, doubt_reach
        By how much decisions may well move the log-odds of W (deviation of the prior), and how far along them what was
        decided at one place is carried.
    least_doubt
        q is held within [least_doubt, 1 - least_doubt]: nothing is ever certain.
    heads
        Whether modality heads, where they are trained, see the corrected labels or the given ones.
    """

    window_first: int = sourced(2, "methods.md G.2", 1, 10_000)
    window_last: int = sourced(20, "ours; methods.md G.2 has 12", 1, 10_000)
    network_weight: float = sourced(0.5, "methods.md G.2", 0, 1)
    trusted_span: float = sourced(0.6, "ours; development cohorts", 0.01, 1)
    siblings: Literal["flags", "both", "off"] = sourced("both", "ours; ablation")
    anchor_low: float = sourced(0.05, "ours; development cohorts; methods.md G.2 has .1 per label", 0, 0.5)
    anchor_high: float = sourced(0.005, "ours; development cohorts; methods.md G.2 has .02 per label", 0, 0.5)
    least_plus: float = sourced(0.03, "ours; what the anchors read on clean development cohorts", 0, 1)
    least_minus: float = sourced(0.01, "ours; what the anchors read on clean development cohorts", 0, 1)
    trace: float = sourced(1e-4, "ours: orders the pairs of a class without noise", 0, 0.01)
    ridge: float = sourced(1.0, "ours", 0, 1e6)
    ridges: tuple[float, ...] = sourced((1.0, 10.0, 100.0), "ours: by out-of-fold likelihood of observed labels")
    match: Literal["moments", "mean", "off"] = sourced("moments", "ours; ablation")
    doubt_shift: float = sourced(1.0, "ours: a shift of log-odds that would not surprise", 1e-3, 100)
    doubt_reach: float = sourced(1.0, "ours", 0.01, 100)
    least_doubt: float = sourced(0.002, "methods.md G.2", 0, 0.5)
    heads: Literal["corrected", "given"] = sourced("corrected", "ours; ablation")

    def __post_init__(self) -> None:
        check_options(self)
