"""MultiT in the one loop: a warm-up, one estimate of the noise rates, then reweighted cross-entropy."""

import numpy as np
import torch
from torch import Tensor

from core.calibrated.posterior import Rates
from core.hints import Float
from core.methods.base import EpochEnd, Method
from core.methods.pair_losses import mean_counted
from core.methods.transition import estimate, reweighted_bce
from core.models.miracl import Batch, Output


class MultiT(Method):
    """MultiT (Li et al. 2022; methods.md C.6).

    Attributes
    ----------
    estimated
        Rates, at the end of the warm-up; None before. They weigh the loss and are not handed out as the cohort's:
        choosing pairs by low loss makes ρ₊ too high (.5 on clean labels of the synthetic cohort).

    Notes
    -----
    What the sources leave open: the network goes on from the warm-up, whose 10 epochs count among the 30; the last
    epoch is the one reported (the official code stops early on a validation split). It hands out the labels as given:
    the rates correct the loss, not the labels. Decided pairs are trusted (weight 1) and take no part in the estimate.
    A round no longer than the warm-up is plain BCE.
    """

    estimated: Rates | None = None

    def prepare(self) -> None:
        """Nothing is known of the noise yet."""
        self.locked = torch.from_numpy(self.setting.pairs.locked).to(self.setting.place)
        self._take(np.zeros(self.base.shape[1]), np.zeros(self.base.shape[1]))

    def _take(self, rho_plus: Float[np.ndarray, " labels"], rho_minus: Float[np.ndarray, " labels"]) -> None:
        place = self.setting.place
        self.rho_plus, self.rho_minus = (torch.from_numpy(r).float().to(place) for r in (rho_plus, rho_minus))

    def pair_loss(self, output: Output, batch: Batch) -> Float[Tensor, ""]:
        """BCE, each pair weighted by how much likelier its value is as truth than as record; at first all alike."""
        rows, largest = batch.rows, self.config.method.multit.largest_weight
        losses = reweighted_bce(
            output.logits, self.base[rows], self.rho_plus, self.rho_minus, largest, self.locked[rows]
        )
        return mean_counted(losses, self.stated[rows])

    def end_epoch(self, t: int, end: EpochEnd) -> None:
        """Estimate the rates, at the end of the warm-up."""
        options, traces = self.config.method.multit, end.traces
        if t == options.warm_up:
            found = estimate(traces.logits, traces.observed, traces.member, options)
            self.estimated = Rates(found.rho_plus, found.rho_minus)
            self._take(found.rho_plus, found.rho_minus)

    def state(self) -> dict[str, Tensor]:
        """Give the rates, once there are any."""
        told = self.estimated
        if told is None:
            return {}
        return {"rho_plus": torch.from_numpy(told.rho_plus), "rho_minus": torch.from_numpy(told.rho_minus)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from there."""
        if state:
            self.estimated = Rates(state["rho_plus"].cpu().numpy(), state["rho_minus"].cpu().numpy())
            self._take(self.estimated.rho_plus, self.estimated.rho_minus)
