"""What a reviewer of MIMIC needs and a model must not have: drugs, procedures, cultures, outputs, labs beyond channels.

`diagnoses_icd` is left out on purpose: its codes are the recorded labels, which a blind reading must not show. Every
table is optional; all times of the admission are kept.
"""

from collections.abc import Iterator

import pyarrow as pa

from core.cohort.channels import CHANNELS
from core.cohort.schema import REVIEW_EVIDENCE
from core.cohort.sources.mimic_items import items_of
from core.cohort.sources.mimic_tables import MimicTables, listed, quoted
from core.cohort.sources.mimic_told import Told, told, vocabulary

_HOUR = "epoch(TRY_CAST(e.{0} AS TIMESTAMP) - s.intime) / 3600.0"
_NOON = "epoch(TRY_CAST(e.{0} AS TIMESTAMP)::DATE + INTERVAL 12 HOUR - s.intime) / 3600.0"
_NAMED = ("inputevents", "inputevents_mv", "inputevents_cv", "procedureevents", "procedureevents_mv")
_BOUND = "(?i)^(<|>|less than|greater than)"
_BY_DAY = "dated by day"


def load_evidence(raw: MimicTables, release: str) -> None:
    """Build table `evidence` from whatever the folder has; the series must be loaded.

    Raises
    ------
    SourceError
        When a table lacks a column or is damaged, or drugs and procedures have no `d_items` to name them.
    """
    raw.sql.execute(
        "CREATE OR REPLACE TABLE evidence (stay_id BIGINT, hour DOUBLE, kind VARCHAR, name VARCHAR, value DOUBLE, "
        "unit VARCHAR, text VARCHAR, source VARCHAR)"
    )
    _labels(raw)
    _told(raw, "labevents", told("labs"))
    _told(raw, "chartevents", told("chart"))
    _bounds(raw)
    _outputs(raw, release)
    if release == "mimic3":
        _admission_diagnosis(raw)
        _inputs(raw, "inputevents_mv", "icustay_id", "starttime")
        _inputs(raw, "inputevents_cv", "icustay_id", "charttime")
        _procedure_events(raw, "procedureevents_mv", "icustay_id")
        _prescriptions(raw, "startdate")
        _coded_procedures(raw, "icd9_code", None)
    else:
        _inputs(raw, "inputevents", "stay_id", "starttime")
        _procedure_events(raw, "procedureevents", "stay_id")
        _prescriptions(raw, "starttime")
        _coded_procedures(raw, "icd_code", "icd_version")
    _cultures(raw)


def _insert(raw: MimicTables, table: str, query: str) -> None:
    """Add the rows of a query (stay_id, hour, kind, name, value, unit, text) over a table's file."""
    raw.create("added", query, table)
    raw.sql.execute(
        f"INSERT INTO evidence SELECT stay_id, hour, kind, name, value, unit, text, {quoted(table)} FROM added "
        "WHERE stay_id IS NOT NULL AND name IS NOT NULL AND trim(name) <> ''"
    )
    raw.sql.execute("DROP TABLE added")


def _of_admission(source: str) -> str:
    return f"FROM ({source}) e JOIN stay s ON s.hospital_stay_id = TRY_CAST(TRY_CAST(e.hadm_id AS DOUBLE) AS BIGINT)"


def _of_stay(source: str, key: str) -> str:
    return f"FROM ({source}) e JOIN stay s ON s.stay_id = TRY_CAST(TRY_CAST(e.{key} AS DOUBLE) AS BIGINT)"


def _labels(raw: MimicTables) -> None:
    """Table `named`: what items are called, and their category, from `d_items` where it is there."""
    if any(raw.has(table) for table in _NAMED):
        raw.require("d_items", "the names of drugs and procedures")
    if raw.has("d_items"):
        source = raw.rows("d_items", ["itemid", "label"], ["category"])
        raw.create(
            "named",
            f"SELECT TRY_CAST(itemid AS INTEGER) AS item, min(label) AS label, min(category) AS category "
            f"FROM ({source}) GROUP BY 1",
            "d_items",
        )
    else:
        raw.sql.execute("CREATE OR REPLACE TABLE named (item INTEGER, label VARCHAR, category VARCHAR)")


