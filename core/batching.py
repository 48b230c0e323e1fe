"""Which stays share a batch, and how a batch is put together. Deterministic in (seed, epoch)."""

from collections.abc import Iterator

import numpy as np
import torch

from core.cohort.tensors import PackedCohort, gather
from core.hints import Int
from core.models.miracl import Batch

_NOTE_BUCKET = 4  # passages per class of note length


def plan_batches(
    rows: Int[np.ndarray, " chosen"],
    series_lengths: Int[np.ndarray, " stays"],
    note_lengths: Int[np.ndarray, " stays"],
    patients: Int[np.ndarray, " stays"],
    *,
    size: int,
    seed: int,
    epoch: int,
    sampler: str = "shuffle",
    group_size: int = 4,
    bucket_steps: int = 8,
) -> list[np.ndarray]:
    """Part the training stays into an epoch's batches, stays of like length together.

    Stays are put in random order, then sorted by class of length; batches are cut from that order and shuffled. Stays
    of one class are thus mixed anew each epoch, and little of a batch is padding.

    Parameters
    ----------
    rows
        Stays to train on.
    series_lengths, note_lengths, patients
        Of every stay, indexed by row.
    size
        Stays a batch; the last batch, which is kept, may be smaller.
    seed, epoch
        All that the order depends on besides the lengths.
    sampler
        ``shuffle``; or ``patient_grouped``, which keeps a patient's stays together, `group_size` at most, and cuts
        between patients, so that a batch may fall short of `size` by less than `group_size`.
    bucket_steps
        Width of a class of length, in steps.

    Returns
    -------
    list of int64 arrays
        Every row once.
    """
    if len(rows) == 0:
        return []
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(rows)
    step_class = -(-series_lengths // bucket_steps)
    note_class = -(-note_lengths // _NOTE_BUCKET)
    if sampler == "patient_grouped":
        return _grouped(order, step_class, patients, size, min(group_size, size), rng)
    order = order[np.lexsort((note_class[order], step_class[order]))]
    # Cut from the long end, so that the short batch is one of short stays.
    batches = [order[max(end - size, 0) : end] for end in range(len(order), 0, -size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _grouped(
    order: np.ndarray, step_class: np.ndarray, patients: np.ndarray, size: int, group: int, rng: np.random.Generator
) -> list[np.ndarray]:
    members: dict[int, list[int]] = {}
    for row in order.tolist():
        members.setdefault(int(patients[row]), []).append(row)
    units = [stays[i : i + group] for stays in members.values() for i in range(0, len(stays), group)]
    units.sort(key=lambda unit: max(int(step_class[row]) for row in unit), reverse=True)
    batches: list[list[int]] = [[]]
    for unit in units:
        if len(batches[-1]) + len(unit) > size:
            batches.append([])
        batches[-1].extend(unit)
    return [np.array(batches[i], np.int64) for i in rng.permutation(len(batches))]


def in_order(rows: Int[np.ndarray, " chosen"], lengths: Int[np.ndarray, " stays"], size: int) -> list[np.ndarray]:
    """Batches for a pass without training: by length, always the same."""
    order = rows[np.argsort(lengths[rows], kind="stable")]
    return [order[start : start + size] for start in range(0, len(order), size)]


def load(packed: PackedCohort, batches: list[np.ndarray], device: torch.device, whole: bool = True) -> Iterator[Batch]:
    """Put each batch's stays together and on the device; not `whole`: rows and patients alone, the rest on the host."""
    for rows in batches:
        rows = np.ascontiguousarray(rows, np.int64)
        series, series_lengths = gather(packed.series.values, packed.series.offsets, rows)
        notes, note_lengths = gather(packed.notes.vectors, packed.notes.offsets, rows)
        head, rest = (rows, packed.patient_ids[rows]), (series, series_lengths, notes, note_lengths)
        places = (device, device, *[device if whole else torch.device("cpu")] * len(rest))
        yield Batch(*(_on(torch.from_numpy(a), place) for a, place in zip((*head, *rest), places, strict=True)))


def _on(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
