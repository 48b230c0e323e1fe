"""The eICU loader: an invented folder for every rule and every bad input, the open demo for the real thing."""

import gzip
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.cohort.schema import EVIDENCE_KINDS
from core.cohort.sources.eicu import build_eicu
from core.cohort.sources.eicu_evidence import treatment_kind, treatment_name
from core.cohort.sources.eicu_phrases import read_note, read_past_history, read_physical_exam
from core.cohort.store import is_test_patient, open_cohort, stable_id
from core.errors import ConfigError, MiraclError, SourceError
from tests.core.eicu_fixture import (
    EXAM,
    HISTORY,
    NOTE,
    Rows,
    cuff,
    diagnosis,
    exam,
    lab,
    patient,
    tables,
    write_folder,
    write_hourly,
)

SOCIAL = NOTE + "Social History / Family History/Social History/"
SYSTEMS = NOTE + "Review Of Systems/Systems/"
NOT_MEASURED = (
    *("urine", "wbc", "temperature", "respiratoryrate", "sodium", "heartrate", "meanbp", "ph", "hematocrit"),
    *("albumin", "pao2", "pco2", "bun", "glucose", "bilirubin", "fio2"),
)
DEMO = Path(__file__).resolve().parents[2] / "../shared/data/eicu-demo"


