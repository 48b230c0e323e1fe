"""What a cohort's tables must be: keys, values, alignment, spans."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.cohort.schema import VISIT_ORDERS
from core.errors import SchemaError


def _unique(name: str, table: pa.Table, keys: tuple[str, ...]) -> None:
    groups = table.group_by(list(keys)).aggregate([([], "count_all")])
    repeated = table.num_rows - groups.num_rows
    if repeated:
        raise SchemaError(
            f"one row per ({', '.join(keys)}) in {name}", f"{repeated} rows too many", "remove the repeated rows"
        )


def check_tables(tables: Mapping[str, pa.Table], label_keys: list[str], channel_names: list[str]) -> None:
    """Check keys, values and alignment of a cohort's tables.

    Raises
    ------
    SchemaError
        On repeated keys, labels outside {0, 1}, unknown stays, labels or channels, non-finite values, a patient in
        both splits, or notes whose model span lies outside their text.
    """
    stays = tables["stays"]
    _unique("stays", stays, ("stay_id",))
    _unique("labels", tables["labels"], ("stay_id", "label", "source"))
    splits = set(pc.unique(stays["split"]).to_pylist())
    if not splits <= {"train", "test"}:
        raise SchemaError("stays.split in {train, test}", f"{len(splits)} different values", "assign each patient one")
    per_patient = stays.group_by("patient_id").aggregate([("split", "count_distinct")])
    both = pc.sum(pc.greater(per_patient["split_count_distinct"], 1)).as_py() or 0
    if both:
        raise SchemaError("each patient in one split", f"{both} patients in both train and test", "split by patient")
    orders = set(pc.unique(stays["visit_order"]).to_pylist())
    if not orders <= set(VISIT_ORDERS):
        raise SchemaError(f"stays.visit_order in {{{', '.join(VISIT_ORDERS)}}}", "other values", "mend visit_order")
    los = stays["los_hours"].to_numpy()
    if not np.isfinite(los).all() or (los < 0).any():
        raise SchemaError("stays.los_hours finite and not negative", "other values", "remove those stays")
    known = stays["stay_id"].combine_chunks()
    for name in tables:
        if name != "stays":
            check_rows(name, tables[name], known, channel_names)
    labels = tables["labels"]
    outside = pc.sum(pc.greater(labels["observed"], 1)).as_py() or 0
    if outside:
        raise SchemaError("labels.observed in {0, 1} or empty", f"{outside} other values", "recode the labels")
    foreign = pc.sum(pc.invert(pc.is_in(labels["label"], value_set=pa.array(label_keys)))).as_py() or 0
    if foreign:
        raise SchemaError("labels.label in the manifest's label set", f"{foreign} other rows", "add or drop the label")


def check_rows(name: str, table: pa.Table, known: pa.Array, channel_names: list[str]) -> None:
    """Check the rows of a table, or of a part of it: known stays and channels, finite values, notes with their spans.

    Parameters
    ----------
    known
        Ids of the cohort's stays.

    Raises
    ------
    SchemaError
        As `check_tables`.
    """
    strangers = pc.sum(pc.invert(pc.is_in(table["stay_id"], value_set=known))).as_py() or 0
    if strangers:
        raise SchemaError(f"{name}.stay_id among the stays", f"{strangers} rows of other stays", "drop those rows")
    if name == "observations":
        foreign = pc.sum(pc.invert(pc.is_in(table["channel"], value_set=pa.array(channel_names)))).as_py() or 0
        if foreign:
            raise SchemaError(
                "observations.channel in the manifest", f"{foreign} other rows", "add or drop the channel"
            )
        for column in ("hour", "value"):
            endless = pc.sum(pc.invert(pc.is_finite(table[column]))).as_py() or 0
            if endless:
                raise SchemaError(
                    f"observations.{column} finite or empty", f"{endless} NaN or infinite values", "drop those rows"
                )
    if name == "notes":
        empty = pc.sum(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(table["text"])), 0)).as_py() or 0
        if empty:
            raise SchemaError("notes with text", f"{empty} empty notes", "leave empty notes out")
        length = pc.utf8_length(table["text"])
        bad = pc.or_kleene(pc.greater(table["model_end"], length), pc.greater(table["model_start"], table["model_end"]))
        if pc.sum(bad).as_py():
            raise SchemaError("notes.model_start ≤ model_end ≤ length of the text", "other spans", "mend the spans")
