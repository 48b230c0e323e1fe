"""M3Care: a missing modality is imputed from similar stays of the same batch (methods.md C.8)."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.config import ModelConfig
from core.hints import Bool, Float
from core.models.encoders import NoteEncoder, SeriesEncoder, masked_mean
from core.models.fusion import FusionLayer
from core.models.miracl import Batch, Output, plain_output
from core.models.network_options import M3CareConfig

_TYPE_SCALE = 0.02  # standard deviation of the type embeddings' first values


@dataclass
class M3CareOutput(Output):
    """What M3Care says of a batch.

    Parameters
    ----------
    regulariser
        Σ_m mean |‖φ_m(h_m)‖ - ‖h_m‖|, the mean over the stays that have modality m.
    """

    regulariser: Float[Tensor, ""]


def rbf_kernel(
    x: Float[Tensor, "stays d"],
    present: Bool[Tensor, " stays"],
    bandwidths: tuple[float, ...] = (0.5, 1.0, 2.0),
    smallest: float = 1e-3,
) -> Float[Tensor, "stays stays"]:
    """Mean of RBF kernels exp(-‖x_i - x_j‖² / (c·b)), c among `bandwidths`; in [0, 1], 1 on the diagonal.

    b is the mean squared distance over pairs of different stays that are both present, taken as a constant; 1 where
    it is below `smallest` or there is no such pair. Rows and columns of absent stays mean nothing.
    """
    norms = x.square().sum(1)
    squared = (norms.unsqueeze(1) + norms.unsqueeze(0) - 2.0 * (x @ x.T)).clamp_min(0.0)
    itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
    squared = squared.masked_fill(itself, 0.0)
    pairs = present.unsqueeze(0) & present.unsqueeze(1) & ~itself
    mean = (squared.detach() * pairs).sum() / pairs.sum().clamp_min(1)
    mean = torch.where(mean < smallest, torch.ones_like(mean), mean)
    return torch.stack([torch.exp(-squared / (c * mean)) for c in bandwidths]).mean(0)


def gated_kernel(
    projected: Float[Tensor, "stays stays"], plain: Float[Tensor, "stays stays"], gate: Float[Tensor, ""]
) -> Float[Tensor, "stays stays"]:
    """K = ((1 - δ)·k(φ(h)) + δ) ⊙ k(h), with δ the gate in [0, 1]."""
    return ((1.0 - gate) * projected + gate) * plain


def shared_similarity(
    kernels: Float[Tensor, "m stays stays"], present: Bool[Tensor, "stays m"]
) -> Float[Tensor, "stays stays"]:
    """S_ij, the mean of K_m over the modalities that both stays have; 0 where they share none."""
    has = present.T
    both = (has.unsqueeze(1) & has.unsqueeze(2)).to(kernels.dtype)
    return (kernels * both).sum(0) / both.sum(0).clamp_min(1.0)


def above_threshold(
    similarity: Float[Tensor, "stays stays"], threshold: Float[Tensor, ""]
) -> Float[Tensor, "stays stays"]:
    """ReLU(S - θ) + θ where S > θ, that is S or 0.

    The θ that is added back is a constant, so that θ learns: ∂/∂θ = -1 for each survivor.
    """
    over = functional.relu(similarity - threshold)
    return over + (over > 0) * threshold.detach()


def neighbours(
    similarity: Float[Tensor, "stays stays"], has: Bool[Tensor, " stays"], rows: str
) -> Float[Tensor, "stays stays"]:
    """Weights with which each stay (row) takes up the embeddings of one modality from the stays (columns) that have it.

    A stay without the modality has no column, so it can't be its own neighbour; one that has it remains one.

    Parameters
    ----------
    similarity
        After the threshold.
    has
        Who has the modality.
    rows
        ``sum`` keeps the similarities; ``mean`` divides each row by its sum (a row of zeros stays).
    """
    lent = similarity * has.unsqueeze(0)
    return lent / lent.sum(1, keepdim=True).clamp_min(1e-12) if rows == "mean" else lent


class PresentNorm(nn.Module):
    """Batch normalisation over the rows that are present; the others become 0.

    Fewer than two present rows in training have no variance: the running statistics are then used and left alone.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.norm.register_parameter("bias", None)  # an offset changes no distance

    def forward(self, x: Float[Tensor, "stays d"], present: Bool[Tensor, " stays"]) -> Float[Tensor, "stays d"]:
        """Normalise."""
        chosen, norm = x[present], self.norm
        if self.training and len(chosen) < 2:
            chosen = functional.batch_norm(chosen, norm.running_mean, norm.running_var, norm.weight, eps=norm.eps)
        else:
            chosen = norm(chosen)
        return torch.zeros_like(x).masked_scatter(present.unsqueeze(1), chosen)


