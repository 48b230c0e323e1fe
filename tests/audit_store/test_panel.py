"""Each criterion is computed from a stored row: change the row and the finding goes or turns."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from audit_store.chart import Chart
from audit_store.guidelines import load
from audit_store.panel import RULES, PanelResult, panel
from tests.audit_store.chart_cohort import Stay, write_invented

Obs = list[tuple[float, str, float]]
Row = tuple[float | None, str, str, float | None, str | None, str | None]


@dataclass(frozen=True)
class Case:
    """What makes a criterion speak, and the same with one stored thing changed so that it falls silent or turns."""

    rule: str
    label: str
    direction: str
    fires: Stay
    changed: Stay
    turned: str | None = None
    other: Stay | None = None
    other_changed: Stay | None = None


def S(  # noqa: N802
    series: Obs | None = None, evidence: list[Row] | None = None, note: str | None = None, **more: object
) -> Stay:
    notes: list[tuple[float | None, str, str]] = [] if note is None else [(1.0, "progress note", note)]
    return replace(Stay(0), series=series or [], evidence=evidence or [], notes=notes, **more)  # type: ignore[arg-type]


def ev(
    name: str, text: str | None = None, kind: str = "drug", value: float | None = None, unit: str | None = None
) -> Row:
    return (1.0, kind, name, value, unit, text)


def by_value(
    rule: str, label: str, channel: str, fires: float, changed: float, direction: str = "supports", **more: Stay
) -> Case:
    return Case(rule, label, direction, S([(1.0, channel, fires)]), S([(1.0, channel, changed)]), **more)  # type: ignore[arg-type]


def by_name(rule: str, label: str, fires: Row, changed: Row, direction: str = "supports") -> Case:
    return Case(rule, label, direction, S(evidence=[fires]), S(evidence=[changed]))


def by_note(rule: str, label: str, fires: str, changed: str, direction: str = "supports") -> Case:
    return Case(rule, label, direction, S(note=fires), S(note=changed))


def two(channel: str, first: float, second: float, apart: float = 24.0) -> Obs:
    return [(1.0, channel, first), (1.0 + apart, channel, second)]


HIGH = [(1.0, "creatinine", 2.4)]
URINE_LOW: Obs = [(float(h), "urine_output", 20.0) for h in range(7)]
URINE_SPARSE: Obs = [(h, "urine_output", 20.0) for h in (0.0, 2.0, 4.0, 6.0)]
WEIGHT = (0.0, "weight", 80.0)
JAN, JUNE = datetime.fromisoformat("2020-01-01"), datetime.fromisoformat("2020-06-01")
DIALYSIS = ev("hemodialysis, for chronic renal failure", kind="procedure")

CASES = [
    Case(
        "kdigo_rise", "acute_renal_failure", "supports", S(two("creatinine", 1.0, 1.3)), S(two("creatinine", 1.0, 1.2))
    ),
    Case(
        "kdigo_rise",
        "acute_renal_failure",
        "supports",
        S(two("creatinine", 1.0, 1.4, 48)),
        S(two("creatinine", 1.0, 1.4, 49)),
    ),
    Case(
        "kdigo_rise",
        "acute_renal_failure",
        "supports",
        S(two("creatinine", 1.0, 1.4)),
        S(two("creatinine", 1.0, 1.4), [DIALYSIS]),
        turned="neutral",
    ),
    Case(
        "kdigo_ratio", "acute_renal_failure", "supports", S(two("creatinine", 2.4, 1.6)), S(two("creatinine", 2.3, 1.6))
    ),
    Case(
        "kdigo_ratio",
        "acute_renal_failure",
        "supports",
        S(HIGH, visit=2),
        S(HIGH, visit=2),
        other=S([(1.0, "creatinine", 1.6)]),
        other_changed=S([(1.0, "creatinine", 1.7)]),
    ),
    Case(
        "kdigo_ratio",
        "acute_renal_failure",
        "supports",
        S(HIGH, visit=2),
        S(HIGH, visit=2, order="unknown"),
        other=S([(1.0, "creatinine", 1.0)]),
        other_changed=S([(1.0, "creatinine", 1.0)], order="unknown"),
    ),
    Case(
        "creatinine_steady",
        "acute_renal_failure",
        "against",
        S(two("creatinine", 1.0, 1.1)),
        S(two("creatinine", 1.0, 1.3)),
    ),
    Case(
        "creatinine_steady",
        "acute_renal_failure",
        "neutral",
        S(two("creatinine", 2.8, 2.2)),
        S(two("creatinine", 1.1, 1.0)),
        turned="against",
    ),
    Case(
        "creatinine_no_baseline",
        "acute_renal_failure",
        "neutral",
        S(HIGH),
        S(two("creatinine", 2.4, 2.4)),
    ),
    Case(
        "creatinine_across_visits",
        "chronic_kidney_disease",
        "supports",
        S(HIGH, visit=2, admitted=JUNE),
        S(HIGH, visit=2, admitted=JAN + timedelta(days=60)),
        turned="neutral",
        other=S(HIGH, admitted=JAN),
        other_changed=S(HIGH, admitted=JAN),
    ),
    Case(
        "oliguria", "acute_renal_failure", "supports", S([*URINE_LOW, WEIGHT]), S([*URINE_LOW, (0.0, "weight", 30.0)])
    ),
    # just inside and just outside of windows
    Case(
        "kdigo_ratio",
        "acute_renal_failure",
        "supports",
        S([(0.0, "creatinine", 1.0), (168.0, "creatinine", 2.0)]),
        S([(0.0, "creatinine", 1.0), (169.0, "creatinine", 2.0)]),
    ),
    Case(
        "creatinine_across_visits",
        "chronic_kidney_disease",
        "supports",
        S(HIGH, visit=2, admitted=JAN + timedelta(days=90)),
        S(HIGH, visit=2, admitted=JAN + timedelta(days=89)),
        turned="neutral",
        other=S(HIGH, admitted=JAN),
        other_changed=S(HIGH, admitted=JAN),
    ),
    Case(
        "oliguria", "shock", "supports", S([*URINE_LOW, (0.0, "weight", 41.0)]), S([*URINE_LOW, (0.0, "weight", 40.0)])
    ),
    Case("oliguria", "shock", "supports", S([*URINE_SPARSE, WEIGHT]), S([*URINE_SPARSE[1:], WEIGHT])),
    Case(
        "oliguria",
        "shock",
        "supports",
        S([*URINE_LOW, WEIGHT]),
        S([(h * 1.2, channel, value) for h, channel, value in URINE_LOW[:5]] + [WEIGHT]),
    ),
    Case(
        "pf_low",
        "septicemia",
        "supports",
        S([(4.0, "pao2", 90.0), (0.0, "fio2", 0.4)]),
        S([(4.1, "pao2", 90.0), (0.0, "fio2", 0.4)]),
    ),
    Case(
        "hypercapnia",
        "respiratory_failure",
        "supports",
        S([(4.0, "paco2", 60.0), (5.0, "ph", 7.2)]),
        S([(4.0, "paco2", 60.0), (5.1, "ph", 7.2)]),
    ),
    Case(
        "hyperosmolar",
        "diabetes_with_complications",
        "supports",
        S([(1.0, "glucose", 601.0)], [ev("osmolality", kind="finding", value=321.0)]),
        S([(1.0, "glucose", 600.0)], [ev("osmolality", kind="finding", value=321.0)]),
    ),
    Case(
        "haemoglobin_fall",
        "gastrointestinal_hemorrhage",
        "neutral",
        S(two("hemoglobin", 10.0, 7.0, 48.0)),
        S(two("hemoglobin", 10.0, 7.0, 49.0)),
    ),
    by_value("pressure_crisis", "hypertension_with_complications", "dbp", 121.0, 120.0, "neutral"),
    by_name(
        "dialysis_recorded",
        "acute_renal_failure",
        ev("hemodialysis, emergent", kind="procedure"),
        ev("insertion of venous catheter", kind="procedure"),
    ),
    Case(
        "dialysis_recorded",
        "acute_renal_failure",
        "supports",
        S(evidence=[ev("Hemodialysis", kind="procedure")]),
        S(evidence=[DIALYSIS]),
        turned="neutral",
    ),
    by_name("dialysis_chronic_recorded", "chronic_kidney_disease", DIALYSIS, ev("Hemodialysis", kind="procedure")),
    Case("map_low", "shock", "supports", S(two("map", 64.0, 60.0)), S(two("map", 65.0, 60.0))),
    Case("map_kept", "shock", "against", S(two("map", 65.0, 80.0)), S(two("map", 64.0, 80.0))),
    Case("map_kept", "shock", "against", S(two("map", 70.0, 80.0)), S(two("map", 70.0, 80.0), [ev("norepinephrine")])),
    by_value("pressure_crisis", "hypertension_with_complications", "sbp", 181.0, 180.0, "neutral"),
    Case(
        "troponin_rise_fall",
        "acute_myocardial_infarction",
        "supports",
        S(two("troponin_t", 0.10, 0.13)),
        S(two("troponin_t", 0.10, 0.12)),
    ),
    Case(
        "troponin_flat",
        "acute_myocardial_infarction",
        "against",
        S(two("troponin_i", 0.01, 0.03)),
        S(two("troponin_i", 0.01, 0.3)),
    ),
    by_value("troponin_single", "acute_myocardial_infarction", "troponin_i", 0.5, 0.03, "neutral"),
    by_value("ck_mb_high", "acute_myocardial_infarction", "ck_mb", 5.1, 5.0),
    by_value("lactate_high", "septicemia", "lactate", 2.1, 2.0),
    by_value("lactate_high", "shock", "lactate", 2.1, 2.0),
    by_value("bnp_high", "heart_failure", "bnp", 401.0, 400.0),
    by_value("bnp_low", "heart_failure", "bnp", 99.0, 100.0, "against"),
    by_value("fever", "pneumonia", "temperature", 38.1, 38.0),
    by_value("leucocytosis", "pneumonia", "wbc", 12.1, 12.0),
    by_value("leucopenia", "septicemia", "wbc", 3.9, 4.0),
    by_value("bands_high", "septicemia", "bands", 11.0, 10.0),
    by_value("platelets_organ", "septicemia", "platelets", 99.0, 100.0),
    by_value("creatinine_organ", "septicemia", "creatinine", 2.0, 1.9),
    by_value("bilirubin_organ", "septicemia", "bilirubin", 2.0, 1.9),
    by_name(
        "creatinine_organ",
        "septicemia",
        ev("creatinine, worst of the first 24 h (APACHE)", kind="finding", value=2.5, unit="mg/dL"),
        ev("creatinine, worst of the first 24 h (APACHE)", kind="finding", value=1.5, unit="mg/dL"),
    ),
    by_value("pao2_low", "respiratory_failure", "pao2", 59.0, 60.0),
    by_value("hba1c_diabetic", "diabetes_without_complication", "hba1c", 6.5, 6.4),
    by_value("hba1c_normal", "diabetes_without_complication", "hba1c", 5.6, 5.7, "against"),
    by_value("glucose_high", "diabetes_without_complication", "glucose", 200.0, 199.0, "neutral"),
    Case(
        "pf_low",
        "respiratory_failure",
        "supports",
        S([(4.0, "pao2", 90.0), (2.0, "fio2", 0.4)]),
        S([(4.0, "pao2", 120.0), (2.0, "fio2", 0.4)]),
    ),
    Case(
        "pf_low",
        "septicemia",
        "supports",
        S([(4.0, "pao2", 90.0), (2.0, "fio2", 0.4)]),
        S([(8.0, "pao2", 90.0), (2.0, "fio2", 0.4)]),
    ),
    Case(
        "pf_kept",
        "respiratory_failure",
        "against",
        S([(4.0, "pao2", 120.0), (2.0, "fio2", 0.4)]),
        S([(4.0, "pao2", 119.0), (2.0, "fio2", 0.4)]),
    ),
    Case(
        "hypercapnia",
        "respiratory_failure",
        "supports",
        S([(4.0, "paco2", 51.0), (4.5, "ph", 7.34)]),
        S([(4.0, "paco2", 51.0), (4.5, "ph", 7.35)]),
    ),
    Case(
        "hypercapnia",
        "respiratory_failure",
        "supports",
        S([(4.0, "paco2", 51.0), (4.5, "ph", 7.3)]),
        S([(4.0, "paco2", 50.0), (4.5, "ph", 7.3)]),
    ),
    Case(
        "ketoacidosis",
        "diabetes_with_complications",
        "supports",
        S([(1.0, "glucose", 400.0), (1.0, "ph", 7.2)], [ev("serum ketones", kind="finding", value=5.0)]),
        S([(1.0, "glucose", 400.0), (1.0, "ph", 7.2)]),
        turned="neutral",
    ),
    Case(
        "ketoacidosis",
        "diabetes_with_complications",
        "neutral",
        S([(1.0, "glucose", 251.0), (1.0, "bicarbonate", 18.0)]),
        S([(1.0, "glucose", 250.0), (1.0, "bicarbonate", 18.0)]),
    ),
    Case(
        "hyperosmolar",
        "diabetes_with_complications",
        "supports",
        S([(1.0, "glucose", 700.0)], [ev("osmolality", kind="finding", value=330.0)]),
        S([(1.0, "glucose", 700.0)], [ev("osmolality", kind="finding", value=300.0)]),
    ),
    Case(
        "haemoglobin_fall",
        "gastrointestinal_hemorrhage",
        "supports",
        S(two("hemoglobin", 10.0, 8.0), [ev("packed red cells", value=2.0, unit="units")]),
        S(two("hemoglobin", 10.0, 8.0)),
        turned="neutral",
    ),
    Case(
        "haemoglobin_fall",
        "gastrointestinal_hemorrhage",
        "neutral",
        S(two("hemoglobin", 10.0, 8.0)),
        S(two("hemoglobin", 10.0, 8.1)),
    ),
    Case(
        "electrolyte_acted_on",
        "fluid_electrolyte_disorders",
        "supports",
        S([(1.0, "potassium", 2.9)], [ev("potassium chloride")]),
        S([(1.0, "potassium", 2.9)]),
        turned="neutral",
    ),
    Case(
        "electrolyte_acted_on",
        "fluid_electrolyte_disorders",
        "supports",
        S([(1.0, "potassium", 2.9)], [ev("potassium chloride")]),
        S([(1.0, "potassium", 3.5)], [ev("potassium chloride")]),
    ),
    by_value("electrolytes_in_range", "fluid_electrolyte_disorders", "sodium", 140.0, 134.0, "against"),
    Case(
        "liver_failure_pattern",
        "other_liver_diseases",
        "supports",
        S([(1.0, "bilirubin", 2.0), (1.0, "inr", 1.5)]),
        S([(1.0, "bilirubin", 2.0), (1.0, "inr", 1.4)]),
    ),
    Case(
        "liver_failure_pattern",
        "other_liver_diseases",
        "supports",
        S([(1.0, "bilirubin", 2.0), (1.0, "inr", 1.5)]),
        S([(1.0, "bilirubin", 2.0), (1.0, "inr", 1.5)], [ev("warfarin")]),
        turned="neutral",
    ),
    by_value("enzymes_alone", "other_liver_diseases", "alt", 57.0, 56.0, "neutral"),
    by_name(
        "ldl_high",
        "lipid_disorders",
        ev("LDL cholesterol", kind="finding", value=160.0, unit="mg/dL"),
        ev("LDL cholesterol", kind="finding", value=159.0, unit="mg/dL"),
    ),
    by_name(
        "spirometry_obstructed",
        "copd",
        ev("FEV1/FVC ratio", kind="finding", value=0.5),
        ev("FEV1/FVC ratio", kind="finding", value=0.7),
    ),
    by_name(
        "blood_culture_positive",
        "septicemia",
        ev("Blood culture", "positive in two bottles", "micro"),
        ev("Blood culture", "no growth", "micro"),
    ),
    by_name(
        "sputum_positive",
        "pneumonia",
        ev("Sputum culture", "grew a respiratory pathogen", "micro"),
        ev("Sputum culture", "respiratory flora", "micro"),
    ),
    by_name("statin_alone", "lipid_disorders", ev("atorvastatin"), ev("nystatin"), "neutral"),
    Case(
        "operative_ventilation",
        "respiratory_failure",
        "neutral",
        S(evidence=[ev("Mechanical ventilation", kind="procedure"), ev("elective surgery", kind="finding")]),
        S(evidence=[ev("Mechanical ventilation", kind="procedure")]),
    ),
    by_name("pressors_recorded", "shock", ev("norepinephrine"), ev("metoprolol")),
    by_name("inotropes_recorded", "shock", ev("dobutamine"), ev("digoxin"), "neutral"),
    by_name(
        "ecg_ischaemia_recorded",
        "acute_myocardial_infarction",
        ev("12-lead ECG", "ST elevation", "ecg"),
        ev("12-lead ECG", "no ST elevation", "ecg"),
    ),
    by_name(
        "reperfusion_recorded",
        "acute_myocardial_infarction",
        ev("PTCA done within 24 hours: Stent", kind="finding"),
        ev("PTCA done within 24 hours: none", kind="finding"),
    ),
    by_name(
        "ischaemia_treated",
        "coronary_disease",
        ev("aspirin", "cardiovascular › myocardial ischemia / infarction › antiplatelet agent › aspirin"),
        ev("aspirin", "neurologic › stroke › antiplatelet agent › aspirin"),
        "neutral",
    ),
    by_name(
        "arrhythmia_on_ecg",
        "cardiac_dysrhythmias",
        ev("12-lead ECG", "atrial fibrillation", "ecg"),
        ev("12-lead ECG", "no atrial fibrillation", "ecg"),
    ),
    by_name(
        "irregular_on_exam",
        "cardiac_dysrhythmias",
        ev("Rhythm", "dysrhythmia", "finding"),
        ev("Rhythm", "regular rate and rhythm", "finding"),
        "neutral",
    ),
    by_name(
        "sinus_on_ecg",
        "cardiac_dysrhythmias",
        ev("12-lead ECG", "sinus rhythm", "ecg"),
        ev("12-lead ECG", "paced", "ecg"),
        "neutral",
    ),
    by_name("antiarrhythmic_recorded", "cardiac_dysrhythmias", ev("amiodarone"), ev("amlodipine")),
    by_name(
        "rhythm_procedure_recorded",
        "cardiac_dysrhythmias",
        ev("cardioversion, electrical", kind="procedure"),
        ev("conversation", kind="procedure"),
    ),
    by_name(
        "block_on_ecg",
        "conduction_disorders",
        ev("12-lead ECG", "left bundle branch block", "ecg"),
        ev("12-lead ECG", "no bundle branch block", "ecg"),
    ),
    by_name(
        "pacing_recorded",
        "conduction_disorders",
        ev("Temporary pacing", kind="procedure"),
        ev("Spacing", kind="procedure"),
    ),
    by_name(
        "revascularised",
        "coronary_disease",
        ev("CABG, routine", kind="procedure"),
        ev("carotid stent", kind="procedure"),
    ),
    by_name(
        "congestion_on_imaging",
        "heart_failure",
        ev("Chest x-ray", "vascular congestion", "imaging"),
        ev("Chest x-ray", "no vascular congestion", "imaging"),
    ),
    by_name(
        "ejection_low",
        "heart_failure",
        ev("Echocardiogram", "reduced ejection fraction", "imaging"),
        ev("Echocardiogram", "normal ejection fraction", "imaging"),
    ),
    by_name(
        "ejection_measured",
        "heart_failure",
        ev("Pre-op ejection fraction (%): specified", kind="finding", value=40.0),
        ev("Pre-op ejection fraction (%): specified", kind="finding", value=41.0),
    ),
    by_name(
        "hypertrophy_on_echo",
        "hypertension_with_complications",
        ev("Echocardiogram", "left ventricular hypertrophy", "imaging"),
        ev("Echocardiogram", "no left ventricular hypertrophy", "imaging"),
    ),
    by_name("iv_vasodilator", "hypertension_with_complications", ev("nicardipine"), ev("nicotine patch"), "neutral"),
    by_name(
        "ventilation_recorded", "respiratory_failure", ev("mechanical ventilation"), ev("non-invasive ventilation")
    ),
    by_name(
        "niv_recorded", "respiratory_failure", ev("BiPAP", kind="procedure"), ev("nasal cannula", kind="procedure")
    ),
    by_name("antibiotics_recorded", "pneumonia", ev("vancomycin"), ev("prophylactic antibacterials")),
    by_name(
        "infiltrate_on_imaging",
        "pneumonia",
        ev("Chest x-ray", "new lobar infiltrate", "imaging"),
        ev("Chest x-ray", "no acute process", "imaging"),
    ),
    by_name(
        "emphysema_on_imaging",
        "copd",
        ev("CT chest", "emphysema", "imaging"),
        ev("CT chest", "subcutaneous emphysema", "imaging"),
    ),
    by_name(
        "fibrosis_on_imaging",
        "other_lower_respiratory_disease",
        ev("CT chest", "fibrosis", "imaging"),
        ev("CT chest", "no fibrosis", "imaging"),
    ),
    by_name(
        "pleural_on_imaging",
        "pleurisy_pneumothorax_collapse",
        ev("Chest x-ray", "pleural effusion", "imaging"),
        ev("Chest x-ray", "pericardial effusion", "imaging"),
    ),
    by_name(
        "drainage_recorded",
        "pleurisy_pneumothorax_collapse",
        ev("thoracentesis", kind="procedure"),
        ev("paracentesis", kind="procedure"),
    ),
    by_name("bronchodilator_recorded", "copd", ev("bronchodilator, ipratropium"), ev("propranolol"), "neutral"),
    by_name(
        "upper_airway_named",
        "other_upper_respiratory_disease",
        ev("Laryngoscopy", "vocal cord paralysis", "procedure"),
        ev("Laryngoscopy", "normal", "procedure"),
    ),
    by_name("oral_hypoglycaemics", "diabetes_without_complication", ev("metformin (home)"), ev("insulin lispro")),
    by_name("insulin_recorded", "diabetes_without_complication", ev("insulin lispro"), ev("metformin"), "neutral"),
    by_name(
        "diabetic_damage_recorded",
        "diabetes_with_complications",
        ev("Foot exam", "reduced sensation, ulcer", "finding"),
        ev("Skin", "pressure ulcer", "finding"),
    ),
    by_name(
        "endoscopic_proof",
        "gastrointestinal_hemorrhage",
        ev("esophagogastroduodenoscopy, with banding", kind="procedure"),
        ev("esophagogastroduodenoscopy", kind="procedure"),
    ),
    by_name(
        "blood_seen",
        "gastrointestinal_hemorrhage",
        ev("Stool", "melaena or guaiac positive", "finding"),
        ev("Stool", "guaiac negative", "finding"),
    ),
    by_name(
        "ascites_recorded",
        "other_liver_diseases",
        ev("paracentesis", kind="procedure"),
        ev("x", "no ascites", "finding"),
    ),
    by_name("liver_drug_recorded", "other_liver_diseases", ev("lactulose"), ev("lactose")),
    by_name(
        "stroke_on_imaging",
        "acute_cerebrovascular_disease",
        ev("CT head", "acute infarct described", "imaging"),
        ev("CT head", "no acute intracranial process", "imaging"),
    ),
    by_name("stroke_treated", "acute_cerebrovascular_disease", ev("alteplase"), ev("aspirin")),
    by_name(
        "harm_recorded",
        "complications_of_care",
        ev("Wound", "wound dehiscence", "finding"),
        ev("Wound", "no complications", "finding"),
    ),
    by_name("antihypertensive_recorded", "essential_hypertension", ev("amlodipine"), ev("amoxicillin"), "neutral"),
    by_name(
        "admission_names_it",
        "septicemia",
        ev("Sepsis, pulmonary", kind="admission_diagnosis"),
        ev("Pneumonia, bacterial", kind="admission_diagnosis"),
    ),
    by_name(
        "admission_names_it",
        "diabetes_with_complications",
        ev("Diabetic ketoacidosis", kind="admission_diagnosis"),
        ev("Coma (for diabetic ketoacidosis see Endocrine)", kind="admission_diagnosis"),
    ),
    by_note("named_in_notes", "copd", "Severe COPD.", "Denies COPD."),
    by_note("named_in_notes", "septicemia", "She is septic.", "History of sepsis."),
    by_note("named_as_past", "acute_myocardial_infarction", "History of MI.", "MI today.", "neutral"),
    by_note("doubted_in_notes", "pneumonia", "Possible pneumonia.", "Pneumonia.", "neutral"),
    by_note("denied_in_notes", "copd", "Denies COPD.", "COPD.", "against"),
    by_note("mate_named", "diabetes_without_complication", "Diabetic ketoacidosis.", "Diabetes.", "against"),
    by_note("mate_named", "diabetes_with_complications", "Known diabetes.", "Diabetic ketoacidosis.", "neutral"),
    by_note(
        "rhythm_noted", "cardiac_dysrhythmias", "HR rhythm; dysrhythmia irregular.", "dysrhythmia regular.", "neutral"
    ),
    by_note("sinus_noted", "cardiac_dysrhythmias", "HR rhythm sinus.", "HR rhythm paced.", "neutral"),
    by_note("pacing_noted", "conduction_disorders", "HR rhythm paced.", "HR rhythm sinus."),
    by_note("blood_noted", "gastrointestinal_hemorrhage", "Melena overnight.", "Denies melena."),
    Case(
        "named_elsewhere",
        "copd",
        "supports",
        S(visit=2),
        S(visit=2),
        other=S(note="COPD."),
        other_changed=S(note="No COPD."),
    ),
]


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """One patient per case and side, with the other visit where a case has one."""
    stays: dict[int, Stay] = {}
    for place, case in enumerate(CASES):
        for side, (stay, other) in enumerate([(case.fires, case.other), (case.changed, case.other_changed)]):
            patient = 2 * place + side + 1
            stays[10 * patient] = replace(stay, patient=patient)
            if other is not None:
                stays[10 * patient + 1] = replace(other, patient=patient, visit=1)
    return Chart.open(write_invented(tmp_path_factory.mktemp("panel") / "cohort", stays))


def found(result: PanelResult, rule: str) -> list[str]:
    return [finding.direction for finding in result.findings if finding.rule == rule]


@pytest.mark.parametrize("place", range(len(CASES)), ids=[f"{c.rule}-{c.label}-{i}" for i, c in enumerate(CASES)])
def test_a_criterion_speaks_by_its_stored_row_and_not_without_it(chart: Chart, place: int) -> None:
    case = CASES[place]
    fires = panel(chart, case.label, 10 * (2 * place + 1))
    changed = panel(chart, case.label, 10 * (2 * place + 2))
    assert found(fires, case.rule) == [case.direction]
    assert found(changed, case.rule) == ([] if case.turned is None else [case.turned])
    finding = next(f for f in fires.findings if f.rule == case.rule)
    assert finding.refs
    assert {ref.table for ref in finding.refs} <= {"observations", "review_evidence", "notes"}
    assert finding.column.split(".")[0] in {"observations", "review_evidence", "notes"}


def test_every_criterion_has_a_case_and_every_label_that_asks_it_runs() -> None:
    assert {case.rule for case in CASES} == set(RULES)
    assert all(case.rule in load()[case.label].criteria for case in CASES)


def small(tmp_path: Path, **stays: Stay) -> Chart:
    return Chart.open(write_invented(tmp_path / "cohort", {int(key[1:]): stay for key, stay in stays.items()}))


def item(result: PanelResult, key: str):  # type: ignore[no-untyped-def]
    return next(i for i in result.items if i.key == key)


def test_missing_things_are_told_apart_not_in_this_data_not_recorded_for_this_stay_and_recorded(tmp_path: Path) -> None:
    chart = small(tmp_path, s1=S([(1.0, "lactate", 4.1)], [ev("norepinephrine")]), s2=replace(S(), patient=2))
    bare, full = panel(chart, "septicemia", 2), panel(chart, "septicemia", 1)
    assert (item(full, "lactate").status, item(full, "lactate").text) == ("value", "4.1 mmol/L at 1 h")
    assert (item(bare, "lactate").status, item(bare, "lactate").text) == (
        "not recorded for this stay",
        "not measured in this stay",
    )
    assert item(bare, "pressors").text == "no record of a vasopressor"
    assert (item(bare, "antibiotics").status, item(bare, "antibiotics").text) == (
        "not in this data",
        "not in this data",
    )
    assert full.headline == "lactate 4.1 · pressor: norepinephrine"


def test_a_missing_drug_is_never_called_not_given(tmp_path: Path) -> None:
    chart = small(tmp_path, s1=S(evidence=[ev("norepinephrine"), ev("vancomycin")]), s2=replace(S(), patient=2))
    for key in chart.label_keys:
        for shown in panel(chart, key, 2).items:
            assert "not given" not in " ".join([shown.text, *shown.details]).lower()


def test_values_carry_time_unit_change_other_visits_and_the_mark_of_the_cut_off(tmp_path: Path) -> None:
    chart = small(
        tmp_path,
        s1=S([(1.0, "creatinine", 0.9)]),
        s2=S([(12.0, "creatinine", 1.1), (48.0, "creatinine", 2.4), (30.0, "creatinine", 3.0)], visit=2),
    )
    shown = item(panel(chart, "acute_renal_failure", 2), "creatinine")
    assert shown.text == "1.1 → 2.4 mg/dL over 36 h (highest 3; 3 measured)"
    assert [(v.text, v.after_cutoff) for v in shown.values] == [
        ("1.1 mg/dL", False),
        ("3 mg/dL", False),
        ("2.4 mg/dL", True),
    ]
    assert shown.after_cutoff
    assert [(v.visit_title, v.text) for v in shown.other_visits] == [("v1", "0.9 mg/dL at 1 h")]
    assert shown.direction == "supports"


def test_a_culture_without_a_result_says_so(tmp_path: Path) -> None:
    chart = small(tmp_path, s1=S(evidence=[ev("cultures, blood", None, "micro")]))
    shown = item(panel(chart, "septicemia", 1), "cultures")
    assert shown.values[0].text == "cultures, blood (result not recorded)"


def test_a_panel_never_reads_the_recorded_labels_or_coded_diagnoses(tmp_path: Path) -> None:
    plain = small(tmp_path / "a", s1=S([(1.0, "lactate", 4.1)]))
    coded = small(
        tmp_path / "b",
        s1=S([(1.0, "lactate", 4.1)], [ev("Sepsis", "septicemia 038.9", "diagnosis")], present=("septicemia",)),
    )
    assert panel(plain, "septicemia", 1) == panel(coded, "septicemia", 1)


def test_findings_of_both_directions_leave_an_item_neutral(tmp_path: Path) -> None:
    chart = small(tmp_path, s1=S(note="COPD severe. Later: denies COPD."))
    assert item(panel(chart, "copd", 1), "history").direction == "neutral"


def test_every_label_has_a_panel_for_a_stay_without_any_data(tmp_path: Path) -> None:
    chart = small(tmp_path, s1=S())
    for key in chart.label_keys:
        result = panel(chart, key, 1)
        assert result.headline == ""
        assert not result.findings
        assert [i.key for i in result.items] == list(load()[key].shows)
