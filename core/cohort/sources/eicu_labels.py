"""Labels of eICU: 25 phenotypes from `diagnosis.icd9code`, any code of the stay at any time.

The column holds the ICD-9 and the ICD-10 code of one diagnosis, sometimes several ("584.9, N17.9"). A stay has the
label if any of its codes, of either system, is in the definitions; a stay without any code is not recorded: no rows.
"""

from typing import Any

import pyarrow as pa

from core.cohort.labelset import PHENOTYPES
from core.cohort.phenotypes import bare, code_system, phenotypes_of
from core.cohort.sources.eicu_tables import RawFolder

PRIMARY_SOURCE = "icd"


def load_labels(raw: RawFolder) -> dict[str, Any]:
    """Build table `label` from `diagnosis`; return how the codes fell.

    Observed 1 rows carry the matching codes (as published, alphabetical), the earliest hour, the highest priority
    (Primary, Major, Other) and whether any of the diagnoses was active at discharge. Every coded stay has a row for
    each label.

    Returns
    -------
    dict
        Diagnosis rows, rows with a code, rows whose codes are in no phenotype, codes of neither system's form, coded
        stays.
    """
    raw.require("diagnosis", "the labels come from its icd9code")
    raw.load(
        "diagnosis", ("icd9code", "diagnosispriority", "activeupondischarge"), ("patientunitstayid", "diagnosisoffset")
    )
    sql = raw.sql
    sql.execute(
        """CREATE OR REPLACE TABLE coded AS
        SELECT patientunitstayid::BIGINT AS stay_id, diagnosisoffset / 60.0 AS hour, diagnosispriority AS priority,
            lower(activeupondischarge) IN ('true', 't', '1') AS active, diagnosis.rowid AS line, trim(part.code) AS code
        FROM diagnosis, unnest(string_split(icd9code, ',')) AS part(code)
        WHERE icd9code IS NOT NULL AND trim(part.code) <> ''"""
    )
    codes = [str(row[0]) for row in sql.execute("SELECT DISTINCT code FROM coded ORDER BY 1").fetchall()]
    systems = [code_system(code.upper()) for code in codes]
    pairs = [
        (code, key) for code, system in zip(codes, systems, strict=True) for key in phenotypes_of(bare(code), system)
    ]
    sql.register("pairs", pa.table({"code": [p[0] for p in pairs], "label": [p[1] for p in pairs]}, _PAIRS))
    sql.execute("CREATE OR REPLACE TABLE code_label AS SELECT * FROM pairs")
    sql.unregister("pairs")
    sql.register("keys", pa.table({"label": [label.key for label in PHENOTYPES]}))
    sql.execute(
        f"""CREATE OR REPLACE TABLE label AS
        WITH hit AS (
            SELECT stay_id, label, string_agg(DISTINCT code, ', ' ORDER BY code) AS code, min(hour) AS hour,
                min(CASE lower(priority) WHEN 'primary' THEN 1 WHEN 'major' THEN 2 WHEN 'other' THEN 3 END) AS rank,
                bool_or(active) AS active
            FROM coded JOIN code_label USING (code) GROUP BY ALL
        )
        SELECT stay_id, label, '{PRIMARY_SOURCE}' AS source, (hit.label IS NOT NULL)::UTINYINT AS observed, code,
            hour::FLOAT AS hour, ['Primary', 'Major', 'Other'][rank] AS priority, active AS active_at_discharge
        FROM (SELECT stay_id FROM coded JOIN stay USING (stay_id) GROUP BY stay_id) CROSS JOIN keys
        LEFT JOIN hit USING (stay_id, label)"""
    )
    sql.unregister("keys")
    rows, with_code, stays = raw.one(
        "SELECT count(*), count(icd9code), (SELECT count(DISTINCT stay_id) FROM label) FROM diagnosis"
    )
    (nowhere,) = raw.one(
        """SELECT count(*) FROM (SELECT line FROM coded LEFT JOIN code_label USING (code)
        GROUP BY line HAVING count(label) = 0)"""
    )
    return {
        "diagnosis_rows": int(rows),
        "rows_with_code": int(with_code),
        "rows_in_no_phenotype": int(nowhere),
        "distinct_codes": len(codes),
        "codes_of_neither_form": sum(system is None for system in systems),
        "coded_stays": int(stays),
    }


_PAIRS = pa.schema([("code", pa.string()), ("label", pa.string())])


def labels_table(raw: RawFolder) -> pa.Table:
    """Return the cohort's labels of the stays that remain."""
    return raw.sql.sql(
        "SELECT label.* FROM label SEMI JOIN stay USING (stay_id) ORDER BY stay_id, label, source"
    ).to_arrow_table()
