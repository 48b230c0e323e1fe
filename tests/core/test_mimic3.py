"""The MIMIC-III loader: an invented folder for every rule, the open demo for the real thing."""

import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from core.cohort.schema import EVIDENCE_KINDS
from core.cohort.sources import mimic_series
from core.cohort.sources.mimic3 import build_mimic3
from core.cohort.store import is_test_patient, open_cohort
from core.errors import SourceError
from tests.core.mimic_fixture import START, Rows, chart3, mimic3, write_folder

DEMO = Path(__file__).resolve().parents[2] / "../shared/data/mimic-iii-demo"


class Built:
    """A cohort built from an invented folder, as data frames."""

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest

    def __getattr__(self, name: str) -> pd.DataFrame:
        return pq.read_table(self.folder / f"{name}.parquet").to_pandas()

    def values(self, stay: int, channel: str) -> list[tuple[float, float]]:
        rows = self.observations
        rows = rows[(rows.stay_id == stay) & (rows.channel == channel)]
        return [(round(float(h), 3), round(float(v), 3)) for h, v in zip(rows.hour, rows.value, strict=True)]

    def told(self, source: str) -> list[tuple[str, str]]:
        rows = self.review_evidence
        rows = rows[rows.source == source]
        return list(zip(rows.kind, rows.name, strict=True))


def build(root: Path, content: dict[str, Rows] | None = None, **options: Any) -> Built:
    folder = write_folder(root / "source", content or mimic3(), packed=("CHARTEVENTS", "ICUSTAYS"), capitals=True)
    return Built(root / "cohort", build_mimic3(folder, root / "cohort", **options))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("mimic3"))


def test_the_benchmark_s_criteria_are_applied_in_its_order_and_logged(built: Built) -> None:
    lines = [(line["in"], line["removed"], line["out"]) for line in built.manifest["attrition"]]
    assert lines == [(9, 0, 9), (9, 0, 9), (9, 1, 8), (8, 2, 6), (6, 1, 5), (5, 1, 4), (4, 1, 3), (3, 0, 3)]
    assert built.stays.stay_id.tolist() == [101, 102, 701]


def test_visits_are_in_order_of_admission_with_times_and_ages_capped_at_ninety(built: Built) -> None:
    stays = built.stays.set_index("stay_id")
    assert stays.visit.tolist() == [1, 2, 1]
    assert set(stays.visit_order) == {"exact"}
    assert stays.admitted_at[101] == pd.Timestamp(START)
    assert stays.age[701] == 90
    assert int(stays.age[101]) == 59
    assert stays.los_hours[101] == 72
    assert stays.patient_key[101] == "1"
    assert stays.hospital_stay_id[101] == 11


def test_the_split_is_by_a_hash_of_the_patient_or_by_the_benchmark_s_file(built: Built, tmp_path: Path) -> None:
    assert [s == "test" for s in built.stays.split] == [is_test_patient(p) for p in built.stays.patient_key]
    split = tmp_path / "testset.csv"
    split.write_text("1,1\n7,0\n99,1\n")
    other = build(tmp_path, split_file=split)
    assert other.stays.split.tolist() == ["test", "test", "train"]
    assert other.manifest["split"] == "testset.csv"


@pytest.mark.parametrize("text", ["1;1\n", "1,2\n", "one,1\n", "1,1\n1,0\n", "88,1\n"])
def test_a_split_that_is_no_list_of_patients_of_this_cohort_is_refused(tmp_path: Path, text: str) -> None:
    split = tmp_path / "testset.csv"
    split.write_text(text)
    with pytest.raises(SourceError, match=r"testset\.csv"):
        build(tmp_path, split_file=split)


def test_labels_are_stated_for_coded_stays_alone(built: Built) -> None:
    labels = built.labels
    positive = labels[labels.observed == 1]
    assert set(zip(positive.stay_id, positive.label, strict=True)) == {
        (101, "acute_renal_failure"),
        (101, "essential_hypertension"),
        (102, "septicemia"),
    }
    assert dict(zip(positive.label, positive.priority, strict=True))["essential_hypertension"] == "Other"
    assert sorted(labels.stay_id.unique()) == [101, 102]
    assert len(labels) == 50
    assert built.manifest["not_recorded"] == 1


