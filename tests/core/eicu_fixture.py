"""A tiny eICU folder under the published file names; every patient in it is invented."""

import csv
import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

Rows = list[dict[str, object]]

_PATIENT = {
    "gender": "Female",
    "age": "70",
    "ethnicity": "Caucasian",
    "hospitalid": 7,
    "apacheadmissiondx": "",
    "admissionheight": "165.0",
    "admissionweight": "70.0",
    "hospitaladmitoffset": -60,
    "hospitaldischargeyear": 2014,
    "unitvisitnumber": 1,
    "unitdischargeoffset": 4320,
}
EXAM = "notes/Progress Notes/Physical Exam/Physical Exam/"
HISTORY = "notes/Progress Notes/Past History/Organ Systems/"
NOTE = "notes/Progress Notes/"


def patient(stay: int, hospital_stay: int, person: str, **other: object) -> dict[str, object]:
    """One row of the patient table."""
    return {
        "patientunitstayid": stay,
        "patienthealthsystemstayid": hospital_stay,
        "uniquepid": person,
        **_PATIENT,
        **other,
    }


def diagnosis(
    stay: int, code: str, offset: int = 60, priority: str = "Major", active: str = "True"
) -> dict[str, object]:
    """One row of the diagnosis table."""
    return {
        "diagnosisid": 1,
        "patientunitstayid": stay,
        "activeupondischarge": active,
        "diagnosisoffset": offset,
        "diagnosisstring": "",
        "icd9code": code,
        "diagnosispriority": priority,
    }


def exam(row: int, stay: int, path: str, text: str, offset: int = 30) -> dict[str, object]:
    """One row of the physicalExam table; the value is the path's leaf."""
    return {
        "physicalexamid": row,
        "patientunitstayid": stay,
        "physicalexamoffset": offset,
        "physicalexampath": EXAM + path,
        "physicalexamvalue": path.rsplit("/", 1)[-1],
        "physicalexamtext": text,
    }


def history(row: int, stay: int, path: str, offset: int = 20, entered: int | None = None) -> dict[str, object]:
    """One row of the pastHistory table."""
    leaf = path.rsplit("/", 1)[-1]
    return {
        "pasthistoryid": row,
        "patientunitstayid": stay,
        "pasthistoryoffset": offset,
        "pasthistoryenteredoffset": offset if entered is None else entered,
        "pasthistorynotetype": "Admission",
        "pasthistorypath": HISTORY + path,
        "pasthistoryvalue": leaf,
        "pasthistoryvaluetext": leaf,
    }


def note(row: int, stay: int, path: str, offset: int = 25) -> dict[str, object]:
    """One row of the note table."""
    leaf = path.rsplit("/", 1)[-1]
    return {
        "noteid": row,
        "patientunitstayid": stay,
        "noteoffset": offset,
        "noteenteredoffset": offset,
        "notetype": "Admission",
        "notepath": NOTE + path,
        "notevalue": leaf,
        "notetext": leaf,
    }


def lab(stay: int, name: str, value: object, unit: str, offset: int = 90, revised: int = 95) -> dict[str, object]:
    """One row of the lab table."""
    return {
        "labid": 1,
        "patientunitstayid": stay,
        "labresultoffset": offset,
        "labname": name,
        "labresult": value,
        "labmeasurenamesystem": unit,
        "labresultrevisedoffset": revised,
    }


def cuff(stay: int, offset: int, systolic: object, diastolic: object, mean: object) -> dict[str, object]:
    """One row of the vitalAperiodic table."""
    return {
        "vitalaperiodicid": 1,
        "patientunitstayid": stay,
        "observationoffset": offset,
        "noninvasivesystolic": systolic,
        "noninvasivediastolic": diastolic,
        "noninvasivemean": mean,
    }


