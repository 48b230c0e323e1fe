"""Listfiles that drop into the pipelines that MIMIC users run: byte for byte as those pipelines write them.

``mimic3-benchmarks`` (Harutyunyan et al. 2019, phenotyping): header ``stay,period_length,`` and the 25 phenotypes by
name; a stay is the file of its series, ``{subject}_episode{n}_timeseries.csv``; hours to six decimals; no quotes; line
feeds; rows by name, as text. The benchmark sorts its training list so and takes the test list in the order in which
its disk names the files; here both are sorted. ``train/listfile.csv`` and ``test/listfile.csv`` are what its extraction
writes, ``{train,val,test}_listfile.csv`` what its split for validation makes of them.

``flexcare`` (the benchmark's heir for MIMIC-IV): ``subject_id,stay_id,time_series,period_length,`` and the same names;
rows by subject as text, then by stay as number; ``tvtset.csv`` beside it says who trains (0), validates (1), tests (2).

Notes
-----
Episodes count the patient's stays of the cohort by `visit`. The benchmarks also count stays that they keep and a cohort
does not: such as have no measured value and no note. A patient with one of those before another stay has numbers that
are one apart; `period_length` tells which stay is meant. Only stays with a series of which every label is stated have a
row: a pipeline would look for a file that is not there, and a listfile has no way to say "not stated". A cohort with a
cut-off says of a stay whose first value came later that it has no series; the benchmarks have one.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from audit_store.errors import ExportError
from audit_store.export_matrix import Matrix
from audit_store.fileio import blake, make_folder

PUBLISHED = (
    "Acute and unspecified renal failure",
    "Acute cerebrovascular disease",
    "Acute myocardial infarction",
    "Cardiac dysrhythmias",
    "Chronic kidney disease",
    "Chronic obstructive pulmonary disease and bronchiectasis",
    "Complications of surgical procedures or medical care",
    "Conduction disorders",
    "Congestive heart failure; nonhypertensive",
    "Coronary atherosclerosis and other heart disease",
    "Diabetes mellitus with complications",
    "Diabetes mellitus without complication",
    "Disorders of lipid metabolism",
    "Essential hypertension",
    "Fluid and electrolyte disorders",
    "Gastrointestinal hemorrhage",
    "Hypertension with complications and secondary hypertension",
    "Other liver diseases",
    "Other lower respiratory disease",
    "Other upper respiratory disease",
    "Pleurisy; pneumothorax; pulmonary collapse",
    "Pneumonia (except that caused by tuberculosis or sexually transmitted disease)",
    "Respiratory failure; insufficiency; arrest (adult)",
    "Septicemia (except in labor)",
    "Shock",
)
"""The benchmarks' 25 phenotypes in the order of their listfiles."""

VALIDATION_PERCENT = 15
"""Of the training patients, where no list names those to validate on: the share that the benchmark's list has."""
_INSTEAD = "write long, wide or listfile, which name a stay by its id"
_DAY, _TENTHS = 86_400, 10_000


@dataclass(frozen=True)
class Rows:
    """The rows of a listfile, in no order yet, and what was left out.

    Parameters
    ----------
    table
        subject (text), stay_id, name (of the series' file), hours (text), split, and a column per label.
    left_out
        Stays that have stated labels and no row, by why.
    """

    table: pa.Table
    left_out: dict[str, int]


