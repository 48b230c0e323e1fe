"""An invented cohort, put together from short lists of rows, for the tests of charts, panels and reasons."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from core.cohort.channels import manifest_channels
from core.cohort.labelset import PHENOTYPES
from core.cohort.schema import LABELS, NOTES, OBSERVATIONS, REVIEW_EVIDENCE, STAYS
from core.cohort.store import write_cohort

CUTOFF = 48.0


@dataclass
class Stay:
    """One stay: series (hour, channel, value), evidence (hour, kind, name, value, unit, text), notes (hour, category,
    text), and the labels recorded present (None: the stay is not coded)."""

    patient: int
    visit: int = 1
    order: str = "exact"
    hospital_stay: int | None = None
    admitted: datetime | None = None
    los: float = 72.0
    age: float | None = 71.0
    sex: str | None = "F"
    series: list[tuple[float, str, float]] = field(default_factory=list)
    evidence: list[tuple[float | None, str, str, float | None, str | None, str | None]] = field(default_factory=list)
    notes: list[tuple[float | None, str, str]] = field(default_factory=list)
    readers_only: bool = False
    present: tuple[str, ...] | None = ()


def manifest(**changes: Any) -> dict[str, Any]:
    """A manifest with the whole label set and all channels."""
    labels = [
        {
            "key": p.key,
            "name": p.name,
            "description": p.name,
            "persistence": p.persistence,
            "group": p.group,
            "codes": {"icd9": [], "icd10": []},
            "guideline": p.key,
        }
        for p in PHENOTYPES
    ]
    channels = manifest_channels()
    return {
        "name": "invented",
        "source": "synthetic",
        "primary_source": "icd",
        "labels": labels,
        "label_groups": [],
        "channels": channels,
        "cutoff_hours": CUTOFF,
        "attrition": [],
        "licence": "none",
        "created_at": "2026-11-21T00:00:00Z",
        "labels_against": "recorded",
        **changes,
    }


def write_invented(folder: Path, stays: dict[int, Stay], **changes: Any) -> Path:
    """Write a cohort of these stays."""
    head = [
        {
            "stay_id": stay_id,
            "patient_id": s.patient,
            "patient_key": f"key-{s.patient}",
            "hospital_stay_id": s.hospital_stay,
            "hospital_id": 1,
            "visit": s.visit,
            "visit_order": s.order,
            "admitted_at": s.admitted,
            "los_hours": s.los,
            "age": s.age,
            "sex": s.sex,
            "ethnicity": None,
            "split": "train",
            "has_series": bool(s.series),
            "has_note": bool(s.notes),
        }
        for stay_id, s in stays.items()
    ]
    series = [
        {"stay_id": i, "hour": hour, "channel": channel, "value": value, "category": None}
        for i, s in stays.items()
        for hour, channel, value in s.series
    ]
    evidence = [
        {"stay_id": i, "hour": h, "kind": k, "name": n, "value": v, "unit": u, "text": t, "source": "invented"}
        for i, s in stays.items()
        for h, k, n, v, u, t in s.evidence
    ]
    notes = [
        {
            "stay_id": i,
            "note_id": i * 100 + place,
            "hour": hour,
            "category": category,
            "text": text,
            "model_start": None if s.readers_only else 0,
            "model_end": None if s.readers_only else len(text),
        }
        for i, s in stays.items()
        for place, (hour, category, text) in enumerate(s.notes)
    ]
    labels = [
        {
            "stay_id": i,
            "label": p.key,
            "source": "icd",
            "observed": int(p.key in s.present),
            "code": "X" if p.key in s.present else None,
            "hour": None,
            "priority": None,
            "active_at_discharge": None,
        }
        for i, s in stays.items()
        if s.present is not None
        for p in PHENOTYPES
    ]
    tables = {
        "stays": pa.Table.from_pylist(head, STAYS),
        "observations": pa.Table.from_pylist(series, OBSERVATIONS),
        "notes": pa.Table.from_pylist(notes, NOTES),
        "labels": pa.Table.from_pylist(labels, LABELS),
        "review_evidence": pa.Table.from_pylist(evidence, REVIEW_EVIDENCE),
    }
    write_cohort(folder, tables, manifest(**changes))
    return folder
