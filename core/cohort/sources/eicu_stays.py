"""Unit stays of eICU: who, when, in which order, in which split."""

import pyarrow as pa

from core.cohort.attrition import Attrition
from core.cohort.sources.eicu_tables import RawFolder
from core.cohort.store import is_test_patient, stable_id
from core.errors import ConfigError, SourceError

ADULT_YEARS = 18
"""Youngest age kept, years; as the published phenotyping cohorts."""
AGE_CAP = 90
"""Age given to "> 89", years."""

_TEXT = (
    "uniquepid",
    "gender",
    "age",
    "ethnicity",
    "apacheadmissiondx",
)
_NUMBERS = (
    "patientunitstayid",
    "patienthealthsystemstayid",
    "hospitalid",
    "admissionheight",
    "admissionweight",
    "hospitaladmitoffset",
    "hospitaldischargeyear",
    "unitvisitnumber",
    "unitdischargeoffset",
)


UNIT_STAYS = ("any", "first")
"""Which unit stays of a hospital stay are kept."""


def load_stays(raw: RawFolder, unit_stays: str = "any") -> Attrition:
    """Load `patient` into table `stay`, one row per kept unit stay, with split and patient id; `known` names them all.

    Adults and stays whose age is not recorded are kept; so are stays longer than no time at all.

    Parameters
    ----------
    unit_stays
        ``any``, or ``first``: the first unit stay of its hospital stay alone, by `unitvisitnumber`.

    Raises
    ------
    SourceError
        On a missing column, text where a number belongs, a repeated or missing stay or patient key, a stay that ends
        before it begins, or two patient keys with one 63-bit id.
    """
    if unit_stays not in UNIT_STAYS:
        raise ConfigError(f"unit stays as {' or '.join(UNIT_STAYS)}", repr(unit_stays), "name one of them")
    count = raw.load("patient", _TEXT, _NUMBERS, rows=True)
    file = raw.file("patient")
    raw.sql.execute(
        "CREATE OR REPLACE TABLE listed AS SELECT DISTINCT patientunitstayid::BIGINT AS stay_id FROM patient"
    )
    for column in ("patientunitstayid", "uniquepid", "unitdischargeoffset"):
        raw.only("patient", f"{column} IS NOT NULL", f"{column} in every row of {file}", "an empty cell")
    raw.unique("patient", "patientunitstayid")
    raw.only(
        "patient",
        "age IS NULL OR regexp_full_match(age, '> ?89|[0-9]+')",
        f"age in {file} as whole years or “> 89”",
        "other text",
        "correct or empty those cells",
    )
    raw.only(
        "patient",
        "unitdischargeoffset >= 0",
        f"stays in {file} that end after they begin",
        "unitdischargeoffset below 0",
    )
    raw.sql.execute(
        "CREATE OR REPLACE TABLE person (uniquepid VARCHAR, patient_id BIGINT, test BOOLEAN)",
    )
    keys = [str(row[0]) for row in raw.sql.execute("SELECT DISTINCT uniquepid FROM patient ORDER BY 1").fetchall()]
    ids = [stable_id(key) for key in keys]
    if len(set(ids)) != len(ids):
        raise SourceError(
            "one 63-bit id per uniquepid", f"{len(ids) - len(set(ids))} collisions", "report them: ids must differ"
        )
    people = pa.table({"uniquepid": keys, "patient_id": ids, "test": [is_test_patient(key) for key in keys]})
    raw.sql.register("people", people)
    raw.sql.execute("INSERT INTO person SELECT * FROM people")
    raw.sql.unregister("people")
    raw.sql.execute(
        f"""CREATE OR REPLACE TABLE stay AS
        SELECT patientunitstayid::BIGINT AS stay_id, patient_id, uniquepid AS patient_key,
            patienthealthsystemstayid::BIGINT AS hospital_stay_id, hospitalid::BIGINT AS hospital_id,
            unitdischargeoffset / 60.0 AS los_hours,
            CASE WHEN starts_with(age, '>') THEN {AGE_CAP} WHEN age IS NOT NULL
                THEN least(TRY_CAST(age AS DOUBLE), {AGE_CAP}) END AS age,
            gender AS sex, ethnicity, CASE WHEN test THEN 'test' ELSE 'train' END AS split,
            hospitaldischargeyear AS year, unitvisitnumber AS unit_visit, hospitaladmitoffset,
            admissionheight, admissionweight, apacheadmissiondx
        FROM patient JOIN person USING (uniquepid)"""
    )
    log = Attrition("unit stays in patient", count)
    if raw.lenient:
        log.keep("readable, each once", int(raw.one("SELECT count(*) FROM stay")[0]))
    raw.sql.execute(f"DELETE FROM stay WHERE age < {ADULT_YEARS}")
    log.keep(f"age {ADULT_YEARS} or over, or not recorded", int(raw.one("SELECT count(*) FROM stay")[0]))
    raw.sql.execute("DELETE FROM stay WHERE los_hours <= 0")
    log.keep("length of stay above zero", int(raw.one("SELECT count(*) FROM stay")[0]))
    if unit_stays == "first":
        raw.sql.execute("DELETE FROM stay WHERE unit_visit IS DISTINCT FROM 1")
        log.keep("the first unit stay of its hospital stay", int(raw.one("SELECT count(*) FROM stay")[0]))
    raw.sql.execute(
        "CREATE OR REPLACE TABLE known AS SELECT stay_id, stay.stay_id IS NOT NULL AS kept "
        "FROM listed LEFT JOIN stay USING (stay_id) WHERE listed.stay_id IS NOT NULL"
    )
    return log


