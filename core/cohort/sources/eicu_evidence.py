"""What a reviewer of eICU needs and a model must not have: treatments, admission diagnoses, APACHE, balance, cultures.

`diagnosis` is left out on purpose: its codes are the recorded labels, which a blind reading must not show. Labs and
vitals beyond the model's channels are in the observations.
"""

import re

import pyarrow as pa

from core.cohort.schema import REVIEW_EVIDENCE
from core.cohort.sources.eicu_bedside import (
    add_evidence,
    cultures,
    drug_orders,
    exam_findings,
    exam_values,
    intake_output,
    respiratory_care,
)
from core.cohort.sources.eicu_tables import RawFolder, quoted

APACHE_HOUR = 24.0
"""APACHE variables are the worst of the first day: they stand at its end, hours."""

_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("drug", re.compile(r"(?i)\|medications\||antibacterial|antibiotic|antifungal|analgesic|sedative|anticoagulant")),
    ("micro", re.compile(r"\|cultures?(\||$)|cultures / immuno-assays|microscopical examination")),
    ("ecg", re.compile(r"(?i)electrocardiogra|\b(ecg|ekg)\b|\btelemetry")),
    (
        "imaging",
        re.compile(
            r"(?i)\bx-?ray|\bct scan|\bmri\b|ultraso|sonograph|echocardiograph|diagnostic ultrasound|angiogram"
            r"|nuclear|bleeding scan|perfusion study|pyelogram|non-cardiac angiography|\|angiography|testing for dvt"
        ),
    ),
    (
        "procedure",
        re.compile(
            r"(?i)consult|surgery\|exploratory|cardiac surgery|vascular surgery|non-operative procedures|tubes and cath"
            r"|urinary catheters|catheter placement|drainage|debridement|procedures|ventilat|oxygen|peep|suction"
            r"|recruitment"
            r"|endotracheal|intubation|bronchoscopy|tracheostomy|thora(co|cen)|resection|endoscopy|exploratory|dialysis"
            r"|c v v h|hemofiltr|blood product|feeding tube|feeds|nutrition|balloon pump|pacing|pacemaker|cardioversion"
            r"|defibrillation|ablation|ivc filter|compression|amput|surg|lumbar puncture|\beeg|monitoring|restraint"
            r"|wound|dressing|splint|fixation|fasciotomy|bed\b|chest tube|drains|stenting|cooling|hypothermia|rewarming"
            r"|support services|counseling|vaccine|drug levels|removal measures|vital capacities|fluid restriction"
            r"|biopsy|aspiration|embolectomy|thrombectomy|endarterectomy|aneurysm|bypass|angiography|quality measures"
        ),
    ),
)
"""Kind of a treatment by its path, first match; whatever is left is a drug (fluids and electrolytes too)."""


def treatment_kind(path: str) -> str:
    """Tell the kind of a `treatmentstring` (micro, ecg, imaging, procedure or drug) by what stands below the organ."""
    below = path[path.find("|") :] if "|" in path else path
    return next((kind for kind, pattern in _KINDS if pattern.search(below)), "drug")


def treatment_name(path: str) -> str:
    """Name of a `treatmentstring`: what stands below organ system and problem."""
    parts = [part.strip() for part in path.split("|") if part.strip()]
    return ", ".join(parts[2:] if len(parts) > 2 else parts[-1:])


def load_evidence(raw: RawFolder) -> None:
    """Build table `evidence` from whatever the folder has, after the notes; every one of its tables is optional."""
    raw.sql.execute(
        "CREATE OR REPLACE TABLE evidence (stay_id BIGINT, hour DOUBLE, kind VARCHAR, name VARCHAR, value DOUBLE, "
        "unit VARCHAR, text VARCHAR, source VARCHAR)"
    )
    _treatment(raw)
    _admission_diagnosis(raw)
    _apache(raw)
    _care_plan(raw)
    exam_values(raw)
    exam_findings(raw)
    drug_orders(raw)
    cultures(raw)
    respiratory_care(raw)
    intake_output(raw)


