"""Notes of eICU, put together from `pastHistory`, `physicalExam` and `note`.

One note for each stay, category and charted minute: a line per heading, phrases in charted order. What was charted
before in the same category is not repeated in front of a model: it follows in a last line, for readers. The model
reads phrases charted before the cut-off (and entered by then), those from before unit admission too: they were known;
`admissionDx`, `apacheadmissiondx`, `treatment` and `diagnosis` are never read here.
"""

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from core.cohort.sources.eicu_phrases import Reading, read_note, read_past_history, read_physical_exam
from core.cohort.sources.eicu_tables import RawFolder, quoted
from core.errors import SourceError

_TABLES: tuple[tuple[str, str, str, Callable[[str, str], Reading | None]], ...] = (
    ("pastHistory", "pasthistory", "pasthistoryvaluetext", read_past_history),
    ("physicalExam", "physicalexam", "physicalexamtext", read_physical_exam),
    ("note", "note", "notetext", read_note),
)
"""Table, prefix of its columns, column of the charted value, reader; the position is part of the note's id."""
_GATHERED_ROWS = 1_000_000
"""So many phrases are put together at a time."""
EARLIER = "As charted before: "
"""Opens the line of repeated phrases."""


def load_notes(raw: RawFolder, cutoff_hours: float | None) -> dict[str, Any]:
    """Build table `notes`; return how many rows were form controls and how many were kept for readers alone.

    Raises
    ------
    SourceError
        When none of the three tables is there, or one lacks a column.
    """
    present = [entry for entry in _TABLES if raw.has(entry[0])]
    if not present:
        raise SourceError(
            "pastHistory.csv, physicalExam.csv or note.csv (or .csv.gz)", "none of them in the folder", "add the notes"
        )
    raw.sql.execute(
        "CREATE OR REPLACE TABLE phrase (stay_id BIGINT, minute DOUBLE, entered DOUBLE, row_id BIGINT, origin INTEGER, "
        "category VARCHAR, heading VARCHAR, text VARCHAR, model BOOLEAN)"
    )
    counts = {"note_rows": 0, "form_controls": 0, "readers_only_rows": 0}
    for origin, (table, prefix, text, read) in enumerate(_TABLES):
        if raw.has(table):
            counts["note_rows"] += _read_table(raw, origin, table, prefix, text, read, counts)
    _assemble(raw, cutoff_hours)
    counts["readers_only_rows"] = int(raw.one("SELECT count(*) FROM phrase WHERE NOT model")[0])
    return counts


def _read_table(
    raw: RawFolder,
    origin: int,
    table: str,
    prefix: str,
    text: str,
    read: Callable[[str, str], Reading | None],
    counts: dict[str, int],
) -> int:
    path, value, offset, entered = f"{prefix}path", f"{prefix}value", f"{prefix}offset", f"{prefix}enteredoffset"
    if entered not in raw.header(table):
        entered = offset
    numbers = tuple(dict.fromkeys((f"{prefix}id", "patientunitstayid", offset, entered)))
    rows = raw.load(table, (path, value, text), numbers)
    menus = raw.sql.execute(
        f"SELECT DISTINCT {path}, coalesce({value}, '') FROM {table} WHERE {path} IS NOT NULL ORDER BY ALL"
    ).fetchall()
    readings = [(menu, reading) for menu in menus if (reading := read(*menu)) is not None and reading.phrase]
    raw.sql.register(
        "readings",
        pa.table(
            {
                "path": pa.array([menu[0] for menu, _ in readings], pa.string()),
                "value": pa.array([menu[1] for menu, _ in readings], pa.string()),
                "category": pa.array([reading.category for _, reading in readings], pa.string()),
                "heading": pa.array([reading.heading for _, reading in readings], pa.string()),
                "phrase": pa.array([reading.phrase for _, reading in readings], pa.string()),
                "model": pa.array([reading.model for _, reading in readings], pa.bool_()),
            }
        ),
    )
    said, named, phrased = (f"regexp_replace(lower({c}), '[^a-z0-9]', '', 'g')" for c in (text, value, "phrase"))
    raw.sql.execute(
        f"""INSERT INTO phrase
        SELECT patientunitstayid::BIGINT, {offset}, {entered}, {prefix}id::BIGINT, {origin}, category, heading,
            CASE WHEN {text} IS NULL OR {said} = coalesce({named}, '') OR starts_with({text}, 'Print "')
                    OR contains({phrased}, {said}) AND NOT regexp_full_match({text}, '[0-9.+-]+')
                THEN phrase ELSE phrase || ' ' || regexp_replace({text}, '\\s+', ' ', 'g') END, model
        FROM {table} JOIN readings ON {path} = readings.path AND coalesce({value}, '') = readings.value
        SEMI JOIN stay ON stay.stay_id = patientunitstayid
        WHERE {offset} IS NOT NULL"""
    )
    raw.sql.unregister("readings")
    (kept,) = raw.one(f"SELECT count(*) FROM phrase WHERE origin = {origin}")
    (known,) = raw.one(f"SELECT count(*) FROM {table} SEMI JOIN stay ON stay.stay_id = patientunitstayid")
    counts["form_controls"] += int(known - kept)
    return rows