def test_events_of_no_stay_are_taken_by_admission_and_those_of_another_or_of_no_admission_left_out(
    built: Built,
) -> None:
    assert built.values(101, "heart_rate") == [(0.5, 100.0), (1.5, 95.0), (60.0, 70.0)]
    assert built.values(102, "heart_rate") == [(5.0, 88.0)]
    assert built.values(101, "creatinine") == [(-3.0, 1.0), (20.0, 2.1)]


def test_values_come_in_the_channel_s_unit_and_those_out_of_range_are_counted(built: Built) -> None:
    assert built.values(101, "sbp") == [(1.0, 120.0)]
    assert built.values(101, "dbp") == [(1.0, 80.0)]
    assert built.values(101, "map") == []
    assert built.values(101, "temperature") == [(1.0, 37.0), (2.0, 37.5)]
    assert built.values(101, "weight") == [(0.2, 90.718), (3.0, 90.718)]
    assert built.values(101, "height") == [(0.2, 178.0)]
    assert built.values(101, "fio2") == [(1.0, 0.4), (2.0, 0.5)]
    assert built.values(101, "spo2") == [(1.0, 97.0)]
    assert built.values(101, "crp") == [(20.0, 30.0)]
    assert built.manifest["removed_values"] == {"map": 1}
    assert built.manifest["converted_values"] == {
        **{"crp": 1, "fio2": 1, "height": 1, "spo2": 1, "temperature": 1, "weight": 2},
    }


def test_scores_are_read_from_their_words(built: Built) -> None:
    assert built.values(101, "gcs_eye") == [(1.0, 3.0), (2.0, 1.0)]
    assert built.values(101, "gcs_motor") == [(1.0, 6.0)]
    assert built.values(101, "gcs_verbal") == [(1.0, 1.0)]
    assert built.values(101, "gcs_total") == [(1.0, 10.0)]
    assert built.values(101, "capillary_refill") == [(1.0, 1.0), (2.0, 0.0)]
    assert built.manifest["unreadable_values"] == {"capillary_refill": 1, "troponin_t": 1}
    eye = built.observations[built.observations.channel == "gcs_eye"]
    assert eye.category.tolist() == ["to speech", "none"]


def test_urine_is_added_up_and_urine_s_own_chemistry_is_never_read_as_blood(built: Built) -> None:
    assert built.values(101, "urine_output") == [(1.0, 100.0), (2.0, 30.0)]
    assert built.values(101, "ph") == [(2.0, 7.31)]
    assert built.manifest["left_out"] == {"ph of urine": 1}


def test_a_model_reads_notes_charted_and_entered_before_the_cut_off(built: Built) -> None:
    notes = built.notes.set_index("note_id")
    assert sorted(notes.index) == [1, 2, 3, 4, 7]
    assert notes.model_end.dropna().to_dict() == {1: 35.0, 7: 20.0}
    assert notes.category[2] == "physician"
    assert pd.isna(notes.hour[4])
    assert not notes.text.str.contains("DISCHARGE").any()
    told = built.manifest["note_reading"]
    assert (told["discharge_summaries_left_out"], told["marked_as_wrong"], told["readers_only"]) == (1, 1, 3)


def test_without_a_cut_off_a_model_reads_every_note_that_has_a_time(tmp_path: Path) -> None:
    notes = build(tmp_path, cutoff_hours=None).notes.set_index("note_id")
    assert notes.model_end.notna().to_dict() == {1: True, 2: True, 3: True, 4: False, 7: True}


