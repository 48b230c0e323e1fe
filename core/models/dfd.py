"""DFD: two streams on the backbone's features, kept apart by what they share (methods.md C.11)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.config import ModelConfig
from core.hints import Float
from core.models.miracl import Batch, MiraclModel, Output
from core.models.network_options import DfdConfig


@dataclass
class DfdOutput(Output):
    """What the two streams say; ``logits`` and ``features`` are the causal stream's, which alone predicts.

    Parameters
    ----------
    biased
        [stays, d], z_b; z_c is ``features``.
    logits_biased
        [stays, labels], head_b(z_b).
    """

    biased: Float[Tensor, "stays d"]
    logits_biased: Float[Tensor, "stays labels"]


class DfdModel(nn.Module):
    """MIRACL's encoders, fusion, experts and readout; on their features f two projectors and two heads.

    z_c = P_c(f), z_b = P_b(f), each Linear 2d→d, ReLU, Linear d→d; logits = head_c(z_c), logits_biased = head_b(z_b).

    Parameters
    ----------
    series_features, note_features, labels
        Widths of the inputs, and L.
    config
        Sizes of the backbone.
    options
        See `DfdConfig`.

    Notes
    -----
    Of the paper (arXiv 2601.21941) an abstract page was all we had. It names two streams, causal and biased,
    generalised cross-entropy, and mutual information between the streams, which is minimised. It leaves open the
    losses' exact form and weights, the estimator of mutual information, whether the causal loss is weighted again, what
    its graph networks do, and how test predictions are made. Ours is the smallest form with those three parts: causal
    binary cross-entropy, biased generalised cross-entropy, vCLUB or cross-covariance; the causal head alone predicts;
    no graph. The causal loss isn't weighted towards what the biased stream finds hard, since under label noise those
    are the wrong labels.
    """

    def __init__(
        self, series_features: int, note_features: int, labels: int, config: ModelConfig, options: DfdConfig
    ) -> None:
        super().__init__()
        width = config.hidden
        self.stopped = options.biased_gradient == "stopped"
        self.backbone = MiraclModel(series_features, note_features, labels, config)
        self.backbone.readout.head = nn.Identity()  # type: ignore[assignment]  # the streams' heads replace it
        self.causal, self.causal_head = _projector(width, options.dropout), nn.Linear(width, labels)
        self.bias, self.bias_head = _projector(width, options.dropout), nn.Linear(width, labels)

    def forward(self, batch: Batch) -> DfdOutput:
        """Both streams' answers; the rest is the backbone's."""
        output = self.backbone(batch)
        features = output.features
        with torch.autocast(features.device.type, enabled=False):  # projectors and heads in single precision
            causal = self.causal(features)
            biased = self.bias(features.detach() if self.stopped else features)
            answers = {"logits": self.causal_head(causal), "features": causal}
            return DfdOutput(**vars(output) | answers, biased=biased, logits_biased=self.bias_head(biased))


class ClubEstimator(nn.Module):
    """q(z_b | z_c) = N(μ(z_c), diag σ²(z_c)), each of μ and log σ² a network d→d→d; log σ² lies in (-1, 1).

    Parameters
    ----------
    width
        d.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.log_variance = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.Tanh())

    def forward(self, causal: Float[Tensor, "stays d"]) -> tuple[Float[Tensor, "stays d"], Float[Tensor, "stays d"]]:
        """μ and log σ² for each stay."""
        return self.mean(causal), self.log_variance(causal)


def gaussian_log_likelihood(
    mean: Float[Tensor, "stays d"], log_variance: Float[Tensor, "stays d"], biased: Float[Tensor, "stays d"]
) -> Float[Tensor, ""]:
    """Mean over stays of log q(z_b,i | z_c,i)."""
    deviation = (biased - mean).square() / log_variance.exp()
    return -0.5 * (deviation + log_variance + math.log(2.0 * math.pi)).sum(1).mean()


def club_bound(
    mean: Float[Tensor, "stays d"], log_variance: Float[Tensor, "stays d"], biased: Float[Tensor, "stays d"]
) -> Float[Tensor, ""]:
    """vCLUB: mean_i log q(z_b,i | z_c,i) - mean_ij log q(z_b,j | z_c,i), in nats (Cheng et al. 2020).

    An upper bound of the mutual information where q is the true conditional; with another q it may fall below, even
    below 0. Normalising constants cancel, and the mean over j needs only the first two moments of z_b, so that cost and
    memory are those of one row a stay.
    """
    own = (biased - mean).square()
    others = mean.square() - 2.0 * mean * biased.mean(0) + biased.square().mean(0)
    return 0.5 * ((others - own) / log_variance.exp()).sum(1).mean()


def cross_covariance(causal: Float[Tensor, "stays d"], biased: Float[Tensor, "stays d"]) -> Float[Tensor, ""]:
    """‖Cov(z_c, z_b)‖²_F / d², the covariance over the batch's stays (divisor B - 1); 0 for a batch of one."""
    covariance = (causal - causal.mean(0)).T @ (biased - biased.mean(0)) / max(len(causal) - 1, 1)
    return covariance.square().mean()


def _projector(width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width))
