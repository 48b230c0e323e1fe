"""MIRACL's network: encoders, fusion, experts and readout over a time series and notes (methods.md B).

At the benchmark's sizes (76 features a step, 768 a passage, 25 labels) it has 2,064,843 trainable parameters.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.config import ModelConfig
from core.hints import Bool, Float, Int
from core.models.encoders import NoteEncoder, SeriesEncoder, masked_mean
from core.models.experts import Experts, Readout, squared_variation
from core.models.fusion import Fusion


@dataclass
class Batch:
    """Stays as the network reads them.

    Parameters
    ----------
    rows
        int64 [stays], place of each stay in the packed cohort.
    patient
        int64 [stays], patient ids.
    series
        float32 [stays, steps, features], zero-padded at the end.
    series_lengths
        int64 [stays]; 0: no series.
    notes
        float32 [stays, passages, features], zero-padded at the end.
    note_lengths
        int64 [stays]; 0: no note.
    """

    rows: Int[Tensor, " stays"]
    patient: Int[Tensor, " stays"]
    series: Float[Tensor, "stays steps f"]
    series_lengths: Int[Tensor, " stays"]
    notes: Float[Tensor, "stays passages g"]
    note_lengths: Int[Tensor, " stays"]


@dataclass
class Output:
    """What the network says of a batch.

    Parameters
    ----------
    logits, logits_series, logits_note
        [stays, labels]; a head whose modality is absent says nothing of use.
    h_series, h_note
        [stays, d], what the contrastive loss compares; 0 where absent.
    has_series, has_note
        bool [stays].
    apart
        [stays], squared covariances between a stay's modality tokens; `ortho` is their mean.
    importance, load
        [experts], sums over the stays of the gates and of the expected tokens; `balance` is CV² of both.
    features
        [stays, w], what the last layer reads.
    """

    logits: Float[Tensor, "stays labels"]
    logits_series: Float[Tensor, "stays labels"]
    logits_note: Float[Tensor, "stays labels"]
    h_series: Float[Tensor, "stays d"]
    h_note: Float[Tensor, "stays d"]
    has_series: Bool[Tensor, " stays"]
    has_note: Bool[Tensor, " stays"]
    apart: Float[Tensor, " stays"]
    importance: Float[Tensor, " experts"]
    load: Float[Tensor, " experts"]
    features: Float[Tensor, "stays w"]

    @property
    def ortho(self) -> Float[Tensor, ""]:
        """Decorrelation loss of the modality tokens (methods.md B.4)."""
        return self.apart.mean()

    @property
    def balance(self) -> Float[Tensor, ""]:
        """CV²(importance) + CV²(load) of the experts."""
        return squared_variation(self.importance) + squared_variation(self.load)


def plain_output(
    logits: Float[Tensor, "stays labels"],
    features: Float[Tensor, "stays w"],
    has_series: Bool[Tensor, " stays"],
    has_note: Bool[Tensor, " stays"],
) -> Output:
    """Say what a network without modality heads and auxiliary losses has to say: NaN for the heads, 0 for the losses.

    Parameters
    ----------
    logits, features
        The network's answer, and what its last layer read.
    has_series, has_note
        Which modalities each stay has.
    """
    silent = torch.full_like(logits.detach(), float("nan"))
    none = features.new_zeros(features.shape)
    idle = logits.new_zeros(2)
    return Output(
        logits, silent, silent, none, none, has_series, has_note, logits.new_zeros(len(logits)), idle, idle, features
    )


def decorrelation(tokens: Float[Tensor, "stays m d"], present: Bool[Tensor, "stays m"]) -> Float[Tensor, " stays"]:
    """Squared covariances between a stay's different modality tokens; L_ortho is their mean over a batch.

    Cov = M̄M̄ᵀ/(d-1) with M̄ centred over features; Σ_{j≠k} Cov²_jk / (K-1)². Absent tokens count as zero; pass all
    true to include them, as FlexCare does.
    """
    count, width = tokens.shape[1:]
    centred = (tokens - tokens.mean(-1, keepdim=True)) * present.unsqueeze(-1)
    covariance = centred @ centred.transpose(1, 2) / (width - 1)
    apart = 1.0 - torch.eye(count, device=tokens.device)
    return (covariance**2 * apart).sum((1, 2)) / (count - 1) ** 2


class MiraclModel(nn.Module):
    """MIRACL's network.

    A modality is absent where its length is 0; whatever stands in its tensor is then never read, all its tokens are
    blocked, and it has no part in experts, readout, decorrelation and contrast. A stay with neither modality gets the
    head's bias and the task token.

    Parameters
    ----------
    series_features, note_features, labels
        Widths of the inputs, and L.
    config
        Sizes and switches.
    heads_apart
        The modality heads learn without a word in how the encoders do.
    """

    def __init__(
        self, series_features: int, note_features: int, labels: int, config: ModelConfig, heads_apart: bool = False
    ) -> None:
        super().__init__()
        width = config.hidden
        self.config = config
        self.heads_apart = heads_apart
        self.series_encoder = SeriesEncoder(series_features, config)
        self.note_encoder = NoteEncoder(note_features, config)
        self.fusion = Fusion(config)
        self.experts = Experts(config)
        self.readout = Readout(labels, config)
        self.series_head = nn.Linear(width, labels)
        self.note_head = nn.Linear(width, labels)
        self.contrast_head: nn.Module = nn.Identity()
        if config.contrast_projection:
            self.contrast_head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, batch: Batch) -> Output:
        """Logits, modality heads' logits, and the auxiliary terms."""
        device = batch.series.device
        series_valid = torch.arange(batch.series.shape[1], device=device) < batch.series_lengths.unsqueeze(1)
        notes_valid = torch.arange(batch.notes.shape[1], device=device) < batch.note_lengths.unsqueeze(1)
        has_series, has_note = batch.series_lengths > 0, batch.note_lengths > 0
        series = self.series_encoder(batch.series.masked_fill(~series_valid.unsqueeze(-1), 0.0), batch.series_lengths)
        notes = self.note_encoder(batch.notes.masked_fill(~notes_valid.unsqueeze(-1), 0.0))
        h_series, h_note = masked_mean(series, series_valid), masked_mean(notes, notes_valid)

        fused = self.fusion(series, series_valid, notes, notes_valid)
        with torch.autocast(device.type, enabled=False):  # gates, norms and heads in single precision
            task, tokens = fused[:, 0].float(), fused[:, 1:].float()
            h_series, h_note = h_series.float(), h_note.float()
            present = torch.stack((has_series & has_note, has_series, has_note), dim=1)
            mixed, importance, load = self.experts(tokens, task, present)
            counted = present if self.config.ortho_absent == "exclude" else torch.ones_like(present)
            logits, features = self.readout(mixed, task, present)
            return Output(
                logits=logits,
                logits_series=self.series_head(h_series.detach() if self.heads_apart else h_series),
                logits_note=self.note_head(h_note.detach() if self.heads_apart else h_note),
                h_series=self.contrast_head(h_series),
                h_note=self.contrast_head(h_note),
                has_series=has_series,
                has_note=has_note,
                apart=decorrelation(tokens, counted),
                importance=importance,
                load=load,
                features=features,
            )
