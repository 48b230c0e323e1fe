"""Review evidence of eICU from the bedside: examination, balance, drugs, cultures, ventilators.

Every table is optional; each function adds to table `evidence` what its table has.
"""

from core.cohort.sources.eicu_tables import RawFolder, quoted


def add_evidence(raw: RawFolder, source: str, query: str) -> None:
    """Add the rows of a query (stay_id, hour, kind, name, value, unit, text)."""
    raw.sql.execute(
        f"INSERT INTO evidence SELECT stay_id::BIGINT, hour, kind, name, value, unit, text, {quoted(source)} "
        f"FROM ({query}) WHERE stay_id IS NOT NULL AND name IS NOT NULL"
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


def exam_values(raw: RawFolder) -> None:
    """Balance and haemodynamics of `physicalExam` (loaded by the notes, since they read the same table)."""
    if not raw.has("physicalExam"):
        return
    for path, (name, unit) in _EXAM.items():
        zero = "AND value <> 0" if name.startswith(_NONE_AT_ZERO) else ""
        add_evidence(
            raw,
            "physicalExam",
            "SELECT DISTINCT patientunitstayid AS stay_id, physicalexamoffset / 60.0 AS hour, 'finding' AS kind, "
            f"{quoted(name)} AS name, TRY_CAST(physicalexamtext AS DOUBLE) AS value, {quoted(unit)} AS unit, "
            f"NULL AS text FROM physicalExam WHERE ends_with(physicalexampath, {quoted(path)}) "
            f"AND coalesce(isfinite(TRY_CAST(physicalexamtext AS DOUBLE)), false) {zero}",
        )


_RHYTHM = "/Vital Sign and Physiological Data/HR Rhythm/"
_RECTAL = "/Gastrointestinal/Rectal exam/"


def exam_findings(raw: RawFolder) -> None:
    """Rhythm on the monitor, neurological and rectal findings of `physicalExam`, by the menus of the exam."""
    if not raw.has("physicalExam"):
        return
    for kind, stem, name in (("ecg", _RHYTHM, "HR rhythm: "), ("finding", _RECTAL, "rectal exam: ")):
        add_evidence(
            raw,
            "physicalExam",
            f"SELECT DISTINCT patientunitstayid AS stay_id, physicalexamoffset / 60.0 AS hour, {quoted(kind)} AS kind, "
            f"{quoted(name)} || replace(string_split(physicalexampath, {quoted(stem)})[2], '/', ', ') AS name, "
            "NULL AS value, NULL AS unit, NULL AS text FROM physicalExam "
            f"WHERE contains(physicalexampath, {quoted(stem)})",
        )
    add_evidence(
        raw,
        "physicalExam",
        "SELECT DISTINCT stay_id, minute / 60.0 AS hour, 'finding' AS kind, 'neurologic exam: ' || text AS name, "
        "NULL AS value, NULL AS unit, NULL AS text FROM phrase WHERE category = 'physical exam' "
        "AND heading = 'Neurologic' AND NOT starts_with(text, 'GCS')",
    )


def drug_orders(raw: RawFolder) -> None:
    """Orders (`medication`), infusions (`infusionDrug`) and drugs taken before (`admissionDrug`)."""
    if raw.load_optional(
        "medication",
        ("drugname", "dosage", "routeadmin", "frequency", "drugordercancelled"),
        ("patientunitstayid", "drugstartoffset"),
    ):
        add_evidence(
            raw,
            "medication",
            "SELECT DISTINCT patientunitstayid AS stay_id, drugstartoffset / 60.0 AS hour, 'drug' AS kind, "
            "drugname AS name, NULL AS value, NULL AS unit, nullif(concat_ws(', ', dosage, routeadmin, frequency), '') "
            "AS text FROM medication WHERE coalesce(lower(drugordercancelled), 'no') NOT IN ('yes', 'true', '1')",
        )
    if raw.load_optional("infusionDrug", ("drugname", "drugrate"), ("patientunitstayid", "infusionoffset")):
        add_evidence(
            raw,
            "infusionDrug",
            "SELECT DISTINCT patientunitstayid AS stay_id, infusionoffset / 60.0 AS hour, 'drug' AS kind, "
            "drugname AS name, CASE WHEN isfinite(TRY_CAST(drugrate AS DOUBLE)) THEN TRY_CAST(drugrate AS DOUBLE) END "
            "AS value, regexp_extract(drugname, '\\(([^)]+)\\)$', 1) AS unit, 'infusion' AS text FROM infusionDrug "
            "WHERE coalesce(TRY_CAST(drugrate AS DOUBLE), 1) <> 0",
        )
    if raw.load_optional("admissionDrug", ("drugname",), ("patientunitstayid", "drugoffset")):
        add_evidence(
            raw,
            "admissionDrug",
            "SELECT DISTINCT patientunitstayid AS stay_id, drugoffset / 60.0 AS hour, 'drug' AS kind, "
            "drugname AS name, NULL AS value, NULL AS unit, 'taken before admission' AS text FROM admissionDrug",
        )


def cultures(raw: RawFolder) -> None:
    """Cultures of `microLab`: site and organism, with sensitivities as text."""
    if not raw.load_optional(
        "microLab",
        ("culturesite", "organism", "antibiotic", "sensitivitylevel"),
        ("patientunitstayid", "culturetakenoffset"),
    ):
        return
    add_evidence(
        raw,
        "microLab",
        "SELECT patientunitstayid AS stay_id, culturetakenoffset / 60.0 AS hour, 'micro' AS kind, "
        "'culture, ' || lower(coalesce(culturesite, 'site not stated')) || ': ' || coalesce(organism, 'no result') "
        "AS name, NULL AS value, NULL AS unit, string_agg(DISTINCT antibiotic || ' ' || "
        "coalesce(lower(sensitivitylevel), '?'), ', ' ORDER BY antibiotic || ' ' || coalesce(lower(sensitivitylevel), "
        "'?')) AS text FROM microLab GROUP BY ALL",
    )


def respiratory_care(raw: RawFolder) -> None:
    """Ventilation and airway of `respiratoryCare`; an offset of 0 means that none was charted."""
    columns = ("patientunitstayid", "respcarestatusoffset", "ventstartoffset", "ventendoffset")
    if not raw.load_optional("respiratoryCare", ("airwaytype",), columns):
        return
    add_evidence(
        raw,
        "respiratoryCare",
        "SELECT DISTINCT patientunitstayid AS stay_id, ventstartoffset / 60.0 AS hour, 'procedure' AS kind, "
        "'mechanical ventilation, start' AS name, CASE WHEN ventendoffset > ventstartoffset THEN "
        "(ventendoffset - ventstartoffset) / 60.0 END AS value, 'h' AS unit, airwaytype AS text FROM respiratoryCare "
        "WHERE ventstartoffset IS NOT NULL AND ventstartoffset <> 0",
    )


def intake_output(raw: RawFolder) -> None:
    """Fluid removed by dialysis and net balance of `intakeOutput`; its urine is an observation."""
    if not raw.load_optional(
        "intakeOutput", ("celllabel",), ("patientunitstayid", "intakeoutputoffset", "dialysistotal", "nettotal")
    ):
        return
    for column, name, zero in (
        ("dialysistotal", "dialysis, net", "AND dialysistotal <> 0"),
        ("nettotal", "fluid balance charted", ""),
    ):
        add_evidence(
            raw,
            "intakeOutput",
            f"SELECT patientunitstayid AS stay_id, intakeoutputoffset / 60.0 AS hour, 'finding' AS kind, "
            f"{quoted(name)} AS name, max({column}) AS value, 'mL' AS unit, NULL AS text FROM intakeOutput "
            f"WHERE {column} IS NOT NULL {zero} GROUP BY ALL",
        )
