"""Bad eICU folders in published form: refused in one line with file and row; set aside and counted when lenient."""

import csv
import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.cohort.sources import eicu_notes, eicu_series
from core.cohort.sources.eicu import build_eicu
from core.cohort.store import open_cohort
from tests.core.eicu_published import FIRST, HEADERS, write_published
from tests.core.refusals import MARKER, refused_by

REQUIRED = ("patient", "diagnosis")
Lines = list[list[str]]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("eicu") / "whole", stays=12, rows=90)


@pytest.fixture
def folder(published: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(published, tmp_path / "source"))


def refused(source: Path, target: Path, **options: Any) -> str:
    return refused_by(lambda place: build_eicu(source, place, **options), target)


def text_of(folder: Path, table: str) -> str:
    return gzip.decompress((folder / f"{table}.csv.gz").read_bytes()).decode()


def put(folder: Path, table: str, body: str | bytes) -> None:
    packed = gzip.compress(body.encode() if isinstance(body, str) else body, 1)
    (folder / f"{table}.csv.gz").write_bytes(packed)


def change(folder: Path, table: str, act: Callable[[list[str], Lines], object]) -> None:
    """Change the cells of a table: the header's names and the rows."""
    head, *rows = csv.reader(text_of(folder, table).splitlines())
    act(head, rows)
    put(folder, table, "\n".join(",".join(f'"{cell}"' for cell in row) for row in [head, *rows]) + "\n")


def set_cell(folder: Path, table: str, row: int, column: str, value: object) -> None:
    def act(head: list[str], rows: Lines) -> None:
        rows[row][head.index(column)] = str(value)

    change(folder, table, act)


def test_a_folder_in_published_form_becomes_a_cohort_with_every_kind_of_evidence(
    published: Path, tmp_path: Path
) -> None:
    manifest = build_eicu(published, tmp_path / "cohort")
    assert manifest["files"] == sorted(f"{table}.csv.gz" for table in HEADERS)
    assert manifest["set_aside"] == {}
    assert manifest["unreadable_values"] == {}
    cohort = open_cohort(tmp_path / "cohort")
    rows = cohort.observations.to_pandas()
    assert {"gcs_eye", "gcs_motor", "gcs_verbal", "temperature", "spo2", "heart_rate", "creatinine"} <= set(
        rows.channel
    )
    assert rows[rows.channel == "temperature"].value.between(35, 39).all()
    evidence = pq.read_table(tmp_path / "cohort" / "review_evidence.parquet").to_pandas()
    assert {
        "treatment",
        "admissionDx",
        "medication",
        "infusionDrug",
        "admissionDrug",
        "microLab",
        "respiratoryCare",
    } <= (set(evidence.source))
    assert not any("intakeOutput" in name for name in evidence.text.dropna())


def test_the_coma_total_is_the_sum_of_what_nurses_charted_at_one_moment(folder: Path, tmp_path: Path) -> None:
    def act(head: list[str], rows: Lines) -> None:
        parts = (("Eyes", "3"), ("Motor", "5"), ("Verbal", "2"))
        for row, (name, value) in zip(rows[:3], parts, strict=True):
            for column, cell in (
                ("patientunitstayid", str(FIRST)),
                ("nursingchartoffset", "601"),
                ("nursingchartcelltypevallabel", "Glasgow coma score"),
                ("nursingchartcelltypevalname", name),
                ("nursingchartvalue", value),
            ):
                row[head.index(column)] = cell

    change(folder, "nurseCharting", act)
    build_eicu(folder, tmp_path / "cohort")
    rows = open_cohort(tmp_path / "cohort").observations.to_pandas()
    total = rows[(rows.stay_id == FIRST) & (rows.channel == "gcs_total") & np.isclose(rows.hour, 601 / 60)]
    assert total.value.tolist() == [10.0]


def test_the_first_unit_stay_of_each_hospital_stay_is_a_choice_and_logged(published: Path, tmp_path: Path) -> None:
    manifest = build_eicu(published, tmp_path / "cohort", unit_stays="first")
    assert manifest["counts"]["stays"] == 6
    assert {"criterion": "the first unit stay of its hospital stay", "in": 12, "removed": 6, "out": 6} in (
        manifest["attrition"]
    )
    assert "any or first" in refused(published, tmp_path / "other", unit_stays="last")


