"""Terms are found where a note names a label, and judged by what stands around them."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_store.chart import Note
from audit_store.terms import (
    Mark,
    TermsError,
    best_passage,
    find_terms,
    list_match,
    load_terms,
    marks_from,
    passages,
    read_terms,
    segments,
)
from core.cohort.labelset import PHENOTYPES
from core.cohort.sources.chexpert import FINDINGS


def note(text: str, stay: int = 1, note_id: int = 1, category: str = "progress note") -> Note:
    return Note(stay, note_id, stay, 1.0, category, text, False, 0, len(text), False)


def status(text: str, label: str, category: str = "") -> list[str]:
    return [span.status for span in find_terms(text, label, category=category) if span.kind != "drug"]


@pytest.mark.parametrize(
    ("text", "label", "expected"),
    [
        ("Admitted with septic shock.", "septicemia", ["affirmed"]),
        ("No evidence of sepsis; febrile.", "septicemia", ["negated"]),
        ("Denies fever, chest pain or COPD.", "copd", ["negated"]),
        ("COPD: no", "copd", ["negated"]),
        ("Pneumonia was ruled out.", "pneumonia", ["negated"]),
        ("Pneumonia cannot be ruled out.", "pneumonia", ["uncertain"]),
        ("?PNA vs atelectasis", "pneumonia", ["uncertain"]),
        ("PNA?", "pneumonia", ["uncertain"]),
        ("r/o sepsis", "septicemia", ["uncertain"]),
        ("Sepsis felt less likely.", "septicemia", ["uncertain"]),
        ("No acute distress, COPD exacerbation.", "copd", ["affirmed"]),
        ("No fever but COPD is severe.", "copd", ["affirmed"]),
        ("h/o old MI 2009", "acute_myocardial_infarction", ["historical"]),
        ("Past history: stroke - date unknown; COPD.", "acute_cerebrovascular_disease", ["historical"]),
        ("PMH: HTN, DM, COPD, CAD", "copd", ["historical"]),
        ("Family history: COPD in father", "copd", ["family"]),
        ("Mother had emphysema. He has COPD.", "copd", ["family", "affirmed"]),
        ("Mother states he is septic.", "septicemia", ["affirmed"]),
        ("Family history: MI.\nPMH: COPD.\nExam: wheeze", "copd", ["historical"]),
        ("Dr. Smith found no COPD.", "copd", ["negated"]),
        ("Temp 38.5 sepsis", "septicemia", ["affirmed"]),
        ("denied chest pain\nor sepsis", "septicemia", ["negated"]),
        ("No cough\nSepsis suspected on arrival", "septicemia", ["uncertain"]),
    ],
)
def test_status_follows_the_words_around_a_term(text: str, label: str, expected: list[str]) -> None:
    assert status(text, label) == expected


def test_a_category_that_is_a_history_makes_a_bare_term_historical() -> None:
    assert status("MI", "acute_myocardial_infarction", "Past history") == ["historical"]
    assert status("MI", "acute_myocardial_infarction") == ["affirmed"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("AICD shock delivered", "shock"),
        ("stroke volume 60 mL", "acute_cerebrovascular_disease"),
        ("pulmonary hypertension", "essential_hypertension"),
        ("pericardial effusion", "pleurisy_pneumothorax_collapse"),
        ("diabetes insipidus", "diabetes_without_complication"),
        ("mi casa", "acute_myocardial_infarction"),
        ("subcutaneous emphysema", "copd"),
    ],
)
def test_words_that_only_look_like_a_term_are_left_alone(text: str, label: str) -> None:
    assert find_terms(text, label) == []


def test_the_longest_of_overlapping_terms_stays_and_offsets_are_code_points() -> None:
    text = "Zürich: 37 °C, acute on chronic renal failure."
    (span,) = find_terms(text, "acute_renal_failure")
    assert text[span.start : span.end] == span.text == "acute on chronic renal failure"


def test_hyphens_and_spaces_interchange_and_case_does_not_matter() -> None:
    assert status("ATRIAL-FIBRILLATION and bundle-branch   block", "cardiac_dysrhythmias") == ["affirmed"]
    assert status("bundle-branch   Block", "conduction_disorders") == ["affirmed"]


def test_every_label_has_terms_and_every_drug_is_marked_as_one() -> None:
    terms = load_terms()
    assert set(terms.labels) == {p.key for p in (*PHENOTYPES, *FINDINGS)}
    assert [s.kind for s in find_terms("on lactulose", "other_liver_diseases")] == ["drug"]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="CO PDno.;\nsepi?:é,", max_size=80), st.integers(0, 40), st.integers(0, 40))
def test_pieces_joined_are_the_text_and_spans_lie_inside_it(text: str, a: int, b: int) -> None:
    spans = find_terms(text, "copd") + find_terms(text, "septicemia")
    start, end = sorted((min(a, len(text)), min(b, len(text))))
    marks = [Mark(1, 1, start, end, 0.5)]
    assert "".join(s.text for s in segments(text, spans, marks)) == text
    assert "".join(s.text for s in segments(text, spans, marks, start, end)) == text[start:end]
    assert all(0 <= s.start < s.end <= len(text) for s in spans)


def test_a_piece_under_a_term_and_a_mark_has_the_terms_kind_and_is_marked() -> None:
    text = "He has COPD today"
    pieces = segments(text, find_terms(text, "copd"), [Mark(1, 1, 4, 11, -0.3)])
    assert [(s.text, s.kind, s.marked) for s in pieces] == [
        ("He h", "plain", False),
        ("as ", "plain", True),
        ("COPD", "affirmed", True),
        (" today", "plain", False),
    ]
    assert {s.weight for s in pieces if s.marked} == {-0.3}


def test_markup_in_a_note_stays_text() -> None:
    text = "<b>COPD</b> & <script>"
    assert "".join(s.text for s in segments(text, find_terms(text, "copd"))) == text


def test_the_passage_that_names_the_label_comes_before_family_and_this_stay_before_another() -> None:
    notes = [
        note("Mother had COPD.", 1, 1),
        note("Severe COPD with home oxygen.", 1, 2),
        note("Severe COPD here too.", 2, 3),
    ]
    order = [(p.stay_id, p.note_id) for p in passages(notes, "copd", this_stay=2)]
    assert order == [(2, 3), (1, 2), (1, 1)]
    assert best_passage(notes, "copd", this_stay=1).note_id == 2  # type: ignore[union-attr]
    assert best_passage(notes, "shock") is None


def test_a_long_note_is_cut_between_words_and_the_same_words_are_shown_once() -> None:
    filler = "word " * 200
    notes = [note(filler + "COPD " + filler, 1, 1), note(filler + "COPD " + filler, 1, 2)]
    found = passages(notes, "copd")
    assert len(found) == 1
    shown = "".join(s.text for s in found[0].segments)
    assert "COPD" in shown
    assert len(shown) < 500
    assert set(shown.split()) == {"word", "COPD"}


def test_model_marks_lift_a_passage_only_when_they_are_given() -> None:
    notes = [note("Wheeze all over.", 1, 1), note("COPD?", 1, 2)]
    assert [p.note_id for p in passages(notes, "copd")] == [2]
    marks = (Mark(1, 1, 0, 6, 0.4),)
    assert {p.note_id for p in passages(notes, "copd", marks)} == {1, 2}


def test_marks_are_the_rounds_gradient_rows_of_notes() -> None:
    rows = pd.DataFrame(
        {
            "kind": ["note", "note", "series"],
            "method": ["gradient", "term", "gradient"],
            "evidence_stay_id": [1, 1, 1],
            "note_id": [7, 7, None],
            "char_start": [0, 3, None],
            "char_end": [2, 5, None],
            "weight": [0.2, 1.0, 0.1],
        }
    )
    assert marks_from(rows) == (Mark(1, 7, 0, 2, 0.2),)
    assert marks_from(None) == ()


def test_only_the_strongest_marks_of_each_visit_are_shown() -> None:
    weights = [1.0, -0.9, 0.5, 0.4, 0.2, 0.6]
    rows = pd.DataFrame(
        {
            "kind": ["note"] * 6,
            "method": ["gradient"] * 6,
            "evidence_stay_id": [1, 1, 1, 1, 1, 2],
            "note_id": [7] * 6,
            "char_start": range(0, 60, 10),
            "char_end": range(5, 65, 10),
            "weight": weights,
        }
    )
    assert [(m.stay_id, m.weight) for m in marks_from(rows)] == [(1, 1.0), (1, -0.9), (2, 0.6), (1, 0.5)]
    assert marks_from(rows.assign(weight=0.0)) == ()


def test_passages_of_the_stay_asked_about_come_first() -> None:
    notes = [note("COPD.", 1, 1), note("COPD!", 2, 2)]
    assert [p.stay_id for p in passages(notes, "copd", this_stay=2)] == [2, 1]


@pytest.mark.parametrize(
    ("key", "name", "text", "found"),
    [
        ("vasopressors", "vasopressors, norepinephrine > 0.1 micrograms/kg/min", "cardiovascular › shock › x", True),
        ("vasopressors", "Levophed drip", None, True),
        ("vasopressors", "lidocaine with epinephrine", None, False),
        (
            "anticoagulants",
            "heparin",
            "cardiovascular › vascular disorders › VTE prophylaxis › heparin infusion",
            False,
        ),
        ("anticoagulants", "anticoagulant administration, coumadin", None, True),
        ("antibiotics", "prophylactic antibacterials", None, False),
        ("dialysis_acute", "hemodialysis, for acute renal failure", "renal › dialysis › for acute renal failure", True),
        ("pleural_imaging", "Chest x-ray", "no effusion, small left pneumothorax not seen", False),
        ("pleural_imaging", "Chest x-ray", "large left pleural effusion", True),
        ("reperfusion", "PTCA done within 24 hours: none", None, False),
        ("ventilation", "non-invasive ventilation", None, False),
        ("ventilation", "airway: intubated/oral ETT", "Airway", True),
    ],
)
def test_an_evidence_row_belongs_to_a_list_by_its_name_its_path_or_what_its_text_affirms(
    key: str, name: str, text: str | None, found: bool
) -> None:
    assert bool(list_match(key, name, text)) is found


@pytest.mark.parametrize("body", ["[cues", "x = 1", "[cues]\nnegation = []\n"])
def test_a_spoilt_file_of_terms_is_refused(tmp_path: Path, body: str) -> None:
    path = tmp_path / "terms.toml"
    path.write_text(body)
    with pytest.raises(TermsError):
        read_terms(path)
    with pytest.raises(TermsError):
        read_terms(tmp_path / "absent.toml")