def listfile_rows(matrix: Matrix, stays: pa.Table, *, days_to_four_decimals: bool) -> Rows:
    """Put together what both listfiles say.

    Parameters
    ----------
    matrix
        The cleaned labels.
    stays
        Columns of `audit_store.labels.required_stays`, by stay_id.
    days_to_four_decimals
        Lengths of stay as MIMIC-III publishes them: days, rounded to four decimals. Else to the second.

    Raises
    ------
    ExportError
        When the labels are not the 25 phenotypes, or patients have no subject number, or their stays no known order.
    """
    check_names(matrix.names)
    place = matrix.rows_of(stays["stay_id"].to_numpy())
    stated = stays.filter(place >= 0)
    place = place[place >= 0]
    series = stated["has_series"].to_numpy()
    whole = matrix.whole[place]
    kept = stated.filter(pa.array(series & whole))
    check_stays(kept)
    seconds = np.rint(kept["los_hours"].to_numpy() * 3600).astype(np.int64)
    if days_to_four_decimals:
        hours = 24.0 * ((2 * _TENTHS * seconds + _DAY) // (2 * _DAY) / _TENTHS)
    else:
        hours = kept["los_hours"].to_numpy()
    episode = kept["visit"].cast(pa.string())
    subject = kept["patient_key"].cast(pa.string())
    columns = dict(zip(matrix.names, matrix.columns(place[series & whole]), strict=True))
    table = pa.table(
        {
            "subject": subject,
            "stay_id": kept["stay_id"],
            "name": pc.binary_join_element_wise(subject, "_episode", episode, "_timeseries.csv", ""),
            "hours": pa.array(np.char.mod("%.6f", hours).astype(object), pa.string()),
            "split": kept["split"],
            **{name: columns[name] for name in PUBLISHED},
        }
    )
    left = {"without a series": int((~series).sum()), "with a label not stated": int((series & ~whole).sum())}
    return Rows(table, left)


def check_names(names: tuple[str, ...]) -> None:
    """Check that labels are the 25 phenotypes, in whatever order; ExportError where they are not."""
    if sorted(names) != sorted(PUBLISHED):
        came = f"{len(names)} labels, {len(set(names) & set(PUBLISHED))} of them such"
        raise ExportError("the benchmarks' 25 phenotypes as labels", came, _INSTEAD)


def check_stays(stays: pa.Table) -> None:
    """Check that patients have subject numbers and their stays an order; ExportError where they have not."""
    numbers = pc.all(pc.match_substring_regex(stays["patient_key"].cast(pa.string()), "^[0-9]+$")).as_py()
    if numbers is False or stays["patient_key"].null_count:
        raise ExportError("patients with subject numbers, as MIMIC has them", "keys of another kind", _INSTEAD)
    unknown = pc.sum(pc.not_equal(stays["visit_order"], "exact")).as_py() or 0
    if unknown:
        came = f"{unknown:,} stays of which it is not"
        raise ExportError("stays whose place among the patient's is known", came, _INSTEAD)


def write_mimic3_benchmarks(rows: Rows, folder: Path, validation: frozenset[str] | None) -> list[tuple[Path, int]]:
    """Write the phenotyping task's five listfiles.

    Parameters
    ----------
    folder
        Where ``train/``, ``test/`` and the three lists go; made here.
    validation
        Subjects to validate on; None: a share of the training patients by a hash.

    Returns
    -------
    list of (Path, int)
        Files and their rows.
    """
    table = rows.table.take(pc.sort_indices(rows.table["name"]))
    columns = ["name", "hours", *PUBLISHED]
    header = ("stay", "period_length", *PUBLISHED)
    role = roles(table, validation)
    test = table.filter(role == 2).select(columns)
    made = []
    for name, part in (
        ("train/listfile.csv", table.filter(role < 2).select(columns)),
        ("test/listfile.csv", test),
        ("train_listfile.csv", table.filter(role == 0).select(columns)),
        ("val_listfile.csv", table.filter(role == 1).select(columns)),
        ("test_listfile.csv", test),
    ):
        made.append((_write(part, header, folder / name), part.num_rows))
    return made


def write_flexcare(rows: Rows, folder: Path, validation: frozenset[str] | None) -> list[tuple[Path, int]]:
    """Write ``listfile.csv`` and ``tvtset.csv`` (subject; 0 trains, 1 validates, 2 tests); see its sibling."""
    table = rows.table.take(pc.sort_indices(rows.table, sort_keys=[("subject", "ascending"), ("stay_id", "ascending")]))
    listed = table.select(["subject", "stay_id", "name", "hours", *PUBLISHED])
    header = ("subject_id", "stay_id", "time_series", "period_length", *PUBLISHED)
    people = pa.table({"subject": table["subject"], "role": pa.array(roles(table, validation))})
    people = people.group_by("subject", use_threads=False).aggregate([("role", "max")])
    return [
        (_write(listed, header, folder / "listfile.csv"), listed.num_rows),
        (_write(people, None, folder / "tvtset.csv"), people.num_rows),
    ]


def _write(table: pa.Table, header: tuple[str, ...] | None, path: Path) -> Path:
    """Write rows without quotes, each ended by a line feed; Arrow would put its header in quotes."""
    make_folder(path.parent)
    with path.open("wb") as handle:
        if header is not None:
            handle.write(f"{','.join(header)}\n".encode())
        pacsv.write_csv(table, handle, pacsv.WriteOptions(include_header=False, quoting_style="none"))
    return path


def roles(table: pa.Table, validation: frozenset[str] | None) -> npt.NDArray[np.int8]:
    """0 for rows to train on, 1 to validate on, 2 to test on, int8 [rows]; `table` has `subject` and `split`."""
    test = np.asarray(pc.equal(table["split"], "test").to_numpy())
    subjects: Any = table["subject"].unique().to_pylist()
    chosen = [subject in validation if validation is not None else _validates(subject) for subject in subjects]
    place = pc.index_in(table["subject"], value_set=table["subject"].unique()).to_numpy()
    return np.where(test, 2, np.asarray(chosen, dtype=np.int8)[place] if len(place) else 0).astype(np.int8)


def _validates(subject: str) -> bool:
    return int(blake("validation", subject, size=8), 16) % 100 < VALIDATION_PERCENT


def read_validation(path: Path) -> frozenset[str]:
    """Read the list of subjects to validate on: a subject and 1 (validate) or 0 in each line, without a header.

    Raises
    ------
    ExportError
        When the file can't be read, or a line is something else.
    """
    todo = "give the benchmark's list: subject, 1 or 0"
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            lines = [[cell.strip() for cell in line] for line in csv.reader(handle) if line]
    except (OSError, UnicodeDecodeError, csv.Error):
        raise ExportError(f"{path.name} as a CSV file", "one that can't be read", todo) from None
    for number, line in enumerate(lines, start=1):
        if len(line) != 2 or not (line[0].isascii() and line[0].isdigit()) or line[1] not in ("0", "1"):
            raise ExportError(f"a subject and 0 or 1 in each line of {path.name}", f"other text in line {number}", todo)
    if not lines:
        raise ExportError(f"subjects in {path.name}", "an empty file", todo)
    return frozenset(line[0] for line in lines if line[1] == "1")
