"""Measured points for a screen: thinned by extremes per bucket of time, gaps kept open, nothing filled in."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from audit_store.chart.records import ChannelInfo, Track


@dataclass(frozen=True)
class SeriesConfig:
    """Numbers of the series view.

    Parameters
    ----------
    max_points
        Most points per channel over the stays shown [points].
    least_points
        Fewest points a stay's channel is thinned to [points].
    gap_hours
        A silence shorter than this never breaks a line [h].
    gap_factor
        A silence longer than this many median intervals breaks it [1].
    """

    max_points: int = 400
    least_points: int = 50
    gap_hours: float = 6.0
    gap_factor: float = 4.0


DEFAULT_SERIES = SeriesConfig()
COLUMNS = (
    "stay_id",
    "channel",
    "title",
    "unit",
    "hour",
    "value",
    "category",
    "low",
    "high",
    "after_cutoff",
    "segment",
)


def thin(hours: np.ndarray, values: np.ndarray, limit: int) -> np.ndarray:
    """Choose at most about `limit` measured points: first, last, and the smallest and largest of each time bucket.

    Parameters
    ----------
    hours, values
        [n], hours ascending.
    limit
        Points wanted, at least 4.

    Returns
    -------
    int [m], ascending indices of kept points, m ≤ max(limit, 4); every index when n ≤ limit. The smallest and the
    largest value of the whole series are always among them.
    """
    count = len(hours)
    limit = max(limit, 4)
    if count <= limit:
        return np.arange(count)
    buckets = (limit - 2) // 2
    span = hours[-1] - hours[0]
    place = (
        np.minimum(((hours - hours[0]) / span * buckets).astype(np.int64), buckets - 1)
        if span > 0
        else np.arange(count) * buckets // count
    )
    order = np.lexsort((values, place))
    edges = np.flatnonzero(np.diff(place[order])) + 1
    starts = np.concatenate([[0], edges])
    ends = np.concatenate([edges, [count]]) - 1
    return np.unique(np.concatenate([[0, count - 1], order[starts], order[ends]]))


def segments(hours: np.ndarray, config: SeriesConfig = DEFAULT_SERIES) -> np.ndarray:
    """Count the runs of measurements; a new run starts after a silence > max(gap_hours, gap_factor × median gap).

    Parameters
    ----------
    hours
        [n], ascending, before thinning.

    Returns
    -------
    int64 [n], starting at 0.
    """
    if len(hours) < 2:
        return np.zeros(len(hours), dtype=np.int64)
    gaps = np.diff(hours)
    longest = max(config.gap_hours, config.gap_factor * float(np.median(gaps)))
    return np.concatenate([[0], np.cumsum(gaps > longest)]).astype(np.int64)


def frame(
    tracks: list[tuple[int, ChannelInfo, Track]],
    cutoff_hours: float | None,
    stays: int,
    max_points: int,
    config: SeriesConfig = DEFAULT_SERIES,
) -> pd.DataFrame:
    """Points of the tracks as one frame with the columns of `COLUMNS`, thinned per channel."""
    limit = max(config.least_points, max_points // max(stays, 1))
    columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
    for stay_id, channel, track in tracks:
        ordinal = np.flatnonzero(np.isfinite(track.values))
        kept = ordinal[thin(track.hours[ordinal], track.values[ordinal], limit)]
        count, hours = len(kept), track.hours[kept]
        parts: dict[str, np.ndarray] = {
            "stay_id": np.full(count, stay_id, dtype=np.int64),
            "channel": np.full(count, channel.name, dtype=object),
            "title": np.full(count, channel.title, dtype=object),
            "unit": np.full(count, channel.unit, dtype=object),
            "hour": hours,
            "value": track.values[kept],
            "category": np.array([track.categories[i] for i in kept], dtype=object),
            "low": np.full(count, np.nan if channel.low is None else channel.low),
            "high": np.full(count, np.nan if channel.high is None else channel.high),
            "after_cutoff": np.zeros(count, dtype=bool) if cutoff_hours is None else hours >= cutoff_hours,
            "segment": segments(track.hours, config)[kept],
        }
        for name, part in parts.items():
            columns[name].append(part)
    if not tracks:
        return pd.DataFrame({name: [] for name in COLUMNS})
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    return pd.DataFrame({name: _text(part) if part.dtype == object else part for name, part in joined.items()})


def _text(part: np.ndarray) -> pd.Series:
    return pd.Series(part, dtype="string")


def summary(tracks: list[tuple[int, ChannelInfo, Track]]) -> pd.DataFrame:
    """First, last, smallest and largest measured value of each track, with their hours."""
    rows = []
    for stay_id, channel, track in tracks:
        known = np.flatnonzero(np.isfinite(track.values))
        if not len(known):
            continue
        hours, values = track.hours[known], track.values[known]
        low, high = int(np.argmin(values)), int(np.argmax(values))
        rows.append(
            {
                "stay_id": stay_id,
                "channel": channel.name,
                "title": channel.title,
                "unit": channel.unit,
                "n": len(known),
                "first": values[0],
                "first_hour": hours[0],
                "last": values[-1],
                "last_hour": hours[-1],
                "min": values[low],
                "min_hour": hours[low],
                "max": values[high],
                "max_hour": hours[high],
            }
        )
    names = ["stay_id", "channel", "title", "unit", "n", "first", "first_hour", "last", "last_hour"]
    return pd.DataFrame(rows, columns=[*names, "min", "min_hour", "max", "max_hour"])
