"""What the chart answers with: plain, frozen records, ready for a screen.

Ids are for look-ups; `masked` is the only form of one that may be shown.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class LabelInfo:
    """One label of the cohort's label set.

    Parameters
    ----------
    label_id
        0-based place in the label set.
    key, name, description
        Immutable slug, published name, longer words.
    persistence
        ``lifelong``, ``recurrent`` or ``acute``.
    group
        Key of the group of labels decided together, or None.
    alone
        Present only where no other label is ("no finding"): beside others it would give them away, and they it.
    """

    label_id: int
    key: str
    name: str
    description: str
    persistence: str
    group: str | None
    alone: bool = False


@dataclass(frozen=True)
class ChannelInfo:
    """One channel: title and unit for axes, normal range `low`–`high` for shading, category names with their codes."""

    name: str
    title: str
    unit: str
    low: float | None
    high: float | None
    categories: tuple[str, ...] = ()
    codes: tuple[float, ...] = ()
    model: bool = False


@dataclass(frozen=True)
class Header:
    """The line over a chart: who, which visit, how long; no identifier but a masked one."""

    stay_id: int
    masked: str
    visit: int
    visits: int
    order: str
    visit_text: str
    sex: str
    age_text: str
    los_days: float
    text: str
    coded: bool
    has_series: bool
    has_note: bool


@dataclass(frozen=True)
class Visit:
    """One stay of the patient.

    Parameters
    ----------
    number
        1-based place among the patient's stays as stored; an order only where `Chart.order_known` says so.
    hospital_group
        Stays with the same number belong to one hospital stay (unit transfers).
    order
        ``exact``, ``within_admission`` or ``unknown``.
    axis_start
        Hours from the patient's first admission; None where order or distance is not known.
    gap_text
        What lies between this visit and the one before, in words; empty for the first.
    """

    stay_id: int
    masked: str
    number: int
    title: str
    is_this: bool
    hospital_group: int
    order: str
    axis_start: float | None
    los_hours: float
    gap_text: str


@dataclass(frozen=True)
class Note:
    """One note; `readers_only` when no part of it reaches the model."""

    stay_id: int
    note_id: int
    visit: int
    hour: float | None
    category: str
    text: str
    readers_only: bool
    model_start: int | None
    model_end: int | None
    after_cutoff: bool


@dataclass(frozen=True)
class StripCell:
    """One visit's recorded label: ``present``, ``absent``, ``not coded`` or ``?`` (withheld)."""

    stay_id: int
    title: str
    is_this: bool
    state: str
    code: str | None


@dataclass(frozen=True)
class Statement:
    """What a source of labels other than the recorded one states of a pair.

    Parameters
    ----------
    source, title
        The source's name in the cohort, and what a reader calls it.
    kind
        ``codes``, ``labels``, ``note_terms`` or ``model``.
    observed
        0 or 1.
    code
        What the source gives as its ground: codes, mentions, a model's probability.
    """

    source: str
    title: str
    kind: str
    observed: int
    code: str | None


@dataclass(frozen=True)
class Strip:
    """A label across a patient's visits, with what its persistence lets one expect."""

    label_key: str
    persistence: str
    order_known: bool
    cells: tuple[StripCell, ...]
    note: str


@dataclass(frozen=True)
class Track:
    """One channel of one stay: hours ascending, values as stored (float64, rounded to 4 decimals), categories."""

    hours: np.ndarray
    values: np.ndarray
    categories: tuple[str | None, ...]


@dataclass(frozen=True)
class PatientRecord:
    """Everything the cohort holds on one patient, read once.

    Parameters
    ----------
    stay_ids
        The patient's stays in order of `visit`.
    tracks
        (stay_id, channel) → `Track`.
    notes
        In order of visit, hour, note_id.
    evidence
        review_evidence rows with ``visit`` and ``after_cutoff``.
    recorded
        (stay_id, label key) → (observed or None, code).
    coded
        Stays of which the recorded source states anything.
    said
        (stay_id, label key) → source, observed and code of each other source that states the pair.
    """

    stay_ids: tuple[int, ...]
    tracks: dict[tuple[int, str], Track]
    notes: tuple[Note, ...]
    evidence: pd.DataFrame
    recorded: dict[tuple[int, str], tuple[int | None, str | None]]
    coded: frozenset[int] = field(default_factory=frozenset)
    said: dict[tuple[int, str], tuple[tuple[str, int, str | None], ...]] = field(default_factory=dict)


def masked(stay_id: int) -> str:
    """Return the only form of an id that a screen may show: two dots and its last four digits."""
    return f"··{abs(stay_id) % 10_000:04d}"


def gap_between(before: Visit | None, group: int, start: float | None, known: bool) -> str:
    """Tell what lies between two visits: nothing for the first, one hospital stay, days, or that it is not known."""
    if before is None:
        return ""
    if before.hospital_group == group:
        return "same hospital stay"
    if not known:
        return "order unknown"
    if start is None or before.axis_start is None:
        return "interval not known"
    days = (start - before.axis_start - before.los_hours) / 24.0
    return "same day" if days < 1 else f"{days:,.0f} days later"


def labels_of(manifest: dict[str, Any]) -> dict[str, LabelInfo]:
    """Labels of a manifest by key, in `label_id` order."""
    entries = enumerate(manifest["labels"])
    return {
        str(entry["key"]): LabelInfo(
            int(entry.get("label_id", place)),
            str(entry["key"]),
            str(entry["name"]),
            str(entry.get("description") or ""),
            str(entry.get("persistence") or "acute"),
            None if entry.get("group") is None else str(entry["group"]),
            entry.get("alone") is True,
        )
        for place, entry in entries
    }


def channels_of(manifest: dict[str, Any]) -> dict[str, ChannelInfo]:
    """Channels of a manifest by name."""
    return {
        str(entry["name"]): ChannelInfo(
            str(entry["name"]),
            str(entry.get("title") or entry["name"]),
            str(entry.get("unit") or ""),
            _number(entry.get("low")),
            _number(entry.get("high")),
            tuple(str(c) for c in entry.get("categories") or ()),
            tuple(float(c) for c in entry.get("codes") or ()),
            bool(entry.get("model")),
        )
        for entry in manifest["channels"]
    }


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
