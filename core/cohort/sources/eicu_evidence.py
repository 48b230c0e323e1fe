"""What a reviewer of eICU needs and a model must not have: treatments, admission diagnoses, APACHE, balance, cultures.

`diagnosis` is left out on purpose: its codes are the recorded labels, which a blind reading must not show. Labs and
vitals beyond the model's channels are in the observations.
"""

import re

import pyarrow as pa

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
    """Build table `evidence` from whatever the folder has; every one of its tables is optional."""
    raw.sql.execute(
        "CREATE OR REPLACE TABLE evidence (stay_id BIGINT, hour DOUBLE, kind VARCHAR, name VARCHAR, value DOUBLE, "
        "unit VARCHAR, text VARCHAR, source VARCHAR)"
    )
    _treatment(raw)
    _admission_diagnosis(raw)
    _apache(raw)
    _care_plan(raw)
    _exam_values(raw)
    _drugs(raw)
    _cultures(raw)
    _respiratory_care(raw)
    _intake_output(raw)


def _add(raw: RawFolder, source: str, query: str) -> None:
    """Add the rows of a query (stay_id, hour, kind, name, value, unit, text)."""
    raw.sql.execute(
        f"INSERT INTO evidence SELECT stay_id::BIGINT, hour, kind, name, value, unit, text, {quoted(source)} "
        f"FROM ({query}) WHERE stay_id IS NOT NULL AND name IS NOT NULL"
    )


