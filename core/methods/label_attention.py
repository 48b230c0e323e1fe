"""Attention over label sources: weights, the attended label, its binarisation; options.

Wang, Xu, Yang, Tam, Roth and Xu, "Learning image labels on-the-fly for training robust classification models"
(attention-on-label; methods.md C.10). Equations are numbered as there.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from core.hints import Bool, Float
from core.options import check_options, sourced


@dataclass(frozen=True)
class AttentionOnLabelConfig:
    """Options of attention-on-label.

    Parameters
    ----------
    mode
        A source's feedback: ``full``, the features after a step on its labels (Eq. 1); ``cheap``, the gradient of its
        loss by the logits, p - y_m, beside the features as they are (the paper allows gradients as feedback).
    weight_scope
        One weight per source and ``stay``, or per source and ``stay_label``.
    meta_rate
        α of Eq. 1, a plain gradient step on all of the network.
    attention_rate
        β of Eq. 5, plain gradient descent on W and b.
    start
        Bound of W's and b's first values, drawn evenly, as a multiple of the usual 1/√(width of the feedback). At 0
        every source starts alike; then votes of an odd number of sources lie so far from T that next to no gradient
        comes through Eq. 3.
    sharpness, threshold
        k and T of Eq. 3.
    aggregate
        ȳ is the weighted ``sum`` of the labels (text) or that sum over the number of sources (``mean``, listing A.6,
        where T is .1; a threshold of 1/M or more can then hardly be passed, so lower it with this).
    """

    mode: Literal["full", "cheap"] = sourced("full", "paper Algorithm 1; C.10 for cheap")
    weight_scope: Literal["stay", "stay_label"] = sourced("stay", "paper Eq. 2; C.10 for stay_label")
    meta_rate: float = sourced(0.01, "C.10: paper .2, large for this network", 0, 100)
    attention_rate: float = sourced(0.01, "ours: paper 1e-4; at .1 W settles before p means much", 0, 100)
    start: float = sourced(1.0, "listing A.6: a linear layer's usual start", 0, 100)
    sharpness: float = sourced(50.0, "paper 4.2.1 (k)", 1e-3, 1e4)
    threshold: float = sourced(0.5, "paper 4.2.1 (T); listing A.6 .1", 0, 1)
    aggregate: Literal["sum", "mean"] = sourced("sum", "paper text; listing A.6 mean")

    def __post_init__(self) -> None:
        check_options(self)


def source_weights(
    scores: Float[Tensor, "stays sources k"], available: Bool[Tensor, "stays sources labels"]
) -> Float[Tensor, "stays sources labels"]:
    """w_m = softmax over the available sources (Eq. 2); 0 for the others, and all 0 where no source speaks.

    Parameters
    ----------
    scores
        One per source (k = 1), or one per source and label (k = L).
    available
        Who speaks of which pair.
    """
    lowest = torch.finfo(scores.dtype).min
    masked = scores.expand(-1, -1, available.shape[2]).masked_fill(~available, lowest)
    return masked.softmax(1) * available


def attended_label(
    weights: Float[Tensor, "stays sources labels"],
    values: Float[Tensor, "stays sources labels"],
    aggregate: Literal["sum", "mean"] = "sum",
) -> Float[Tensor, "stays labels"]:
    """ȳ = Σ_m w_m y_m, in [0, 1]; ``mean`` divides by M, as the listing does."""
    attended = (weights * values).sum(1)
    return attended / values.shape[1] if aggregate == "mean" else attended


def binarised(
    attended: Float[Tensor, "stays labels"], sharpness: float, threshold: float
) -> Float[Tensor, "stays labels"]:
    """ỹ = 1 / (1 + e^(-k(ȳ-T))) (Eq. 3): near 0 below T and near 1 above, ½ at T, with a gradient."""
    return torch.sigmoid(sharpness * (attended - threshold))
