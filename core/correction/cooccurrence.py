"""Which labels keep company: the co-occurrence matrix C and the filter Z⁻ of correctable negatives (Eq. 6)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.errors import ConfigError
from core.hints import Bool, Float, UInt8


@dataclass(frozen=True)
class FilterConfig:
    """Which negatives may be corrected.

    Parameters
    ----------
    kind
        `abs` [paper, released]: support above `tau`. `per_label_quantile`: above the label's quantile of support among
        its negatives that take part (A.11 row 16).
    tau
        .02 [paper, released], a sum of conditional shares; it passes 80 to 99.97 % of negatives (methods.md A.7).
    quantile
        0–1, for `per_label_quantile`.
    place
        `after_fit` [released]: all members shape the mixtures, the filter then holds back corrections. `before_fit` [a
        reading of the paper's "filtered score set"]: negatives outside Z⁻ take no part in the fit (row 13).
    """

    kind: Literal["abs", "per_label_quantile"] = "abs"
    tau: float = 0.02
    quantile: float = 0.5
    place: Literal["after_fit", "before_fit"] = "after_fit"

    def __post_init__(self) -> None:
        """Refuse options outside their range."""
        if self.kind not in ("abs", "per_label_quantile"):
            raise ConfigError("a filter abs or per_label_quantile", repr(self.kind), "choose one of them")
        if self.place not in ("after_fit", "before_fit"):
            raise ConfigError("the filter's place after_fit or before_fit", repr(self.place), "choose one of them")
        if not 0 <= self.quantile <= 1:
            raise ConfigError("a filter quantile from 0 to 1", str(self.quantile), "set it within that range")
        if not self.tau >= 0:
            raise ConfigError("a filter threshold tau of 0 or more", str(self.tau), "set it to .02, say")


def cooccurrence(
    observed: UInt8[np.ndarray, "stays labels"], stated: Bool[np.ndarray, "stays labels"]
) -> Float[np.ndarray, "labels labels"]:
    """C_kj = Σ_i ỹ_ik ỹ_ij / Σ_{b≠k} Σ_i ỹ_ik ỹ_ib for j ≠ k, C_kk = 0: of label k's company, the share that is j.

    Parameters
    ----------
    observed
        ỹ, 0 or 1.
    stated
        Pairs that count: stated ones of training stays. Others are taken as 0.

    Returns
    -------
    ndarray
        float32; rows sum to 1, or to 0 where the label keeps no company.

    Notes
    -----
    The paper's denominator runs over b = k too, which contradicts its "rows sum to 1"; this follows the released code
    (A.11 row 14).
    """
    present = (stated & (observed != 0)).astype(np.float64)
    together = present.T @ present
    np.fill_diagonal(together, 0.0)
    company = together.sum(axis=1, keepdims=True)
    C: np.ndarray = together / np.where(company > 0, company, 1.0)
    return C.astype(np.float32)


def cooccurrence_support(
    observed: UInt8[np.ndarray, "stays labels"],
    stated: Bool[np.ndarray, "stays labels"],
    C: Float[np.ndarray, "labels labels"],
) -> Float[np.ndarray, "stays labels"]:
    """S = Ỹ·C: S_il = Σ_{k: ỹ_ik=1} C_kl, how strongly a stay's recorded labels keep company with label l."""
    present = (stated & (observed != 0)).astype(np.float64)
    support: np.ndarray = present @ C.astype(np.float64)
    return support.astype(np.float32)


def negative_filter(
    observed: UInt8[np.ndarray, "stays labels"],
    stated: Bool[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
    C: Float[np.ndarray, "labels labels"],
    config: FilterConfig,
) -> Bool[np.ndarray, "stays labels"]:
    """Z⁻ (Eq. 6): a negative is eligible iff its support exceeds τ; positives always are.

    The labels don't change within a round, so it is computed once a round (A.11 row 15).
    """
    support = cooccurrence_support(observed, stated, C)
    positive = observed != 0
    if config.kind == "abs":
        limit: np.ndarray = np.full(support.shape[1], config.tau, np.float32)
    else:
        limit = np.zeros(support.shape[1], np.float32)
        for label in range(support.shape[1]):
            negatives = support[member[:, label] & ~positive[:, label], label]
            if len(negatives):
                limit[label] = np.quantile(negatives, config.quantile)
    eligible: np.ndarray = positive | (support > limit)
    return eligible
