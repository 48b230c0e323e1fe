"""Synthetic notes: negation, relatives, copies, omissions. Synthetic findings: they lean to the truth."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.cohort.labelset import PHENOTYPES
from core.cohort.schema import EVIDENCE_KINDS
from core.cohort.sources.synthetic import build_synthetic
from core.cohort.sources.synthetic.evidence import findings
from core.cohort.sources.synthetic.notes import ADMISSION, DISCHARGE, phrases

KEYS = [label.key for label in PHENOTYPES]
STAYS = 800


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("synthetic") / "cohort"
    build_synthetic(target, stays=STAYS, seed=4)
    return target


@pytest.fixture(scope="module")
def truth(folder: Path) -> dict[int, dict[str, bool]]:
    table = pq.read_table(folder / "evaluation" / "truth.parquet")
    out: dict[int, dict[str, bool]] = {}
    for stay, label, clean in zip(*(table[c].to_pylist() for c in ("stay_id", "label", "clean")), strict=True):
        out.setdefault(stay, {})[label] = bool(clean)
    return out


@pytest.fixture(scope="module")
def notes(folder: Path) -> list[dict]:
    return pq.read_table(folder / "notes.parquet").to_pylist()


def line(text: str, start: str) -> str:
    return next((row[len(start) :] for row in text.split("\n") if row.startswith(start)), "")


def test_notes_deny_phenotypes_that_the_patient_lacks(notes: list[dict], truth: dict) -> None:
    names = phrases()["label"][KEYS.index("heart_failure")]["names"]
    starts = tuple(frame.split("{")[0].lower() for frame in phrases()["frames"]["negation"])
    denied = [
        n
        for n in notes
        for row in n["text"][: n["model_end"] or 0].split("\n")
        if row.lower().startswith(starts) and any(name in row for name in names)
    ]
    assert len(denied) > 5
    assert np.mean([truth[n["stay_id"]]["heart_failure"] for n in denied]) < 0.1


def test_notes_tell_of_relatives_illnesses_that_the_patient_lacks(notes: list[dict], truth: dict) -> None:
    told = [n for n in notes if "MI" in line(n["text"], "FH:")]
    assert len(told) > 20
    own = np.mean([truth[n["stay_id"]]["acute_myocardial_infarction"] for n in told])
    assert own < 0.2


def test_a_present_phenotype_is_often_named_often_omitted_and_sometimes_told_by_a_drug_alone(
    notes: list[dict], truth: dict
) -> None:
    entry = phrases()["label"][KEYS.index("copd")]
    stated = [n for n in notes if n["category"] == ADMISSION and truth[n["stay_id"]]["copd"]]
    named = [any(x in line(n["text"], "PMH:") for x in entry["names"]) for n in stated]
    drug = [any(x in line(n["text"], "Meds:") for x in entry["drugs"]) for n in stated]
    assert 0.25 < np.mean(named) < 0.9
    assert any(d and not m for d, m in zip(drug, named, strict=True))
    assert any(not d and not m for d, m in zip(drug, named, strict=True))


def test_abbreviations_and_full_names_both_occur(notes: list[dict]) -> None:
    texts = "\n".join(n["text"] for n in notes)
    for word in ("CHF", "COPD", "DM2", "HTN", "AKI", "CKD", "congestive heart failure", "hypertension", "diabetes"):
        assert word in texts


def test_some_later_visits_copy_the_past_history_word_for_word(notes: list[dict], folder: Path) -> None:
    stays = pq.read_table(folder / "stays.parquet", columns=["stay_id", "patient_id"]).to_pylist()
    patient = {row["stay_id"]: row["patient_id"] for row in stays}
    history: dict[int, list[str]] = {}
    for n in notes:
        if n["category"] == ADMISSION:
            history.setdefault(patient[n["stay_id"]], []).append(line(n["text"], "PMH:"))
    pairs = [(a, b) for told in history.values() for a, b in itertools.pairwise(told)]
    same = np.mean([a == b for a, b in pairs])
    assert 0.15 < same < 0.7


def test_models_read_early_notes_up_to_their_plan_and_never_the_discharge_summary(notes: list[dict]) -> None:
    for n in notes:
        if n["category"] == DISCHARGE:
            assert n["model_start"] is None
            assert n["model_end"] is None
        else:
            assert n["hour"] < 48.0
            assert n["model_start"] == 0
            assert n["text"][n["model_end"] :].startswith("\nPlan:")
    assert {DISCHARGE, ADMISSION} < {n["category"] for n in notes}


def test_note_hours_lie_within_the_stay(notes: list[dict], folder: Path) -> None:
    table = pq.read_table(folder / "stays.parquet", columns=["stay_id", "los_hours"]).to_pylist()
    los = {row["stay_id"]: row["los_hours"] for row in table}
    assert all(0 <= n["hour"] <= los[n["stay_id"]] + 0.01 for n in notes)


@pytest.fixture(scope="module")
def evidence(folder: Path) -> list[dict]:
    return pq.read_table(folder / "review_evidence.parquet").to_pylist()


def test_every_finding_leans_to_the_truth_and_both_misses_and_strays(evidence: list[dict], truth: dict) -> None:
    found: dict[tuple[str, str | None], set[int]] = {}
    for row in evidence:
        found.setdefault((row["name"], row["text"]), set()).add(row["stay_id"])
    lifts, missed, strayed = [], 0, 0
    for item in findings()["item"]:
        stays = found.get((item["name"], item.get("text")), set())
        for key, hit in item["hit"].items():
            present = {stay for stay, labels in truth.items() if labels[key]}
            if len(present) < 40 or hit < 0.25:
                continue
            inside = len(stays & present) / len(present)
            outside = len(stays - present) / (len(truth) - len(present))
            lifts.append(inside > outside)
            missed += len(present - stays)
            strayed += len(stays - present)
    assert len(lifts) > 30
    assert np.mean(lifts) == 1.0
    assert missed > 0
    assert strayed > 0


def test_findings_have_known_kinds_and_run_past_the_cut_off(evidence: list[dict], folder: Path) -> None:
    kinds = {row["kind"] for row in evidence}
    assert kinds <= set(EVIDENCE_KINDS)
    assert kinds >= {"drug", "procedure", "finding", "micro", "imaging", "ecg", "admission_diagnosis"}
    table = pq.read_table(folder / "stays.parquet", columns=["stay_id", "los_hours"]).to_pylist()
    los = {row["stay_id"]: row["los_hours"] for row in table}
    assert all(0 <= row["hour"] <= los[row["stay_id"]] + 0.02 for row in evidence)
    assert any(row["hour"] > 48 for row in evidence)


def test_each_stay_has_one_admission_diagnosis_that_may_be_vague(evidence: list[dict]) -> None:
    told = [row for row in evidence if row["kind"] == "admission_diagnosis"]
    assert len({row["stay_id"] for row in told}) == len(told) == STAYS
    assert {row["text"] for row in told} & set(findings()["admission"]["other"])
