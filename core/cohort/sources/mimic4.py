"""MIMIC-IV 2.x and 3.x with MIMIC-IV-Note: from the folders of published files to a cohort."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.cohort.labels_in import LabelsIn
from core.cohort.sources.mimic_build import build
from core.cohort.sources.mimic_labels import CHEXPERT, PHENOTYPING, LabelTask
from core.cohort.sources.mimic_notes import CHOICES, load_mimic4_notes
from core.cohort.sources.mimic_stays import MIMIC4
from core.cohort.sources.mimic_tables import MimicTables
from core.errors import ConfigError


def build_mimic4(
    source: Path,
    target: Path,
    *,
    notes_folder: Path | None = None,
    notes: str = "pmh",
    cutoff_hours: float | None = 48.0,
    split_file: Path | None = None,
    lenient: bool = False,
    progress: Callable[[str], None] | None = None,
    labels_in: LabelsIn | None = None,
    task: LabelTask = PHENOTYPING,
) -> dict[str, Any]:
    """Build the cohort of a MIMIC-IV folder.

    Parameters
    ----------
    source
        Folder with `hosp/` and `icu/`, files `.csv` or `.csv.gz`: icustays, admissions, patients, diagnoses_icd,
        chartevents and labevents; the rest is read where present.
    target
        The cohort's folder; replaced only once the new one is complete.
    notes_folder
        Folder with `discharge` and `radiology` of MIMIC-IV-Note, or with a folder `note` that has them.
    notes
        What a model reads: ``pmh``, ``admission``, ``first48h`` or ``all``; see `mimic_notes.CHOICES`.
    cutoff_hours
        Models read what was charted before this hour of the stay; None: all of it.
    split_file
        A list of patients and 1 (test) or 0; None: by a hash of the patient.
    lenient
        Set aside and count what can be set aside, instead of refusing it.
    progress
        Called with what is being done.
    labels_in
        A file of labels to put beside those of the codes, or to be corrected in their stead.
    task
        What the stays are labelled with: phenotypes, or `chexpert.chexpert_task`.

    Returns
    -------
    dict
        The manifest as written.

    Raises
    ------
    SourceError
        When a folder, a file, column, unit or value is not what it should be.
    ConfigError
        When `notes` is none of the choices, or would give a model the reports that the labels were taken from.
    """
    if notes not in CHOICES:
        raise ConfigError(f"notes of {', '.join(CHOICES)}", notes, "choose one of them")
    if task.source == CHEXPERT and notes in ("first48h", "all"):
        raise ConfigError("--notes pmh or admission with chest film labels", notes, "reports give those labels away")
    raw = MimicTables(source, "MIMIC-IV", parts=("hosp", "icu", "note"), notes=notes_folder, lenient=lenient)
    return build(
        raw,
        target,
        release="mimic4",
        names=MIMIC4,
        load_notes=lambda: load_mimic4_notes(raw, notes, cutoff_hours, given=notes_folder is not None),
        cutoff_hours=cutoff_hours,
        split_file=split_file,
        progress=progress,
        labels_in=labels_in,
        task=task,
    )
