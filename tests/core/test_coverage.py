"""What ICD-10 codes lose against their ICD-9 counterparts: invented stays, a few real codes."""

from pathlib import Path

import pyarrow.csv as pa_csv
import pytest

from core.cohort.coverage import coverage, hidden, write_codes
from core.cohort.coverage_codes import chapter_of, read_gems
from core.errors import ConfigError, SourceError
from tests.core.eicu_fixture import tables as eicu
from tests.core.eicu_fixture import write_folder as write_eicu
from tests.core.mimic_fixture import mimic3, mimic4, write_folder

GEMS = """\
J9601   51881   10000
N179    5849    00000
I110    40291   10112
I110    4280    10112
Z8719   NoDx    11000
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Admission 11 is coded in ICD-10, 12 in both systems, 21 not at all."""
    content = mimic4()
    content["hosp/diagnoses_icd"] += [
        {"subject_id": 1, "hadm_id": h, "seq_num": n, "icd_code": c, "icd_version": v}
        for h, n, c, v in (
            (11, 3, "J9601", 10), (11, 4, "I110", 10), (12, 3, "J9601", 10), (12, 4, "51881", 9), (12, 5, "Z8719", 10),
            (11, 5, "J9601", 10), (12, 6, "5849", 10),
        )
    ]  # fmt: skip
    return write_folder(tmp_path_factory.mktemp("coverage"), content)


@pytest.fixture
def gems(tmp_path: Path) -> Path:
    path = tmp_path / "I10gem.txt"
    path.write_text(GEMS)
    return path


def test_a_code_whose_counterpart_has_the_label_and_which_has_not_is_counted_by_stay(source: Path, gems: Path) -> None:
    found = coverage(source, gems)
    rows = {(row["label"], row["code"]): row for row in found.codes.to_pylist()}
    assert set(rows) == {("respiratory_failure", "J9601"), ("heart_failure", "I110")}
    failure = rows["respiratory_failure", "J9601"]
    assert (failure["counterparts"], failure["kind"], failure["falls_in"]) == ("51881", "approximate", "")
    assert (failure["stays"], failure["patients"], failure["without"]) == (2, 1, 1)
    assert rows["heart_failure", "I110"]["kind"] == "combination"
    labels = {row["label"]: row for row in found.labels.to_pylist()}
    assert (labels["respiratory_failure"]["codes"], labels["respiratory_failure"]["stays"]) == (1, 2)
    assert found.totals["stays_icd10"] == 2


def test_without_mappings_codes_of_no_phenotype_are_counted_by_chapter_and_category(source: Path) -> None:
    found = coverage(source)
    rows = {row["category"]: row for row in found.codes.to_pylist()}
    assert (rows["J96"]["chapter"], rows["J96"]["stays"]) == ("X Respiratory system", 2)
    assert (rows["584"]["codes"], "N17" in rows) == (1, False)
    assert found.totals["unmapped"] is None
    assert found.labels.num_rows == 0


def test_counts_with_few_patients_behind_them_are_not_shown(source: Path, gems: Path, tmp_path: Path) -> None:
    found = coverage(source, gems)
    assert {row["stays"] for row in hidden(found.codes, 2)} == {"<2"}
    assert {row["without"] for row in hidden(found.codes, 1) if row["code"] == "J9601"} == {1}
    with pytest.raises(ConfigError, match="1 or more"):
        hidden(found.codes, 0)
    write_codes(found, tmp_path / "out" / "coverage.csv", 2)
    table = pa_csv.read_csv(tmp_path / "out" / "coverage.csv")
    assert set(table["stays"].to_pylist()) == {"<2"}
    assert "patients_without" not in table.column_names


def test_eicu_s_dotted_codes_are_read_by_their_form(tmp_path: Path) -> None:
    folder = write_eicu(tmp_path / "eicu", eicu())
    found = coverage(folder)
    assert found.totals["codes"]
    assert found.codes.num_rows
    assert all(row["category"][0].isalpha() for row in found.codes.to_pylist())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file"),
        (b"", "an empty file"),
        (b"J9601 51881 10000\nJ9601 51881\n", "other text in 1 lines, first in line 2"),
        (b"J9601 51881 90000\n", "five flags"),
        (b"51881 J9601 10000\n", "codes of another system"),
        (b"caf\xe9 51881 10000\n", "one that can't be read"),
    ],
)
def test_mappings_that_are_none_are_told_in_one_line(text: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "I10gem.txt"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(SourceError) as caught:
        read_gems(path)
    assert message in str(caught.value)
    assert "I10gem.txt" in str(caught.value)


def test_a_source_without_icd_10_has_nothing_to_cover(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"coded in ICD-10; got neither"):
        coverage(write_folder(tmp_path / "three", mimic3()))
    with pytest.raises(SourceError, match="no such folder"):
        coverage(tmp_path / "nowhere")
    content = mimic4()
    for row in content["hosp/diagnoses_icd"]:
        row["icd_version"] = 9
    with pytest.raises(SourceError, match="none among the stays"):
        coverage(write_folder(tmp_path / "four", content))


@pytest.mark.parametrize(
    ("category", "chapter"), [("A00", "I I"), ("D49", "II N"), ("D50", "III"), ("H60", "VIII"), ("U07", "XXII"),
                              ("V43", "XX E"), ("T88", "XIX"), ("Z99", "XXI F")]
)  # fmt: skip
def test_a_category_lies_in_its_chapter(category: str, chapter: str) -> None:
    assert chapter_of(category).startswith(chapter)
