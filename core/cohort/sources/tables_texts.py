"""Notes, and evidence for readers' eyes, of a hospital's own tables.

A model may read a note whose category the mapping gives it, that has a time, and that was charted and entered before
the cut-off. Everything else is for readers.
"""

from typing import Any

import pyarrow as pa

from core.cohort.mapping import EventsSpec, Mapping
from core.cohort.mapping_codes import Matcher
from core.cohort.schema import EVIDENCE_KINDS
from core.cohort.sources.mimic_tables import quoted
from core.cohort.sources.tables_files import MappedTables
from core.cohort.sources.tables_series import (
    LONGEST_HOURS,
    hour_sql,
    malformed,
    refuse_strangers,
    refuse_times,
)
from core.cohort.sources.tables_stays import numbers_of, of_stay, stranger
from core.errors import SourceError

_KEYS = ("stay", "hospital_stay", "patient")
NOTE_ROLES = (*_KEYS, "note", "time", "entered", "category", "text")
EVIDENCE_ROLES = (*_KEYS, "time", "kind", "name", "value", "unit", "text")


def load_notes(raw: MappedTables, mapping: Mapping, cutoff_hours: float | None) -> dict[str, Any]:
    """Build table `notes`; return how they fell.

    Raises
    ------
    SourceError
        When a time is none, a note's number stands twice, or a note is of a stay that is not there.
    """
    raw.sql.execute(
        "CREATE OR REPLACE TABLE notes (stay_id BIGINT, note_id BIGINT, hour FLOAT, category VARCHAR, text VARCHAR, "
        "model_start INTEGER, model_end INTEGER)"
    )
    told = {"note_rows": 0, "left_out": 0, "without_text": 0, "repeated": 0}
    for place, spec in enumerate(mapping.notes, start=1):
        for name, count in _read_notes(raw, f"notes {place}", spec, cutoff_hours).items():
            told[name] += count
    if raw.count("SELECT count(*) FROM (SELECT 1 FROM notes GROUP BY note_id HAVING count(*) > 1)"):
        raise SourceError("[[notes]] of different numbers", "numbers that two files share", "leave note out of one")
    return {
        **told,
        "readers_only": raw.count("SELECT count(*) FROM notes WHERE model_end IS NULL"),
        "without_time_readers_only": raw.count("SELECT count(*) FROM notes WHERE hour IS NULL"),
    }


def _read_notes(raw: MappedTables, table: str, spec: EventsSpec, cutoff_hours: float | None) -> dict[str, int]:
    bad = malformed(raw, table, spec) + " OR " + malformed(raw, table, spec, "e.entered")
    rows = raw.create(
        "arrived_note",
        f"""SELECT e.line, s.stay_id, e.note, e.category, ({bad}) AS bad,
            {stranger(raw, spec)} AS stranger, {hour_sql(raw, table, spec)} AS hour,
            {hour_sql(raw, table, spec, "e.entered")} AS entered,
            trim(replace(e.text, chr(13), ''), ' ' || chr(10) || chr(9)) AS text
        FROM (SELECT row_number() OVER () AS line, * FROM ({raw.rows(table, NOTE_ROLES)})) e
        LEFT JOIN stay s ON {of_stay(raw, table, spec)}""",
        table,
        ordered=True,
    )
    _set_aside(raw, "arrived_note", table, spec, NOTE_ROLES, needed=False)
    _matched(raw, "read_category", "category", spec.model)
    _matched(raw, "known_category", "category", spec.at_admission)
    _matched(raw, "gone_category", "category", spec.leave_out)
    gone = raw.count("SELECT count(*) FROM arrived_note WHERE category IN (FROM gone_category)")
    blank = raw.count("SELECT count(*) FROM arrived_note WHERE stay_id IS NOT NULL AND coalesce(text, '') = ''")
    raw.sql.execute(
        "DELETE FROM arrived_note WHERE category IN (FROM gone_category) OR stay_id IS NULL OR coalesce(text, '') = ''"
    )
    raw.sql.execute("UPDATE arrived_note SET hour = 0 WHERE hour IS NULL AND category IN (FROM known_category)")
    twice = _number_notes(raw, table, spec.source.columns.get("note"))
    end = "true" if cutoff_hours is None else f"hour < {cutoff_hours!r} AND coalesce(entered, hour) < {cutoff_hours!r}"
    readable = f"hour IS NOT NULL AND category IN (FROM read_category) AND {end}"
    raw.sql.execute(
        f"""INSERT INTO notes SELECT stay_id, note_id, hour::FLOAT, lower(coalesce(category, 'other')), text,
            CASE WHEN {readable} THEN 0 END, CASE WHEN {readable} THEN length(text) END
        FROM arrived_note JOIN note_number USING (line)"""
    )
    raw.sql.execute("DROP TABLE arrived_note")
    return {"note_rows": rows, "left_out": gone, "without_text": blank, "repeated": twice}


