"""The forms that cleaned labels are written in, and the files of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from audit_store.database import Store
from audit_store.errors import ExportError
from audit_store.export_listfiles import (
    check_names,
    check_stays,
    listfile_rows,
    write_flexcare,
    write_mimic3_benchmarks,
)
from audit_store.export_manifest import Written
from audit_store.export_matrix import matrix_of
from audit_store.export_meds import check_dates, write_meds
from audit_store.fileio import file_digest, make_folder, sync_file
from audit_store.labels import cleaned_wide, cohort_stays, listfile, required_stays
from audit_store.round_reader import RoundFile

FORMATS = ("csv", "parquet")
FORMS: dict[str, str] = {
    "long": "a row per stay and label, with what was recorded, who read it and why it changed",
    "wide": "a row per stay, a column per label key",
    "listfile": "a row per stay by its id, a column per published label name; any cohort",
    "mimic3-benchmarks": "the phenotyping listfiles of mimic3-benchmarks, byte for byte as it writes them",
    "flexcare": "FlexCare's phenotyping listfile and its split",
    "meds": "MEDS labels (0.4), a Parquet file per label",
}
"""What can be written; `formats` apply to the first two, and ``listfile`` is written where CSV is asked for."""
DEFAULT_FORMS = ("long", "wide", "listfile")
OF_A_FIELD = ("mimic3-benchmarks", "flexcare", "meds")
"""Forms with files of their own kinds, which a cohort may lack something for."""
_MIMIC3 = "mimic3"


@dataclass(frozen=True)
class Chosen:
    """Which files of labels to write.

    Parameters
    ----------
    forms, formats
        Keys of `FORMS`; members of `FORMATS`.
    validation
        Subjects that the benchmarks' listfiles validate on; None: a share by a hash.
    """

    forms: tuple[str, ...] = DEFAULT_FORMS
    formats: tuple[str, ...] = FORMATS
    validation: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if not self.formats or not set(self.formats) <= set(FORMATS):
            came = ", ".join(self.formats) or "none"
            raise ExportError(f"formats of {', '.join(FORMATS)}", came, "name one of them or both")
        if not self.forms or not set(self.forms) <= set(FORMS):
            came = ", ".join(self.forms) or "none"
            raise ExportError(f"forms of {', '.join(FORMS)}", came, "name some of them, with commas between")


def unavailable(store: Store, round_file: RoundFile) -> dict[str, str]:
    """Say which forms this cohort can't give, and what it lacks for each: for a screen, before anything is written."""
    key = f"unavailable_forms_{round_file.digest['blake2b']}"
    with store.memory_lock:
        kept: dict[str, str] | None = store.memory.get(key)
    if kept is not None:
        return kept
    found: dict[str, str] = {}
    stays = cohort_stays(store)
    if stays is None:
        return dict.fromkeys(("listfile", *OF_A_FIELD), "the cohort, which is gone")
    stated = round_file.arrow("SELECT DISTINCT stay_id FROM pair")["stay_id"]
    stays = stays.filter(pc.is_in(stays["stay_id"], value_set=stated.combine_chunks()))
    listed = stays.filter(stays["has_series"])
    for form in OF_A_FIELD:
        try:
            if form == "meds":
                check_dates(stays)
            else:
                check_names(tuple(round_file.label_names.values()))
                check_stays(listed)
        except ExportError as error:
            found[form] = error.expected
    with store.memory_lock:
        store.memory[key] = found
    return found


def write_forms(
    store: Store, round_file: RoundFile, long: pa.Table, chosen: Chosen, folder: Path
) -> tuple[list[Written], dict[str, dict[str, int]]]:
    """Write the chosen forms below `folder`.

    Returns
    -------
    written, left_out
        The files; and by form, stays that have labels and no row in it, by why.

    Raises
    ------
    ExportError
        When the cohort or its labels lack what a form needs. Nothing else is written then.
    """
    forms = set(chosen.forms)
    matrix = matrix_of(long, round_file) if forms - {"long"} else None
    written: list[Written] = []
    left_out: dict[str, dict[str, int]] = {}
    if matrix is not None and forms - {"long", "wide", "listfile"}:  # what may be refused comes first
        manifest = store.workspace.manifest()
        stays = required_stays(store)
        if forms & {"mimic3-benchmarks", "flexcare"}:
            rows = listfile_rows(matrix, stays, days_to_four_decimals=manifest.get("source") == _MIMIC3)
            for form, write in (("mimic3-benchmarks", write_mimic3_benchmarks), ("flexcare", write_flexcare)):
                if form in forms:
                    left_out[form] = rows.left_out
                    made = write(rows, folder / form / "phenotyping", chosen.validation)
                    written += finished(folder, made)
        if "meds" in forms:
            written += finished(
                folder, write_meds(matrix, stays, _cutoff(manifest.get("cutoff_hours")), folder / "meds" / "labels")
            )
    if "long" in forms:
        written += write_table(long, folder, "labels_long", chosen.formats)
    if "wide" in forms:
        wide = cleaned_wide(store, round_file, long=long, matrix=matrix)
        written += write_table(wide, folder, "labels_wide", chosen.formats)
    if "listfile" in forms and "csv" in chosen.formats:
        listed = listfile(store, round_file, long=long, matrix=matrix)
        written += write_table(listed, folder, "listfile", ("csv",))
    return written, left_out


def _cutoff(given: object) -> float | None:
    return float(given) if isinstance(given, int | float) else None


def write_table(table: pa.Table, folder: Path, name: str, formats: tuple[str, ...]) -> list[Written]:
    """Write a table as ``{name}.csv``, ``{name}.parquet`` or both, synced."""
    made = []
    for kind in FORMATS:
        if kind in formats:
            path = folder / f"{name}.{kind}"
            make_folder(path.parent)
            if kind == "csv":
                pacsv.write_csv(table, path, pacsv.WriteOptions(quoting_style="needed"))
            else:
                pq.write_table(table, path, compression="zstd")
            made.append((path, table.num_rows))
    return finished(folder, made)


def write_text(text: str, folder: Path, name: str) -> Written:
    """Write a text, synced."""
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="\n")
    return finished(folder, [(path, text.count("\n"))])[0]


def finished(folder: Path, made: Iterable[tuple[Path, int]]) -> list[Written]:
    """Close files to others, sync them, and give what the manifest says of them."""
    written = []
    for path, rows in made:
        sync_file(path)
        name = path.relative_to(folder).as_posix()
        written.append(Written(name, file_digest(path, "sha256"), path.stat().st_size, rows))
    return written
