"""An eICU folder in published form: every table that is read, with all of its published columns, at any size.

Every patient in it is invented. Values are drawn by column and written by Arrow, so that millions of rows take seconds.
"""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

HEADERS: dict[str, str] = {
    "patient": "patientunitstayid,patienthealthsystemstayid,gender,age,ethnicity,hospitalid,wardid,apacheadmissiondx,"
    "admissionheight,hospitaladmittime24,hospitaladmitoffset,hospitaladmitsource,hospitaldischargeyear,"
    "hospitaldischargetime24,hospitaldischargeoffset,hospitaldischargelocation,hospitaldischargestatus,unittype,"
    "unitadmittime24,unitadmitsource,unitvisitnumber,unitstaytype,admissionweight,dischargeweight,unitdischargetime24,"
    "unitdischargeoffset,unitdischargelocation,unitdischargestatus,uniquepid",
    "diagnosis": "diagnosisid,patientunitstayid,activeupondischarge,diagnosisoffset,diagnosisstring,icd9code,"
    "diagnosispriority",
    "vitalPeriodic": "vitalperiodicid,patientunitstayid,observationoffset,temperature,sao2,heartrate,respiration,cvp,"
    "etco2,systemicsystolic,systemicdiastolic,systemicmean,pasystolic,padiastolic,pamean,st1,st2,st3,icp",
    "vitalAperiodic": "vitalaperiodicid,patientunitstayid,observationoffset,noninvasivesystolic,"
    "noninvasivediastolic,noninvasivemean,paop,cardiacoutput,cardiacinput,svr,svri,pvr,pvri",
    "lab": "labid,patientunitstayid,labresultoffset,labtypeid,labname,labresult,labresulttext,labmeasurenamesystem,"
    "labmeasurenameinterface,labresultrevisedoffset",
    "nurseCharting": "nursingchartid,patientunitstayid,nursingchartoffset,nursingchartentryoffset,"
    "nursingchartcelltypecat,nursingchartcelltypevallabel,nursingchartcelltypevalname,nursingchartvalue",
    "respiratoryCharting": "respchartid,patientunitstayid,respchartoffset,respchartentryoffset,respcharttypecat,"
    "respchartvaluelabel,respchartvalue",
    "intakeOutput": "intakeoutputid,patientunitstayid,intakeoutputoffset,intaketotal,outputtotal,dialysistotal,"
    "nettotal,intakeoutputentryoffset,cellpath,celllabel,cellvaluenumeric,cellvaluetext",
    "physicalExam": "physicalexamid,patientunitstayid,physicalexamoffset,physicalexampath,physicalexamvalue,"
    "physicalexamtext",
    "pastHistory": "pasthistoryid,patientunitstayid,pasthistoryoffset,pasthistoryenteredoffset,pasthistorynotetype,"
    "pasthistorypath,pasthistoryvalue,pasthistoryvaluetext",
    "note": "noteid,patientunitstayid,noteoffset,noteenteredoffset,notetype,notepath,notevalue,notetext",
    "treatment": "treatmentid,patientunitstayid,treatmentoffset,treatmentstring,activeupondischarge",
    "admissionDx": "admissiondxid,patientunitstayid,admitdxenteredoffset,admitdxpath,admitdxname,admitdxtext",
    "apacheApsVar": "apacheapsvarid,patientunitstayid,intubated,vent,dialysis,eyes,motor,verbal,meds,urine,wbc,"
    "temperature,respiratoryrate,sodium,heartrate,meanbp,ph,hematocrit,creatinine,albumin,pao2,pco2,bun,glucose,"
    "bilirubin,fio2",
    "carePlanGeneral": "cplgeneralid,patientunitstayid,activeupondischarge,cplitemoffset,cplgroup,cplitemvalue",
    "medication": "medicationid,patientunitstayid,drugorderoffset,drugstartoffset,drugivadmixture,drugordercancelled,"
    "drugname,drughiclseqno,dosage,routeadmin,frequency,loadingdose,prn,drugstopoffset,gtc",
    "infusionDrug": "infusiondrugid,patientunitstayid,infusionoffset,drugname,drugrate,infusionrate,drugamount,"
    "volumeoffluid,patientweight",
    "admissionDrug": "admissiondrugid,patientunitstayid,drugoffset,drugenteredoffset,drugnotetype,specialtytype,"
    "usertype,rxincluded,writtenineicu,drugname,drugdosage,drugunit,drugadmitfrequency,drughiclseqno",
    "microLab": "microlabid,patientunitstayid,culturetakenoffset,culturesite,organism,antibiotic,sensitivitylevel",
    "respiratoryCare": "respcareid,patientunitstayid,respcarestatusoffset,currenthistoryseqnum,airwaytype,airwaysize,"
    "airwayposition,cuffpressure,ventstartoffset,ventendoffset,priorventstartoffset,priorventendoffset",
}
"""Table and its published columns."""
Draw = dict[str, object]
FIRST = 141_000
_STEM = "notes/Progress Notes/"