class Built:
    """A cohort built from the invented folder, as data frames."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest

    def __getattr__(self, name: str) -> pd.DataFrame:
        return pq.read_table(self.folder / f"{name}.parquet").to_pandas()

    def stay(self, name: str, stay: int) -> pd.DataFrame:
        frame = getattr(self, name)
        return frame[frame.stay_id == stay]

    def values(self, stay: int, channel: str) -> list[tuple[float, float]]:
        rows = self.stay("observations", stay)
        rows = rows[rows.channel == channel]
        return [(round(float(h), 3), round(float(v), 3)) for h, v in zip(rows.hour, rows.value, strict=True)]


def build(root: Path, content: dict[str, Rows] | None = None, cutoff_hours: float | None = 48.0) -> Built:
    folder = write_folder(root / "source", content or tables())
    return Built(root / "cohort", build_eicu(folder, root / "cohort", cutoff_hours=cutoff_hours))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("eicu"))


# --- stays -----------------------------------------------------------------------------------------------------


def test_minors_stays_of_no_length_and_stays_without_data_are_removed_and_logged(built: Built) -> None:
    assert [(line["in"], line["removed"], line["out"]) for line in built.manifest["attrition"]] == [
        (10, 0, 10),
        (10, 1, 9),
        (9, 1, 8),
        (8, 1, 7),
        (7, 0, 7),
    ]
    assert list(built.stays.stay_id) == [101, 102, 103, 201, 202, 301, 602]
    assert built.manifest["not_recorded"] == 3


def test_visits_are_ordered_by_unit_visit_year_and_age_and_unknown_where_the_tables_cannot_tell(built: Built) -> None:
    stays = built.stays.set_index("stay_id")
    assert stays.visit.to_dict() == {101: 1, 102: 2, 103: 3, 201: 1, 202: 2, 301: 1, 602: 1}
    assert stays.visit_order.to_dict() == {
        101: "exact",
        102: "exact",
        103: "exact",
        201: "unknown",
        202: "unknown",
        301: "exact",
        602: "exact",
    }
    assert built.manifest["visit_order"] == {"patients_with_several_stays": 2, "of_them_in_known_order": 1}


def test_hospital_stays_of_one_year_and_age_leave_their_unit_stays_ordered_within_admission(tmp_path: Path) -> None:
    content = tables()
    for row in content["patient"]:
        row.update(hospitaldischargeyear=2014, age="70")
    stays = build(tmp_path, content).stays.set_index("stay_id")
    assert stays.visit_order[[101, 102, 103]].tolist() == ["within_admission", "within_admission", "unknown"]


def test_unit_stays_with_one_visit_number_are_in_unknown_order(tmp_path: Path) -> None:
    content = {
        "patient": [patient(101, 9, "z", unitvisitnumber=1), patient(102, 9, "z", unitvisitnumber=1)],
        "vitalAperiodic": [cuff(101, 5, 100, 50, 70), cuff(102, 5, 100, 50, 70)],
        "diagnosis": [diagnosis(101, "486")],
        "pastHistory": tables()["pastHistory"][:1],
    }
    assert build(tmp_path, content).stays.visit_order.tolist() == ["unknown", "unknown"]


def test_age_is_capped_at_ninety_and_left_empty_where_it_is_not_recorded(built: Built) -> None:
    stays = built.stays.set_index("stay_id")
    assert stays.age[201] == 90
    assert pd.isna(stays.age[301])
    assert stays.sex[301] is None or pd.isna(stays.sex[301])
    assert stays.admitted_at.isna().all()


def test_the_split_and_the_patient_id_follow_from_the_patient_key(built: Built) -> None:
    for row in built.stays.itertuples():
        assert row.split == ("test" if is_test_patient(row.patient_key) else "train")
        assert row.patient_id == stable_id(row.patient_key)


# --- labels ----------------------------------------------------------------------------------------------------


def test_a_stay_has_a_label_if_any_code_of_either_system_is_in_the_definitions(built: Built) -> None:
    labels = built.labels
    present = labels[labels.observed == 1]
    assert set(zip(present.stay_id, present.label, strict=True)) == {
        (101, "acute_renal_failure"),
        (101, "essential_hypertension"),
        (102, "fluid_electrolyte_disorders"),
        (602, "septicemia"),
    }


def test_a_label_carries_its_codes_earliest_hour_highest_priority_and_activity(built: Built) -> None:
    row = built.labels.query("stay_id == 101 and label == 'acute_renal_failure'").iloc[0]
    assert (row.code, row.hour, row.priority, row.active_at_discharge) == ("584.9, N17.9", 2.0, "Primary", True)


def test_a_coded_stay_has_every_label_stated_and_an_uncoded_one_none(built: Built) -> None:
    assert built.labels.groupby("stay_id").size().to_dict() == {101: 25, 102: 25, 103: 25, 602: 25}
    assert not built.stay("labels", 103).observed.any()
    assert built.manifest["coding"] == {
        "diagnosis_rows": 7,
        "rows_with_code": 6,
        "rows_in_no_phenotype": 1,
        "distinct_codes": 9,
        "codes_of_neither_form": 0,
        "coded_stays": 4,
    }


# --- series ----------------------------------------------------------------------------------------------------


def test_values_out_of_range_are_removed_and_counted_units_converted_and_counted(built: Built) -> None:
    assert built.values(101, "map") == [(0.5, 80.0)]
    assert built.manifest["removed_values"] == {"map": 1, "weight": 1}
    assert built.values(101, "fio2") == [(0.5, 0.4)]
    assert built.manifest["converted_values"] == {"fio2": 1, "height": 1}


def test_the_coma_scale_comes_from_the_exam_its_total_from_the_sum_or_as_charted(built: Built) -> None:
    assert built.values(101, "gcs_total") == [(0.5, 15.0), (50.0, 9.0)]
    rows = built.stay("observations", 101)
    assert rows[rows.channel == "gcs_motor"].category.tolist() == ["obeys commands"]


def test_a_missing_pressure_is_a_gap_not_a_zero(built: Built) -> None:
    assert built.values(201, "map") == []
    assert built.values(201, "sbp") == [(0.167, 95.0)]


def test_height_and_weight_alone_or_values_outside_the_window_are_no_series(built: Built) -> None:
    flags = built.stays.set_index("stay_id").has_series
    assert not flags[103]
    assert built.values(103, "height") == []
    assert not flags[301]
    assert built.values(101, "weight") == [(0.0, 70.0)]


def test_without_a_cut_off_everything_of_the_stay_may_be_read(tmp_path: Path) -> None:
    result = build(tmp_path, cutoff_hours=None)
    assert result.stays.set_index("stay_id").has_series[103]
    assert result.stays.set_index("stay_id").has_note[103]
    assert result.manifest["cutoff_hours"] is None


def test_the_hourly_table_wins_over_the_cuff_in_its_hour_and_a_gap_stays_open(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "source", tables())
    gap = float("nan")
    write_hourly(
        folder,
        {
            "stay_id": [101, 101, 999],
            "time": [0, 3600, 0],
            "sbp": [125.0, gap, 1.0],
            "temp": [99.5, 37.0, gap],
            "odd": [1.0, 2.0, 3.0],
        },
    )
    result = Built(tmp_path / "cohort", build_eicu(folder, tmp_path / "cohort"))
    assert result.values(101, "sbp") == [(0.0, 125.0), (1.5, 118.0)]
    assert result.values(101, "dbp") == [(0.5, 60.0), (1.5, 58.0)]
    assert result.values(101, "temperature") == [(0.0, 37.5), (1.0, 37.0)]
    assert result.manifest["ignored_columns"] == ["odd"]


def test_raw_monitor_labs_and_nurses_charting_are_read_in_their_units(tmp_path: Path) -> None:
    content = tables()
    content["vitalPeriodic"] = [
        {
            "patientunitstayid": 101,
            "observationoffset": o,
            "temperature": t,
            "sao2": 97,
            "heartrate": h,
            "respiration": "",
            "etco2": "",
            "systemicsystolic": "",
            "systemicdiastolic": "",
            "systemicmean": "",
        }
        for o, t, h in ((5, 37.1, 80), (10, "", 82), (65, 98.6, 90))
    ]
    content["lab"] = [
        lab(101, "glucose", 150, "mg/dL"),
        lab(101, "glucose", 155, "mg/dL", revised=200),
        lab(101, "FiO2", 50, "%"),
        lab(101, "FiO2", 0.6, "", offset=200),
        lab(101, "CRP", 2.5, "mg/dL"),
        lab(101, "ionized calcium", 4.6, "mg/dL"),
        lab(101, "pH", 7.31, ""),
        lab(101, "something else", "not a number", "furlongs"),
    ]
    content["nurseCharting"] = [
        {
            "nursingchartid": 1,
            "patientunitstayid": 602,
            "nursingchartoffset": 30,
            "nursingchartcelltypevallabel": a,
            "nursingchartcelltypevalname": b,
            "nursingchartvalue": v,
        }
        for a, b, v in (
            ("Temperature", "Temperature (F)", "101.3"),
            ("Glasgow coma score", "GCS Total", "Unable to score due to medication"),
            ("Glasgow coma score", "Motor", "4"),
            ("O2 Saturation", "O2 Saturation", "93"),
        )
    ]
    result = build(tmp_path, content)
    assert result.values(101, "heart_rate") == [(0.167, 82.0), (1.083, 90.0)]
    assert result.values(101, "temperature") == [(0.083, 37.1), (1.083, 37.0)]
    assert result.values(101, "glucose") == [(1.5, 155.0)]
    assert result.values(101, "fio2") == [(0.5, 0.4), (1.5, 0.5), (3.333, 0.6)]
    assert result.values(101, "crp") == [(1.5, 25.0)]
    assert result.values(101, "calcium_ionized") == [(1.5, 1.148)]
    assert result.values(101, "ph") == [(1.5, 7.31)]
    assert result.values(602, "temperature") == [(0.5, 38.5)]
    assert result.values(602, "gcs_motor") == [(0.5, 4.0)]
    assert result.values(602, "spo2") == [(0.5, 93.0)]
    assert result.manifest["unreadable_values"] == {"gcs_total": 1}


# --- notes -----------------------------------------------------------------------------------------------------


def model_text(result: Built, stay: int) -> str:
    rows = result.stay("notes", stay).dropna(subset=["model_end"])
    return "\n".join(row.text[int(row.model_start) : int(row.model_end)] for row in rows.itertuples())


def test_the_model_reads_phrases_without_form_controls_each_once(built: Built) -> None:
    assert model_text(built, 101).splitlines() == [
        "Past history: hypertension requiring treatment; COPD - moderate.",
        "Review of systems: denies shortness of breath.",
        "Family history: CAD.",
        "Constitutional: HR lowest 86; FiO2% 40; I&O (ml) urine 725.",
        "Pulmonary: rales posterior lung field(s) right lower.",
        "Neurologic: GCS eyes score 4; GCS motor score 6; GCS verbal score 5.",
        "Constitutional: HR lowest 90.",
    ]


def test_no_field_that_names_the_label_reaches_the_model(built: Built) -> None:
    text = " ".join(model_text(built, stay) for stay in built.stays.stay_id).lower()
    for word in ("sepsis", "acute renal failure", "norepinephrine", "vasopressor", "system view", "scored"):
        assert word not in text


def test_readers_see_interventions_and_what_was_charted_before(built: Built) -> None:
    notes = built.stay("notes", 101)
    plan = notes[notes.category == "interventions and plan"].iloc[0]
    assert "sepsis - evaluation and management" in plan.text
    assert pd.isna(plan.model_start)
    assert "As charted before: Pulmonary: rales" in notes[notes.hour == 11].text.iloc[0]


def test_notes_charted_or_entered_after_the_cut_off_are_for_readers_alone(built: Built) -> None:
    assert pd.isna(built.stay("notes", 101).set_index("hour").model_end[50.0])
    assert pd.isna(built.stay("notes", 103).model_end.iloc[0])
    assert not built.stays.set_index("stay_id").has_note[103]


def test_history_charted_before_unit_admission_was_known_and_is_read(built: Built) -> None:
    assert model_text(built, 102) == "Past history: dementia."
    assert built.stay("notes", 102).hour.tolist() == [-0.25]


@pytest.mark.parametrize(
    ("read", "path", "leaf", "phrase"),
    [
        (read_physical_exam, EXAM + "Cardiovascular/Pulses/Dorsalis pedis/L", "reduced", "dorsalis pedis L reduced"),
        (read_physical_exam, EXAM + "Extremities/Edema", "no edema", "no edema"),
        (
            read_physical_exam,
            EXAM + "Neurologic/GCS/Mental Status/Affect",
            "calm/appropriate",
            "affect calm/appropriate",
        ),
        (read_physical_exam, EXAM + "Pulmonary/Airway", "intubated", "airway intubated"),
        (
            read_physical_exam,
            EXAM + 'Skin/Print "within normal limits"',
            "within normal limits",
            "within normal limits",
        ),
        (read_physical_exam, EXAM + "Cardiovascular/Auscultation/Heart Sounds/S3", "S3 absent", "S3 absent"),
        (read_past_history, HISTORY + "Gastrointestinal (R)/Cirrhosis", "ascites", "cirrhosis ascites"),
        (read_past_history, HISTORY + "Neurologic/Strokes/multiple", "multiple", "strokes multiple"),
        (
            read_past_history,
            HISTORY + "Endocrine (R)/Non-Insulin Dependent Diabetes",
            "medication dependent",
            "non-insulin dependent diabetes medication dependent",
        ),
        (read_past_history, HISTORY + "Pulmonary/Asthma", "asthma", "asthma"),
        (read_past_history, HISTORY + "Hematology/Oncology (R)/Cancer/Metastases", "liver", "metastases liver"),
        (read_note, SOCIAL + "Social History/Ethanol Use", "none", "ethanol use none"),
        (read_note, SYSTEMS + "Pulmonary/Asthma / Wheezing", "asthma/wheezing", "pulmonary asthma/wheezing"),
    ],
)
def test_a_path_is_read_as_the_phrase_of_its_last_parts(
    read: Callable[[str, str], Any], path: str, leaf: str, phrase: str
) -> None:
    reading = read(f"{path}/{leaf}", leaf)
    assert reading.phrase == phrase
    assert reading.model


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("notes/Procedure Notes/Intubation/Indication/for respiratory insufficiency", False),
        ("notes/Progress Notes/Interventions/Major/Shock - evaluation and management", False),
        ("notes/Progress Notes/Diagnoses/sepsis", False),
        ("notes/Something New/unheard of", False),
        ("notes/Progress Notes/Review Of Systems/Systems/Skin/Rash/rash", True),
    ],
)
def test_only_sections_known_to_describe_the_patient_are_open_to_a_model(path: str, model: bool) -> None:
    reading = read_note(path, path.rsplit("/", 1)[-1])
    assert reading is not None
    assert reading.model is model


@pytest.mark.parametrize(
    "path",
    [
        "notes/Shared/View and Save/Save Options/Print/Copies/Copies",
        "notes/Progress Notes/Assessment and Plan/View Options/System View",
        "notes/Progress Notes/Physical Exam/Physical Exam Obtain Options/Performed - Structured",
        "notes/Progress Notes/Allergies / Preadmission Medications/Allergies/Yes",
    ],
)
def test_form_controls_are_no_text(path: str) -> None:
    leaf = path.rsplit("/", 1)[-1]
    assert read_note(path, leaf) is None
    assert read_physical_exam(path, leaf) is None


# --- evidence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("cardiovascular|shock|vasopressors|vasopressin", "drug", "vasopressors, vasopressin"),
        (
            "surgery|infection|prophylactic antibacterials|for surgery|vancomycin",
            "drug",
            "prophylactic antibacterials, for surgery, vancomycin",
        ),
        ("renal|dialysis|hemodialysis", "procedure", "hemodialysis"),
        ("pulmonary|ventilation and oxygenation|mechanical ventilation", "procedure", "mechanical ventilation"),
        ("infectious diseases|cultures / immuno-assays|cultures|blood", "micro", "cultures, blood"),
        ("neurologic|procedures / diagnostics|head CT scan", "imaging", "head CT scan"),
        ("pulmonary|radiologic procedures / bronchoscopy|chest x-ray", "imaging", "chest x-ray"),
        ("cardiovascular|non-operative procedures|cardiac angiography", "procedure", "cardiac angiography"),
    ],
)
def test_a_treatment_is_drug_procedure_imaging_or_culture_by_its_path(path: str, kind: str, name: str) -> None:
    assert (treatment_kind(path), treatment_name(path)) == (kind, name)


def test_evidence_holds_treatments_and_admission_diagnoses_and_never_the_recorded_codes(built: Built) -> None:
    evidence = built.review_evidence
    assert set(evidence.kind) == {"drug", "finding", "admission_diagnosis"} <= set(EVIDENCE_KINDS)
    assert "diagnosis" not in set(evidence.kind)
    assert evidence[evidence.kind == "admission_diagnosis"].name.tolist() == ["Sepsis, pulmonary"]
    written = " ".join(evidence.name.tolist() + evidence.text.dropna().tolist())
    assert not any(code in written for code in built.labels.code.dropna())


def test_rhythm_and_neurological_findings_of_the_exam_are_evidence(tmp_path: Path) -> None:
    content = tables()
    content["physicalExam"] += [
        exam(20, 101, "Constitutional/Vital Sign and Physiological Data/HR Rhythm/dysrhythmia/irregular", "irregular"),
        exam(21, 101, "Neurologic/Cranial Nerves/abnormal", "abnormal"),
        exam(22, 101, "Gastrointestinal/Rectal exam/occult blood positive", "occult blood positive"),
    ]
    rows = build(tmp_path, content).stay("review_evidence", 101)
    assert {
        ("ecg", "HR rhythm: dysrhythmia, irregular"),
        ("finding", "neurologic exam: cranial nerves abnormal"),
    } <= set(zip(rows.kind, rows.name, strict=True))
    assert "rectal exam: occult blood positive" in set(rows.name)
    assert not rows.name.str.contains("GCS").any()


def test_optional_tables_give_evidence_where_they_are_present(tmp_path: Path) -> None:
    content = tables()
    content["medication"] = [
        {
            "patientunitstayid": 101,
            "drugstartoffset": 60,
            "drugname": "aspirin",
            "dosage": "81 mg",
            "routeadmin": "PO",
            "frequency": "daily",
            "drugordercancelled": cancelled,
        }
        for cancelled in ("No", "Yes")
    ]
    content["infusionDrug"] = [
        {"patientunitstayid": 101, "infusionoffset": 60, "drugname": "Norepinephrine (mcg/min)", "drugrate": "8"}
    ]
    content["microLab"] = [
        {
            "patientunitstayid": 101,
            "culturetakenoffset": 30,
            "culturesite": "Blood, Venipuncture",
            "organism": "E. coli",
            "antibiotic": "ceftriaxone",
            "sensitivitylevel": "Sensitive",
        }
    ]
    content["intakeOutput"] = [
        {
            "patientunitstayid": 101,
            "intakeoutputoffset": 60,
            "cellpath": "flowsheet|I&O|Output (ml)|Urine",
            "celllabel": "Urine",
            "cellvaluenumeric": 250,
            "dialysistotal": -900,
            "nettotal": -650,
        }
    ]
    content["apacheApsVar"] = [
        {
            "patientunitstayid": 101,
            "intubated": 0,
            "vent": 1,
            "dialysis": 0,
            **dict.fromkeys(NOT_MEASURED, -1),
            "creatinine": 2.4,
        }
    ]
    result = build(tmp_path, content)
    rows = result.stay("review_evidence", 101).set_index("name")
    assert rows.text["aspirin"] == "81 mg, PO, daily"
    assert (rows.value["Norepinephrine (mcg/min)"], rows.unit["Norepinephrine (mcg/min)"]) == (8.0, "mcg/min")
    assert rows.text["culture, blood, venipuncture: E. coli"] == "ceftriaxone sensitive"
    assert rows.value["dialysis, net"] == -900
    assert rows.text["mechanical ventilation in the first 24 h (APACHE)"] == "yes"
    assert rows.hour["creatinine, worst of the first 24 h (APACHE)"] == 24.0
    assert not [name for name in rows.index if name.startswith("intubated")]
    assert result.values(101, "urine_output") == [(1.0, 250.0)]


# --- bad input -------------------------------------------------------------------------------------------------


def drop_column(table: str, column: str) -> Callable[[dict[str, Rows]], None]:
    return lambda content: [row.pop(column) for row in content[table]] and None


def set_cell(table: str, column: str, value: object) -> Callable[[dict[str, Rows]], None]:
    return lambda content: content[table][0].update({column: value})


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda c: c.pop("patient"), "patient.csv or patient.csv.gz"),
        (lambda c: c.pop("diagnosis"), "diagnosis.csv or diagnosis.csv.gz"),
        (lambda c: c.pop("vitalAperiodic"), "hourly.parquet, or at least one of vitalPeriodic.csv(.gz)"),
        (
            lambda c: [c.pop(t) for t in ("note", "pastHistory", "physicalExam")],
            "pastHistory.csv, physicalExam.csv or note.csv",
        ),
        (drop_column("patient", "uniquepid"), "none named uniquepid"),
        (drop_column("diagnosis", "icd9code"), "none named icd9code"),
        (drop_column("vitalAperiodic", "noninvasivemean"), "none named noninvasivemean"),
        (set_cell("vitalAperiodic", "noninvasivesystolic", "high"), "text in 1 rows"),
        (set_cell("patient", "unitdischargeoffset", "late"), "text in 1 rows"),
        (set_cell("vitalAperiodic", "noninvasivesystolic", "NaN"), "NaN or infinity in 1 rows"),
        (set_cell("vitalAperiodic", "noninvasivemean", "inf"), "NaN or infinity in 1 rows"),
        (set_cell("vitalAperiodic", "observationoffset", "soon"), "text in 1 rows, first in row 2"),
        (set_cell("vitalAperiodic", "observationoffset", "1e300"), "numbers in reach in vitalAperiodic.csv"),
        (set_cell("vitalAperiodic", "patientunitstayid", "101.5"), "fractions or numbers too large in 1 rows"),
        (set_cell("vitalAperiodic", "patientunitstayid", "1e300"), "column patientunitstayid; got fractions"),
        (set_cell("diagnosis", "patientunitstayid", "9223372036854775808"), "fractions or numbers too large in 1 rows"),
        (
            lambda c: [row.update({"x" * 200: 1}) or row.pop("noninvasivemean") for row in c["vitalAperiodic"]],
            "in a header of",
        ),
        (set_cell("patient", "age", "seventy"), "other text in 1 rows"),
        (set_cell("patient", "uniquepid", ""), "an empty cell in 1 rows, first in row 2"),
        (set_cell("patient", "unitdischargeoffset", ""), "an empty cell in 1 rows, first in row 2"),
        (lambda c: c["patient"].append(c["patient"][0]), "1 rows too many"),
        (
            lambda c: c.update(lab=[lab(101, "glucose", 8.1, "mmol/L")]),
            "lab.csv: glucose in mg/dl; got another unit in 1 of 1",
        ),
        (lambda c: c.update(lab=[lab(101, "glucose", "high", "mg/dL")]), "column labresult"),
        (lambda c: c.update(vitalAperiodic=[cuff(101, i, 16.0, 8.0, 10.1) for i in range(25)]), "so another unit"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_leaves_nothing_behind(
    tmp_path: Path, spoil: Callable[[dict[str, Rows]], object], says: str
) -> None:
    content = tables()
    spoil(content)
    with pytest.raises(SourceError) as caught:
        build(tmp_path, content)
    line = str(caught.value)
    assert says in line
    assert len(line) <= 290
    assert "\n" not in line
    assert "a-1" not in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize(
    "bytes_",
    [b"", b"patientunitstayid,uniquepid\n", gzip.compress(b"patientunitstayid\n1\n", mtime=0)[:-6]],
    ids=["empty", "headless", "cut"],
)
def test_an_empty_a_headless_or_a_cut_patient_file_is_refused(tmp_path: Path, bytes_: bytes) -> None:
    folder = write_folder(tmp_path / "source", tables(), packed=())
    (folder / "patient.csv").unlink()
    (folder / ("patient.csv.gz" if bytes_[:1] == b"\x1f" else "patient.csv")).write_bytes(bytes_)
    with pytest.raises(SourceError):
        build_eicu(folder, tmp_path / "cohort")


def test_a_header_without_rows_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "source", tables(), packed=())
    path = folder / "patient.csv"
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(SourceError, match="a header and nothing else"):
        build_eicu(folder, tmp_path / "cohort")


def test_a_ragged_file_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "source", tables(), packed=())
    with (folder / "vitalAperiodic.csv").open("a", encoding="utf-8") as handle:
        handle.write("1,2\n")
    with pytest.raises(SourceError, match="6 columns; got one that is damaged"):
        build_eicu(folder, tmp_path / "cohort")


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_a_folder_that_is_no_eicu_folder_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError):
        build_eicu(tmp_path / folder, tmp_path / "cohort")


@pytest.mark.parametrize(
    ("columns", "kind", "says"),
    [
        ({"stay_id": [101], "time": [0], "hr": [80.0]}, pa.int64(), "unit unknown"),
        ({"stay_id": [101], "time": [0], "hr": ["fast"]}, None, "column hr"),
        ({"stay_id": [101], "time": [0], "hr": [float("inf")]}, None, "infinity in 1 rows"),
        ({"stay_id": [101, 101], "time": [0, 0], "hr": [80.0, 81.0]}, None, "repeated"),
        ({"stay_id": ["x"], "time": [0], "hr": [80.0]}, None, "stay_id as integers"),
        ({"stay": [101], "time": [0], "hr": [80.0]}, None, "no stay_id"),
        ({"stay_id": [101], "time": [0], "pulse": [80.0]}, None, "none of them"),
        ({"stay_id": [], "time": [], "hr": []}, None, "got none"),
    ],
)
def test_a_bad_hourly_table_is_refused(
    tmp_path: Path, columns: dict[str, list[object]], kind: pa.DataType | None, says: str
) -> None:
    folder = write_folder(tmp_path / "source", tables())
    write_hourly(folder, columns, kind)
    with pytest.raises(SourceError, match=says):
        build_eicu(folder, tmp_path / "cohort")


def test_a_cut_hourly_table_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "source", tables())
    (folder / "hourly.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceError, match="damaged or cut short"):
        build_eicu(folder, tmp_path / "cohort")


@pytest.mark.parametrize("cutoff", [0.0, -1.0, float("inf"), float("nan")])
def test_a_cut_off_that_is_no_positive_number_of_hours_is_refused(tmp_path: Path, cutoff: float) -> None:
    with pytest.raises(ConfigError):
        build(tmp_path, cutoff_hours=cutoff)


def test_the_failed_build_keeps_the_old_cohort(tmp_path: Path) -> None:
    before = build(tmp_path).manifest["fingerprint"]
    content = tables()
    content["patient"].append(content["patient"][0])
    with pytest.raises(MiraclError):
        build(tmp_path, content)
    assert json.loads((tmp_path / "cohort/manifest.json").read_text())["fingerprint"] == before


# --- the whole -------------------------------------------------------------------------------------------------


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path, built: Built) -> None:
    again = build(tmp_path)
    assert again.manifest["tables"] == built.manifest["tables"]
    assert again.manifest["fingerprint"] == built.manifest["fingerprint"]


def test_the_cohort_opens_for_training(built: Built) -> None:
    cohort = open_cohort(built.folder)
    observed, stated = cohort.label_matrix()
    assert observed.sum() == 4
    assert stated.all(axis=1).sum() == 4


def test_progress_is_told_what_is_being_done(tmp_path: Path) -> None:
    said: list[str] = []
    build_eicu(write_folder(tmp_path / "source", tables()), tmp_path / "cohort", progress=said.append)
    assert said[0] == "reading stays"
    assert said[-1] == "writing"


@pytest.mark.data
@pytest.mark.skipif(not DEMO.is_dir(), reason="the eICU demo is not under ../shared/data/eicu-demo")
def test_the_open_demo_is_built_in_a_minute_with_the_counts_that_it_is_known_for(tmp_path: Path) -> None:
    started = time.monotonic()
    manifest = build_eicu(DEMO, tmp_path / "cohort")
    assert time.monotonic() - started < 60
    result = Built(tmp_path / "cohort", manifest)
    stays = result.stays.set_index("stay_id")
    coded = set(result.labels.stay_id)
    assert [line["out"] for line in manifest["attrition"]] == [2520, 2516, 2504, 2434, 2434]
    assert (len(coded), manifest["not_recorded"]) == (1963, 471)
    both = stays[stays.has_series & stays.has_note]
    assert (len(both), len(set(both.index) & coded)) == (2195, 1941)
    hourly = set(pq.read_table(DEMO / "hourly.parquet", columns=["stay_id"])["stay_id"].to_pylist())
    assert len(hourly) == 2267
    assert len(hourly & set(stays.index)) == 2267
    assert len(hourly & set(stays[stays.has_note].index) & coded) == 1849
    prevalence = result.labels.groupby("label")["observed"].mean()
    assert prevalence["respiratory_failure"] == pytest.approx(0.217, abs=0.001)
    assert prevalence.min() > 0
    assert not result.observations.value.isna().any()
    assert set(result.review_evidence.kind) <= set(EVIDENCE_KINDS) - {"diagnosis"}
    open_cohort(tmp_path / "cohort")


def test_the_first_wrong_cell_is_told_by_its_row(tmp_path: Path) -> None:
    content = tables()
    content["vitalAperiodic"][4].update(noninvasivesystolic="high")
    content["vitalAperiodic"][6].update(noninvasivesystolic="higher")
    with pytest.raises(SourceError, match="text in 2 rows, first in row 6"):
        build(tmp_path, content)


def test_a_packed_file_whose_inside_is_damaged_is_one_line(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "source", tables())
    path = folder / "diagnosis.csv.gz"
    body = bytearray(path.read_bytes())
    body[14:60] = bytes(46)
    path.write_bytes(bytes(body))
    with pytest.raises(SourceError, match=r"diagnosis\.csv\.gz as a"):
        build_eicu(folder, tmp_path / "cohort")


def test_a_row_with_too_few_cells_is_told_by_its_line(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "source", tables())
    path = folder / "vitalAperiodic.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[3] = "1,101"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(SourceError, match="damaged, first in line 4"):
        build_eicu(folder, tmp_path / "cohort")
