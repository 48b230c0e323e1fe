"""Chest film labels: studies find their stay, and each policy says what uncertain and missing words count as."""

import csv
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from core.cohort.sources.chexpert import FINDINGS, LABEL_FILE, TIME_FILE, FilmPolicy, chexpert_task
from core.cohort.sources.mimic4 import build_mimic4
from core.cohort.store import open_cohort
from core.errors import ConfigError, SourceError
from tests.core.mimic_fixture import mimic4, write_folder

NAMES = [label.name for label in FINDINGS]
EDEMA, EFFUSION = "cxr_edema", "cxr_pleural_effusion"
# study: patient, view, day, time, edema, effusion. Stay 30000001 lasts from 1 March 10:00 to 4 March 10:00.
STUDIES: dict[int, tuple[int, str, str, str, str, str]] = {
    51: (1, "AP", "21500301", "150000.5", "1.0", "-1.0"),
    52: (1, "AP", "21500302", "3000.0", "0.0", ""),
    53: (1, "LATERAL", "21500302", "120000", "", "1.0"),
    54: (1, "AP", "21500301", "90000", "", "1.0"),
    55: (1, "AP", "21500309", "235959", "-1.0", ""),
    56: (9, "AP", "21500302", "120000", "1.0", "1.0"),
}


def write_films(folder: Path, studies: dict[int, Any] | None = None, **cells: str) -> Path:
    folder.mkdir(exist_ok=True)
    chosen = STUDIES if studies is None else studies
    with (folder / LABEL_FILE).open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["subject_id", "study_id", *NAMES])
        for study, (person, _, _, _, edema, effusion) in chosen.items():
            said = {"Edema": edema, "Pleural Effusion": effusion}
            writer.writerow([person, study, *(said.get(name, "") for name in NAMES)])
    with (folder / TIME_FILE).open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["dicom_id", "subject_id", "study_id", "ViewPosition", "Rows", "StudyDate", "StudyTime"])
        for study, (person, view, day, time, _, _) in chosen.items():
            writer.writerow([f"film-{study}", person, study, view, 3056, day, time])
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("films") / "source", mimic4())


def labels(source: Path, place: Path, policy: FilmPolicy | None = None) -> dict[tuple[int, str], tuple[int, str]]:
    films = write_films(place / "films")
    build_mimic4(source, place / "cohort", task=chexpert_task(films, policy))
    rows = pq.read_table(place / "cohort" / "labels.parquet").to_pylist()
    return {(row["stay_id"], row["label"]): (row["observed"], row["code"]) for row in rows}


def test_portable_films_taken_within_a_stay_label_it_and_what_is_not_stated_has_no_row(
    source: Path, tmp_path: Path
) -> None:
    assert labels(source, tmp_path) == {(30000001, EDEMA): (1, "1 present, 1 absent of 2 films")}
    cohort = open_cohort(tmp_path / "cohort")
    assert cohort.label_keys == [label.key for label in FINDINGS]
    assert cohort.manifest["primary_source"] == "chexpert"
    told = cohort.manifest["coding"]
    assert (told["studies"], told["portable_studies"], told["studies_in_stays"]) == (6, 5, 3)
    assert cohort.manifest["not_recorded"] == 1
    hours = pq.read_table(tmp_path / "cohort" / "labels.parquet")["hour"].to_pylist()
    assert hours == [5.0]


@pytest.mark.parametrize(
    ("policy", "edema", "effusion"),
    [
        (FilmPolicy(uncertain="positive"), 1, 1),
        (FilmPolicy(uncertain="negative"), 1, 0),
        (FilmPolicy(missing="negative"), 1, 0),
        (FilmPolicy(uncertain="positive", missing="negative"), 1, 1),
        (FilmPolicy(studies="last"), 0, None),
        (FilmPolicy(studies="last", missing="negative"), 0, 0),
    ],
)
def test_each_policy_gives_its_own_labels(
    policy: FilmPolicy, edema: int, effusion: int | None, source: Path, tmp_path: Path
) -> None:
    found = labels(source, tmp_path, policy)
    assert found[30000001, EDEMA][0] == edema
    assert found.get((30000001, EFFUSION), (None,))[0] == effusion
    second = {"positive": 1, "negative": 0}.get(policy.uncertain)
    assert found.get((30000002, EDEMA), (None,))[0] == second


def test_reports_never_reach_a_model_that_is_to_learn_what_was_taken_from_them(source: Path, tmp_path: Path) -> None:
    task = chexpert_task(write_films(tmp_path / "films"))
    for notes in ("first48h", "all"):
        with pytest.raises(ConfigError, match="give those labels away"):
            build_mimic4(source, tmp_path / "cohort", notes=notes, task=task)


@pytest.mark.parametrize("wrong", [{"uncertain": "maybe"}, {"missing": "positive"}, {"studies": "first"}])
def test_a_policy_of_other_words_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="choose one of them"):
        FilmPolicy(**wrong)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        ((1, "AP", "21500301", "150000", "2", ""), f"1, 0, -1 or blank in {LABEL_FILE}; got other values in 1 rows"),
        ((1, "AP", "soon", "150000", "1", ""), f"StudyDate and StudyTime in {TIME_FILE}; got other text in 1 rows"),
        (("x", "AP", "21500301", "150000", "1", ""), f"a number as subject_id in {LABEL_FILE}"),
    ],
)
def test_cells_that_don_t_fit_are_told_by_row_and_set_aside_when_lenient(
    study: tuple[Any, ...], message: str, source: Path, tmp_path: Path
) -> None:
    films = write_films(tmp_path / "films", {51: STUDIES[51], 57: study})
    with pytest.raises(SourceError) as caught:
        build_mimic4(source, tmp_path / "cohort", task=chexpert_task(films))
    assert message in str(caught.value)
    assert "first in row" in str(caught.value)
    assert not (tmp_path / "cohort").exists()
    manifest = build_mimic4(source, tmp_path / "cohort", lenient=True, task=chexpert_task(films))
    assert [reason for reason in manifest["set_aside"] if message.split(";")[0] in reason]


def test_files_that_are_none_are_told_before_the_source_is_read(source: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        chexpert_task(tmp_path / "nowhere")
    films = write_films(tmp_path / "films")
    (films / TIME_FILE).rename(films / "other.csv")
    with pytest.raises(SourceError, match=f"{TIME_FILE} or {TIME_FILE}.gz; got neither"):
        chexpert_task(films)
    (films / TIME_FILE).write_text("study_id,subject_id\n1,1\n")
    with pytest.raises(SourceError, match="none named viewposition, studydate, studytime"):
        chexpert_task(films)
    twice = (write_films(films) / LABEL_FILE).read_text().splitlines()
    (films / LABEL_FILE).write_text("\n".join([*twice, twice[1]]))
    with pytest.raises(SourceError, match="one row for each study"):
        build_mimic4(source, tmp_path / "cohort", task=chexpert_task(films))
    only = {study: (row[0], "PA", *row[2:]) for study, row in STUDIES.items()}
    with pytest.raises(SourceError, match=r"portable films \(AP\)"):
        build_mimic4(source, tmp_path / "cohort", task=chexpert_task(write_films(films, only)))
