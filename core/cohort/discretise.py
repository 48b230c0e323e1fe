"""Time series as hourly bins, packed end to end: discretise, impute, normalise, one-hot, mask.

Follows the benchmark's discretiser (mimic3-benchmarks) in its meaning: the last value in a bin counts, a bin without
one takes the previous value, before the first measurement the channel's imputation value stands, and one mask column a
channel says whether the bin was measured. Nothing loops over stays.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.cohort.layout import Layout, impute_places, layout_of
from core.cohort.store import Cohort
from core.errors import ConfigError
from core.hints import Bool, Float, Int

ReportRows = Callable[[int, int], None]


@dataclass(frozen=True)
class SeriesConfig:
    """How a series is cut into bins.

    Parameters
    ----------
    step_hours
        Width of a bin in hours. 1.0 in the benchmark and the paper; the compact size uses 2.0.
    max_steps
        Bins kept per stay, the last ones; 512 in the released code.
    chunk_steps
        Bins worked on at a time; bounds memory (about 0.5 kB a bin), changes no value but the last digits of the
        normaliser.
    """

    step_hours: float = 1.0
    max_steps: int = 512
    chunk_steps: int = 1 << 18

    def __post_init__(self) -> None:
        if not (np.isfinite(self.step_hours) and self.step_hours > 0):
            raise ConfigError("step_hours above 0", str(self.step_hours), "give a bin width in hours, such as 1.0")
        if self.max_steps < 1:
            raise ConfigError("max_steps of 1 or more", str(self.max_steps), "give the number of bins to keep")
        if self.chunk_steps < 1:
            raise ConfigError("chunk_steps of 1 or more", str(self.chunk_steps), "leave it at its default")


@dataclass(frozen=True)
class Normaliser:
    """Mean and standard deviation of each continuous channel over the training stays' bins, imputed ones included.

    Parameters
    ----------
    channels
        Names of the continuous channels.
    mean, std
        In each channel's unit; a channel without spread has std 1.
    """

    channels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Give it as JSON-able lists."""
        return {key: list(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Normaliser":
        """Read what `to_dict` gave."""
        return cls(
            tuple(str(name) for name in fields["channels"]),
            tuple(float(value) for value in fields["mean"]),
            tuple(float(value) for value in fields["std"]),
        )


@dataclass(frozen=True)
class SeriesPack:
    """Every stay's steps, one after the other.

    Parameters
    ----------
    values
        float32 [total steps, F]: per channel its z-score or one-hot columns, then one mask column a channel.
    offsets
        int64 [N+1]; stay i owns ``values[offsets[i]:offsets[i+1]]``; zero length means no series.
    first_bin
        int32 [N]; step k of stay i covers ``[(first_bin[i]+k)·step_hours, (first_bin[i]+k+1)·step_hours)``.
    feature_names
        F names: ``heart_rate``, ``gcs_eye=to pain``, ``measured:heart_rate``.
    channels
        Model channels in the manifest's order.
    feature_channel
        int64 [F]: the channel a feature belongs to, as a place in `channels`.
    step_hours
        Width of a bin in hours.
    """

    values: Float[np.ndarray, "steps features"]
    offsets: Int[np.ndarray, " stays_plus_one"]
    first_bin: Int[np.ndarray, " stays"]
    feature_names: tuple[str, ...]
    channels: tuple[str, ...]
    feature_channel: Int[np.ndarray, " features"]
    step_hours: float


@dataclass(frozen=True)
class _Measurements:
    """Measured values that the model may read, in time order within each stay."""

    row: np.ndarray  # int64: the stay's row
    bin: np.ndarray  # int64
    channel: np.ndarray  # int64: place in the layout
    value: np.ndarray  # float32: the number, or the category's place


def _codes(column: pa.ChunkedArray, names: list[str]) -> np.ndarray:
    """Place of each text in `names`, -1 for others and nulls: one look-up a distinct text."""
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    places = {name: i for i, name in enumerate(names)}
    known = np.array([places.get(text, -1) for text in encoded.dictionary.to_pylist()] + [-1], dtype=np.int64)
    places_of: np.ndarray = known[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]
    return places_of


def _measurements(cohort: Cohort, layout: Layout, step_hours: float) -> _Measurements:
    table = cohort.observations
    stay_ids = cohort.stays["stay_id"].to_numpy()
    if not table.num_rows or not len(stay_ids):
        none = np.zeros(0, dtype=np.int64)
        return _Measurements(none, none, none, none.astype(np.float32))
    channel = _codes(table["channel"], list(layout.channels))
    hour = table["hour"].to_numpy().astype(np.float64)
    row = np.searchsorted(stay_ids, table["stay_id"].to_numpy())
    los = cohort.stays["los_hours"].to_numpy()
    cutoff = cohort.manifest.get("cutoff_hours")
    keep = (channel >= 0) & (hour >= 0) & (hour <= los[row])
    if cutoff is not None:
        keep &= hour < float(cutoff)
    value = table["value"].to_numpy().astype(np.float32)
    place = np.full(len(value), -1, dtype=np.int64)
    for c, kinds in enumerate(layout.categories):
        if not kinds:
            continue
        of_channel = np.flatnonzero(keep & (channel == c))
        if not len(of_channel):
            continue
        found = _codes(table["category"].take(pa.array(of_channel)), list(kinds))
        scored = np.full(len(of_channel), -1, dtype=np.int64)
        for k, code in enumerate(layout.codes[c]):
            scored[value[of_channel] == code] = k
        place[of_channel] = np.where(found >= 0, found, scored)
    categorical = np.array([bool(kinds) for kinds in layout.categories])[np.maximum(channel, 0)]
    keep &= np.where(categorical, place >= 0, np.isfinite(value))
    number = np.where(categorical, place, value).astype(np.float32)
    return _Measurements(row[keep], np.floor(hour[keep] / step_hours).astype(np.int64), channel[keep], number[keep])


def _filled(
    found: _Measurements, part: slice, starts: np.ndarray, total: int, start_of_step: np.ndarray, impute: np.ndarray
) -> tuple[Float[np.ndarray, "steps channels"], Bool[np.ndarray, "steps channels"]]:
    """Grid of one chunk: the last value of each bin, carried forward within the stay, else the imputation value."""
    grid = np.full((total, len(impute)), np.nan, dtype=np.float32)
    # Repeated places: NumPy keeps the last one assigned, and rows are in time order within a stay.
    grid[starts[found.row[part]] + found.bin[part], found.channel[part]] = found.value[part]
    measured = ~np.isnan(grid)
    steps = np.arange(total, dtype=np.int32)[:, None]
    last = np.maximum.accumulate(np.where(measured, steps, np.int32(-1)), axis=0)
    known = last >= start_of_step[:, None]
    carried = np.take_along_axis(grid, np.maximum(last, 0), axis=0)
    return np.where(known, carried, impute[None, :]), measured


def pack_series(
    cohort: Cohort,
    config: SeriesConfig,
    normaliser: Normaliser | None = None,
    report: ReportRows | None = None,
) -> tuple[SeriesPack, Normaliser]:
    """Bin, impute, normalise and pack the model's channels of every stay.

    A stay's bins run from unit admission to its last measurement that counts: hours in ``[0, cutoff_hours)`` where
    the manifest sets a cut-off, and not after the stay's end. Values before the kept window are carried into it.

    Parameters
    ----------
    cohort
        The cohort; rows follow ``cohort.stays``.
    config
        Bin width and the number of bins kept.
    normaliser
        Means and deviations to apply; None fits them on the training stays' kept bins.
    report
        Told (steps done, steps in all) after each chunk.

    Returns
    -------
    pack, normaliser
        The packed steps and the normaliser applied.

    Raises
    ------
    ConfigError
        As `layout_of`, or when `normaliser` names other channels.
    """
    layout = layout_of(cohort.manifest)
    continuous = layout.continuous
    names = tuple(layout.channels[c] for c in continuous)
    if normaliser is not None and normaliser.channels != names:
        raise ConfigError(
            f"a normaliser of {len(names)} channels as in the manifest",
            f"{len(normaliser.channels)} or others",
            "use the model trained on this kind of cohort",
        )
    found = _measurements(cohort, layout, config.step_hours)
    n = cohort.stays.num_rows
    bins = np.zeros(n, dtype=np.int64)
    np.maximum.at(bins, found.row, found.bin + 1)
    first_bin = np.maximum(bins - config.max_steps, 0)
    offsets = np.concatenate([[0], np.cumsum(bins - first_bin)]).astype(np.int64)
    train = pc.equal(cohort.stays["split"], "train").to_numpy(zero_copy_only=False)
    values = np.zeros((int(offsets[-1]), len(layout.feature_names)), dtype=np.float32)
    impute = impute_places(layout)

    shift = np.array([layout.impute[c] for c in continuous])
    count, total, squares = 0, np.zeros(len(continuous)), np.zeros(len(continuous))
    for rows in _chunks(bins, config.chunk_steps):
        ends = np.cumsum(bins[rows])
        starts = np.zeros(n, dtype=np.int64)
        starts[rows] = ends - bins[rows]
        start_of_step = np.repeat(starts[rows], bins[rows])
        part = slice(*np.searchsorted(found.row, [rows.start, rows.stop]))
        grid, measured = _filled(found, part, starts, int(ends[-1]), start_of_step, impute)
        within = np.arange(int(ends[-1])) - start_of_step
        kept = within >= np.repeat(first_bin[rows], bins[rows])
        grid, measured = grid[kept], measured[kept]
        out = values[offsets[rows.start] : offsets[rows.stop]]
        _write_features(out, grid, measured, layout)
        if normaliser is None:
            of_train = np.repeat(train[rows], np.diff(offsets)[rows])
            deviation = grid[of_train][:, continuous].astype(np.float64) - shift
            count += len(deviation)
            total += deviation.sum(axis=0)
            squares += np.square(deviation).sum(axis=0)
        if report is not None:
            report(int(offsets[rows.stop]), len(values))
    if normaliser is None:
        normaliser = _fitted(names, shift, count, total, squares)
    columns = [layout.first_column[c] for c in continuous]
    mean = np.array(normaliser.mean, dtype=np.float32)
    scale = np.array(normaliser.std, dtype=np.float32)
    for begin in range(0, len(values), config.chunk_steps):
        block = values[begin : begin + config.chunk_steps]
        block[:, columns] = (block[:, columns] - mean) / scale
    pack = SeriesPack(
        values,
        offsets,
        first_bin.astype(np.int32),
        layout.feature_names,
        layout.channels,
        np.array(layout.feature_channel, dtype=np.int64),
        config.step_hours,
    )
    return pack, normaliser


def _write_features(out: np.ndarray, grid: np.ndarray, measured: np.ndarray, layout: Layout) -> None:
    steps = np.arange(len(grid))
    for c, (kinds, column) in enumerate(zip(layout.categories, layout.first_column, strict=True)):
        if kinds:
            out[steps, column + grid[:, c].astype(np.int64)] = 1.0
        else:
            out[:, column] = grid[:, c]
    out[:, len(layout.feature_names) - len(layout.channels) :] = measured


def _chunks(bins: np.ndarray, chunk_steps: int) -> list[slice]:
    """Cut the stays into runs of about `chunk_steps` bins each; every stay is in one."""
    ends = np.cumsum(bins)
    slices = []
    start = 0
    while start < len(bins):
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + chunk_steps, side="right")))
        slices.append(slice(start, stop))
        start = stop
    return slices


def _fitted(
    names: tuple[str, ...], shift: np.ndarray, count: int, total: np.ndarray, squares: np.ndarray
) -> Normaliser:
    if not count:
        return Normaliser(names, tuple(float(v) for v in shift), (1.0,) * len(names))
    mean = total / count
    variance = np.maximum(squares / count - np.square(mean), 0.0)
    std = np.sqrt(variance)
    flat = std <= np.finfo(np.float32).eps * np.maximum(np.abs(shift + mean), 1.0)
    return Normaliser(names, tuple(float(v) for v in shift + mean), tuple(float(v) for v in np.where(flat, 1.0, std)))
