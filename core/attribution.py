"""Reducing attributions to what a reader can look at: runs of channel-hours, and passages."""

from dataclasses import dataclass

import numpy as np

from core.cohort.tensors import PackedCohort
from core.hints import Float, Int


def _first_of_each(group: np.ndarray, weight: np.ndarray, top: int) -> np.ndarray:
    """Places of the `top` largest magnitudes of each group, zeros left out; earlier places first among equals."""
    order = np.lexsort((-np.abs(weight), group))
    order = order[weight[order] != 0]
    begin = np.searchsorted(group[order], group[order], side="left")
    return np.asarray(order[np.arange(len(order)) - begin < top])


def channel_runs(
    weights: Float[np.ndarray, "stays steps channels"], top: int, floor: float
) -> tuple[Int[np.ndarray, "runs 4"], Float[np.ndarray, " runs"]]:
    """Merge neighbouring bins of a channel that push the same way, and keep each stay's strongest runs.

    Parameters
    ----------
    weights
        Signed weight of each bin and channel.
    top
        Runs kept a stay.
    floor
        Share of the stay's largest magnitude below which a cell is left out.

    Returns
    -------
    runs
        int64 [R, 4]: stay, channel, first bin, bin after the last.
    sums
        float64 [R]: sum of the run's cells.
    """
    stays, steps, channels = weights.shape
    cells = np.zeros((stays, channels, steps + 1))
    cells[:, :, :steps] = weights.transpose(0, 2, 1)
    largest = np.abs(cells).max(axis=(1, 2), keepdims=True) if cells.size else np.zeros((stays, 1, 1))
    sign = np.sign(cells) * (np.abs(cells) >= floor * largest)
    flat = sign.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=0.0))
    if not len(edges):
        return np.zeros((0, 4), dtype=np.int64), np.zeros(0)
    # The last cell of each row is zero, so every run ends before its row does.
    stops = np.append(edges[1:], len(flat))
    sums = np.add.reduceat(cells.ravel() * (flat != 0), edges)
    inside = flat[edges] != 0
    edges, stops, sums = edges[inside], stops[inside], sums[inside]
    stay, rest = np.divmod(edges, channels * (steps + 1))
    channel, first = np.divmod(rest, steps + 1)
    chosen = _first_of_each(stay, sums, top)
    runs = np.stack([stay, channel, first, first + stops - edges], axis=1)
    return runs[chosen], sums[chosen]


@dataclass(frozen=True)
class Items:
    """Attributions of some (stay row, label): columns of equal length, `begin` and `end` code points or hours."""

    row: np.ndarray
    label: np.ndarray
    is_note: np.ndarray
    note_id: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    channel: np.ndarray
    weight: np.ndarray

    @classmethod
    def joined(cls, parts: list["Items"]) -> "Items":
        """Put several together."""
        if not parts:
            none, ints = np.zeros(0), np.zeros(0, dtype=np.int64)
            return cls(ints, ints, ints.astype(bool), ints, none, none, ints, none)
        names = tuple(cls.__dataclass_fields__)
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def series_items(
    packed: PackedCohort, rows: np.ndarray, label: int, weights: np.ndarray, top: int, floor: float
) -> Items:
    """Reduce weights [B, T, F] of some stays to their strongest channel-hours."""
    series = packed.series
    owner = np.eye(len(series.channels))[series.feature_channel]
    runs, sums = channel_runs(weights.astype(np.float64) @ owner, top, floor)
    row = rows[runs[:, 0]]
    first = series.first_bin[row].astype(np.int64)
    none = np.zeros(len(runs), dtype=np.int64)
    return Items(
        row,
        none + label,
        none.astype(bool),
        none,
        (first + runs[:, 2]) * series.step_hours,
        (first + runs[:, 3]) * series.step_hours,
        runs[:, 1],
        sums,
    )


def note_items(packed: PackedCohort, rows: np.ndarray, label: int, weights: np.ndarray, top: int) -> Items:
    """Reduce weights [B, S, D] of some stays to their strongest passages."""
    notes = packed.notes
    lengths = packed.note_lengths[rows]
    inside = np.arange(weights.shape[1])[None, :] < lengths[:, None]
    unit = (notes.offsets[rows][:, None] + np.arange(weights.shape[1])[None, :])[inside]
    of_unit = weights.astype(np.float64).sum(axis=2)[inside]
    passage, place = np.unique(notes.passage[unit], return_inverse=True)
    sums = np.bincount(place, weights=of_unit, minlength=len(passage))
    row = notes.passages.stay_row[passage]
    chosen = _first_of_each(row, sums, top)
    passage, sums = passage[chosen], sums[chosen]
    none = np.zeros(len(passage), dtype=np.int64)
    return Items(
        notes.passages.stay_row[passage],
        none + label,
        none == 0,
        notes.passages.note_id[passage],
        notes.passages.char_start[passage].astype(np.float64),
        notes.passages.char_end[passage].astype(np.float64),
        none,
        sums,
    )
