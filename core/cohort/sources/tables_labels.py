"""Observed labels of a hospital's own tables: from diagnosis codes, or stated one by one.

A stay without any code, or without any stated label, is not recorded: it has no rows.
"""

from typing import Any

import pyarrow as pa

from core.cohort.mapping import LabelsSpec, Mapping
from core.cohort.phenotypes import code_system
from core.cohort.sources.mimic_tables import quoted
from core.cohort.sources.tables_files import MappedTables
from core.cohort.sources.tables_stays import of_stay, stranger

_KEYS = ("stay", "hospital_stay", "patient")
CODE_ROLES = (*_KEYS, "time", "code", "system", "priority")
VALUE_ROLES = (*_KEYS, "time", "label", "value")
_PRIMARY = ("1", "1.0", "primary", "main", "principal", "true")


def load_labels(raw: MappedTables, mapping: Mapping) -> dict[str, Any]:
    """Build table `label` from every source of the mapping; return how each fell, by its name.

    Raises
    ------
    SourceError
        When a code's system, a label or a value is not known, a label is stated twice, or rows are of other stays.
    """
    raw.sql.execute(
        "CREATE OR REPLACE TABLE label (stay_id BIGINT, label VARCHAR, source VARCHAR, observed UTINYINT, "
        "code VARCHAR, hour FLOAT, priority VARCHAR, active_at_discharge BOOLEAN)"
    )
    raw.lookup("label_key", {"label": mapping.label_set.keys})
    read = {"codes": _codes, "values": _values}
    return {
        spec.name: read[spec.form](raw, mapping, f"labels {place}", spec)
        for place, spec in enumerate(mapping.labels, start=1)
    }


def _strangers(raw: MappedTables, table: str, spec: LabelsSpec, roles: tuple[str, ...]) -> None:
    key = spec.source.key
    condition = stranger(raw, spec)
    if condition == "false":
        return
    bad = raw.count(f"SELECT count(*) FROM ({raw.rows(table, roles)}) e WHERE {condition}")
    raw.refuse_rows(
        table,
        roles,
        condition,
        f"{spec.source.columns[key]} of a stay in {raw.file('stays')}",
        "another or none",
        bad,
        f'mend them, write other_stays = "ignore" in {spec.source.where}',
    )


def _codes(raw: MappedTables, mapping: Mapping, table: str, spec: LabelsSpec) -> dict[str, int]:
    _strangers(raw, table, spec, CODE_ROLES)
    stated = quoted(spec.system) if spec.system in ("9", "10") else "regexp_extract(e.system, '(10|9)', 1)"
    hour = f"epoch({raw.time(table, 'e.time')} - s.admitted) / 3600.0"
    query = f"""SELECT s.stay_id, e.code, TRY_CAST({stated} AS INTEGER) AS system,
            ({hour})::FLOAT AS hour, lower(e.priority) IN ({", ".join(map(quoted, _PRIMARY))}) AS first
        FROM ({raw.rows(table, CODE_ROLES)}) e JOIN stay s ON {of_stay(raw, table, spec, wide=True)}
        WHERE e.code IS NOT NULL"""
    raw.create("coded", query, table)
    if spec.system == "form":
        raw.sql.execute("UPDATE coded SET system = NULL")
    elif "system" in spec.source.columns:
        raw.refuse_rows(
            table,
            CODE_ROLES,
            "e.code IS NOT NULL AND coalesce(regexp_extract(e.system, '(10|9)', 1), '') = ''",
            f"ICD-9 or ICD-10 in column {spec.source.columns['system']}",
            "another system or none",
            raw.count("SELECT count(*) FROM coded WHERE system IS NULL"),
            'mend them, or write system_is = "10" for the whole file',
        )
    found = raw.sql.execute("SELECT DISTINCT code, system FROM coded ORDER BY ALL").fetchall()
    codes = [(str(code), code_system(str(code)) if spec.system == "form" else system) for code, system in found]
    pairs = mapping.label_set.labels_of(codes)
    columns = {
        "code": pa.array([pair[0] for pair in pairs], pa.string()),
        "label": pa.array([pair[2] for pair in pairs], pa.string()),
        "system": pa.array([None if spec.system == "form" else pair[1] for pair in pairs], pa.int32()),
    }
    raw.sql.register("given", pa.table(columns))
    raw.sql.execute("CREATE OR REPLACE TABLE code_label AS SELECT * FROM given")
    raw.sql.unregister("given")
    same = "c.code = l.code AND c.system IS NOT DISTINCT FROM l.system"
    raw.sql.execute(
        f"""INSERT INTO label
        WITH hit AS (
            SELECT stay_id, label, string_agg(DISTINCT c.code, ', ' ORDER BY c.code) AS code, min(hour) AS hour,
                bool_or(coalesce(first, false)) AS first
            FROM coded c JOIN code_label l ON {same} GROUP BY ALL
        )
        SELECT stay_id, label, {quoted(spec.name)}, (hit.label IS NOT NULL)::UTINYINT, code, hour,
            CASE WHEN hit.first THEN 'Primary' WHEN hit.label IS NOT NULL AND {"priority" in spec.source.columns}
                THEN 'Other' END, NULL
        FROM (SELECT DISTINCT stay_id FROM coded) CROSS JOIN label_key LEFT JOIN hit USING (stay_id, label)"""
    )
    return {
        "codes_of_kept_stays": raw.count("SELECT count(*) FROM coded"),
        "codes_in_no_label": raw.count(f"SELECT count(*) FROM coded c ANTI JOIN code_label l ON {same}"),
        "coded_stays": raw.count("SELECT count(DISTINCT stay_id) FROM coded"),
    }


