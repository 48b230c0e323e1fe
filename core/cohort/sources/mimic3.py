"""MIMIC-III 1.4: from the folder of published files to a cohort, by the rules of the phenotyping benchmark."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.cohort.labels_in import LabelsIn
from core.cohort.sources.mimic_build import build
from core.cohort.sources.mimic_notes import load_mimic3_notes
from core.cohort.sources.mimic_stays import MIMIC3
from core.cohort.sources.mimic_tables import MimicTables


def build_mimic3(
    source: Path,
    target: Path,
    *,
    cutoff_hours: float | None = 48.0,
    split_file: Path | None = None,
    lenient: bool = False,
    progress: Callable[[str], None] | None = None,
    labels_in: LabelsIn | None = None,
) -> dict[str, Any]:
    """Build the cohort of a MIMIC-III folder.

    Parameters
    ----------
    source
        Folder with the published files, `.csv` or `.csv.gz`: ICUSTAYS, ADMISSIONS, PATIENTS, DIAGNOSES_ICD, CHARTEVENTS
        and LABEVENTS; the rest is read where present.
    target
        The cohort's folder; replaced only once the new one is complete.
    cutoff_hours
        Models read what was charted before this hour of the stay; None: all of it.
    split_file
        The benchmark's list of patients to test on (`testset.csv`); None: by a hash of the patient.
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
    raw = MimicTables(source, "MIMIC-III", lenient=lenient, capitals=True)
    return build(
        raw,
        target,
        release="mimic3",
        names=MIMIC3,
        load_notes=lambda: load_mimic3_notes(raw, cutoff_hours),
        cutoff_hours=cutoff_hours,
        split_file=split_file,
        progress=progress,
        labels_in=labels_in,
    )
