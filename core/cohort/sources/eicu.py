"""The eICU Collaborative Research Database: from a folder of published files to a cohort.

Raw tables go through DuckDB within bounded memory, each file once. Raw `vitalPeriodic`, `vitalAperiodic`, `lab` and
`nurseCharting` are read where present, an hourly table in ricu/YAIB columns (`hourly.parquet`) wins where both have a
value. Labels come from `diagnosis.icd9code`; stays without a code are not recorded. Hours count from unit admission.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.cohort.attrition import Attrition
from core.cohort.channels import manifest_channels
from core.cohort.labels_in import LabelsIn, with_labels
from core.cohort.phenotypes import manifest_label_groups, manifest_labels
from core.cohort.sources.eicu_evidence import evidence_batches, load_evidence
from core.cohort.sources.eicu_labels import PRIMARY_SOURCE, labels_table, load_labels
from core.cohort.sources.eicu_notes import load_notes
from core.cohort.sources.eicu_series import load_series
from core.cohort.sources.eicu_stays import load_stays, order_visits, stays_table
from core.cohort.sources.eicu_tables import RawFolder
from core.cohort.sources.mimic_notes import note_batches
from core.cohort.sources.mimic_series import mark_series, observation_batches
from core.cohort.store import write_cohort
from core.errors import ConfigError

LICENCE = (
    "eICU Collaborative Research Database; the demo under the Open Database License 1.0 (PhysioNet), the full database "
    "under the PhysioNet Credentialed Health Data Use Agreement: keep derived files under the same terms"
)

TABLES = (
    *("patient", "diagnosis", "vitalPeriodic", "vitalAperiodic", "lab", "nurseCharting", "respiratoryCharting"),
    *("intakeOutput", "physicalExam", "pastHistory", "note", "treatment", "admissionDx", "apacheApsVar"),
    *("carePlanGeneral", "medication", "infusionDrug", "admissionDrug", "microLab", "respiratoryCare"),
)
"""Tables that are read where they are there."""
_BATCH = 1 << 16
_NOTE_BATCH = 1 << 10


def _silent(stage: str) -> None:
    """Report nothing."""


def build_eicu(
    source: Path,
    target: Path,
    *,
    cutoff_hours: float | None = 48.0,
    unit_stays: str = "any",
    lenient: bool = False,
    progress: Callable[[str], None] | None = None,
    labels_in: LabelsIn | None = None,
) -> dict[str, Any]:
    """Build the cohort of an eICU folder.

    Parameters
    ----------
    source
        Folder with the published files, `.csv` or `.csv.gz`: `patient`, `diagnosis`, one of the notes' tables and a
        series (`hourly.parquet` or raw tables); the rest is read where present.
    target
        The cohort's folder; replaced only once the new one is complete.
    cutoff_hours
        Models read what was charted before this hour of the unit stay; None: all of it.
    unit_stays
        ``any`` unit stay, or the ``first`` of each hospital stay alone.
    lenient
        Set aside and count what can be set aside, instead of refusing it.
    progress
        Called with what is being done.
    labels_in
        A file of labels to put beside those of the codes, or to be corrected in their stead.

    Returns
    -------
    dict
        The manifest as written.

    Raises
    ------
    SourceError
        When the folder, a file, column, unit or value is not what it should be.
    """
    if cutoff_hours is not None and not 0 < cutoff_hours < float("inf"):
        raise ConfigError("a cut-off above 0 hours, or none", str(cutoff_hours), "give a number of hours such as 48")
    say = progress or _silent
    raw = RawFolder(source, lenient=lenient)
    try:
        raw.look(TABLES)
        say("reading stays")
        log = load_stays(raw, unit_stays)
        say("reading diagnoses")
        coding = load_labels(raw)
        say("reading vital signs and laboratory values")
        series = load_series(raw)
        say("reading notes")
        noted = load_notes(raw, cutoff_hours)
        say("reading treatments and other evidence for readers")
        load_evidence(raw)
        say("putting the cohort together")
        mark_series(raw, cutoff_hours)
        _remove_empty(raw, log)
        visits = order_visits(raw)
        coded = int(raw.one("SELECT count(DISTINCT stay_id) FROM label SEMI JOIN stay USING (stay_id)")[0])
        log.note(f"kept as not recorded: {log.remaining - coded} stays without a coded diagnosis")
        for reason, rows in sorted(raw.set_aside.items()):
            log.note(f"set aside: {rows} rows, {reason}")
        stays = stays_table(raw)
        tables = {
            "stays": stays,
            "observations": observation_batches(raw, _BATCH),
            "notes": note_batches(raw, _NOTE_BATCH),
            "labels": labels_table(raw),
            "review_evidence": evidence_batches(raw, _BATCH),
        }
        manifest = {
            "name": "eICU",
            "source": "eicu",
            "primary_source": PRIMARY_SOURCE,
            "label_sources": {PRIMARY_SOURCE: {"kind": "codes", "title": "billing codes"}},
            "cutoff_hours": cutoff_hours,
            "labels": manifest_labels(),
            "label_groups": manifest_label_groups(),
            "channels": manifest_channels(),
            "attrition": log.lines(),
            "licence": LICENCE,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "labels_against": "recorded",
            "seed": None,
            "noise": None,
            "not_recorded": log.remaining - coded,
            "coding": coding,
            "visit_order": visits,
            "note_reading": noted,
            "unit_stays": unit_stays,
            **series,
            "set_aside": dict(sorted(raw.set_aside.items())),
            "lenient": lenient,
            "files": sorted(set(raw.read)),
        }
        if labels_in is not None:
            say("reading the file of labels")
            tables["labels"], manifest = with_labels(stays, tables["labels"], manifest, labels_in)
        say("writing")
        return write_cohort(target, tables, manifest)
    finally:
        raw.close()


def _remove_empty(raw: RawFolder, log: Attrition) -> None:
    """Remove stays of which neither a value nor a note was charted at any time."""
    raw.sql.execute(
        "DELETE FROM stay WHERE stay_id NOT IN (SELECT stay_id FROM observation) "
        "AND stay_id NOT IN (SELECT stay_id FROM notes)"
    )
    log.keep("any measured value or note", int(raw.one("SELECT count(*) FROM stay")[0]))
