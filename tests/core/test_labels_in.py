"""Label files become a source of a cohort's labels, whole or not at all; everything in them is invented."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.cohort.labels_add import add_labels, add_note_terms
from core.cohort.labels_in import LabelsIn, check_labels_file, with_labels
from core.cohort.labelset import PHENOTYPES
from core.cohort.sources.eicu import build_eicu
from core.cohort.sources.mimic3 import build_mimic3
from core.cohort.store import open_cohort, write_cohort
from core.errors import ConfigError, SourceError
from core.methods.sources import LabelSources
from tests.core.conftest import invented_tables, manifest_fields
from tests.core.eicu_fixture import tables as eicu
from tests.core.eicu_fixture import write_folder as write_eicu
from tests.core.mimic_fixture import mimic3, write_folder

NAMES = [label.name for label in PHENOTYPES]
TABLES = invented_tables(6)
STAYS, LABELS = TABLES["stays"], TABLES["labels"]
SAID = {(row["stay_id"], row["label"]): row["observed"] for row in LABELS.to_pylist()}
Words = dict[tuple[int, str], int | None]


def take(text: str, folder: Path, name: str = "labels.csv", **options: Any) -> tuple[Words, dict[str, Any]]:
    """What a file of that text says, without the cohort's own source, and the manifest."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    labels, manifest = with_labels(STAYS, LABELS, manifest_fields(), LabelsIn(path, **options))
    rows = [row for row in labels.to_pylist() if row["source"] != "icd"]
    return {(row["stay_id"], row["label"]): row["observed"] for row in rows}, manifest


def wide(begin: Callable[[dict[str, Any]], str], header: str) -> str:
    lines = [f"{header},{','.join(NAMES)}"]
    for stay in STAYS.to_pylist():
        lines.append(",".join([begin(stay), *(str(SAID[stay["stay_id"], label.key]) for label in PHENOTYPES)]))
    return "\n".join(lines) + "\n"


def episode(stay: dict[str, Any], ahead: int = 0) -> str:
    return f"{stay['patient_key']}_episode{stay['visit'] + ahead}_timeseries.csv"


def test_a_benchmark_s_listfile_keeps_every_label_of_every_stay(tmp_path: Path) -> None:
    said, manifest = take(
        wide(lambda s: f"{episode(s)},{s['los_hours']:.6f}", "stay,period_length"), tmp_path, "listfile.csv"
    )
    assert said == SAID
    assert manifest["primary_source"] == "listfile"
    assert manifest["labels_in"][0]["form"] == "mimic3-benchmarks"
    assert manifest["not_recorded"] == 0


def test_an_episode_is_known_by_its_length_where_its_number_counts_stays_the_cohort_lacks(tmp_path: Path) -> None:
    said, _ = take(wide(lambda s: f"{episode(s, 1)},{s['los_hours']:.6f}", "stay,period_length"), tmp_path)
    assert said == SAID
    with pytest.raises(SourceError, match="stays that the cohort lacks in 6 rows, first in row 2"):
        take(wide(lambda s: f"{episode(s)},{s['los_hours'] + 1:.6f}", "stay,period_length"), tmp_path)


def test_of_stays_of_one_length_or_without_a_length_the_number_decides(tmp_path: Path) -> None:
    place = STAYS.column_names.index("los_hours")
    equal = STAYS.set_column(place, "los_hours", pa.array([50.0] * 6))
    path = tmp_path / "listfile.csv"
    for first, second in (("50.000000", "50.000000"), ("", "0")):
        path.write_text(
            f"stay,period_length,copd\np0_episode2_timeseries.csv,{first},1\np0_episode1_timeseries.csv,{second},0\n"
        )
        labels, _ = with_labels(equal, LABELS, manifest_fields(), LabelsIn(path))
        said = {row["stay_id"]: row["observed"] for row in labels.to_pylist() if row["source"] == "listfile"}
        assert said == {1000: 0, 1001: 1}


@pytest.mark.parametrize(
    "header", ["subject_id,stay_id,time_series,period_length", "SUBJECT_ID,STAY_ID,dicom_id,past_medical_history"]
)
def test_flexcare_s_listfiles_are_known_by_stay(header: str, tmp_path: Path) -> None:
    said, manifest = take(wide(lambda s: f"7,{s['stay_id']}.0,,12.5", header), tmp_path)
    assert said == SAID
    assert manifest["labels_in"][0]["form"] == "flexcare"