def _values(raw: MappedTables, mapping: Mapping, table: str, spec: LabelsSpec) -> dict[str, int]:
    _strangers(raw, table, spec, VALUE_ROLES)
    names, label_set = spec.source.columns, mapping.label_set
    raw.lookup("label_name", {"name": list(label_set.names), "key": list(label_set.names.values())})
    raw.lookup("answer", {"text": list(spec.values), "answer": [int(value) for value in spec.values.values()]})
    hour = f"epoch({raw.time(table, 'e.time')} - s.admitted) / 3600.0"
    rows = raw.create(
        "stated",
        f"""SELECT row_number() OVER (ORDER BY place) AS line, place, s.stay_id, n.key AS label, e.value, a.answer,
            ({hour})::FLOAT AS hour
        FROM (SELECT row_number() OVER () AS place, * FROM ({raw.rows(table, VALUE_ROLES)})) e
        LEFT JOIN stay s ON {of_stay(raw, table, spec, wide=True)}
        LEFT JOIN label_name n ON n.name = lower(e.label) LEFT JOIN answer a ON a.text = lower(e.value)
        ORDER BY place""",
        table,
        ordered=True,
    )
    bad_label = "coalesce(lower(e.label) NOT IN (SELECT name FROM label_name), true)"
    raw.refuse_rows(
        table,
        VALUE_ROLES,
        bad_label,
        f"labels of the cohort's label set as {names['label']}",
        "others",
        raw.count("SELECT count(*) FROM stated WHERE label IS NULL"),
        "add them to [[label_set]], or rename them",
    )
    raw.refuse_rows(
        table,
        VALUE_ROLES,
        "e.value IS NOT NULL AND lower(e.value) NOT IN (SELECT text FROM answer)",
        f"0, 1 or nothing as {names['value']}",
        "other values",
        raw.count("SELECT count(*) FROM stated WHERE value IS NOT NULL AND answer IS NULL"),
        "recode them, or write values in the mapping",
    )
    raw.sql.execute(
        "DELETE FROM stated WHERE label IS NULL OR stay_id IS NULL OR (value IS NOT NULL AND answer IS NULL)"
    )
    again = "line NOT IN (SELECT min(line) FROM stated GROUP BY stay_id, label)"
    repeated = raw.count(f"SELECT count(*) FROM stated WHERE {again}")
    if repeated:
        line = raw.count(f"SELECT min(place) FROM stated WHERE {again}")
        at = "" if raw.lenient else raw.place(table, line)
        what = f"one row per stay and label in {raw.file(table)}"
        raw.refuse(what, f"{repeated} rows too many{at}", "remove the repeated rows", rows=repeated)
        raw.sql.execute(f"DELETE FROM stated WHERE {again}")
    raw.sql.execute(
        f"INSERT INTO label SELECT stay_id, label, {quoted(spec.name)}, answer::UTINYINT, NULL, hour, NULL, NULL "
        "FROM stated"
    )
    if spec.unlisted == "absent":
        raw.sql.execute(
            f"""INSERT INTO label SELECT stay_id, label, {quoted(spec.name)}, 0, NULL, NULL, NULL, NULL
            FROM (SELECT DISTINCT stay_id FROM stated) CROSS JOIN label_key ANTI JOIN stated USING (stay_id, label)"""
        )
    stays = raw.count("SELECT count(DISTINCT stay_id) FROM stated")
    return {"label_rows": rows, "stated_stays": stays}
