"""LiNC in the one loop: trust moves while warming up, then labels that are not trusted are replaced for good."""

import numpy as np
import torch
from torch import Tensor, nn

from core.hints import Float
from core.methods.base import EpochEnd, Method
from core.methods.trust import otsu, trust_gradient, trust_step, trusted_targets
from core.models.losses import masked_bce
from core.models.miracl import Batch, Output
from core.selection.groups import by_class


class LiNC(Method):
    """LiNC adapted to pairs (methods.md C.9).

    Attributes
    ----------
    alpha
        float32 [stays, labels] on the device, α.
    accumulated
        float32 [stays, labels] on the device, A = Σ g over the warm-up, unclipped; high = suspect, for a detector.
    targets
        Targets after the warm-up: p where a label was not trusted, else what was given.

    Notes
    -----
    What the source leaves open: α moves in epochs 1 to w (the listing stops one short of the text), and the soft label,
    p as recorded in epoch w, is kept for all later epochs (the listing would use it in one batch). Clipping at 1 ties
    all pairs that agree, so A is what detects. Decided pairs keep α = 1. 1/B is of the nominal batch, so that a last,
    short batch does not weigh more. A round shorter than the warm-up replaces nothing.
    """

    def prepare(self) -> None:
        """Trust everything."""
        pairs = self.setting.pairs
        self.learns = torch.from_numpy(pairs.member).to(self.setting.place)
        self.alpha = torch.ones_like(self.base)
        self.accumulated = torch.zeros_like(self.base)
        self.targets = self.base
        self.epoch = 0
        size = self.config.optim.batch_size(int(pairs.training.sum()))
        self.kappa, self.rate = self.config.method.linc.step_size(size)

    def begin_epoch(self, t: int) -> None:
        """Remember which epoch it is."""
        self.epoch = t

    @property
    def warming_up(self) -> bool:
        """Whether trust still moves."""
        return self.epoch <= self.config.method.linc.warm_up

    def pair_loss(self, output: Output, batch: Batch) -> Float[Tensor, ""]:
        """BCE against t while warming up, then against the repaired labels."""
        targets = self.targets[batch.rows]
        if self.warming_up:
            targets = trusted_targets(output.logits, targets, self.alpha[batch.rows], self.config.method.linc.detach)
        return masked_bce(output.logits, targets, self.stated[batch.rows])

    def step(self, model: nn.Module, optimiser: torch.optim.Optimizer, batch: Batch) -> tuple[Output, Tensor]:
        """Train, then move the batch's trust by the output it was trained on."""
        output, terms = super().step(model, optimiser, batch)
        if self.warming_up:
            rows = batch.rows
            g, learns = trust_gradient(output.logits, self.base[rows]), self.learns[rows]
            self.accumulated[rows] += g * learns
            moved = trust_step(self.alpha[rows], g, self.kappa, self.rate, self.config.method.linc.decay)
            self.alpha[rows] = torch.where(learns, moved, self.alpha[rows])
        return output, terms

    def end_epoch(self, t: int, end: EpochEnd) -> None:
        """Replace what is not trusted, at the end of the warm-up."""
        options, pairs = self.config.method.linc, self.setting.pairs
        if t != options.warm_up:
            return
        alpha = self.alpha.cpu().numpy()
        thresholds = otsu(alpha, pairs.observed, pairs.member, options)
        replaced = pairs.member & (alpha < by_class(pairs.observed, thresholds.value))
        self._hand_out(np.where(replaced, end.probability[0], pairs.base).astype(np.float32))

    def _hand_out(self, labels: Float[np.ndarray, "stays labels"]) -> None:
        self.corrected = labels
        self.targets = torch.from_numpy(labels).to(self.setting.place)
        noisy = int((labels != self.setting.pairs.base).sum())
        self.counts |= {"clean": int(self.setting.pairs.member.sum()) - noisy, "noisy": noisy}

    def state(self) -> dict[str, Tensor]:
        """Trust, its accumulator and the targets."""
        return {"alpha": self.alpha, "accumulated": self.accumulated, "targets": self.targets}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from there."""
        place = self.setting.place
        self.alpha, self.accumulated = state["alpha"].to(place), state["accumulated"].to(place)
        self._hand_out(state["targets"].cpu().numpy())
