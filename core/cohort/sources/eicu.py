"""The eICU Collaborative Research Database: from a folder of published files to a cohort.

Raw tables go through DuckDB in memory. Raw `vitalPeriodic`, `vitalAperiodic`, `lab` and `nurseCharting` are read where
present, an hourly table in ricu/YAIB columns (`hourly.parquet`) wins where both have a value. Labels come from
`diagnosis.icd9code`; stays without a code are not recorded. Times are hours from unit admission.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.cohort.attrition import Attrition
from core.cohort.channels import CHANNELS, manifest_channels
from core.cohort.phenotypes import manifest_label_groups, manifest_labels
from core.cohort.sources.eicu_evidence import evidence_table, load_evidence
from core.cohort.sources.eicu_labels import PRIMARY_SOURCE, labels_table, load_labels
from core.cohort.sources.eicu_notes import load_notes, notes_table
from core.cohort.sources.eicu_series import STATIC_CHANNELS, converted_values, load_series, observations_table
from core.cohort.sources.eicu_stays import load_stays, order_visits, stays_table
from core.cohort.sources.eicu_tables import RawFolder
from core.cohort.store import write_cohort
from core.errors import ConfigError

LICENCE = (
    "eICU Collaborative Research Database; the demo under the Open Database License 1.0 (PhysioNet), the full database "
    "under the PhysioNet Credentialed Health Data Use Agreement: keep derived files under the same terms"
)


def _silent(stage: str) -> None:
    """Report nothing."""


def build_eicu(
    source: Path,
    target: Path,
    *,
    cutoff_hours: float | None = 48.0,
    progress: Callable[[str], None] | None = None,
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
    progress
        Called with what is being done.

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
    raw = RawFolder(source)
    try:
        say("reading stays")
        log = load_stays(raw)
        say("reading diagnoses")
        coding = load_labels(raw)
        say("reading vital signs and laboratory values")
        series = load_series(raw)
        say("reading notes")
        noted = load_notes(raw, cutoff_hours)
        say("reading treatments and other evidence for readers")
        load_evidence(raw)
        say("putting the cohort together")
        _modalities(raw, cutoff_hours)
        _remove_empty(raw, log)
        visits = order_visits(raw)
        coded = int(raw.one("SELECT count(DISTINCT stay_id) FROM label SEMI JOIN stay USING (stay_id)")[0])
        log.note(f"kept as not recorded: {log.remaining - coded} stays without a coded diagnosis")
        tables = {
            "stays": stays_table(raw),
            "observations": observations_table(raw),
            "notes": notes_table(raw),
            "labels": labels_table(raw),
            "review_evidence": evidence_table(raw),
        }
        manifest = {
            "name": "eICU",
            "source": "eicu",
            "primary_source": PRIMARY_SOURCE,
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
            "removed_values": series["removed_values"],
            "unreadable_values": series["unreadable_values"],
            "converted_values": converted_values(raw),
            "ignored_columns": series["ignored_columns"],
            "files": sorted(set(raw.read)),
        }
    finally:
        raw.close()
    say("writing")
    return write_cohort(target, tables, manifest)


def _modalities(raw: RawFolder, cutoff_hours: float | None) -> None:
    """Table `modality`: what a model can read of each stay.

    A series is any value of a model's channel, within the stay and before the cut-off, other than height and weight;
    where there is none, height and weight are no series either and are left out.
    """
    names = ", ".join(f"'{c.name}'" for c in CHANNELS if c.model and c.name not in STATIC_CHANNELS)
    before = "true" if cutoff_hours is None else f"hour < {cutoff_hours!r}"
    raw.sql.execute(
        f"""CREATE OR REPLACE TABLE modality AS
        SELECT stay_id,
            stay_id IN (SELECT stay_id FROM observation JOIN stay USING (stay_id)
                WHERE channel IN ({names}) AND hour >= 0 AND hour <= los_hours AND {before}) AS has_series,
            stay_id IN (SELECT stay_id FROM notes WHERE model_end IS NOT NULL) AS has_note
        FROM stay"""
    )
    static = ", ".join(f"'{name}'" for name in STATIC_CHANNELS)
    raw.sql.execute(
        f"""DELETE FROM observation WHERE channel IN ({static})
        AND stay_id NOT IN (SELECT stay_id FROM modality WHERE has_series)"""
    )


def _remove_empty(raw: RawFolder, log: Attrition) -> None:
    """Remove stays of which neither a value nor a note was charted at any time."""
    raw.sql.execute(
        "DELETE FROM stay WHERE stay_id NOT IN (SELECT stay_id FROM observation) "
        "AND stay_id NOT IN (SELECT stay_id FROM notes)"
    )
    log.keep("any measured value or note", int(raw.one("SELECT count(*) FROM stay")[0]))
