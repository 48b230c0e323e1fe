"""MedFuse: an LSTM over the series, and an LSTM over the two modalities' vectors (methods.md C.7)."""

import torch
from torch import Tensor, nn

from core.config import ModelConfig
from core.hints import Bool, Float, Int
from core.models.encoders import masked_mean
from core.models.miracl import Batch, Output, plain_output
from core.models.network_options import MedFuseConfig


def last_state(states: Float[Tensor, "stays steps d"], lengths: Int[Tensor, " stays"]) -> Float[Tensor, "stays d"]:
    """Pick each stay's state at its last step; 0 for a length of 0.

    A one-directional LSTM's state there is its last hidden state, whatever pads the sequence behind it.
    """
    index = (lengths - 1).clamp_min(0).view(-1, 1, 1).expand(-1, 1, states.shape[-1])
    return states.gather(1, index).squeeze(1) * (lengths > 0).unsqueeze(1)


def modality_sequence(
    series: Float[Tensor, "stays d"],
    note: Float[Tensor, "stays d"],
    has_series: Bool[Tensor, " stays"],
    has_note: Bool[Tensor, " stays"],
) -> tuple[Float[Tensor, "stays two d"], Int[Tensor, " stays"]]:
    """Line up what a stay has, and say how much that is: [series, note], [series], [note] or nothing."""
    first = torch.where(has_series.unsqueeze(1), series, note)
    return torch.stack((first, note), dim=1), has_series.long() + has_note.long()


class MedFuse(nn.Module):
    """MedFuse over a series and notes.

    e = last hidden state of two stacked LSTMs over the steps; n = W·(mean of the passages' vectors); the fusion LSTM
    reads [e, n], or the one there is; logits = Linear of its last hidden state.

    Parameters
    ----------
    series_features, note_features, labels
        Widths of the inputs, and L.
    config
        ``hidden``: width of every LSTM.
    options
        Layers, dropout and first weights.

    Notes
    -----
    Departures from Hayat et al. and their code, whose second modality is an X-ray that may be missing while the
    series never is: the second vector is a mean of frozen passage vectors; a stay without a series is the sequence
    [note]; one with neither has the state 0, hence the head's offsets. The fusion LSTM is as wide as the others
    (theirs: as the image's vector). Their dropout argument has no effect inside one-layer LSTMs; as there, it acts
    on the series' vector, here on the note's too. Logits leave the network, not probabilities.
    """

    def __init__(
        self, series_features: int, note_features: int, labels: int, config: ModelConfig, options: MedFuseConfig
    ) -> None:
        super().__init__()
        width = config.hidden
        sizes = [series_features] + [width] * (options.layers - 1)
        self.series_layers = nn.ModuleList(nn.LSTM(size, width, batch_first=True) for size in sizes)
        self.project = nn.Linear(note_features, width)
        self.fuse = nn.LSTM(width, width, batch_first=True)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(width, labels)
        if options.start == "orthogonal":
            self.apply(_orthogonal)

    def forward(self, batch: Batch) -> Output:
        """Logits, and the fusion LSTM's last state as features."""
        device = batch.series.device
        series_valid = torch.arange(batch.series.shape[1], device=device) < batch.series_lengths.unsqueeze(1)
        notes_valid = torch.arange(batch.notes.shape[1], device=device) < batch.note_lengths.unsqueeze(1)
        has_series, has_note = batch.series_lengths > 0, batch.note_lengths > 0
        steps = batch.series.masked_fill(~series_valid.unsqueeze(-1), 0.0)
        for layer in self.series_layers:
            steps, _ = layer(steps)
        series = last_state(steps, batch.series_lengths)
        note = self.project(masked_mean(batch.notes.masked_fill(~notes_valid.unsqueeze(-1), 0.0), notes_valid))
        sequence, lengths = modality_sequence(self.dropout(series), self.dropout(note), has_series, has_note)
        states, _ = self.fuse(sequence)
        features = last_state(states, lengths)
        with torch.autocast(device.type, enabled=False):  # the head in single precision
            features = features.float()
            return plain_output(self.head(features), features, has_series, has_note)


def _orthogonal(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.LSTM):
        for name, parameter in module.named_parameters(recurse=False):
            if name.startswith("bias"):
                nn.init.zeros_(parameter)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(parameter)
            else:
                nn.init.xavier_uniform_(parameter)
