"""Soft correction and the filter Z⁻ on the run's device: what `relabel` and `cooccurrence` say, in tensors."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.correction.cooccurrence import FilterConfig
from core.correction.relabel import CorrectionConfig
from core.hints import Bool, Float


@dataclass(frozen=True)
class Correctable:
    """What correction reads of a round besides the network: copied to the device once.

    Parameters
    ----------
    base
        float32, what is corrected: the given label (0 or 1, .5 for a soft answer).
    member
        Pairs that may be corrected.
    may
        Those of them that Z⁻ lets pass, or whose record is present.
    still
        Pairs that keep their base whatever the network says; None where there are none.
    has_series, has_note
        bool [stays].
    """

    base: Float[Tensor, "stays labels"]
    member: Bool[Tensor, "stays labels"]
    may: Bool[Tensor, "stays labels"]
    still: Bool[Tensor, "stays labels"] | None
    has_series: Bool[Tensor, " stays"]
    has_note: Bool[Tensor, " stays"]


def predicted_placed(
    probability: Float[Tensor, "three stays labels"], given: Correctable, config: CorrectionConfig
) -> Float[Tensor, "stays labels"]:
    """Ŷ out of fused, series head and note head; see `core.correction.relabel.predicted_labels`."""
    fused, *shares = (float(np.float32(share)) for share in config.target_mix)
    mixed = fused * probability[0]
    total = torch.full_like(mixed[:, :1], fused)
    for share, head, present in zip(shares, probability[1:], (given.has_series, given.has_note), strict=True):
        if share == 0:
            continue
        here = present.unsqueeze(1) if config.renormalise else torch.ones_like(present).unsqueeze(1)
        mixed = mixed + torch.where(here, share * head, 0.0)
        total = total + torch.where(here, share, 0.0)
    return (mixed / total).clamp(max=1.0)


def corrected_placed(
    given: Correctable,
    predicted: Float[Tensor, "stays labels"],
    uncertainty: Float[Tensor, "stays labels"],
    *,
    config: CorrectionConfig,
    previous: Float[Tensor, "stays labels"] | None = None,
) -> Float[Tensor, "stays labels"]:
    """Ỹcorr = U·Ŷ + (1-U)·ỹ; see `core.correction.relabel.corrected_labels`. What is to keep still keeps its base."""
    origin = given.base
    if previous is not None and config.cumulative:
        origin = torch.where(given.member, previous, origin)
    grade = torch.where(given.may, uncertainty, 0.0)
    corrected = grade * predicted + (1 - grade) * origin
    return corrected if given.still is None else torch.where(given.still, given.base, corrected)


def cooccurrence_placed(
    positive: Bool[Tensor, "stays labels"], stated: Bool[Tensor, "stays labels"]
) -> Float[Tensor, "labels labels"]:
    """C: of label k's company, the share that is j; see `core.correction.cooccurrence.cooccurrence`."""
    present = (stated & positive).double()
    together = (present.T @ present).fill_diagonal_(0.0)
    company = together.sum(1, keepdim=True)
    return (together / torch.where(company > 0, company, 1.0)).float()


def negative_filter_placed(
    positive: Bool[Tensor, "stays labels"],
    stated: Bool[Tensor, "stays labels"],
    member: Bool[Tensor, "stays labels"],
    C: Float[Tensor, "labels labels"],
    config: FilterConfig,
) -> Bool[Tensor, "stays labels"]:
    """Z⁻: negatives whose support exceeds the limit, and every positive (Eq. 6)."""
    support = ((stated & positive).double() @ C.double()).float()
    if config.kind == "abs":
        return positive | (support > float(np.float32(config.tau)))
    return positive | (support > _quantiles(support, member & ~positive, config.quantile))


def _quantiles(values: Tensor, counted: Tensor, share: float) -> Tensor:
    """Quantile of each column over its counted entries, linear between neighbours; 0 where there are none."""
    ordered = torch.where(counted, values, torch.inf).sort(dim=0).values
    last = counted.sum(0, keepdim=True) - 1
    place = last.clamp(min=0).double() * share
    below = place.floor().long()
    low, high = (ordered.gather(0, at).double() for at in (below, torch.minimum(below + 1, last.clamp(min=0))))
    between = low + (high - low) * (place - below)
    return torch.where(last >= 0, between, 0.0).float()
