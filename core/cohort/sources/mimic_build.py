"""Putting a MIMIC cohort together from its tables; what both releases share."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.cohort.attrition import Attrition
from core.cohort.channels import manifest_channels
from core.cohort.labels_in import LabelsIn, check_labels_file, with_labels
from core.cohort.sources.mimic_evidence import evidence_batches, load_evidence
from core.cohort.sources.mimic_labels import PHENOTYPING, LabelTask, labels_table
from core.cohort.sources.mimic_notes import note_batches
from core.cohort.sources.mimic_series import load_series, mark_series, observation_batches
from core.cohort.sources.mimic_stays import StayNames, load_stays, split_patients, stays_table
from core.cohort.sources.mimic_tables import MimicTables
from core.cohort.store import write_cohort
from core.errors import ConfigError, SourceError

REQUIRED = ("icustays", "admissions", "patients", "diagnoses_icd", "chartevents", "labevents")
OPTIONAL = (
    *("outputevents", "noteevents", "discharge", "radiology", "d_items", "inputevents", "inputevents_mv"),
    *("inputevents_cv", "procedureevents", "procedureevents_mv", "microbiologyevents", "prescriptions"),
    *("procedures_icd", "d_icd_procedures"),
)
"""Tables that are read where they are there."""
_BATCH = 1 << 16
_NOTE_BATCH = 1 << 10


def build(
    raw: MimicTables,
    target: Path,
    *,
    release: str,
    names: StayNames,
    load_notes: Callable[[], dict[str, Any]],
    cutoff_hours: float | None,
    split_file: Path | None,
    progress: Callable[[str], None] | None,
    labels_in: LabelsIn | None = None,
    task: LabelTask = PHENOTYPING,
) -> dict[str, Any]:
    """Build and write the cohort of a MIMIC release; the tables are closed in any case.

    Parameters
    ----------
    release
        ``mimic3`` or ``mimic4``.
    names
        What the release calls its columns.
    load_notes
        Builds table `notes` and says how they fell.
    labels_in
        A file of labels to put beside those of the codes.
    task
        What the stays are labelled with.

    Returns
    -------
    dict
        The manifest as written.
    """

    def say(stage: str) -> None:
        if progress is not None:
            progress(stage)

    try:
        if cutoff_hours is not None and not 0 < cutoff_hours < float("inf"):
            raise ConfigError(
                "a cut-off above 0 hours, or none", str(cutoff_hours), "give a number of hours such as 48"
            )
        say("looking at the files")
        if labels_in is not None:
            check_labels_file(labels_in)
        for table in REQUIRED:
            raw.require(table, "every cohort needs it")
        raw.look([*REQUIRED, *OPTIONAL])
        say("reading stays")
        log = load_stays(raw, names)
        if not log.remaining:
            raise SourceError("an ICU stay that meets every criterion", "none", "name the whole published folder")
        split = split_patients(raw, split_file)
        say(f"reading {task.reading}")
        coding = task.load(raw, release)
        say("reading charted items, laboratory results and outputs")
        series = load_series(raw, release)
        say("reading notes")
        noted = load_notes()
        say("reading drugs, procedures and other evidence for readers")
        load_evidence(raw, release)
        say("putting the cohort together")
        mark_series(raw, cutoff_hours)
        raw.sql.execute(
            "DELETE FROM stay WHERE stay_id NOT IN (SELECT stay_id FROM observation) "
            "AND stay_id NOT IN (SELECT stay_id FROM notes)"
        )
        log.keep("any measured value or note", raw.count("SELECT count(*) FROM stay"))
        uncoded = _note_uncoded(raw, log, task)
        for reason, rows in sorted(raw.set_aside.items()):
            log.note(f"set aside: {rows} rows, {reason}")
        stays, labels = stays_table(raw), labels_table(raw)
        manifest = {
            "name": raw.product,
            "source": release,
            "primary_source": task.source,
            "label_sources": {task.source: dict(task.told)},
            "cutoff_hours": cutoff_hours,
            "labels": task.labels(),
            "label_groups": task.groups(),
            "channels": manifest_channels(),
            "attrition": log.lines(),
            "licence": f"{raw.product}, PhysioNet: the demo under the Open Database License 1.0, the full database "
            "under the PhysioNet Credentialed Health Data Use Agreement: keep derived files under the same terms",
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "labels_against": "recorded",
            "seed": None,
            "noise": None,
            "not_recorded": uncoded,
            "coding": coding,
            "split": split,
            "note_reading": noted,
            **series,
            "set_aside": dict(sorted(raw.set_aside.items())),
            "lenient": raw.lenient,
            "files": sorted(raw.read),
        }
        if labels_in is not None:
            say("reading the file of labels")
            labels, manifest = with_labels(stays, labels, manifest, labels_in)
        say("writing")
        return write_cohort(
            target,
            {
                "stays": stays,
                "labels": labels,
                "observations": observation_batches(raw, _BATCH),
                "notes": note_batches(raw, _NOTE_BATCH),
                "review_evidence": evidence_batches(raw, _BATCH),
            },
            manifest,
        )
    finally:
        raw.close()


def _note_uncoded(raw: MimicTables, log: Attrition, task: LabelTask) -> int:
    coded = raw.count("SELECT count(DISTINCT stay_id) FROM label SEMI JOIN stay USING (stay_id)")
    log.note(f"kept as not recorded: {log.remaining - coded} stays without {task.wanted}")
    return log.remaining - coded
