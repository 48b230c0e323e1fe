"""What the cohort's other sources of labels say of a pair, beside the one that a round corrects."""

from typing import Any

from audit_store.chart.chart import Chart
from audit_store.chart.records import Statement

KINDS = ("codes", "labels", "note_terms", "model")
"""Kinds of sources: billing codes, somebody's labels, terms of the notes, another model."""


def statements(chart: Chart, stay_id: int, label_key: str) -> tuple[Statement, ...]:
    """Give what each other source states of a pair, in order of their names; a source that states nothing is left out.

    Parameters
    ----------
    chart
        The cohort.
    stay_id, label_key
        The pair.
    """
    told = _told(chart.manifest)
    return tuple(
        Statement(source, *_titled(told.get(source), source), observed, code)
        for source, observed, code in chart.record(stay_id).said.get((stay_id, label_key), ())
    )


def _told(manifest: dict[str, Any]) -> dict[str, Any]:
    told = manifest.get("label_sources")
    return told if isinstance(told, dict) else {}


def _titled(entry: object, source: str) -> tuple[str, str]:
    """Title and kind of a source; one that the manifest does not describe is known by its name."""
    if not isinstance(entry, dict):
        return source, "labels"
    title, kind = entry.get("title"), entry.get("kind")
    return str(title) if isinstance(title, str) and title else source, str(kind) if kind in KINDS else "labels"
