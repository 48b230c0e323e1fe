"""ICU stays of MIMIC by the benchmark's rules: adults, one unit from start to end, one ICU stay in the admission."""

import csv
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from core.cohort.attrition import Attrition
from core.cohort.sources.mimic_tables import MimicTables
from core.cohort.store import is_test_patient
from core.errors import SourceError

ADULT_YEARS = 18
"""Youngest age kept, years."""
AGE_CAP = 90
"""Age given to everybody of 90 and over, years."""


@dataclass(frozen=True)
class StayNames:
    """What the columns of a MIMIC release are called.

    Parameters
    ----------
    stay
        Key of an ICU stay in `icustays`.
    ethnicity
        Column of `admissions`.
    age
        SQL of the age in years at ICU admission, over `icustays` i and `patients` p.
    patient_numbers, patient_times
        Columns of `patients` that it needs.
    transfer
        Columns of `icustays` that must agree at both ends of a stay.
    """

    stay: str
    ethnicity: str
    age: str
    patient_numbers: tuple[str, ...]
    patient_times: tuple[str, ...]
    transfer: tuple[tuple[str, str], ...]


MIMIC3 = StayNames(
    stay="icustay_id",
    ethnicity="ethnicity",
    age="epoch(i.intime - p.dob) / 86400.0 / 365.0",
    patient_numbers=(),
    patient_times=("dob",),
    transfer=(("first_careunit", "last_careunit"), ("first_wardid", "last_wardid")),
)
MIMIC4 = StayNames(
    stay="stay_id",
    ethnicity="race",
    age="p.anchor_age + year(i.intime) - p.anchor_year",
    patient_numbers=("anchor_age", "anchor_year"),
    patient_times=(),
    transfer=(("first_careunit", "last_careunit"),),
)


def load_stays(raw: MimicTables, names: StayNames) -> Attrition:
    """Load the three tables of stays into table `stay`, one row per kept ICU stay.

    Raises
    ------
    SourceError
        On a missing column, a cell of another type, a repeated or missing key, a stay of an admission or a
        patient that is not there, or one that ends before it begins.
    """
    units = tuple(dict.fromkeys(column for pair in names.transfer for column in pair))
    count = raw.load("icustays", text=units, numbers=("subject_id", "hadm_id", names.stay), times=("intime", "outtime"))
    raw.load(
        "admissions",
        text=(names.ethnicity,),
        optional=(names.ethnicity,),
        numbers=("subject_id", "hadm_id"),
        times=("admittime",),
    )
    raw.load("patients", text=("gender",), numbers=("subject_id", *names.patient_numbers), times=names.patient_times)
    _check(raw, names)
    transferred = " AND ".join(f"i.{first} IS NOT DISTINCT FROM i.{last}" for first, last in names.transfer)
    raw.sql.execute(
        f"""CREATE OR REPLACE TABLE stay AS
        SELECT i.{names.stay} AS stay_id, i.subject_id AS patient_id, i.hadm_id AS hospital_stay_id, i.intime,
            i.outtime, epoch(i.outtime - i.intime) / 3600.0 AS los_hours, {names.age} AS years, p.gender AS sex,
            a.{names.ethnicity} AS ethnicity, a.admittime, {transferred} AS stayed
        FROM icustays i JOIN admissions a USING (hadm_id) JOIN patients p ON p.subject_id = i.subject_id"""
    )
    log = Attrition("ICU stays in the source", count)
    log.keep("readable, of a known admission and patient", _left(raw))
    raw.sql.execute("DELETE FROM stay WHERE NOT stayed")
    log.keep("one care unit from beginning to end", _left(raw))
    raw.sql.execute(
        "DELETE FROM stay WHERE hospital_stay_id IN (SELECT hospital_stay_id FROM stay GROUP BY 1 HAVING count(*) > 1)"
    )
    log.keep("the only such ICU stay of its admission", _left(raw))
    raw.sql.execute("UPDATE stay SET years = 90 WHERE years < 0")
    raw.sql.execute(f"DELETE FROM stay WHERE coalesce(years < {ADULT_YEARS}, true)")
    log.keep(f"age {ADULT_YEARS} or over", _left(raw))
    raw.sql.execute("DELETE FROM stay WHERE coalesce(los_hours <= 0, true)")
    log.keep("length of stay recorded and above zero", _left(raw))
    return log


def _left(raw: MimicTables) -> int:
    return raw.count("SELECT count(*) FROM stay")


