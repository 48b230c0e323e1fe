"""A MIMIC-III folder in published form with as many charted rows as asked for; every patient in it is invented.

DuckDB draws and writes the rows on all cores, in any order, as the published file has none either. Of 100 charted rows
45 are of the 17 variables, which is more than the published file has: the reader has more to keep, not less.
"""

import os
import shutil
from pathlib import Path

import duckdb

from core.errors import RunError

ROWS_PER_STAY = 5400
"""Charted rows of a stay, a minute apart; the published file has 330,712,483 rows of 61,532 stays."""
LABS_PER_STAY = 450
_LAB_MINUTES = 11
"""Minutes between two laboratory results of a stay."""
_DRAWS = 32
"""Different values of an item."""
_STORED_AFTER = 20
"""Minutes between charting and storing."""
BYTES_PER_ROW = {False: 108, True: 22}
"""Of the file, plain and gzipped, with what belongs to it."""
TEMPORARY_BYTES_PER_ROW = 40
"""Of DuckDB's temporary files, most while it sorts, and of the cohort, for each charted row."""

_CHARTED: tuple[tuple[int, str, float, float, str | None, int], ...] = (
    (211, "BPM", 88, 14, None, 5),
    (220045, "bpm", 88, 14, None, 4),
    (51, "mmHg", 120, 16, None, 4),
    (220179, "mmHg", 120, 16, None, 3),
    (8368, "mmHg", 60, 9, None, 4),
    (220180, "mmHg", 60, 9, None, 3),
    (52, "mmHg", 78, 10, None, 4),
    (618, "BPM", 18, 3, None, 4),
    (646, "%", 96, 2, None, 5),
    (678, "Deg. F", 98.6, 0.8, None, 2),
    (190, "", 0.5, 0.1, None, 1),
    (807, "mg/dL", 140, 30, None, 1),
    (763, "kg", 80, 10, None, 1),
    (184, "", 4, 0, "4 Spontaneously", 1),
    (454, "", 6, 0, "6 Obeys Commands", 1),
    (723, "", 5, 0, "5 Oriented", 1),
    (198, "points", 15, 0, None, 1),
    (742, "", 1, 0, None, 14),
    (1125, "", 0, 0, "Done", 14),
    (5815, "", 120, 5, None, 13),
    (128, "", 0, 0, "No", 14),
)
"""Item, unit, middle, spread, charted text, how many of 100 rows."""
_LABS: tuple[tuple[int, str, float, float], ...] = (
    (50912, "mg/dL", 1.3, 0.5),
    (50931, "mg/dL", 140, 40),
    (50971, "mEq/L", 4.1, 0.6),
    (50983, "mEq/L", 139, 5),
    (51301, "K/uL", 10, 4),
    (50820, "units", 7.38, 0.06),
)


def bytes_needed(rows: int, packed: bool) -> int:
    """Disk that the folder, the reader's temporary file and the cohort take together, about."""
    return rows * (BYTES_PER_ROW[packed] + TEMPORARY_BYTES_PER_ROW) + (1 << 28)


def check_room(folder: Path, rows: int, packed: bool) -> None:
    """Refuse a folder whose disk is too small.

    Raises
    ------
    RunError
        When less is free than `bytes_needed`.
    """
    free, needed = shutil.disk_usage(folder).free, bytes_needed(rows, packed)
    if free < needed:
        raise RunError(
            f"{needed / 1e9:.0f} GB free in the scratch folder for {rows:,} rows",
            f"{free / 1e9:.0f} GB",
            "name another with --scratch, ask for fewer --rows, or write them gzipped (--packed)",
        )