def test_a_long_file_s_blanks_state_nothing_and_its_own_sources_stay_apart(tmp_path: Path) -> None:
    text = "stay_id,label,value,source,hour\n1000,Shock,1,ann,2.5\n1000,shock,0,ben,\n1001,SHOCK,,ann,\n"
    with pytest.raises(ConfigError, match="one source to be corrected among ann, ben"):
        take(text, tmp_path)
    path = tmp_path / "labels.csv"
    labels, manifest = with_labels(STAYS, LABELS, manifest_fields(), LabelsIn(path, source="ben"))
    added = [row for row in labels.to_pylist() if row["source"] != "icd"]
    assert [(row["stay_id"], row["source"], row["observed"], row["hour"]) for row in added] == [
        (1000, "ann", 1, 2.5),
        (1000, "ben", 0, None),
    ]
    assert manifest["primary_source"] == "ben"
    assert manifest["not_recorded"] == 5
    assert "5 stays without any" in manifest["attrition"][-1]["criterion"]


def test_a_model_s_probabilities_are_cut_at_the_threshold_and_kept_as_written(tmp_path: Path) -> None:
    text = "stay_id,label,probability\n1000,shock,.834\n1001,shock,0.2\n"
    path = tmp_path / "model.csv"
    path.write_text(text)
    given = LabelsIn(path, source="risk_model", primary=False, threshold=0.9)
    labels, manifest = with_labels(STAYS, LABELS, manifest_fields(), given)
    added = {row["stay_id"]: row for row in labels.to_pylist() if row["source"] == "risk_model"}
    assert {stay: (row["observed"], row["code"]) for stay, row in added.items()} == {
        1000: (0, "0.834"),
        1001: (0, "0.200"),
    }
    assert manifest["primary_source"] == "icd"
    assert manifest["label_sources"]["risk_model"] == {
        "kind": "model",
        "title": "risk model",
        "file": "model.csv",
        "threshold": 0.9,
    }