def test_a_cohort_put_together_in_many_parts_is_the_cohort_put_together_at_once(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build_eicu(published, tmp_path / "whole")
    monkeypatch.setattr(eicu_series, "_GATHERED_ROWS", 60)
    monkeypatch.setattr(eicu_notes, "_GATHERED_ROWS", 20)
    assert build_eicu(published, tmp_path / "parts")["tables"] == whole["tables"]


@pytest.mark.parametrize("table", REQUIRED)
def test_a_missing_table_is_named(folder: Path, tmp_path: Path, table: str) -> None:
    (folder / f"{table}.csv.gz").unlink()
    assert f"{table}.csv or {table}.csv.gz" in refused(folder, tmp_path / "cohort")


@pytest.mark.parametrize("table", HEADERS)
def test_an_empty_file_another_delimiter_or_encoding_is_told_by_file_before_anything_is_read(
    folder: Path, tmp_path: Path, table: str
) -> None:
    text = text_of(folder, table)
    stages: list[str] = []
    for body, words in (
        (b"", f"{table}.csv.gz with a header; got an empty file"),
        (text.replace(",", ";").encode(), f"{table}.csv.gz with commas between its columns; got semicolons"),
        (text.encode("utf-16"), f"{table}.csv.gz in UTF-8; got another encoding"),
    ):
        put(folder, table, body)
        assert words in refused(folder, tmp_path / "cohort", progress=stages.append)
        assert words in refused(folder, tmp_path / "cohort", progress=stages.append, lenient=True)
    assert stages == []


@pytest.mark.parametrize("table", HEADERS)
def test_a_cut_file_or_a_renamed_column_is_refused_by_both_readers(folder: Path, tmp_path: Path, table: str) -> None:
    path, whole = folder / f"{table}.csv.gz", (folder / f"{table}.csv.gz").read_bytes()
    body = gzip.compress(gzip.decompress(whole) + gzip.decompress(whole).split(b"\n", 1)[1] * 30, 1)
    path.write_bytes(body[: len(body) * 2 // 3])
    assert f"{table}.csv.gz" in refused(folder, tmp_path / "cohort", lenient=table == "note")
    head, rest = text_of_bytes(whole).split("\n", 1)
    put(folder, table, head.replace("patientunitstayid", "stay") + "\n" + rest)
    message = refused(folder, tmp_path / "cohort")
    assert f"{table}.csv.gz with columns" in message
    assert "none named patientunitstayid" in message


def text_of_bytes(body: bytes) -> str:
    return gzip.decompress(body).decode()


BAD: list[tuple[str, int, str, object, str]] = [
    ("patient", 3, "unitdischargeoffset", MARKER, "column unitdischargeoffset; got text in 1 rows, first in row 5"),
    (
        "patient",
        3,
        "unitdischargeoffset",
        -5,
        "end after they begin; got unitdischargeoffset below 0 in 1 rows, first in row 5",
    ),
    ("patient", 3, "unitdischargeoffset", "", "unitdischargeoffset in every row of patient.csv.gz; got an empty cell"),
    ("patient", 3, "age", MARKER, "got other text in 1 rows, first in row 5"),
    ("patient", 3, "patientunitstayid", FIRST, "one row per patientunitstayid in patient.csv.gz; got 1 rows too many"),
    ("diagnosis", 4, "patientunitstayid", 99, "in patient.csv.gz; got none in 1 rows, first in row 6"),
    ("diagnosis", 4, "diagnosisoffset", MARKER, "numbers in diagnosis.csv.gz, column diagnosisoffset"),
    ("vitalPeriodic", 7, "patientunitstayid", 99, "the stay of every row of vitalPeriodic.csv.gz"),
    (
        "vitalPeriodic",
        7,
        "heartrate",
        MARKER,
        "vitalPeriodic.csv.gz, column heartrate; got text in 1 rows, first in row 9",
    ),
    ("lab", 2, "labmeasurenamesystem", "furlongs", "another unit in 1 of"),
    ("nurseCharting", 2, "nursingchartoffset", "inf", "finite numbers in nurseCharting.csv.gz"),
    ("note", 2, "noteid", 1.5, "whole numbers in note.csv.gz, column noteid"),
    ("medication", 2, "patientunitstayid", "", "the stay of every row of medication.csv.gz in patient.csv.gz"),
]


@pytest.mark.parametrize(("table", "row", "column", "value", "words"), BAD, ids=[f"{b[0]}-{b[2]}-{b[3]}" for b in BAD])
def test_what_is_wrong_is_told_by_file_and_row(
    folder: Path, tmp_path: Path, table: str, row: int, column: str, value: object, words: str
) -> None:
    if table == "lab":
        change(folder, table, lambda head, rows: [r.__setitem__(head.index("labname"), "glucose") for r in rows[:3]])
        set_cell(folder, table, row, "labresult", 150)
    if table == "nurseCharting":
        set_cell(folder, table, row, "nursingchartcelltypevallabel", "O2 Saturation")
        set_cell(folder, table, row, "nursingchartcelltypevalname", "O2 Saturation")
    set_cell(folder, table, row, column, value)
    message = refused(folder, tmp_path / "cohort")
    assert words in message
    assert "--lenient" in message


def test_a_lenient_reader_sets_each_fault_aside_and_counts_it(folder: Path, tmp_path: Path) -> None:
    for table, row, column, value in (
        ("patient", 3, "unitdischargeoffset", -5),
        ("patient", 5, "unitdischargeoffset", ""),
        ("patient", 7, "age", MARKER),
        ("patient", 9, "patientunitstayid", FIRST),
        ("diagnosis", 4, "patientunitstayid", 99),
        ("vitalPeriodic", 7, "patientunitstayid", 99),
        ("vitalPeriodic", 9, "heartrate", MARKER),
        ("note", 2, "noteid", 1.5),
    ):
        set_cell(folder, table, row, column, value)
    manifest = build_eicu(folder, tmp_path / "cohort", lenient=True)
    # Rows of the stay whose key was overwritten belong to nobody either.
    assert len([reason for reason in manifest["set_aside"] if "the stay of every row" not in reason]) == 6
    strays = [n for reason, n in manifest["set_aside"].items() if "vitalPeriodic.csv.gz in patient.csv.gz" in reason]
    assert len(strays) == 1
    assert strays[0] >= 1
    told = [line["criterion"] for line in manifest["attrition"]]
    assert sum("set aside" in criterion for criterion in told) == len(manifest["set_aside"])
    assert manifest["counts"]["stays"] == 8
    assert not any(MARKER in criterion for criterion in told)
    open_cohort(tmp_path / "cohort")


def test_a_column_in_another_unit_is_refused_and_a_lenient_reader_leaves_it_out(folder: Path, tmp_path: Path) -> None:
    def act(head: list[str], rows: Lines) -> None:
        for row in rows:
            row[head.index("systemicmean")] = "10.5"

    change(folder, "vitalPeriodic", act)
    assert "vitalPeriodic: Mean arterial pressure in mmHg between 14 and 330" in refused(folder, tmp_path / "cohort")
    manifest = build_eicu(folder, tmp_path / "cohort", lenient=True)
    assert sum(manifest["set_aside"].values()) > 20
    rows = open_cohort(tmp_path / "cohort").observations.to_pandas()
    assert rows[rows.channel == "map"].value.min() > 14


def test_values_out_of_range_are_removed_and_counted(folder: Path, tmp_path: Path) -> None:
    set_cell(folder, "vitalAperiodic", 0, "noninvasivemean", 9000)
    assert build_eicu(folder, tmp_path / "cohort")["removed_values"] == {"map": 1}


def test_a_byte_of_another_encoding_and_a_damaged_line_are_told_by_file(folder: Path, tmp_path: Path) -> None:
    text = text_of(folder, "nurseCharting")
    put(folder, "nurseCharting", text.replace("light", "lig\u00e9t").encode("latin-1"))
    assert "nurseCharting.csv.gz in UTF-8; got another encoding" in refused(folder, tmp_path / "cohort")
    lines = text.splitlines()
    lines[2] = f"{MARKER},1"
    put(folder, "nurseCharting", "\n".join(lines))
    assert "first in line 3" in refused(folder, tmp_path / "cohort")
    manifest = build_eicu(folder, tmp_path / "cohort", lenient=True)
    assert manifest["set_aside"] == {
        "not lines of nurseCharting.csv.gz with all their columns: damaged, first in line 3": 1
    }
