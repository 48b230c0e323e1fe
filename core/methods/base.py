"""What a comparison method may change in the one loop: its network, its loss, its step, and what it learns of labels.

The base is the FlexCare backbone trained with binary cross-entropy (methods.md C.1). No method is given the truth or
what readers alone may see: `Setting` has no field for either.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from core.calibrated.peer_posterior import PeerReading, read_peer
from core.calibrated.posterior import Rates
from core.cohort.tensors import PackedCohort
from core.config import LossConfig, TrainConfig
from core.execution import Execution
from core.hints import Bool, Float
from core.locks import Pairs, unreviewed
from core.methods.sources import LabelSources
from core.models.losses import contrastive, masked_bce
from core.models.miracl import Batch, MiraclModel, Output
from core.peer.regression import Peer, fit_peer
from core.progress import nothing
from core.selection.on_device import Dynamics
from core.traces import Traces

TERMS = ("total", "bce", "corrected", "ortho", "moe", "series_head", "note_head", "contrast")
"""Columns of a step's losses; the cross-visit share of anchors follows them."""


def auxiliary_losses(
    output: Output,
    batch: Batch,
    base: Float[Tensor, "stays labels"],
    stated: Bool[Tensor, "stays labels"],
    loss: LossConfig,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """λ·(BCE(p^E, ỹ) + BCE(p^N, ỹ) + L_cons), its three parts, and the cross-visit share of anchors (A.7).

    A head's loss is over the stays that have its modality. `base` and `stated` are the batch's.
    """
    nothing = torch.zeros((), device=output.logits.device)
    series_head = note_head = contrast = crossing = nothing
    if loss.heads != "off":
        series_head = masked_bce(output.logits_series, base, stated & output.has_series.unsqueeze(1))
        note_head = masked_bce(output.logits_note, base, stated & output.has_note.unsqueeze(1))
    if loss.contrast != "off":
        contrast, crossing = contrastive(
            output.h_series, output.h_note, output.has_series, output.has_note, batch.patient, loss.temperature,
            loss.contrast,
        )  # fmt: skip
    return loss.lambda_cons * (series_head + note_head + contrast), series_head, note_head, contrast, crossing


@dataclass(frozen=True)
class Setting:
    """All that a method may read.

    Parameters
    ----------
    config, packed, pairs
        Options, inputs, and observed labels with the decisions laid on them.
    place
        The device.
    seed
        Of the run.
    sources
        Several sources' labels, for the methods that weigh them.
    persistence
        ``lifelong``, ``recurrent`` or ``acute``, per label; empty where nobody knows.
    ask
        Called now and then in what takes long; may raise `core.progress.Halted`.
    execution
        How the run is computed.
    """

    config: TrainConfig
    packed: PackedCohort
    pairs: Pairs
    place: torch.device
    seed: int
    sources: LabelSources | None = None
    persistence: tuple[str, ...] = ()
    ask: Callable[[], None] = nothing
    execution: Execution = field(default_factory=Execution)

    @cached_property
    def peer(self) -> Peer:
        """The regression on hand-made features beside the network, fitted at first use."""
        return fit_peer(self.packed, self.pairs, self.config.peer, self.seed, self.ask)

    @cached_property
    def observed_peer(self) -> Peer:
        """The same regression fitted on the recorded labels, as before any review."""
        if not (self.pairs.base != self.pairs.observed).any():
            return self.peer
        return fit_peer(self.packed, unreviewed(self.pairs), self.config.peer, self.seed, self.ask)

    @cached_property
    def peer_reading(self) -> PeerReading:
        """Noise rates as the regression alone reads them, the same in every round of a review."""
        config, logit = self.config, self.observed_peer.logit
        return read_peer(
            self.packed, self.pairs, logit, config.calibrated, config.peer.folds, self.seed, self.persistence
        )


@dataclass
class EpochEnd:
    """What an epoch leaves for a method to learn from.

    Parameters
    ----------
    probability
        float32 [3, stays, labels]: fused, series head, note head.
    dynamics
        Counters of right and wrong predictions, this epoch counted.
    traces
        Logits of all epochs so far, and the rest.
    placed
        The same probabilities on the run's device.
    """

    probability: Float[np.ndarray, "three stays labels"]
    dynamics: Dynamics
    traces: Traces
    placed: Float[Tensor, "three stays labels"] | None = None


@dataclass
class Method:
    """One method in the one loop: the backbone with binary cross-entropy, whose parts subclasses replace.

    Attributes
    ----------
    base, stated
        Targets (float32) and which pairs count, [stays, labels], on the device.
    corrected
        float32 [stays, labels], the labels it would hand out; what was given until it corrects.
    error_probability
        float32 [stays, labels], P(label wrong); None where the method says nothing of it.
    rates
        Estimated noise rates; None where it estimates none.
    counts
        Pairs per partition in this epoch.
    companions
        A stay's prediction depends on the others of its batch: batches are then made up without regard to length, which
        would put all stays without a series together.
    """

    companions: ClassVar[bool] = False
    setting: Setting
    base: Float[Tensor, "stays labels"] = field(init=False)
    stated: Bool[Tensor, "stays labels"] = field(init=False)
    corrected: Float[np.ndarray, "stays labels"] = field(init=False)
    error_probability: Float[np.ndarray, "stays labels"] | None = field(init=False, default=None)
    rates: Rates | None = field(init=False, default=None)
    counts: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        pairs, place = self.setting.pairs, self.setting.place
        self.base = torch.from_numpy(pairs.base).to(place)
        self.stated = torch.from_numpy(pairs.stated).to(place)
        self.corrected = pairs.base.copy()
        self.counts = {"clean": int(pairs.member.sum()), "uncertain": 0, "noisy": 0, "locked": int(pairs.locked.sum())}
        self.prepare()

    @property
    def config(self) -> TrainConfig:
        """The run's options."""
        return self.setting.config

    @property
    def trains_heads(self) -> bool:
        """Whether the modality heads are trained; untrained ones say nothing."""
        return self.config.method.auxiliary and self.config.loss.heads != "off"

    def prepare(self) -> None:
        """Set up what the method keeps; called once, before the network is made."""

    def network(self) -> nn.Module:
        """Make the network."""
        packed = self.setting.packed
        apart = self.config.loss.heads == "apart"
        return MiraclModel(packed.n_series_features, packed.note_dim, len(packed.label_keys), self.config.model, apart)

    def optimiser(self, model: nn.Module) -> torch.optim.Optimizer:
        """Make the optimiser; the loop sets its rate and weight decay each epoch."""
        return torch.optim.Adam(model.parameters(), lr=self.config.optim.learning_rate, fused=True)

    def begin_epoch(self, t: int) -> None:
        """Get ready for epoch t (1-based)."""

    def pair_loss(self, output: Output, batch: Batch) -> Float[Tensor, ""]:
        """Loss of the fused prediction, a mean over the stated pairs."""
        return masked_bce(output.logits, self.base[batch.rows], self.stated[batch.rows])

    def objective(self, output: Output, batch: Batch) -> Float[Tensor, " terms"]:
        """Total loss, then the terms of `TERMS` (unweighted but for L_moe), then the cross-visit share of anchors.

        `pair_loss` + w·L_ortho + L_moe: baselines get neither the modality heads' losses nor the contrast (methods.md
        C, shared rule 3), unless ``method.auxiliary`` asks for them.
        """
        loss, main = self.config.loss, self.pair_loss(output, batch)
        nothing = torch.zeros((), device=main.device)
        extra, series_head, note_head, contrast, crossing = (nothing,) * 5
        if self.config.method.auxiliary:
            rows = batch.rows
            extra, series_head, note_head, contrast, crossing = auxiliary_losses(
                output, batch, self.base[rows], self.stated[rows], loss
            )
        moe = loss.balance * output.balance
        total = main + loss.ortho * output.ortho + moe + extra
        return torch.stack((total, main, main, output.ortho, moe, series_head, note_head, contrast, crossing))

    def step(self, model: nn.Module, optimiser: torch.optim.Optimizer, batch: Batch) -> tuple[Output, Tensor]:
        """Forward, backward, update; the output before the update, and `objective`'s terms."""
        with self.setting.execution.narrow(self.setting.place):
            output: Output = model(batch)
        terms = self.objective(output, batch)
        optimiser.zero_grad()
        torch.autograd.backward(terms[0])
        optimiser.step()
        return output, terms

    def end_epoch(self, t: int, end: EpochEnd) -> None:
        """Learn from epoch t; may set `corrected`, `error_probability`, `rates` and `counts`."""

    def state(self) -> dict[str, Tensor]:
        """Tensors that going on after a stop needs beyond network, optimiser and traces."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` gave."""