def _assemble(raw: RawFolder, cutoff_hours: float | None) -> None:
    """Join phrases into notes; the model's span is the front part, of phrases that are new to it."""
    end = "true" if cutoff_hours is None else f"minute < {cutoff_hours * 60!r} AND entered < {cutoff_hours * 60!r}"
    raw.sql.execute(
        "CREATE OR REPLACE TABLE notes (stay_id BIGINT, note_id BIGINT, hour FLOAT, category VARCHAR, text VARCHAR, "
        "model_start INTEGER, model_end INTEGER)"
    )
    parts = 1 + raw.count("SELECT count(*) FROM phrase") // _GATHERED_ROWS
    for part in range(parts):
        _assemble_part(raw, end, f"stay_id % {parts} = {part}")


def _assemble_part(raw: RawFolder, end: str, whose: str) -> None:
    raw.sql.execute(
        f"""INSERT INTO notes
        WITH told AS (
            SELECT *, model AND {end} AS readable FROM phrase WHERE {whose}
            QUALIFY row_number() OVER (PARTITION BY stay_id, category, minute, heading, text ORDER BY row_id) = 1
        ), marked AS (
            SELECT *, row_number() OVER (PARTITION BY stay_id, category, heading, text, readable
                    ORDER BY minute, row_id) = 1 AND (readable OR row_number() OVER (
                    PARTITION BY stay_id, category, heading, text ORDER BY minute, row_id) = 1) AS fresh,
                min(row_id) OVER (PARTITION BY stay_id, category, minute, heading) AS line
            FROM told
        ), lines AS (
            SELECT stay_id, category, minute, origin, bool_or(readable) AS readable, heading, line,
                min(row_id) AS row_id,
                string_agg(text, '; ' ORDER BY row_id) FILTER (fresh) AS fresh,
                string_agg(text, '; ' ORDER BY row_id) FILTER (NOT fresh) AS repeated
            FROM marked GROUP BY ALL
        ), whole AS (
            SELECT stay_id, category, minute, bool_or(readable) AS readable,
                min(row_id) * {len(_TABLES)} + origin AS note_id,
                string_agg(heading || ': ' || fresh || '.', '\n' ORDER BY line) FILTER (fresh IS NOT NULL) AS front,
                string_agg(heading || ': ' || repeated, '. ' ORDER BY line) FILTER (repeated IS NOT NULL) AS rest
            FROM lines GROUP BY stay_id, category, minute, origin
        )
        SELECT stay_id, note_id, (minute / 60.0)::FLOAT AS hour, category,
            front || coalesce('\n' || {quoted(EARLIER)} || rest || '.', '') AS text,
            CASE WHEN readable THEN 0 END::INTEGER AS model_start,
            CASE WHEN readable THEN length(front) END::INTEGER AS model_end
        FROM whole WHERE front IS NOT NULL"""
    )
