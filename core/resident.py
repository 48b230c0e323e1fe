"""The packed cohort on the device: copied there once, in the precision it is kept in; a batch is a gather by index.

Nothing is waited for inside an epoch: an epoch's rows go over in one copy, and how long a batch is, is known on the
host. A batch holds the numbers that `core.batching.load` gives, bit for bit.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from core.batching import load
from core.cohort.tensors import PackedCohort
from core.errors import ConfigError
from core.execution import Execution
from core.hints import Float, Int
from core.models.miracl import Batch

SHARE_OF_FREE = 0.5
"""Most of the device's free memory that ``auto`` gives to the data; the rest is the network's."""
_CHUNK = 1 << 26
"""Bytes copied at a time: the cache is mapped into memory, and is read through rather than held."""


Feed = Callable[[list[np.ndarray]], Iterator[Batch]]
"""Turns batches' rows into batches."""


class Resident:
    """A packed cohort's series and notes on a device.

    Parameters
    ----------
    packed
        The cohort; its arrays may be mapped files.
    place
        The device.
    """

    def __init__(self, packed: PackedCohort, place: torch.device) -> None:
        self.place = place
        self._series_offsets, self._note_offsets = np.array(packed.series.offsets), np.array(packed.notes.offsets)
        self.series, self.notes = _moved(packed.series.values, place), _moved(packed.notes.vectors, place)
        self.patient = torch.from_numpy(np.array(packed.patient_ids)).to(place)
        self.ends = [torch.from_numpy(offsets).to(place) for offsets in (self._series_offsets, self._note_offsets)]

    def load(self, batches: list[np.ndarray]) -> Iterator[Batch]:
        """Put each batch's stays together, as `core.batching.load` does."""
        if not batches:
            return
        every = torch.from_numpy(np.concatenate(batches).astype(np.int64)).to(self.place)
        start = 0
        for rows in batches:
            placed, start = every[start : start + len(rows)], start + len(rows)
            longest = [self._longest(offsets, rows) for offsets in (self._series_offsets, self._note_offsets)]
            series, series_lengths = gathered(self.series, self.ends[0], placed, longest[0])
            notes, note_lengths = gathered(self.notes, self.ends[1], placed, longest[1])
            yield Batch(placed, self.patient[placed], series, series_lengths, notes, note_lengths)

    @staticmethod
    def _longest(offsets: np.ndarray, rows: np.ndarray) -> int:
        return max(1, int((offsets[rows + 1] - offsets[rows]).max(initial=0)))


def gathered(
    values: Float[Tensor, "total width"], offsets: Int[Tensor, " stays_plus_one"], rows: Int[Tensor, " b"], longest: int
) -> tuple[Float[Tensor, "b longest width"], Int[Tensor, " b"]]:
    """Take some stays out of a pack on its device; `core.cohort.tensors.gather` without the host.

    Parameters
    ----------
    values, offsets
        A pack's rows, in any floating precision, and where each stay's begin; at least one row.
    rows
        The stays wanted.
    longest
        Length to pad to with zeros, at least that of the longest of them.

    Returns
    -------
    padded
        float32 [B, longest, width].
    lengths
        int64 [B].
    """
    starts = offsets[rows]
    lengths = offsets[rows + 1] - starts
    steps = torch.arange(longest, device=values.device)
    inside = steps < lengths.unsqueeze(1)
    places = torch.where(inside, starts.unsqueeze(1) + steps, 0)
    return values[places].float().masked_fill_(~inside.unsqueeze(-1), 0.0), lengths


def bytes_of(packed: PackedCohort) -> int:
    """Bytes of the series and notes as kept."""
    return int(packed.series.values.nbytes + packed.notes.vectors.nbytes)


def resident_of(packed: PackedCohort, place: torch.device, execution: Execution) -> Resident | None:
    """Lay the cohort on the device where that is asked for, or where ``auto`` finds it worth while and possible.

    Raises
    ------
    ConfigError
        When it is asked for and does not fit.
    """
    if execution.resident == "off" or (execution.resident == "auto" and place.type != "cuda"):
        return None
    if execution.resident == "auto" and bytes_of(packed) > SHARE_OF_FREE * torch.cuda.mem_get_info(place)[0]:
        return None
    try:
        return Resident(packed, place)
    except torch.OutOfMemoryError:
        raise ConfigError(
            "a device that holds the packed cohort", f"too little memory for {bytes_of(packed) >> 20} MiB",
            "leave resident at auto",
        ) from None  # fmt: skip


def feeds(packed: PackedCohort, place: torch.device, execution: Execution, alone: bool) -> tuple[Feed, Feed]:
    """Give what feeds training and what feeds scoring; several processes each read their share off the host."""
    resident = resident_of(packed, place, execution) if alone else None
    if resident is not None:
        return resident.load, resident.load
    return partial(load, packed, device=place, whole=alone), partial(load, packed, device=place)


def _moved(array: np.ndarray, place: torch.device) -> Tensor:
    """Copy an array to the device, in pieces; one row of zeros where it has none, so that an index is never out."""
    width = array.shape[1]
    kind = torch.from_numpy(np.zeros(0, array.dtype)).dtype
    moved = torch.zeros((max(len(array), 1), width), dtype=kind, device=place)
    step = max(1, _CHUNK // max(1, width * array.dtype.itemsize))
    for start in range(0, len(array), step):
        part = array[start : start + step]
        moved[start : start + len(part)] = torch.from_numpy(np.array(part))
    return moved
