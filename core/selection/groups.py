"""The 2L groups of pairs, one per (label, observed class): their scores, their ranges, and the min-max within each."""

from dataclasses import dataclass

import numpy as np

from core.hints import Bool, Float, Int, Shaped, UInt8


@dataclass(frozen=True)
class Ranges:
    """Lowest and highest raw score of each (label, observed class) group, and its size; NaN where the group is empty.

    Arrays of labels × 2; the second axis is the observed class.
    """

    low: Float[np.ndarray, "labels 2"]
    high: Float[np.ndarray, "labels 2"]
    count: Int[np.ndarray, "labels 2"]


@dataclass(frozen=True)
class Weighted:
    """Distinct values of one group, ascending, and how often each occurs (float64)."""

    values: Float[np.ndarray, " values"]
    counts: Float[np.ndarray, " values"]


def by_class(
    observed: UInt8[np.ndarray, "stays labels"], table: Shaped[np.ndarray, "labels 2"]
) -> Shaped[np.ndarray, "stays labels"]:
    """Give each pair its group's entry of a table of labels × observed class."""
    place = (observed != 0) + np.arange(0, 2 * len(table), 2, dtype=np.uint16)
    entry: np.ndarray = table.ravel().take(place)
    return entry


def weigh(values: Shaped[np.ndarray, " pairs"]) -> Weighted:
    """Sort a group's scores into distinct values and counts."""
    if not len(values):
        return Weighted(np.empty(0), np.empty(0))
    ordered = np.sort(values)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counts = np.diff(starts, append=len(ordered))
    return Weighted(ordered[starts].astype(np.float64), counts.astype(np.float64))


def weigh_groups(
    score: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
) -> list[Weighted]:
    """Distinct scores of the 2L groups among the pairs that take part, label by label, class 0 before class 1."""
    columns = np.ascontiguousarray(score.T)
    kinds = np.ascontiguousarray(((observed != 0).view(np.uint8) | (~member).view(np.uint8) << np.uint8(1)).T)
    return [weigh(column[kind == c]) for column, kind in zip(columns, kinds, strict=True) for c in (0, 1)]


def ranges_of(groups: list[Weighted]) -> Ranges:
    """Ranges of groups ordered as `weigh_groups` orders them."""
    low = np.array([g.values[0] if len(g.values) else np.nan for g in groups]).reshape(-1, 2)
    high = np.array([g.values[-1] if len(g.values) else np.nan for g in groups]).reshape(-1, 2)
    count = np.array([int(g.counts.sum()) for g in groups], np.int64).reshape(-1, 2)
    return Ranges(low, high, count)


def fit_ranges(
    score: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    member: Bool[np.ndarray, "stays labels"],
) -> Ranges:
    """Take the range of each group from the pairs that take part; test stays only use it."""
    return ranges_of(weigh_groups(score, observed, member))


def _affine(ranges: Ranges, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Offset and factor of the min-max per group; the factor is 0 where the group is empty."""
    filled = ranges.count > 0
    low = np.where(filled, ranges.low, 0.0)
    span = np.where(filled, ranges.high, 0.0) - low
    return low, np.where(filled, 1.0 / (span + epsilon), 0.0)


def normalise(
    score: Float[np.ndarray, "stays labels"],
    observed: UInt8[np.ndarray, "stays labels"],
    ranges: Ranges,
    epsilon: float,
) -> Float[np.ndarray, "stays labels"]:
    """Z̃ = (Z - min)/(max - min + ε) per (label, class), clipped to [0, 1]; 0 where the group has no members."""
    low, factor = (a.astype(np.float32) for a in _affine(ranges, epsilon))
    scaled: np.ndarray = score - by_class(observed, low)
    scaled *= by_class(observed, factor)
    np.clip(scaled, np.float32(0.0), np.float32(1.0), out=scaled)
    return scaled


def normalise_groups(groups: list[Weighted], ranges: Ranges, epsilon: float) -> list[Weighted]:
    """Apply the same min-max as `normalise` to distinct values."""
    low, factor = (a.ravel() for a in _affine(ranges, epsilon))
    return [Weighted((g.values - low[i]) * factor[i], g.counts) for i, g in enumerate(groups)]
