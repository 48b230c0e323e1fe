"""The tables of a round as classes of columns: name, type, nullability. The single definition of what a round holds.

A trainer writes them as Parquet, `audit_store.rounds` checks them against this file and keeps them in DuckDB.
"""

import pyarrow as pa

ROUND_SCHEMA_VERSION = 2
READABLE_INFO = (1, 2)
"""Versions of ``round.json`` that are taken; what version 2 added is optional in it."""

LABEL = pa.schema(
    [
        pa.field("label_id", pa.int16(), False),
        pa.field("label_key", pa.string(), False),
        pa.field("name", pa.string(), False),
        pa.field("description", pa.string()),
        pa.field("persistence", pa.string(), False),
        pa.field("label_group", pa.string()),
        pa.field("prevalence", pa.float64(), False),
        pa.field("rho_plus", pa.float64()),
        pa.field("rho_minus", pa.float64()),
    ]
)

PAIR = pa.schema(
    [
        pa.field("stay_id", pa.int64(), False),
        pa.field("patient_id", pa.int64(), False),
        pa.field("visit", pa.int32(), False),
        pa.field("split", pa.string(), False),
        pa.field("label_id", pa.int16(), False),
        pa.field("observed", pa.uint8(), False),
        pa.field("given", pa.float32(), False),
        pa.field("probability", pa.float32(), False),
        pa.field("probability_series", pa.float32()),
        pa.field("probability_note", pa.float32()),
        pa.field("probability_peer", pa.float32()),
        pa.field("rank", pa.int16(), False),
        pa.field("difficulty", pa.float32(), False),
        pa.field("selection_score", pa.float32(), False),
        pa.field("uncertainty", pa.float32(), False),
        pa.field("partition", pa.string(), False),
        pa.field("eligible", pa.bool_(), False),
        pa.field("corrected", pa.float32(), False),
        pa.field("suggested", pa.uint8(), False),
        pa.field("flagged", pa.bool_(), False),
        pa.field("direction", pa.string(), False),
        pa.field("error_probability", pa.float32(), False),
        pa.field("suspicion_rank", pa.int32()),
        pa.field("history", pa.binary(), False),
    ]
)

MIXTURE = pa.schema(
    [
        pa.field("label_id", pa.int16(), False),
        pa.field("observed_class", pa.uint8(), False),
        pa.field("n", pa.int64(), False),
        pa.field("mean_clean", pa.float64()),
        pa.field("mean_noisy", pa.float64()),
        pa.field("sd_clean", pa.float64()),
        pa.field("sd_noisy", pa.float64()),
        pa.field("weight_clean", pa.float64()),
        pa.field("weight_noisy", pa.float64()),
        pa.field("score_min", pa.float64()),
        pa.field("score_max", pa.float64()),
        pa.field("degenerate", pa.bool_(), False),
        pa.field("reason", pa.string()),
    ]
)

EPOCH = pa.schema(
    [
        pa.field("epoch", pa.int32(), False),
        *[
            pa.field(name, pa.float64())
            for name in (
                "seconds",
                "learning_rate",
                "beta",
                "loss_total",
                "loss_bce",
                "loss_corrected",
                "loss_ortho",
                "loss_moe",
                "loss_series_head",
                "loss_note_head",
                "loss_contrast",
                "cross_visit_anchor_share",
            )
        ],
        pa.field("n_clean", pa.int64()),
        pa.field("n_uncertain", pa.int64()),
        pa.field("n_noisy", pa.int64()),
        pa.field("n_locked", pa.int64()),
        pa.field("test_map", pa.float64()),
        pa.field("test_auroc_macro", pa.float64()),
        pa.field("test_auroc_micro", pa.float64()),
        pa.field("test_f1_micro", pa.float64()),
        pa.field("test_f1_macro", pa.float64()),
    ]
)

EVIDENCE = pa.schema(
    [
        pa.field("stay_id", pa.int64(), False),
        pa.field("label_id", pa.int16(), False),
        pa.field("kind", pa.string(), False),
        pa.field("evidence_stay_id", pa.int64(), False),
        pa.field("note_id", pa.int64()),
        pa.field("char_start", pa.int32()),
        pa.field("char_end", pa.int32()),
        pa.field("channel", pa.string()),
        pa.field("hour_start", pa.float32()),
        pa.field("hour_end", pa.float32()),
        pa.field("method", pa.string()),
        pa.field("negated", pa.bool_()),
        pa.field("weight", pa.float32(), False),
    ]
)

DETECTOR_SCORE = pa.schema(
    [
        pa.field("stay_id", pa.int64(), False),
        pa.field("label_id", pa.int16(), False),
        pa.field("detector", pa.string(), False),
        pa.field("score", pa.float32(), False),
    ]
)