class GraphLayer(nn.Module):
    """ReLU(A·X·W + b)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(width)
        self.weight = nn.Parameter(torch.empty(width, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))

    def forward(self, weights: Float[Tensor, "stays stays"], x: Float[Tensor, "stays d"]) -> Float[Tensor, "stays d"]:
        """Mix the stays' rows with `weights`."""
        return functional.relu(weights @ (x @ self.weight) + self.bias)


class Relation(nn.Module):
    """One modality's share in likeness and imputation: φ, the gate δ, the graph layers, and the mix a.

    Parameters
    ----------
    width
        d.
    options
        First values, bandwidths, and how rows are made.
    """

    def __init__(self, width: int, options: M3CareConfig) -> None:
        super().__init__()
        self.options = options
        self.project = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )
        self.norm_projected, self.norm_plain = PresentNorm(width), PresentNorm(width)
        self.gate = nn.Parameter(torch.tensor(options.gate_start))
        self.graph = nn.ModuleList((GraphLayer(width), GraphLayer(width)))
        self.weigh_imputed, self.weigh_own = nn.Linear(width, 1), nn.Linear(width, 1)

    def kernel(
        self, h: Float[Tensor, "stays d"], has: Bool[Tensor, " stays"]
    ) -> tuple[Float[Tensor, "stays stays"], Float[Tensor, ""]]:
        """K_m, and this modality's term of the regulariser."""
        projected = self.project(h)
        bandwidths, smallest = self.options.bandwidths, self.options.smallest_bandwidth
        far = rbf_kernel(self.norm_projected(projected, has), has, bandwidths, smallest)
        near = rbf_kernel(self.norm_plain(h, has), has, bandwidths, smallest)
        apart = (torch.linalg.vector_norm(projected, dim=1) - torch.linalg.vector_norm(h, dim=1)).abs()
        regulariser = (apart * has).sum() / has.sum().clamp_min(1)
        return gated_kernel(far, near, self.gate.sigmoid()), regulariser

    def impute(
        self, h: Float[Tensor, "stays d"], has: Bool[Tensor, " stays"], similarity: Float[Tensor, "stays stays"]
    ) -> Float[Tensor, "stays d"]:
        """Give h' from the neighbours where the modality is absent, a·h' + (1-a)·h where it is present.

        a = σ(w₁·h') / (σ(w₁·h') + σ(w₂·h)).
        """
        weights = neighbours(similarity, has, self.options.rows)
        found = h
        for layer in self.graph:
            found = layer(weights, found)
        ours, own = self.weigh_imputed(found).sigmoid(), self.weigh_own(h).sigmoid()
        share = ours / (ours + own)
        return torch.where(has.unsqueeze(1), share * found + (1.0 - share) * h, found)