def _treatment(raw: RawFolder) -> None:
    if not raw.load_optional("treatment", ("treatmentstring",), ("patientunitstayid", "treatmentoffset")):
        return
    found = raw.sql.execute(
        "SELECT DISTINCT treatmentstring FROM treatment WHERE treatmentstring IS NOT NULL ORDER BY 1"
    ).fetchall()
    paths = [str(row[0]) for row in found]
    columns = {"path": paths, "kind": [treatment_kind(p) for p in paths], "name": [treatment_name(p) for p in paths]}
    raw.sql.register("kinds", pa.table(columns, pa.schema([(name, pa.string()) for name in columns])))
    add_evidence(
        raw,
        "treatment",
        "SELECT DISTINCT patientunitstayid AS stay_id, treatmentoffset / 60.0 AS hour, kind, name, NULL AS value, "
        "NULL AS unit, replace(path, '|', ' › ') AS text FROM treatment JOIN kinds ON treatmentstring = path",
    )
    raw.sql.unregister("kinds")


def _admission_diagnosis(raw: RawFolder) -> None:
    """APACHE admission diagnoses, and what was asked beside them (thrombolysis, angioplasty, grafts, elective …)."""
    if raw.load_optional(
        "admissionDx", ("admitdxpath", "admitdxname", "admitdxtext"), ("patientunitstayid", "admitdxenteredoffset")
    ):
        add_evidence(
            raw,
            "admissionDx",
            "SELECT DISTINCT patientunitstayid AS stay_id, admitdxenteredoffset / 60.0 AS hour, "
            "'admission_diagnosis' AS kind, admitdxname AS name, NULL AS value, NULL AS unit, "
            "replace(admitdxpath, '|', ' › ') AS text FROM admissionDx "
            "WHERE admitdxpath LIKE 'admission diagnosis|All Diagnosis|%'",
        )
        add_evidence(
            raw,
            "admissionDx",
            "SELECT DISTINCT patientunitstayid AS stay_id, admitdxenteredoffset / 60.0 AS hour, 'finding' AS kind, "
            "rtrim(string_split(admitdxpath, '|')[-2], '?') || ': ' || admitdxname || "
            "CASE WHEN admitdxtext <> admitdxname THEN ' ' || admitdxtext ELSE '' END AS name, "
            "TRY_CAST(admitdxtext AS DOUBLE) AS value, NULL AS unit, replace(admitdxpath, '|', ' › ') AS text "
            "FROM admissionDx WHERE (admitdxpath LIKE '%|Additional APACHE  Information|%' "
            "OR admitdxpath LIKE '%|Elective|%' OR admitdxpath LIKE '%admitted from the O.R.%') "
            "AND lower(admitdxname) NOT IN ('no', 'none', 'unknown')",
        )
    add_evidence(
        raw,
        "patient",
        "SELECT stay_id, 0.0 AS hour, 'admission_diagnosis' AS kind, apacheadmissiondx AS name, NULL AS value, "
        "NULL AS unit, NULL AS text FROM stay WHERE apacheadmissiondx IS NOT NULL AND NOT EXISTS (SELECT 1 FROM "
        "evidence WHERE evidence.stay_id = stay.stay_id AND kind = 'admission_diagnosis' "
        "AND lower(name) = lower(apacheadmissiondx))",
    )


_APACHE_FLAGS = {"intubated": "intubated", "vent": "mechanical ventilation", "dialysis": "dialysis"}
_APACHE_VALUES = {
    "urine": ("urine in 24 h", "mL"),
    "wbc": ("white blood cells", "10⁹/L"),
    "temperature": ("temperature", "°C"),
    "respiratoryrate": ("respiratory rate", "/min"),
    "sodium": ("sodium", "mmol/L"),
    "heartrate": ("heart rate", "/min"),
    "meanbp": ("mean arterial pressure", "mmHg"),
    "ph": ("pH", None),
    "hematocrit": ("haematocrit", "%"),
    "creatinine": ("creatinine", "mg/dL"),
    "albumin": ("albumin", "g/dL"),
    "pao2": ("PaO₂", "mmHg"),
    "pco2": ("PaCO₂", "mmHg"),
    "bun": ("urea nitrogen", "mg/dL"),
    "glucose": ("glucose", "mg/dL"),
    "bilirubin": ("bilirubin", "mg/dL"),
    "fio2": ("FiO₂", "%"),
}
_APACHE_NAME = ", worst of the first 24 h (APACHE)"


