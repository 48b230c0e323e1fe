"""MIRACL's own part of the loop: select, partition, correct softly, and train on what was corrected (Eq. 1–11)."""

import numpy as np
import torch
from torch import Tensor

from core.calibrated.peer_posterior import noisy_groups
from core.config import TrainConfig
from core.correction.on_device import Correctable, corrected_placed, predicted_placed
from core.correction.relabel import corrected_labels, predicted_labels
from core.hints import Bool, Float
from core.methods.base import EpochEnd, Method, auxiliary_losses
from core.models.losses import masked_bce
from core.models.miracl import Batch, Output
from core.schedules import beta
from core.selecting import eligible_pairs, eligible_placed, select_pairs, select_placed_pairs
from core.selection.groups import by_class
from core.selection.on_device import PlacedDynamics


def objective(
    output: Output, batch: Batch, base: Tensor, corrected: Tensor, stated: Tensor, beta_t: float, config: TrainConfig
) -> Float[Tensor, " terms"]:
    """Loss of a batch and its terms (methods.md A.7, Eq. 11).

    L = β·BCE(p, Ỹcorr) + (1-β)·BCE(p, ỹ) + w·L_ortho + L_moe + λ·(BCE(p^E, ỹ) + BCE(p^N, ỹ) + L_cons); warming up is
    β = 0.

    Returns
    -------
    Tensor
        float32: the total, the seven terms of `TERMS` unweighted but for L_moe, and the cross-visit share of anchors.
    """
    loss = config.loss
    bce = masked_bce(output.logits, base, stated)
    fixed = masked_bce(output.logits, corrected, stated) if beta_t > 0 else bce
    extra, series_head, note_head, contrast, crossing = auxiliary_losses(output, batch, base, stated, loss)
    moe = loss.balance * output.balance
    total = beta_t * fixed + (1 - beta_t) * bce + loss.ortho * output.ortho + moe + extra
    return torch.stack((total, bce, fixed, output.ortho, moe, series_head, note_head, contrast, crossing))


class Miracl(Method):
    """Warm up, then train on β·BCE(p, Ỹcorr) + (1-β)·BCE(p, ỹ) with Ỹcorr built anew at the end of each epoch.

    Attributes
    ----------
    blend
        β of this epoch; 0 while warming up.
    still
        bool [stays, labels], pairs of groups in which the peer finds no noise: with ``correction.leave_alone`` they
        keep what was given. None without it.
    """

    blend: float = 0.0
    still: Bool[np.ndarray, "stays labels"] | None = None

    @property
    def trains_heads(self) -> bool:
        """Whether the modality heads are trained."""
        return self.config.loss.heads != "off"

    def prepare(self) -> None:
        """Fix Z⁻, and what is left alone, for the round; where the selection is on the device, there."""
        self.corrected_here: Tensor = self.base
        if self.config.correction.leave_alone:
            rates = self.setting.peer_reading.rates
            self.rates = rates
            self.still = by_class(self.setting.pairs.observed, ~noisy_groups(rates))
        if self.setting.execution.selects_on_device(self.setting.place):
            self.placed = self._correctable()
        else:
            self.eligible = eligible_pairs(self.setting.pairs, self.config)

    def _correctable(self) -> Correctable:
        """Lay on the device what correction reads of the round."""
        setting, place = self.setting, self.setting.place
        here = [np.array(mask) for mask in (setting.pairs.member, setting.packed.has_series, setting.packed.has_note)]
        member, has_series, has_note = (torch.from_numpy(mask).to(place) for mask in here)
        may = member & eligible_placed(setting.pairs, self.config, place)
        still = None if self.still is None else torch.from_numpy(self.still).to(place)
        return Correctable(self.base, member, may, still, has_series, has_note)

    def begin_epoch(self, t: int) -> None:
        """Take the labels corrected at the end of the epoch before."""
        optim = self.config.optim
        correcting = t > optim.warm_up
        self.blend = beta(t, optim.beta_origin, optim.beta_final, optim.warm_up, optim.epochs) if correcting else 0.0
        self.corrected_here = torch.from_numpy(self.corrected).to(self.setting.place)

    def objective(self, output: Output, batch: Batch) -> Float[Tensor, " terms"]:
        """`objective` with this epoch's β and corrected labels."""
        rows = batch.rows
        return objective(
            output, batch, self.base[rows], self.corrected_here[rows], self.stated[rows], self.blend, self.config
        )

    def end_epoch(self, t: int, end: EpochEnd) -> None:
        """Select and correct from the end of the warm-up on (A.2, steps 11–16, 8)."""
        config, pairs, packed = self.config, self.setting.pairs, self.setting.packed
        if t < config.optim.warm_up:
            return
        if isinstance(end.dynamics, PlacedDynamics):
            assert end.placed is not None
            self._end_on_device(t, end.placed, end.dynamics)
            return
        selection = select_pairs(end.probability[0], end.dynamics, pairs, self.eligible, config, t)
        predicted = predicted_labels(
            end.probability[0], end.probability[1], end.probability[2], packed.has_series, packed.has_note,
            config.correction,
        )  # fmt: skip
        self.corrected = corrected_labels(
            pairs.base, predicted, selection.uncertainty, pairs.observed, self.eligible, pairs.member,
            previous=self.corrected if t > config.optim.warm_up else None, config=config.correction,
        )  # fmt: skip
        if self.still is not None:
            self.corrected = np.where(self.still, pairs.base, self.corrected)
        self.counts = selection.counts(pairs.member)

    def _end_on_device(self, t: int, probability: Tensor, dynamics: PlacedDynamics) -> None:
        """Do the same in tensors; the corrected labels alone come to the host."""
        config, placed = self.config, self.placed
        selection = select_placed_pairs(probability[0], dynamics, placed.may, config, t)
        predicted = predicted_placed(probability, placed, config.correction)
        corrected = corrected_placed(
            placed, predicted, selection.uncertainty, config=config.correction,
            previous=self.corrected_here if t > config.optim.warm_up else None,
        )  # fmt: skip
        self.corrected = corrected.cpu().numpy()
        self.counts = selection.counts()

    def state(self) -> dict[str, Tensor]:
        """Give the corrected labels."""
        return {"corrected": torch.from_numpy(self.corrected)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take them over."""
        self.corrected = state["corrected"].numpy()