ONE = "stay_id,label,value\n1000,copd,1\n"
WRONG = [
    (f"{ONE}1000,shock,2\n", "0, 1 or blank as a label in labels.csv; got other values in 1 rows, first in row 3"),
    (f"{ONE}1000,shock,nan\n", "0, 1 or blank as a label"),
    (f"{ONE}7,shock,1\n", "stays of the cohort in labels.csv; got stays that the cohort lacks in 1 rows"),
    (f"{ONE}x,shock,1\n", "a whole number as stay_id in each row of labels.csv; got other text in 1 rows"),
    (f"{ONE},shock,1\n", "a stay_id in each row of labels.csv; got an empty cell"),
    (f"{ONE}1000,gout,1\n", "labels of the cohort in labels.csv; got others in 1 rows, first in row 3"),
    (f"{ONE}1000,shock,1\n1000,Shock,1\n", "one row for each stay and label in labels.csv; got repetitions in 1"),
    (f"{ONE}1000,shock,1\n1000,shock,0\n", "one value for each stay and label in labels.csv; got contradictions in 2"),
    (f"{ONE}1000,shock\n", "labels.csv as a CSV file with 3 columns; got one that is damaged, first in line 3"),
    ("stay_id,copd,gout\n1000,1,1\n", "columns of labels.csv named as the cohort's 25 labels; got 1 others, such as"),
    ("stay,period_length,copd\np0_episode1_timeseries.csv,,1\nwrong,,1\n", "as (subject)_episode(n)_timeseries.csv"),
    ("stay_id,label,probability\n1000,copd,1\n1000,shock,1.5\n", "probabilities of 0 to 1 in labels.csv"),
    ("stay_id,label,value,hour\n1000,copd,1,\n1000,shock,1,x\n", "hours in labels.csv"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_does_not_fit_is_told_by_row_and_a_lenient_reader_counts_it(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError) as caught:
        take(text, tmp_path)
    assert message in str(caught.value)
    assert "--lenient" in str(caught.value)
    said, manifest = take(text, tmp_path, lenient=True)
    assert said == {(1000, "copd"): 1} | ({(1000, "shock"): 1} if "repetitions" in message else {})
    assert sum(manifest["labels_in"][0]["set_aside"].values()) in (1, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "an empty file"),
        (b"stay_id,label,value\n", "a header and nothing else"),
        (b"stay_id;label;value\n1000;copd;1\n", "semicolons"),
        (b"stay_id,label,label\n", "a repeated column name"),
        (b"stay_id,label,value\n1000,caf\xe9,1\n", "another encoding"),
        (b"a,b\n1,2\n", "expected labels.csv with columns stay, or stay_id and labels, or stay_id, label and value"),
        (gzip.compress(b"stay_id,label,value\n" + b"1000,copd,1\n" * 9000, mtime=0)[:60], "gz"),
    ],
)
def test_a_file_that_is_none_is_told_in_one_line_strict_or_lenient(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / ("labels.csv.gz" if message == "gz" else "labels.csv")
    if content is not None:
        path.write_bytes(content)
    for lenient in (False, True):
        with pytest.raises(SourceError) as caught:
            with_labels(STAYS, LABELS, manifest_fields(), LabelsIn(path, lenient=lenient))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_stay_s_own_name_finds_it_where_the_source_has_text_for_ids(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("stay_id,label,value\nward-7,copd,1\n")
    keys = pa.table({"key": ["ward-7"], "id": [1003]})
    labels, _ = with_labels(STAYS, LABELS, manifest_fields(), LabelsIn(path), keys)
    assert [row["stay_id"] for row in labels.to_pylist() if row["source"] == "file"] == [1003]
    folder = tmp_path / "cohort"
    write_cohort(folder, TABLES, manifest_fields())
    both = pa.table({"kind": ["hospital", "stay"], "id": [1, 1003], "key": ["ward-7", "ward-7"]})
    pq.write_table(both, folder / "keys.parquet")
    add_labels(folder, LabelsIn(path, primary=False))
    assert pq.read_table(folder / "keys.parquet").equals(both)
    path.write_text("stay_id,label,value\nward-8,copd,1\n")
    with pytest.raises(SourceError, match="stays that the cohort lacks"):
        add_labels(folder, LabelsIn(path, source="other"))


def test_a_folder_stands_for_its_listfiles_and_no_stay_may_be_in_two(tmp_path: Path) -> None:
    whole = wide(lambda s: f"{episode(s)},{s['los_hours']:.6f}", "stay,period_length").splitlines()
    folder = tmp_path / "phenotyping"
    for part, lines in (("train", whole[1:5]), ("test", whole[5:])):
        (folder / part).mkdir(parents=True)
        (folder / part / "listfile.csv").write_text("\n".join([whole[0], *lines, ""]))
    labels, manifest = with_labels(STAYS, LABELS, manifest_fields(), LabelsIn(folder))
    assert {(r["stay_id"], r["label"]): r["observed"] for r in labels.to_pylist() if r["source"] != "icd"} == SAID
    assert manifest["labels_in"][0]["rows"] == 6
    test = folder / "test" / "listfile.csv"
    test.write_text(f"{test.read_text()}{whole[1]}\n")
    with pytest.raises(SourceError, match="each stay in one listfile of phenotyping; got 25 labels twice"):
        with_labels(STAYS, LABELS, manifest_fields(), LabelsIn(folder))
    test.write_text(f"{whole[0]}\nwrong\n")
    with pytest.raises(SourceError, match=r"listfile\.csv as a CSV file with 27 columns"):
        with_labels(STAYS, LABELS, manifest_fields(), LabelsIn(folder))
    test.write_text(f"{whole[0]}\nwrong{',1' * 26}\n")
    with pytest.raises(SourceError, match=r"stays in test/listfile\.csv as"):
        with_labels(STAYS, LABELS, manifest_fields(), LabelsIn(folder))
    with pytest.raises(SourceError, match=r"listfile\.csv, or those of train and test"):
        check_labels_file(LabelsIn(tmp_path))


def test_an_eicu_build_takes_a_label_file_too(tmp_path: Path) -> None:
    path = tmp_path / "ward.csv"
    path.write_text("stay_id,label,value\n101,Shock,1\n")
    manifest = build_eicu(write_eicu(tmp_path / "source", eicu()), tmp_path / "cohort", labels_in=LabelsIn(path))
    assert manifest["primary_source"] == "file"
    assert LabelSources.of_cohort(open_cohort(tmp_path / "cohort")).names == ("file", "icd")


def test_options_are_refused_before_a_file_is_read(tmp_path: Path) -> None:
    for wrong in ({"form": "excel"}, {"threshold": 0.0}, {"source": " "}, {"source": "a\nb"}):
        with pytest.raises(ConfigError):
            LabelsIn(tmp_path / "labels.csv", **wrong)
    path = tmp_path / "labels.csv"
    path.write_text(ONE)
    with pytest.raises(SourceError, match="stay_id and labels"):
        check_labels_file(LabelsIn(path, form="flexcare"))


def test_adding_to_a_cohort_changes_its_labels_and_fingerprint_and_nothing_else(
    cohort_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = cohort_folder()
    before, path = open_cohort(folder), tmp_path / "reader.csv"
    path.write_text("stay_id,label,value\n1000,copd,1\n1001,copd,0\n")
    manifest = add_labels(folder, LabelsIn(path, source="reader", primary=False))
    after = open_cohort(folder)
    assert manifest["fingerprint"] == after.fingerprint != before.fingerprint
    assert after.labels.num_rows == before.labels.num_rows + 2 == manifest["counts"]["labels"]
    assert after.notes.equals(before.notes)
    assert after.observations.equals(before.observations)
    assert after.label_matrix()[0].tolist() == before.label_matrix()[0].tolist()
    assert LabelSources.of_cohort(after).names == ("icd", "reader")
    with pytest.raises(ConfigError, match="--replace"):
        add_labels(folder, LabelsIn(path, source="reader"))
    path.write_text("stay_id,label,value\n1000,copd,0\n")
    add_labels(folder, LabelsIn(path, source="reader", replace=True))
    observed, stated = open_cohort(folder).label_matrix()
    assert stated.sum() == 1
    assert observed.sum() == 0
    assert sorted(child.name for child in folder.parent.iterdir()) == ["cohort", "reader.csv"]


def test_a_refused_file_leaves_the_cohort_as_it_was(cohort_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = cohort_folder()
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    path = tmp_path / "reader.csv"
    path.write_text("stay_id,label,value\n1000,copd,1\n1001,copd,7\n")
    with pytest.raises(SourceError):
        add_labels(folder, LabelsIn(path))
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert [child.name for child in folder.parent.iterdir() if ".part" in child.name] == []


def test_notes_speak_by_their_terms_affirmed_or_denied_and_drugs_name_nothing(tmp_path: Path) -> None:
    texts = ["Known COPD. No heart failure.", "On amiodarone.", "Denies COPD. Later: emphysema."]
    tables, folder = invented_tables(3), tmp_path / "cohort"
    notes = tables["notes"].set_column(4, "text", pa.array(texts))
    tables["notes"] = notes.set_column(6, "model_end", pa.nulls(3, pa.int32()))
    write_cohort(folder, tables, manifest_fields())
    add_note_terms(folder)
    rows = pq.read_table(folder / "labels.parquet", filters=[("source", "=", "note_terms")]).to_pylist()
    assert [(r["stay_id"], r["label"], r["observed"], r["code"]) for r in rows] == [
        (1000, "copd", 1, "1 affirmed"),
        (1000, "heart_failure", 0, "1 denied"),
        (1002, "copd", 1, "1 affirmed, 1 denied"),
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["label_sources"]["note_terms"]["kind"] == "note_terms"
    assert manifest["primary_source"] == "icd"


def test_a_build_takes_a_label_file_as_the_record_and_keeps_the_codes_beside_it(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "source", mimic3())
    path = tmp_path / "listfile.csv"
    lines = [f"stay,period_length,{','.join(NAMES)}"]
    for name, hours in (("1_episode1", 72.0), ("1_episode2", 55.0)):
        lines.append(f"{name}_timeseries.csv,{hours:.6f},{','.join(['1'] + ['0'] * 24)}")
    path.write_text("\n".join(lines) + "\n")
    manifest = build_mimic3(folder, tmp_path / "cohort", labels_in=LabelsIn(path))
    cohort = open_cohort(tmp_path / "cohort")
    observed, stated = cohort.label_matrix()
    assert observed[:2].tolist() == [[1] + [0] * 24] * 2
    assert stated.all(axis=1).tolist() == [True, True, False]
    assert LabelSources.of_cohort(cohort).names == ("listfile", "icd")
    assert manifest["label_sources"]["icd"]["title"] == "billing codes"
    path.write_text("stay,period_length,copd\nnobody_episode1_timeseries.csv,72,1\n")
    with pytest.raises(SourceError, match="stays that the cohort lacks"):
        build_mimic3(folder, tmp_path / "other", labels_in=LabelsIn(path))
    assert not (tmp_path / "other").exists()
