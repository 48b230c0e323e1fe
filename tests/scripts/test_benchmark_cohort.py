"""The cohort's benchmark: rows in published form, a process of its own, disk told and refused beforehand."""

import csv
import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from core.cohort.discretise import SeriesConfig, pack_series
from core.cohort.sources.mimic3 import build_mimic3
from core.errors import RunError
from scripts.benchmarks import cohort, cohort_invent
from scripts.benchmarks.cohort_building import HOURS, invented_cohort
from scripts.benchmarks.cohort_invent import bytes_needed, invent

PUBLISHED = (
    "row_id,subject_id,hadm_id,icustay_id,itemid,charttime,storetime,cgid,value,valuenum,valueuom,warning,error,"
    "resultstatus,stopped"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("invented")
    assert invent(place, 20_000, packed=True) == 10
    return place


def test_invented_rows_have_the_published_columns_and_their_number(folder: Path) -> None:
    with gzip.open(folder / "CHARTEVENTS.csv.gz", "rt") as handle:
        rows = list(csv.reader(handle))
    assert ",".join(rows[0]) == PUBLISHED
    assert len(rows) == 20_001
    assert len({(row[3], row[5]) for row in rows[1:]}) == 20_000


def test_a_cohort_is_built_of_them_without_a_value_lost_to_an_unknown_unit_or_range(
    folder: Path, tmp_path: Path
) -> None:
    manifest = build_mimic3(folder, tmp_path / "cohort")
    assert manifest["counts"]["stays"] == 10
    assert manifest["strange_units"] == {}
    assert manifest["removed_values"] == {}
    assert manifest["unreadable_values"] == {}
    assert 0.4 < manifest["counts"]["observations"] / (20_000 + 4_500) < 0.7


def test_a_quick_run_writes_its_table_and_rows(tmp_path: Path) -> None:
    said: list[str] = []
    table = cohort.run(2_000, tmp_path / "out", scratch=tmp_path, quick=True, say=said.append)
    assert said[0].startswith("2,000 rows take about 0.3 GB of disk")
    rows = pq.read_table(tmp_path / "out" / "cohort.parquet").to_pylist()
    assert [row["what"] for row in rows] == ["generated", "build", "discretise"]
    assert all(row["seconds"] > 0 and row["cpu_seconds"] > 0 for row in rows)
    assert rows[1]["rows"] == 2_000
    assert rows[1]["peak_mib"] > 50
    assert table == (tmp_path / "out" / "cohort.md").read_text().rstrip("\n")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_disk_too_small_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort_invent.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10**9})())
    with pytest.raises(RunError, match="--scratch"):
        cohort.run(300_000_000, scratch=tmp_path, say=lambda words: None)
    assert list(tmp_path.iterdir()) == []
    assert bytes_needed(300_000_000, False) > 30e9


def test_the_stays_to_discretise_have_48_hours_each(tmp_path: Path) -> None:
    pack, _ = pack_series(invented_cohort(30), SeriesConfig())
    assert (pack.offsets[1:] - pack.offsets[:-1]).tolist() == [HOURS] * 30
    assert len(pack.channels) == 17
