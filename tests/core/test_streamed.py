"""A cohort's table that comes in batches is written as one that came whole, and checked on the way."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.cohort.schema import NOTES, OBSERVATIONS
from core.cohort.sources.synthetic import build_synthetic
from core.cohort.store import open_cohort, read_manifest, write_cohort
from core.cohort.streamed import write_streamed
from core.errors import SchemaError


def rows(stays: list[int]) -> pa.Table:
    columns = {"stay_id": stays, "hour": [1.0] * len(stays), "channel": ["heart_rate"] * len(stays)}
    return pa.table({**columns, "value": [80.0] * len(stays), "category": [None] * len(stays)}).cast(OBSERVATIONS)


def reader(table: pa.Table, size: int) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=size))


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_row_groups_have_their_size_whatever_the_batches_have(tmp_path: Path, size: int) -> None:
    table = rows(sorted([*range(20), 5, 5]))
    path = tmp_path / "observations.parquet"
    assert write_streamed(path, "observations", reader(table, size), 8, lambda part: None) == 22
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [8, 8, 6]
    assert file.read().equals(table)


@pytest.mark.parametrize("stays", [[1, 3, 2], [1, 2, 3, 4, 3, 5, 6, 7]])
def test_stays_out_of_order_are_refused_within_a_row_group_and_between_two(tmp_path: Path, stays: list[int]) -> None:
    with pytest.raises(SchemaError, match="in order of stays"):
        write_streamed(tmp_path / "o.parquet", "observations", reader(rows(stays), 2), 4, lambda part: None)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streamed") / "cohort"
    build_synthetic(folder, stays=60, seed=3)
    return folder


def tables_of(folder: Path) -> dict[str, pa.Table | pa.RecordBatchReader]:
    names = ("stays", "observations", "notes", "labels", "review_evidence")
    return {name: pq.read_table(folder / f"{name}.parquet") for name in names}


def test_a_cohort_written_in_batches_is_the_cohort_written_whole(tmp_path: Path, cohort: Path) -> None:
    whole = tables_of(cohort)
    long = {name: reader(whole[name], 1000) for name in ("observations", "notes", "review_evidence")}
    write_cohort(tmp_path / "cohort", {**whole, **long}, read_manifest(cohort))
    opened, first = open_cohort(tmp_path / "cohort"), open_cohort(cohort)
    assert opened.observations.equals(first.observations)
    assert opened.notes.equals(first.notes)
    assert opened.manifest["counts"] == first.manifest["counts"]


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("observations", rows([999_999_999])),
        (
            "notes",
            pa.table({"stay_id": [0], "note_id": [1], "hour": [1.0], "category": ["x"], "text": [" "]})
            .append_column("model_start", pa.array([None], pa.int32()))
            .append_column("model_end", pa.array([None], pa.int32()))
            .cast(NOTES),
        ),
    ],
)
def test_rows_of_other_stays_and_empty_notes_are_refused_and_nothing_is_left(
    tmp_path: Path, cohort: Path, name: str, table: pa.Table
) -> None:
    whole = tables_of(cohort)
    stay = whole["stays"]["stay_id"][0].as_py()
    if name == "notes":
        table = table.set_column(0, NOTES.field("stay_id"), pa.array([stay]))
    with pytest.raises(SchemaError, match=name):
        write_cohort(tmp_path / "cohort", {**whole, name: reader(table, 1)}, read_manifest(cohort))
    assert list(tmp_path.iterdir()) == []
