"""Tiny MIMIC-III and MIMIC-IV folders under the published file names; every patient in them is invented."""

import csv
import gzip
from pathlib import Path

Rows = list[dict[str, object]]
START = "2150-03-01 10:00:00"


def at(hours: float) -> str:
    """A time so many hours after `START`, to the minute."""
    minutes = round(hours * 60) + 10 * 60
    day, rest = divmod(minutes, 24 * 60)
    assert 0 <= day < 30
    return f"2150-03-{1 + day:02d} {rest // 60:02d}:{rest % 60:02d}:00"


def _patients3() -> Rows:
    born = {1: "2090-05-05", 2: "2090-05-05", 3: "2090-05-05", 4: "2140-05-05", 5: "2090-05-05", 6: "2090-05-05"}
    born[7] = "1850-01-01"
    return [{"subject_id": s, "gender": "F" if s % 2 else "M", "dob": f"{d} 00:00:00"} for s, d in born.items()]


def _stay3(subject: int, hadm: int, stay: int, begin: str, end: str, unit: str = "MICU") -> dict[str, object]:
    return {
        "subject_id": subject,
        "hadm_id": hadm,
        "icustay_id": stay,
        "first_careunit": "MICU",
        "last_careunit": unit,
        "first_wardid": 52,
        "last_wardid": 52,
        "intime": begin,
        "outtime": end,
        "los": 1,
    }


def chart3(item: int, hours: float, value: object, unit: str = "", **other: object) -> dict[str, object]:
    """One row of CHARTEVENTS, of stay 101 unless told otherwise."""
    row = {"subject_id": 1, "hadm_id": 11, "icustay_id": 101, "itemid": item, "charttime": at(hours)}
    number = value if str(value).replace(".", "", 1).isdigit() else ""
    return {**row, "value": value, "valuenum": number, "valueuom": unit, "error": "", **other}


def lab3(item: int, hours: float, value: object, unit: str, **other: object) -> dict[str, object]:
    """One row of LABEVENTS, of admission 11 unless told otherwise."""
    row = {"subject_id": 1, "hadm_id": 11, "itemid": item, "charttime": at(hours), "value": value}
    number = value if str(value).replace(".", "", 1).isdigit() else ""
    return {**row, "valuenum": number, "valueuom": unit, **other}


def note3(row: int, category: str, hours: float | None, text: str, **other: object) -> dict[str, object]:
    """One row of NOTEEVENTS, of admission 11."""
    time = "" if hours is None else at(hours)
    plain = {"row_id": row, "subject_id": 1, "hadm_id": 11, "chartdate": "2150-03-01", "charttime": time}
    return {**plain, "storetime": time, "category": category, "iserror": "", "text": text, **other}