class M3Care(nn.Module):
    """M3Care over a series and notes.

    h_series: ReLU of the mean of the backbone's encoded steps; h_note: ReLU of the mean of the projected passages. From
    them S (`Relation.kernel`, `shared_similarity`, `above_threshold`) and the imputed vectors. A transformer reads
    [ĥ_series, steps…, ĥ_note, passages…], each with its modality's type embedding; logits = Linear(ReLU(Linear [its
    outputs at ĥ_series and ĥ_note])).

    Parameters
    ----------
    series_features, note_features, labels
        Widths of the inputs, and L.
    config
        Sizes of the encoders, ``hidden``.
    options
        The rest.

    Notes
    -----
    A stay's prediction depends on its batch companions, in evaluation too: score stays in fixed batches, and in such
    as mix stays with and without a modality. No label passes between them.

    What we chose or changed. (1) The availability mask on S asks the neighbour alone to have the modality; asked of
    both, a stay without it would have no neighbour at all, and asked of neither it could be its own. (2) Stays that
    share no modality have similarity 0, not 0/0. (3) Batch normalisation and bandwidth are taken over the stays that
    have the modality, and each kernel has a normalisation of its own. (4) The transformer is the backbone's post-norm
    layer, without positions, since an LSTM has read the order. (5) The regulariser is a mean over stays. A stay
    whose neighbours all lack the modality, or that has none itself, gets the graph layers' constant.
    """

    def __init__(
        self, series_features: int, note_features: int, labels: int, config: ModelConfig, options: M3CareConfig
    ) -> None:
        super().__init__()
        width = config.hidden
        self.series_encoder = SeriesEncoder(series_features, config)
        self.note_encoder = NoteEncoder(note_features, config)
        self.series_relation, self.note_relation = Relation(width, options), Relation(width, options)
        self.threshold = nn.Parameter(torch.tensor(options.threshold_start))
        self.types = nn.Parameter(torch.randn(2, width) * _TYPE_SCALE)
        self.layers = nn.ModuleList(
            FusionLayer(replace(config, heads=heads, ffn=4 * width, dropout=options.dropout)) for heads in options.heads
        )
        self.dropout = nn.Dropout(options.dropout)
        self.inner = nn.Linear(2 * width, 2 * width)
        self.head = nn.Linear(2 * width, labels)

    def forward(self, batch: Batch) -> M3CareOutput:
        """Logits, what the last layer reads, and the regulariser."""
        device = batch.series.device
        series_valid = torch.arange(batch.series.shape[1], device=device) < batch.series_lengths.unsqueeze(1)
        notes_valid = torch.arange(batch.notes.shape[1], device=device) < batch.note_lengths.unsqueeze(1)
        has = torch.stack((batch.series_lengths > 0, batch.note_lengths > 0), dim=1)
        steps = self.series_encoder(batch.series.masked_fill(~series_valid.unsqueeze(-1), 0.0), batch.series_lengths)
        passages = self.note_encoder(batch.notes.masked_fill(~notes_valid.unsqueeze(-1), 0.0))

        with torch.autocast(device.type, enabled=False):  # distances and their exponentials in single precision
            pooled = masked_mean(steps.float(), series_valid), masked_mean(passages.float(), notes_valid)
            h = [self.dropout(functional.relu(x)) for x in pooled]
            whole, regulariser = self.relate(h, has)

        joined = self._transform(steps, series_valid, passages, notes_valid, whole)
        with torch.autocast(device.type, enabled=False):
            features = self.dropout(functional.relu(self.inner(joined.float().flatten(1))))
            plain = plain_output(self.head(features), features, has[:, 0], has[:, 1])
            return M3CareOutput(**vars(plain), regulariser=regulariser)

    def relate(
        self, h: list[Float[Tensor, "stays d"]], has: Bool[Tensor, "stays 2"]
    ) -> tuple[list[Float[Tensor, "stays d"]], Float[Tensor, ""]]:
        """Both modalities' vectors with what similar stays lend, and the regulariser."""
        relations = self.series_relation, self.note_relation
        kernels, terms = zip(*(r.kernel(h[m], has[:, m]) for m, r in enumerate(relations)), strict=True)
        similarity = above_threshold(shared_similarity(torch.stack(kernels), has), self.threshold.sigmoid())
        return [r.impute(h[m], has[:, m], similarity) for m, r in enumerate(relations)], torch.stack(terms).sum()

    def _transform(
        self,
        steps: Float[Tensor, "stays steps d"],
        series_valid: Bool[Tensor, "stays steps"],
        passages: Float[Tensor, "stays passages d"],
        notes_valid: Bool[Tensor, "stays passages"],
        whole: list[Float[Tensor, "stays d"]],
    ) -> Float[Tensor, "stays 2 d"]:
        first, second = (x.unsqueeze(1).to(steps.dtype) for x in whole)
        series_type, note_type = self.types.to(steps.dtype)
        tokens = torch.cat((first + series_type, steps + series_type, second + note_type, passages + note_type), dim=1)
        always = torch.ones_like(series_valid[:, :1])
        keys = torch.cat((always, series_valid, always, notes_valid), dim=1)
        count = keys.shape[1]
        bias = torch.zeros(keys.shape, device=keys.device).masked_fill(~keys, float("-inf"))
        bias = bias.view(len(keys), 1, 1, count).expand(-1, -1, count, -1)
        for layer in self.layers[:-1]:
            tokens = layer(tokens, bias)
        ends = torch.tensor([0, 1 + steps.shape[1]], device=keys.device)
        joined: Tensor = self.layers[-1](tokens, bias, ends)
        return joined