def _number_notes(raw: MappedTables, table: str, column: str | None) -> int:
    """Table `note_number` (line, note_id), each note once; return how many rows of one note were left out.

    A note's number is the source's, or the hash of its name; without either, a hash of stay, time and text, and the
    same note written twice is one.
    """
    body = f"concat_ws('|', {quoted(table)}, stay_id, hour, category, text)"
    own, number = "NULL", f"(md5_number_lower({body}) & {(1 << 63) - 1}::UBIGINT)::BIGINT"
    if column is not None:
        own = raw.key("note")
        whole = f"TRY_CAST({own} AS BIGINT)"
        if raw.count(f"SELECT count(*) FROM arrived_note WHERE {whole}::VARCHAR IS DISTINCT FROM {own}"):
            found = raw.sql.sql(f"SELECT DISTINCT {own} AS key FROM arrived_note WHERE note IS NOT NULL ORDER BY 1")
            keys = found.to_arrow_table()["key"].to_pylist()
            ids = pa.array(numbers_of(keys, column), pa.int64())
            raw.sql.register("given", pa.table({"key": pa.array(keys, pa.string()), "id": ids}))
            raw.sql.execute("CREATE OR REPLACE TABLE note_name AS SELECT * FROM given")
            raw.sql.unregister("given")
            whole = f"(SELECT id FROM note_name WHERE key = {own})"
        number = f"coalesce({whole}, {number})"
        again = f"note IS NULL OR line IN (SELECT min(line) FROM arrived_note GROUP BY {own})"
        raw.only_rows("arrived_note", table, again, f"one row per {column}", "a repeated one", "number each note once")
    raw.sql.execute(
        f"""CREATE OR REPLACE TABLE note_number AS SELECT min(line) AS line, {number} AS note_id FROM arrived_note
        GROUP BY note_id"""
    )
    return raw.count("SELECT count(*) FROM arrived_note") - raw.count("SELECT count(*) FROM note_number")


def _matched(raw: MappedTables, name: str, column: str, listed: tuple[Matcher, ...]) -> None:
    """Make a table of the categories that are meant; case does not count."""
    rows = raw.sql.execute(f"SELECT DISTINCT {column} FROM arrived_note WHERE {column} IS NOT NULL").fetchall()
    found = {
        str(row[0]) for matcher in listed for row in rows if Matcher(matcher.text.lower()).found([str(row[0]).lower()])
    }
    raw.sql.register("given", pa.table({column: pa.array(sorted(found), pa.string())}))
    raw.sql.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM given")
    raw.sql.unregister("given")


def _set_aside(
    raw: MappedTables, loaded: str, table: str, spec: EventsSpec, roles: tuple[str, ...], *, needed: bool
) -> None:
    strangers = raw.count(f"SELECT count(*) FROM {loaded} WHERE stranger")
    refuse_strangers(raw, table, spec, roles, "true", strangers)
    far = f"abs(hour) > {LONGEST_HOURS!r}"
    wrong = raw.count(f"SELECT count(*) FROM {loaded} WHERE NOT stranger AND coalesce(bad OR {far}, bad)")
    if wrong:
        column = spec.source.columns["time"]
        refuse_times(raw, table, spec, roles, "true", f"{column} within a year of the stay", wrong, needed=needed)
    raw.sql.execute(f"DELETE FROM {loaded} WHERE stranger OR coalesce(bad OR {far}, bad)")


def load_evidence(raw: MappedTables, mapping: Mapping) -> None:
    """Build table `evidence`.

    Raises
    ------
    SourceError
        When a kind is not known, a time is none, or a row is of a stay that is not there.
    """
    raw.sql.execute(
        "CREATE OR REPLACE TABLE evidence (stay_id BIGINT, hour DOUBLE, kind VARCHAR, name VARCHAR, value DOUBLE, "
        "unit VARCHAR, text VARCHAR, source VARCHAR)"
    )
    kinds = ", ".join(quoted(kind) for kind in EVIDENCE_KINDS)
    for place, spec in enumerate(mapping.evidence, start=1):
        table = f"evidence {place}"
        raw.create(
            "arrived_evidence",
            f"""SELECT s.stay_id, {hour_sql(raw, table, spec)} AS hour, lower(e.kind) AS kind, e.name,
                {raw.number(table, "e.value")} AS value, e.unit,
                coalesce(e.text, CASE WHEN {raw.number(table, "e.value")} IS NULL THEN e.value END) AS text,
                ({malformed(raw, table, spec)}) AS bad, {stranger(raw, spec)} AS stranger
            FROM ({raw.rows(table, EVIDENCE_ROLES)}) e LEFT JOIN stay s ON {of_stay(raw, table, spec)}
            WHERE e.name IS NOT NULL""",
            table,
        )
        _set_aside(raw, "arrived_evidence", table, spec, EVIDENCE_ROLES, needed=False)
        other = f"coalesce(kind NOT IN ({kinds}), true)"
        raw.refuse_rows(
            table,
            EVIDENCE_ROLES,
            f"e.name IS NOT NULL AND coalesce(lower(e.kind) NOT IN ({kinds}), true)",
            f"kinds of {', '.join(EVIDENCE_KINDS)}",
            "another",
            raw.count(f"SELECT count(*) FROM arrived_evidence WHERE stay_id IS NOT NULL AND {other}"),
            "rename them",
        )
        name = quoted(spec.source.file or spec.source.where)
        raw.sql.execute(
            f"""INSERT INTO evidence SELECT stay_id, hour, kind, name, value, unit, text, {name}
            FROM arrived_evidence WHERE stay_id IS NOT NULL AND NOT {other}"""
        )
        raw.sql.execute("DROP TABLE arrived_evidence")
