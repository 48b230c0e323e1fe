"""Dual-stream feature decorrelation, the minimal form (methods.md C.11; what the sources leave open: `DfdModel`)."""

import torch
from torch import Tensor, nn

from core.hints import Float
from core.methods.base import Method
from core.methods.pair_losses import gce, mean_counted
from core.models.dfd import ClubEstimator, DfdModel, DfdOutput, club_bound, cross_covariance, gaussian_log_likelihood
from core.models.miracl import Batch, Output


class DFD(Method):
    """L = BCE(head_c(z_c), ỹ) + λ_b·GCE_q(head_b(z_b), ỹ) + λ_MI·Î(z_c; z_b), the last after the warm-up.

    Î is vCLUB with an estimator of its own, fitted by likelihood a few steps a batch from the first epoch on, or a
    cross-covariance. Gradients of Î reach both streams, never the estimator.
    """

    estimator: ClubEstimator
    estimator_optimiser: torch.optim.Adam
    apart: bool = False  # whether the independence term counts in this epoch

    def prepare(self) -> None:
        """Make the estimator and its optimiser."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.setting.seed)
            self.estimator = ClubEstimator(self.config.model.hidden)
        self.estimator.to(self.setting.place)
        rate = self.config.method.dfd.estimator_rate
        self.estimator_optimiser = torch.optim.Adam(self.estimator.parameters(), lr=rate)

    def network(self) -> nn.Module:
        """Make the two-stream network."""
        packed, config = self.setting.packed, self.config
        return DfdModel(
            packed.n_series_features, packed.note_dim, len(packed.label_keys), config.model, config.method.dfd
        )

    def begin_epoch(self, t: int) -> None:
        """Let the independence term in once the warm-up is over."""
        self.apart = t > self.config.optim.warm_up

    def pair_loss(self, output: Output, batch: Batch) -> Float[Tensor, ""]:
        """Both streams' losses, and what keeps them apart."""
        assert isinstance(output, DfdOutput)
        options, rows = self.config.method.dfd, batch.rows
        biased = mean_counted(gce(output.logits_biased, self.base[rows], options.biased_q), self.stated[rows])
        total = super().pair_loss(output, batch) + options.biased_weight * biased
        return total + options.independence_weight * self.shared(output) if self.apart else total

    def shared(self, output: DfdOutput) -> Float[Tensor, ""]:
        """Measure what the streams share: Î in nats per dimension, not below 0; the cross-covariance; or 0."""
        kind, causal, biased = self.config.method.dfd.independence, output.features, output.biased
        if kind == "vclub":
            mean, log_variance = self.estimator(causal)
            return club_bound(mean, log_variance, biased).clamp_min(0.0) / biased.shape[1]
        return cross_covariance(causal, biased) if kind == "cross_covariance" else biased.new_zeros(())

    def objective(self, output: Output, batch: Batch) -> Float[Tensor, " terms"]:
        """Fit the estimator to this batch's streams, then the base method's terms."""
        assert isinstance(output, DfdOutput)
        if self.config.method.dfd.independence == "vclub":
            self.fit_estimator(output.features.detach(), output.biased.detach())
        return super().objective(output, batch)

    def fit_estimator(self, causal: Float[Tensor, "stays d"], biased: Float[Tensor, "stays d"]) -> None:
        """Raise the likelihood of z_b given z_c by a few steps; its own optimiser, no gradient into the network."""
        for _ in range(self.config.method.dfd.estimator_steps):
            self.estimator_optimiser.zero_grad()
            mean, log_variance = self.estimator(causal)
            torch.autograd.backward(-gaussian_log_likelihood(mean, log_variance, biased))
            self.estimator_optimiser.step()

    def state(self) -> dict[str, Tensor]:
        """Estimator's parameters, and its optimiser's moments."""
        kept = {f"estimator.{name}": value for name, value in self.estimator.state_dict().items()}
        for i, moments in self.estimator_optimiser.state_dict()["state"].items():
            kept |= {f"moments.{i}.{name}": value for name, value in moments.items()}
        return kept

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` gave."""
        own = {name.removeprefix("estimator."): x for name, x in state.items() if name.startswith("estimator.")}
        self.estimator.load_state_dict(own)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith("moments."):
                _, i, field = name.split(".")
                moments.setdefault(int(i), {})[field] = value
        groups = self.estimator_optimiser.state_dict()["param_groups"]
        self.estimator_optimiser.load_state_dict({"state": moments, "param_groups": groups})