def mimic3() -> dict[str, Rows]:
    """Nine ICU stays of seven patients, one for each rule of the cohort, and every table that is read."""
    code = [(11, 1, "5849"), (11, 2, "4019"), (12, 1, "99592"), (61, 1, "486"), (21, 1, "5849")]
    return {
        "PATIENTS": _patients3(),
        "ADMISSIONS": [
            {
                "subject_id": hadm // 10,
                "hadm_id": hadm,
                "admittime": at(-5) if hadm != 12 else at(200),
                "ethnicity": "WHITE",
                "diagnosis": "SEPSIS;HYPOTENSION",
            }
            for hadm in (11, 12, 21, 31, 41, 51, 61, 71)
        ],
        "ICUSTAYS": [
            _stay3(1, 12, 102, at(205), at(260)),
            _stay3(1, 11, 101, START, at(72)),
            _stay3(2, 21, 201, START, at(72), "SICU"),
            _stay3(3, 31, 301, START, at(10)),
            _stay3(3, 31, 302, at(20), at(30)),
            _stay3(4, 41, 401, START, at(72)),
            _stay3(5, 51, 501, START, ""),
            _stay3(6, 61, 601, START, at(72)),
            _stay3(7, 71, 701, START, at(72)),
        ],
        "DIAGNOSES_ICD": [{"hadm_id": h, "seq_num": s, "icd9_code": c} for h, s, c in code],
        "CHARTEVENTS": [
            chart3(211, 0.5, 90, "BPM"),
            chart3(211, 0.5, 100, "BPM"),
            chart3(211, 1.5, 95, "BPM", icustay_id=""),
            chart3(211, 2.5, 80, "BPM", icustay_id=999),
            chart3(211, 3.5, 80, "BPM", hadm_id=""),
            chart3(211, 60, 70, "BPM"),
            chart3(51, 1, "120/80", "mmHg"),
            chart3(8368, 1, "120/80", "mmHg"),
            chart3(52, 1, 801, "mmHg"),
            chart3(678, 1, 98.6, "Deg. F"),
            chart3(677, 2, 37.5, "Deg. C"),
            chart3(226531, 0.2, 200, ""),
            chart3(3582, 3, 3200, "oz"),
            chart3(226707, 0.2, 70, "Inch"),
            chart3(189, 1, 40, "torr"),
            chart3(223835, 2, 0.5, ""),
            chart3(646, 1, 0.97, "%"),
            chart3(184, 1, "3 To speech"),
            chart3(220739, 2, "None"),
            chart3(454, 1, "6 Obeys Commands"),
            chart3(723, 1, "1.0 ET/Trach"),
            chart3(198, 1, 10, "points"),
            chart3(115, 1, "Abnormal >3 secs"),
            chart3(8377, 2, "Normal <3 secs"),
            chart3(8377, 3, "Other/Remarks"),
            chart3(212, 1, "Normal Sinus"),
            chart3(212, 2, "Normal Sinus"),
            chart3(212, 3, "Atrial Fib"),
            chart3(720, 3, "CMV"),
            chart3(211, 1, 88, "BPM", subject_id=1, hadm_id=12, icustay_id=102, charttime=at(210)),
            chart3(211, 1, 77, "BPM", subject_id=7, hadm_id=71, icustay_id=701),
            chart3(211, 1, 66, "BPM", subject_id=2, hadm_id=21, icustay_id=201),
        ],
        "LABEVENTS": [
            lab3(50912, -3, 1.0, "mg/dL"),
            lab3(50912, 20, 2.1, "mg/dL"),
            lab3(50889, 20, 3, "MG/DL"),
            lab3(51491, 2, 6.5, "units"),
            lab3(50820, 2, 7.31, "units"),
            lab3(51003, 2, "<0.01", "ng/mL"),
            lab3(50964, 2, 290, "mOsm/kg"),
            lab3(50912, 4, 9.9, "mg/dL", hadm_id=""),
        ],
        "OUTPUTEVENTS": [
            {
                "subject_id": 1,
                "hadm_id": 11,
                "icustay_id": 101,
                "charttime": at(h),
                "itemid": i,
                "value": v,
                "valueuom": "ml",
            }
            for h, i, v in ((1, 40055, 60), (1, 40069, 40), (2, 40055, 30), (3, 40076, 150))
        ],
        "NOTEEVENTS": [
            note3(1, "Nursing", 2, "Patient arrived, on norepinephrine."),
            note3(2, "Physician ", 60, "Later: improving."),
            note3(3, "Nursing", 3, "Charted early, entered late.", storetime=at(60)),
            note3(4, "ECG", None, "Atrial fibrillation."),
            note3(5, "Discharge summary", None, "DISCHARGE DIAGNOSIS: acute renal failure"),
            note3(6, "Nursing", 4, "Wrong patient.", iserror="1"),
            note3(7, "Radiology", -2, "Chest film: opacity."),
        ],
        "D_ITEMS": [
            {"itemid": i, "label": label, "category": c}
            for i, label, c in (
                (221906, "Norepinephrine", "Medications"),
                (225152, "Heparin Sodium", "Medications"),
                (30018, ".9% Normal Saline", ""),
                (225400, "Bronchoscopy", "4-Procedures"),
                (225459, "Chest X-Ray", "5-Imaging"),
                (225402, "EKG", "4-Procedures"),
                (225401, "Blood Cultured", "6-Cultures"),
                (224263, "Multi Lumen", "Access Lines - Invasive"),
                (228125, "Family meeting held", "7-Communication"),
                (40076, "Chest Tubes CTICU CT 1", ""),
            )
        ],
        "INPUTEVENTS_MV": [
            _input3(221906, 1, 5, "mg", 0.1, "mcg/kg/min", "Running"),
            _input3(225152, 2, 500, "units", 800, "units/hour", "Running"),
            _input3(221906, 3, 5, "mg", 0.9, "mcg/kg/min", "Rewritten"),
        ],
        "INPUTEVENTS_CV": [
            {"hadm_id": 11, "icustay_id": 101, "charttime": at(1), "itemid": 30018, "amount": 1000, "amountuom": "ml"}
        ],
        "PROCEDUREEVENTS_MV": [
            {"hadm_id": 11, "icustay_id": 101, "starttime": at(h), "itemid": i, "value": 30, "valueuom": "min"}
            for h, i in ((4, 225400), (5, 225459), (6, 225402), (7, 225401), (8, 224263), (9, 228125))
        ],
        "MICROBIOLOGYEVENTS": [
            _culture3("BLOOD CULTURE", "STAPH AUREUS COAG +", "OXACILLIN", "S"),
            _culture3("BLOOD CULTURE", "STAPH AUREUS COAG +", "PENICILLIN", "R"),
            _culture3("URINE", "", "", "", charttime=""),
        ],
        "PRESCRIPTIONS": [
            _order3("MAIN", "Vancomycin", "1000", "mg"),
            _order3("MAIN", "Vancomycin", "1000", "mg"),
            _order3("BASE", "5% Dextrose", "200", "ml"),
        ],
        "PROCEDURES_ICD": [{"hadm_id": 11, "seq_num": 1, "icd9_code": "3995"}],
        "D_ICD_PROCEDURES": [{"icd9_code": "3995", "long_title": "Hemodialysis"}],
    }