def _values(table: str, rng: np.random.Generator, rows: int) -> Draw:
    """What the columns hold that are read; the others are left empty."""

    def spread(middle: float, width: float) -> np.ndarray:
        return np.round(rng.normal(middle, width, rows), 1)

    def some(*texts: str) -> np.ndarray:
        return np.array(texts)[rng.integers(len(texts), size=rows)]

    if table == "vitalPeriodic":
        return {
            "temperature": spread(37, 0.4),
            "sao2": np.clip(spread(96, 2), 0, 100),
            "heartrate": spread(88, 12),
            "respiration": spread(18, 3),
            "systemicsystolic": spread(120, 12),
            "systemicdiastolic": spread(62, 8),
            "systemicmean": spread(80, 9),
        }
    if table == "vitalAperiodic":
        names = ("noninvasivesystolic", "noninvasivediastolic", "noninvasivemean")
        return {name: spread(middle, 9) for name, middle in zip(names, (118, 60, 78), strict=True)}
    if table == "lab":
        names = some("creatinine", "glucose", "potassium", "something new")
        units = {"creatinine": "mg/dL", "glucose": "mg/dL", "potassium": "mmol/L", "something new": "?"}
        middle = {"creatinine": 1.4, "glucose": 150.0, "potassium": 4.1, "something new": 1.0}
        result = np.array([middle[n] for n in middle])[np.unique(names, return_inverse=True)[1]]
        order = sorted(middle)
        result = np.array([middle[n] for n in order])[np.searchsorted(order, names)]
        return {
            "labname": names,
            "labresult": np.round(result * rng.uniform(0.8, 1.2, rows), 2),
            "labmeasurenamesystem": np.array([units[n] for n in order])[np.searchsorted(order, names)],
            "labresultrevisedoffset": np.zeros(rows, np.int64) + 5_000,
        }
    if table == "nurseCharting":
        pairs = (
            ("Glasgow coma score", "Eyes", "4"),
            ("Glasgow coma score", "Motor", "6"),
            ("Glasgow coma score", "Verbal", "5"),
            ("Temperature", "Temperature (F)", "99.1"),
            ("Temperature", "Temperature (C)", "37.2"),
            ("O2 Saturation", "O2 Saturation", "95"),
            ("Pain Score/Goal", "Pain Score", "2"),
            ("SEDATION SCORE", "Sedation Goal", "light"),
        )
        place = rng.integers(len(pairs), size=rows)
        columns = [np.array(column)[place] for column in zip(*pairs, strict=True)]
        return dict(
            zip(
                ("nursingchartcelltypevallabel", "nursingchartcelltypevalname", "nursingchartvalue"),
                columns,
                strict=True,
            )
        )
    exam = _STEM + "Physical Exam/Physical Exam/Constitutional/Vital Sign and Physiological Data/HR/HR Current"
    history = _STEM + "Past History/Organ Systems/Pulmonary/COPD/COPD  - moderate"
    view = _STEM + "Review Of Systems/Systems/Pulmonary/Shortness of Breath/denies shortness of breath"
    fixed: dict[str, Draw] = {
        "diagnosis": {
            "activeupondischarge": some("True", "False"),
            "icd9code": some("584.9, N17.9", "401.9, I10", "486, J18.9", ""),
            "diagnosispriority": some("Primary", "Major", "Other"),
        },
        "respiratoryCharting": {
            "respchartvaluelabel": some("FiO2", "Tidal Volume"),
            "respchartvalue": some("40", "50"),
        },
        "intakeOutput": {
            "cellpath": some("flowsheet|Flowsheet Cell Labels|I&O|Output (ml)|Urine"),
            "celllabel": some("Urine"),
            "cellvaluenumeric": rng.integers(20, 300, rows),
            "dialysistotal": np.zeros(rows, np.int64),
            "nettotal": rng.integers(-300, 300, rows),
        },
        "physicalExam": {
            "physicalexampath": some(exam),
            "physicalexamvalue": some("HR Current"),
            "physicalexamtext": some("88", "92"),
        },
        "pastHistory": {"pasthistorypath": some(history), "pasthistoryvalue": some("COPD  - moderate")},
        "note": {"notepath": some(view), "notevalue": some("denies shortness of breath")},
        "treatment": {
            "treatmentstring": some("renal|dialysis|hemodialysis", "cardiovascular|shock|vasopressors|vasopressin")
        },
        "admissionDx": {
            "admitdxpath": some("admission diagnosis|All Diagnosis|Non-operative|Diagnosis|Sepsis, pulmonary"),
            "admitdxname": some("Sepsis, pulmonary"),
            "admitdxtext": some("Sepsis, pulmonary"),
        },
        "apacheApsVar": {c: np.full(rows, -1) for c in HEADERS["apacheApsVar"].split(",")[2:]},
        "carePlanGeneral": {"cplgroup": some("Ventilation"), "cplitemvalue": some("Spontaneous - adequate")},
        "medication": {"drugname": some("aspirin"), "drugordercancelled": some("No"), "dosage": some("81 mg")},
        "infusionDrug": {"drugname": some("Norepinephrine (mcg/min)"), "drugrate": some("8", "OFF")},
        "admissionDrug": {"drugname": some("LISINOPRIL")},
        "microLab": {"culturesite": some("Urine, Voided Specimen"), "organism": some("no growth")},
        "respiratoryCare": {
            "airwaytype": some("Oral ETT"),
            "ventstartoffset": np.full(rows, 30),
            "ventendoffset": np.full(rows, 900),
        },
    }
    return fixed[table]


