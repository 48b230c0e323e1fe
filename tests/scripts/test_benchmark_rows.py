"""Raw rows: kept over days, replaced by key, whole at every moment."""

import multiprocessing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import RunError
from scripts.benchmarks.rows import KEY, SCHEMAS, Row, finished, key_of, read_rows, write_rows


def row(**given: object) -> Row:
    base: Row = dict(zip(KEY, ("synthetic-60", "bce", "sym20", 0, "compact", 3, "1"), strict=True))
    return {**base, "map": 0.5, "options": "a", **given}


def test_rows_come_back_as_they_went_in_with_gaps_for_what_was_not_measured(tmp_path: Path) -> None:
    write_rows(tmp_path / "new", {"robustness": [row(bootstrap=[0.25, 0.5])]})
    (back,) = read_rows(tmp_path / "new", "robustness")
    assert set(back) == set(SCHEMAS["robustness"].names)
    assert back["bootstrap"] == [0.25, 0.5]
    assert back["ece_positive"] is None
    assert read_rows(tmp_path / "new", "ablation") == []


def test_a_run_made_again_replaces_its_rows_and_no_other(tmp_path: Path) -> None:
    write_rows(tmp_path, {"robustness": [row(), row(seed=1)], "detection": [row(detector="a"), row(detector="b")]})
    write_rows(tmp_path, {"robustness": [row(map=0.75)], "detection": [row(detector="c")]})
    found = {r["seed"]: r["map"] for r in read_rows(tmp_path, "robustness")}
    assert found == {0: 0.75, 1: 0.5}
    assert [r["detector"] for r in read_rows(tmp_path, "detection")] == ["c"]


@pytest.mark.parametrize("name", KEY)
def test_each_part_of_the_key_tells_runs_apart(tmp_path: Path, name: str) -> None:
    other = row(**{name: 7 if isinstance(row()[name], int) else "other"})
    write_rows(tmp_path, {"robustness": [row()]})
    assert key_of(other) not in finished(tmp_path, "robustness")
    write_rows(tmp_path, {"robustness": [other]})
    assert finished(tmp_path, "robustness") == {key_of(row()), key_of(other)}


def test_a_run_whose_rows_can_not_be_written_leaves_the_table_as_it_was(tmp_path: Path) -> None:
    write_rows(tmp_path, {"robustness": [row()]})
    before = (tmp_path / "robustness.parquet").read_bytes()
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        write_rows(tmp_path, {"robustness": [row(seed=2, map="many")]})
    assert (tmp_path / "robustness.parquet").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["robustness.parquet"]


def test_a_file_without_a_newer_column_reads_with_gaps(tmp_path: Path) -> None:
    old = pa.Table.from_pylist([{name: row()[name] for name in KEY}])
    pq.write_table(old, tmp_path / "robustness.parquet")
    assert read_rows(tmp_path, "robustness")[0]["map"] is None


@pytest.mark.parametrize("content", [b"not parquet", b""], ids=["text", "empty"])
def test_a_broken_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "robustness.parquet").write_bytes(content)
    with pytest.raises(RunError, match="cut short"):
        read_rows(tmp_path, "robustness")


def test_another_table_under_the_name_is_one_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "robustness.parquet")
    with pytest.raises(RunError, match="benchmark's rows"):
        read_rows(tmp_path, "robustness")


def put(folder: Path, first: int) -> None:
    for seed in range(first, first + 10):
        write_rows(folder, {"robustness": [row(seed=seed)]})


def test_two_commands_at_once_lose_no_row(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=put, args=(tmp_path, first)) for first in (0, 10, 20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    assert {r["seed"] for r in read_rows(tmp_path, "robustness")} == set(range(30))
