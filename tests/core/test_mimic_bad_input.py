"""Bad MIMIC folders: refused in one line with file and row, nothing left behind; set aside and counted when lenient."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from core.cohort.sources.mimic3 import build_mimic3
from core.cohort.sources.mimic4 import build_mimic4
from core.errors import ConfigError, SourceError
from tests.core.mimic_fixture import Rows, at, chart3, lab3, mimic3, mimic4, write_folder
from tests.core.refusals import MARKER, refused_by

Change = Callable[[dict[str, Rows]], None]
REQUIRED = ("ICUSTAYS", "ADMISSIONS", "PATIENTS", "DIAGNOSES_ICD", "CHARTEVENTS", "LABEVENTS")


def refused(source: Path, target: Path, *, lenient: bool = False) -> str:
    """The one line in which a folder is refused; nothing may be left behind."""
    return refused_by(lambda place: build_mimic3(source, place, lenient=lenient), target)


def set_cell(table: str, row: int, column: str, value: object) -> Change:
    def change(content: dict[str, Rows]) -> None:
        content[table][row][column] = value

    return change


def add(table: str, row: dict[str, object]) -> Change:
    def change(content: dict[str, Rows]) -> None:
        content[table].append(row)

    return change


def _duplicate(table: str) -> Change:
    def change(content: dict[str, Rows]) -> None:
        content[table].append(dict(content[table][0]))

    return change


@pytest.mark.parametrize("table", [*REQUIRED, "D_ITEMS"])
def test_a_missing_table_is_named(tmp_path: Path, table: str) -> None:
    content = mimic3()
    content.pop(table)
    message = refused(write_folder(tmp_path / "source", content), tmp_path / "cohort")
    assert f"{table}.csv or {table}.csv.gz" in message


@pytest.mark.parametrize(
    ("table", "lenient"),
    [(table, False) for table in (*REQUIRED, "NOTEEVENTS", "PRESCRIPTIONS")]
    + [("ICUSTAYS", True), ("LABEVENTS", True)],
)
def test_an_empty_or_cut_file_is_refused_by_both_readers(tmp_path: Path, table: str, lenient: bool) -> None:
    folder = write_folder(tmp_path / "source", mimic3())
    path = folder / f"{table}.csv"
    whole = gzip.compress(path.read_bytes() * 40)
    path.write_bytes(b"")
    assert f"{table}.csv with a header" in refused(folder, tmp_path / "cohort", lenient=lenient)
    path.unlink()
    path.with_suffix(".csv.gz").write_bytes(whole[: len(whole) * 2 // 3])
    assert f"{table}.csv.gz" in refused(folder, tmp_path / "cohort", lenient=lenient)


@pytest.mark.parametrize("table", ["ICUSTAYS", "DIAGNOSES_ICD", "CHARTEVENTS", "NOTEEVENTS", "INPUTEVENTS_MV"])
def test_another_delimiter_encoding_or_column_name_is_told_by_file(tmp_path: Path, table: str) -> None:
    folder = write_folder(tmp_path / "source", mimic3())
    path = folder / f"{table}.csv"
    text = path.read_text()
    path.write_text(text.replace(",", ";"))
    assert f"{table}.csv with commas between its columns; got semicolons" in refused(folder, tmp_path / "cohort")
    path.write_bytes(text.encode("utf-16"))
    assert f"{table}.csv" in refused(folder, tmp_path / "cohort")
    head, rest = text.split("\n", 1)
    path.write_text(
        head.replace("hadm_id", "admission").replace("subject_id", "person").replace("icustay_id", "unit") + "\n" + rest
    )
    message = refused(folder, tmp_path / "cohort")
    assert f"{table}.csv with columns" in message
    assert "none named" in message


@pytest.mark.parametrize("table", REQUIRED)
def test_a_damaged_line_is_told_by_its_number(tmp_path: Path, table: str) -> None:
    folder = write_folder(tmp_path / "source", mimic3())
    path = folder / f"{table}.csv"
    lines = path.read_text().split("\n")
    lines[2] = f"{MARKER},1"
    path.write_text("\n".join(lines))
    assert "first in line 3" in refused(folder, tmp_path / "cohort")


BAD: list[tuple[Change, str]] = [
    (
        set_cell("ICUSTAYS", 3, "hadm_id", MARKER),
        r"ICUSTAYS.csv, column hadm_id; got other text in 1 rows, first in row 5",
    ),
    (set_cell("ICUSTAYS", 0, "intime", "soon"), r"times in ICUSTAYS.csv, column intime; .* first in row 2"),
    (set_cell("ICUSTAYS", 3, "intime", ""), r"intime in every row of ICUSTAYS.csv; .* first in row 5"),
    (
        set_cell("ICUSTAYS", 4, "outtime", at(19)),
        r"end after they begin; got outtime before intime in 1 rows, first in row 6",
    ),
    (set_cell("ICUSTAYS", 4, "hadm_id", 999), r"in ADMISSIONS.csv; got none in 1 rows, first in row 6"),
    (set_cell("ICUSTAYS", 4, "subject_id", 999), r"in PATIENTS.csv; got none in 1 rows, first in row 6"),
    (set_cell("PATIENTS", 3, "dob", "unknown"), r"PATIENTS.csv, column dob; got other text in 1 rows, first in row 5"),
    (
        set_cell("CHARTEVENTS", 5, "charttime", "noon"),
        r"charttime of CHARTEVENTS.csv; got other text in 1 rows, first in row 7",
    ),
    (set_cell("LABEVENTS", 1, "hadm_id", MARKER), r"LABEVENTS.csv; got other text in 1 rows, first in row 3"),
    (_duplicate("ICUSTAYS"), r"one row per icustay_id in ICUSTAYS.csv; got 1 rows too many, first in row 11"),
    (_duplicate("ADMISSIONS"), r"one row per hadm_id in ADMISSIONS.csv"),
    (_duplicate("PATIENTS"), r"one row per subject_id in PATIENTS.csv"),
    (
        set_cell("LABEVENTS", 0, "valueuom", "umol/L"),
        r"LABEVENTS.csv, itemid 50912: Creatinine in mg/dl; got another unit in 1",
    ),
]


@pytest.mark.parametrize(("change", "words"), BAD, ids=[words[:60] for _, words in BAD])
def test_what_is_wrong_is_told_by_file_and_row_and_set_aside_and_counted_when_lenient(
    tmp_path: Path, change: Change, words: str
) -> None:
    content = mimic3()
    change(content)
    folder = write_folder(tmp_path / "source", content)
    message = refused(folder, tmp_path / "cohort")
    assert re.search(words, message), message
    assert "--lenient" in message
    manifest = build_mimic3(folder, tmp_path / "cohort", lenient=True)
    assert set(manifest["set_aside"].values()) == {1}
    assert any("set aside: 1 rows" in str(line["criterion"]) for line in manifest["attrition"])
    assert manifest["counts"]["stays"] >= 2


def test_a_column_of_values_in_another_unit_is_refused_and_a_lenient_reader_leaves_the_item_out(tmp_path: Path) -> None:
    content = mimic3()
    content["CHARTEVENTS"] += [chart3(52, 1 + n / 10, 10 + n / 100, "kPa") for n in range(30)]
    folder = write_folder(tmp_path / "source", content)
    assert "itemid 52: Mean arterial pressure in mmHg between 14 and 330; got 31 of 31" in refused(
        folder, tmp_path / "cohort"
    )
    manifest = build_mimic3(folder, tmp_path / "cohort", lenient=True)
    assert sum(manifest["set_aside"].values()) == 31


def test_a_stray_item_out_of_range_or_in_another_unit_is_left_out_and_counted_not_refused(tmp_path: Path) -> None:
    content = mimic3()
    content["CHARTEVENTS"] += [chart3(3839, n / 10, 4.5) for n in range(30)]
    content["CHARTEVENTS"] += [chart3(780, n / 10, 7.4) for n in range(40)]
    content["LABEVENTS"] += [lab3(50912, 1 + n / 60, 1.0, "mg/dL") for n in range(200)]
    content["LABEVENTS"] += [lab3(50912, 40, 88, "umol/L")]
    manifest = build_mimic3(write_folder(tmp_path / "source", content), tmp_path / "cohort")
    assert manifest["removed_values"]["ph"] == 30
    assert manifest["strange_units"] == {"creatinine": 1}


def test_every_file_is_looked_at_before_the_first_long_one_is_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "source", mimic3())
    (folder / "PRESCRIPTIONS.csv").write_text("")
    stages: list[str] = []
    with pytest.raises(SourceError, match=r"PRESCRIPTIONS\.csv with a header"):
        build_mimic3(folder, tmp_path / "cohort", progress=stages.append)
    assert stages == ["looking at the files"]


def test_lines_that_are_no_rows_are_counted_by_a_lenient_reader(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "source", mimic3())
    path = folder / "CHARTEVENTS.csv"
    path.write_text(path.read_text() + f"{MARKER},1\n{MARKER},2\n")
    manifest = build_mimic3(folder, tmp_path / "cohort", lenient=True)
    assert manifest["set_aside"] == {
        "not lines of CHARTEVENTS.csv with all their columns: damaged, first in line 34": 2,
    }


def test_events_of_another_database_are_refused(tmp_path: Path) -> None:
    content = mimic3()
    content["LABEVENTS"] = [lab3(50912, 1, 1.0, "mg/dL", hadm_id=12345)]
    assert "LABEVENTS.csv with known items of the kept stays" in refused(
        write_folder(tmp_path / "source", content), tmp_path / "cohort"
    )


def test_a_coding_system_that_is_neither_is_refused(tmp_path: Path) -> None:
    content = mimic4()
    content["hosp/diagnoses_icd"][1]["icd_version"] = 11
    folder = write_folder(tmp_path / "source", content)
    with pytest.raises(
        SourceError, match=r"icd_version 9 or 10 in hosp/diagnoses_icd\.csv; got another in 1 rows, first in row 3"
    ):
        build_mimic4(folder, tmp_path / "cohort")


def test_no_folder_and_no_cut_off_are_refused(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "nowhere", tmp_path / "cohort")
    with pytest.raises(ConfigError, match="cut-off"):
        build_mimic3(write_folder(tmp_path / "source", mimic3()), tmp_path / "cohort", cutoff_hours=0)


def test_a_failed_build_keeps_the_cohort_that_was_there(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "source", mimic3())
    build_mimic3(folder, tmp_path / "cohort")
    before = (tmp_path / "cohort" / "manifest.json").read_bytes()
    (folder / "LABEVENTS.csv").write_text("")
    with pytest.raises(SourceError):
        build_mimic3(folder, tmp_path / "cohort")
    assert (tmp_path / "cohort" / "manifest.json").read_bytes() == before
