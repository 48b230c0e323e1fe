"""Notes of MIMIC: those charted in time for a model to read, the rest for readers.

Of discharge summaries nothing is kept but what was known at admission.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from core.cohort.schema import NOTES
from core.cohort.sources.mimic_sections import PAST_HISTORY, sections
from core.cohort.sources.mimic_tables import MimicTables, quoted
from core.errors import ConfigError, SourceError

CHOICES = ("pmh", "admission", "first48h", "all")
"""What a model reads of MIMIC-IV: past medical history; all that was known at admission; radiology before the cut-off;
the last two together."""
MODEL_CATEGORIES = (
    *("nursing", "nursing/other", "physician", "general", "respiratory", "nutrition", "radiology", "consult"),
    *("rehab services", "social work", "case management", "pharmacy"),
)
"""Categories of `noteevents` that a model may read; ECG and echocardiogram have a day and no time."""
_NEVER = ("discharge summary",)
_BATCH = 1000


def load_mimic3_notes(raw: MimicTables, cutoff_hours: float | None) -> dict[str, Any]:
    """Build table `notes` from NOTEEVENTS; return how the notes fell.

    A model reads notes of the stay's admission that were charted, and entered, before the cut-off. Notes with a day and
    no time (ECG, echocardiogram) and later ones are for readers. Discharge summaries and notes marked as wrong are left
    out.

    Raises
    ------
    SourceError
        When a column is missing or the file is damaged.
    """
    _create(raw)
    if not raw.has("noteevents"):
        return {"choice": "first48h", "note_rows": 0}
    source = raw.rows("noteevents", ["row_id", "hadm_id", "category", "text"], ["charttime", "storetime", "iserror"])
    end = "true" if cutoff_hours is None else f"hour < {cutoff_hours!r} AND coalesce(entered, hour) < {cutoff_hours!r}"
    readable = f"hour IS NOT NULL AND lower(category) IN ({', '.join(map(quoted, MODEL_CATEGORIES))}) AND {end}"
    rows = raw.create(
        "note_rows",
        f"""SELECT s.stay_id, TRY_CAST(e.row_id AS BIGINT) AS note_id, trim(e.category) AS category,
            epoch(TRY_CAST(e.charttime AS TIMESTAMP) - s.intime) / 3600.0 AS hour,
            epoch(TRY_CAST(e.storetime AS TIMESTAMP) - s.intime) / 3600.0 AS entered,
            coalesce(e.iserror, '0') IN ('1', '1.0') AS wrong,
            trim(replace(e.text, chr(13), ''), ' ' || chr(10) || chr(9)) AS text
        FROM ({source}) e JOIN stay s
            ON s.hospital_stay_id = TRY_CAST(TRY_CAST(e.hadm_id AS DOUBLE) AS BIGINT)
        WHERE e.text IS NOT NULL""",
        "noteevents",
    )
    never = f"lower(category) IN ({', '.join(map(quoted, _NEVER))})"
    raw.sql.execute(
        f"""INSERT INTO notes
        SELECT stay_id, note_id, hour::FLOAT, lower(coalesce(category, 'other')), text,
            CASE WHEN {readable} THEN 0 END, CASE WHEN {readable} THEN length(text) END
        FROM note_rows WHERE NOT coalesce({never}, false) AND NOT wrong AND text <> '' AND note_id IS NOT NULL"""
    )
    counts = {
        "discharge_summaries_left_out": f"SELECT count(*) FROM note_rows WHERE {never}",
        "marked_as_wrong": "SELECT count(*) FROM note_rows WHERE wrong",
        "without_chart_time_readers_only": "SELECT count(*) FROM notes WHERE hour IS NULL",
        "readers_only": "SELECT count(*) FROM notes WHERE model_end IS NULL",
    }
    told = {name: raw.count(query) for name, query in counts.items()}
    raw.sql.execute("DROP TABLE note_rows")
    return {"choice": "first48h", "note_rows": rows, **told}


def load_mimic4_notes(raw: MimicTables, choice: str, cutoff_hours: float | None, *, given: bool) -> dict[str, Any]:
    """Build table `notes` from `discharge` and `radiology` of MIMIC-IV-Note; return how the notes fell.

    Of a discharge summary only the sections known at admission are kept, at hour 0. Radiology is read by a model
    before the cut-off where `choice` says so; all of it is there for readers.

    Parameters
    ----------
    choice
        One of `CHOICES`.
    given
        Whether the user named a folder of notes.

    Raises
    ------
    SourceError
        When a folder of notes was named and holds neither table, or a column is missing.
    """
    if choice not in CHOICES:
        raise ConfigError(f"notes of {', '.join(CHOICES)}", choice, "choose one of them")
    if given and not raw.has("discharge") and not raw.has("radiology"):
        raise SourceError("discharge.csv.gz or radiology.csv.gz in the notes' folder", "neither", "name that folder")
    _create(raw)
    told: dict[str, Any] = {"choice": choice}
    if raw.has("discharge"):
        told |= _discharge(raw, choice)
    if raw.has("radiology"):
        told |= _radiology(raw, cutoff_hours, read=choice in ("first48h", "all"))
    told["readers_only"] = raw.count("SELECT count(*) FROM notes WHERE model_end IS NULL")
    return told


def _create(raw: MimicTables) -> None:
    raw.sql.execute(
        "CREATE OR REPLACE TABLE notes (stay_id BIGINT, note_id BIGINT, hour FLOAT, category VARCHAR, text VARCHAR, "
        "model_start INTEGER, model_end INTEGER)"
    )


def _mine(source: str, extra: str, kind: int) -> str:
    """Write SQL of a note table's rows of kept stays; the id follows from stay and number: the same over rebuilds."""
    return (
        f"SELECT s.stay_id, s.stay_id * 1000000 + coalesce(TRY_CAST(e.note_seq AS BIGINT), 0) * 4 + {kind} AS note_id, "
        f"{extra} replace(e.text, chr(13), '') AS text FROM ({source}) e JOIN stay s "
        "ON s.hospital_stay_id = TRY_CAST(TRY_CAST(e.hadm_id AS DOUBLE) AS BIGINT) WHERE e.text IS NOT NULL"
    )


