"""Hand-made features of a stay, from what the network reads: last, mean, least, greatest, slope and count."""

import numpy as np

from core.cohort.tensors import PackedCohort
from core.hints import Float

FEATURE_LIMIT = 6.0
"""Standardised features are held within ±6: a regression has no defence against an outlier."""


def hand_features(packed: PackedCohort) -> Float[np.ndarray, "stays features"]:
    """Features of every stay, standardised over training stays.

    Of a continuous channel's carried-forward z-scores: last, mean, least, greatest and slope per step; of a category:
    last and mean; of each channel's mask: the logarithm of 1 + bins measured, and whether there is any; of the notes:
    the mean of the passages' vectors, the greatest value of each component, and the number of passages. A stay without
    series or note has the training mean there, and says so in a feature of its own.

    Returns
    -------
    ndarray
        float32; columns without spread are left out.
    """
    values, offsets = packed.series.values, packed.series.offsets
    names = packed.series.feature_names
    measured = np.array([name.startswith("measured:") for name in names])
    category = np.array(["=" in name for name in names]) & ~measured
    blocks = [
        *_of_segments(values[:, ~measured & ~category], offsets, ("last", "mean", "least", "greatest", "slope")),
        *_of_segments(values[:, category], offsets, ("last", "mean")),
    ]
    (total,) = _of_segments(values[:, measured], offsets, ("sum",))
    blocks += [np.log1p(total), (total > 0).astype(np.float64)]
    some = np.diff(offsets) > 0
    blocks = [np.where(some[:, None], block, np.nan) for block in blocks]
    told = np.diff(packed.notes.offsets)
    notes = _of_segments(packed.notes.vectors, packed.notes.offsets, ("mean", "greatest"))
    blocks += [np.where((told > 0)[:, None], block, np.nan) for block in notes]
    blocks += [np.log1p(told)[:, None], some[:, None].astype(np.float64), (told > 0)[:, None].astype(np.float64)]
    return _standardised(np.concatenate(blocks, axis=1), ~np.asarray(packed.is_test))


def _of_segments(values: np.ndarray, offsets: np.ndarray, kinds: tuple[str, ...]) -> list[np.ndarray]:
    """Figures of each stay's rows; empty stays get zeros."""
    stays, width = len(offsets) - 1, values.shape[1]
    lengths = np.diff(offsets)
    filled = np.flatnonzero(lengths)
    found = []
    starts, n = offsets[filled], lengths[filled][:, None].astype(np.float64)
    mean = np.add.reduceat(values, starts, axis=0, dtype=np.float64) / n if len(filled) else np.zeros((0, width))
    for kind in kinds:
        out = np.zeros((stays, width))
        if len(filled) == 0:
            found.append(out)
            continue
        if kind == "mean":
            out[filled] = mean
        elif kind == "sum":
            out[filled] = mean * n
        elif kind == "last":
            out[filled] = values[offsets[filled + 1] - 1]
        elif kind in ("least", "greatest"):
            reduce = np.minimum if kind == "least" else np.maximum
            out[filled] = reduce.reduceat(values, starts, axis=0)
        else:
            out[filled] = _slope(values, starts, n, mean)
        found.append(out)
    return found


def _slope(values: np.ndarray, starts: np.ndarray, n: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Least-squares slope per step: Σ(k - k̄)x / Σ(k - k̄)², with Σ(k - k̄)² = n(n² - 1)/12; of one step 0."""
    places = np.arange(len(values), dtype=np.float64)
    within = places - np.repeat(starts, n[:, 0].astype(np.int64))
    weighted = np.add.reduceat(values * within[:, None], starts, axis=0)
    return np.asarray((weighted - (n - 1) / 2 * n * mean) / np.where(n > 1, n * (n**2 - 1) / 12, 1.0))


def _standardised(features: np.ndarray, training: np.ndarray) -> np.ndarray:
    known = ~np.isnan(features)
    counted = known & training[:, None]
    n = np.maximum(counted.sum(0), 1)
    mean = np.where(counted, features, 0.0).sum(0) / n
    spread = np.sqrt((np.where(counted, features - mean, 0.0) ** 2).sum(0) / n)
    useful = spread > 1e-9
    scaled = np.where(known[:, useful], (features[:, useful] - mean[useful]) / spread[useful], 0.0)
    return np.asarray(np.clip(scaled, -FEATURE_LIMIT, FEATURE_LIMIT), np.float32)