def _told(raw: MimicTables, table: str, entries: tuple[Told, ...]) -> None:
    """Charted items or results, as the vocabulary names them."""
    raw.lookup(
        "entry",
        {
            "item": [number for entry in entries for number in entry.ids],
            "kind": [entry.kind for entry in entries for _ in entry.ids],
            "name": [entry.name for entry in entries for _ in entry.ids],
            "changed": [entry.change for entry in entries for _ in entry.ids],
            "skip": ["|" + "|".join(entry.skip) + "|" for entry in entries for _ in entry.ids],
        },
    )
    raw.sql.execute(
        f"""INSERT INTO evidence
        WITH ordered AS (
            SELECT DISTINCT stay_id, hour, kind, charted, changed, number, unit,
                CASE WHEN contains(name, '{{}}') THEN replace(name, '{{}}', charted) ELSE name END AS name,
                contains(name, '{{}}') AS worded, item
            FROM told JOIN entry USING (item)
            WHERE source = {quoted(table)} AND NOT contains(skip, '|' || coalesce(lower(charted), '') || '|')
                AND (NOT contains(name, '{{}}') OR charted IS NOT NULL AND TRY_CAST(charted AS DOUBLE) IS NULL)
        )
        SELECT stay_id, hour, kind, name, CASE WHEN NOT worded THEN number END,
            CASE WHEN NOT worded AND number IS NOT NULL THEN unit END,
            CASE WHEN NOT worded AND number IS NULL THEN charted END, {quoted(table)}
        FROM ordered
        QUALIFY NOT changed OR charted IS DISTINCT FROM
            lag(charted) OVER (PARTITION BY stay_id, item ORDER BY hour, charted)"""
    )


def _bounds(raw: MimicTables) -> None:
    """Add results that are a bound and no number ("<0.01"), under their channel's name."""
    raw.lookup("title", {"channel": list(range(len(CHANNELS))), "title": [c.title for c in CHANNELS]})
    raw.sql.execute(
        f"""INSERT INTO evidence
        SELECT DISTINCT stay_id, hour, 'finding', title || ', a bound', NULL, NULL, concat_ws(' ', charted, unit),
            'labevents'
        FROM told JOIN title USING (channel)
        WHERE source = 'labevents' AND unreadable AND regexp_matches(charted, '{_BOUND}')"""
    )


def _outputs(raw: MimicTables, release: str) -> None:
    """Add outputs other than the channel of urine: drains, stool, gastric, blood loss."""
    if not raw.has("outputevents"):
        return
    key = "icustay_id" if release == "mimic3" else "stay_id"
    source = raw.rows("outputevents", [key, "itemid", "charttime", "value"], ["valueuom"])
    urine = listed([item.id for item in items_of(release) if item.table == "outputevents"])
    where = f"e.itemid NOT IN ({urine}) AND coalesce(TRY_CAST(e.value AS DOUBLE), 0) > 0"
    _insert(
        raw,
        "outputevents",
        f"""SELECT s.stay_id, {_HOUR.format("charttime")} AS hour, 'finding' AS kind,
            CASE WHEN lower(label) LIKE 'ultrafiltrate%' THEN 'ultrafiltration, output'
                WHEN regexp_matches(lower(label), 'chest tube|pleural') THEN 'chest tube output: ' || label
                WHEN lower(label) LIKE '%mediastinal%' THEN 'mediastinal tube output'
                WHEN lower(label) LIKE '%paracentesis%' THEN 'paracentesis, output'
                WHEN label IS NOT NULL THEN 'output: ' || label END AS name,
            TRY_CAST(e.value AS DOUBLE) AS value, coalesce(lower(e.valueuom), 'ml') AS unit, NULL AS text
        {_of_stay(source, key)} LEFT JOIN named ON named.item = TRY_CAST(e.itemid AS INTEGER)
        WHERE {where}""",
    )


def _admission_diagnosis(raw: MimicTables) -> None:
    """Add what the patient was admitted for, as the admission office wrote it (MIMIC-III alone)."""
    source = raw.rows("admissions", ["hadm_id", "admittime"], ["diagnosis"])
    _insert(
        raw,
        "admissions",
        f"""SELECT s.stay_id, {_HOUR.format("admittime")} AS hour, 'admission_diagnosis' AS kind,
            lower(e.diagnosis) AS name, NULL::DOUBLE AS value, NULL AS unit, NULL AS text {_of_admission(source)}""",
    )


