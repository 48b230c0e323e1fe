"""Each reason is computed from a stored column: change the column and the sentence goes or turns."""

from dataclasses import make_dataclass, replace
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_store.chart import Statement, Strip, StripCell
from audit_store.panel import Finding, PanelItem, PanelResult
from audit_store.reasons import Reason, history, numbers, reasons

QUIET: dict[str, Any] = {
    "observed": 0,
    "probability": 0.1,
    "probability_series": 0.5,
    "probability_note": 0.5,
    "rank": 12,
    "difficulty": 0.1,
    "selection_score": 0.2,
    "uncertainty": 0.3,
    "partition": "clean",
    "corrected": 0.1,
    "history": bytes([26, 26, 26]),
    "label_key": "copd",
}


def strip(*others: str, persistence: str = "lifelong") -> Strip:
    cells = [StripCell(0, "v1", True, "absent", None)]
    cells += [StripCell(i + 1, f"v{i + 2}", False, state, None) for i, state in enumerate(others)]
    return Strip("copd", persistence, True, tuple(cells), "")


def terms(*negated: bool, stay: int = 1, evidence_stay: int = 1, method: str = "term") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "stay_id": stay,
            "evidence_stay_id": evidence_stay,
            "kind": "note",
            "method": method,
            "negated": list(negated),
            "weight": 1.0,
        }
    )


def found(direction: str) -> PanelResult:
    finding = Finding("map_low", "MAP below 65", direction, "observations.value[map]", ())
    item = PanelItem("map", "MAP", "value", "", (), direction, (finding,), (), (), False)
    return PanelResult("shock", 1, (item,), "")


def said(pair: dict[str, Any], **more: Any) -> list[Reason]:
    given_ = {"strip": None, "evidence": None, "panel": None, **more}
    return reasons(pair, given_["strip"], given_["evidence"], given_["panel"], "COPD")


def texts(pair: dict[str, Any], **more: Any) -> list[str]:
    return [reason.text for reason in said(pair, **more)]


def test_a_pair_of_which_nothing_stands_out_has_no_reason() -> None:
    assert said(QUIET) == []
    assert said({}) == []


@pytest.mark.parametrize(
    ("speaks", "silent", "text", "column"),
    [
        (
            {"strip": strip("present", "present")},
            {"strip": strip("absent", "not coded")},
            "two other visits carry COPD, which lasts for life",
            "labels.observed",
        ),
        (
            {"strip": strip("present", persistence="acute")},
            {"strip": strip("?", persistence="acute")},
            "one other visit carries COPD",
            "labels.observed",
        ),
        (
            {"evidence": terms(False)},
            {"evidence": terms(True)},
            "the note names it and does not negate it",
            "evidence.negated",
        ),
        (
            {"evidence": terms(False)},
            {"evidence": terms(False, evidence_stay=2)},
            "the note names it and does not negate it",
            "evidence.negated",
        ),
        (
            {"evidence": terms(False)},
            {"evidence": terms(False, method="gradient")},
            "the note names it and does not negate it",
            "evidence.negated",
        ),
        ({"evidence": terms(False, True)}, {"evidence": terms(True, True)}, "the note names it", "evidence.negated"),
        ({"panel": found("supports")}, {"panel": found("against")}, "MAP below 65", "observations.value[map]"),
        ({"panel": found("supports")}, {"panel": found("neutral")}, "MAP below 65", "observations.value[map]"),
    ],
)
def test_a_reason_goes_when_the_visit_the_note_or_the_finding_changes(
    speaks: dict[str, Any], silent: dict[str, Any], text: str, column: str
) -> None:
    (reason,) = said(QUIET, **speaks)
    assert (reason.text, reason.column) == (text, column)
    assert text not in texts(QUIET, **silent)


def judged(*rules: str) -> PanelResult:
    findings = tuple(Finding(rule, "words", "neutral", "notes.text", ()) for rule in rules)
    return PanelResult("copd", 1, (PanelItem("history", "", "value", "", (), "neutral", findings, (), (), False),), "")


@pytest.mark.parametrize("rule", ["denied_in_notes", "doubted_in_notes", "named_as_past"])
def test_mentions_that_the_panel_reads_as_denied_doubted_or_past_do_not_name_it(rule: str) -> None:
    named = "the note names it and does not negate it"
    assert texts(QUIET, evidence=terms(False), panel=judged(rule)) == []
    assert texts(QUIET, evidence=terms(False), panel=judged(rule, "named_in_notes")) == [named]
    assert texts(QUIET, evidence=terms(False), panel=judged("map_low")) == [named]


@pytest.mark.parametrize(
    ("speaks", "silent", "text"),
    [
        (
            {"history": bytes([200, 210, 230])},
            {"history": bytes([20, 21, 23])},
            "never learned the recorded value (absent)",
        ),
        ({"history": bytes([150, 150, 150])}, {"history": bytes([100, 100, 100])}, "hardly learned the recorded value"),
        (
            {"history": bytes([51, 128, 204])},
            {"history": bytes([51, 60, 71])},
            "rose from 0.20 to 0.80 over 3 epochs, away",
        ),
        ({"history": bytes([204, 100, 26])}, {"history": bytes([26, 26, 26])}, "fell from 0.80 to 0.10 over 3 epochs"),
        (
            {"probability_series": 0.2, "probability_note": 0.9},
            {"probability_series": 0.5, "probability_note": 0.9},
            "series alone say absent (0.20), notes alone say present (0.90)",
        ),
        (
            {"probability_series": 0.7, "probability_note": 0.9},
            {"probability_series": 0.7, "probability_note": 0.3},
            "series and notes alone both say present (0.70, 0.90)",
        ),
        ({"probability_note": None}, {"probability_note": 0.5}, "the model had series only"),
        ({"probability_series": float("nan")}, {"probability_series": 0.5}, "the model had notes only"),
        ({"selection_score": 0.8}, {"selection_score": 0.7}, "it stands out among the stays recorded absent"),
    ],
)
def test_a_reason_goes_when_the_pairs_column_changes(speaks: dict[str, Any], silent: dict[str, Any], text: str) -> None:
    assert any(text in sentence for sentence in texts({**QUIET, **speaks}))
    assert not any(text in sentence for sentence in texts({**QUIET, **silent}))