def tables() -> dict[str, Rows]:
    """Ten unit stays of six invented patients: coded and uncoded, with and without notes, a minor, one without data."""
    return {
        "patient": [
            patient(101, 11, "a-1", unitvisitnumber=1),
            patient(102, 11, "a-1", unitvisitnumber=2, hospitaladmitoffset=-3000),
            patient(103, 12, "a-1", hospitaldischargeyear=2015, age="71"),
            patient(201, 21, "b-1", age="> 89", gender="Male"),
            patient(202, 22, "b-1", age="> 89", gender="Male"),
            patient(301, 31, "c-1", age="", gender="", admissionheight="65", admissionweight="515"),
            patient(401, 41, "d-1", age="16"),
            patient(501, 51, "e-1", unitdischargeoffset=0),
            patient(601, 61, "f-1", admissionheight="", admissionweight=""),
            patient(602, 62, "f-1", age="69", apacheadmissiondx="Sepsis, pulmonary"),
        ],
        "diagnosis": [
            diagnosis(101, "584.9, N17.9", 300, "Other", "False"),
            diagnosis(101, "N17.9", 120, "Primary", "True"),
            diagnosis(101, "401.9, I10"),
            diagnosis(102, "E87.1"),
            diagnosis(103, "780.09, R41.82"),
            diagnosis(201, ""),
            diagnosis(602, "995.92, R65.20"),
        ],
        "vitalAperiodic": [
            cuff(101, 30, 120, 60, 80),
            cuff(101, 90, 118, 58, 900),
            cuff(102, 30, 110, 55, 70),
            cuff(103, 3000, 100, 50, 60),
            cuff(201, 10, 95, 45, ""),
            cuff(202, 10, 96, 46, 62),
            cuff(301, -30, 130, 70, 90),
            cuff(602, 10, 80, 40, 53),
        ],
        "physicalExam": [
            exam(1, 101, "Constitutional/Vital Sign and Physiological Data/HR/HR Lowest", "86"),
            exam(2, 101, "Pulmonary/Auscultation/Rales/Location/Posterior Lung Field(s)/Right/lower", "lower"),
            exam(3, 101, "Neurologic/GCS/Eyes Score/4", "4"),
            exam(4, 101, "Neurologic/GCS/Motor Score/6", "6"),
            exam(5, 101, "Neurologic/GCS/Verbal Score/5", "5"),
            exam(6, 101, "Constitutional/Vital Sign and Physiological Data/FiO2%/FiO2%", "40"),
            exam(7, 101, "Constitutional/Weight and I&O/I&&O (ml)/Urine", "725"),
            exam(8, 101, "Constitutional/Vital Sign and Physiological Data/HR/HR Lowest", "86", 600),
            exam(9, 101, "Constitutional/Vital Sign and Physiological Data/HR/HR Lowest", "90", 660),
            exam(10, 101, "Pulmonary/Auscultation/Rales/Location/Posterior Lung Field(s)/Right/lower", "lower", 660),
            exam(11, 101, "Neurologic/GCS/9", "9", 3000),
            exam(12, 101, "Neurologic/GCS/Score/scored", "scored"),
        ],
        "pastHistory": [
            history(1, 101, "Cardiovascular (R)/Hypertension Requiring Treatment/hypertension requiring treatment"),
            history(2, 101, "Cardiovascular (R)/Hypertension Requiring Treatment/hypertension requiring treatment"),
            history(3, 101, "Pulmonary/COPD/COPD  - moderate"),
            history(4, 101, "Pulmonary/COPD/COPD  - moderate", 500),
            history(5, 102, "Neurologic/Dementia/dementia", -15),
            history(6, 103, "Neurologic/Dementia/dementia", 100, entered=2900),
            history(7, 602, "Renal  (R)/Renal Failure/renal failure - hemodialysis"),
        ],
        "note": [
            note(1, 101, "Review Of Systems/Systems/Pulmonary/Shortness of Breath/denies shortness of breath"),
            note(2, 101, "Interventions/Major/Sepsis - evaluation and management"),
            note(3, 101, "Assessment and Plan/View Options/System View"),
            note(4, 101, "Assessment and Plan/Problems/acute renal failure"),
            note(5, 101, "Social History / Family History/Family History/Family History/CAD/CAD"),
        ],
        "treatment": [
            {
                "treatmentid": 1,
                "patientunitstayid": 101,
                "treatmentoffset": 90,
                "treatmentstring": "cardiovascular|shock|vasopressors|norepinephrine > 0.1 micrograms/kg/min",
                "activeupondischarge": "True",
            }
        ],
        "admissionDx": [
            {
                "admissiondxid": 1,
                "patientunitstayid": 602,
                "admitdxenteredoffset": 5,
                "admitdxpath": "admission diagnosis|All Diagnosis|Non-operative|Diagnosis|Sepsis, pulmonary",
                "admitdxname": "Sepsis, pulmonary",
                "admitdxtext": "Sepsis, pulmonary",
            }
        ],
    }


def write_folder(folder: Path, content: dict[str, Rows], *, packed: tuple[str, ...] = ("patient", "diagnosis")) -> Path:
    """Write tables as CSV, the named ones gzipped; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in content.items():
        path = folder / (f"{table}.csv.gz" if table in packed else f"{table}.csv")
        with (gzip.open if table in packed else open)(path, "wt", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    return folder


def write_hourly(folder: Path, columns: dict[str, list[object]], kind: pa.DataType | None = None) -> None:
    """Write hourly.parquet; `time` in seconds as a duration unless another type is given."""
    arrays = {name: pa.array(values) for name, values in columns.items()}
    arrays["time"] = pa.array(columns["time"], kind or pa.duration("s"))
    pq.write_table(pa.table(arrays), folder / "hourly.parquet")