def _renamed(part: str) -> str:
    """Write SQL of an item's name: the vocabulary's, else the label."""
    cases = " ".join(f"WHEN {entry['id']} THEN {quoted(entry['name'])}" for entry in vocabulary()[part]["names"])
    return f"CASE named.item {cases} ELSE label END"


def _inputs(raw: MimicTables, table: str, key: str, time: str) -> None:
    """Drugs, fluids and blood given: a rate where it ran, else the amount; nutrition is left out."""
    if not raw.has(table):
        return
    source = raw.rows(
        table,
        [key, "itemid", time],
        ["amount", "amountuom", "rate", "rateuom", "statusdescription", "ordercategorydescription"],
    )
    rate, amount = "TRY_CAST(e.rate AS DOUBLE)", "TRY_CAST(e.amount AS DOUBLE)"
    crystalloid = "regexp_matches(label, '(?i)nacl 0\\.9|normal saline|^\\.9%|^lr$|lactated')"
    _insert(
        raw,
        table,
        f"""SELECT s.stay_id, {_HOUR.format(time)} AS hour, 'drug' AS kind,
            CASE WHEN {crystalloid} AND (lower(e.ordercategorydescription) LIKE '%bolus%' OR {amount} >= 500)
                THEN 'crystalloid bolus: ' || label ELSE {_renamed("drugs")} END AS name,
            coalesce({rate}, {amount}) AS value,
            CASE WHEN {rate} IS NOT NULL THEN e.rateuom ELSE e.amountuom END AS unit,
            CASE WHEN {rate} IS NOT NULL THEN 'infusion' ELSE 'given' END AS text
        {_of_stay(source, key)} JOIN named ON named.item = TRY_CAST(e.itemid AS INTEGER)
        WHERE coalesce(e.statusdescription, '') <> 'Rewritten' AND coalesce({rate}, {amount}, 0) > 0
            AND coalesce(category, '') NOT LIKE 'Nutrition%'""",
    )


def _procedure_events(raw: MimicTables, table: str, key: str) -> None:
    """Procedures, imaging, cultures and lines charted at the bedside, with how long they went on."""
    if not raw.has(table):
        return
    words = vocabulary()["procedures"]
    source = raw.rows(table, [key, "itemid", "starttime"], ["value", "valueuom", "statusdescription"])
    kinds = " ".join(
        f"WHEN category IN ({', '.join(map(quoted, words[kind]))}) THEN {quoted(kind)}" for kind in ("imaging", "micro")
    )
    number = "TRY_CAST(e.value AS DOUBLE)"
    _insert(
        raw,
        table,
        f"""SELECT s.stay_id, {_HOUR.format("starttime")} AS hour,
            CASE WHEN named.item IN ({", ".join(map(str, words["ecg"]))}) THEN 'ecg' {kinds} ELSE 'procedure' END
            AS kind,
            CASE WHEN category LIKE 'Access Lines%' THEN 'vascular line: ' || label ELSE {_renamed("procedures")} END
            AS name,
            CASE WHEN lower(e.valueuom) <> 'none' AND {number} > 1 THEN {number} END AS value,
            CASE WHEN lower(e.valueuom) <> 'none' AND {number} > 1 THEN e.valueuom END AS unit, NULL AS text
        {_of_stay(source, key)} JOIN named ON named.item = TRY_CAST(e.itemid AS INTEGER)
        WHERE coalesce(e.statusdescription, '') NOT IN ('Rewritten', 'Cancelled')
            AND coalesce(category, '') NOT IN ({", ".join(map(quoted, words["left_out"]))})""",
    )