def _input3(item: int, hours: float, amount: float, unit: str, rate: float, per: str, status: str) -> dict[str, object]:
    return {
        "hadm_id": 11,
        "icustay_id": 101,
        "starttime": at(hours),
        "itemid": item,
        "amount": amount,
        "amountuom": unit,
        "rate": rate,
        "rateuom": per,
        "statusdescription": status,
    }


def _culture3(specimen: str, organism: str, drug: str, level: str, **other: object) -> dict[str, object]:
    row = {"hadm_id": 11, "chartdate": "2150-03-01 00:00:00", "charttime": at(6), "spec_type_desc": specimen}
    return {**row, "org_name": organism, "ab_name": drug, "interpretation": level, **other}


def _order3(kind: str, drug: str, dose: str, unit: str) -> dict[str, object]:
    row = {"hadm_id": 11, "startdate": "2150-03-01 00:00:00", "drug_type": kind, "drug": drug, "dose_val_rx": dose}
    return {**row, "dose_unit_rx": unit, "route": "IV"}


SUMMARY = """Name: ___ Unit No: ___

Chief Complaint:
fever and confusion

History of Present Illness:
___ with two days of fever. BP was low on arrival.
She was later treated for septic shock until discharge home.

Past Medical History:
1. Hypertension
2. COPD on home oxygen
CARDIAC HISTORY:
- stent in ___

Social History:
___

Physical Exam:
ADMISSION PHYSICAL EXAM:
VS: 39.1 88/40
Lungs: rales

DISCHARGE PHYSICAL EXAM:
Well.

Medications on Admission:
lisinopril 10 mg

Brief Hospital Course:
Septic shock from pneumonia, acute renal failure.

Discharge Diagnosis:
Septic shock
"""