def test_a_recorded_presence_is_doubted_by_the_opposite_signs() -> None:
    pair = {**QUIET, "observed": 1, "history": bytes([26, 26, 26])}
    sentences = texts(pair, strip=strip("absent", "absent"), evidence=terms(True), panel=found("against"))
    assert "none of 2 other coded visits carries COPD" in sentences
    assert "the note denies it" in sentences
    assert "MAP below 65" in sentences
    assert "the model never learned the recorded value (present)" in sentences
    assert not texts({**pair, "history": bytes([240, 240])}, strip=strip("present"), evidence=terms(False))


def test_reasons_come_strongest_first_and_a_dataclass_reads_like_a_mapping() -> None:
    pair = {**QUIET, "history": bytes([51, 128, 230]), "selection_score": 0.9}
    strengths = [reason.strength for reason in said(pair, strip=strip("present"), evidence=terms(False))]
    assert strengths == sorted(strengths, reverse=True)
    assert all(0 <= strength <= 1 for strength in strengths)
    kind = make_dataclass("Pair", list(pair))
    assert reasons(kind(**pair), None, None, None, "COPD") == said(pair)
    assert reasons(pd.Series(pair), None, None, None, "COPD") == said(pair)
    with pytest.raises(TypeError):
        reasons(3, None, None, None)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=30))
def test_the_history_of_bytes_reads_back_to_within_half_a_byte(course: list[float]) -> None:
    stored = bytes(round(255 * p) for p in course)
    assert history({"history": stored}) == pytest.approx(course, abs=0.5 / 255 + 1e-9)
    assert history({"history": tuple(course)}) == course


MIXTURE = pd.DataFrame(
    {
        "label_key": ["copd", "copd", "shock"],
        "observed_class": [0, 1, 0],
        "mean_clean": [0.2, 0.1, 0.0],
        "mean_noisy": [0.7, 0.9, 1.0],
        "degenerate": [False, False, False],
        "reason": [None, None, None],
    }
)


def figures(pair: dict[str, Any], **more: Any) -> dict[str, str]:
    return {number.title: number.text for number in numbers(pair, **more)}


def test_the_fold_holds_rank_difficulty_score_its_place_and_the_partition() -> None:
    pair = {**QUIET, "selection_score": 0.6, "probability_note": None, "suspicion_rank": 12, "n_flagged": 1490}
    shown = figures(pair, mixtures=MIXTURE, pairs_in_group=[0.1, 0.6, 0.9, 0.95])
    assert shown["Rank among this stay's labels (1 = most probable)"] == "12"
    assert shown["Difficulty over the epochs"] == "0.100"
    assert shown["Score (0–1, high is suspect)"] == "0.60"
    assert shown["Place in its group"] == "3 of 4 with the same recorded value"
    assert shown["Group's mixture"] == "nearer the noisy part (means 0.20 clean, 0.70 noisy)"
    assert shown["Partition"] == "clean"
    assert shown["Probability, notes alone"] == "no such data for this stay"
    assert shown["Rank of suspicion"] == "12 of 1,490"


def test_the_mixture_is_of_the_labels_own_group_and_says_when_none_was_fitted() -> None:
    assert "means 0.10 clean" in figures({**QUIET, "observed": 1}, mixtures=MIXTURE)["Group's mixture"]
    none = MIXTURE.assign(degenerate=True, reason="too few pairs")
    assert figures(QUIET, mixtures=none)["Group's mixture"] == "none fitted (too few pairs)"
    assert "Group's mixture" not in figures({**QUIET, "label_key": "gout"}, mixtures=MIXTURE)
    assert figures({}) == {}


def test_a_strip_that_withholds_this_stay_gives_the_same_reasons() -> None:
    seen = strip("present")
    blind = replace(seen, cells=(replace(seen.cells[0], state="?"), *seen.cells[1:]))
    assert said(QUIET, strip=seen) == said(QUIET, strip=blind)


def test_each_other_source_speaks_in_the_words_of_its_kind_and_a_contradiction_comes_first() -> None:
    stated = [
        Statement("icd", "billing codes", "codes", 0, None),
        Statement("note_terms", "note terms", "note_terms", 1, "2 affirmed"),
        Statement("risk", "risk model", "model", 1, "0.834"),
        Statement("ward", "ward", "labels", 0, None),
    ]
    told = reasons(QUIET, None, None, None, "COPD", statements=stated)
    assert [reason.text for reason in told] == [
        "note terms: affirmed",
        "risk model: present .83",
        "billing codes: not coded",
        "ward: absent",
    ]
    turned = [replace(made, observed=1 - made.observed) for made in stated]
    turned[0] = replace(turned[0], code="J44.9")
    told = reasons(QUIET, None, None, None, "COPD", statements=turned)
    assert [reason.text for reason in told] == [
        "billing codes: coded (J44.9)",
        "ward: present",
        "note terms: denied",
        "risk model: absent .83",
    ]


@pytest.mark.parametrize("code", [None, "", "high", "nan", "7"])
def test_a_model_whose_probability_can_t_be_read_is_told_without_it(code: str | None) -> None:
    told = reasons(QUIET, None, None, None, statements=[Statement("m", "m", "model", 1, code)])
    assert [reason.text for reason in told] == ["m: present"]