ROUND = pa.schema(
    [
        pa.field("round_id", pa.int32(), False),
        pa.field("parent", pa.int32()),
        pa.field("created_at", pa.string(), False),
        pa.field("preset", pa.string(), False),
        pa.field("config", pa.string(), False),
        pa.field("code_version", pa.string(), False),
        pa.field("cohort_fingerprint", pa.string(), False),
        pa.field("cohort_name", pa.string(), False),
        pa.field("decisions_count", pa.int64(), False),
        pa.field("decisions_last_id", pa.int64()),
        pa.field("decisions_head", pa.string()),
        pa.field("seed", pa.int64(), False),
        pa.field("device", pa.string(), False),
        pa.field("seconds", pa.float64(), False),
        pa.field("peak_memory_mb", pa.float64()),
        pa.field("budget", pa.int64(), False),
        pa.field("schema_version", pa.int32(), False),
        pa.field("calibrated", pa.bool_()),
    ]
)

HARM = pa.schema(
    [
        pa.field("label_id", pa.int16(), False),
        pa.field("direction", pa.string(), False),
        pa.field("pairs", pa.int64(), False),
        pa.field("changed", pa.int64(), False),
        pa.field("expected_better", pa.float64(), False),
        pa.field("expected_worse", pa.float64(), False),
        pa.field("expected_error_before", pa.float64(), False),
        pa.field("expected_error_after", pa.float64(), False),
        pa.field("left_alone", pa.bool_(), False),
        pa.field("reason", pa.string()),
    ]
)
"""What the correction is expected to do to the labels of one label and direction; numbers of labels, not shares."""

COMPARISON = pa.schema(
    [
        pa.field("metric", pa.string(), False),
        pa.field("with_decisions", pa.float64(), False),
        pa.field("without_decisions", pa.float64(), False),
        pa.field("difference", pa.float64(), False),
        pa.field("low", pa.float64(), False),
        pa.field("high", pa.float64(), False),
        pa.field("n_patients", pa.int64(), False),
        pa.field("note", pa.string()),
    ]
)
"""Did it help: a metric of the round and of its twin, trained alike but without the decisions."""

ROUND_TABLES: dict[str, pa.Schema] = {
    "label": LABEL,
    "pair": PAIR,
    "mixture": MIXTURE,
    "epoch": EPOCH,
    "evidence": EVIDENCE,
    "detector_score": DETECTOR_SCORE,
}
"""Tables of every round. `detector_score` may also come with a column per detector (`audit_store.detectors`)."""

OPTIONAL_TABLES: dict[str, pa.Schema] = {"harm": HARM, "comparison": COMPARISON}

SORT_ORDER: dict[str, str] = {
    "label": "label_id",
    "pair": "label_id, partition, error_probability DESC, stay_id",
    "mixture": "label_id, observed_class",
    "epoch": "epoch",
    "evidence": "label_id, stay_id, abs(weight) DESC",
    "harm": "label_id, direction",
    "comparison": "metric",
}

PARTITIONS = ("clean", "uncertain", "noisy", "locked")
DIRECTIONS = ("false_positive", "false_negative")
SPLITS = ("train", "test")
PERSISTENCES = ("lifelong", "recurrent", "acute")

LOCKS = pa.schema(
    [
        pa.field("stay_id", pa.int64(), False),
        pa.field("label_key", pa.string(), False),
        pa.field("value", pa.float32(), False),
        pa.field("locked", pa.bool_(), False),
    ]
)

LONG = pa.schema(
    [
        pa.field("stay_id", pa.int64()),
        pa.field("patient_id", pa.int64()),
        pa.field("label", pa.string()),
        pa.field("observed", pa.uint8()),
        pa.field("cleaned", pa.uint8()),
        pa.field("changed", pa.bool_()),
        pa.field("basis", pa.string()),
        pa.field("round", pa.int32()),
        pa.field("reviewers", pa.string()),
        pa.field("agreement", pa.float32()),
        pa.field("suggested", pa.uint8()),
        pa.field("error_probability", pa.float32()),
        pa.field("decided_at", pa.timestamp("us")),
    ]
)
BASES = ("observed", "kept", "relabelled", "adjudicated", "auto_corrected")


def duck_type(kind: pa.DataType) -> str:
    """DuckDB's name for an Arrow type used above."""
    return _DUCK_TYPES[kind]


def same_family(came: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a column of type `came` may be stored as `wanted`: numbers as numbers, text as text."""
    if pa.types.is_dictionary(came):
        came = came.value_type
    if pa.types.is_null(came):
        return True
    if pa.types.is_integer(wanted):
        return bool(pa.types.is_integer(came))
    if pa.types.is_floating(wanted):
        return bool(pa.types.is_integer(came) or pa.types.is_floating(came))
    if pa.types.is_string(wanted):
        return bool(pa.types.is_string(came) or pa.types.is_large_string(came) or pa.types.is_string_view(came))
    if pa.types.is_binary(wanted):
        return bool(
            pa.types.is_binary(came)
            or pa.types.is_large_binary(came)
            or pa.types.is_fixed_size_binary(came)
            or pa.types.is_binary_view(came)
        )
    return bool(came == wanted)


_DUCK_TYPES: dict[pa.DataType, str] = {
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.bool_(): "BOOLEAN",
}