def _apache(raw: RawFolder) -> None:
    """Worst values of the first day (−1 is “not measured”), and what was done that day."""
    if not raw.load_optional("apacheApsVar", (), ("patientunitstayid", *_APACHE_FLAGS, *_APACHE_VALUES)):
        return
    for column, name in _APACHE_FLAGS.items():
        add_evidence(
            raw,
            "apacheApsVar",
            f"SELECT patientunitstayid AS stay_id, {APACHE_HOUR} AS hour, 'finding' AS kind, "
            f"{quoted(name + ' in the first 24 h (APACHE)')} AS name, 1.0 AS value, NULL AS unit, 'yes' AS text "
            f"FROM apacheApsVar WHERE {column} = 1",
        )
    for column, (name, unit) in _APACHE_VALUES.items():
        add_evidence(
            raw,
            "apacheApsVar",
            f"SELECT patientunitstayid AS stay_id, {APACHE_HOUR} AS hour, 'finding' AS kind, "
            f"{quoted(name + (_APACHE_NAME if column != 'urine' else ' (APACHE)'))} AS name, {column} AS value, "
            f"{'NULL' if unit is None else quoted(unit)} AS unit, NULL AS text FROM apacheApsVar "
            f"WHERE {column} IS NOT NULL AND {column} <> -1",
        )


_PLANS = {
    "Ventilation": "ventilation",
    "Airway": "airway",
    "Volume Status": "volume status",
    "Ordered Protocols": "ordered protocol",
    "Planned Procedures": "planned procedure",
    "Infectious Disease": "isolation",
    "Route-Status": "nutrition",
}


def _care_plan(raw: RawFolder) -> None:
    """Ventilation, volume status, protocols and the like of `carePlanGeneral`; spontaneous breathing is named so."""
    columns = ("cplgroup", "cplitemvalue")
    if not raw.load_optional("carePlanGeneral", columns, ("patientunitstayid", "cplitemoffset")):
        return
    for group, name in _PLANS.items():
        label = quoted(f"{name}: ")
        if group == "Airway":
            label = "CASE WHEN cplitemvalue LIKE 'Not intubated%' THEN 'airway without a tube: ' ELSE 'airway: ' END"
        if group == "Ventilation":
            label = "CASE WHEN cplitemvalue LIKE 'Spontaneous%' THEN 'breathing: ' ELSE 'ventilation: ' END"
        add_evidence(
            raw,
            "carePlanGeneral",
            f"SELECT DISTINCT patientunitstayid AS stay_id, cplitemoffset / 60.0 AS hour, 'finding' AS kind, {label} "
            "|| replace(CASE WHEN regexp_matches(cplitemvalue, '^[A-Z]{2}') THEN cplitemvalue "
            "ELSE lower(cplitemvalue[1]) || cplitemvalue[2:] END, 'not intubated/', '') AS name, "
            "NULL AS value, NULL AS unit, cplgroup AS text "
            f"FROM carePlanGeneral WHERE cplgroup = {quoted(group)} AND cplitemvalue IS NOT NULL",
        )


def evidence_batches(raw: RawFolder, rows: int) -> pa.RecordBatchReader:
    """Give the review evidence of the stays that remain, in a fixed order, `rows` at a time."""
    return raw.stream(
        """SELECT stay_id, hour::FLOAT AS hour, kind, name, value::FLOAT AS value, unit, text, source
        FROM evidence SEMI JOIN stay USING (stay_id)
        ORDER BY stay_id, hour, kind, name, value, text, source""",
        REVIEW_EVIDENCE,
        rows,
    )