def _treatment(raw: RawFolder) -> None:
    if not raw.load_optional("treatment", ("treatmentstring",), ("patientunitstayid", "treatmentoffset")):
        return
    found = raw.sql.execute(
        "SELECT DISTINCT treatmentstring FROM treatment WHERE treatmentstring IS NOT NULL ORDER BY 1"
    ).fetchall()
    paths = [str(row[0]) for row in found]
    columns = {"path": paths, "kind": [treatment_kind(p) for p in paths], "name": [treatment_name(p) for p in paths]}
    raw.sql.register("kinds", pa.table(columns, pa.schema([(name, pa.string()) for name in columns])))
    _add(
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
        _add(
            raw,
            "admissionDx",
            "SELECT DISTINCT patientunitstayid AS stay_id, admitdxenteredoffset / 60.0 AS hour, "
            "'admission_diagnosis' AS kind, admitdxname AS name, NULL AS value, NULL AS unit, "
            "replace(admitdxpath, '|', ' › ') AS text FROM admissionDx "
            "WHERE admitdxpath LIKE 'admission diagnosis|All Diagnosis|%'",
        )
        _add(
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
    _add(
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
        _add(
            raw,
            "apacheApsVar",
            f"SELECT patientunitstayid AS stay_id, {APACHE_HOUR} AS hour, 'finding' AS kind, "
            f"{quoted(name + ' in the first 24 h (APACHE)')} AS name, 1.0 AS value, NULL AS unit, 'yes' AS text "
            f"FROM apacheApsVar WHERE {column} = 1",
        )
    for column, (name, unit) in _APACHE_VALUES.items():
        _add(
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
        _add(
            raw,
            "carePlanGeneral",
            f"SELECT DISTINCT patientunitstayid AS stay_id, cplitemoffset / 60.0 AS hour, 'finding' AS kind, {label} "
            "|| replace(lower(cplitemvalue[1]) || cplitemvalue[2:], 'not intubated/', '') AS name, "
            "NULL AS value, NULL AS unit, cplgroup AS text "
            f"FROM carePlanGeneral WHERE cplgroup = {quoted(group)} AND cplitemvalue IS NOT NULL",
        )


_EXAM = {
    "Constitutional/Weight and I&O/I&&O (ml)/Urine": ("urine charted", "mL"),
    "Constitutional/Weight and I&O/I&&O (ml)/Intake Total": ("total intake charted", "mL"),
    "Constitutional/Weight and I&O/I&&O (ml)/Output Total": ("total output charted", "mL"),
    "Constitutional/Weight and I&O/I&&O (ml)/Total Net": ("fluid balance charted", "mL"),
    "Constitutional/Weight and I&O/I&&O (ml)/Dialysis Net": ("dialysis, net", "mL"),
    "Constitutional/Weight and I&O/I&&O (ml)/Blood Loss": ("blood loss", "mL"),
    "Constitutional/Weight and I&O/I&&O (ml)/pRBC's": ("transfusion, packed red blood cells", "mL"),
    "Constitutional/Weight and I&O/I&&O (ml)/FFP": ("transfusion, fresh frozen plasma", "mL"),
    "Constitutional/Weight and I&O/I&&O (ml)/Platelets": ("transfusion, platelets", "mL"),
    "Constitutional/Hemodynamic Data/CVP/CVP": ("central venous pressure", "mmHg"),
    "Constitutional/Hemodynamic Data/PAOP/PAOP": ("pulmonary artery occlusion pressure", "mmHg"),
    "Constitutional/Hemodynamic Data/CO/CO": ("cardiac output", "L/min"),
    "Constitutional/Vital Sign and Physiological Data/PEEP/PEEP": ("PEEP", "cmH₂O"),
}
_NONE_AT_ZERO = ("dialysis", "blood loss", "transfusion")
"""A charted zero of these says that there was none: it is left out."""


def _exam_values(raw: RawFolder) -> None:
    """Balance and haemodynamics of `physicalExam` (loaded by the notes, since they read the same table)."""
    if not raw.has("physicalExam"):
        return
    for path, (name, unit) in _EXAM.items():
        zero = "AND value <> 0" if name.startswith(_NONE_AT_ZERO) else ""
        _add(
            raw,
            "physicalExam",
            "SELECT DISTINCT patientunitstayid AS stay_id, physicalexamoffset / 60.0 AS hour, 'finding' AS kind, "
            f"{quoted(name)} AS name, TRY_CAST(physicalexamtext AS DOUBLE) AS value, {quoted(unit)} AS unit, "
            f"NULL AS text FROM physicalExam WHERE ends_with(physicalexampath, {quoted(path)}) "
            f"AND coalesce(isfinite(TRY_CAST(physicalexamtext AS DOUBLE)), false) {zero}",
        )


def _drugs(raw: RawFolder) -> None:
    """Orders (`medication`), infusions (`infusionDrug`) and drugs taken before (`admissionDrug`)."""
    if raw.load_optional(
        "medication",
        ("drugname", "dosage", "routeadmin", "frequency", "drugordercancelled"),
        ("patientunitstayid", "drugstartoffset"),
    ):
        _add(
            raw,
            "medication",
            "SELECT DISTINCT patientunitstayid AS stay_id, drugstartoffset / 60.0 AS hour, 'drug' AS kind, "
            "drugname AS name, NULL AS value, NULL AS unit, nullif(concat_ws(', ', dosage, routeadmin, frequency), '') "
            "AS text FROM medication WHERE coalesce(lower(drugordercancelled), 'no') NOT IN ('yes', 'true', '1')",
        )
    if raw.load_optional("infusionDrug", ("drugname", "drugrate"), ("patientunitstayid", "infusionoffset")):
        _add(
            raw,
            "infusionDrug",
            "SELECT DISTINCT patientunitstayid AS stay_id, infusionoffset / 60.0 AS hour, 'drug' AS kind, "
            "drugname AS name, CASE WHEN isfinite(TRY_CAST(drugrate AS DOUBLE)) THEN TRY_CAST(drugrate AS DOUBLE) END "
            "AS value, regexp_extract(drugname, '\\(([^)]+)\\)$', 1) AS unit, 'infusion' AS text FROM infusionDrug "
            "WHERE coalesce(TRY_CAST(drugrate AS DOUBLE), 1) <> 0",
        )
    if raw.load_optional("admissionDrug", ("drugname",), ("patientunitstayid", "drugoffset")):
        _add(
            raw,
            "admissionDrug",
            "SELECT DISTINCT patientunitstayid AS stay_id, drugoffset / 60.0 AS hour, 'drug' AS kind, "
            "drugname AS name, NULL AS value, NULL AS unit, 'taken before admission' AS text FROM admissionDrug",
        )


def _cultures(raw: RawFolder) -> None:
    if not raw.load_optional(
        "microLab",
        ("culturesite", "organism", "antibiotic", "sensitivitylevel"),
        ("patientunitstayid", "culturetakenoffset"),
    ):
        return
    _add(
        raw,
        "microLab",
        "SELECT patientunitstayid AS stay_id, culturetakenoffset / 60.0 AS hour, 'micro' AS kind, "
        "'culture, ' || lower(coalesce(culturesite, 'site not stated')) || ': ' || coalesce(organism, 'no result') "
        "AS name, NULL AS value, NULL AS unit, string_agg(DISTINCT antibiotic || ' ' || "
        "coalesce(lower(sensitivitylevel), '?'), ', ' ORDER BY antibiotic || ' ' || coalesce(lower(sensitivitylevel), "
        "'?')) AS text FROM microLab GROUP BY ALL",
    )


def _respiratory_care(raw: RawFolder) -> None:
    """Ventilation and airway of `respiratoryCare`; an offset of 0 means that none was charted."""
    columns = ("patientunitstayid", "respcarestatusoffset", "ventstartoffset", "ventendoffset")
    if not raw.load_optional("respiratoryCare", ("airwaytype",), columns):
        return
    _add(
        raw,
        "respiratoryCare",
        "SELECT DISTINCT patientunitstayid AS stay_id, ventstartoffset / 60.0 AS hour, 'procedure' AS kind, "
        "'mechanical ventilation, start' AS name, CASE WHEN ventendoffset > ventstartoffset THEN "
        "(ventendoffset - ventstartoffset) / 60.0 END AS value, 'h' AS unit, airwaytype AS text FROM respiratoryCare "
        "WHERE ventstartoffset IS NOT NULL AND ventstartoffset <> 0",
    )


def _intake_output(raw: RawFolder) -> None:
    """Fluid removed by dialysis, of `intakeOutput` (loaded with the series; urine is an observation)."""
    if not raw.load_optional(
        "intakeOutput", ("celllabel",), ("patientunitstayid", "intakeoutputoffset", "dialysistotal", "nettotal")
    ):
        return
    for column, name, zero in (
        ("dialysistotal", "dialysis, net", "AND dialysistotal <> 0"),
        ("nettotal", "fluid balance charted", ""),
    ):
        _add(
            raw,
            "intakeOutput",
            f"SELECT patientunitstayid AS stay_id, intakeoutputoffset / 60.0 AS hour, 'finding' AS kind, "
            f"{quoted(name)} AS name, max({column}) AS value, 'mL' AS unit, NULL AS text FROM intakeOutput "
            f"WHERE {column} IS NOT NULL {zero} GROUP BY ALL",
        )


def evidence_table(raw: RawFolder) -> pa.Table:
    """Return the cohort's review evidence of the stays that remain, in a fixed order."""
    return raw.sql.sql(
        """SELECT stay_id, hour::FLOAT AS hour, kind, name, value::FLOAT AS value, unit, text, source
        FROM evidence SEMI JOIN stay USING (stay_id)
        ORDER BY stay_id, hour, kind, name, value, text, source"""
    ).to_arrow_table()
