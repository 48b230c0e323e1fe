"""The cohort's charts, for readers: a patient's header, visits, series, notes, evidence and recorded labels."""

from audit_store.chart.chart import Chart
from audit_store.chart.records import (
    ChannelInfo,
    Header,
    LabelInfo,
    Note,
    PatientRecord,
    Statement,
    Strip,
    StripCell,
    Track,
    Visit,
    masked,
)
from audit_store.chart.said import statements

__all__ = [
    "ChannelInfo",
    "Chart",
    "Header",
    "LabelInfo",
    "Note",
    "PatientRecord",
    "Statement",
    "Strip",
    "StripCell",
    "Track",
    "Visit",
    "masked",
    "statements",
]