def order_visits(raw: RawFolder) -> dict[str, int]:
    """Add `visit` and `visit_order` to table `stay` as far as the tables can tell.

    Unit stays of one hospital stay are ordered by `unitvisitnumber`. Hospital stays of one patient are ordered by
    the year of discharge, and within a year by age in years where both are known and below the cap; there is no other
    date. A stay is *exact* when its place among all of the patient's stays follows from these, *within_admission*
    when only its place among the unit stays of its hospital stay does, else *unknown* (the number is then arbitrary,
    by hospital stay id).

    Returns
    -------
    dict
        Number of patients with several stays, and of those whose order is wholly known.
    """
    raw.sql.execute(
        f"""CREATE OR REPLACE TABLE ordered AS
        WITH admission AS (
            SELECT patient_id, coalesce(hospital_stay_id, -stay_id) AS admission, min(year) AS year,
                min(CASE WHEN age < {AGE_CAP} THEN age END) AS age, count(*) AS units,
                count(unit_visit) = count(*) AND count(DISTINCT unit_visit) = count(*) AS units_known
            FROM stay GROUP BY ALL
        ), pairs AS (
            SELECT a.patient_id, a.admission,
                bool_and(coalesce(a.year <> b.year, false)
                    OR coalesce(a.year = b.year AND a.age <> b.age, false)) AS told_apart
            FROM admission a JOIN admission b ON a.patient_id = b.patient_id AND a.admission <> b.admission
            GROUP BY ALL
        )
        SELECT s.stay_id,
            row_number() OVER (PARTITION BY s.patient_id
                ORDER BY a.year NULLS LAST, a.age NULLS LAST, a.admission, s.unit_visit NULLS LAST, s.stay_id)::INTEGER
                AS visit,
            CASE WHEN coalesce(p.told_apart, true) AND (a.units = 1 OR a.units_known) THEN 'exact'
                WHEN a.units > 1 AND a.units_known THEN 'within_admission' ELSE 'unknown' END AS visit_order
        FROM stay s
        JOIN admission a ON a.patient_id = s.patient_id AND a.admission = coalesce(s.hospital_stay_id, -s.stay_id)
        LEFT JOIN pairs p ON p.patient_id = a.patient_id AND p.admission = a.admission"""
    )
    several, known = raw.one(
        """SELECT count(*) FILTER (n > 1), count(*) FILTER (n > 1 AND exact) FROM (
            SELECT count(*) AS n, bool_and(visit_order = 'exact') AS exact
            FROM stay JOIN ordered USING (stay_id) GROUP BY patient_id)"""
    )
    return {"patients_with_several_stays": int(several), "of_them_in_known_order": int(known)}


def stays_table(raw: RawFolder) -> pa.Table:
    """Return the cohort's stays; `has_series` and `has_note` must stand in table `modality` (stay_id, both flags)."""
    return raw.sql.sql(
        """SELECT stay_id, patient_id, patient_key, hospital_stay_id, hospital_id, visit, visit_order,
            NULL::TIMESTAMP AS admitted_at, los_hours, age::FLOAT AS age, sex, ethnicity, split,
            coalesce(has_series, false) AS has_series, coalesce(has_note, false) AS has_note
        FROM stay JOIN ordered USING (stay_id) LEFT JOIN modality USING (stay_id) ORDER BY stay_id"""
    ).to_arrow_table()
