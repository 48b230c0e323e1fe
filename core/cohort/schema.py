"""The cohort's tables as classes of columns: name, type, nullability.

The five tables are the interface between whoever builds a cohort and whoever trains on it or reads it. A trainer
opens `TRAINING_TABLES` alone; `review_evidence` is for readers' eyes and `evaluation/truth` for metrics.
"""

import pyarrow as pa

SCHEMA_VERSION = 1

STAYS = pa.schema(
    [
        pa.field("stay_id", pa.int64(), False),
        pa.field("patient_id", pa.int64(), False),
        pa.field("patient_key", pa.string(), False),
        pa.field("hospital_stay_id", pa.int64()),
        pa.field("hospital_id", pa.int64()),
        pa.field("visit", pa.int32(), False),
        pa.field("visit_order", pa.string(), False),
        pa.field("admitted_at", pa.timestamp("us")),
        pa.field("los_hours", pa.float64(), False),
        pa.field("age", pa.float32()),
        pa.field("sex", pa.string()),
        pa.field("ethnicity", pa.string()),
        pa.field("split", pa.string(), False),
        pa.field("has_series", pa.bool_(), False),
        pa.field("has_note", pa.bool_(), False),
    ]
)

OBSERVATIONS = pa.schema(
    [
        pa.field("stay_id", pa.int64(), False),
        pa.field("hour", pa.float32(), False),
        pa.field("channel", pa.string(), False),
        pa.field("value", pa.float32()),
        pa.field("category", pa.string()),
    ]
)

NOTES = pa.schema(
    [
        pa.field("stay_id", pa.int64(), False),
        pa.field("note_id", pa.int64(), False),
        pa.field("hour", pa.float32()),
        pa.field("category", pa.string(), False),
        pa.field("text", pa.string(), False),
        pa.field("model_start", pa.int32()),
        pa.field("model_end", pa.int32()),
    ]
)

LABELS = pa.schema(
    [
        pa.field("stay_id", pa.int64(), False),
        pa.field("label", pa.string(), False),
        pa.field("source", pa.string(), False),
        pa.field("observed", pa.uint8()),
        pa.field("code", pa.string()),
        pa.field("hour", pa.float32()),
        pa.field("priority", pa.string()),
        pa.field("active_at_discharge", pa.bool_()),
    ]
)

REVIEW_EVIDENCE = pa.schema(
    [
        pa.field("stay_id", pa.int64(), False),
        pa.field("hour", pa.float32()),
        pa.field("kind", pa.string(), False),
        pa.field("name", pa.string(), False),
        pa.field("value", pa.float32()),
        pa.field("unit", pa.string()),
        pa.field("text", pa.string()),
        pa.field("source", pa.string(), False),
    ]
)

TRUTH = pa.schema(
    [
        pa.field("stay_id", pa.int64(), False),
        pa.field("label", pa.string(), False),
        pa.field("clean", pa.uint8(), False),
    ]
)

VISIT_ORDERS = ("exact", "within_admission", "unknown")
EVIDENCE_KINDS = (
    "drug",
    "procedure",
    "finding",
    "micro",
    "imaging",
    "ecg",
    "diagnosis",
    "admission_diagnosis",
)

TRAINING_TABLES: dict[str, pa.Schema] = {
    "stays": STAYS,
    "observations": OBSERVATIONS,
    "notes": NOTES,
    "labels": LABELS,
}
TABLES: dict[str, pa.Schema] = {**TRAINING_TABLES, "review_evidence": REVIEW_EVIDENCE}

SORT_KEYS: dict[str, tuple[str, ...]] = {
    "stays": ("stay_id",),
    "observations": ("stay_id", "hour", "channel"),
    "notes": ("stay_id", "hour", "note_id"),
    "labels": ("stay_id", "label", "source"),
    "review_evidence": ("stay_id", "hour", "kind", "name"),
    "truth": ("stay_id", "label"),
}
