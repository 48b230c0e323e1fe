"""Controls for attention-on-label: the backbone with BCE on a consensus of the sources, fixed before training.

They see the same sources as attention-on-label (methods.md C.10) and learn nothing of them while the network trains.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from core.calibrated.peer_posterior import peer_posterior
from core.hints import Float
from core.methods.base import Method
from core.methods.sources import LabelSources, decided, sources_for
from core.methods.voting import DawidSkene as DawidSkeneFit
from core.methods.voting import dawid_skene, majority, mean_vote


@dataclass
class Consensus(Method):
    """BCE on one consensus label a pair; subclasses say which.

    Pairs that people decided keep the decision, and pairs of which no source speaks aren't trained on.
    """

    def prepare(self) -> None:
        """Put the sources together and train on what comes out."""
        pairs, place = self.setting.pairs, self.setting.place
        sources, fixed = sources_for(self.setting.sources, pairs), decided(pairs)
        consensus = np.asarray(self.consensus(sources), np.float32)
        target = np.where(fixed | ~sources.stated, pairs.base, consensus)
        self.base = torch.from_numpy(target).to(place)
        self.stated = torch.from_numpy(sources.stated | (fixed & pairs.stated)).to(place)
        self.corrected = np.where(pairs.member, target, pairs.base)
        against = int((pairs.member & (np.abs(target - pairs.observed) > 0.5)).sum())
        self.counts |= {"clean": int(pairs.member.sum()) - against, "noisy": against}

    def consensus(self, sources: LabelSources) -> Float[np.ndarray, "stays labels"]:
        """Mean of the sources that speak."""
        return mean_vote(sources)


@dataclass
class MeanOfSources(Consensus):
    """The mean of the sources that speak, a soft label."""


@dataclass
class Majority(Consensus):
    """The majority of the sources that speak; ties as ``method.consensus.ties`` says."""

    def consensus(self, sources: LabelSources) -> Float[np.ndarray, "stays labels"]:
        """Majority vote."""
        return majority(sources, self.config.method.consensus.ties)


@dataclass
class DawidSkene(Consensus):
    """Dawid–Skene's posterior, fitted on training stays for each label by itself.

    Attributes
    ----------
    fitted
        The sources' estimated sensitivities and specificities, and the rest.

    Notes
    -----
    Since the posterior is one of the truth, ``error_probability`` is its distance from the record. A label of which no
    two sources speak has no such posterior: there the peer says what is probably wrong. Without any label that two
    speak of, as with a single source, there is no ``error_probability``.
    """

    fitted: DawidSkeneFit = field(init=False)

    def consensus(self, sources: LabelSources) -> Float[np.ndarray, "stays labels"]:
        """Posterior of the truth."""
        pairs = self.setting.pairs
        counted = np.broadcast_to(pairs.training[:, None], pairs.observed.shape)
        self.fitted = dawid_skene(sources, self.config.method.consensus, counted)
        if self.fitted.identified.any():
            wrong = np.abs(self.fitted.posterior - pairs.observed)
            if not self.fitted.identified.all():
                setting = self.setting
                of_peer = peer_posterior(setting.packed, pairs, setting.observed_peer.logit, setting.peer_reading)
                wrong = np.where(self.fitted.identified, wrong, of_peer)
            self.error_probability = np.where(pairs.member & sources.stated, wrong, 0.0).astype(np.float32)
        return self.fitted.posterior
