"""What a cohort's writer and reader promise."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from core.cohort.store import is_test_patient, open_cohort, stable_id, write_cohort
from core.errors import ChangedError, CohortError, MiraclError, SchemaError
from core.fileio import replacing

from .conftest import invented_tables, manifest_fields

MakeCohort = Callable[..., Path]


def with_column(table: pa.Table, name: str, values: object) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values))


def test_a_written_cohort_reads_back_aligned(cohort_folder: MakeCohort) -> None:
    cohort = open_cohort(cohort_folder(12))
    observed, stated = cohort.label_matrix()
    assert observed.shape == stated.shape == (12, 25)
    assert stated.all()
    rows = cohort.labels.to_pandas().set_index(["stay_id", "label"])["observed"]
    for i in (0, 7):
        stay = int(cohort.stays["stay_id"][i].as_py())
        assert [int(rows[stay, key]) for key in cohort.label_keys] == observed[i].tolist()


def test_the_same_tables_give_the_same_fingerprint_whatever_their_row_order(tmp_path: Path) -> None:
    tables = invented_tables()
    turned = {name: table.take(pa.array(np.arange(table.num_rows)[::-1])) for name, table in tables.items()}
    one = write_cohort(tmp_path / "one", tables, manifest_fields())
    two = write_cohort(tmp_path / "two", turned, manifest_fields())
    assert one["fingerprint"] == two["fingerprint"]


def test_a_stay_without_label_rows_is_not_stated(tmp_path: Path) -> None:
    tables = invented_tables()
    keep = pc.not_equal(tables["labels"]["stay_id"], 1003)
    tables["labels"] = tables["labels"].filter(keep)
    write_cohort(tmp_path / "cohort", tables, manifest_fields())
    _, stated = open_cohort(tmp_path / "cohort").label_matrix()
    assert not stated[3].any()
    assert stated.sum() == 11 * 25


def test_ids_are_63_bits_and_do_not_change() -> None:
    assert stable_id("002-1039") == stable_id("002-1039")
    assert 0 <= stable_id("002-1039") < 2**63
    share = np.mean([is_test_patient(str(i)) for i in range(20_000)])
    assert share == pytest.approx(0.20, abs=0.01)


def spoil_labels(tables: dict[str, pa.Table]) -> None:
    values = tables["labels"]["observed"].to_pylist()
    values[0] = 2
    tables["labels"] = with_column(tables["labels"], "observed", np.array(values, dtype="uint8"))


def spoil_duplicate(tables: dict[str, pa.Table]) -> None:
    tables["labels"] = pa.concat_tables([tables["labels"], tables["labels"].slice(0, 3)])


def spoil_split(tables: dict[str, pa.Table]) -> None:
    tables["stays"] = with_column(tables["stays"], "split", ["train", "test"] * 6)


def spoil_value(tables: dict[str, pa.Table]) -> None:
    values = tables["observations"]["value"].to_numpy().copy()
    values[5] = np.nan
    values[6] = np.inf
    tables["observations"] = with_column(tables["observations"], "value", values)


def spoil_note(tables: dict[str, pa.Table]) -> None:
    tables["notes"] = with_column(tables["notes"], "text", ["   ", *tables["notes"]["text"].to_pylist()[1:]])


def spoil_stranger(tables: dict[str, pa.Table]) -> None:
    ids = tables["notes"]["stay_id"].to_pylist()
    tables["notes"] = with_column(tables["notes"], "stay_id", [77, *ids[1:]])


def spoil_column(tables: dict[str, pa.Table]) -> None:
    tables["stays"] = tables["stays"].drop_columns(["los_hours"])


def spoil_type(tables: dict[str, pa.Table]) -> None:
    tables["observations"] = with_column(tables["observations"], "value", ["high"] * tables["observations"].num_rows)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_labels, "labels.observed in {0, 1}"),
        (spoil_duplicate, "3 rows too many"),
        (spoil_split, "6 patients in both"),
        (spoil_value, "2 NaN or infinite values"),
        (spoil_note, "1 empty notes"),
        (spoil_stranger, "1 rows of other stays"),
        (spoil_column, "los_hours"),
        (spoil_type, "another type"),
    ],
)
def test_bad_tables_are_refused_in_one_line_and_nothing_is_written(
    tmp_path: Path, spoil: Callable[[dict[str, pa.Table]], None], words: str
) -> None:
    tables = invented_tables()
    spoil(tables)
    with pytest.raises(SchemaError) as caught:
        write_cohort(tmp_path / "cohort", tables, manifest_fields())
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_table_is_refused(cohort_folder: MakeCohort) -> None:
    folder = cohort_folder()
    other = invented_tables(seed=1)["labels"]
    import pyarrow.parquet as pq

    pq.write_table(other, folder / "labels.parquet")
    with pytest.raises(ChangedError, match=r"labels\.parquet"):
        open_cohort(folder)


def test_a_cut_short_table_is_refused(cohort_folder: MakeCohort) -> None:
    folder = cohort_folder()
    path = folder / "notes.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CohortError, match="cut short"):
        open_cohort(folder, verify=False)


def edit_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest.update(changes)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_newer_cohort_is_refused(cohort_folder: MakeCohort) -> None:
    folder = cohort_folder()
    edit_manifest(folder, schema_version=99)
    with pytest.raises(CohortError, match="version 99"):
        open_cohort(folder)


@pytest.mark.parametrize("body", ["", "[1]", "{", '{"schema_version": 1}'])
def test_a_spoilt_manifest_is_refused(cohort_folder: MakeCohort, body: str) -> None:
    folder = cohort_folder()
    (folder / "manifest.json").write_text(body)
    with pytest.raises(CohortError):
        open_cohort(folder)


def test_no_cohort_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(MiraclError, match="build-cohort"):
        open_cohort(tmp_path)


def test_an_interrupted_replacement_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")

    def fail() -> None:
        with replacing(target) as aside:
            aside.write_text("new")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
    with replacing(target) as aside:
        aside.write_text("new")
    assert target.read_text() == "new"


def test_rewriting_a_cohort_keeps_the_old_one_until_the_new_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    first = write_cohort(folder, invented_tables(), manifest_fields())
    tables = invented_tables(seed=3)
    spoil_duplicate(tables)
    with pytest.raises(SchemaError):
        write_cohort(folder, tables, manifest_fields())
    assert open_cohort(folder).fingerprint == first["fingerprint"]
    write_cohort(folder, invented_tables(seed=3), manifest_fields())
    assert open_cohort(folder).fingerprint != first["fingerprint"]
    assert [p.name for p in tmp_path.iterdir()] == ["cohort"]


def test_what_a_killed_writer_left_is_put_right_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "cohort"
    first = write_cohort(folder, invented_tables(), manifest_fields())
    folder.rename(tmp_path / ".cohort.999.old")  # killed between the two renames
    (tmp_path / ".cohort.998.part").mkdir()  # killed while writing
    (tmp_path / ".cohort.998.part" / "notes.parquet").write_bytes(b"half")
    with pytest.raises(OSError, match="disk full"):
        _fail_while_writing(folder)
    assert open_cohort(folder).fingerprint == first["fingerprint"]
    assert [p.name for p in tmp_path.iterdir()] == ["cohort"]


def _fail_while_writing(folder: Path) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.cohort.store.pq.write_table", full)
        write_cohort(folder, invented_tables(seed=3), manifest_fields())