def test_readers_see_drugs_cultures_procedures_and_outputs_and_never_the_recorded_codes(built: Built) -> None:
    evidence = built.review_evidence
    assert set(evidence.kind) <= set(EVIDENCE_KINDS) - {"diagnosis"}
    assert built.told("inputevents_mv") == [("drug", "Norepinephrine"), ("drug", "heparin infusion")]
    assert built.told("inputevents_cv") == [("drug", "crystalloid bolus: .9% Normal Saline")]
    assert built.told("prescriptions") == [("drug", "Vancomycin")]
    assert built.told("microbiologyevents") == [
        ("micro", "culture, urine: no organism"),
        ("micro", "culture, blood: staph aureus coag +"),
    ]
    assert built.told("procedureevents_mv") == [
        ("procedure", "Bronchoscopy"),
        ("imaging", "Chest X-Ray"),
        ("ecg", "EKG"),
        ("micro", "Blood Cultured"),
        ("procedure", "vascular line: Multi Lumen"),
    ]
    assert built.told("procedures_icd") == [("procedure", "Hemodialysis")]
    assert ("admission_diagnosis", "sepsis;hypotension") in built.told("admissions")
    assert built.told("outputevents") == [("finding", "chest tube output: Chest Tubes CTICU CT 1")]
    drug = evidence[evidence.name == "Norepinephrine"].iloc[0]
    assert (round(float(drug.value), 2), drug.unit, drug.text, float(drug.hour)) == (0.1, "mcg/kg/min", "infusion", 1.0)
    culture = evidence[evidence.name.str.startswith("culture, blood")].iloc[0]
    assert culture.text == "OXACILLIN S, PENICILLIN R"


def test_readers_see_a_rhythm_where_it_changes_and_results_that_are_a_bound(built: Built) -> None:
    assert built.told("chartevents") == [
        ("ecg", "HR rhythm: Normal Sinus"),
        ("ecg", "HR rhythm: Atrial Fib"),
        ("finding", "ventilator mode: CMV"),
    ]
    labs = built.review_evidence[built.review_evidence.source == "labevents"]
    assert sorted(zip(labs.name, labs.text.fillna(""), strict=True)) == [
        ("Troponin T, a bound", "<0.01 ng/mL"),
        ("osmolality, measured", ""),
    ]


def test_height_and_weight_alone_are_no_series(tmp_path: Path) -> None:
    content = mimic3()
    content["CHARTEVENTS"] = [chart3(226707, 0.2, 70, "Inch"), chart3(211, 60, 70, "BPM", hadm_id=12, icustay_id=102)]
    content["LABEVENTS"] = content["LABEVENTS"][:2]
    cohort = build(tmp_path, content)
    assert not cohort.stays.set_index("stay_id").has_series[101]
    assert cohort.values(101, "height") == []


def test_the_same_folder_gives_the_same_bytes_and_opens_for_training(tmp_path: Path, built: Built) -> None:
    again = build(tmp_path)
    assert again.manifest["tables"] == built.manifest["tables"]
    cohort = open_cohort(built.folder)
    assert cohort.stays.num_rows == 3


def test_values_are_gathered_some_stays_at_a_time_without_a_difference(
    tmp_path: Path, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mimic_series, "_GATHERED_ROWS", 7)
    assert build(tmp_path).manifest["tables"] == built.manifest["tables"]


def test_blanks_around_cells_change_nothing(tmp_path: Path, built: Built) -> None:
    padded = {
        name: [{k: f" {v} " if v != "" else " " for k, v in row.items()} for row in rows]
        for name, rows in mimic3().items()
    }
    assert build(tmp_path, padded).manifest["tables"] == built.manifest["tables"]


@pytest.mark.data
@pytest.mark.skipif(not DEMO.is_dir(), reason="the MIMIC-III demo is not under ../shared/data/mimic-iii-demo")
def test_the_open_demo_is_built_in_half_a_minute_with_the_counts_that_it_is_known_for(tmp_path: Path) -> None:
    begin = time.process_time()
    manifest = build_mimic3(DEMO, tmp_path / "cohort")
    assert time.process_time() - begin < 30
    counts = manifest["counts"]
    assert (counts["stays"], counts["patients"], counts["labels"]) == (114, 89, 2850)
    assert manifest["strange_units"] == {}
    assert manifest["set_aside"] == {}
    assert manifest["left_out"] == {"glucose of urine": 171, "ph of other body fluid": 2, "ph of urine": 188}
