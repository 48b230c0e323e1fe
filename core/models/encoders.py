"""Encoders of the two modalities: a bidirectional LSTM over hourly steps, a linear map over note passages."""

import torch
from torch import Tensor, nn

from core.config import ModelConfig
from core.hints import Bool, Float, Int


class _ReverseWithin(torch.autograd.Function):
    """Reverse each column's first `length` steps; its own inverse, so its backward is itself."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, steps: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        return steps.gather(0, index.unsqueeze(-1).expand_as(steps))

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad.gather(0, index.unsqueeze(-1).expand_as(grad)), None


def reverse_within(
    steps: Float[Tensor, "steps stays width"], lengths: Int[Tensor, " stays"]
) -> Float[Tensor, "steps stays width"]:
    """Reverse every stay's own steps and leave its padding where it is.

    Parameters
    ----------
    steps
        Time first, zero-padded at the end.
    lengths
        Steps of each stay, 0 for none.
    """
    t = torch.arange(steps.shape[0], device=steps.device).unsqueeze(1)
    index = torch.where(t < lengths, lengths - 1 - t, t)
    reversed_steps: Tensor = _ReverseWithin.apply(steps, index)  # type: ignore[no-untyped-call]
    return reversed_steps


def masked_mean(
    sequence: Float[Tensor, "stays steps width"], valid: Bool[Tensor, "stays steps"]
) -> Float[Tensor, "stays width"]:
    """Mean over valid positions; 0 for a stay without any."""
    weight = valid.unsqueeze(-1).to(sequence.dtype)
    return (sequence * weight).sum(1) / weight.sum(1).clamp_min(1.0)


class SeriesEncoder(nn.Module):
    """Two-layer bidirectional LSTM, then Linear 2d→d at each step (methods.md B.2).

    Each direction of each layer is an LSTM of its own, fed the steps in its order: the backward one reads a stay's
    steps reversed within its length. That is what packed sequences compute, in one code path on CPU and CUDA, about
    twice as fast on CPU, and without lengths on the host. With ``packed=False`` the backward direction reads the
    padding first, as the released code does.

    Parameters
    ----------
    features
        Width of a step's input (76 in the benchmark's layout, 59 in ours).
    config
        ``hidden``, ``lstm_layers``, ``lstm_dropout``, ``packed``.
    """

    def __init__(self, features: int, config: ModelConfig) -> None:
        super().__init__()
        width = config.hidden
        inputs = [features] + [2 * width] * (config.lstm_layers - 1)
        self.forwards = nn.ModuleList(nn.LSTM(size, width) for size in inputs)
        self.backwards = nn.ModuleList(nn.LSTM(size, width) for size in inputs)
        self.dropout = nn.Dropout(config.lstm_dropout)
        self.project = nn.Linear(2 * width, width)
        self.packed = config.packed

    def forward(
        self, series: Float[Tensor, "stays steps features"], lengths: Int[Tensor, " stays"]
    ) -> Float[Tensor, "stays steps d"]:
        """Encode; values at padded steps are meaningless and must be masked by the caller."""
        steps = series.transpose(0, 1)
        ends = lengths if self.packed else torch.full_like(lengths, steps.shape[0])
        for i, (ahead, back) in enumerate(zip(self.forwards, self.backwards, strict=True)):
            if i:
                steps = self.dropout(steps)
            onward, _ = ahead(steps)
            backward, _ = back(reverse_within(steps, ends))
            steps = torch.cat((onward, reverse_within(backward, ends)), dim=-1)
        projected: Tensor = self.project(steps).transpose(0, 1)
        return projected


class NoteEncoder(nn.Module):
    """Linear D→d over the vectors of a stay's note passages, which a frozen encoder made (methods.md B.2).

    Parameters
    ----------
    features
        D, width of a passage's vector (768 for BioBERT).
    config
        ``hidden``.
    """

    def __init__(self, features: int, config: ModelConfig) -> None:
        super().__init__()
        self.project = nn.Linear(features, config.hidden)

    def forward(self, notes: Float[Tensor, "stays passages features"]) -> Float[Tensor, "stays passages d"]:
        """Encode each passage by itself."""
        projected: Tensor = self.project(notes)
        return projected