def invent(folder: Path, rows: int, *, packed: bool = False, seed: int = 0) -> int:
    """Write the folder; return its number of ICU stays.

    Parameters
    ----------
    rows
        Of CHARTEVENTS.
    packed
        Gzip CHARTEVENTS and LABEVENTS as published: smaller, and read on one core.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stays = max(10, rows // ROWS_PER_STAY)
    with duckdb.connect(":memory:") as sql:
        sql.execute("SET memory_limit = '1GB'")
        sql.execute(f"SET threads = {os.cpu_count() or 1}")
        sql.execute("SET preserve_insertion_order = false")
        _stays(sql, folder, stays)
        each = -(-rows // stays)
        _words(sql, max(each + _STORED_AFTER, LABS_PER_STAY * _LAB_MINUTES), seed)
        _write(
            sql,
            folder / "CHARTEVENTS.csv",
            packed,
            f"""SELECT 788 + r AS row_id, 3 + r // {each} AS subject_id, 100001 + r // {each} AS hadm_id,
                200001 + r // {each} AS icustay_id, itemid, c.text AS charttime, s.text AS storetime,
                14000 + r % 4000 AS cgid, value, valuenum, unit AS valueuom, NULL AS warning, NULL AS error,
                NULL AS resultstatus, 'NotStopd' AS stopped
            FROM range({rows}) t(r) JOIN charted ON charted.place = hash(r * 31 + {seed}) % {100 * _DRAWS}
            JOIN minute c ON c.number = r % {each} JOIN minute s ON s.number = r % {each} + {_STORED_AFTER}""",
        )
        _write(
            sql,
            folder / "LABEVENTS.csv",
            packed,
            f"""SELECT r AS row_id, 3 + r // {LABS_PER_STAY} AS subject_id, 100001 + r // {LABS_PER_STAY} AS hadm_id,
                itemid, m.text AS charttime, value, valuenum, unit AS valueuom, NULL AS flag
            FROM range({stays * LABS_PER_STAY}) t(r)
            JOIN lab ON lab.place = hash(r * 17 + {seed}) % {len(_LABS) * _DRAWS}
            JOIN minute m ON m.number = (r % {LABS_PER_STAY}) * {_LAB_MINUTES}""",
        )
    return stays


def _minute(number: str) -> str:
    return f"TIMESTAMP '2130-01-01 00:00:00' + to_minutes(({number})::BIGINT)"


def _write(sql: duckdb.DuckDBPyConnection, path: Path, packed: bool, query: str) -> None:
    more = ", COMPRESSION gzip" if packed else ""
    name = str(path) + (".gz" if packed else "")
    sql.execute(f"COPY ({query}) TO '{name.replace(chr(39), chr(39) * 2)}' (HEADER, DELIMITER ','{more})")


def _words(sql: duckdb.DuckDBPyConnection, minutes: int, seed: int) -> None:
    """Make the texts of minutes and values once, so that a row only points to them."""
    sql.execute(
        f"CREATE TABLE minute AS SELECT m AS number, ({_minute('m')})::VARCHAR AS text FROM range({minutes + 1}) t(m)"
    )
    items = [(item, unit, middle, spread, text) for item, unit, middle, spread, text, n in _CHARTED for _ in range(n)]
    for name, digits, rows in (
        ("charted", 1, items),
        ("lab", 2, [(item, unit, middle, spread, None) for item, unit, middle, spread in _LABS]),
    ):
        sql.execute(
            "CREATE OR REPLACE TABLE kind (i BIGINT, itemid INTEGER, unit VARCHAR, middle DOUBLE, spread DOUBLE, "
            "text VARCHAR)"
        )
        sql.executemany("INSERT INTO kind VALUES (?, ?, ?, ?, ?, ?)", [(i, *row) for i, row in enumerate(rows)])
        number = (
            f"round(middle + spread * ((hash(i * {_DRAWS} + d + {seed}) % 2001)::DOUBLE / 1000 - 1), {digits})::VARCHAR"
        )
        sql.execute(
            f"CREATE TABLE {name} AS SELECT i * {_DRAWS} + d AS place, itemid, nullif(unit, '') AS unit, "
            f"coalesce(text, {number}) AS value, CASE WHEN middle <> 0 THEN {number} END AS valuenum "
            f"FROM kind, range({_DRAWS}) t(d)"
        )


def _stays(sql: duckdb.DuckDBPyConnection, folder: Path, stays: int) -> None:
    """Write the short tables: a patient, an admission and a stay each, with two codes of four."""
    tables = {
        "PATIENTS": "SELECT r AS row_id, 3 + r AS subject_id, ['F', 'M'][1 + r % 2] AS gender, "
        "TIMESTAMP '2060-01-01' AS dob, NULL AS dod, NULL AS dod_hosp, NULL AS dod_ssn, 0 AS expire_flag",
        "ADMISSIONS": "SELECT r AS row_id, 3 + r AS subject_id, 100001 + r AS hadm_id, "
        "TIMESTAMP '2129-12-31 20:00:00' AS admittime, TIMESTAMP '2130-01-20' AS dischtime, NULL AS deathtime, "
        "'EMERGENCY' AS admission_type, 'WHITE' AS ethnicity, 'SEPSIS' AS diagnosis",
        "ICUSTAYS": "SELECT r AS row_id, 3 + r AS subject_id, 100001 + r AS hadm_id, 200001 + r AS icustay_id, "
        "'metavision' AS dbsource, 'MICU' AS first_careunit, 'MICU' AS last_careunit, 52 AS first_wardid, "
        f"52 AS last_wardid, TIMESTAMP '2130-01-01 00:00:00' AS intime, {_minute(str(ROWS_PER_STAY + 60))} AS outtime, "
        "3.79 AS los",
    }
    for name, query in tables.items():
        _write(sql, folder / f"{name}.csv", False, f"{query} FROM range({stays}) t(r)")
    codes = "['5849', '4019', '99592', '486']"
    _write(
        sql,
        folder / "DIAGNOSES_ICD.csv",
        False,
        "SELECT r AS row_id, 3 + r // 2 AS subject_id, 100001 + r // 2 AS hadm_id, 1 + r % 2 AS seq_num, "
        f"{codes}[1 + (hash(r) % 4)::INTEGER] AS icd9_code FROM range({2 * stays}) t(r)",
    )
