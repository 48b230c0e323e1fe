"""The MIMIC-IV loader and its notes: an invented folder for every rule, the open demo for the real thing."""

import time
from pathlib import Path
from typing import Any

import pytest

from core.cohort.sources.mimic4 import build_mimic4
from core.cohort.sources.mimic_notes import admission_note
from core.cohort.sources.mimic_sections import sections
from core.errors import ConfigError, SourceError
from tests.core.mimic_fixture import SUMMARY, Rows, mimic4, write_folder
from tests.core.test_mimic3 import Built

DEMO = Path(__file__).resolve().parents[2] / "../shared/data/mimic-iv-demo"
NOTES = ("note/discharge", "note/radiology")


def build(root: Path, content: dict[str, Rows] | None = None, **options: Any) -> Built:
    folder = write_folder(root / "source", content or mimic4(), packed=("hosp/patients", "icu/chartevents"))
    return Built(root / "cohort", build_mimic4(folder, root / "cohort", **options))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("mimic4"))


def read_by_model(cohort: Built) -> dict[int, str]:
    notes = cohort.notes[cohort.notes.model_end.notna()]
    spans = zip(notes.note_id, notes.text, notes.model_start, notes.model_end, strict=True)
    return {int(note): text[int(a) : int(b)] for note, text, a, b in spans}


def test_adults_with_one_stay_and_no_transfer_are_kept_with_their_age_at_admission(built: Built) -> None:
    assert built.stays.stay_id.tolist() == [30000001, 30000002]
    assert built.stays.visit.tolist() == [1, 2]
    assert built.stays.age.tolist() == [61, 61]
    assert built.stays.ethnicity.tolist() == ["WHITE", "WHITE"]


def test_columns_that_a_later_release_adds_change_nothing(tmp_path: Path, built: Built) -> None:
    content = {name: [{"added": "x", **row, "more": 1} for row in rows] for name, rows in mimic4().items()}
    assert build(tmp_path, content).manifest["tables"] == built.manifest["tables"]


def test_a_code_counts_in_its_own_system_alone(built: Built) -> None:
    positive = built.labels[built.labels.observed == 1]
    assert list(zip(positive.stay_id, positive.label, positive.code, strict=True)) == [
        (30000001, "acute_renal_failure", "N179"),
        (30000002, "acute_renal_failure", "5849"),
        (30000002, "septicemia", "A419"),
    ]
    assert built.manifest["coding"]["stays_coded_in_icd10"] == 2


def test_values_are_read_by_text_and_by_number_where_the_text_is_none(built: Built) -> None:
    assert built.values(30000001, "temperature") == [(1.0, 37.0)]
    assert built.values(30000001, "capillary_refill") == [(1.0, 1.0)]
    assert built.values(30000001, "gcs_eye") == [(1.0, 3.0)]
    assert built.values(30000001, "dbp") == [(1.0, 55.0)]
    assert built.values(30000001, "creatinine") == [(3.0, 2.0), (9.0, 3.0)]


def test_of_a_discharge_summary_only_what_was_known_at_admission_is_kept() -> None:
    found = sections(SUMMARY)
    assert list(found) == [
        "chief complaint",
        "history of present illness",
        "past medical history",
        "admission examination",
        "medications on admission",
    ]
    assert "septic" not in " ".join(found.values()).lower()
    assert "stent in ___" in found["past medical history"]
    assert found["admission examination"].splitlines() == ["VS: 39.1 88/40", "Lungs: rales"]


def test_by_default_a_model_reads_the_past_history_and_readers_the_other_sections(built: Built) -> None:
    assert list(read_by_model(built)) == [30000001 * 1_000_000 + 8]
    text = read_by_model(built)[30000001000008]
    assert text.startswith("Past medical history: 1. Hypertension")
    assert text.endswith("stent in ___")
    assert built.notes.text.str.contains("lisinopril").any()
    assert not built.notes.text.str.contains("Septic|Brief Hospital", regex=True).any()
    assert built.manifest["note_reading"]["without_the_chosen_sections"] == 1


