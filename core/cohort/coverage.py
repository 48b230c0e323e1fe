"""What ICD-10 codes lose: coded diagnoses that fall in no phenotype though their ICD-9 counterpart does.

A phenotype's ICD-9 list is complete by its origin (CCS), its ICD-10 list is somebody's translation. Where a code was
forgotten in it, stays coded since the change of systems lack a label that they would have had before. The General
Equivalence Mappings give each ICD-10 code its ICD-9 counterparts; without them the codes of no phenotype are counted by
chapter and category, for a reader who knows codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv

from core.cohort.coverage_codes import chapter_of, read_gems
from core.cohort.labelset import PHENOTYPES
from core.cohort.phenotypes import bare, code_system, phenotypes_of
from core.cohort.sources import eicu_labels, eicu_stays, mimic_labels
from core.cohort.sources.eicu_tables import RawFolder
from core.cohort.sources.mimic_stays import MIMIC4
from core.cohort.sources.mimic_stays import load_stays as load_mimic_stays
from core.cohort.sources.mimic_tables import MimicTables
from core.errors import ConfigError, SourceError
from core.fileio import replacing

MIN_CELL = 10
"""Fewest patients behind a count that is shown, when nothing else is asked for; as `miracl cohort describe`."""
_LABELS = pa.schema([("code", pa.string()), ("label", pa.string())])


@dataclass(frozen=True)
class Coverage:
    """What the report holds.

    Parameters
    ----------
    totals
        stays (of the cohort's criteria), stays_icd10, codes (distinct ICD-10), codes_in_none, stays_in_none (with such
        a code), unmapped (codes in no phenotype that the mappings don't know; None without them).
    labels
        With mappings: label, name, codes, stays, patients, without (stays that no other code gives the label).
    codes
        With mappings: label, code, counterparts, kind, falls_in, stays, patients, without. Without: chapter, category,
        codes, stays, patients. Most stays first.
    mapped
        Whether mappings were given.
    """

    totals: dict[str, int | None]
    labels: pa.Table
    codes: pa.Table
    mapped: bool


def coverage(source: Path, gems: Path | None = None, *, lenient: bool = False) -> Coverage:
    """Count a source's ICD-10 codes that fall in no phenotype, by label where the mappings tell which they miss.

    Parameters
    ----------
    source
        Folder of MIMIC-IV (with `hosp/` and `icu/`) or eICU.
    gems
        General Equivalence Mappings from ICD-10 to ICD-9, such as ``2018_I10gem.txt``: code, target, flags.
    lenient
        Set aside what can be set aside of the source, instead of refusing it.

    Notes
    -----
    Counted are stays that meet the cohort's criteria on admissions and ages; those of which nothing was measured are
    still among them.

    Raises
    ------
    SourceError
        When the source or the mappings are not what they should be, or no diagnosis is coded in ICD-10.
    """
    mappings = None if gems is None else read_gems(gems)
    raw = _opened(source, lenient)
    try:
        _load_codes(raw)
        return _counted(raw.sql, mappings)
    finally:
        raw.close()


def _opened(source: Path, lenient: bool) -> MimicTables:
    if not source.is_dir():
        raise SourceError("a folder of MIMIC-IV or eICU", "no such folder", "name the folder of the download")
    if any(source.glob("patient.csv*")):
        return RawFolder(source, lenient=lenient)
    raw = MimicTables(source, "MIMIC-IV", parts=("hosp", "icu"), lenient=lenient)
    if raw.has("diagnoses_icd") and "icd_version" in raw.header("diagnoses_icd"):
        return raw
    raw.close()
    raise SourceError(
        "a source that is coded in ICD-10", "neither eICU's patient nor MIMIC-IV's icd_version", "name such a folder"
    )


def _load_codes(raw: MimicTables) -> None:
    """Tables `person` (stay_id, patient), `ten` (stay_id, code: each ICD-10 code of a kept stay) and `has` (labels)."""
    if isinstance(raw, RawFolder):
        eicu_stays.load_stays(raw)
        eicu_labels.load_labels(raw)
        found = [str(row[0]) for row in raw.sql.execute("SELECT DISTINCT code FROM coded").fetchall()]
        ten = [(code, bare(code)) for code in found if code_system(code.upper()) == 10]
        raw.lookup("spelt", {"code": [code for code, _ in ten] or [""], "plain": [plain for _, plain in ten] or [""]})
        raw.sql.execute(
            "CREATE OR REPLACE TABLE ten AS SELECT DISTINCT stay_id, plain AS code FROM coded "
            "JOIN spelt USING (code) SEMI JOIN stay USING (stay_id)"
        )
    else:
        load_mimic_stays(raw, MIMIC4)
        mimic_labels.load_labels(raw, "mimic4")
        raw.sql.execute("CREATE OR REPLACE TABLE ten AS SELECT DISTINCT stay_id, code FROM coded WHERE system = 10")
    raw.sql.execute("CREATE OR REPLACE TABLE has AS SELECT stay_id, label FROM label WHERE observed = 1")
    raw.sql.execute(f"CREATE OR REPLACE TABLE person AS SELECT stay_id, {_patient(raw)} AS patient FROM stay")
    if not raw.count("SELECT count(*) FROM ten"):
        raise SourceError("diagnoses coded in ICD-10", "none among the stays", "there is nothing to cover")


def _patient(raw: MimicTables) -> str:
    columns = {str(row[0]) for row in raw.sql.execute("DESCRIBE stay").fetchall()}
    return "patient_id" if "patient_id" in columns else "patient_key"


def _labels_of(codes: Sequence[str], system: int) -> pa.Table:
    pairs = [(code, key) for code in codes for key in phenotypes_of(code, system)]
    return pa.table({"code": [code for code, _ in pairs], "label": [key for _, key in pairs]}, _LABELS)


def _counted(sql: duckdb.DuckDBPyConnection, mappings: pa.Table | None) -> Coverage:
    codes = [str(row[0]) for row in sql.execute("SELECT DISTINCT code FROM ten ORDER BY 1").fetchall()]
    sql.register("in_ten", _labels_of(codes, 10))
    sql.execute("CREATE OR REPLACE TABLE none_of AS SELECT * FROM ten ANTI JOIN in_ten USING (code)")
    totals = {
        "stays": _count(sql, "SELECT count(*) FROM stay"),
        "stays_icd10": _count(sql, "SELECT count(DISTINCT stay_id) FROM ten"),
        "codes": len(codes),
        "codes_in_none": _count(sql, "SELECT count(DISTINCT code) FROM none_of"),
        "stays_in_none": _count(sql, "SELECT count(DISTINCT stay_id) FROM none_of"),
        "unmapped": None,
    }
    empty = pa.table({})
    if mappings is None:
        return Coverage(totals, empty, _by_category(sql), False)
    sql.register("gem", mappings)
    totals["unmapped"] = _count(sql, "SELECT count(DISTINCT code) FROM none_of ANTI JOIN gem USING (code)")
    _find_missed(sql)
    return Coverage(totals, _by_label(sql), _by_code(sql), True)


def _count(sql: duckdb.DuckDBPyConnection, query: str) -> int:
    return int(sql.execute(query).fetchall()[0][0])


def _find_missed(sql: duckdb.DuckDBPyConnection) -> None:
    """Table `missed`: (stay, code, label) where a counterpart of the code has the label, and the code has not."""
    targets = [
        str(row[0]) for row in sql.execute("SELECT DISTINCT target FROM gem SEMI JOIN ten USING (code)").fetchall()
    ]
    sql.register("in_nine", _labels_of(targets, 9))
    sql.execute(
        """CREATE OR REPLACE TABLE missed AS
        WITH counterpart AS (
            SELECT gem.code, in_nine.label, string_agg(DISTINCT target, ', ' ORDER BY target) AS counterparts,
                CASE WHEN bool_or(combination) THEN 'combination' WHEN bool_and(approximate) THEN 'approximate'
                    ELSE 'exact' END AS kind
            FROM gem JOIN in_nine ON in_nine.code = gem.target GROUP BY ALL
        ), elsewhere AS (SELECT code, string_agg(label, ', ' ORDER BY label) AS falls_in FROM in_ten GROUP BY code)
        SELECT ten.stay_id, patient, code, label, counterparts, kind, coalesce(falls_in, '') AS falls_in,
            has.label IS NULL AS without
        FROM ten JOIN counterpart USING (code) ANTI JOIN in_ten USING (code, label)
        JOIN person USING (stay_id) LEFT JOIN elsewhere USING (code) LEFT JOIN has USING (stay_id, label)"""
    )


def _by_label(sql: duckdb.DuckDBPyConnection) -> pa.Table:
    sql.register("names", pa.table({"label": [p.key for p in PHENOTYPES], "name": [p.name for p in PHENOTYPES]}))
    table: pa.Table = sql.sql(
        """SELECT label, name, count(DISTINCT code) AS codes, count(DISTINCT stay_id) AS stays,
            count(DISTINCT patient) AS patients, count(DISTINCT stay_id) FILTER (without) AS without,
            count(DISTINCT patient) FILTER (without) AS patients_without
        FROM missed JOIN names USING (label) GROUP BY label, name ORDER BY stays DESC, label"""
    ).to_arrow_table()
    return table


def _by_code(sql: duckdb.DuckDBPyConnection) -> pa.Table:
    table: pa.Table = sql.sql(
        """SELECT label, code, counterparts, kind, falls_in, count(DISTINCT stay_id) AS stays,
            count(DISTINCT patient) AS patients, count(DISTINCT stay_id) FILTER (without) AS without,
            count(DISTINCT patient) FILTER (without) AS patients_without
        FROM missed GROUP BY ALL ORDER BY stays DESC, label, code"""
    ).to_arrow_table()
    return table


def _by_category(sql: duckdb.DuckDBPyConnection) -> pa.Table:
    codes = [str(row[0]) for row in sql.execute("SELECT DISTINCT left(code, 3) FROM none_of ORDER BY 1").fetchall()]
    sql.register(
        "chapters",
        pa.table(
            {"category": codes, "chapter": [chapter_of(code) for code in codes]},
            pa.schema([("category", pa.string()), ("chapter", pa.string())]),
        ),
    )
    table: pa.Table = sql.sql(
        """SELECT chapter, category, count(DISTINCT code) AS codes, count(DISTINCT stay_id) AS stays,
            count(DISTINCT patient) AS patients
        FROM none_of JOIN chapters ON category = left(code, 3) JOIN person USING (stay_id)
        GROUP BY ALL ORDER BY stays DESC, category"""
    ).to_arrow_table()
    return table


def hidden(table: pa.Table, min_cell: int) -> list[dict[str, Any]]:
    """Give a table's rows as they may be shown: a count of stays with fewer patients behind it is "<n".

    Parameters
    ----------
    min_cell
        Fewest patients behind a count that is shown; 1 shows all. A count of none is shown.

    Raises
    ------
    ConfigError
        When it is below 1.
    """
    if min_cell < 1:
        raise ConfigError("a smallest count of 1 or more", str(min_cell), "give such a number, or leave it out")
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        for count, people in (("stays", "patients"), ("without", "patients_without")):
            if 0 < row.get(people, 0) < min_cell:
                row[count] = row[people] = f"<{min_cell}"
        row.pop("patients_without", None)
    return rows


def write_codes(found: Coverage, path: Path, min_cell: int = MIN_CELL) -> None:
    """Write the report's codes as CSV, small counts hidden, aside and renamed."""
    rows = hidden(found.codes, min_cell)
    names = [name for name in found.codes.column_names if name != "patients_without"]
    table = pa.table({name: [str(row[name]) for row in rows] for name in names})
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside:
        pa_csv.write_csv(table, aside, pa_csv.WriteOptions(quoting_style="needed"))
