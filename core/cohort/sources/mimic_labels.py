"""Labels of MIMIC: 25 phenotypes from the billing codes of the hospital admission, each by its own coding system.

A stay has a label if any code of its admission is in the label's definition of that code's system. A stay without any
code is not recorded: it has no rows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from core.cohort.labelset import PHENOTYPES
from core.cohort.phenotypes import bare, manifest_label_groups, manifest_labels, phenotypes_of
from core.cohort.sources.mimic_tables import MimicTables

PRIMARY_SOURCE = "icd"
CHEXPERT = "chexpert"
"""Source of chest film labels."""


@dataclass(frozen=True)
class LabelTask:
    """What a cohort's stays are labelled with.

    Parameters
    ----------
    source
        What the labels' source is called.
    told
        Its entry in the manifest's `label_sources`: kind and title.
    reading, wanted
        What is read, and what a stay lacks that is not recorded, in words.
    labels, groups
        Give the manifest's `labels` and `label_groups`.
    load
        Builds table `label` of a release and says how it fell.
    """

    source: str
    told: Mapping[str, str]
    reading: str
    wanted: str
    labels: Callable[[], list[dict[str, Any]]]
    groups: Callable[[], list[dict[str, Any]]]
    load: Callable[[MimicTables, str], dict[str, Any]]


def load_labels(raw: MimicTables, release: str) -> dict[str, Any]:
    """Build table `label` from `diagnoses_icd`; return how the codes fell.

    Observed 1 rows carry the matching codes (alphabetical) and whether the first-listed diagnosis is among them
    (Primary, else Other). Codes are given at discharge, so there is no hour.

    Parameters
    ----------
    release
        ``mimic3`` (`icd9_code`) or ``mimic4`` (`icd_code` with `icd_version`).

    Raises
    ------
    SourceError
        When a column is missing, or a version is neither 9 nor 10.
    """
    if release == "mimic3":
        raw.load("diagnoses_icd", text=("icd9_code",), numbers=("hadm_id", "seq_num"))
        code, system = "icd9_code", "9"
    else:
        raw.load("diagnoses_icd", text=("icd_code",), numbers=("hadm_id", "seq_num", "icd_version"))
        raw.only(
            "diagnoses_icd",
            "icd_code IS NULL OR icd_version IN (9, 10)",
            f"icd_version 9 or 10 in {raw.file('diagnoses_icd')}",
            "another",
        )
        code, system = "icd_code", "icd_version"
    raw.sql.execute(
        f"""CREATE OR REPLACE TABLE coded AS
        SELECT stay_id, upper(replace({code}, '.', '')) AS code, {system}::INTEGER AS system, seq_num, line
        FROM diagnoses_icd JOIN stay ON stay.hospital_stay_id = diagnoses_icd.hadm_id WHERE {code} IS NOT NULL"""
    )
    found = raw.sql.execute("SELECT DISTINCT code, system FROM coded ORDER BY ALL").fetchall()
    pairs = [(str(c), int(s), key) for c, s in found for key in phenotypes_of(bare(str(c)), int(s))]
    kinds = pa.schema([("code", pa.string()), ("system", pa.int32()), ("label", pa.string())])
    columns = {name: [pair[place] for pair in pairs] for place, name in enumerate(kinds.names)}
    raw.sql.register("pairs", pa.table(columns, kinds))
    raw.sql.execute("CREATE OR REPLACE TABLE code_label AS SELECT * FROM pairs")
    raw.sql.unregister("pairs")
    raw.lookup("keys", {"label": [label.key for label in PHENOTYPES]})
    raw.sql.execute(
        f"""CREATE OR REPLACE TABLE label AS
        WITH hit AS (
            SELECT stay_id, label, string_agg(DISTINCT code, ', ' ORDER BY code) AS code, min(seq_num) AS place
            FROM coded JOIN code_label USING (code, system) GROUP BY ALL
        )
        SELECT stay_id, label, '{PRIMARY_SOURCE}' AS source, (hit.label IS NOT NULL)::UTINYINT AS observed, code,
            NULL::FLOAT AS hour, CASE WHEN place = 1 THEN 'Primary' WHEN hit.label IS NOT NULL THEN 'Other' END
            AS priority, NULL::BOOLEAN AS active_at_discharge
        FROM (SELECT DISTINCT stay_id FROM coded) CROSS JOIN keys LEFT JOIN hit USING (stay_id, label)"""
    )
    numbers = {
        "codes_of_kept_stays": "SELECT count(*) FROM coded",
        "codes_in_no_phenotype": "SELECT count(*) FROM coded ANTI JOIN code_label USING (code, system)",
        "coded_stays": "SELECT count(DISTINCT stay_id) FROM coded",
        "stays_coded_in_icd10": "SELECT count(DISTINCT stay_id) FROM coded WHERE system = 10",
    }
    return {name: raw.count(query) for name, query in numbers.items()}


def labels_table(raw: MimicTables) -> pa.Table:
    """Return the cohort's labels of the stays that remain."""
    return raw.sql.sql(
        "SELECT label.* FROM label SEMI JOIN stay USING (stay_id) ORDER BY stay_id, label, source"
    ).to_arrow_table()


PHENOTYPING = LabelTask(
    PRIMARY_SOURCE,
    {"kind": "codes", "title": "billing codes"},
    "diagnoses",
    "a coded diagnosis",
    manifest_labels,
    manifest_label_groups,
    load_labels,
)
"""25 phenotypes from billing codes."""