def _stays(rng: np.random.Generator, rows: int) -> Draw:
    number = np.arange(rows)
    return {
        "patientunitstayid": FIRST + number,
        "patienthealthsystemstayid": 90_000 + number // 2,
        "gender": np.array(["Female", "Male"])[number % 2],
        "age": np.array(["> 89", "54", "71", "66"])[number % 4],
        "ethnicity": np.full(rows, "Caucasian"),
        "hospitalid": number % 7,
        "admissionheight": np.full(rows, 170.0),
        "admissionweight": np.full(rows, 80.0),
        "hospitaladmitoffset": np.full(rows, -120),
        "hospitaldischargeyear": np.full(rows, 2014),
        "unitvisitnumber": 1 + number % 2,
        "unitdischargeoffset": rng.integers(2_900, 6_000, rows),
        "uniquepid": np.char.add("002-", (number // 2).astype(str)),
    }


def write_published(folder: Path, *, stays: int = 40, rows: dict[str, int] | int = 400, seed: int = 0) -> Path:
    """Write the folder, every table gzipped as published; `rows` of each table but `patient`, or by table."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for table, header in HEADERS.items():
        count = stays if table == "patient" else rows if isinstance(rows, int) else rows.get(table, 400)
        names = header.split(",")
        held = _stays(rng, stays) if table == "patient" else _values(table, rng, count)
        if table != "patient":
            held = {
                names[0]: np.arange(count),
                "patientunitstayid": np.sort(rng.integers(FIRST, FIRST + stays, count)),
                **{
                    name: rng.integers(-60, 2_880, count)
                    for name in names
                    if name.endswith("offset") and name not in held
                },
                **held,
            }
        empty = pa.nulls(count, pa.string())
        table_ = pa.table({name: pa.array(held[name]) if name in held else empty for name in names})
        with gzip.open(folder / f"{table}.csv.gz", "wb", compresslevel=1) as handle:
            pcsv.write_csv(table_, handle)
    return folder