def _prescriptions(raw: MimicTables, start: str) -> None:
    """Drugs ordered for the admission, each once a day; diluents are left out."""
    if not raw.has("prescriptions"):
        return
    source = raw.rows(
        "prescriptions", ["hadm_id", start, "drug"], ["drug_type", "dose_val_rx", "dose_unit_rx", "route"]
    )
    _insert(
        raw,
        "prescriptions",
        f"""SELECT s.stay_id, min({_HOUR.format(start)}) AS hour, 'drug' AS kind, e.drug AS name,
            NULL::DOUBLE AS value, NULL AS unit,
            concat_ws(': ', 'ordered', nullif(concat_ws(' ', e.dose_val_rx, e.dose_unit_rx, e.route), '')) AS text
        {_of_admission(source)} WHERE coalesce(e.drug_type, 'MAIN') <> 'BASE'
        GROUP BY s.stay_id, e.drug, e.dose_val_rx, e.dose_unit_rx, e.route, TRY_CAST(e.{start} AS TIMESTAMP)::DATE""",
    )


def _coded_procedures(raw: MimicTables, code: str, version: str | None) -> None:
    """Procedures coded for the admission, by name; MIMIC-III has no day for them."""
    if not raw.has("procedures_icd") or not raw.has("d_icd_procedures"):
        return
    keys = [code] + ([version] if version else [])
    titles = raw.rows("d_icd_procedures", [*keys, "long_title"])
    raw.create("title", f"SELECT {', '.join(keys)}, min(long_title) AS long_title FROM ({titles}) GROUP BY ALL",
               "d_icd_procedures")  # fmt: skip
    source = raw.rows("procedures_icd", ["hadm_id", *keys], ["chartdate"])
    _insert(
        raw,
        "procedures_icd",
        f"""SELECT DISTINCT s.stay_id, {_NOON.format("chartdate")} AS hour, 'procedure' AS kind, long_title AS name,
            NULL::DOUBLE AS value, NULL AS unit,
            CASE WHEN e.chartdate IS NULL THEN 'no day recorded' ELSE '{_BY_DAY}' END AS text
        {_of_admission(source)} JOIN title USING ({", ".join(keys)})""",
    )


def _cultures(raw: MimicTables) -> None:
    """Cultures and other tests of `microbiologyevents`: specimen and organism, sensitivities as text."""
    if not raw.has("microbiologyevents"):
        return
    source = raw.rows(
        "microbiologyevents",
        ["hadm_id", "spec_type_desc", "org_name"],
        ["charttime", "chartdate", "test_name", "ab_name", "interpretation"],
    )
    site = "regexp_replace(lower(coalesce(e.spec_type_desc, 'specimen not stated')), ' cultures?$', '')"
    test = "CASE WHEN NOT contains(lower(e.test_name), 'culture') THEN ', ' || lower(e.test_name) ELSE '' END"
    drug = "e.ab_name || ' ' || coalesce(e.interpretation, '?')"
    _insert(
        raw,
        "microbiologyevents",
        f"""SELECT s.stay_id, coalesce({_HOUR.format("charttime")}, {_NOON.format("chartdate")}) AS hour,
            'micro' AS kind,
            'culture, ' || {site} || {test} || ': ' || coalesce(lower(e.org_name), 'no organism') AS name,
            NULL::DOUBLE AS value, NULL AS unit, concat_ws('; ', CASE WHEN e.charttime IS NULL THEN '{_BY_DAY}' END,
                string_agg(DISTINCT {drug}, ', ' ORDER BY {drug})) AS text
        {_of_admission(source)} GROUP BY 1, 2, 3, 4, e.charttime""",
    )


def evidence_batches(raw: MimicTables, rows: int) -> pa.RecordBatchReader:
    """Give the review evidence of the stays that remain, in the cohort's order, `rows` at a time."""
    reader = (
        raw.sql.cursor()
        .sql(
            """SELECT DISTINCT stay_id, hour::FLOAT AS hour, kind, name, value::FLOAT AS value, unit,
            nullif(text, '') AS text, source
        FROM evidence SEMI JOIN stay USING (stay_id)
        ORDER BY stay_id, hour NULLS LAST, kind, name, value NULLS LAST, unit NULLS LAST, text NULLS LAST, source"""
        )
        .to_arrow_reader(rows)
    )

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield from pa.Table.from_batches([batch]).cast(REVIEW_EVIDENCE).to_batches()

    return pa.RecordBatchReader.from_batches(REVIEW_EVIDENCE, batches())