def _check(raw: MimicTables, names: StayNames) -> None:
    """Keys that are there and once, stays that belong to somebody and end after they begin."""
    stays, admissions, patients = (raw.file(table) for table in ("icustays", "admissions", "patients"))
    keyed = f"{names.stay} IS NOT NULL AND hadm_id IS NOT NULL AND subject_id IS NOT NULL"
    raw.only("icustays", keyed, f"{names.stay}, hadm_id and subject_id in every row of {stays}", "an empty cell")
    raw.only("icustays", "intime IS NOT NULL", f"intime in every row of {stays}", "an empty cell")
    raw.only("admissions", "hadm_id IS NOT NULL", f"hadm_id in every row of {admissions}", "an empty cell")
    raw.only("patients", "subject_id IS NOT NULL", f"subject_id in every row of {patients}", "an empty cell")
    for column in (*names.patient_numbers, *names.patient_times):
        raw.only("patients", f"{column} IS NOT NULL", f"{column} in every row of {patients}", "an empty cell")
    raw.unique("icustays", names.stay)
    raw.unique("admissions", "hadm_id")
    raw.unique("patients", "subject_id")
    raw.only(
        "icustays",
        "outtime IS NULL OR outtime >= intime",
        f"stays in {stays} that end after they begin",
        "outtime before intime",
    )
    raw.only(
        "icustays",
        "hadm_id IN (SELECT hadm_id FROM admissions)",
        f"the admission of every stay of {stays} in {admissions}",
        "none",
    )
    raw.only(
        "icustays",
        "subject_id IN (SELECT subject_id FROM patients)",
        f"the patient of every stay of {stays} in {patients}",
        "none",
    )


def split_patients(raw: MimicTables, split_file: Path | None) -> str:
    """Add table `splits` (patient_id, test); return how it was made.

    Parameters
    ----------
    split_file
        The benchmark's list: a patient and 1 (test) or 0 (train) in each line, without a header; patients it does not
        name are trained on. None: BLAKE2b(patient) mod 100 < 20 is tested on, as for every source.

    Raises
    ------
    SourceError
        When a line is not two whole numbers, a patient stands on both sides, or nobody of the cohort is in it.
    """
    rows = raw.sql.execute("SELECT DISTINCT patient_id FROM stay ORDER BY 1").fetchall()
    people = [int(row[0]) for row in rows]
    if split_file is None:
        test = [is_test_patient(str(person)) for person in people]
    else:
        chosen = _read_split(split_file)
        if people and not set(people) & set(chosen):
            raise SourceError(
                f"patients of the cohort in {split_file.name}", "none of them", "name the split of this database"
            )
        test = [chosen.get(person, False) for person in people]
    raw.lookup("splits", {"patient_id": list(people), "test": list(test)})
    return "BLAKE2b of the patient's key" if split_file is None else split_file.name


def _read_split(path: Path) -> dict[int, bool]:
    todo = "give the benchmark's list: patient, 1 or 0"
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            lines = [line for line in csv.reader(handle) if line]
    except (OSError, UnicodeDecodeError, csv.Error):
        raise SourceError(f"{path.name} as a CSV file", "one that can't be read", todo) from None
    chosen: dict[int, bool] = {}
    for number, line in enumerate(lines, start=1):
        cells = [cell.strip() for cell in line]
        if len(cells) != 2 or not cells[0].isdigit() or cells[1] not in ("0", "1"):
            raise SourceError(f"a patient and 0 or 1 in each line of {path.name}", f"other text in line {number}", todo)
        if chosen.setdefault(int(cells[0]), cells[1] == "1") != (cells[1] == "1"):
            raise SourceError(f"each patient on one side in {path.name}", f"both, in line {number}", todo)
    return chosen


def stays_table(raw: MimicTables) -> pa.Table:
    """Return the cohort's stays; `has_series` and `has_note` must stand in table `modality` (stay_id, both flags)."""
    return raw.sql.sql(
        f"""SELECT stay_id, patient_id, patient_id::VARCHAR AS patient_key, hospital_stay_id,
            NULL::BIGINT AS hospital_id,
            row_number() OVER (PARTITION BY patient_id ORDER BY admittime, intime, stay_id)::INTEGER AS visit,
            'exact' AS visit_order, intime AS admitted_at, los_hours, least(years, {AGE_CAP})::FLOAT AS age, sex,
            ethnicity, CASE WHEN test THEN 'test' ELSE 'train' END AS split,
            coalesce(has_series, false) AS has_series, coalesce(has_note, false) AS has_note
        FROM stay JOIN splits USING (patient_id) LEFT JOIN modality USING (stay_id) ORDER BY stay_id"""
    ).to_arrow_table()
