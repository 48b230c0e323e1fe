"""Attention over label sources: feedback of each source, weights, the attended label, its binarisation.

Wang, Xu, Yang, Tam, Roth and Xu, "Learning image labels on-the-fly for training robust classification models"
(attention-on-label; methods.md C.10). Equations are numbered as there.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from core.hints import Bool, Float
from core.models.losses import masked_bce
from core.models.miracl import Batch, Output
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
    sharpness, threshold
        k and T of Eq. 3.
    aggregate
        ȳ is the weighted ``sum`` of the labels (text) or that sum over the number of sources (``mean``, listing A.6,
        where T is .1; a threshold of 1/M or more can then hardly be passed, so lower it with this).
    """

    mode: Literal["full", "cheap"] = sourced("full", "paper Algorithm 1; C.10 for cheap")
    weight_scope: Literal["stay", "stay_label"] = sourced("stay", "paper Eq. 2; C.10 for stay_label")
    meta_rate: float = sourced(0.01, "C.10: paper .2, large for this network", 0, 100)
    attention_rate: float = sourced(1e-2, "ours: paper 1e-4, at which W hardly moves in 30 short epochs", 0, 100)
    sharpness: float = sourced(50.0, "paper 4.2.1 (k)", 1e-3, 1e4)
    threshold: float = sourced(0.5, "paper 4.2.1 (T); listing A.6 .1", 0, 1)
    aggregate: Literal["sum", "mean"] = sourced("sum", "paper text; listing A.6 mean")

    def __post_init__(self) -> None:
        check_options(self)


def meta_features(
    model: nn.Module,
    batch: Batch,
    output: Output,
    values: Float[Tensor, "stays sources labels"],
    available: Bool[Tensor, "stays sources labels"],
    rate: float,
) -> Float[Tensor, "stays sources w"]:
    """F_m: what the last layer reads under θ̂_m = θ - α ∇_θ BCE(p, y_m), for each source m (Eq. 1); detached.

    Parameters
    ----------
    model, batch, output
        The network in training mode and its output on the batch, whose graph is kept.
    values, available
        The sources' labels. A source's loss is a mean over the pairs that it states; where it states none of the
        batch's, θ̂_m = θ.
    rate
        α.

    Notes
    -----
    Features are taken without dropout and gate noise, so that they differ by the source alone; the paper's network
    stays in training mode. The step is on the classification loss alone.
    """
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = []
    training, place = model.training, output.logits.device.type
    for m in range(values.shape[1]):
        loss = masked_bce(output.logits, values[:, m], available[:, m])
        gradients = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
        stepped = {
            name: p.detach() if g is None else p.detach() - rate * g
            for (name, p), g in zip(parameters.items(), gradients, strict=True)
        }
        model.eval()
        with torch.no_grad(), torch.autocast(place, torch.bfloat16, enabled=place == "cuda"):
            found.append(functional_call(model, stepped, (batch,)).features.float())
        model.train(training)
    return torch.stack(found, dim=1)


def cheap_feedback(
    output: Output,
    values: Float[Tensor, "stays sources labels"],
    available: Bool[Tensor, "stays sources labels"],
) -> Float[Tensor, "stays wide"]:
    """[h, p - y_1, …, p - y_M] per stay: features once, then each source's gradient by the logits; detached.

    p - y is 0 where a source says nothing.
    """
    p = output.logits.detach().float().sigmoid().unsqueeze(1)
    return torch.cat((output.features.detach().float(), ((p - values) * available).flatten(1)), dim=1)


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
