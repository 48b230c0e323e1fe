"""Options of the comparison networks. Apart from the networks, since `core.config` reads these and they read it."""

from dataclasses import dataclass
from typing import Literal

from core.errors import ConfigError
from core.options import check_options, sourced

__all__ = ["DfdConfig", "M3CareConfig", "MedFuseConfig"]


@dataclass(frozen=True)
class MedFuseConfig:
    """MedFuse (methods.md C.7).

    Parameters
    ----------
    dropout
        Rate on the series' and the notes' vector before fusion.
    layers
        Stacked LSTMs over the series.
    start
        First weights of every layer: ``orthogonal`` (recurrent orthogonal, others Xavier uniform, offsets 0), or
        ``torch``, the library's own.
    """

    dropout: float = sourced(0.1, "paper A.5.2", 0, 0.95)
    layers: int = sourced(2, "official code", 1, 8)
    start: Literal["orthogonal", "torch"] = sourced("orthogonal", "official code")

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class M3CareConfig:
    """M3Care (methods.md C.8).

    Parameters
    ----------
    dropout
        Rate on each modality's embedding, in the transformer and before the last layer.
    bandwidths
        RBF bandwidths as multiples of b, the mean squared distance between two stays of the batch.
    smallest_bandwidth
        Below it, stays are taken to coincide and b is 1.
    gate_start, threshold_start
        First ε and first logit of θ: δ = σ(ε), θ = σ(logit).
    rows
        How a stay takes up its neighbours' embeddings: their ``sum`` weighted with similarity, or the weighted
        ``mean``, which doesn't grow with the batch.
    heads
        Attention heads of the transformer layers, one number a layer.
    regulariser
        λ_reg, weight of Σ_m |‖φ_m(h_m)‖ - ‖h_m‖|.
    """

    dropout: float = sourced(0.1, "paper A.5.2; official keep_prob .5", 0, 0.95)
    bandwidths: tuple[float, ...] = sourced((0.5, 1.0, 2.0), "official code: three kernels, factor 2")
    smallest_bandwidth: float = sourced(1e-3, "official code", 0, 1)
    gate_start: float = sourced(2.0, "official code", -20, 20)
    threshold_start: float = sourced(2.0, "official code (θ = .88)", -20, 20)
    rows: Literal["sum", "mean"] = sourced("sum", "official code sum; mean ours")
    heads: tuple[int, ...] = sourced((4, 1), "official code")
    regulariser: float = sourced(1e-7, "official code, its multilabel notebook", 0, 100)

    def __post_init__(self) -> None:
        check_options(self)
        if not self.bandwidths or min(self.bandwidths) <= 0:
            raise ConfigError("M3CareConfig.bandwidths above 0", str(self.bandwidths), "give one at least")
        if not self.heads or min(self.heads) < 1:
            raise ConfigError("M3CareConfig.heads of 1 or more a layer", str(self.heads), "give one at least")


@dataclass(frozen=True)
class DfdConfig:
    """Dual-stream feature decorrelation, the minimal form (methods.md C.11).

    Parameters
    ----------
    biased_weight
        λ_b, weight of the biased stream's generalised cross-entropy.
    biased_q
        Its q.
    independence
        What keeps the streams apart: ``vclub`` (an upper bound of their mutual information by an estimator trained
        beside the network), ``cross_covariance`` (cheap: ‖Cov(z_c, z_b)‖²_F / d²), or ``off``.
    independence_weight
        λ_MI, after the warm-up; 0 before. It weighs Î per dimension: both streams have to know the labels, so that in
        whole nats Î begins at some hundred times the cross-entropy, and to lower it is to forget them.
    biased_gradient
        Whether the biased stream shapes the shared encoders (``shared``) or only its own projector (``stopped``).
    estimator_steps, estimator_rate
        Estimator's updates a batch, and its Adam's rate.
    dropout
        Rate inside the projectors.
    """

    biased_weight: float = sourced(1.0, "C.11: ours; weights not stated in the abstract", 0, 100)
    biased_q: float = sourced(0.7, "C.11: GCE's paper; not stated in the abstract", 0.01, 1)
    independence: Literal["vclub", "cross_covariance", "off"] = sourced("vclub", "C.11: ours; estimator not stated")
    independence_weight: float = sourced(0.1, "C.11: ours, of .01, .1, 1", 0, 100)
    biased_gradient: Literal["shared", "stopped"] = sourced("shared", "C.11: ours; not stated")
    estimator_steps: int = sourced(5, "C.11: ours", 1, 100)
    estimator_rate: float = sourced(1e-3, "C.11: ours", 0, 1)
    dropout: float = sourced(0.1, "C.11: ours, as the backbone's", 0, 0.95)

    def __post_init__(self) -> None:
        check_options(self)
