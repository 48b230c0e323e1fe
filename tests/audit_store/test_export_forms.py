"""Forms of an export: listfiles against hand-written bytes, MEDS labels, what each form refuses and leaves out."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_store.errors import ExportError
from audit_store.export_forms import FORMS, Chosen
from audit_store.export_listfiles import (
    PUBLISHED,
    VALIDATION_PERCENT,
    listfile_rows,
    read_validation,
    roles,
    write_flexcare,
    write_mimic3_benchmarks,
)
from audit_store.export_manifest import read_manifest
from audit_store.export_matrix import Matrix, matrix_of
from audit_store.export_meds import write_meds
from audit_store.exports import export_labels, list_exports
from audit_store.labels import cleaned_long
from audit_store.people import operator
from audit_store.verify import verify
from core.cohort.labelset import PHENOTYPES

from .conftest import Site

MakeSite = Callable[..., Site]

HEADER = (
    b"stay,period_length,Acute and unspecified renal failure,Acute cerebrovascular disease,Acute myocardial infarction,"
    b"Cardiac dysrhythmias,Chronic kidney disease,Chronic obstructive pulmonary disease and bronchiectasis,"
    b"Complications of surgical procedures or medical care,Conduction disorders,"
    b"Congestive heart failure; nonhypertensive,Coronary atherosclerosis and other heart disease,"
    b"Diabetes mellitus with complications,Diabetes mellitus without complication,Disorders of lipid metabolism,"
    b"Essential hypertension,Fluid and electrolyte disorders,Gastrointestinal hemorrhage,"
    b"Hypertension with complications and secondary hypertension,Other liver diseases,"
    b"Other lower respiratory disease,Other upper respiratory disease,Pleurisy; pneumothorax; pulmonary collapse,"
    b"Pneumonia (except that caused by tuberculosis or sexually transmitted disease),"
    b"Respiratory failure; insufficiency; arrest (adult),Septicemia (except in labor),Shock\n"
)
"""The published header of the phenotyping task."""
ROWS = {  # a stay's labels, as text; the labels of stay 6 are not all stated
    1: b"1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1\n",
    2: b"0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0\n",
    3: b"0,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0\n",
    4: b"0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0\n",
}


def some_stays(**other: Any) -> pa.Table:
    """Seven stays: 5 has no series, 6 a label that is not stated, 7 no labels at all; 1006 sorts before 100 as text."""
    columns: dict[str, Any] = {
        "stay_id": np.arange(1, 8),
        "patient_id": [100, 1006, 1006, 99, 7, 8, 9],
        "patient_key": ["100", "1006", "1006", "99", "7", "8", "9"],
        "split": ["train", "train", "train", "test", "train", "train", "train"],
        "los_hours": [39.180277777777778, 24.0, 100.5, 1 / 3, 50.0, 50.0, 50.0],
        "visit": pa.array([1, 2, 1, 1, 1, 1, 1], pa.int32()),
        "visit_order": ["exact"] * 7,
        "admitted_at": pa.array([datetime(2150, 1, day) for day in range(1, 8)], pa.timestamp("us")),  # noqa: DTZ001
        "has_series": [True, True, True, True, False, True, True],
    }
    return pa.table({**columns, **other})


def some_labels(names: tuple[str, ...] = PUBLISHED) -> Matrix:
    """Labels of stays 1 to 6: the first and the last label but one of each is further in."""
    values = np.zeros((6, len(names)), dtype=np.int8)
    for row in range(4):
        values[row, row] = values[row, len(names) - 1 - row] = 1
    values[5, 3] = -1
    return Matrix(np.arange(1, 7), values, tuple(f"key_{n}" for n in range(len(names))), names)


def test_the_published_names_are_the_cohort_s() -> None:
    assert tuple(label.name for label in PHENOTYPES) == PUBLISHED == tuple(sorted(PUBLISHED))


def test_the_benchmark_s_listfiles_are_byte_for_byte_what_it_writes(tmp_path: Path) -> None:
    rows = listfile_rows(some_labels(), some_stays(), days_to_four_decimals=True)
    assert rows.left_out == {"without a series": 1, "with a label not stated": 1}
    made = dict(write_mimic3_benchmarks(rows, tmp_path, frozenset({"100"})))
    body = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in made}
    one = b"1006_episode1_timeseries.csv,100.500000," + ROWS[3]
    two = b"1006_episode2_timeseries.csv,24.000000," + ROWS[2]
    # 39 h 10 min 49 s are 1.6325347… days, published as 1.6325, which the benchmark takes times 24
    hundred = b"100_episode1_timeseries.csv,39.180000," + ROWS[1]
    test = HEADER + b"99_episode1_timeseries.csv,0.333600," + ROWS[4]  # 20 min: .0139 days
    assert body == {
        "train/listfile.csv": HEADER + one + two + hundred,
        "test/listfile.csv": test,
        "train_listfile.csv": HEADER + one + two,
        "val_listfile.csv": HEADER + hundred,
        "test_listfile.csv": test,
    }
    assert list(made.values()) == [3, 1, 2, 1, 1]


def test_flexcare_s_listfile_is_byte_for_byte_what_it_writes(tmp_path: Path) -> None:
    rows = listfile_rows(some_labels(), some_stays(), days_to_four_decimals=False)
    write_flexcare(rows, tmp_path, frozenset({"1006"}))
    names = HEADER.split(b",", 2)[2]
    assert (tmp_path / "listfile.csv").read_bytes() == (
        b"subject_id,stay_id,time_series,period_length," + names + b"100,1,100_episode1_timeseries.csv,39.180278,"
        + ROWS[1] + b"1006,2,1006_episode2_timeseries.csv,24.000000," + ROWS[2]
        + b"1006,3,1006_episode1_timeseries.csv,100.500000," + ROWS[3]
        + b"99,4,99_episode1_timeseries.csv,0.333333," + ROWS[4]
    )  # fmt: skip
    assert (tmp_path / "tvtset.csv").read_bytes() == b"100,0\n1006,1\n99,2\n"


def test_without_a_list_a_share_of_the_patients_validates_and_test_patients_never_do() -> None:
    n = 4000
    table = pa.table(
        {"subject": [str(i // 2) for i in range(n)], "split": ["test" if i < 800 else "train" for i in range(n)]}
    )
    role = roles(table, None)
    assert (role[:800] == 2).all()
    assert (role[0::2] == role[1::2]).all()  # a patient's stays stay together
    assert abs((role[800:] == 1).mean() * 100 - VALIDATION_PERCENT) < 3


@pytest.mark.parametrize(
    ("stays", "names", "said"),
    [
        (some_stays(patient_key=["p1", *"234567"]), PUBLISHED, "subject numbers"),
        (some_stays(visit_order=["exact"] * 2 + ["unknown"] * 5), PUBLISHED, "2 stays of which it is not"),
        (some_stays(), PUBLISHED[:14], "got 14 labels, 14 of them such"),
        (some_stays(), ("Other", *PUBLISHED[1:]), "got 25 labels, 24 of them such"),
    ],
)
def test_a_listfile_that_the_cohort_can_t_give_is_refused_with_what_to_do(
    stays: pa.Table, names: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ExportError, match=said) as refused:
        listfile_rows(some_labels(names), stays, days_to_four_decimals=True)
    assert "long, wide or listfile" in str(refused.value)


def test_meds_labels_follow_its_schema_and_are_asked_at_the_cut_off(tmp_path: Path) -> None:
    made = write_meds(some_labels(), some_stays(), 48.0, tmp_path / "labels")
    assert [(path.name, rows) for path, rows in made][:4] == [
        (f"key_{n}.parquet", 5 if n == 3 else 6) for n in range(4)
    ]
    table = pq.read_table(tmp_path / "labels" / "key_0.parquet")
    assert {field.name: str(field.type) for field in table.schema} == {
        "subject_id": "int64",
        "prediction_time": "timestamp[us]",
        "boolean_value": "bool",
    }
    assert table.to_pylist()[2:] == [
        {"subject_id": 99, "prediction_time": datetime(2150, 1, 4, 0, 20), "boolean_value": False},  # noqa: DTZ001
        {"subject_id": 100, "prediction_time": datetime(2150, 1, 2, 15, 10, 49), "boolean_value": True},  # noqa: DTZ001
        {"subject_id": 1006, "prediction_time": datetime(2150, 1, 3), "boolean_value": False},  # noqa: DTZ001
        {"subject_id": 1006, "prediction_time": datetime(2150, 1, 5), "boolean_value": False},  # noqa: DTZ001
    ]
    whole = write_meds(some_labels(), some_stays(), None, tmp_path / "whole")
    last = pq.read_table(whole[0][0])["prediction_time"].to_pylist()[-1]
    assert last == datetime(2150, 1, 7, 4, 30)  # noqa: DTZ001


def test_meds_without_dates_or_with_keys_that_are_no_file_s_name_is_refused(tmp_path: Path) -> None:
    undated = some_stays(admitted_at=pa.array([None] * 7, pa.timestamp("us")))
    with pytest.raises(ExportError, match="none for 6 of 6 stays"):
        write_meds(some_labels(), undated, 48.0, tmp_path)
    odd = some_labels()
    with pytest.raises(ExportError, match="name a file"):
        write_meds(Matrix(odd.stay_id, odd.values, ("../up", *odd.keys[1:]), odd.names), some_stays(), 48.0, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"", "an empty file"), (b"7,1\nx,0\n", "line 2"), (b"7,2\n", "line 1"), (b"\xff\xfe7", "can't be read")],
)
def test_a_list_to_validate_on_that_is_none_is_one_line(tmp_path: Path, body: bytes, said: str) -> None:
    path = tmp_path / "valset.csv"
    path.write_bytes(body)
    with pytest.raises(ExportError, match=said):
        read_validation(path)
    path.write_bytes(b"7,1\n8,0\n9,1\n")
    assert read_validation(path) == {"7", "9"}


@pytest.mark.parametrize(("forms", "formats"), [((), ("csv",)), (("long", "excel"), ("csv",)), (("long",), ("xlsx",))])
def test_an_unknown_form_or_format_is_refused_with_those_there_are(
    forms: tuple[str, ...], formats: tuple[str, ...]
) -> None:
    with pytest.raises(ExportError, match="expected form"):
        Chosen(forms, formats)
    assert Chosen(tuple(FORMS)).formats == ("csv", "parquet")


def test_a_matrix_holds_what_the_long_form_does(make_site: MakeSite) -> None:
    site = make_site(20, 6, uncoded=3)
    long = cleaned_long(site.store, site.round)
    matrix = matrix_of(long, site.round)
    for row in long.to_pylist():
        place = int(matrix.rows_of(np.array([row["stay_id"]]))[0])
        assert matrix.values[place, matrix.keys.index(row["label"])] == row["cleaned"]
    assert (matrix.rows_of(np.array([1017, 1])) == -1).all()
    empty = matrix_of(long.slice(0, 0), site.round)
    assert [column.null_count for column in empty.columns(empty.rows_of(np.array([1, 2])))] == [2] * 6


def test_forms_in_folders_stand_in_the_manifest_and_verify_looks_at_them(site: Site) -> None:
    path = site.workspace.cohort / "stays.parquet"
    dated = pq.read_table(path)
    place = dated.schema.get_field_index("admitted_at")
    times = pa.array([datetime(2150, 1, 1)] * dated.num_rows, pa.timestamp("us"))  # noqa: DTZ001
    before = path.read_bytes()
    pq.write_table(dated.set_column(place, "admitted_at", times), path)
    folder = export_labels(site.store, 1, operator(), formats=("csv",), forms=("long", "meds"))
    path.write_bytes(before)
    manifest = read_manifest(folder)
    assert manifest is not None
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert {item["name"] for item in manifest["files"]} == found - {"manifest.json"}
    assert (manifest["schema_version"], manifest["forms"], len(found)) == (2, ["long", "meds"], 28)
    assert verify(site.store) == []
    assert all((folder / name).stat().st_mode & 0o077 == 0 for name in ("meds", "meds/labels", "DATA_CARD.md"))
    (folder / "meds" / "labels" / "shock.parquet").unlink()
    (folder / "meds" / "labels" / "more.parquet").write_bytes(b"")
    assert {f.where for f in verify(site.store)} == {
        f"exports/{folder.name}/meds/labels/{name}.parquet" for name in ("shock", "more")
    }


def test_a_form_that_is_refused_leaves_nothing_behind(site: Site) -> None:
    with pytest.raises(ExportError, match="subject numbers"):
        export_labels(site.store, 1, operator(), forms=("long", "mimic3-benchmarks"))
    assert list(site.workspace.exports.iterdir()) == []
    assert list_exports(site.store).empty