def mimic4() -> dict[str, Rows]:
    """Four ICU stays of three patients under `hosp/` and `icu/`, with the notes under `note/`."""
    stays = [
        (1, 11, 30000001, "MICU", START, at(72)),
        (1, 12, 30000002, "MICU", at(205), at(260)),
        (2, 21, 30000003, "SICU", START, at(72)),
        (3, 31, 30000004, "MICU", START, at(72)),
    ]
    chart = [
        (30000001, 11, 220045, 1, 90, "bpm"),
        (30000001, 11, 223761, 1, 98.6, "°F"),
        (30000001, 11, 223951, 1, "Abnormal >3 Seconds", ""),
        (30000001, 11, 220739, 1, "To Speech", ""),
        (30000001, 11, 227242, 1, 55, "mmHg"),
        (30000002, 12, 220045, 210, 77, "bpm"),
        (30000003, 21, 220045, 1, 66, "bpm"),
        (30000004, 31, 220045, 1, 66, "bpm"),
    ]
    return {
        "hosp/patients": [
            {"subject_id": s, "gender": "F", "anchor_age": a, "anchor_year": 2149}
            for s, a in ((1, 60), (2, 91), (3, 16))
        ],
        "hosp/admissions": [
            {"subject_id": h // 10, "hadm_id": h, "admittime": at(200) if h == 12 else at(-5), "race": "WHITE"}
            for h in (11, 12, 21, 31)
        ],
        "icu/icustays": [
            {
                "subject_id": s,
                "hadm_id": h,
                "stay_id": i,
                "first_careunit": "MICU",
                "last_careunit": u,
                "intime": a,
                "outtime": b,
                "los": 1,
            }
            for s, h, i, u, a, b in stays
        ],
        "hosp/diagnoses_icd": [
            {"subject_id": h // 10, "hadm_id": h, "seq_num": n, "icd_code": c, "icd_version": v}
            for h, n, c, v in ((11, 1, "N179", 10), (11, 2, "5849", 10), (12, 1, "5849", 9), (12, 2, "A419", 10))
        ],
        "icu/chartevents": [
            {
                "subject_id": h // 10,
                "hadm_id": h,
                "stay_id": s,
                "charttime": at(t),
                "itemid": i,
                "value": v,
                "valuenum": v if isinstance(v, int | float) else 3,
                "valueuom": u,
            }
            for s, h, i, t, v, u in chart
        ],
        "hosp/labevents": [
            {
                "subject_id": 1,
                "hadm_id": 11,
                "itemid": 50912,
                "charttime": at(3),
                "value": "___",
                "valuenum": 2.0,
                "valueuom": "mg/dL",
            },
            {
                "subject_id": 1,
                "hadm_id": 11,
                "itemid": 52546,
                "charttime": at(9),
                "value": "3",
                "valuenum": 3,
                "valueuom": "mg/dL",
            },
        ],
        "note/discharge": [
            {
                "note_id": "1-DS-2",
                "subject_id": 1,
                "hadm_id": 11,
                "note_type": "DS",
                "note_seq": 2,
                "charttime": at(72),
                "text": SUMMARY,
            },
            {
                "note_id": "1-DS-3",
                "subject_id": 1,
                "hadm_id": 12,
                "note_type": "DS",
                "note_seq": 3,
                "charttime": at(260),
                "text": "Discharge Diagnosis:\nSeptic shock\n",
            },
        ],
        "note/radiology": [
            {
                "note_id": f"1-RR-{n}",
                "subject_id": 1,
                "hadm_id": 11,
                "note_type": "RR",
                "note_seq": n,
                "charttime": at(h),
                "storetime": at(h + 1),
                "text": t,
            }
            for n, h, t in ((4, 5, "Early film: opacity."), (5, 47.5, "Read too late."), (6, 60, "Late film."))
        ],
    }


def write_folder(
    folder: Path, content: dict[str, Rows], *, packed: tuple[str, ...] = (), capitals: bool = False
) -> Path:
    """Write tables as CSV, the named ones gzipped, column names in quoted capitals where asked."""
    for table, rows in content.items():
        path = folder / f"{table}.csv{'.gz' if table in packed else ''}"
        path.parent.mkdir(parents=True, exist_ok=True)
        with (gzip.open if table in packed else open)(path, "wt", encoding="utf-8", newline="") as handle:
            names = list(rows[0])
            handle.write(",".join(f'"{n.upper()}"' if capitals else n for n in names) + "\n")
            csv.DictWriter(handle, names, lineterminator="\n").writerows(rows)
    return folder