def _discharge(raw: MimicTables, choice: str) -> dict[str, int]:
    source = raw.rows("discharge", ["hadm_id", "text", "note_seq"], ["note_type"])
    query = _mine(source, "", 0) + " AND coalesce(e.note_type, 'DS') = 'DS'"
    rows = raw.create("summary", query, "discharge")
    cursor = raw.sql.cursor()
    cursor.execute(
        "SELECT stay_id, note_id, text FROM summary "
        "QUALIFY row_number() OVER (PARTITION BY stay_id ORDER BY note_id) = 1 ORDER BY stay_id"
    )
    without = 0
    while batch := cursor.fetchmany(_BATCH):
        kept: dict[str, list[object]] = {name: [] for name in NOTES.names}
        for stay_id, note_id, text in batch:
            body, start, end = admission_note(str(text), choice)
            without += end is None and choice != "first48h"
            if body:
                for name, value in zip(
                    NOTES.names,
                    (stay_id, note_id, 0.0, "discharge summary, sections known at admission", body, start, end),
                    strict=True,
                ):
                    kept[name].append(value)
        raw.sql.register("kept", pa.table(kept, NOTES))
        raw.sql.execute("INSERT INTO notes SELECT * FROM kept")
        raw.sql.unregister("kept")
    cursor.close()
    raw.sql.execute("DROP TABLE summary")
    return {"discharge_summaries": rows, "without_the_chosen_sections": without}


def admission_note(text: str, choice: str) -> tuple[str, int | None, int | None]:
    """Put the sections known at admission together, and say which part a model reads.

    Parameters
    ----------
    text
        A discharge summary.
    choice
        ``pmh``: the past medical history; ``admission``, ``all``: everything; ``first48h``: nothing.

    Returns
    -------
    text, start, end
        A line for each section, and the model's half-open span of code points (None: readers only).
    """
    found = sections(text)
    if PAST_HISTORY in found:
        found = {PAST_HISTORY: found.pop(PAST_HISTORY), **found}
    parts = [f"{name[0].upper()}{name[1:]}: {body}" for name, body in found.items()]
    whole = "\n".join(parts)
    if not whole or choice == "first48h" or (choice == "pmh" and PAST_HISTORY not in found):
        return whole, None, None
    return whole, 0, len(parts[0]) if choice == "pmh" else len(whole)


def _radiology(raw: MimicTables, cutoff_hours: float | None, *, read: bool) -> dict[str, int]:
    source = raw.rows("radiology", ["hadm_id", "text", "note_seq", "charttime"], ["note_type", "storetime"])
    times = (
        "epoch(TRY_CAST(e.charttime AS TIMESTAMP) - s.intime) / 3600.0 AS hour, "
        "epoch(TRY_CAST(e.storetime AS TIMESTAMP) - s.intime) / 3600.0 AS entered, coalesce(e.note_type, 'RR') AS kind,"
    )
    rows = raw.create("report", _mine(source, times, 1), "radiology")
    end = "true" if cutoff_hours is None else f"hour < {cutoff_hours!r} AND coalesce(entered, hour) < {cutoff_hours!r}"
    readable = f"{'true' if read else 'false'} AND hour IS NOT NULL AND {end}"
    raw.sql.execute(
        f"""INSERT INTO notes
        SELECT stay_id, note_id + (kind = 'AR')::INTEGER, hour::FLOAT, 'radiology', body,
            CASE WHEN {readable} THEN 0 END, CASE WHEN {readable} THEN length(body) END
        FROM (SELECT *, trim(text, ' ' || chr(10) || chr(9)) AS body FROM report) WHERE body <> ''"""
    )
    raw.sql.execute("DROP TABLE report")
    return {"radiology_reports": rows}


def note_batches(raw: MimicTables, rows: int) -> pa.RecordBatchReader:
    """Give the notes of the stays that remain, in the cohort's order, `rows` at a time."""
    reader = (
        raw.sql.cursor()
        .sql("SELECT notes.* FROM notes SEMI JOIN stay USING (stay_id) ORDER BY stay_id, hour NULLS LAST, note_id")
        .to_arrow_reader(rows)
    )

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield from pa.Table.from_batches([batch]).cast(NOTES).to_batches()

    return pa.RecordBatchReader.from_batches(NOTES, batches())
