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
    siblings
        Whether the patient's other visits speak for ``flags`` alone, for ``both`` flags and training targets, or not
        (``off``).
    anchor_low, anchor_high
        Shares of all pairs taken for surely absent and surely present ones, from which the noise rates are read.
    label_rates
        Rates per label, shrunk to the pooled ones (``shrunk``), or one pair of rates for all (``pooled``).
    least_plus, least_minus
        A rate read below this is taken for none, and its class of labels is left alone: anchors are never quite
        certain.
    ridge
        Penalty on the weights of the evidence, per label, towards the labels' mean.
    least_doubt
        q is held within [least_doubt, 1 - least_doubt]: nothing is ever certain.
    targets
        ``soft``: (1-W)·ỹ + W·(1-ỹ); ``clean_posterior``: P(present | evidence and ỹ), the same thing for hard labels.
    """

    window_first: int = sourced(2, "methods.md G.2", 1, 10_000)
    window_last: int = sourced(12, "methods.md G.2", 1, 10_000)
    network_weight: float = sourced(0.5, "methods.md G.2", 0, 1)
    siblings: Literal["flags", "both", "off"] = sourced("both", "ours; ablation")
    anchor_low: float = sourced(0.05, "ours; development cohorts", 0, 0.5)
    anchor_high: float = sourced(0.005, "ours; development cohorts", 0, 0.5)
    label_rates: Literal["shrunk", "pooled"] = sourced("pooled", "ours; ablation")
    least_plus: float = sourced(0.03, "ours; what the anchors read on clean development cohorts", 0, 1)
    least_minus: float = sourced(0.01, "ours; what the anchors read on clean development cohorts", 0, 1)
    ridge: float = sourced(1.0, "ours", 0, 1e6)
    least_doubt: float = sourced(0.002, "methods.md G.2", 0, 0.5)
    heads: Literal["corrected", "given"] = sourced("corrected", "ours; ablation")

    def __post_init__(self) -> None:
        check_options(self)
