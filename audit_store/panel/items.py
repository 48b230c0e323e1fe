"""The items a panel may hold: which channels and which lists of evidence each one shows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One line of a panel.

    Parameters
    ----------
    title
        What the screen says.
    channels
        Channels shown, first those that decide.
    lists
        Lists of `terms.toml` whose evidence rows are shown.
    kinds
        Evidence kinds shown whole.
    brief
        Its short name in the headline; empty: not in the headline.
    absent
        How "nothing recorded" is worded: "no record of …".
    mentions
        Whether it shows what the notes name.
    note_lists
        Lists looked for in the notes.
    charted
        Lists of charted values shown where a stay has no measurement of the channels.
    """

    title: str
    channels: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    brief: str = ""
    absent: str = ""
    mentions: bool = False
    note_lists: tuple[str, ...] = ()
    charted: tuple[str, ...] = ()


ITEMS: dict[str, Item] = {
    "admission_diagnosis": Item(
        "Admission diagnosis", kinds=("admission_diagnosis",), brief="admitted with", absent="an admission diagnosis"
    ),
    "airway": Item(
        "Airway procedures and findings",
        lists=("airway",),
        brief="airway",
        absent="an airway procedure",
        note_lists=(
            "airway",
            "upper_airway_disease",
        ),
    ),
    "antianginals": Item(
        "Antiplatelets and antianginals",
        lists=("antianginals", "ischaemia_treatment"),
        absent="an antiplatelet or antianginal drug",
    ),
    "antiarrhythmics": Item(
        "Antiarrhythmics and rate control", lists=("antiarrhythmics",), brief="drugs", absent="an antiarrhythmic"
    ),
    "antibiotics": Item("Antibiotics (treatment)", lists=("antibiotics",), brief="antibiotics", absent="an antibiotic"),
    "anticoagulants": Item("Anticoagulants", lists=("anticoagulants",), absent="an anticoagulant"),
    "antihypertensives": Item("Blood pressure drugs", lists=("antihypertensives",), absent="a blood pressure drug"),
    "ascites": Item(
        "Ascites and its drainage", lists=("ascites",), absent="ascites or its drainage", note_lists=("ascites",)
    ),
    "bilirubin": Item("Bilirubin", ("bilirubin",), brief="bilirubin", charted=("charted_bilirubin",)),
    "blood_gas": Item(
        "PaCO₂ and pH",
        ("paco2", "ph", "bicarbonate"),
        brief="PaCO₂",
        charted=(
            "charted_paco2",
            "charted_ph",
        ),
    ),
    "blood_pressure": Item("Blood pressures of all stays", ("sbp", "dbp", "map"), brief="SBP"),
    "bnp": Item("BNP", ("bnp",), brief="BNP"),
    "bronchodilators": Item(
        "Inhalers and bronchodilators", lists=("bronchodilators",), absent="an inhaler or bronchodilator"
    ),
    "catheterisation": Item(
        "Cardiac catheterisation", lists=("angiography", "reperfusion"), brief="cath", absent="a catheterisation"
    ),
    "chest_drain": Item(
        "Chest tube and drainage", lists=("chest_drain", "chest_drain_postop"), brief="drain", absent="a chest drain"
    ),
    "chest_imaging": Item("Chest imaging", lists=("chest_imaging",), absent="chest imaging"),
    "ck_mb": Item("CK-MB and CK", ("ck_mb", "ck"), brief="CK-MB"),
    "creatinine": Item("Creatinine of all stays", ("creatinine",), brief="creatinine", charted=("charted_creatinine",)),
    "cultures": Item("Cultures", lists=("blood_culture", "cultures"), kinds=("micro",), absent="a culture"),
    "diabetic_exam": Item(
        "Eyes, nerves, feet",
        lists=("diabetic_damage",),
        absent="an examination of eyes, nerves or feet",
        note_lists=("diabetic_damage",),
    ),
    "dialysis": Item(
        "Dialysis and its access", lists=("dialysis", "dialysis_chronic"), brief="dialysis", absent="dialysis"
    ),
    "diuretics": Item("Diuretics", lists=("diuretics",), absent="a diuretic"),
    "ecg": Item(
        "ECG and rhythm",
        lists=("ecg", "ecg_arrhythmia", "ecg_block", "ecg_irregular"),
        kinds=("ecg",),
        brief="ECG",
        absent="an ECG",
        note_lists=(
            "rhythm_words",
            "ecg_arrhythmia",
            "ecg_block",
        ),
    ),
    "echo": Item("Echocardiography", lists=("echo", "ejection_fraction"), brief="echo", absent="an echocardiogram"),
    "electrolyte_correction": Item(
        "Correction of electrolytes", lists=("electrolyte_correction",), absent="a correction"
    ),
    "electrolytes": Item(
        "Electrolytes",
        ("sodium", "potassium", "calcium", "calcium_ionized", "magnesium", "phosphate"),
        brief="Na",
        charted=("charted_sodium",),
    ),
    "acid_base": Item("Acid and base", ("ph", "bicarbonate", "base_excess"), brief="pH", charted=("charted_ph",)),
    "endoscopy": Item("Endoscopy", lists=("endoscopy",), brief="endoscopy", absent="an endoscopy"),
    "fluid_balance": Item("Fluid balance", lists=("fluid_balance",), absent="a fluid balance"),
    "fluids": Item("Fluid resuscitation", lists=("fluids",), absent="fluid resuscitation"),
    "gcs": Item("Glasgow coma scale", ("gcs_total", "gcs_motor", "gcs_verbal", "gcs_eye"), brief="GCS"),
    "glucose": Item("Glucose", ("glucose",), brief="glucose", charted=("charted_glucose",)),
    "haemoglobin": Item(
        "Haemoglobin course", ("hemoglobin", "hematocrit"), brief="haemoglobin", charted=("charted_haematocrit",)
    ),
    "harm": Item("Harm tied to care", lists=("harm",), absent="a harm tied to care"),
    "hba1c": Item("HbA1c", ("hba1c",), brief="HbA1c"),
    "head_imaging": Item("Head imaging", lists=("head_imaging",), absent="head imaging"),
    "heart_rate": Item("Heart rate", ("heart_rate",), brief="HR", charted=("charted_heart_rate",)),
    "history": Item("Named in the record", mentions=True, brief="record"),
    "insulin": Item("Insulin", lists=("insulin",), absent="insulin"),
    "iv_vasodilators": Item(
        "Intravenous pressure-lowering drugs",
        lists=("iv_vasodilators",),
        absent="an intravenous pressure-lowering drug",
    ),
    "ketones": Item("Ketones", lists=("ketones",), absent="ketones"),
    "lactate": Item("Lactate", ("lactate",), brief="lactate"),
    "lipid_panel": Item("Lipid panel", lists=("lipid_panel",), absent="a lipid panel"),
    "liver_drugs": Item("Lactulose and rifaximin", lists=("liver_drugs",), absent="lactulose or rifaximin"),
    "liver_function": Item(
        "INR, albumin, platelets", ("inr", "albumin", "platelets"), brief="INR", charted=("charted_albumin",)
    ),
    "liver_imaging": Item("Liver imaging", lists=("liver_imaging",), absent="liver imaging"),
    "liver_labs": Item(
        "Bilirubin, ALT, AST", ("bilirubin", "alt", "ast"), brief="bilirubin", charted=("charted_bilirubin",)
    ),
    "map": Item("Mean arterial pressure", ("map",), brief="MAP", charted=("charted_map",)),
    "neuro_exam": Item(
        "Neurological examination",
        lists=("neuro_exam",),
        absent="a neurological examination",
        note_lists=("neuro_exam",),
    ),
    "oral_hypoglycaemics": Item("Oral diabetes drugs", lists=("oral_hypoglycaemics",), absent="an oral diabetes drug"),
    "osmolality": Item("Osmolality", lists=("osmolality",), absent="an osmolality"),
    "oxygen": Item("Oxygen", ("fio2", "spo2"), lists=("oxygen",), absent="oxygen therapy", note_lists=("home_oxygen",)),
    "oxygenation": Item(
        "PaO₂, FiO₂, SpO₂",
        ("pao2", "fio2", "spo2"),
        brief="PaO₂",
        charted=(
            "charted_pao2",
            "charted_fio2",
        ),
    ),
    "pacing": Item(
        "Pacemaker and pacing", lists=("pacing",), brief="pacing", absent="a pacemaker", note_lists=("pacing",)
    ),
    "platelets": Item("Platelets", ("platelets",), brief="platelets"),
    "potassium": Item("Potassium", ("potassium",), brief="potassium"),
    "pressors": Item(
        "Vasopressors and inotropes", lists=("vasopressors", "inotropes"), brief="pressor", absent="a vasopressor"
    ),
    "procedures": Item("Procedures and operations", lists=("procedures",), absent="a procedure"),
    "revascularisation": Item(
        "Stents, bypass, revascularisation",
        lists=("revascularisation",),
        brief="stent or bypass",
        absent="a stent or bypass",
    ),
    "rhythm_procedures": Item(
        "Cardioversion, ablation, defibrillation",
        lists=("rhythm_procedures",),
        absent="cardioversion, ablation or defibrillation",
    ),
    "spirometry": Item("Spirometry", lists=("spirometry",), brief="spirometry", absent="spirometry"),
    "sputum": Item("Sputum and respiratory cultures", lists=("sputum_culture",), absent="a respiratory culture"),
    "statins": Item("Statins and other lipid drugs", lists=("statins",), brief="statin", absent="a lipid drug"),
    "steroids": Item("Steroids", lists=("steroids",), absent="a steroid"),
    "stool_emesis": Item(
        "Stool and vomit", lists=("stool_emesis",), absent="blood in stool or vomit", note_lists=("stool_emesis",)
    ),
    "stroke_treatment": Item(
        "Thrombolysis and stroke treatment",
        lists=("thrombolysis", "stroke_treatment"),
        brief="treatment",
        absent="thrombolysis",
    ),
    "temperature": Item("Temperature", ("temperature",), brief="T", charted=("charted_temperature",)),
    "transfusion": Item("Red cell transfusion", lists=("transfusion",), brief="transfusion", absent="a transfusion"),
    "troponin": Item("Troponin series", ("troponin_i", "troponin_t"), brief="troponin"),
    "urine": Item("Urine volumes", ("urine_output",), lists=("urine",), absent="urine volumes"),
    "variceal_drugs": Item(
        "Octreotide and acid suppression", lists=("variceal_drugs",), absent="octreotide or acid suppression"
    ),
    "ventilation": Item("Ventilation", lists=("ventilation", "niv"), brief="ventilation", absent="ventilation"),
    "wbc": Item("White cells and bands", ("wbc", "bands", "crp"), brief="WBC", charted=("charted_wbc",)),
    "wound_lines": Item(
        "Wounds, lines, drains", lists=("wound_lines",), absent="a wound or line finding", note_lists=("wound_lines",)
    ),
}
