"""MIRACL's own part of the loop: select, partition, correct softly, and train on what was corrected (Eq. 1–11)."""

import numpy as np
import torch
from torch import Tensor

from core.calibrated.peer_posterior import noisy_groups
from core.config import TrainConfig
from core.correction.cooccurrence import cooccurrence, negative_filter
from core.correction.relabel import corrected_labels, predicted_labels
from core.hints import Bool, Float
from core.locks import Pairs
from core.methods.base import EpochEnd, Method, auxiliary_losses
from core.models.losses import masked_bce
from core.models.miracl import Batch, Output
from core.schedules import beta
from core.selection.dynamics import LearningDynamics
from core.selection.groups import by_class
from core.selection.partition import Selection, select


def eligible_pairs(pairs: Pairs, config: TrainConfig) -> Bool[np.ndarray, "stays labels"]:
    """Z⁻ from the labels as far as they are known, and every observed positive; constant over a round (Eq. 6)."""
    of_training = pairs.stated & pairs.training[:, None]
    counts = cooccurrence(pairs.known, of_training)
    eligible = negative_filter(pairs.known, pairs.stated, pairs.member, counts, config.filter)
    return np.asarray(eligible | (pairs.observed == 1))


def select_pairs(
    probability: Float[np.ndarray, "stays labels"],
    dynamics: LearningDynamics,
    pairs: Pairs,
    eligible: Bool[np.ndarray, "stays labels"],
    config: TrainConfig,
    epoch: int,
) -> Selection:
    """Rank, difficulty, Z, 2L mixtures, partition and U from the state at the end of an epoch (A.2, step 3)."""
    return select(
        probability, pairs.observed, pairs.member, dynamics, config.selection, config.mixture, locked=pairs.locked,
        eligible=eligible, fit_on_eligible=config.filter.place == "before_fit",
        uncertainty_source=config.correction.uncertainty_source,
        alpha=config.selection.alpha_at(epoch, config.optim.warm_up, config.optim.epochs),
    )  # fmt: skip


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
        """Fix Z⁻, and what is left alone, for the round."""
        self.eligible = eligible_pairs(self.setting.pairs, self.config)
        self.corrected_here: Tensor = self.base
        if self.config.correction.leave_alone:
            rates = self.setting.peer_reading.rates
            self.rates = rates
            self.still = by_class(self.setting.pairs.observed, ~noisy_groups(rates))

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

    def state(self) -> dict[str, Tensor]:
        """Give the corrected labels."""
        return {"corrected": torch.from_numpy(self.corrected)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take them over."""
        self.corrected = state["corrected"].numpy()