@pytest.mark.parametrize(
    ("choice", "read"),
    [
        ("admission", {30000001000008: "lisinopril"}),
        ("first48h", {30000001000017: "Early film"}),
        ("all", {30000001000008: "lisinopril", 30000001000017: "Early film"}),
    ],
)
def test_the_other_choices_read_sections_or_radiology_before_the_cut_off(
    tmp_path: Path, choice: str, read: dict[int, str]
) -> None:
    found = read_by_model(build(tmp_path, notes=choice))
    assert found.keys() == read.keys()
    assert all(words in found[note] for note, words in read.items())


def test_nothing_charted_or_entered_after_the_cut_off_reaches_a_model_whatever_is_chosen(tmp_path: Path) -> None:
    for number, choice in enumerate(("pmh", "admission", "first48h", "all")):
        text = " ".join(read_by_model(build(tmp_path / str(number), notes=choice)).values())
        assert "Read too late" not in text
        assert "Late film" not in text
        assert "Septic shock" not in text


def test_notes_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    content = mimic4()
    write_folder(tmp_path / "notes", {name: content.pop(name) for name in NOTES})
    assert build(tmp_path / "without", content).notes.empty
    assert len(build(tmp_path / "with", content, notes_folder=tmp_path / "notes").notes) == 4


def test_a_folder_of_notes_without_notes_and_an_unknown_choice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    content = mimic4()
    without = {name: rows for name, rows in content.items() if name not in NOTES}
    with pytest.raises(SourceError, match=r"discharge\.csv\.gz"):
        build(tmp_path / "without", without, notes_folder=tmp_path / "empty")
    with pytest.raises(SourceError, match="no such folder"):
        build(tmp_path, notes_folder=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="pmh"):
        build(tmp_path, notes="everything")


@pytest.mark.parametrize(
    ("text", "choice", "expected"),
    [
        ("", "pmh", ("", None, None)),
        ("PMH: gout\n", "pmh", ("Past medical history: gout", 0, 26)),
        ("Social History:\nsmokes\n", "pmh", ("Social history: smokes", None, None)),
        ("Social History:\nsmokes\n", "all", ("Social history: smokes", 0, 22)),
        (
            "Past Medical History:\nPSH: ___\nOncologic History:\nlymphoma\nAllergies:\nnone\n",
            "pmh",
            ("Past medical history: lymphoma", 0, 30),
        ),
        (
            "PAST MEDICAL HISTORY:  gout, \n  obesity\nSOCIAL HISTORY: ___",
            "pmh",
            ("Past medical history: gout,\nobesity", 0, 35),
        ),
        ("PMH: gout\n", "first48h", ("Past medical history: gout", None, None)),
        (
            "Past Medical History:\nCKD\nMade worse; creatinine at discharge 3\n",
            "pmh",
            ("Past medical history: CKD", 0, 25),
        ),
    ],
)
def test_the_span_a_model_reads_is_the_chosen_section(
    text: str, choice: str, expected: tuple[str, int | None, int | None]
) -> None:
    assert admission_note(text, choice) == expected


@pytest.mark.data
@pytest.mark.skipif(not DEMO.is_dir(), reason="the MIMIC-IV demo is not under ../shared/data/mimic-iv-demo")
def test_the_open_demo_is_built_in_half_a_minute_with_the_counts_that_it_is_known_for(tmp_path: Path) -> None:
    begin = time.process_time()
    manifest = build_mimic4(DEMO, tmp_path / "cohort")
    assert time.process_time() - begin < 30
    counts = manifest["counts"]
    assert (counts["stays"], counts["patients"], counts["labels"]) == (112, 91, 2800)
    assert manifest["coding"]["stays_coded_in_icd10"] == 44
    assert manifest["unreadable_values"] == {}
