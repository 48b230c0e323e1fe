"""The calibrated preset: train on what the posterior P(label wrong) makes of each record (methods.md G.2)."""

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from core.calibrated.decided import recalibrated
from core.calibrated.peer_posterior import features_of, fitted_on
from core.calibrated.posterior import (
    Rates,
    clean_logit,
    fit_through_noise,
    matched,
    wrong_probability,
)
from core.hints import Float
from core.methods.base import EpochEnd, Method, auxiliary_losses
from core.models.losses import masked_bce
from core.models.miracl import Batch, Output

ENOUGH = 200
"""Decisions of a class that suffice to calibrate W; `DECISIONS.md` says what fewer and more were worth."""
LEAST_SPAN = 0.1
"""1 - ρ₊ - ρ₋ below which a record says next to nothing, and W too little for any label to be changed by it."""
SURE = 0.75
"""W from which an epoch counts a pair as noisy; as clean up to 1 - `SURE`. Nothing but these counts hangs on it."""


class Calibrated(Method):
    """Warm up on the record, then train on (1-W)·ỹ + W·(1-ỹ), W = P(label wrong) from network, peer and other visits.

    Noise rates come from the peer alone, which never saw a pair's own label; they are read from the observed labels,
    decisions left out, so that every round of a review has those of the first. W is fitted on observed labels too: the
    pairs that people read are the suspect ones, and leaving them out would make the rest look cleaner than they are.

    Nor is the network told of the decisions that calibrate W while it gathers evidence: until `told_after` it is shown
    such a pair as it would be shown it undecided. A network that had learned the decisions would foretell those pairs
    better than any other, and what share of them was wrong at which W would say nothing of the pairs that nobody read.
    `ENOUGH` of each observed class, drawn by the seed, are held back like that; the others are trained on at once.

    Where the rates come near to 1 together (`LEAST_SPAN`), no label is changed: W still says what to read first.
    """

    @property
    def told_after(self) -> int:
        """Last epoch before the decisions held back are trained on, at two thirds of a short run; 0 without any."""
        if not self.held.any():
            return 0
        optim = self.config.optim
        return min(self.config.calibrated.window_last, max(optim.warm_up, 2 * optim.epochs // 3))

    @property
    def trains_heads(self) -> bool:
        """Whether the modality heads are trained."""
        return self.config.loss.heads != "off"

    def prepare(self) -> None:
        """Estimate the noise rates from the peer."""
        pairs, reading = self.setting.pairs, self.setting.peer_reading
        self.fitted_on = fitted_on(pairs)
        self.held = self._held()
        self.given = np.where(self.held, pairs.observed, pairs.base)
        self.peer_logit = self.setting.observed_peer.logit
        self.options, self.noise, self.kinds = reading.options, reading.rates, reading.kinds
        self.rates = self.noise
        span = float(np.mean(1 - self.noise.rho_plus - self.noise.rho_minus))
        self.weight = self.options.network_weight * min(1.0, span / self.options.trusted_span) ** 4
        found = np.where(pairs.observed == 1, self.noise.rho_minus > 0, self.noise.rho_plus > 0)
        self.noisy_class = found & (span >= LEAST_SPAN)
        self.of_peer = self._wrong(self.peer_logit, self.options.siblings != "off")
        self.shown = self.given
        self.targets: Tensor = self.base
        self.for_heads: Tensor = self.base
        self.error_probability = np.zeros(pairs.base.shape, np.float32)

    def begin_epoch(self, t: int) -> None:
        """Take the targets that the epochs before made."""
        place, told = self.setting.place, t > self.told_after
        self.targets = torch.from_numpy(self.corrected if told else self.shown).to(place)
        self.for_heads = self.targets
        if self.config.calibrated.heads == "given":
            self.for_heads = self.base if told else torch.from_numpy(self.given).to(place)

    def objective(self, output: Output, batch: Batch) -> Float[Tensor, " terms"]:
        """BCE(p, target) + w·L_ortho + L_moe + λ·(heads + contrast); β = 1."""
        rows, loss = batch.rows, self.config.loss
        stated, targets = self.stated[rows], self.targets[rows]
        bce = masked_bce(output.logits, self.base[rows], stated)
        fixed = masked_bce(output.logits, targets, stated)
        extra, series_head, note_head, contrast, crossing = auxiliary_losses(
            output, batch, self.for_heads[rows], stated, loss
        )
        moe = loss.balance * output.balance
        total = fixed + loss.ortho * output.ortho + moe + extra
        return torch.stack((total, bce, fixed, output.ortho, moe, series_head, note_head, contrast, crossing))

    def end_epoch(self, t: int, end: EpochEnd) -> None:
        """Estimate W anew while the window of evidence grows."""
        options, pairs = self.options, self.setting.pairs
        last = self.told_after or options.window_last
        if t < self.config.optim.warm_up or (t > last and t > self.config.optim.warm_up):
            return
        first = min(options.window_first, t) - 1
        of_network = end.traces.logits[first : min(t, last)].mean(0, dtype=np.float32)
        evidence = self.weight * of_network + (1 - self.weight) * self.peer_logit
        flagged = self._wrong(evidence, options.siblings != "off", self.of_peer)
        trained = flagged if options.siblings != "flags" else self._wrong(evidence, False, self.of_peer)
        flagged, trained = self._taught(flagged), self._taught(trained)
        change = np.where((pairs.member | self.held) & self.noisy_class, trained, 0.0)
        self.shown = np.asarray((1 - change) * self.given + change * (1 - self.given), np.float32)
        self.corrected = np.where(self.held, pairs.base, self.shown)
        self.error_probability = np.where(pairs.locked, 0.0, flagged).astype(np.float32)
        self.counts |= counted(np.where(self.noisy_class, flagged, 0.0)[pairs.member])

    def _wrong(self, evidence: np.ndarray, siblings: bool, reference: np.ndarray | None = None) -> np.ndarray:
        options, observed = self.options, self.setting.pairs.observed
        pairs = self.setting.pairs
        features = features_of(self.setting.packed, pairs, evidence, pairs.known, siblings)
        weights = fit_through_noise(features, observed, self.fitted_on, self.noise, options.ridge, None, self.kinds)
        traced = Rates(*(np.maximum(rate, options.trace) for rate in (self.noise.rho_plus, self.noise.rho_minus)))
        found = wrong_probability(expit(clean_logit(features, weights)), observed, traced, options.least_doubt)
        if reference is None or options.match == "off":
            return found
        return matched(found, reference, observed, self.fitted_on, options.match == "moments")

    def _held(self) -> np.ndarray:
        """At most `ENOUGH` decided pairs of each observed class."""
        pairs, rng = self.setting.pairs, np.random.default_rng(self.setting.seed)
        held = np.zeros(pairs.locked.shape, np.bool_)
        for value in (0, 1):
            decided = np.flatnonzero(pairs.locked & self.fitted_on & (pairs.observed == value))
            held.flat[rng.permutation(decided)[:ENOUGH]] = True
        return held

    def _taught(self, wrong: np.ndarray) -> np.ndarray:
        pairs, options = self.setting.pairs, self.options
        return recalibrated(wrong, pairs.known, pairs.observed, self.held, options.doubt_shift, options.doubt_reach)

    def state(self) -> dict[str, Tensor]:
        """Give the targets, those that decided pairs have until they are told, and W."""
        assert self.error_probability is not None
        kept = {"corrected": self.corrected, "shown": self.shown, "wrong": self.error_probability}
        return {name: torch.from_numpy(values) for name, values in kept.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take them over."""
        self.corrected = state["corrected"].numpy()
        self.shown = state.get("shown", state["corrected"]).numpy()
        self.error_probability = state["wrong"].numpy()


def counted(wrong: Float[np.ndarray, " pairs"]) -> dict[str, int]:
    """Pairs of P(label wrong) from `SURE` on as noisy, up to 1 - `SURE` as clean, the rest as uncertain."""
    noisy, clean = int((wrong >= SURE).sum()), int((wrong <= 1 - SURE).sum())
    return {"clean": clean, "uncertain": len(wrong) - clean - noisy, "noisy": noisy}
