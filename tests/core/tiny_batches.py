"""Small invented batches for the networks' tests."""

from dataclasses import fields, replace

import torch
from torch import Tensor, nn

from core.config import ModelConfig
from core.models.miracl import Batch

SMALL = ModelConfig(hidden=8, heads=2, ffn=16, fusion_layers=2, experts=4, max_positions=20)
SERIES, NOTES, LABELS = 3, 6, 5


def batch(stays: int = 6, steps: int = 7, passages: int = 4, seed: int = 0, empty: bool = True) -> Batch:
    """Stay 0 has no series, stay 1 no note, stay 2 neither; whatever their tensors hold."""
    g = torch.Generator().manual_seed(seed)
    series_lengths = torch.randint(1, steps + 1, (stays,), generator=g)
    note_lengths = torch.randint(1, passages + 1, (stays,), generator=g)
    if empty:
        series_lengths[[0, 2]], note_lengths[[1, 2]] = 0, 0
    series = torch.randn(stays, steps, SERIES, generator=g)
    notes = torch.randn(stays, passages, NOTES, generator=g)
    return Batch(torch.arange(stays), torch.arange(stays) // 2, series, series_lengths, notes, note_lengths)


def poisoned(given: Batch) -> Batch:
    """Put NaN wherever there is no step or passage."""
    made = replace(given, series=given.series.clone(), notes=given.notes.clone())
    made.series[torch.arange(made.series.shape[1]) >= made.series_lengths[:, None]] = float("nan")
    made.notes[torch.arange(made.notes.shape[1]) >= made.note_lengths[:, None]] = float("nan")
    return made


def rows(given: Batch, index: Tensor) -> Batch:
    """Take some of the stays, in that order."""
    return Batch(*(getattr(given, field.name)[index] for field in fields(Batch)))


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Move every parameter away from its start, so that no zero hides anything."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn(p.shape, generator=g) * 0.1)
    return model


def silent(model: nn.Module) -> list[str]:
    """Names of the parameters that no gradient has reached."""
    return [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def planted(stays: int = 48, seed: int = 0) -> tuple[Batch, Tensor]:
    """Stays whose labels 0 and 1 lie in the series and 2 to 4 in the notes; every eighth lacks one of the two."""
    g = torch.Generator().manual_seed(seed)
    truth = (torch.rand(stays, LABELS, generator=g) < 0.5).float()
    made = batch(stays, seed=seed, empty=False)
    made.series[:, :, :2] += 3 * (2 * truth[:, None, :2] - 1)
    made.notes[:, :, :3] += 3 * (2 * truth[:, None, 2:] - 1)
    made.series_lengths[::16], made.note_lengths[8::16] = 0, 0
    return made, truth


def seen(given: Batch) -> Tensor:
    """Pairs whose label can be read from what the stay has."""
    series, notes = given.series_lengths > 0, given.note_lengths > 0
    return torch.stack((series, series, notes, notes, notes), dim=1)
