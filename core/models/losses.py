"""The loss terms. All take logits; targets may be soft; pairs that the source does not state are left out."""

import torch
from torch import Tensor
from torch.nn import functional

from core.hints import Bool, Float, Int


def masked_bce(
    logits: Float[Tensor, "stays labels"],
    targets: Float[Tensor, "stays labels"],
    counted: Bool[Tensor, "stays labels"],
) -> Float[Tensor, ""]:
    """Binary cross-entropy, mean over the counted pairs; 0 where there is none.

    Parameters
    ----------
    logits
        z, any real.
    targets
        In [0, 1].
    counted
        Pairs that have a label.
    """
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (losses * counted).sum() / counted.sum().clamp_min(1)


def contrastive(
    h_series: Float[Tensor, "stays d"],
    h_note: Float[Tensor, "stays d"],
    has_series: Bool[Tensor, " stays"],
    has_note: Bool[Tensor, " stays"],
    patient: Int[Tensor, " stays"],
    temperature: float,
    positives: str = "patient",
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Patient-level contrastive loss (Eq. 9).

    H = [h^E_1..h^E_B, h^N_1..h^N_B]. For an anchor a, P(a) are the other rows of the same patient and A(a) all other
    rows; L_a = -1/|P(a)| Σ_{b∈P(a)} log softmax_{A(a)}(cos(h_a, h_b)/τ_t); the mean over anchors with P(a) ≠ ∅.

    Parameters
    ----------
    h_series, h_note
        Pooled encoder outputs.
    has_series, has_note
        Rows of an absent modality are neither anchors nor keys.
    patient
        int64 ids (the released code's float32 confuses large ones).
    temperature
        τ_t.
    positives
        ``patient``, or ``visit``: only the same stay's other modality.

    Returns
    -------
    loss
        0 where no anchor has a positive.
    cross_visit_share
        Share of the anchors with a positive that have one from another stay.
    """
    stays = len(patient)
    h = functional.normalize(torch.cat((h_series, h_note)).float(), dim=-1)
    present = torch.cat((has_series, has_note))
    ids = torch.cat((patient, patient))
    stay = torch.arange(stays, device=h.device).repeat(2)
    others = ~torch.eye(2 * stays, dtype=torch.bool, device=h.device)
    keys = others & present.unsqueeze(0) & present.unsqueeze(1)
    same_stay = stay.unsqueeze(0) == stay.unsqueeze(1)
    same = same_stay if positives == "visit" else ids.unsqueeze(0) == ids.unsqueeze(1)
    positive = keys & same

    similarity = (h @ h.T / temperature).masked_fill(~keys, float("-inf"))
    # A row without keys would be all -∞; its largest is set to 0 and it counts for nothing below.
    largest = similarity.max(dim=1, keepdim=True).values.detach().nan_to_num(neginf=0.0)
    shifted = (similarity - largest).masked_fill(~keys, 0.0)
    total = (shifted.exp() * keys).sum(1, keepdim=True).clamp_min(torch.finfo(h.dtype).tiny)
    log_share = (shifted - total.log()) * positive
    count = positive.sum(1)
    has_positive = count > 0
    anchors = has_positive.sum()
    loss = -(log_share.sum(1) / count.clamp_min(1)).sum() / anchors.clamp_min(1)
    cross = (keys & same & ~same_stay).any(1).sum() / anchors.clamp_min(1)
    return loss, cross
