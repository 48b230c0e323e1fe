"""Comparison methods that differ from the backbone's BCE in the loss alone (methods.md C.1 to C.5)."""

import math

import torch
from torch import Tensor

from core.hints import Float
from core.methods.base import EpochEnd, Method
from core.methods.pair_losses import asl_loss, focal_loss, gce_loss, label_floors, mean_counted, mllsc
from core.models.miracl import Batch, Output


class BCE(Method):
    """Binary cross-entropy on the labels as given: FlexCare's backbone (methods.md C.1).

    Notes
    -----
    `bce_regularised` is the same with the options of `pair_losses.REGULARISED`.
    """


class Focal(Method):
    """Focal loss (methods.md C.2)."""

    def pair_loss(self, output: Output, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the stated pairs."""
        options = self.config.method.focal
        return focal_loss(output.logits, self.base[batch.rows], self.stated[batch.rows], options)


class ASL(Method):
    """Asymmetric loss (methods.md C.3)."""

    def pair_loss(self, output: Output, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the stated pairs."""
        options = self.config.method.asl
        return asl_loss(output.logits, self.base[batch.rows], self.stated[batch.rows], options)


class GCE(Method):
    """Generalised cross-entropy (methods.md C.4)."""

    def pair_loss(self, output: Output, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the stated pairs."""
        options = self.config.method.gce
        return gce_loss(output.logits, self.base[batch.rows], self.stated[batch.rows], options)


class MLLSC(Method):
    """MLLSC, and SPLC with ``pos_rule="never"`` (methods.md C.5).

    Notes
    -----
    No code of MLLSC is public. Chosen here: positives are disbelieved where 1 - p > τ_pos rather than where p < τ_pos,
    which flips nearly all of them and collapses; nothing is switched before `start_epoch`; decided pairs never are.
    With ``quantile`` the floor is taken from the probabilities of the epoch before. It hands out labels as given: pairs
    are switched in the loss, anew in each batch.
    """

    def prepare(self) -> None:
        """No pair is switched yet."""
        self.locked = torch.from_numpy(self.setting.pairs.locked).to(self.setting.place)
        self.quantile_floor = torch.zeros(self.base.shape[1], device=self.setting.place)
        self.epoch = 0

    def begin_epoch(self, t: int) -> None:
        """Remember which epoch it is."""
        self.epoch = t

    def pair_loss(self, output: Output, batch: Batch) -> Float[Tensor, ""]:
        """Mean over the stated pairs."""
        options, rows = self.config.method.mllsc, batch.rows
        floor: Tensor | float = options.positive_floor
        if math.isnan(options.positive_floor):
            floor = self.quantile_floor
        ceiling = options.negative_threshold
        if self.epoch < options.start_epoch:
            floor, ceiling = 0.0, 1.0
        losses = mllsc(output.logits, self.base[rows], floor, ceiling, options.margin, options.gamma, self.locked[rows])
        return mean_counted(losses, self.stated[rows])

    def end_epoch(self, t: int, end: EpochEnd) -> None:
        """Take each label's floor from its observed positives."""
        pairs, options = self.setting.pairs, self.config.method.mllsc
        positive = torch.from_numpy(pairs.member & (pairs.observed == 1))
        self.quantile_floor = label_floors(torch.from_numpy(end.probability[0]), positive, options.quantile).to(
            self.setting.place
        )

    def state(self) -> dict[str, Tensor]:
        """Give the floors."""
        return {"quantile_floor": self.quantile_floor}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from there."""
        self.quantile_floor = state["quantile_floor"].to(self.setting.place)
